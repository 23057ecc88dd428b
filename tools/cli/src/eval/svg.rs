//! A picture of divergences over file sizes: the lower and the further left, the better.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use qwip_convert::OutputFile;

use crate::output;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;
/// A smaller divergence, or the negative one that rounding can make of none, lies on the edge.
const LEAST: f64 = 1e-6;

/// A model in the picture.
pub(super) struct Point {
    pub(super) label: String,
    pub(super) bytes: f64,
    /// Mean divergence in nats.
    pub(super) kld: f64,
}

/// Writes the picture to a file.
pub(super) fn write(path: &Path, base: &str, points: &[Point]) -> anyhow::Result<()> {
    let mut out = OutputFile::create(path)?;
    out.write_all(draw(base, points).as_bytes()).with_context(|| path.display().to_string())?;
    Ok(out.finish()?)
}

/// Powers of ten around the divergences, and a step and an end for the sizes.
struct Axes {
    low: i32,
    high: i32,
    step: f64,
    end: f64,
}

impl Axes {
    fn around(points: &[Point]) -> Axes {
        let exponents = points.iter().map(|point| libm::log10(point.kld.max(LEAST)));
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        exponents.for_each(|e| (least, most) = (least.min(e), most.max(e)));
        let low = libm::floor(least) as i32;
        let high = (libm::ceil(most) as i32).max(low + 1);
        let largest = points.iter().map(|point| point.bytes).fold(1.0, f64::max);
        // 1, 2 or 5 times a power of ten, for four to ten steps.
        let power = libm::pow(10.0, libm::floor(libm::log10(largest / 4.0)));
        let step = [5.0, 2.0, 1.0]
            .into_iter()
            .map(|n| n * power)
            .find(|step| largest / step >= 4.0)
            .unwrap_or(power);
        Axes { low, high, step, end: libm::ceil(largest * 1.02 / step) * step }
    }

    fn x(&self, bytes: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * bytes / self.end
    }

    fn y(&self, kld: f64) -> f64 {
        let share = (libm::log10(kld.max(LEAST)) - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}

/// The picture as SVG; there is at least one point. What is written lies above the lines.
fn draw(base: &str, points: &[Point]) -> String {
    let axes = Axes::around(points);
    let mut lines = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut words_above = String::new();
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        let words = escaped(words);
        // Writing to a string does not fail.
        let _ = writeln!(
            words_above,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{words}</text>"
        );
    };
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    text(LEFT, 26.0, "start", &format!("Mean KL divergence (nats) from {base}, over file size"));
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, colour: &str| {
        let _ = writeln!(
            lines,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
        );
    };
    for exponent in axes.low..=axes.high {
        let value = libm::pow(10.0, exponent.into());
        let y = axes.y(value);
        line(LEFT, y, right, y, "#ddd");
        text(LEFT - 8.0, y + 4.0, "end", &format!("1e{exponent}"));
    }
    let ticks = libm::round(axes.end / axes.step) as u32;
    for tick in 0..=ticks {
        let value = f64::from(tick) * axes.step;
        line(axes.x(value), bottom, axes.x(value), bottom + 5.0, "#222");
        text(axes.x(value), bottom + 20.0, "middle", &output::bytes(value as u64));
    }
    line(LEFT, bottom, right, bottom, "#222");
    line(LEFT, TOP, LEFT, bottom, "#222");
    for point in points {
        let (x, y) = (axes.x(point.bytes), axes.y(point.kld));
        let _ = writeln!(lines, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#1f5fa8\"/>");
        let words = format!("{} ({:.2e})", point.label, point.kld);
        // In the right half a label stands left of its point.
        match x > (LEFT + right) / 2.0 {
            true => text(x - 9.0, y - 6.0, "end", &words),
            false => text(x + 9.0, y - 6.0, "start", &words),
        }
    }
    lines + &words_above + "</svg>\n"
}

/// File names may hold anything.
fn escaped(words: &str) -> String {
    let mut out = String::new();
    for c in output::visible(words).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // What XML does not allow in any spelling.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(label: &str, bytes: f64, kld: f64) -> Point {
        Point { label: label.into(), bytes, kld }
    }

    #[test]
    fn larger_is_further_right_and_a_decade_is_a_decade() {
        let axes = Axes::around(&[point("a", 3.5e8, 0.02), point("b", 1.1e9, 0.0004)]);
        assert_eq!((axes.low, axes.high), (-4, -1));
        assert_eq!((axes.step, axes.end), (2e8, 1.2e9));
        assert!(axes.x(1.1e9) > axes.x(3.5e8) && axes.x(1.1e9) <= WIDTH - RIGHT);
        let decades = [1e-4, 1e-3, 1e-2, 1e-1].map(|kld| axes.y(kld));
        assert!((decades[0] - (HEIGHT - BOTTOM)).abs() < 1e-9 && (decades[3] - TOP).abs() < 1e-9);
        assert!((decades[0] - decades[1] - (decades[2] - decades[3])).abs() < 1e-9);
    }

    #[test]
    fn no_divergence_and_any_name_make_a_picture() {
        for kld in [0.0, -1e-9, 1e-300, 1e-6, 1.0, 1e38] {
            let picture = draw("x", &[point("<a&b>\u{1b}\u{ffff}", 1.0, kld)]);
            assert!(picture.contains("&lt;a&amp;b&gt;\\u001b\u{fffd}"), "{picture}");
            assert!(!picture.contains("NaN") && !picture.contains("inf") && picture.ends_with("</svg>\n"));
        }
    }
}
