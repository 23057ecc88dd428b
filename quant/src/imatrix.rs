//! The importance matrix: for each column of a weight matrix the sum of the squares that met it while a model read a
//! text. Columns that met more count for more when codes are chosen.
//!
//! It is written as a GGUF file and read from that and from the older format without a header.

use std::collections::BTreeMap;
use std::io::Write;

use crate::gguf::{Error, Gguf, Value, Writer};
use crate::types::TensorType;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";
/// Names and columns in a file of the older format; more is damage.
const MAX_NAME: usize = 255;
const MAX_VALUES: usize = 1 << 26;

/// Why an importance matrix cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum ImatrixError {
    #[error(transparent)]
    Gguf(#[from] Error),
    #[error("the file is a {found:?}, not an imatrix")]
    Kind { found: String },
    #[error("the importance matrix ends too early: {what} takes {needed} bytes, {left} are left")]
    Truncated { what: &'static str, needed: u64, left: u64 },
    #[error("the importance matrix has {what} of {found}, expected {least} to {most}")]
    Range { what: &'static str, found: i64, least: i64, most: i64 },
    #[error("the name of entry {index} is not text")]
    NameText { index: usize },
    #[error("entry {name:?} occurs twice")]
    Duplicate { name: String },
    #[error("{name:?} is of type {found}, expected F32")]
    Type { name: String, found: TensorType },
    #[error("{name:?} has {sums} sums for {counts} counts, which does not divide")]
    Counts { name: String, sums: usize, counts: usize },
    #[error("{name:?} has {part} but no {other}")]
    Half { name: String, part: &'static str, other: &'static str },
    #[error("entry {index} of {name:?} is {found}, expected a number that is not negative")]
    Value { name: String, index: usize, found: f32 },
    #[error(
        "the importance matrix has {found} columns for {name:?}, which has {expected}: it is of another model"
    )]
    Columns { name: String, expected: u64, found: usize },
}

/// What is known about the columns of a tensor, which is a matrix or several (one for each expert).
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Sums of squares, `[matrices, columns]`.
    pub sums: Vec<f32>,
    /// How many rows of activations each matrix met, `[matrices]`.
    pub counts: Vec<f32>,
}

/// An importance matrix.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Imatrix {
    /// The texts it comes from.
    pub datasets: Vec<String>,
    /// Chunks of text that were read.
    pub chunks: u32,
    /// Tokens in a chunk; 0 if unknown.
    pub chunk_size: u32,
    /// By the name of the tensor.
    pub entries: BTreeMap<String, Entry>,
}

impl Imatrix {
    /// Reads a whole file of either format.
    ///
    /// # Errors
    /// It is damaged, or of another kind.
    pub fn parse(file: &[u8]) -> Result<Self, ImatrixError> {
        let found = if file.starts_with(b"GGUF") { Self::parse_gguf(file)? } else { Self::parse_old(file)? };
        for (name, entry) in &found.entries {
            let numbers = entry.sums.iter().chain(&entry.counts);
            if let Some((index, &found)) = numbers.enumerate().find(|(_, v)| !v.is_finite() || **v < 0.0) {
                return Err(ImatrixError::Value { name: name.clone(), index, found });
            }
        }
        Ok(found)
    }

