//! Text to tokens and back: byte-level BPE as the Qwen vocabularies have it, or SentencePiece's BPE (CodeQwen1.5).
//!
//! The texts of the tokens stay in the file; what is built at load are flat tables of a few megabytes: where each
//! text starts, a hash table over the texts and one over the pairs that merge. Encoding is the Hugging Face
//! tokenizer's, token for token: special tokens are cut out first, what is left is normalised to NFC, split into
//! words and merged. SentencePiece's is that of its own library, which neither normalises nor splits.

mod bpe;
mod classes;
mod detokenizer;
mod error;
mod hash;
mod sentencepiece;
mod split;
mod unicode_ranges;
mod vocab;

use std::borrow::Cow;
use std::ops::Range;

use qwip_quant::byte_map;
use qwip_quant::gguf::Gguf;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

pub use detokenizer::Detokenizer;
pub use error::{MergeFault, TokenizerError};
pub use vocab::{FileBytes, TokenKind};

/// What becomes of the text of a control token (`<|im_end|>`) in a text to be encoded. User-defined tokens
/// (`<think>`) are recognised in either case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// It is the token: for text that a chat template made.
    Parse,
    /// It is text like any other: for text from outside, which must not be able to end a turn.
    Text,
}

/// The Unicode normalisation of text before it is split into words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Normalize {
    /// Canonical composition, as in the byte-level tokenizers that the models were trained with.
    #[default]
    Nfc,
    /// The text as it is, as llama.cpp does and SentencePiece vocabularies want it.
    None,
}

/// How a text without special tokens becomes tokens.
enum Method {
    ByteLevel { merges: bpe::Merges, splitter: split::Splitter },
    SentencePiece(sentencepiece::Pieces),
}

/// A vocabulary and its merges.
pub struct Tokenizer {
    vocab: vocab::Vocab,
    method: Method,
    special: SpecialLengths,
    normalize: Normalize,
    eos: Option<u32>,
    bos: Option<u32>,
    eot: Option<u32>,
    pad: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    ends: Vec<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a file whose header is `gguf` and whose bytes are `file`; they stay in use. Errors: a
    /// tokenizer of another kind than Qwen's, or arrays that contradict themselves or each other.
    pub fn from_gguf(gguf: &Gguf, file: FileBytes) -> Result<Tokenizer, TokenizerError> {
        let text = |key: &'static str| gguf.str(key)?.ok_or(TokenizerError::MissingKey(key));
        let bytes = (*file).as_ref();
        let (vocab, method, normalize) = match text("tokenizer.ggml.model")? {
            "gpt2" => {
                let pre = text("tokenizer.ggml.pre")?;
                let splitter = split::Splitter::from_name(pre)
                    .ok_or_else(|| TokenizerError::UnknownPre(pre.to_string()))?;
                let vocab = vocab::Vocab::load(gguf, file.clone())?;
                let merges = bpe::Merges::load(gguf, bytes, &vocab)?;
                (vocab, Method::ByteLevel { merges, splitter }, Normalize::Nfc)
            }
            "llama" => {
                let vocab = vocab::Vocab::load(gguf, file.clone())?;
                let pieces = sentencepiece::Pieces::load(gguf, bytes, &vocab)?;
                (vocab, Method::SentencePiece(pieces), Normalize::None)
            }
            other => return Err(TokenizerError::UnknownModel(other.to_string())),
        };

        let token = |key: &'static str| match gguf.u32(key)? {
            Some(id) if id as usize >= vocab.len() => {
                Err(TokenizerError::IdOutOfRange { key, id, tokens: vocab.len() })
            }
            id => Ok(id),
        };
        let eos = token("tokenizer.ggml.eos_token_id")?;
        let bos = token("tokenizer.ggml.bos_token_id")?;
        let eot = token("tokenizer.ggml.eot_token_id")?;
        let pad = token("tokenizer.ggml.padding_token_id")?;
        let add_bos = gguf.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
        if add_bos && bos.is_none() {
            return Err(TokenizerError::NoBos);
        }
        let add_eos = gguf.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        if add_eos && eos.is_none() {
            return Err(TokenizerError::NoEos);
        }

        // Base models name <|endoftext|>, chat models <|im_end|>: either ends a generation, whatever the key says.
        let named = ["<|im_end|>", "<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"];
        let named = named.iter().filter_map(|text| vocab.find_in(bytes, text.as_bytes()));
        // So CodeQwen1.5 writes the last three; a byte-level vocabulary may have pieces of text like these.
        let older = ["<fim_pad>", "<reponame>", "<file_sep>"];
        let older = older.iter().filter_map(|text| vocab.find_in(bytes, text.as_bytes()));
        let older = older.filter(|&id| vocab.kind(id) != Some(TokenKind::Normal));
        let mut ends: Vec<u32> = named.chain(older).chain(eos).chain(eot).collect();
        ends.sort_unstable();
        ends.dedup();

