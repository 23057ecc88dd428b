//! The largest logits, so that few bytes come back to the host for each token.

use crate::buffer::Span;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// As many are found, at most.
pub const MAX_K: usize = 64;
/// Tokens are at most so many.
pub const MAX_VOCAB: usize = PART * 1024;
/// A workgroup takes so many tokens.
const PART: usize = 2048;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopK {
    /// Tokens, at most [`MAX_VOCAB`].
    pub vocab: usize,
    /// How many are wanted, 1 to [`MAX_K`].
    pub k: usize,
    /// Divides logits in the sum; above 0.
    pub temperature: f32,
    /// Divides positive and multiplies negative logits of tokens seen lately; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted once from the logit of every token seen lately; 0 is off.
    pub presence_penalty: f32,
    /// Subtracted for each occurrence lately; 0 is off.
    pub frequency_penalty: f32,
}

impl TopK {
    /// Bytes of the scratch memory.
    pub fn parts_bytes(&self) -> u64 {
        8 * (self.vocab.div_ceil(PART) * (self.k + 2)) as u64
    }

    /// Bytes of what is found.
    pub fn found_bytes(&self) -> u64 {
        8 * (self.k + 2) as u64
    }
}

/// Finds the k largest of `logits` f32 `[vocab]`, best first, of equal ones the lowest ids, never NaN or negative infinity,
/// into `found` ([`Found::read`]). Only tokens whose bit is set in `allowed`, u32 `[vocab / 32]`, count, after the penalties
/// on those in `seen.0`, u32 `[seen.1, 2]`: an id, ascending, and how often it occurs. For k = 1 both zeros are equal, as
/// for a greedy choice on the CPU, otherwise negative zero is smaller, as there, too. `parts` is scratch
/// ([`TopK::parts_bytes`]); all are different buffers.
pub fn top_k(
    rec: &mut Recording,
    wanted: &TopK,
    logits: &Span,
    allowed: Option<&Span>,
    seen: Option<(&Span, usize)>,
    [parts, found]: [&Span; 2],
) {
    let TopK { vocab, k, temperature, repeat_penalty, presence_penalty, frequency_penalty } = *wanted;
    debug_assert!((1..=MAX_VOCAB).contains(&vocab) && (1..=MAX_K).contains(&k), "{wanted:?}");
    debug_assert!(parts.bytes >= wanted.parts_bytes() && found.bytes >= wanted.found_bytes(), "{wanted:?}");
    let count = vocab.div_ceil(PART) as u32;
    let sharpness = (1.0 / temperature).to_bits();
    let mut params = vec![vocab as u32, k as u32];
    params.extend([u32::from(allowed.is_some()), seen.map_or(0, |(_, len)| len as u32)]);
    params.extend([repeat_penalty, presence_penalty, frequency_penalty].map(f32::to_bits));
    params.push(sharpness);
    // What is not there is not read; something has to stand in its place.
    let spans = [logits, allowed.unwrap_or(logits), seen.map_or(logits, |(span, _)| span), parts];
    rec.dispatch(Kernel::TopK, &[], &spans, &params, [count, 1, 1]);
    rec.dispatch(Kernel::TopKMerge, &[], &[parts, found], &[k as u32, count, sharpness], [1, 1, 1]);
}

/// What was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// The sum of exp((logit - largest) / temperature) over all that count.
    pub sum: f32,
    /// How many count.
    pub candidates: usize,
    /// How many logits are NaN or infinite, of all tokens and before the penalties.
    pub not_finite: usize,
    /// Logits after the penalties, and ids, best first: k of them, or as many as count.
    pub best: Vec<(f32, u32)>,
}

impl Found {
    /// Where the id of the best one stands in memory, in words.
    pub const BEST_ID: u32 = 5;

    /// From memory: largest logit, sum, candidates, logits that are not finite, then k pairs of logit and id; all words of
    /// 32 bits, little-endian.
    pub fn read(bytes: &[u8]) -> Found {
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (head, pairs) = words.split_at(words.len().min(4));
        let word = |i: usize| head.get(i).copied().unwrap_or(0);
        let candidates = word(2) as usize;
        let pairs = pairs.as_chunks().0.iter().take(candidates);
        Found {
            sum: f32::from_bits(word(1)),
            candidates,
            not_finite: word(3) as usize,
            best: pairs.map(|[logit, id]| (f32::from_bits(*logit), *id)).collect(),
        }
    }
}
