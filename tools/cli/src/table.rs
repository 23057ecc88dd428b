//! Tables and times for people.

use std::time::{SystemTime, UNIX_EPOCH};

use unicode_width::UnicodeWidthStr;

use crate::output::{line, visible};

/// Prints rows under their heads, each column as wide as its widest cell.
pub(crate) fn print<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(visible)).collect();
    let width = |i: usize| {
        let cells = rows.iter().map(|row| row[i].width());
        cells.max().unwrap_or(0).max(head[i].width())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let text = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(cell);
            text.push_str(&" ".repeat(width - cell.width() + 2));
        }
        text.truncate(text.trim_end().len());
        text
    };
    line(text(head))?;
    rows.iter().try_for_each(|row| line(text(row.each_ref().map(String::as_str))))
}

/// How long ago that was, in one unit.
pub(crate) fn ago(time: Option<SystemTime>) -> String {
    let Some(time) = time else { return "-".into() };
    let seconds = SystemTime::now().duration_since(time).map_or(0, |age| age.as_secs());
    let (n, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

/// Seconds since 1970.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_have_one_unit() {
        let of = |seconds| ago(SystemTime::now().checked_sub(Duration::from_secs(seconds)));
        assert_eq!(of(61), "1 minute ago");
        assert_eq!(of(7300), "2 hours ago");
        assert_eq!(of(86_400 * 400), "400 days ago");
        assert_eq!(ago(SystemTime::now().checked_add(Duration::from_secs(50))), "0 seconds ago");
    }
}