        let special = SpecialLengths::of(&vocab);
        Ok(Tokenizer { vocab, method, special, normalize, eos, bos, eot, pad, add_bos, add_eos, ends })
    }

    /// The same tokenizer with another normalisation.
    pub fn with_normalize(self, normalize: Normalize) -> Tokenizer {
        Tokenizer { normalize, ..self }
    }

    /// The tokens of a text, without a beginning-of-sequence token.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        self.encode_part(text, special, true)
    }

    /// As [`Tokenizer::encode`], of text that `begins` a sequence or goes on with one. The difference is the space that
    /// SentencePiece vocabularies put before a text, and before what follows a control token.
    pub(crate) fn encode_part(&self, text: &str, special: Special, begins: bool) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        let (mut rest, mut begins) = (text, begins);
        while let Some((start, end, id)) = self.first_special(rest, special) {
            let begins_text = !self.is_control(id);
            // Before a token that is text, the space is there even if nothing else is.
            if start > 0 || begins_text {
                self.encode_plain(&rest[..start], begins, &mut ids);
            }
            ids.push(id);
            begins = !begins_text;
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            self.encode_plain(rest, begins, &mut ids);
        }
        ids
    }

    fn is_control(&self, id: u32) -> bool {
        matches!(self.kind(id), Some(TokenKind::Control | TokenKind::Unknown))
    }

    /// The tokens of the beginning of a sequence: as [`Tokenizer::encode`], but the beginning-of-sequence token comes
    /// first if the file asks for it ([`Tokenizer::add_bos`]) and the text does not begin with it already.
    pub fn encode_with_bos(&self, text: &str, special: Special) -> Vec<u32> {
        let mut ids = self.encode(text, special);
        if let Some(bos) = self.bos.filter(|bos| self.add_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// The tokens of a text that is a sequence of its own, as embedding models get it: as
    /// [`Tokenizer::encode_with_bos`], and the end-of-sequence token comes last if the file asks for it
    /// ([`Tokenizer::add_eos`]).
    pub fn encode_sequence(&self, text: &str, special: Special) -> Vec<u32> {
        let mut ids = self.encode_with_bos(text, special);
        ids.extend(self.eos.filter(|_| self.add_eos));
        ids
    }

    /// Where in `text` the first control token is spelt out that [`Special::Parse`] could find there.
    pub fn find_control(&self, text: &str) -> Option<Range<usize>> {
        let found = self.first_token(text, |kind| matches!(kind, TokenKind::Control | TokenKind::Unknown));
        found.map(|(start, end, _)| start..end)
    }

    /// The leftmost special token in `text`, of several the longest: where it starts and ends, and its id.
    fn first_special(&self, text: &str, special: Special) -> Option<(usize, usize, u32)> {
        self.first_token(text, |kind| match kind {
            TokenKind::UserDefined => true,
            TokenKind::Control | TokenKind::Unknown => special == Special::Parse,
            _ => false,
        })
    }

    /// The leftmost special token of a kind that is `wanted`, of several the longest.
    fn first_token(&self, text: &str, wanted: impl Fn(TokenKind) -> bool) -> Option<(usize, usize, u32)> {
        let bytes = text.as_bytes();
        for (start, &first) in bytes.iter().enumerate() {
            for &length in self.special.starting_with(first) {
                let Some(piece) = bytes.get(start..start + length) else { continue };
                let Some(id) = self.vocab.find(piece) else { continue };
                if self.kind(id).is_some_and(&wanted)
                    && text.is_char_boundary(start)
                    && text.is_char_boundary(start + length)
                {
                    return Some((start, start + length, id));
                }
            }
        }
        None
    }

    /// Appends the tokens of a text without special tokens.
    fn encode_plain(&self, text: &str, begins: bool, ids: &mut Vec<u32>) {
        let text = match self.normalize {
            Normalize::Nfc => to_nfc(text),
            Normalize::None => Cow::Borrowed(text),
        };
        match &self.method {
            Method::ByteLevel { merges, splitter } => {
                splitter.words(&text).for_each(|word| merges.append_word(word, ids));
            }
            Method::SentencePiece(pieces) => {
                pieces.append(&text, begins, self.vocab.file(), &self.vocab, ids);
            }
        }
    }

    /// The bytes that a token stands for: those of a piece of text, the literal text of any other kind of token.
    /// None for an id without a token.
    pub fn token_bytes(&self, id: u32) -> Cow<'_, [u8]> {
        match self.vocab.kind(id) {
            Some(TokenKind::Normal | TokenKind::Byte) => {
                let mut bytes = Vec::new();
                self.write_token_bytes(id, true, &mut bytes);
                Cow::Owned(bytes)
            }
            _ => Cow::Borrowed(self.vocab.text(id)),
        }
    }

    /// Appends the bytes that a token adds to a text: as [`Tokenizer::token_bytes`], but control and unknown tokens
    /// add nothing unless `show_control`. They need not be whole characters.
    pub fn write_token_bytes(&self, id: u32, show_control: bool, out: &mut Vec<u8>) {
        let text = self.vocab.text(id);
        match (self.vocab.kind(id), &self.method) {
            (Some(TokenKind::Normal | TokenKind::Byte), Method::ByteLevel { .. }) => {
                byte_map::append_bytes(text, out);
            }
            (Some(TokenKind::Normal), Method::SentencePiece(_)) => sentencepiece::append_bytes(text, out),
            (Some(TokenKind::Byte), Method::SentencePiece(_)) => match sentencepiece::byte_of(text) {
                Some(byte) => out.push(byte),
                None => out.extend_from_slice(text),
            },
            (Some(TokenKind::Control | TokenKind::Unknown), _) if !show_control => {}
            _ => out.extend_from_slice(text),
        }
    }

    /// As [`Tokenizer::write_token_bytes`], but without the space that [`Tokenizer::encode`] has put before a text:
    /// `begins` says whether the token begins one, and is then made to say so of the token after it.
    fn write_next(&self, id: u32, show_control: bool, begins: &mut bool, out: &mut Vec<u8>) {
        let at = out.len();
        self.write_token_bytes(id, show_control, out);
        let Some(kind) = self.vocab.kind(id) else { return };
        if let Method::SentencePiece(pieces) = &self.method
            && *begins
            && pieces.space_prefix()
            && kind == TokenKind::Normal
            && out.get(at) == Some(&b' ')
        {
            out.remove(at);
        }
        *begins = self.is_control(id);
    }

    /// The text of a sequence of tokens; bytes that are no UTF-8 become U+FFFD. Control tokens are left out unless
    /// `show_control`.
    pub fn decode(&self, ids: &[u32], show_control: bool) -> String {
        let (mut bytes, mut begins) = (Vec::new(), true);
        for &id in ids {
            self.write_next(id, show_control, &mut begins, &mut bytes);
        }
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// The token that the vocabulary writes as `text`, for instance `<|im_end|>`. (Pieces of text are written in the
    /// vocabulary's own way there: use [`Tokenizer::encode`] for text.)
    pub fn find(&self, text: &str) -> Option<u32> {
        self.vocab.find(text.as_bytes())
    }

    /// How many tokens there are; ids are below it.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// Whether there are no tokens: never, since there is one for each byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a token is for; none for an id without a token.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocab.kind(id)
    }

    /// Whether the model may be asked for this token: it exists and is not mere padding, whose logits are untrained.
    pub fn is_sampleable(&self, id: u32) -> bool {
        self.kind(id).is_some_and(|kind| kind != TokenKind::Unused)
    }

    /// A bit for each of so many tokens, set where it [may be sampled](Self::is_sampleable).
    pub(crate) fn sampleable(&self, vocab: usize) -> std::sync::Arc<[u32]> {
        let word = |first: usize| {
            (0..32)
                .filter(|bit| self.is_sampleable((first + bit) as u32))
                .fold(0, |word, bit| word | 1 << bit)
        };
        (0..vocab.div_ceil(32)).map(|i| word(32 * i)).collect()
    }

    /// The end-of-sequence token that the file names.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The beginning-of-sequence token that the file names.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-turn token that the file names.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// The padding token that the file names.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Whether the file asks for a beginning-of-sequence token. Qwen's own never do.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether the file asks for an end-of-sequence token behind a text. Those of embedding models do.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether a generation ends with this token.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The tokens that end a generation, in ascending order.
    pub fn ends_of_generation(&self) -> &[u32] {
        &self.ends
    }

    /// The memory that the tables take, in bytes; the texts of the tokens are in the file.
    pub fn table_bytes(&self) -> usize {
        let method = match &self.method {
            Method::ByteLevel { merges, .. } => merges.table_bytes(),
            Method::SentencePiece(pieces) => pieces.table_bytes(),
        };
        self.vocab.table_bytes() + method + self.special.table_bytes()
    }
}

