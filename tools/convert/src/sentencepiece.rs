//! `tokenizer.model`: a SentencePiece model, of which the few fields are read that a vocabulary needs.
//!
//! The file is a protocol buffer: fields of a number and a kind each, messages within messages. Everything is a slice of
//! the bytes at hand, and nothing nests deeper than the format does.

use crate::error::{Result, invalid};
use crate::json::quote;
use crate::vocab::TokenType;
use qwip_quant::limits::MAX_VOCAB;
use std::collections::HashMap;

pub(crate) const FILE: &str = "tokenizer.model";
/// What SentencePiece writes for a space.
pub(crate) const SPACE: &str = "\u{2581}";

/// A token of the model.
#[derive(Debug)]
pub(crate) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: TokenType,
}

/// A SentencePiece model of byte pair merges.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    /// By id.
    pub pieces: Vec<Piece>,
    /// Whether a text begins with a space of its own.
    pub space_prefix: bool,
}

impl SentencePiece {
    pub(crate) fn read(bytes: &[u8]) -> Result<SentencePiece> {
        let (mut pieces, mut trainer, mut normalizer) =
            (Vec::new(), Trainer::default(), Normalizer::default());
        for field in Fields::of(bytes, 0) {
            match field? {
                (1, Value::Bytes(message, at)) => {
                    if pieces.len() >= MAX_VOCAB {
                        return invalid(format!("{FILE} has more than {MAX_VOCAB} pieces"));
                    }
                    pieces.push(piece(message, at, pieces.len())?);
                }
                (2, Value::Bytes(message, at)) => trainer = Trainer::read(message, at)?,
                (3, Value::Bytes(message, at)) => normalizer = Normalizer::read(message, at)?,
                _ => {}
            }
        }
        trainer.check()?;
        normalizer.check()?;
        check(&pieces)?;
        Ok(SentencePiece { pieces, space_prefix: normalizer.space_prefix })
    }
}

/// Every text must be one piece only.
fn check(pieces: &[Piece]) -> Result<()> {
    if pieces.is_empty() {
        return invalid(format!("{FILE} holds no pieces: it is no SentencePiece model"));
    }
    let mut ids = HashMap::with_capacity(pieces.len());
    for (id, piece) in pieces.iter().enumerate() {
        if let Some(first) = ids.insert(piece.text.as_str(), id) {
            return invalid(format!("{FILE}: piece {id} {} is piece {first} again", quote(&piece.text)));
        }
    }
    Ok(())
}

fn piece(message: &[u8], at: usize, id: usize) -> Result<Piece> {
    let (mut text, mut score, mut kind) = (None, None, 1);
    for field in Fields::of(message, at) {
        match field? {
            (1, Value::Bytes(bytes, _)) => text = Some(bytes),
            (2, Value::Four(bits)) => score = Some(f32::from_bits(bits)),
            (3, Value::Number(number)) => kind = number,
            _ => {}
        }
    }
    let text = match text.map(std::str::from_utf8) {
        Some(Ok(text)) if !text.is_empty() => text,
        Some(Err(_)) => return invalid(format!("{FILE}: piece {id} is not UTF-8")),
        _ => return invalid(format!("{FILE}: piece {id} is empty")),
    };
    let kind = match kind {
        1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        5 => TokenType::Unused,
        6 => TokenType::Byte,
        other => return invalid(format!("{FILE}: piece {id} {} has type {other}, not 1 to 6", quote(text))),
    };
    let score = match score {
        Some(score) if score.is_finite() => score,
        None if kind != TokenType::Normal => 0.0,
        None => return invalid(format!("{FILE}: piece {id} {} has no score", quote(text))),
        Some(score) => return invalid(format!("{FILE}: piece {id} {} has the score {score}", quote(text))),
    };
    // Pieces that are matched as they are stand for spaces, not for what is written in their place.
    let text = if kind == TokenType::UserDefined { text.replace(SPACE, " ") } else { text.to_string() };
    Ok(Piece { text, score, kind })
}

