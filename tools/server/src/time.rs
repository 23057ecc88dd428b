//! Points in time as RFC 3339 writes them, which is what Ollama and Anthropic send.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999; RFC 3339 has no later one.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// A point in time, in UTC, to the microsecond: `2026-11-23T02:13:10.123456Z`. Times before 1970 are 1970.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LATEST);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that a leap day is their last one;
/// eras of 400 years have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_around_leap_days() {
        let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59.000000Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.000000Z");
        assert_eq!(at(1_720_098_309), "2024-07-04T13:05:09.000000Z");
        assert_eq!(at(4_102_444_799), "2099-12-31T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000Z");
        assert_eq!(at(253_402_300_799), "9999-12-31T23:59:59.000000Z");
        assert_eq!(at(253_402_300_800), "9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn parts_of_a_second_and_times_before_the_clock() {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_micros(1_500_001)), "1970-01-01T00:00:01.500001Z");
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000Z");
    }
}
