//! Text to try tokenizers on, the same in every run.

/// A generator of pseudo-random numbers (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const WORDS: &[&str] = &[
    "the",
    "of",
    "tokenizer",
    "and",
    "Hello",
    "WORLD",
    "internationalisation",
    "a",
    "running",
    "quickly",
    "naïve",
    "I'm",
    "don't",
    "they'll",
    "we'VE",
    "You'Re",
    "it'S",
    "he'd",
    "o'clock",
    "rock'n'roll",
    "''s",
    "'tis",
    "x'ſ",
    "Straße",
    "Ελλάδα",
    "проверка",
    "Български",
    "кириллица",
    "việt",
    "İstanbul",
    "ﬁne",
    "Ａｂｃ",
    "résumé",
];
const SCRIPTS: &[&str] = &[
    "你好，世界！",
    "我们在这里讨论分词器的实现。",
    "機械学習モデル",
    "こんにちは、元気ですか？",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "שָׁלוֹם עֲלֵיכֶם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "வணக்கம்",
    "ᏣᎳᎩ",
    "𠀀𠀁𪚥",
    "𝒜𝓫𝔠",
];
const SYMBOLS: &[&str] = &[
    "😀",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪",
    "👍🏽",
    "🦙",
    "→",
    "≠",
    "∑",
    "…",
    "—",
    "“quoted”",
    "$",
    "€",
    "©",
    "\u{feff}",
    "\u{200b}",
    "\u{ad}",
    "\u{0}",
    "\u{7f}",
    "\u{fffd}",
    "\u{e000}",
    "\u{10ffff}",
];
const MARKED: &[&str] = &[
    "e\u{301}",
    "a\u{308}\u{304}",
    "q\u{307}\u{323}",
    "q\u{323}\u{307}",
    "\u{1100}\u{1161}\u{11a8}",
    "\u{301}lone",
    "n\u{303}o",
    "\u{915}\u{93c}",
    "\u{212b}",
    "\u{2126}",
    "A\u{30a}",
    "o\u{302}\u{323}",
    "ש\u{5bc}\u{5c1}",
];
const NUMBERS: &[&str] =
    &["0", "42", "1234567890", "3.14159", "½", "①", "Ⅷ", "²", "٣٤٥", "१२", "１２３", "10**3", "1e-5", "𝟙"];
const GAPS: &[&str] = &[
    " ",
    "  ",
    "        ",
    "\t",
    "\t\t",
    "\n",
    "\r\n",
    "\r",
    "\n\n\n",
    " \n",
    "\n ",
    " \r\n\t",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{85}",
    "\u{b}",
    "\u{c}",
    "\u{2003}\u{2003}",
    "\n\r\n\r",
    "",
];
const CODE: &[&str] = &[
    "fn main() {\n    println!(\"{}\", x[i] + 1);\n}\n",
    "for (int i = 0; i < n; ++i) {\n\ta[i] *= b[i]; // scale\n}\n",
    "def f(x):\n    return {k: v for k, v in x.items() if v is not None}\n\n",
    "SELECT * FROM t WHERE a <> 'it''s' AND b >= 1.5e3;\r\n",
    "<div class=\"a-b\">&nbsp;</div>\n<!-- -->",
    "{\"a\": [1, 2.5, null], \"b\\n\": \"\\u00e9\"}",
    "https://example.org/a/b?c=d&e=%20f#g_h",
    "=====================\n---\n### *title*_x_\n",
];
const SPECIAL: &[&str] = &[
    "<|im_start|>user\n",
    "<|im_end|>\n",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<|im_end|",
    "<|fim_pad|>",
    "<unk>",
    "the whole",
    "the w",
    "the whol",
    "中文",
    "[PAD0]",
    "[PAD151646]",
    "[PAD151935]",
    "[PAD15164",
    "<<|im_end|>>",
];

/// At least `bytes` of everything that tokenizers differ about, mixed.
pub(crate) fn mixed(seed: u64, bytes: usize) -> String {
    let mut rng = Rng(seed);
    let mut text = String::new();
    while text.len() < bytes {
        let list = match rng.below(16) {
            0..=4 => WORDS,
            5..=6 => SCRIPTS,
            7 => SYMBOLS,
            8 => MARKED,
            9..=10 => NUMBERS,
            11 => CODE,
            12 => SPECIAL,
            _ => GAPS,
        };
        text.push_str(rng.pick(list));
        match rng.below(64) {
            0..=31 => text.push(' '),
            32..=39 => text.push_str(rng.pick(GAPS)),
            40 => text.extend(std::iter::repeat_n(' ', rng.below(300))),
            41 => text.extend(std::iter::repeat_n('\n', rng.below(40))),
            42 => text.extend(std::iter::repeat_n(char::from(b'!' + rng.below(15) as u8), rng.below(80))),
            43 => text.extend((0..rng.below(90)).map(|_| char::from(b'a' + rng.below(26) as u8))),
            44 => text.extend((0..rng.below(40)).map(|_| char::from(b'0' + rng.below(10) as u8))),
            _ => {}
        }
    }
    text
}

/// Random bytes read as UTF-8, of which nearly all become U+FFFD or ASCII.
pub(crate) fn random_bytes(seed: u64, bytes: usize) -> String {
    let mut rng = Rng(seed);
    let bytes: Vec<u8> = (0..bytes).map(|_| rng.next_u64() as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Characters from all of Unicode, the lower planes more often.
pub(crate) fn random_scalars(seed: u64, count: usize) -> String {
    let mut rng = Rng(seed);
    let mut scalar = || {
        let bound = [0x80, 0x800, 0x3000, 0x1_0000, 0x2_0000, 0x11_0000][rng.below(6)];
        char::from_u32(rng.below(bound) as u32).unwrap_or('\u{d7ff}')
    };
    (0..count).map(|_| scalar()).collect()
}
