//! SentencePiece's byte pair merges (CodeQwen1.5): the tokens have scores in place of ranks, and spaces a character of
//! their own.
//!
//! A text is written with `▁` for each space, and every character is a symbol. Of all neighbours that together are a
//! token, those with the best score are joined first, of equal scores the leftmost. A character without a token becomes
//! the tokens of its bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use qwip_quant::gguf::Gguf;

use super::error::TokenizerError;
use super::vocab::{TokenKind, Vocab};

/// What stands for a space.
pub(super) const SPACE: char = '\u{2581}';
/// No merge, or no neighbour.
const NONE: u32 = u32::MAX;

/// How pieces of text become tokens.
pub(super) struct Pieces {
    /// Which place the score of each token has among all, from the best on; equal scores share one. NONE for a token
    /// that no merge makes.
    ranks: Box<[u32]>, // [tokens]
    /// The token of each single byte.
    bytes: Box<[u32; 256]>,
    /// Bytes of the longest token that a merge makes.
    longest: usize,
    /// No token has a space behind something else, so that a text may be cut before its spaces.
    cut_at_spaces: bool,
    /// A text begins with a space of its own.
    space_prefix: bool,
}

impl Pieces {
    pub(super) fn load(gguf: &Gguf, file: &[u8], vocab: &Vocab) -> Result<Pieces, TokenizerError> {
        let is = |id: u32, kind: TokenKind| vocab.kind(id) == Some(kind);
        let mut bytes = Box::new([0; 256]);
        for (byte, id) in (0u8..=255).zip(bytes.iter_mut()) {
            let found = vocab.find_in(file, format!("<0x{byte:02X}>").as_bytes());
            *id =
                found.filter(|&id| is(id, TokenKind::Byte)).ok_or(TokenizerError::MissingByteToken(byte))?;
        }
        let space = vocab.find_in(file, SPACE.to_string().as_bytes());
        if !space.is_some_and(|id| is(id, TokenKind::Normal)) {
            return Err(TokenizerError::MissingSpace);
        }

        let key = "tokenizer.ggml.scores";
        let scores = gguf.array(key)?.ok_or(TokenizerError::MissingKey(key))?;
        if scores.len != vocab.len() {
            return Err(TokenizerError::UnequalScores { scores: scores.len, tokens: vocab.len() });
        }
        // Zero has one sign from here on: scores are ordered by their bits.
        let scores: Vec<f32> = scores.f32s(file)?.map(|score| score + 0.0).collect();
        if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
            return Err(TokenizerError::BadScore { id, score: scores[id] });
        }
        let mut order = scores.clone();
        order.sort_unstable_by(|a, b| b.total_cmp(a));
        order.dedup();

