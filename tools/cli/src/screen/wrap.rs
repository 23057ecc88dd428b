//! Lines of a terminal: words stay whole, Chinese breaks between characters, styles become escape sequences.

use unicode_width::UnicodeWidthChar;

/// How a character looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Style(u8);

impl Style {
    pub(crate) const PLAIN: Style = Style(0);
    pub(crate) const BOLD: Style = Style(1);
    pub(crate) const DIM: Style = Style(2);
    pub(crate) const ITALIC: Style = Style(4);
    pub(crate) const UNDERLINED: Style = Style(8);
    pub(crate) const STRUCK: Style = Style(16);
    pub(crate) const CODE: Style = Style(32);

    /// Both.
    pub(crate) fn and(self, other: Style) -> Style {
        Style(self.0 | other.0)
    }

    /// The escape sequence that sets exactly this.
    fn push_to(self, out: &mut String) {
        out.push_str("\x1b[0");
        for (style, code) in [
            (Style::BOLD, ";1"),
            (Style::DIM, ";2"),
            (Style::ITALIC, ";3"),
            (Style::UNDERLINED, ";4"),
            (Style::STRUCK, ";9"),
            (Style::CODE, ";36"),
        ] {
            if self.0 & style.0 != 0 {
                out.push_str(code);
            }
        }
        out.push('m');
    }
}

/// A character and how it looks.
pub(crate) type Styled = (char, Style);

/// Columns that a character takes.
pub(crate) fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Columns that a text takes.
pub(crate) fn width_of(text: &[Styled]) -> usize {
    text.iter().map(|&(c, _)| width(c)).sum()
}

/// Whether a line may end between two characters that are no spaces.
pub(crate) fn may_break(before: char, after: char) -> bool {
    // Punctuation that belongs to what stands in front of it, small kana among it, and what opens something.
    const NOT_FIRST: &str =
        "，。、；：？！）］｝」』】》〉〕〗’”…—·‥％℃ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ,.;:?!)]}%'\"";
    const NOT_LAST: &str = "（［｛「『【《〈〔〖‘“￥＄([{$#";
    let joined = width(after) == 0 || width(before) == 0;
    let wide = width(before) == 2 || width(after) == 2;
    wide && !joined && !NOT_FIRST.contains(after) && !NOT_LAST.contains(before)
}

/// Breaks lines while their text comes in. What is certain is written at once; the word that may still have to go to
/// the next line is kept until it ends.
#[derive(Debug)]
pub(crate) struct Wrap {
    /// Columns that are used: one fewer than there are, because terminals differ in what they do at the last one.
    columns: usize,
    /// What continued lines begin with.
    hang: Vec<Styled>,
    column: usize,
    /// Where the text of this line begins.
    start: usize,
    spaces: Vec<Style>,
    word: Vec<Styled>,
    word_width: usize,
    /// The word is the rest of one that is longer than a line.
    glued: bool,
    /// What the terminal is set to.
    style: Style,
}

impl Wrap {
    pub(crate) fn new(columns: usize) -> Wrap {
        Wrap {
            columns: columns.max(12) - 1,
            hang: Vec::new(),
            column: 0,
            start: 0,
            spaces: Vec::new(),
            word: Vec::new(),
            word_width: 0,
            glued: false,
            style: Style::PLAIN,
        }
    }

    /// Columns that a line has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns that are written on this line.
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// Begins a line with `first`; lines that continue it begin with `hang`.
    pub(crate) fn begin(&mut self, first: &[Styled], hang: &[Styled], out: &mut String) {
        first.iter().for_each(|&c| self.write(c, out));
        self.start = self.column;
        // Beyond that little room for text would be left.
        self.hang = if width_of(hang) * 2 <= self.columns { hang.to_vec() } else { Vec::new() };
    }

    /// One character of text.
    pub(crate) fn put(&mut self, c: Styled, out: &mut String) {
        if c.0 == ' ' {
            self.flush(out);
            return self.spaces.push(c.1);
        }
        if self.word.last().is_some_and(|last| may_break(last.0, c.0)) {
            self.flush(out);
        }
        self.word_width += width(c.0);
        self.word.push(c);
        if self.word_width + width_of(&self.hang) >= self.columns {
            self.flush(out);
            self.glued = true;
        }
    }

    /// A character that stays where it is, however long the line gets.
    pub(crate) fn write(&mut self, (c, style): Styled, out: &mut String) {
        // A space looks the same in most styles.
        if style != self.style && (c != ' ' || style == Style::PLAIN) {
            style.push_to(out);
            self.style = style;
        }
        out.push(c);
        self.column += width(c);
    }

    /// Ends the line.
    pub(crate) fn newline(&mut self, out: &mut String) {
        self.finish(out);
        out.push('\n');
        (self.column, self.start) = (0, 0);
        self.hang.clear();
    }

