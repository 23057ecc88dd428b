//! What may be wrong with a text or a file of base log-probabilities.

/// Why an evaluation cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A chunk has no scored position, or is longer than any context.
    #[error("chunks of {found} tokens cannot be evaluated: expected {least} to {most} (-c)")]
    ChunkLength {
        /// Tokens of a chunk.
        found: usize,
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
    },
    /// The text does not fill one chunk.
    #[error("there are {found} tokens, but a chunk takes {chunk}: give more text, or shorter chunks with -c")]
    TooShort {
        /// Tokens of the text.
        found: usize,
        /// Tokens of a chunk.
        chunk: usize,
    },
    /// The base file is something else.
    #[error("this is no file of base log-probabilities: it begins with \"{}\", not \"_logits_\"", found.escape_ascii())]
    Magic {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// A number in the header of a base file is out of range.
    #[error("{what} of the base file is {found}, expected {least} to {most}")]
    BaseHeader {
        /// Its name.
        what: &'static str,
        /// Its value.
        found: i64,
        /// Least.
        least: i64,
        /// Most.
        most: i64,
    },
    /// A base file is longer or shorter than its header says.
    #[error("the base file has {found} bytes, but its header asks for {want}")]
    BaseLength {
        /// Bytes of the file.
        found: u64,
        /// Bytes that the header asks for.
        want: u128,
    },
    /// The base file was made with chunks of another length.
    #[error("the base file has chunks of {base} tokens, not {asked}")]
    BaseChunkLength {
        /// Tokens of a chunk of the file.
        base: usize,
        /// Tokens that were asked for.
        asked: usize,
    },
    /// The text ends before that of the base file.
    #[error("the base file was made of {base} tokens, but the text has only {text}")]
    BaseTextLength {
        /// Tokens in the file.
        base: usize,
        /// Tokens of the text.
        text: usize,
    },
    /// The base file was made of another text.
    #[error("the base file was made of another text: token {place} is {base} there and {text} here")]
    BaseText {
        /// Which token, from 0.
        place: usize,
        /// Its id in the file.
        base: u32,
        /// Its id in the text.
        text: u32,
    },
    /// The models to compare have different vocabularies.
    #[error("the base has a vocabulary of {base} tokens, but the model has {model}")]
    Vocabulary {
        /// Tokens of the base.
        base: usize,
        /// Tokens of the model.
        model: usize,
    },
    /// What the base file says of a position are no probabilities.
    #[error(
        "the base file is damaged: scored position {position} has log-probabilities from {low} to {high}, which no distribution over {vocab} tokens has"
    )]
    BaseDistribution {
        /// Which of the scored positions, from 0.
        position: u64,
        /// Least log-probability.
        low: f32,
        /// Greatest.
        high: f32,
        /// Tokens of the vocabulary.
        vocab: usize,
    },
    /// The base file could not be read.
    #[error("reading the base file: {0}")]
    BaseRead(#[source] std::io::Error),
    /// The base file could not be written.
    #[error("writing the base file: {0}")]
    BaseWrite(#[source] std::io::Error),
}