        let mut pieces = Pieces {
            ranks: vec![NONE; vocab.len()].into_boxed_slice(),
            bytes,
            longest: 0,
            cut_at_spaces: true,
            space_prefix: gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        };
        for id in vocab.ids_of_kind(|kind| kind == TokenKind::Normal) {
            let (text, score) = (vocab.text_in(file, id), scores[id as usize]);
            let rank = order.binary_search_by(|other| score.total_cmp(other)).unwrap_or_default();
            pieces.ranks[id as usize] = rank as u32;
            pieces.longest = pieces.longest.max(text.len());
            pieces.cut_at_spaces &= !has_inner_space(text);
        }
        Ok(pieces)
    }

    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the tokens of a text, before which a space is put if it `begins` one and the vocabulary wants that.
    pub(super) fn append(&self, text: &str, begins: bool, file: &[u8], vocab: &Vocab, out: &mut Vec<u32>) {
        let mut spelled = String::with_capacity(text.len() + 8);
        spelled.extend((begins && self.space_prefix).then_some(SPACE));
        spelled.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
        let mut work = Work::default();
        let mut rest = spelled.as_str();
        while !rest.is_empty() {
            let (word, after) = rest.split_at(if self.cut_at_spaces { first_word(rest) } else { rest.len() });
            self.append_word(word, file, vocab, &mut work, out);
            rest = after;
        }
    }

    /// What the merge of neighbours ranks that together are written so.
    fn rank(&self, file: &[u8], vocab: &Vocab, text: &[u8]) -> u32 {
        if text.len() > self.longest {
            return NONE;
        }
        vocab.find_in(file, text).map_or(NONE, |id| self.ranks[id as usize])
    }

    /// Joins the characters of a word with a linked list and a heap of candidates: n log n for words of any length.
    fn append_word(&self, word: &str, file: &[u8], vocab: &Vocab, work: &mut Work, out: &mut Vec<u32>) {
        let Work { symbols, heap } = work;
        symbols.clear();
        symbols.extend(word.char_indices().enumerate().map(|(i, (start, c))| Symbol {
            start,
            end: start + c.len_utf8(),
            prev: i.wrapping_sub(1),
            next: i + 1,
            rank: NONE,
        }));
        let count = symbols.len();
        let text = word.as_bytes();
        for i in 1..count {
            let rank = self.rank(file, vocab, &text[symbols[i - 1].start..symbols[i].end]);
            symbols[i - 1].rank = rank;
            if rank != NONE {
                heap.push(Reverse((rank, i - 1)));
            }
        }
        while let Some(Reverse((rank, i))) = heap.pop() {
            // A candidate is stale when either of its symbols has been joined since: the pair then is another.
            if symbols[i].rank != rank {
                continue;
            }
            let gone = symbols[i].next;
            let Symbol { end, next, .. } = symbols[gone];
            symbols[gone].end = symbols[gone].start;
            symbols[gone].rank = NONE;
            symbols[i] = Symbol { end, next, rank: NONE, ..symbols[i] };
            if next < count {
                symbols[next].prev = i;
            }
            // The first symbol has no neighbour before it: prev wraps to the largest number.
            for left in [symbols[i].prev, i] {
                if left >= count || symbols[left].next >= count {
                    continue;
                }
                let right = symbols[left].next;
                let rank = self.rank(file, vocab, &text[symbols[left].start..symbols[right].end]);
                symbols[left].rank = rank;
                if rank != NONE {
                    heap.push(Reverse((rank, left)));
                }
            }
        }
        for Symbol { start, end, .. } in symbols.iter().filter(|s| s.start < s.end) {
            let text = &text[*start..*end];
            match vocab.find_in(file, text).filter(|&id| self.ranks[id as usize] != NONE) {
                Some(id) => out.push(id),
                None => out.extend(text.iter().map(|&byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(&*self.ranks) + size_of_val(&*self.bytes)
    }
}

/// What is kept from word to word.
#[derive(Default)]
struct Work {
    symbols: Vec<Symbol>,
    /// Ranks of pairs and where these begin, the lowest first. Empty between two words.
    heap: BinaryHeap<Reverse<(u32, usize)>>,
}

/// A part of a word; empty once it has been joined to the one before.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    prev: usize,
    next: usize,
    /// Of this and the next one joined.
    rank: u32,
}

/// Where the first space begins behind something that is none.
fn first_word(text: &str) -> usize {
    let word = text.trim_start_matches(SPACE);
    let spaces = text.len() - word.len();
    word.find(SPACE).map_or(text.len(), |at| spaces + at)
}

fn has_inner_space(token: &[u8]) -> bool {
    // Text that is no UTF-8 never is a part of another.
    std::str::from_utf8(token).is_ok_and(|text| first_word(text) < text.len())
}

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_of(token: &[u8]) -> Option<u8> {
    let digits = token.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digit = |c: u8| char::from(c).to_digit(16);
    match *digits {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    }
}

/// Appends the text of a token with its spaces.
pub(super) fn append_bytes(token: &[u8], out: &mut Vec<u8>) {
    let mut space = [0; 4];
    let space = SPACE.encode_utf8(&mut space).as_bytes();
    let mut rest = token;
    while let Some((&first, after)) = rest.split_first() {
        rest = match rest.strip_prefix(space) {
            Some(after) => {
                out.push(b' ');
                after
            }
            None => {
                out.push(first);
                after
            }
        };
    }
}