    /// Writes what was kept, and sets the terminal back.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.flush(out);
        self.spaces.clear();
        self.reset(out);
    }

    fn reset(&mut self, out: &mut String) {
        if self.style != Style::PLAIN {
            Style::PLAIN.push_to(out);
            self.style = Style::PLAIN;
        }
    }

    /// Writes the word, on the next line if it does not fit this one.
    fn flush(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let end = self.column + self.spaces.len() + self.word_width;
        if end > self.columns && self.column > self.start && !self.glued {
            self.reset(out);
            out.push('\n');
            self.column = 0;
            for c in std::mem::take(&mut self.hang) {
                self.write(c, out);
                self.hang.push(c);
            }
            self.start = self.column;
            self.spaces.clear();
        }
        for style in std::mem::take(&mut self.spaces) {
            self.write((' ', style), out);
        }
        for c in std::mem::take(&mut self.word) {
            self.write(c, out);
        }
        // The terminal has wrapped what is longer than a line.
        self.column = if self.column > self.columns { self.column % (self.columns + 1) } else { self.column };
        self.word_width = 0;
        self.glued = false;
    }
}

/// `text` in lines of at most `columns`, for the cells of a table.
pub(crate) fn lines(text: &[Styled], columns: usize) -> Vec<Vec<Styled>> {
    let mut lines: Vec<Vec<Styled>> = vec![Vec::new()];
    let (mut used, mut at) = (0, 0);
    while at < text.len() {
        let mut end = at + 1;
        while end < text.len()
            && text[at].0 != ' '
            && text[end].0 != ' '
            && !may_break(text[end - 1].0, text[end].0)
        {
            end += 1;
        }
        let word = &text[at..end];
        if used > 0 && used + width_of(word) > columns {
            lines.push(Vec::new());
            used = 0;
        }
        for &(c, style) in word {
            if used == 0 && c == ' ' {
                continue;
            }
            // A word that is longer than the column breaks where it must.
            if used + width(c) > columns && used > 0 {
                lines.push(Vec::new());
                used = 0;
            }
            lines.last_mut().expect("there is one").push((c, style));
            used += width(c);
        }
        at = end;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, columns: usize, hang: &str) -> Vec<String> {
        let mut wrap = Wrap::new(columns + 1);
        let mut out = String::new();
        let hang: Vec<Styled> = hang.chars().map(|c| (c, Style::PLAIN)).collect();
        wrap.begin(&hang, &hang, &mut out);
        text.chars().for_each(|c| wrap.put((c, Style::PLAIN), &mut out));
        wrap.finish(&mut out);
        out.lines().map(str::to_string).collect()
    }

    #[test]
    fn words_stay_whole_and_chinese_breaks_anywhere_but_before_a_stop() {
        assert_eq!(wrapped("the quick brown fox", 11, ""), ["the quick", "brown fox"]);
        assert_eq!(wrapped("春眠不觉晓处处闻啼鸟", 12, ""), ["春眠不觉晓处", "处闻啼鸟"]);
        // The stop would be the first character of the second line.
        assert_eq!(wrapped("春眠不觉晓处，处闻", 12, ""), ["春眠不觉晓", "处，处闻"]);
        assert_eq!(wrapped("我们说（很好）的话", 12, ""), ["我们说（很", "好）的话"]);
        assert_eq!(wrapped("我们都说（很好）的话", 11, ""), ["我们都说", "（很好）的", "话"]);
        assert_eq!(wrapped("用Rust写的程序很快", 12, ""), ["用Rust写的程", "序很快"]);
        assert_eq!(wrapped("a bb ccc dddd eeeee", 11, "  "), ["  a bb ccc", "  dddd", "  eeeee"]);
    }

    #[test]
    fn what_is_longer_than_a_line_is_left_to_the_terminal() {
        let url = "https://example.org/a/long/path";
        assert_eq!(
            wrapped(&format!("see {url} there"), 16, ""),
            ["see", &format!("{url} "), "there"].map(str::trim)
        );
        assert_eq!(wrapped("", 16, ""), [""; 0]);
    }

    #[test]
    fn cells_are_cut_into_lines() {
        let cell: Vec<Styled> = "一二三四 five".chars().map(|c| (c, Style::PLAIN)).collect();
        let of = |columns| {
            let lines = lines(&cell, columns);
            lines.iter().map(|l| l.iter().map(|c| c.0).collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(of(5), ["一二", "三四 ", "five"]);
        assert_eq!(of(20), ["一二三四 five"]);
        assert_eq!(of(3), ["一", "二", "三", "四 ", "fiv", "e"]);
    }

    #[test]
    fn styles_are_set_and_taken_back() {
        let mut wrap = Wrap::new(40);
        let mut out = String::new();
        for c in
            [('a', Style::PLAIN), ('b', Style::BOLD.and(Style::DIM)), (' ', Style::BOLD), ('c', Style::PLAIN)]
        {
            wrap.put(c, &mut out);
        }
        wrap.newline(&mut out);
        assert_eq!(out, "a\x1b[0;1;2mb \x1b[0mc\n");
    }
}
