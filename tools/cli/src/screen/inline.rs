//! Markdown inside a line: emphasis, code, links.
//!
//! A marker counts only if its partner stands on the same line, not too far away. Until that is known the text behind it
//! is kept back, so that nothing that was shown has to be taken back, and a lone marker stays the character it is.

use super::wrap::{Style, Styled};

/// A partner is looked for within so many bytes.
const REACH: usize = 600;

/// What comes at the beginning of a text.
enum Found {
    /// More text will tell.
    Wait,
    /// So many bytes are no marker.
    Text(usize),
    /// So many bytes, and what they show as.
    Span(usize, Vec<Styled>),
}

/// Styles the beginning of `text` as far as it is certain; returns its length in bytes. `end`: nothing follows.
/// `before` is the character in front of it.
pub(crate) fn inline(
    text: &str,
    end: bool,
    mut before: char,
    style: Style,
    put: &mut dyn FnMut(Styled),
) -> usize {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let found = match c {
            '\\' => escaped(rest, end, style),
            '`' => code(rest, end, style),
            '*' | '_' | '~' => emphasis(rest, end, before, style),
            '[' => link(rest, end, style),
            '!' if rest.len() == 1 && !end => Found::Wait,
            // A picture shows as its description.
            '!' if rest.starts_with("![") => match link(&rest[1..], end, style) {
                Found::Span(len, shown) => Found::Span(len + 1, shown),
                Found::Wait => Found::Wait,
                Found::Text(_) => Found::Text(1),
            },
            _ => Found::Text(c.len_utf8()),
        };
        let len = match found {
            Found::Wait => return at,
            Found::Text(len) => {
                rest[..len].chars().for_each(|c| put((c, style)));
                len
            }
            Found::Span(len, shown) => {
                shown.into_iter().for_each(&mut *put);
                len
            }
        };
        before = rest[..len].chars().next_back().unwrap_or(before);
        at += len;
    }
    at
}

/// All of a text that has ended.
pub(crate) fn whole(text: &str, style: Style) -> Vec<Styled> {
    let mut shown = Vec::new();
    inline(text, true, ' ', style, &mut |c| shown.push(c));
    shown
}

/// How many bytes the run of `c` at the beginning of `text` has.
fn run(text: &str, c: char) -> usize {
    text.len() - text.trim_start_matches(c).len()
}

/// What to do where a partner was not found.
fn lone(rest: &str, end: bool, len: usize) -> Found {
    if end || rest.len() > REACH { Found::Text(len) } else { Found::Wait }
}

fn escaped(rest: &str, end: bool, style: Style) -> Found {
    // Not brackets: \( and \[ are formulas.
    match rest[1..].chars().next() {
        None if !end => Found::Wait,
        Some(c) if "*_`~|#>-".contains(c) => Found::Span(2, vec![(c, style)]),
        _ => Found::Text(1),
    }
}

fn code(rest: &str, end: bool, style: Style) -> Found {
    let ticks = run(rest, '`');
    if ticks == rest.len() && !end {
        return lone(rest, end, ticks);
    }
    let mut at = ticks;
    while let Some(next) = rest[at..].find('`').filter(|next| at + next <= REACH) {
        let close = at + next;
        let found = run(&rest[close..], '`');
        if close + found == rest.len() && !end {
            return Found::Wait;
        }
        if found == ticks {
            let inside = &rest[ticks..close];
            let padded = inside.starts_with(' ') && inside.ends_with(' ') && !inside.trim().is_empty();
            let inside = if padded { &inside[1..inside.len() - 1] } else { inside };
            let style = style.and(Style::CODE);
            return Found::Span(close + ticks, inside.chars().map(|c| (c, style)).collect());
        }
        at = close + found;
    }
    lone(rest, end, ticks)
}

fn emphasis(rest: &str, end: bool, before: char, style: Style) -> Found {
    let marker = rest.chars().next().expect("a marker");
    let len = run(rest, marker);
    if len == rest.len() && !end {
        return lone(rest, end, len);
    }
    let more = match (marker, len) {
        ('~', 2) => Style::STRUCK,
        ('~', _) => return Found::Text(len),
        (_, 1) => Style::ITALIC,
        (_, 2) => Style::BOLD,
        (_, 3) => Style::BOLD.and(Style::ITALIC),
        _ => return Found::Text(len),
    };
    let opens = rest[len..]
        .chars()
        .next()
        .is_some_and(|next| !next.is_whitespace() && !is_inside_word(marker, len, before, next));
    if !opens {
        return Found::Text(len);
    }
    let mut at = len;
    while let Some(next) = rest[at..].find([marker, '`']).filter(|next| at + next <= REACH) {
        let close = at + next;
        let found = run(&rest[close..], rest[close..].chars().next().expect("found"));
        if close + found == rest.len() && !end {
            return Found::Wait;
        }
        at = close + found;
        if rest[close..].starts_with('`') {
            // What stands between backticks is no marker.
            at = match code(&rest[close..], end, style) {
                Found::Wait => return Found::Wait,
                Found::Span(len, _) | Found::Text(len) => close + len,
            };
            continue;
        }
        let last = rest[..close].chars().next_back().unwrap_or(' ');
        let after = rest[at..].chars().next().unwrap_or(' ');
        // Of three markers the inner ones close what was opened inside.
        let inner = match (len, found) {
            _ if len == found => 0,
            (1 | 2, 3) => 3 - len,
            _ => continue,
        };
        if !last.is_whitespace() && !is_inside_word(marker, len, last, after) {
            let inside = whole(&rest[len..close + inner], style.and(more));
            return Found::Span(close + inner + len, inside);
        }
    }
    lone(rest, end, len)
}

