//! The tokens: their texts stay in the file, here are their places, kinds and a hash table over the texts.

use std::sync::Arc;

use qwip_quant::gguf::{Array, Gguf};
use qwip_quant::limits::MAX_VOCAB;

use super::error::TokenizerError;
use super::hash::HashKeys;

/// The bytes of a file that others may hold too, a map for instance.
pub type FileBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What a token is for (`tokenizer.ggml.token_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A piece of text: in the byte alphabet, or SentencePiece's with `▁` for a space.
    Normal = 1,
    /// Stands for what could not be encoded; since every byte has a token, nothing has a use for it.
    Unknown = 2,
    /// Steers the model (`<|im_end|>`); not part of the text.
    Control = 3,
    /// A piece of text that is one token wherever it occurs (`<think>`).
    UserDefined = 4,
    /// Padding of the vocabulary: the model never learnt it.
    Unused = 5,
    /// A single byte of a SentencePiece vocabulary (`<0x0A>`); in a byte-level one the same as normal.
    Byte = 6,
}

impl TokenKind {
    fn from_id(id: i64) -> Option<TokenKind> {
        use TokenKind::*;
        [Normal, Unknown, Control, UserDefined, Unused, Byte].into_iter().find(|&kind| kind as i64 == id)
    }
}

/// How many bits an id may take, many more than any vocabulary needs.
pub(super) const MAX_ID_BITS: u32 = MAX_VOCAB.ilog2() + 1;
const EMPTY: u32 = u32::MAX;

pub(super) struct Vocab {
    file: FileBytes,
    /// Where the array of tokens begins in the file.
    base: usize,
    /// Where each text starts after `base`; the length of the next text (8 bytes) lies before the next start.
    starts: Box<[u32]>, // [tokens + 1]
    kinds: Box<[TokenKind]>, // [tokens]
    /// Open addressing by the hash of the text: the id in the lower bits, as many of the hash as fit above it, so
    /// that a wrong token is almost always recognised without a look at its text.
    slots: Box<[u32]>, // a power of two
    id_bits: u32,
    keys: HashKeys,
}

impl Vocab {
    pub(super) fn load(gguf: &Gguf, file: FileBytes) -> Result<Vocab, TokenizerError> {
        let bytes = (*file).as_ref();
        let tokens = gguf
            .array("tokenizer.ggml.tokens")?
            .ok_or(TokenizerError::MissingKey("tokenizer.ggml.tokens"))?;
        let count = tokens.len;
        check_limit("tokens", count, MAX_VOCAB)?;
        check_limit("bytes", tokens.bytes.len(), u32::MAX as usize - 8)?;
        let kinds = load_kinds(gguf.array("tokenizer.ggml.token_type")?, count, bytes)?;

        let mut starts = Vec::with_capacity(count + 1);
        let mut start = 8u32;
        for text in tokens.strings(bytes)? {
            starts.push(start);
            start += text.len() as u32 + 8;
        }
        starts.push(start);

        // All ones never are an id, so no slot in use can look empty.
        let id_bits = (count + 1).next_power_of_two().ilog2();
        let slot_count = (count + count / 2 + 1).next_power_of_two();
        let mut vocab = Vocab {
            base: tokens.bytes.start,
            starts: starts.into_boxed_slice(),
            kinds,
            slots: vec![EMPTY; slot_count].into_boxed_slice(),
            id_bits,
            keys: HashKeys::random(),
            file: Arc::clone(&file),
        };
        for id in 0..count as u32 {
            let text = vocab.text_in(bytes, id);
            if text.is_empty() {
                return Err(TokenizerError::EmptyToken(id));
            }
            let hash = vocab.keys.text(text);
            match vocab.probe(bytes, text, hash) {
                Ok(first) => {
                    let text = String::from_utf8_lossy(text).into_owned();
                    return Err(TokenizerError::DuplicateToken { first, second: id, text });
                }
                Err(slot) => vocab.slots[slot] = vocab.tag(hash) | id,
            }
        }
        Ok(vocab)
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub(super) fn ids_of_kind(&self, wanted: impl Fn(TokenKind) -> bool) -> impl Iterator<Item = u32> {
        self.kinds.iter().enumerate().filter(move |&(_, &kind)| wanted(kind)).map(|(id, _)| id as u32)
    }

    /// The bytes that the texts lie in.
    pub(super) fn file(&self) -> &[u8] {
        (*self.file).as_ref()
    }

    /// The text of a token as the file has it; empty if there is no such token.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        self.text_in((*self.file).as_ref(), id)
    }

    /// The token of that text, as the file has it.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.find_in((*self.file).as_ref(), text)
    }

    /// As [`Vocab::find`], with the bytes of the file at hand.
    pub(super) fn find_in(&self, file: &[u8], text: &[u8]) -> Option<u32> {
        self.probe(file, text, self.keys.text(text)).ok()
    }

    /// The keys of the hashes that the other methods take.
    pub(super) fn keys(&self) -> HashKeys {
        self.keys
    }

    /// As [`Vocab::find_in`], with the hash of the text at hand too.
    pub(super) fn find_hashed(&self, file: &[u8], text: &[u8], hash: u64) -> Option<u32> {
        self.probe(file, text, hash).ok()
    }

    /// Reads the slot where the search for a hash begins, so that it is near when the search comes.
    pub(super) fn touch(&self, hash: u64) -> u32 {
        self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// As [`Vocab::text`], with the bytes of the file at hand.
    pub(super) fn text_in<'a>(&self, file: &'a [u8], id: u32) -> &'a [u8] {
        let id = id as usize;
        let (Some(&start), Some(&next)) = (self.starts.get(id), self.starts.get(id + 1)) else {
            return &[];
        };
        file.get(self.base + start as usize..self.base + next as usize - 8).unwrap_or(&[])
    }

    /// The token of that text, or the free slot where its search ended.
    fn probe(&self, file: &[u8], text: &[u8], hash: u64) -> Result<u32, usize> {
        let tag = self.tag(hash);
        let id_mask = (1u32 << self.id_bits) - 1;
        let slot_mask = self.slots.len() - 1;
        let mut slot = hash as usize & slot_mask;
        // There always is a free slot: less than two thirds are in use.
        loop {
            let entry = self.slots[slot];
            if entry == EMPTY {
                return Err(slot);
            }
            if entry & !id_mask == tag && self.text_in(file, entry & id_mask) == text {
                return Ok(entry & id_mask);
            }
            slot = (slot + 1) & slot_mask;
        }
    }

    /// The upper bits of the hash, in the place where a slot has them.
    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !((1u32 << self.id_bits) - 1)
    }

    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.kinds) + size_of_val(&*self.slots)
    }
}

fn check_limit(unit: &'static str, found: usize, limit: usize) -> Result<(), TokenizerError> {
    if found > limit { Err(TokenizerError::TooLarge { array: "tokens", unit, found, limit }) } else { Ok(()) }
}

/// The kinds of all tokens. A file without types has normal tokens only.
fn load_kinds(types: Option<&Array>, count: usize, file: &[u8]) -> Result<Box<[TokenKind]>, TokenizerError> {
    let Some(types) = types else {
        return Ok(vec![TokenKind::Normal; count].into_boxed_slice());
    };
    if types.len != count {
        return Err(TokenizerError::UnequalLengths { types: types.len, tokens: count });
    }
    let kinds = types.i64s(file)?.enumerate();
    kinds
        .map(|(id, found)| TokenKind::from_id(found).ok_or(TokenizerError::UnknownType { id, found }))
        .collect()
}
