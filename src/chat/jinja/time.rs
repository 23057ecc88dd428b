//! `strftime_now(format)`: the date and time that a template prints, in UTC.

use std::fmt::Write as _;

use super::value::{Fail, Outcome};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Years 1 to 9999, in seconds since 1970.
const RANGE: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// `seconds` since 1970 in UTC, written as C's `strftime` would in the C locale.
pub(super) fn strftime(format: &str, seconds: i64) -> Outcome<String> {
    if !RANGE.contains(&seconds) {
        return Fail::new(format!("{seconds} seconds since 1970 lie outside of the years 1 to 9999"));
    }
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (year, month, day) = civil(days);
    let weekday = (days + 3).rem_euclid(7) as usize; // 1970-01-01 was a Thursday
    let year_day = days - days_before(year) + 1;
    let month_name = MONTHS[(month - 1) as usize];
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let half = if hour < 12 { "AM" } else { "PM" };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut conversion = chars.next();
        // glibc's "-": no padding.
        let bare = conversion == Some('-');
        if bare {
            conversion = chars.next();
        }
        let (width, number) = match conversion {
            Some('Y') => (4, year),
            Some('y') => (2, year.rem_euclid(100)),
            Some('m') => (2, month),
            Some('d') => (2, day),
            Some('e') if !bare => {
                let _ = write!(out, "{day:2}");
                continue;
            }
            Some('e') => (0, day),
            Some('H') => (2, hour),
            Some('I') => (2, hour12),
            Some('M') => (2, minute),
            Some('S') => (2, second),
            Some('j') => (3, year_day),
            Some('u') => (1, weekday as i64 + 1),
            Some('w') => (1, (weekday as i64 + 1) % 7),
            Some(name) => {
                let text = match name {
                    'B' => month_name.to_owned(),
                    'b' | 'h' => month_name[..3].to_owned(),
                    'A' => DAYS[weekday].to_owned(),
                    'a' => DAYS[weekday][..3].to_owned(),
                    'p' => half.to_owned(),
                    'F' => format!("{year:04}-{month:02}-{day:02}"),
                    'T' => format!("{hour:02}:{minute:02}:{second:02}"),
                    'R' => format!("{hour:02}:{minute:02}"),
                    'D' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
                    'Z' => String::new(),
                    'z' => String::new(),
                    '%' => "%".to_owned(),
                    other => return Fail::new(format!("the date format '%{other}' is not supported")),
                };
                out.push_str(&text);
                continue;
            }
            None => return Fail::new("a date format ends in the middle of a conversion"),
        };
        let width = if bare { 0 } else { width };
        let _ = write!(out, "{number:0width$}");
    }
    Ok(out)
}

/// Days from 1970-01-01 to January 1st of `year`, in the Gregorian calendar.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 719_162
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(365).min(days.div_euclid(366)); // never too late
    while days_before(year + 1) <= days {
        year += 1;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut left = days - days_before(year);
    for (month, len) in
        [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
    {
        if left < len {
            return (year, month as i64 + 1, left + 1);
        }
        left -= len;
    }
    (year, 12, 31)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn dates_before_and_after_leap_days() {
        let day = |seconds| strftime("%Y-%m-%d %j %a", seconds).unwrap();
        assert_eq!(day(0), "1970-01-01 001 Thu");
        assert_eq!(day(951_782_400), "2000-02-29 060 Tue");
        assert_eq!(day(951_868_800), "2000-03-01 061 Wed");
        assert_eq!(day(4_102_444_799), "2099-12-31 365 Thu");
        assert_eq!(day(-62_135_596_800), "0001-01-01 001 Mon");
        assert_eq!(day(253_402_300_799), "9999-12-31 365 Fri");
        assert!(strftime("%Y", 253_402_300_800).is_err());
    }

    #[test]
    fn names_and_halves_of_the_day() {
        // 2024-07-04 13:05:09
        let at = 1_720_098_309;
        assert_eq!(strftime("%d %b %Y, %-I:%M %p%%", at).unwrap(), "04 Jul 2024, 1:05 PM%");
        assert_eq!(strftime("%A %B %e %T", at).unwrap(), "Thursday July  4 13:05:09");
        assert!(strftime("%Q", at).is_err());
        assert!(strftime("50%", at).is_err());
    }
}
