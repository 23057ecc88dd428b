//! Byte-pair merges: the table of them, and their application to one word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use qwip_quant::gguf::Gguf;

use super::byte_map;
use super::error::{MergeFault, TokenizerError};
use super::vocab::Vocab;

/// Words of at most this many bytes are merged by looking through all pairs each time, which for so few is faster
/// than a heap.
const SHORT: usize = 32;
/// More merges than any vocabulary has.
const MAX_MERGES: usize = 1 << 24;
const NONE: u32 = u32::MAX;

/// What the merge of two neighbours gives; the lowest rank is merged first.
#[derive(Clone, Copy, PartialEq)]
struct Merge {
    rank: u32,
    merged: u32,
}

const NO_MERGE: Merge = Merge { rank: NONE, merged: NONE };

#[derive(Clone, Copy)]
struct Slot {
    left: u32,
    right: u32,
    merge: Merge,
}

/// The merges of a vocabulary.
pub(super) struct Merges {
    /// Open addressing by the hash of the pair; a free slot has no left token.
    slots: Box<[Slot]>, // a power of two
    shift: u32,
    /// The token of each single byte.
    bytes: Box<[u32; 256]>,
}

impl Merges {
    pub(super) fn load(gguf: &Gguf, file: &[u8], vocab: &Vocab) -> Result<Merges, TokenizerError> {
        let mut bytes = Box::new([0; 256]);
        for (byte, id) in (0u8..=255).zip(bytes.iter_mut()) {
            let text = byte_map::char_of(byte).to_string();
            *id = vocab.find_in(file, text.as_bytes()).ok_or(TokenizerError::MissingByte(byte))?;
        }

        let merges = gguf
            .array("tokenizer.ggml.merges")?
            .ok_or(TokenizerError::MissingKey("tokenizer.ggml.merges"))?;
        if merges.len > MAX_MERGES {
            let (array, unit) = ("merges", "merges");
            return Err(TokenizerError::TooLarge { array, unit, found: merges.len, limit: MAX_MERGES });
        }
        let slot_count = (merges.len + merges.len / 2 + 2).next_power_of_two();
        let free = Slot { left: NONE, right: NONE, merge: NO_MERGE };
        let mut table = Merges {
            slots: vec![free; slot_count].into_boxed_slice(),
            shift: u64::BITS - slot_count.ilog2(),
            bytes,
        };
        let mut parser = Parser { file, vocab, joined: Vec::new(), guess: 256 };
        for (index, text) in merges.strings(file)?.enumerate() {
            let fault = |fault| {
                let text = String::from_utf8_lossy(text).into_owned();
                TokenizerError::Merge { index, text, fault }
            };
            let (left, right, merged) = parser.parse(text).map_err(fault)?;
            let slot = table.slot_of(left, right);
            if slot.left != NONE {
                return Err(fault(MergeFault::Repeated(slot.merge.rank)));
            }
            *slot = Slot { left, right, merge: Merge { rank: index as u32, merged } };
        }
        Ok(table)
    }