    fn parse_gguf(file: &[u8]) -> Result<Self, ImatrixError> {
        let gguf = Gguf::parse(file)?;
        match gguf.str("general.type")? {
            Some("imatrix") => {}
            found => return Err(ImatrixError::Kind { found: found.unwrap_or("model").into() }),
        }
        let mut datasets = Vec::new();
        if let Some(Value::Array(texts)) = gguf.get("imatrix.datasets") {
            datasets = texts.strings(file)?.map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        }
        let mut halves: BTreeMap<&str, [Option<Vec<f32>>; 2]> = BTreeMap::new();
        for t in &gguf.tensors {
            let (name, half) = match (t.name.strip_suffix(SUMS), t.name.strip_suffix(COUNTS)) {
                (Some(name), _) => (name, 0),
                (_, Some(name)) => (name, 1),
                _ => continue,
            };
            if t.ty != TensorType::F32 {
                return Err(ImatrixError::Type { name: t.name.clone(), found: t.ty });
            }
            let bytes = gguf.tensor_bytes(t, file).as_chunks::<4>().0;
            halves.entry(name).or_default()[half] =
                Some(bytes.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        let mut entries = BTreeMap::new();
        for (name, halves) in halves {
            let name = name.to_string();
            let (sums, counts) = match halves {
                [Some(sums), Some(counts)] => (sums, counts),
                [None, _] => return Err(ImatrixError::Half { name, part: "counts", other: "sums" }),
                [_, None] => return Err(ImatrixError::Half { name, part: "sums", other: "counts" }),
            };
            if !sums.len().is_multiple_of(counts.len()) {
                return Err(ImatrixError::Counts { name, sums: sums.len(), counts: counts.len() });
            }
            entries.insert(name, Entry { sums, counts });
        }
        let number = |key| gguf.u32(key).map(|n| n.unwrap_or(0));
        let (chunks, chunk_size) = (number("imatrix.chunk_count")?, number("imatrix.chunk_size")?);
        Ok(Self { datasets, chunks, chunk_size, entries })
    }

    /// The older format: a count, entries (name, calls, means times calls), and perhaps the chunks and the text.
    fn parse_old(file: &[u8]) -> Result<Self, ImatrixError> {
        let mut rest = Rest(file);
        let mut found = Self::default();
        let most = (file.len() / 13) as i64;
        for index in 0..rest.number("the number of entries", 1, most)? {
            let len = rest.number("a name's length", 1, MAX_NAME as i64)?;
            let name = String::from_utf8(rest.take("a name", len)?.to_vec());
            let name = name.map_err(|_| ImatrixError::NameText { index })?;
            let calls = rest.number("calls", 0, i64::from(i32::MAX))?;
            let values = rest.number("columns", 1, MAX_VALUES as i64)?;
            let bytes = rest.take("columns", values * 4)?.as_chunks::<4>().0;
            let sums = bytes.iter().map(|b| f32::from_le_bytes(*b)).collect();
            // Means times calls are sums over calls.
            let entry = Entry { sums, counts: vec![calls.max(1) as f32] };
            if found.entries.insert(name.clone(), entry).is_some() {
                return Err(ImatrixError::Duplicate { name });
            }
        }
        if !rest.0.is_empty() {
            found.chunks = rest.number("chunks", 0, i64::from(i32::MAX))? as u32;
        }
        if !rest.0.is_empty() {
            let len = rest.number("the name of the text", 0, file.len() as i64)?;
            found
                .datasets
                .push(String::from_utf8_lossy(rest.take("the name of the text", len)?).into_owned());
        }
        Ok(found)
    }

    /// Writes a GGUF file.
    ///
    /// # Errors
    /// A name is too long, or `out` fails.
    pub fn write<W: Write>(&self, out: W) -> Result<W, Error> {
        let mut writer = Writer::new();
        writer.set("general.type", "imatrix");
        if !self.datasets.is_empty() {
            writer.set("imatrix.datasets", self.datasets.clone());
        }
        writer.set("imatrix.chunk_count", self.chunks).set("imatrix.chunk_size", self.chunk_size);
        for (name, Entry { sums, counts }) in &self.entries {
            let matrices = counts.len() as u64;
            let columns = sums.len() as u64 / matrices.max(1);
            writer.tensor(&format!("{name}{SUMS}"), &[columns, matrices], TensorType::F32)?;
            writer.tensor(&format!("{name}{COUNTS}"), &[1, matrices], TensorType::F32)?;
        }
        let mut data = writer.start(out)?;
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        for Entry { sums, counts } in self.entries.values() {
            data.write(&bytes(sums))?;
            data.write(&bytes(counts))?;
        }
        data.finish()
    }

    /// The mean squares of the columns of a tensor, `[matrices, columns]`; all 1 for a matrix that met nothing, as for an
    /// expert that no token went to. `None` if the tensor has no entry.
    ///
    /// # Errors
    /// The entry does not have as many columns and matrices as `dims`.
    pub fn weights(&self, name: &str, dims: &[u64]) -> Result<Option<Vec<f32>>, ImatrixError> {
        let Some(Entry { sums, counts }) = self.entries.get(name) else { return Ok(None) };
        let matrices = dims.get(2).copied().unwrap_or(1);
        let expected = dims.first().and_then(|columns| columns.checked_mul(matrices)).unwrap_or(u64::MAX);
        if sums.len() as u64 != expected {
            return Err(ImatrixError::Columns { name: name.into(), expected, found: sums.len() });
        }
        let columns = sums.len() / counts.len();
        let means = sums.chunks(columns).zip(counts).flat_map(|(sums, &count)| {
            sums.iter().map(move |sum| if count > 0.0 { sum / count } else { 1.0 })
        });
        Ok(Some(means.collect()))
    }
}

/// What is left of a file of the older format.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, what: &'static str, n: usize) -> Result<&'a [u8], ImatrixError> {
        let left = self.0.len() as u64;
        let (taken, rest) =
            self.0.split_at_checked(n).ok_or(ImatrixError::Truncated { what, needed: n as u64, left })?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of 32 bits in a range within those of usize.
    fn number(&mut self, what: &'static str, least: i64, most: i64) -> Result<usize, ImatrixError> {
        let bytes = self.take(what, 4)?;
        let found = i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        if found < least || found > most {
            return Err(ImatrixError::Range { what, found, least, most });
        }
        Ok(found as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Imatrix {
        let entry = |sums: &[f32], counts: &[f32]| Entry { sums: sums.to_vec(), counts: counts.to_vec() };
        Imatrix {
            datasets: vec!["a.txt".into()],
            chunks: 3,
            chunk_size: 512,
            entries: BTreeMap::from([
                ("blk.0.attn_q.weight".into(), entry(&[2.0, 4.0, 0.0], &[2.0])),
                ("blk.0.ffn_up_exps.weight".into(), entry(&[2.0, 4.0, 1.0, 3.0], &[2.0, 0.0])),
            ]),
        }
    }

    /// `example` in the older format, which has no matrices.
    fn old() -> Vec<u8> {
        let mut file = 1i32.to_le_bytes().to_vec();
        file.extend(19i32.to_le_bytes());
        file.extend(b"blk.0.attn_q.weight");
        [2i32, 3].iter().for_each(|n| file.extend(n.to_le_bytes()));
        [2f32, 4.0, 0.0].iter().for_each(|v| file.extend(v.to_le_bytes()));
        [3i32, 5].iter().for_each(|n| file.extend(n.to_le_bytes()));
        file.extend(b"a.txt");
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = example().write(Vec::new()).unwrap();
        assert_eq!(Imatrix::parse(&file).unwrap(), example());
    }

    #[test]
    fn weights_are_mean_squares() {
        let imatrix = example();
        assert_eq!(imatrix.weights("blk.0.attn_q.weight", &[3, 7]).unwrap(), Some(vec![1.0, 2.0, 0.0]));
        let experts = imatrix.weights("blk.0.ffn_up_exps.weight", &[2, 7, 2]).unwrap();
        assert_eq!(experts, Some(vec![1.0, 2.0, 1.0, 1.0]));
        assert_eq!(imatrix.weights("blk.1.attn_q.weight", &[3, 7]).unwrap(), None);
        let message = imatrix.weights("blk.0.attn_q.weight", &[4, 7]).unwrap_err().to_string();
        assert!(message.contains("has 3 columns for \"blk.0.attn_q.weight\", which has 4"), "{message}");
    }

    #[test]
    fn the_older_format_is_read() {
        let found = Imatrix::parse(&old()).unwrap();
        assert_eq!((found.chunks, found.datasets.as_slice()), (3, &["a.txt".to_string()][..]));
        assert_eq!(found.weights("blk.0.attn_q.weight", &[3, 7]).unwrap(), Some(vec![1.0, 2.0, 0.0]));
        // The end with chunks and text may be missing.
        assert_eq!(Imatrix::parse(&old()[..4 + 4 + 19 + 8 + 12]).unwrap().entries.len(), 1);
    }

    #[test]
    fn damage_is_an_error() {
        for file in [old(), example().write(Vec::new()).unwrap()] {
            for len in 0..file.len() {
                // The older format may end behind its entries.
                if let Ok(found) = Imatrix::parse(&file[..len]) {
                    assert!(!found.entries.is_empty(), "{len}");
                }
            }
        }
        let mut file = old();
        file[4 + 4 + 19 + 8..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Imatrix::parse(&file).unwrap_err().to_string().contains("is NaN"));
        let model = { Writer::new().start(Vec::new()).unwrap().finish().unwrap() };
        assert!(Imatrix::parse(&model).unwrap_err().to_string().contains("not an imatrix"));
    }
}
