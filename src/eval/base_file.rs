//! llama.cpp's file of base log-probabilities (its `--kl-divergence-base`), written and read as a stream.
//!
//! Little-endian: `_logits_`, u32 tokens of a chunk, i32 vocabulary, i32 chunks, i32 tokens `[chunks * length]` as they
//! were before a beginning-of-sequence token took the first place of a chunk; then for each scored position f32 scale,
//! f32 least log-probability and u16 codes, as many as the vocabulary rounded up to an even number.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use qwip_quant::limits;

use super::chunks::{self, Chunks};
use super::row::BaseRow;
use super::{EvalError, Evaluator};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"_logits_";
/// Magic and three numbers.
const HEADER: u64 = 20;
/// More tokens than any text has that we would read; they are held in memory.
const MOST_TOKENS: usize = 1 << 26;

fn row_bytes(vocab: usize) -> usize {
    8 + 2 * vocab.next_multiple_of(2)
}

/// Bytes of a base file: `count` chunks of `length` tokens over a vocabulary of `vocab`.
fn file_bytes(count: u64, length: usize, vocab: usize) -> u128 {
    let rows = chunks::scored(length) as u128 * row_bytes(vocab) as u128;
    u128::from(HEADER) + u128::from(count) * (4 * length as u128 + rows)
}

fn most_chunks(length: usize) -> usize {
    MOST_TOKENS / length
}

/// A number of the header.
fn within(what: &'static str, found: i64, least: usize, most: usize) -> Result<usize> {
    let (least, most) = (least as i64, most as i64);
    match (least..=most).contains(&found) {
        true => Ok(found as usize),
        false => Err(EvalError::BaseHeader { what, found, least, most }.into()),
    }
}

/// Bytes of the base file that a model writes of these chunks: some 300 kB for each scored position of a large
/// vocabulary.
pub fn base_file_bytes(chunks: &Chunks, evaluator: &Evaluator) -> u128 {
    file_bytes(chunks.count() as u64, chunks.length(), evaluator.vocab())
}

/// Writes header and tokens, then rows.
pub(super) struct BaseWriter<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl<'a> BaseWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write, chunks: &Chunks, vocab: usize) -> Result<BaseWriter<'a>> {
        // What we would not read we do not write. Length and vocabulary are bounded already.
        let count = within("the number of chunks", chunks.count() as i64, 1, most_chunks(chunks.length()))?;
        let mut buffer = MAGIC.to_vec();
        buffer.extend((chunks.length() as u32).to_le_bytes());
        buffer.extend((vocab as i32).to_le_bytes());
        buffer.extend((count as i32).to_le_bytes());
        let mut writer = BaseWriter { out, buffer };
        writer.flush()?;
        for chunk in chunks.tokens().chunks(chunks.length()) {
            writer.buffer.extend(chunk.iter().flat_map(|token| token.to_le_bytes()));
            writer.flush()?;
        }
        Ok(writer)
    }

    pub(super) fn row(&mut self, row: &BaseRow) -> Result<()> {
        self.buffer.extend(row.scale.to_le_bytes());
        self.buffer.extend(row.min.to_le_bytes());
        self.buffer.extend(row.codes.iter().flat_map(|code| code.to_le_bytes()));
        self.buffer.resize(row_bytes(row.codes.len()), 0);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(EvalError::BaseWrite)?;
        self.buffer.clear();
        Ok(())
    }
}

/// A base file: the chunks that it was made of, and the log-probabilities of their scored positions, in order.
#[derive(Debug)]
pub struct BaseReader<R> {
    input: R,
    chunks: Chunks,
    vocab: usize,
    position: u64,
    buffer: Vec<u8>,
}

impl BaseReader<BufReader<File>> {
    /// Opens a base file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NotAFile`], and as [`BaseReader::new`].
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        // Asked before opening: a pipe would make us wait.
        let meta = std::fs::metadata(path).map_err(io)?;
        if !meta.is_file() {
            return Err(Error::NotAFile { path: path.into(), hint: "" });
        }
        BaseReader::new(BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?), meta.len())
    }
}