    /// Where the search for a pair begins: the upper bits of a product depend on all bits of the pair.
    fn home(&self, left: u32, right: u32) -> usize {
        let key = u64::from(left) << 32 | u64::from(right);
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The slot of the pair, or the free one where it belongs. There always is a free one.
    fn slot_of(&mut self, left: u32, right: u32) -> &mut Slot {
        let mask = self.slots.len() - 1;
        let mut at = self.home(left, right);
        while self.slots[at].left != NONE && (self.slots[at].left, self.slots[at].right) != (left, right) {
            at = (at + 1) & mask;
        }
        &mut self.slots[at]
    }

    fn get(&self, left: u32, right: u32) -> Merge {
        let mask = self.slots.len() - 1;
        let mut at = self.home(left, right);
        loop {
            let slot = &self.slots[at & mask];
            if slot.left == NONE || (slot.left == left && slot.right == right) {
                // A free slot holds no merge.
                return slot.merge;
            }
            at += 1;
        }
    }

    /// Appends the tokens of a word: its bytes, of which neighbours are merged, the lowest rank first and of equal
    /// ranks the leftmost, until no merge applies.
    pub(super) fn append_word(&self, word: &[u8], out: &mut Vec<u32>) {
        match word.len() {
            0 => {}
            1 => out.push(self.bytes[usize::from(word[0])]),
            2..=SHORT => self.append_short(word, out),
            _ => self.append_long(word, out),
        }
    }

    fn append_short(&self, word: &[u8], out: &mut Vec<u32>) {
        let mut ids = [0; SHORT];
        // pairs[i] is the merge of ids[i] and ids[i + 1].
        let mut pairs = [NO_MERGE; SHORT];
        let mut count = word.len();
        for (id, &byte) in ids.iter_mut().zip(word) {
            *id = self.bytes[usize::from(byte)];
        }
        for i in 0..count - 1 {
            pairs[i] = self.get(ids[i], ids[i + 1]);
        }
        while count > 1 {
            let mut best = 0;
            for i in 1..count - 1 {
                if pairs[i].rank < pairs[best].rank {
                    best = i;
                }
            }
            if pairs[best] == NO_MERGE {
                break;
            }
            ids[best] = pairs[best].merged;
            ids.copy_within(best + 2..count, best + 1);
            pairs.copy_within(best + 1..count - 1, best);
            count -= 1;
            if best > 0 {
                pairs[best - 1] = self.get(ids[best - 1], ids[best]);
            }
            if best + 1 < count {
                pairs[best] = self.get(ids[best], ids[best + 1]);
            }
        }
        out.extend_from_slice(&ids[..count]);
    }

    /// The same with a linked list and a heap of candidates: n log n for words of any length.
    fn append_long(&self, word: &[u8], out: &mut Vec<u32>) {
        let end = word.len();
        let mut ids: Vec<u32> = word.iter().map(|&byte| self.bytes[usize::from(byte)]).collect();
        // The symbol at i lives as long as ids[i] is not NONE; its neighbours are next[i] and prev[i].
        let mut next: Vec<usize> = (1..=end).collect();
        let mut prev: Vec<usize> = (0..end).map(|i| i.wrapping_sub(1)).collect();
        let mut pairs: Vec<Merge> = ids.windows(2).map(|pair| self.get(pair[0], pair[1])).collect();
        pairs.push(NO_MERGE);
        let candidates = pairs.iter().enumerate().filter(|(_, pair)| **pair != NO_MERGE);
        let mut heap: BinaryHeap<_> = candidates.map(|(i, pair)| Reverse((pair.rank, i))).collect();

        while let Some(Reverse((rank, i))) = heap.pop() {
            // A candidate is stale when either of its symbols has been merged since; the pair then is another.
            if pairs[i].rank != rank {
                continue;
            }
            let gone = next[i];
            ids[i] = pairs[i].merged;
            ids[gone] = NONE;
            pairs[gone] = NO_MERGE;
            next[i] = next[gone];
            let mut update = |left: usize, right: usize| {
                pairs[left] = self.get(ids[left], ids[right]);
                if pairs[left] != NO_MERGE {
                    heap.push(Reverse((pairs[left].rank, left)));
                }
            };
            // The first symbol has no neighbour before it: prev wraps to the largest number.
            if prev[i] < end {
                update(prev[i], i);
            }
            if next[i] < end {
                prev[next[i]] = i;
                update(i, next[i]);
            } else {
                pairs[i] = NO_MERGE;
            }
        }
        out.extend(ids.into_iter().filter(|&id| id != NONE));
    }

    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.bytes)
    }
}

/// Reads merges as the file has them.
struct Parser<'a> {
    file: &'a [u8],
    vocab: &'a Vocab,
    joined: Vec<u8>,
    /// The likely result of the next merge: vocabularies list what merges make in the order of the merges.
    guess: u32,
}

impl Parser<'_> {
    /// Left, right and merged token.
    fn parse(&mut self, text: &[u8]) -> Result<(u32, u32, u32), MergeFault> {
        let space = text.iter().position(|&byte| byte == b' ').ok_or(MergeFault::Shape)?;
        let (left, right) = (&text[..space], &text[space + 1..]);
        if left.is_empty() || right.is_empty() {
            return Err(MergeFault::Shape);
        }
        let left_id = self.vocab.find_in(self.file, left).ok_or(MergeFault::Left)?;
        let right_id = self.vocab.find_in(self.file, right).ok_or(MergeFault::Right)?;

        let guessed = self.vocab.text_in(self.file, self.guess);
        let merged = if guessed.strip_prefix(left) == Some(right) {
            self.guess
        } else {
            self.joined.clear();
            self.joined.extend_from_slice(left);
            self.joined.extend_from_slice(right);
            self.vocab.find_in(self.file, &self.joined).ok_or(MergeFault::Merged)?
        };
        self.guess = merged + 1;
        Ok((left_id, right_id, merged))
    }
}
