//! Tables of Markdown, with columns that line up.

use super::inline::whole;
use super::wrap::{self, Style, Styled, Wrap, width_of};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Left,
    Middle,
    Right,
}

/// Whether a line is the one below the head of a table: `|---|:--:|`.
pub(crate) fn is_delimiter(row: &str) -> bool {
    let cells = cells(row);
    !cells.is_empty() && cells.iter().all(|cell| side(cell).is_some())
}

/// The side that a cell of the delimiter line asks for.
fn side(cell: &str) -> Option<Side> {
    let (left, right) = (cell.starts_with(':'), cell.ends_with(':'));
    let dashes = cell.trim_matches(':');
    let sound = !dashes.is_empty() && dashes.chars().all(|c| c == '-');
    sound.then_some(match (left, right) {
        (true, true) => Side::Middle,
        (false, true) => Side::Right,
        _ => Side::Left,
    })
}

/// The cells of a line, without the space around them.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim();
    let row = row.strip_prefix('|').unwrap_or(row);
    let mut cells = vec![String::new()];
    let (mut escaped, mut code) = (false, false);
    for c in row.chars() {
        match c {
            '|' if escaped => {
                // The backslash was only for the table.
                cells.last_mut().expect("one").pop();
                cells.last_mut().expect("one").push(c);
            }
            '|' if !code => cells.push(String::new()),
            c => cells.last_mut().expect("one").push(c),
        }
        code ^= c == '`' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    if cells.last().is_some_and(|last| last.trim().is_empty()) {
        cells.pop();
    }
    cells.iter().map(|cell| cell.trim().to_string()).collect()
}

/// Writes a table: a head, the delimiter line, and rows.
pub(crate) fn write(rows: &[String], to: &mut Wrap, out: &mut String) {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    // No screen shows more.
    const MOST: usize = 64;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0).min(MOST);
    let sides: Vec<Side> =
        (0..count).map(|i| rows[1].get(i).and_then(|cell| side(cell)).unwrap_or(Side::Left)).collect();
    let shown: Vec<Vec<Vec<Styled>>> = rows
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 1)
        .map(|(i, row)| {
            let style = if i == 0 { Style::BOLD } else { Style::PLAIN };
            (0..count).map(|at| whole(row.get(at).map_or("", String::as_str), style)).collect()
        })
        .collect();
    let widths = widths(&shown, count, to.columns());
    for (i, row) in shown.iter().enumerate() {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| wrap::lines(cell, width)).collect();
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            for (at, cell) in cells.iter().enumerate() {
                let text = cell.get(line).map_or(&[][..], Vec::as_slice);
                let text = &text[..text.len() - text.iter().rev().take_while(|c| c.0 == ' ').count()];
                let space = widths[at].saturating_sub(width_of(text));
                let before = match sides[at] {
                    Side::Left => 0,
                    Side::Middle => space / 2,
                    Side::Right => space,
                };
                if at > 0 {
                    separate(" │ ", to, out);
                }
                pad(before, to, out);
                text.iter().for_each(|&c| to.write(c, out));
                if at + 1 < count {
                    pad(space - before, to, out);
                }
            }
            to.newline(out);
        }
        if i == 0 {
            let lines: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
            separate(&lines.join("─┼─"), to, out);
            to.newline(out);
        }
    }
}

fn separate(text: &str, to: &mut Wrap, out: &mut String) {
    text.chars().for_each(|c| to.write((c, Style::DIM), out));
}

fn pad(spaces: usize, to: &mut Wrap, out: &mut String) {
    (0..spaces).for_each(|_| to.write((' ', Style::PLAIN), out));
}

/// How wide the columns become: the widest are cut until the table fits.
fn widths(rows: &[Vec<Vec<Styled>>], count: usize, columns: usize) -> Vec<usize> {
    // A character of Chinese needs two.
    const LEAST: usize = 2;
    let mut widths: Vec<usize> = (0..count)
        .map(|at| rows.iter().map(|row| width_of(&row[at])).max().unwrap_or(0).max(LEAST))
        .collect();
    let room = columns.saturating_sub(3 * count.saturating_sub(1));
    let mut total: usize = widths.iter().sum();
    while total > room {
        let Some(widest) = widths.iter_mut().max().filter(|width| **width > LEAST) else { break };
        *widest -= 1;
        total -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::super::markdown::Markdown;
    use super::*;

    fn shown(text: &str, columns: usize) -> String {
        let mut markdown = Markdown::new(columns + 1);
        let mut out = String::new();
        markdown.push(text, &mut out);
        markdown.finish(&mut out);
        for code in ["\x1b[0m", "\x1b[0;1m", "\x1b[0;2m", "\x1b[0;36m"] {
            out = out.replace(code, "");
        }
        out
    }

    #[test]
    fn columns_line_up_in_every_script() {
        let text = "| Name | 数量 |\n|:---|---:|\n| 苹果 | 3 |\n| pear | 12 |\n";
        assert_eq!(shown(text, 40), "Name │ 数量\n─────┼─────\n苹果 │    3\npear │   12\n");
    }

    #[test]
    fn cells_hold_markup_and_bars() {
        assert_eq!(cells("| a \\| b | `c|d` |  | e"), ["a | b", "`c|d`", "", "e"]);
        assert_eq!(shown("|a|b|\n|-|-|\n|**x**|`y`|", 40), "a  │ b\n───┼───\nx  │ y\n");
    }

    #[test]
    fn a_wide_table_is_made_narrow() {
        let text = "|a|b|\n|-|-|\n|one two three four|五六七八九十|";
        let lines = [
            "a         │ b",
            "──────────┼─────────",
            "one two   │ 五六七八",
            "three     │ 九十",
            "four      │ ",
        ];
        assert_eq!(shown(text, 20).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn delimiters_are_told_from_rows() {
        for row in ["|---|", "| :-: | --- |", "|-|"] {
            assert!(is_delimiter(row), "{row}");
        }
        for row in ["| a |", "|", "| - x |", "| : |", ""] {
            assert!(!is_delimiter(row), "{row}");
        }
    }
}
