//! Byte-pair merges: the table of them, and their application to one word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use qwip_quant::byte_map;
use qwip_quant::gguf::Gguf;
use qwip_quant::limits::MAX_MERGES;

use super::error::{MergeFault, TokenizerError};
use super::hash::HashKeys;
use super::vocab::{MAX_ID_BITS, Vocab};

/// Words of at most this many bytes are merged by looking through all pairs each time, which for so few is faster
/// than a heap.
const SHORT: usize = 32;
/// No merge, or the place of a symbol that has been merged into another.
const NONE: u32 = u32::MAX;

/// A slot holds left token, right token and rank, from the upper bits to the lower.
const RANK_BITS: u32 = u64::BITS - 2 * MAX_ID_BITS;
const _: () = assert!(MAX_MERGES < 1 << RANK_BITS);
/// No slot in use is all ones, since no id is.
const FREE: u64 = u64::MAX;

/// The merges of a vocabulary.
pub(super) struct Merges {
    /// Open addressing by the hash of the pair.
    slots: Box<[u64]>, // a power of two
    /// The token that each merge makes.
    merged: Box<[u32]>, // [merges]
    /// The token of each single byte.
    bytes: Box<[u32; 256]>,
    keys: HashKeys,
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
        let fault = |index: usize, fault| {
            let text = merges.strings(file).ok().and_then(|mut texts| texts.nth(index)).unwrap_or_default();
            TokenizerError::Merge { index, text: String::from_utf8_lossy(text).into_owned(), fault }
        };
        let mut pairs = Vec::with_capacity(merges.len);
        let mut merged = Vec::with_capacity(merges.len);
        let mut texts = merges.strings(file)?;
        let mut parser = Parser { file, vocab, joined: Vec::new(), guess: 256 };
        let mut batch = Batch::default();
        while batch.fill(&mut texts, vocab) {
            for entry in batch.entries() {
                let (left, right, result) =
                    parser.parse(entry).map_err(|wrong| fault(merged.len(), wrong))?;
                pairs.push(pair(left, right));
                merged.push(result);
            }
        }
        let keys = vocab.keys();
        let slots =
            fill_slots(&pairs, keys).map_err(|(index, first)| fault(index, MergeFault::Repeated(first)))?;
        Ok(Merges { slots, merged: merged.into_boxed_slice(), bytes, keys })
    }

    /// The rank of the merge of two neighbours, the lowest of which is merged first; NONE if they do not merge.
    fn rank(&self, left: u32, right: u32) -> u32 {
        match self.slots[search(&self.slots, pair(left, right), self.keys)] {
            FREE => NONE,
            slot => rank_of(slot),
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
        // ranks[i] is that of ids[i] and ids[i + 1].
        let mut ranks = [NONE; SHORT];
        let mut count = word.len();
        for (id, &byte) in ids.iter_mut().zip(word) {
            *id = self.bytes[usize::from(byte)];
        }
        for i in 0..count - 1 {
            ranks[i] = self.rank(ids[i], ids[i + 1]);
        }
        while count > 1 {
            let mut best = 0;
            for i in 1..count - 1 {
                if ranks[i] < ranks[best] {
                    best = i;
                }
            }
            if ranks[best] == NONE {
                break;
            }
            ids[best] = self.merged[ranks[best] as usize];
            ids.copy_within(best + 2..count, best + 1);
            ranks.copy_within(best + 1..count - 1, best);
            count -= 1;
            if best > 0 {
                ranks[best - 1] = self.rank(ids[best - 1], ids[best]);
            }
            if best + 1 < count {
                ranks[best] = self.rank(ids[best], ids[best + 1]);
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
        let mut ranks: Vec<u32> = ids.windows(2).map(|pair| self.rank(pair[0], pair[1])).collect();
        ranks.push(NONE);
        let candidates = ranks.iter().enumerate().filter(|&(_, &rank)| rank != NONE);
        let mut heap: BinaryHeap<_> = candidates.map(|(i, &rank)| Reverse((rank, i))).collect();

        while let Some(Reverse((rank, i))) = heap.pop() {
            // A candidate is stale when either of its symbols has been merged since: the pair then is another.
            if ranks[i] != rank {
                continue;
            }
            let gone = next[i];
            ids[i] = self.merged[rank as usize];
            ids[gone] = NONE;
            ranks[gone] = NONE;
            ranks[i] = NONE;
            next[i] = next[gone];
            let mut update = |left: usize, right: usize| {
                ranks[left] = self.rank(ids[left], ids[right]);
                if ranks[left] != NONE {
                    heap.push(Reverse((ranks[left], left)));
                }
            };
            // The first symbol has no neighbour before it: prev wraps to the largest number.
            if prev[i] < end {
                update(prev[i], i);
            }
            if next[i] < end {
                prev[next[i]] = i;
                update(i, next[i]);
            }
        }
        out.extend(ids.into_iter().filter(|&id| id != NONE));
    }

    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.merged) + size_of_val(&*self.bytes)
    }
}