/// Whether a marker between these two is a part of a word or of a product: snake_case, 2*3.
fn is_inside_word(marker: char, len: usize, before: char, after: char) -> bool {
    match marker {
        '_' => before.is_alphanumeric() && after.is_alphanumeric(),
        _ => len == 1 && before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric(),
    }
}

/// `[label](target)` shows as `label (target)`.
fn link(rest: &str, end: bool, style: Style) -> Found {
    let Some(close) = matching(rest, '[', ']') else { return lone(rest, end, 1) };
    match rest[close + 1..].chars().next() {
        None if !end => return Found::Wait,
        Some('(') => {}
        _ => return Found::Text(1),
    }
    let Some(last) = matching(&rest[close + 1..], '(', ')') else { return lone(rest, end, 1) };
    let label = &rest[1..close];
    let target = rest[close + 2..close + 1 + last].split(' ').next().unwrap_or("");
    if target.is_empty() {
        return Found::Text(1);
    }
    let mut shown = whole(label, style.and(Style::UNDERLINED));
    if label != target {
        let address = if label.is_empty() { target.to_string() } else { format!(" ({target})") };
        shown.extend(address.chars().map(|c| (c, style)));
    }
    Found::Span(close + 2 + last, shown)
}

/// Where the bracket closes that `text` begins with.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices().take_while(|&(at, _)| at <= REACH) {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with its styles as tags.
    fn shown(text: &str) -> String {
        let mut out = String::new();
        let mut last = Style::PLAIN;
        for (c, style) in whole(text, Style::PLAIN) {
            if style != last {
                out.push_str(&format!(
                    "<{}>",
                    if style == Style::PLAIN { String::new() } else { name(style) }
                ));
                last = style;
            }
            out.push(c);
        }
        out
    }

    fn name(style: Style) -> String {
        let all = [
            (Style::BOLD, "b"),
            (Style::ITALIC, "i"),
            (Style::CODE, "c"),
            (Style::STRUCK, "s"),
            (Style::UNDERLINED, "u"),
        ];
        all.iter().filter(|(one, _)| style.and(*one) == style).map(|(_, name)| *name).collect()
    }

    #[test]
    fn markers_with_a_partner_become_styles() {
        assert_eq!(shown("a **b** *c* `d` ~~e~~"), "a <b>b<> <i>c<> <c>d<> <s>e");
        assert_eq!(shown("中文**“强调”**中文"), "中文<b>“强调”<>中文");
        assert_eq!(shown("***all*** **a *b***"), "<bi>all<> <b>a <bi>b");
        assert_eq!(shown("**a `**` b**"), "<b>a <bc>**<b> b");
        assert_eq!(shown("`` a`b ``"), "<c>a`b");
        assert_eq!(shown("[text](http://x.y/(a)) [u](u)"), "<u>text<> (http://x.y/(a)) <u>u");
        assert_eq!(shown("![a picture](p.png \"t\")"), "<u>a picture<> (p.png)");
    }

    #[test]
    fn lone_markers_and_those_inside_words_stay() {
        for text in [
            "2*3 and 4*5",
            "a * b * c",
            "snake_case_name",
            "**open",
            "`open",
            "1~3 and 5~8",
            "[x] done",
            "x[1](",
            "****",
            "__init__.py",
            "\\( x \\) and \\[ y \\]",
            "5 * 3 = 15",
            "a\\",
        ] {
            assert!(!shown(text).contains("<b>") || text == "__init__.py", "{text}: {}", shown(text));
            if text != "__init__.py" {
                assert_eq!(shown(text), text);
            }
        }
        assert_eq!(shown("\\*a\\*"), "*a*");
    }

    #[test]
    fn a_partner_far_away_is_none() {
        let text = format!("**{}** b", "x".repeat(2 * REACH));
        assert_eq!(inline(&text, false, ' ', Style::PLAIN, &mut |_| {}), text.len());
        assert_eq!(inline("a **b", false, ' ', Style::PLAIN, &mut |_| {}), 2);
    }
}