impl<R: Read> BaseReader<R> {
    /// Reads the header and the tokens of a base file of `bytes` bytes.
    ///
    /// # Errors
    /// [`EvalError::Magic`], [`EvalError::BaseHeader`], [`EvalError::BaseLength`], [`EvalError::BaseRead`];
    /// [`Error::TokenOutOfRange`]; [`Error::Memory`] for the tokens.
    pub fn new(mut input: R, bytes: u64) -> Result<BaseReader<R>> {
        let mut header = Vec::new();
        input.by_ref().take(HEADER).read_to_end(&mut header).map_err(EvalError::BaseRead)?;
        if !header.starts_with(MAGIC) {
            header.truncate(MAGIC.len());
            return Err(EvalError::Magic { found: header }.into());
        }
        if (header.len() as u64) < HEADER {
            return Err(EvalError::BaseLength { found: header.len() as u64, want: HEADER.into() }.into());
        }
        let field = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let length = u32::from_le_bytes(field(8)).into();
        let length = within("the length of a chunk", length, Chunks::SHORTEST, limits::MAX_CONTEXT)?;
        let vocab = within("the vocabulary", i32::from_le_bytes(field(12)).into(), 1, limits::MAX_VOCAB)?;
        let count =
            within("the number of chunks", i32::from_le_bytes(field(16)).into(), 1, most_chunks(length))?;
        // From here on the file is as long as what it describes, so nothing larger than it is allocated.
        let want = file_bytes(count as u64, length, vocab);
        if want != u128::from(bytes) {
            return Err(EvalError::BaseLength { found: bytes, want }.into());
        }
        let tokens = read_tokens(&mut input, count * length)?;
        let chunks = Chunks::new(tokens, length)?;
        chunks.check(vocab)?;
        Ok(BaseReader { input, chunks, vocab, position: 0, buffer: vec![0; row_bytes(vocab)] })
    }

    /// The text that the file was made of.
    pub fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Tokens of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Leaves all chunks but the first `most` unread.
    pub fn keep(&mut self, most: usize) {
        self.chunks.keep(most);
    }

    /// For a text that is given beside the file: `tokens` begin with those of the file.
    ///
    /// # Errors
    /// [`EvalError::BaseTextLength`] or [`EvalError::BaseText`].
    pub fn check_text(&self, tokens: &[u32]) -> Result<()> {
        let base = self.chunks.tokens();
        if let Some(place) = base.iter().zip(tokens).position(|(a, b)| a != b) {
            return Err(EvalError::BaseText { place, base: base[place], text: tokens[place] }.into());
        }
        if tokens.len() < base.len() {
            return Err(EvalError::BaseTextLength { base: base.len(), text: tokens.len() }.into());
        }
        Ok(())
    }

    /// The next row.
    pub(super) fn row(&mut self) -> Result<BaseRow> {
        self.input.read_exact(&mut self.buffer).map_err(EvalError::BaseRead)?;
        let float = |at: usize| f32::from_le_bytes([0, 1, 2, 3].map(|i| self.buffer[at + i]));
        let (scale, min) = (float(0), float(4));
        if let Some((low, high)) = BaseRow::fault(scale, min, self.vocab) {
            let (position, vocab) = (self.position, self.vocab);
            return Err(EvalError::BaseDistribution { position, low, high, vocab }.into());
        }
        self.position += 1;
        let codes = self.buffer[8..8 + 2 * self.vocab].chunks_exact(2);
        Ok(BaseRow { scale, min, codes: codes.map(|b| u16::from_le_bytes([b[0], b[1]])).collect() })
    }
}