/// Both tokens of a pair in one number.
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << MAX_ID_BITS | u64::from(right)
}

fn rank_of(slot: u64) -> u32 {
    (slot & ((1 << RANK_BITS) - 1)) as u32
}

/// The table of the pairs; the rank of each is its index. An error names a pair that is there twice: its index and
/// the one before.
fn fill_slots(pairs: &[u64], keys: HashKeys) -> Result<Box<[u64]>, (usize, u32)> {
    let slot_count = (pairs.len() + pairs.len() / 2 + 2).next_power_of_two();
    let mut slots = vec![FREE; slot_count].into_boxed_slice();
    let mut rank = 0;
    for batch in pairs.chunks(BATCH) {
        std::hint::black_box(batch.iter().fold(0, |all, &pair| all ^ slots[home(pair, slot_count, keys)]));
        for &pair in batch {
            let at = search(&slots, pair, keys);
            let slot = &mut slots[at];
            if *slot != FREE {
                return Err((rank as usize, rank_of(*slot)));
            }
            *slot = pair << RANK_BITS | rank;
            rank += 1;
        }
    }
    Ok(slots)
}

/// Where the search for a pair begins.
fn home(pair: u64, slot_count: usize, keys: HashKeys) -> usize {
    keys.number(pair) as usize & (slot_count - 1)
}

/// The slot of a pair, or the free one where it belongs. There always is a free one: less than two thirds are used.
fn search(slots: &[u64], pair: u64, keys: HashKeys) -> usize {
    let mut at = home(pair, slots.len(), keys);
    while slots[at] != FREE && slots[at] >> RANK_BITS != pair {
        at = (at + 1) & (slots.len() - 1);
    }
    at
}

/// How many searches go on at once while loading: first the slots that all of them begin at are touched, then each
/// is done, so that the waits for memory overlap.
const BATCH: usize = 16;

/// The next few merges of the file.
#[derive(Default)]
struct Batch<'a> {
    entries: [Entry<'a>; BATCH],
    count: usize,
}

/// A merge as the file has it.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    text: &'a [u8],
    /// Where the right part begins, after the space; 0 if there is none.
    right: usize,
    hashes: [u64; 2],
}

impl<'a> Batch<'a> {
    /// Takes the next merges; false if there are no more.
    fn fill(&mut self, texts: &mut impl Iterator<Item = &'a [u8]>, vocab: &Vocab) -> bool {
        self.count = 0;
        let mut touched = 0;
        let keys = vocab.keys();
        for (entry, text) in self.entries.iter_mut().zip(texts) {
            let right = text.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1);
            let hashes = [keys.text(&text[..right.saturating_sub(1)]), keys.text(&text[right..])];
            touched ^= vocab.touch(hashes[0]) ^ vocab.touch(hashes[1]);
            *entry = Entry { text, right, hashes };
            self.count += 1;
        }
        std::hint::black_box(touched);
        self.count > 0
    }

    fn entries(&self) -> &[Entry<'a>] {
        &self.entries[..self.count]
    }
}

/// Looks the parts of merges up.
struct Parser<'a> {
    file: &'a [u8],
    vocab: &'a Vocab,
    joined: Vec<u8>,
    /// The likely result of the next merge: vocabularies list what merges make in the order of the merges.
    guess: u32,
}

impl Parser<'_> {
    /// Left, right and merged token.
    fn parse(&mut self, entry: &Entry) -> Result<(u32, u32, u32), MergeFault> {
        if entry.right < 2 || entry.right == entry.text.len() {
            return Err(MergeFault::Shape);
        }
        let (left, right) = (&entry.text[..entry.right - 1], &entry.text[entry.right..]);
        let find = |text: &[u8], hash: u64| self.vocab.find_hashed(self.file, text, hash);
        let left_id = find(left, entry.hashes[0]).ok_or(MergeFault::Left)?;
        let right_id = find(right, entry.hashes[1]).ok_or(MergeFault::Right)?;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_chosen_to_share_a_slot_of_unkeyed_hashes_spread() {
        const COUNT: usize = 20_000;
        // The upper bits of a product with a well-known factor, and the plain lower bits.
        let product = (0u64..).filter(|pair| pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff < 32);
        let plain = (0u64..).map(|pair| pair << 20);
        for pairs in [product.take(COUNT).collect(), plain.take(COUNT).collect::<Vec<u64>>()] {
            let keys = HashKeys::random();
            let slots = fill_slots(&pairs, keys).unwrap();
            let steps = |&pair: &u64| {
                let home = home(pair, slots.len(), keys);
                search(&slots, pair, keys).wrapping_sub(home) & (slots.len() - 1)
            };
            let longest = pairs.iter().map(steps).max();
            assert!(longest < Some(1000), "{longest:?} steps");
        }
    }
}