/// How the model was trained.
#[derive(Default)]
struct Trainer {
    /// 1 unigram, 2 BPE, 3 word, 4 character; unigram if the file says nothing.
    model_type: Option<u64>,
    spaces_behind: bool,
}

impl Trainer {
    fn read(message: &[u8], at: usize) -> Result<Trainer> {
        let mut trainer = Trainer::default();
        for field in Fields::of(message, at) {
            match field? {
                (3, Value::Number(number)) => trainer.model_type = Some(number),
                (24, Value::Number(number)) => trainer.spaces_behind = number != 0,
                _ => {}
            }
        }
        Ok(trainer)
    }

    fn check(&self) -> Result<()> {
        let name = match self.model_type {
            Some(2) if self.spaces_behind => {
                return invalid(format!("{FILE}: treat_whitespace_as_suffix is not supported"));
            }
            Some(2) => return Ok(()),
            None | Some(1) => "unigram".into(),
            Some(3) => "word".into(),
            Some(4) => "character".into(),
            Some(other) => format!("type {other}"),
        };
        invalid(format!("{FILE} is a {name} model: only BPE models convert"))
    }
}

/// What becomes of a text before it is cut into pieces. Where the file is silent, the format's defaults hold.
struct Normalizer {
    name: String,
    has_rules: bool,
    space_prefix: bool,
    removes_spaces: bool,
    escapes_spaces: bool,
}

impl Default for Normalizer {
    fn default() -> Normalizer {
        Normalizer {
            name: String::new(),
            has_rules: false,
            space_prefix: true,
            removes_spaces: true,
            escapes_spaces: true,
        }
    }
}

impl Normalizer {
    fn read(message: &[u8], at: usize) -> Result<Normalizer> {
        let mut normalizer = Normalizer::default();
        for field in Fields::of(message, at) {
            match field? {
                (1, Value::Bytes(name, _)) => normalizer.name = String::from_utf8_lossy(name).into_owned(),
                (2 | 6, Value::Bytes(rules, _)) => normalizer.has_rules |= !rules.is_empty(),
                (3, Value::Number(number)) => normalizer.space_prefix = number != 0,
                (4, Value::Number(number)) => normalizer.removes_spaces = number != 0,
                (5, Value::Number(number)) => normalizer.escapes_spaces = number != 0,
                _ => {}
            }
        }
        Ok(normalizer)
    }

    /// Whatever else a model asks for, the runtime would not do.
    fn check(&self) -> Result<()> {
        if self.has_rules {
            return invalid(format!(
                "{FILE} normalises text ({}): only identity converts",
                quote(&self.name)
            ));
        }
        if self.removes_spaces {
            return invalid(format!("{FILE}: remove_extra_whitespaces is not supported"));
        }
        if !self.escapes_spaces {
            return invalid(format!("{FILE}: escape_whitespaces must be on"));
        }
        Ok(())
    }
}

enum Value<'a> {
    Number(u64),
    /// And where they begin in the file.
    Bytes(&'a [u8], usize),
    Four(u32),
    Eight,
}

/// The fields of a message, by number. The first error is the last item.
struct Fields<'a> {
    bytes: &'a [u8],
    /// What has been read.
    at: usize,
    /// Where the message begins in the file.
    start: usize,
}

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8], start: usize) -> Fields<'a> {
        Fields { bytes, at: 0, start }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let Some(taken) = taken else {
            return invalid(format!(
                "{FILE} is cut off or no SentencePiece model: byte {} wants {len} more, of which there are {}",
                self.start + self.at,
                rest.len()
            ));
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        invalid(format!(
            "{FILE} is no SentencePiece model: a number without end at byte {}",
            self.start + self.at
        ))
    }

    fn field(&mut self) -> Result<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Eight
            }
            2 => {
                let len = self.number()?;
                let start = self.start + self.at;
                Value::Bytes(self.take(len)?, start)
            }
            5 => Value::Four(self.take(4)?.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))),
            other => {
                return invalid(format!(
                    "{FILE} is no SentencePiece model: a field of kind {other} before byte {}",
                    self.start + self.at
                ));
            }
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}