fn read_tokens(input: &mut impl Read, count: usize) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let memory = |_| Error::Memory { what: "the tokens of the base file", bytes: 4 * count as u64 };
    tokens.try_reserve_exact(count).map_err(memory)?;
    let mut buffer = [0; 4096];
    while tokens.len() < count {
        let part = &mut buffer[..(4 * (count - tokens.len())).min(4096)];
        input.read_exact(part).map_err(EvalError::BaseRead)?;
        tokens.extend(part.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::row::Softmax;

    const VOCAB: usize = 7;

    fn chunks() -> Chunks {
        Chunks::new(vec![1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4], 5).unwrap()
    }

    fn rows() -> Vec<BaseRow> {
        let logits = |i: usize| (0..VOCAB).map(|v| (i * 3 + v * 5) as f32 % 4.0).collect::<Vec<_>>();
        (0..chunks().scored()).map(|i| BaseRow::encode(&Softmax::of(&logits(i)))).collect()
    }

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = BaseWriter::new(&mut bytes, &chunks(), VOCAB).unwrap();
        rows().iter().for_each(|row| writer.row(row).unwrap());
        bytes
    }

    fn open(bytes: &[u8]) -> Result<BaseReader<&[u8]>> {
        BaseReader::new(bytes, bytes.len() as u64)
    }

    #[track_caller]
    fn fails(bytes: &[u8], part: &str) {
        let result = open(bytes)
            .and_then(|mut file| (0..file.chunks().scored()).try_for_each(|_| file.row().map(drop)));
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part) && message.lines().count() == 1, "'{part}' is not in: {message}");
    }

    fn with(at: usize, value: [u8; 4]) -> Vec<u8> {
        let mut bytes = file();
        bytes[at..at + 4].copy_from_slice(&value);
        bytes
    }

    #[test]
    fn what_was_written_is_read_again() {
        let bytes = file();
        // 2 chunks of 5 tokens; 2 scored positions each, of 8 + 2 * 8 bytes.
        assert_eq!(bytes.len(), 20 + 4 * 10 + 4 * 24);
        assert_eq!(&bytes[..20], b"_logits_\x05\0\0\0\x07\0\0\0\x02\0\0\0");
        let mut file = open(&bytes).unwrap();
        assert_eq!((file.vocab(), file.chunks().count(), file.chunks().length()), (VOCAB, 2, 5));
        assert_eq!(file.chunks().tokens(), chunks().tokens());
        assert_eq!((0..4).map(|_| file.row().unwrap()).collect::<Vec<_>>(), rows());
        assert!(matches!(file.row(), Err(Error::Eval(EvalError::BaseRead(_)))));
    }

    #[test]
    fn a_file_of_any_other_length() {
        let whole = file();
        for length in 0..whole.len() {
            let want = if length < 8 { "begins with" } else { "bytes, but its header asks for" };
            fails(&whole[..length], want);
        }
        fails(&[&whole[..], b"x"].concat(), "157 bytes, but its header asks for 156");
        // A file that shrinks while it is read.
        let short = BaseReader::new(&whole[..30], whole.len() as u64);
        assert!(short.unwrap_err().to_string().contains("reading the base file"));
    }

    #[test]
    fn headers_that_lie() {
        fails(b"_logitz_............", "\"_logitz_\"");
        fails(b"\x1b[2J\n\0\0\0", "\\x1b[2J\\n");
        fails(&with(8, 2u32.to_le_bytes()), "the length of a chunk of the base file is 2");
        fails(&with(8, u32::MAX.to_le_bytes()), "4294967295");
        fails(&with(12, 0i32.to_le_bytes()), "the vocabulary of the base file is 0");
        fails(&with(12, i32::MIN.to_le_bytes()), "-2147483648");
        fails(&with(12, 2_000_000i32.to_le_bytes()), "asks for 16000092");
        fails(&with(16, 0i32.to_le_bytes()), "the number of chunks of the base file is 0");
        fails(&with(16, (-1i32).to_le_bytes()), "is -1");
        fails(&with(16, i32::MAX.to_le_bytes()), "2147483647");
        fails(&with(16, 10_000_000i32.to_le_bytes()), "asks for 680000020");
        fails(&with(20, 7i32.to_le_bytes()), "token 7 is outside the vocabulary of 7");
        fails(&with(24, (-5i32).to_le_bytes()), "token 4294967291");
    }

    #[test]
    fn rows_that_are_no_distributions() {
        for (at, value) in [(0, f32::NAN), (0, f32::INFINITY), (0, -1.0), (4, f32::NAN), (4, 9.0), (4, -1e30)]
        {
            fails(
                &with(20 + 40 + 24 + at, value.to_le_bytes()),
                "scored position 1 has log-probabilities from",
            );
        }
    }

    #[test]
    fn another_text_is_told_by_its_first_other_token() {
        let bytes = file();
        let file = open(&bytes).unwrap();
        let mut text = chunks().tokens().to_vec();
        text.push(6);
        file.check_text(&text).unwrap();
        let message = |text: &[u32]| file.check_text(text).unwrap_err().to_string();
        assert_eq!(message(&text[..9]), "the base file was made of 10 tokens, but the text has only 9");
        text[3] = 0;
        assert_eq!(message(&text), "the base file was made of another text: token 3 is 4 there and 0 here");
    }
}
