//! What the flags of `serve` may be.

use std::time::Duration;

use qwip_server::chat::KeepAlive;
use qwip_server::models::Settings;

/// Bytes: `2GB`, `512MiB`, `1.5g`, or just a number.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let power = |unit: &str| match unit {
        "" => Some(0),
        "k" => Some(1),
        "m" => Some(2),
        "g" => Some(3),
        "t" => Some(4),
        _ => None,
    };
    let unit = unit.trim().to_ascii_lowercase();
    let unit = match unit.strip_suffix("ib").map(power) {
        Some(Some(power)) if power > 0 => Some(1024f64.powi_exact(power)),
        _ => power(unit.strip_suffix('b').unwrap_or(&unit)).map(|power| 1000f64.powi_exact(power)),
    };
    let bytes = number.parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit);
    match bytes {
        Some(bytes) if (0.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("expected a size as 2GB, 512MB or 4GiB".into()),
    }
}

/// Small powers, exactly.
trait Power {
    fn powi_exact(self, n: u32) -> f64;
}

impl Power for f64 {
    fn powi_exact(self, n: u32) -> f64 {
        (0..n).fold(1.0, |product, _| product * self)
    }
}

/// A time: `30s`, `5m`, `2h`, or a number of seconds; negative: for ever.
pub(super) fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    if text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(KeepAlive::Forever);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "ms" => Some(1e-3),
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(unit).map(|(number, unit)| number * unit);
    match seconds.filter(|seconds| *seconds < 1e9).map(Duration::try_from_secs_f64) {
        Some(Ok(time)) => Ok(KeepAlive::For(time)),
        _ => Err("expected a time as 30s, 5m or 2h, 0, or -1 for ever".into()),
    }
}

pub(super) fn parallel(text: &str) -> Result<usize, String> {
    bounded(text, 1, Settings::MAX_PARALLEL)
}

pub(super) fn queue(text: &str) -> Result<usize, String> {
    bounded(text, 0, 100_000)
}

fn bounded(text: &str, low: usize, high: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1234", 1234),
            ("2GB", 2_000_000_000),
            ("1.5g", 1_500_000_000),
            ("512 MB", 512_000_000),
            ("4GiB", 4 << 30),
            ("1kib", 1024),
            ("3b", 3),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1GB", "1XB", "1e300", "1.2.3", "1ib", "99999999999GB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_may_be_for_ever() {
        let time = |seconds| Ok(KeepAlive::For(Duration::from_secs(seconds)));
        assert_eq!(keep_alive("5m"), time(300));
        assert_eq!(keep_alive("30"), time(30));
        assert_eq!(keep_alive("0"), time(0));
        assert_eq!(keep_alive("2h"), time(7200));
        assert_eq!(keep_alive("250ms"), Ok(KeepAlive::For(Duration::from_millis(250))));
        assert_eq!(keep_alive("-1"), Ok(KeepAlive::Forever));
        assert_eq!(keep_alive("-1m"), Ok(KeepAlive::Forever));
        for text in ["", "m", "5 m", "-", "--", "1d", "1e9h", "99999999999h"] {
            assert!(keep_alive(text).is_err(), "{text}");
        }
    }
}
