//! What may be wrong with the vocabulary in a file.

use qwip_quant::gguf;

use super::split;

/// Why a GGUF file gives no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A value of the metadata has the wrong type or lies outside the file.
    #[error(transparent)]
    Metadata(#[from] gguf::Error),
    /// A key that every vocabulary has is absent.
    #[error("no {0} in the metadata: the file has no tokenizer that we could use")]
    MissingKey(&'static str),
    /// The vocabulary is of a kind that no Qwen has.
    #[error("tokenizer.ggml.model is {0:?}: known are gpt2 (byte-level BPE) and llama (SentencePiece BPE)")]
    UnknownModel(String),
    /// The pre-tokenizer is one that we do not know: its words would differ from the trained ones.
    #[error("tokenizer.ggml.pre is {0:?}: known are {known}", known = split::KNOWN.join(", "))]
    UnknownPre(String),
    /// Too many tokens, or too many bytes of them.
    #[error("tokenizer.ggml.{array} holds {found} {unit}: at most {limit} are supported")]
    TooLarge {
        /// The array of the metadata.
        array: &'static str,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The types do not belong to the tokens.
    #[error("tokenizer.ggml.token_type has {types} elements, tokenizer.ggml.tokens {tokens}")]
    UnequalLengths {
        /// The length of `tokenizer.ggml.token_type`.
        types: usize,
        /// The length of `tokenizer.ggml.tokens`.
        tokens: usize,
    },
    /// A token type that the format does not have.
    #[error("token {id} has type {found}: types are 1 to 6")]
    UnknownType {
        /// The token.
        id: usize,
        /// Its type in the file.
        found: i64,
    },
    /// A token without text could match anywhere.
    #[error("token {0} is empty")]
    EmptyToken(u32),
    /// Two tokens of one text.
    #[error("token {second} {text:?} is token {first} again")]
    DuplicateToken {
        /// The token that came first.
        first: u32,
        /// The one that repeats it.
        second: u32,
        /// The text of both.
        text: String,
    },
    /// A text with this byte could not be encoded.
    #[error("no token for the byte {0:#04x} ({text:?} in the vocabulary)", text = qwip_quant::byte_map::char_of(*.0))]
    MissingByte(u8),
    /// A SentencePiece vocabulary without this byte: characters that it does not know could not be encoded.
    #[error("no token <0x{0:02X}> of type 6 for a byte")]
    MissingByteToken(u8),
    /// A SentencePiece vocabulary without a token for a space.
    #[error("no token {:?} of type 1 for a space", super::sentencepiece::SPACE)]
    MissingSpace,
    /// The scores do not belong to the tokens.
    #[error("tokenizer.ggml.scores has {scores} elements, tokenizer.ggml.tokens {tokens}")]
    UnequalScores {
        /// The length of `tokenizer.ggml.scores`.
        scores: usize,
        /// The length of `tokenizer.ggml.tokens`.
        tokens: usize,
    },
    /// A score that has no place among the others.
    #[error("token {id} has the score {score}")]
    BadScore {
        /// The token.
        id: usize,
        /// Its score in the file.
        score: f32,
    },
    /// A merge that is not two tokens that make a third one, or that is there twice.
    #[error("merge {index} ({text:?}) {fault}")]
    Merge {
        /// The position in `tokenizer.ggml.merges`.
        index: usize,
        /// The merge as the file has it.
        text: String,
        /// What is wrong with it.
        fault: MergeFault,
    },
    /// The metadata names a token that is not there.
    #[error("{key} is {id}, but there are {tokens} tokens")]
    IdOutOfRange {
        /// The key of the metadata.
        key: &'static str,
        /// Its value.
        id: u32,
        /// The size of the vocabulary.
        tokens: usize,
    },
    /// A beginning-of-sequence token is asked for, but not named.
    #[error("tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id")]
    NoBos,
    /// An end-of-sequence token is asked for, but not named.
    #[error("tokenizer.ggml.add_eos_token is true, but there is no tokenizer.ggml.eos_token_id")]
    NoEos,
}

/// What is wrong with a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeFault {
    /// There are no two parts with a space between.
    #[error("is not \"left right\"")]
    Shape,
    /// The part before the space is not in the vocabulary.
    #[error("has an unknown left token")]
    Left,
    /// The part after the space is not in the vocabulary.
    #[error("has an unknown right token")]
    Right,
    /// The two parts together are not in the vocabulary.
    #[error("makes a token that is not in the vocabulary")]
    Merged,
    /// An earlier merge joins the same two tokens.
    #[error("repeats merge {0}")]
    Repeated(u32),
}
