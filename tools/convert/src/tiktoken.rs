//! `qwen.tiktoken`: the vocabulary of first-generation Qwen, lines of a token's bytes in base64 and its rank.
//!
//! There are no merges in it: a tiktoken vocabulary joins whatever two neighbours make the token of the lowest rank. So
//! each token was once made of the two parts that joining leaves if only what ranks below it exists, and these are its
//! merge.

use crate::error::{Result, invalid};
use crate::json::quote;
use qwip_quant::byte_map::char_of;
use qwip_quant::limits::MAX_VOCAB;
use std::collections::HashMap;

pub(crate) const FILE: &str = "qwen.tiktoken";
/// The special tokens come behind the ranks, in this order; then `<|extra_0|>` to `<|extra_204|>`.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const EXTRAS: usize = 205;
/// The longest token of the real vocabulary has 128 bytes.
const MAX_BYTES: usize = 1024;
/// No token: two parts that do not join.
const NONE: u32 = u32::MAX;

/// A vocabulary in the byte alphabet.
pub(crate) struct Tiktoken {
    /// By rank, which is the id.
    pub tokens: Vec<String>,
    /// `"left right"`, in order of the rank of what they make.
    pub merges: Vec<String>,
}

impl Tiktoken {
    pub(crate) fn read(text: &str) -> Result<Tiktoken> {
        let mut by_rank: Vec<Option<Vec<u8>>> = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let at = || format!("{FILE}: line {}", i + 1);
            let Some((bytes, rank)) =
                line.split_once(' ').and_then(|(bytes, rank)| Some((bytes, rank.parse::<usize>().ok()?)))
            else {
                return invalid(format!("{} is not \"base64 rank\": {}", at(), quote(line)));
            };
            let Some(token) = decode_base64(bytes) else {
                return invalid(format!("{}: {} is not base64", at(), quote(bytes)));
            };
            if token.is_empty() || token.len() > MAX_BYTES {
                return invalid(format!("{}: a token of {} bytes, not 1 to {MAX_BYTES}", at(), token.len()));
            }
            if rank >= MAX_VOCAB {
                return invalid(format!("{}: rank {rank} is not below {MAX_VOCAB}", at()));
            }
            if by_rank.len() <= rank {
                by_rank.resize(rank + 1, None);
            }
            if by_rank[rank].replace(token).is_some() {
                return invalid(format!("{}: rank {rank} is there twice", at()));
            }
        }
        let mut tokens = Vec::with_capacity(by_rank.len());
        for (rank, token) in by_rank.into_iter().enumerate() {
            match token {
                Some(token) => tokens.push(token),
                None => return invalid(format!("{FILE}: rank {rank} is missing")),
            }
        }
        let mut ranks = HashMap::with_capacity(tokens.len());
        for (rank, token) in tokens.iter().enumerate() {
            if let Some(first) = ranks.insert(token.as_slice(), rank as u32) {
                let text = quote(&String::from_utf8_lossy(token));
                return invalid(format!("{FILE}: {text} has the ranks {first} and {rank}"));
            }
        }
        let mapped = |bytes: &[u8]| bytes.iter().map(|&byte| char_of(byte)).collect::<String>();
        let mut merges = Vec::new();
        for (rank, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() > 1) {
            match *parts(token, rank as u32, &ranks) {
                [0, middle] => {
                    merges.push(format!("{} {}", mapped(&token[..middle]), mapped(&token[middle..])));
                }
                ref parts => {
                    let text = quote(&String::from_utf8_lossy(token));
                    return invalid(format!(
                        "{FILE}: {text}, rank {rank}, is made of {} tokens of lower ranks, not 2",
                        parts.len()
                    ));
                }
            }
        }
        Ok(Tiktoken { tokens: tokens.iter().map(|token| mapped(token)).collect(), merges })
    }

    /// The special tokens for a model with so many `rows` of embeddings, and their ids.
    pub(crate) fn special(&self, rows: usize) -> impl Iterator<Item = (usize, String)> {
        let first = self.tokens.len();
        let extras = (0..EXTRAS).map(|n| format!("<|extra_{n}|>"));
        let all = SPECIAL.map(String::from).into_iter().chain(extras).enumerate();
        // What is beyond the embeddings cannot be used; the first three must be there.
        all.map(move |(i, text)| (first + i, text))
            .filter(move |(id, _)| *id < rows.max(first + SPECIAL.len()))
    }
}

/// Where the parts of a token begin when neighbours have been joined, the lowest rank first and of equal ranks the
/// leftmost, as long as that makes a token that ranks below `limit`.
fn parts(token: &[u8], limit: u32, ranks: &HashMap<&[u8], u32>) -> Vec<usize> {
    let joined = |from: usize, to: usize| match ranks.get(&token[from..to]) {
        Some(&rank) if rank < limit => rank,
        _ => NONE,
    };
    let mut starts: Vec<usize> = (0..token.len()).collect();
    // joins[i] is the rank of what the parts i and i + 1 make; the last has no neighbour.
    let mut joins: Vec<u32> =
        (0..token.len()).map(|i| if i + 2 <= token.len() { joined(i, i + 2) } else { NONE }).collect();
    loop {
        let lowest = joins.iter().copied().min().unwrap_or(NONE);
        let Some(at) = joins.iter().position(|&join| join == lowest).filter(|_| lowest != NONE) else {
            return starts;
        };
        starts.remove(at + 1);
        joins.remove(at + 1);
        let end = |i: usize| starts.get(i + 1).copied().unwrap_or(token.len());
        for i in [at.wrapping_sub(1), at] {
            if i < starts.len() {
                joins[i] = if i + 1 < starts.len() { joined(starts[i], end(i + 1)) } else { NONE };
            }
        }
    }
}

/// The bytes of a text in the usual alphabet, padded to a multiple of four characters.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let text = text.as_bytes();
    let digits = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    if !text.len().is_multiple_of(4) || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for &digit in group {
            bits = bits << 6 | u32::from(value(digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let three = bits.to_be_bytes();
        let (whole, rest) = three[1..].split_at(group.len() - 1);
        // What a shorter group leaves over must be nothing.
        if rest.iter().any(|&byte| byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_as_it_is_defined() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("/+8A", b"\xff\xef\0"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v=", "Zm 9", "Zm-_", "====", "=Zg="] {
            assert_eq!(decode_base64(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_merged_of_what_ranks_below_it() {
        let tokens: [&[u8]; 7] = [b"a", b"b", b"c", b"bc", b"ab", b"abc", b"aab"];
        let ranks: HashMap<&[u8], u32> = tokens.iter().copied().zip(0..).collect();
        assert_eq!(parts(b"abc", 5, &ranks), [0, 1], "bc ranks below ab");
        assert_eq!(parts(b"abc", 6, &ranks), [0], "what exists is joined");
        assert_eq!(parts(b"aab", 6, &ranks), [0, 1]);
        assert_eq!(parts(b"ab", 3, &ranks), [0, 1]);
        assert_eq!(parts(b"ccc", 7, &ranks), [0, 1, 2]);
    }
}