/// For each byte the lengths of the special tokens that start with it, so that the search for them is one look into
/// the vocabulary for each length where such a byte occurs, however many of them there are.
struct SpecialLengths {
    by_first: Vec<Vec<usize>>, // [256], each descending
}

impl SpecialLengths {
    fn of(vocab: &vocab::Vocab) -> SpecialLengths {
        let mut by_first = vec![Vec::new(); 256];
        let is_special =
            |kind| matches!(kind, TokenKind::UserDefined | TokenKind::Control | TokenKind::Unknown);
        for id in vocab.ids_of_kind(is_special) {
            let text = vocab.text(id);
            if let Some(&first) = text.first() {
                by_first[usize::from(first)].push(text.len());
            }
        }
        for lengths in &mut by_first {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        SpecialLengths { by_first }
    }

    fn starting_with(&self, byte: u8) -> &[usize] {
        &self.by_first[usize::from(byte)]
    }

    fn table_bytes(&self) -> usize {
        let lengths: usize = self.by_first.iter().map(|lengths| size_of_val(lengths.as_slice())).sum();
        lengths + size_of_val(self.by_first.as_slice())
    }
}

/// The text in normal form C; most texts are already.
fn to_nfc(text: &str) -> Cow<'_, str> {
    // No character below U+0300 combines; their UTF-8 has no byte from 0xcc on.
    if text.bytes().all(|byte| byte < 0xcc) || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}
