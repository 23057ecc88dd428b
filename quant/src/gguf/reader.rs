//! Parsing and checking a whole file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::cursor::Cursor;
use super::error::Error;
use super::value::{Array, Value};
use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_KEY_BYTES, MAX_NAME_BYTES, round_up,
};
use crate::types::{REMOVED_IDS, TensorType};

/// A parsed and checked file, without its bytes.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Format version, 2 or 3.
    pub version: u32,
    /// Alignment of the tensors, a power of two.
    pub alignment: u64,
    /// Keys and values in the order of the file, without duplicates.
    pub metadata: Vec<(String, Value)>,
    /// Tensors in the order of the file, without duplicates.
    pub tensors: Vec<TensorInfo>,
    /// Where the data section starts in the file.
    pub data_start: u64,
    key_index: HashMap<String, usize>,
    tensor_index: HashMap<String, usize>,
}

/// What the file says about a tensor. Its bytes have been checked to lie in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorInfo {
    /// Name, 1 to 63 bytes.
    pub name: String,
    /// 1 to 4 sizes, none of them zero; `dims[0]` is contiguous, so that a matrix is `[cols, rows]`.
    pub dims: Vec<u64>,
    /// How elements are stored.
    pub ty: TensorType,
    /// Where it starts in the data section.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl TensorInfo {
    /// Elements in a row.
    pub fn cols(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Rows: the product of all other dimensions.
    pub fn rows(&self) -> u64 {
        self.dims.iter().skip(1).product()
    }
}

impl Gguf {
    /// Parses the header of `file`, which must be the whole file, and checks everything that can be checked
    /// without knowing the model. Allocates in proportion to the metadata that is there, never to what a count
    /// in the file claims; arrays are not copied.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        Self::parse_start(file, file.len() as u64)
    }

    /// As [`Gguf::parse`], with only the first bytes of a file of `len` bytes: for those who read instead of mapping.
    ///
    /// # Errors
    /// The first broken rule; [`Error::Truncated`] also if `start` ends within the header, and more may help.
    pub fn parse_start(start: &[u8], len: u64) -> Result<Self, Error> {
        let mut cursor = Cursor::new(start, len);
        let found: [u8; 4] = cursor.array("the header")?;
        if found != MAGIC {
            return Err(Error::Magic { found });
        }
        let version = match cursor.u32("the header")? {
            1 => return Err(Error::ObsoleteVersion),
            version @ (2 | 3) => version,
            found if found & 0xffff == 0 => return Err(Error::ForeignEndian { found }),
            found => return Err(Error::Version { found }),
        };
        let n_tensors = cursor.u64("the header")?;
        let n_keys = cursor.u64("the header")?;
        // The least a record can take: a name of one byte and its length, and the fields that follow.
        check_count(&cursor, "keys", n_keys, 8 + 1 + 4 + 1)?;
        check_count(&cursor, "tensors", n_tensors, 8 + 1 + 4 + 8 + 4 + 8)?;

        let mut metadata = Vec::new();
        let mut key_index = HashMap::new();
        for index in 0..n_keys {
            let key = read_key(&mut cursor, index)?;
            let value = Value::read(&mut cursor, &key)?;
            match key_index.entry(key.clone()) {
                Entry::Occupied(_) => return Err(Error::DuplicateKey { key }),
                Entry::Vacant(entry) => entry.insert(metadata.len()),
            };
            metadata.push((key, value));
        }
        let alignment = match key_index.get(ALIGNMENT_KEY).map(|&i| &metadata[i].1) {
            None => DEFAULT_ALIGNMENT,
            Some(Value::U32(found)) => {
                let found = u64::from(*found);
                if !found.is_power_of_two() || found > MAX_ALIGNMENT {
                    return Err(Error::Alignment { found, max: MAX_ALIGNMENT });
                }
                found
            }
            Some(other) => return Err(Error::AlignmentType { found: other.value_type() }),
        };

        let mut tensors: Vec<TensorInfo> = Vec::new();
        let mut tensor_index = HashMap::new();
        for index in 0..n_tensors {
            let info = read_info(&mut cursor, index, alignment)?;
            match tensor_index.entry(info.name.clone()) {
                Entry::Occupied(_) => return Err(Error::DuplicateTensor { name: info.name }),
                Entry::Vacant(entry) => entry.insert(tensors.len()),
            };
            tensors.push(info);
        }

        let start = round_up(cursor.pos() as u64, alignment).unwrap_or(u64::MAX);
        if start > len && !tensors.is_empty() {
            return Err(Error::DataStart { start, len });
        }
        let data_start = start.min(len);
        check_places(&tensors, len - data_start)?;

        let gguf = Self { version, alignment, metadata, tensors, data_start, key_index, tensor_index };
        if gguf.tensors.iter().any(|t| t.ty.is_quantized()) {
            match gguf.u64("general.quantization_version")? {
                None | Some(2) => {}
                Some(found) => return Err(Error::QuantizationVersion { found }),
            }
        }
        Ok(gguf)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.key_index.get(key).and_then(|&i| self.metadata.get(i)).map(|(_, value)| value)
    }

    /// The tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensor_index.get(name).and_then(|&i| self.tensors.get(i))
    }

    /// The bytes of a tensor of this file in `file`, the same bytes that were parsed. Empty if they do not lie in
    /// `file`, which then is another one.
    pub fn tensor_bytes<'a>(&self, t: &TensorInfo, file: &'a [u8]) -> &'a [u8] {
        let range = || {
            let start = usize::try_from(self.data_start.checked_add(t.offset)?).ok()?;
            let end = start.checked_add(usize::try_from(t.len).ok()?)?;
            file.get(start..end)
        };
        range().unwrap_or_default()
    }

    /// A number of any integer type.
    ///
    /// # Errors
    /// The value is not an integer or does not fit.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.integer(key, "u64")
    }

    /// A number of any integer type.
    ///
    /// # Errors
    /// The value is not an integer or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.integer(key, "u32")
    }

    /// A number of any integer type.
    ///
    /// # Errors
    /// The value is not an integer or does not fit.
    pub fn usize(&self, key: &str) -> Result<Option<usize>, Error> {
        self.integer(key, "usize")
    }

    fn integer<T: TryFrom<i128>>(&self, key: &str, wanted: &'static str) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let n = value.as_integer().ok_or_else(|| wrong_type(key, "an integer", value))?;
        match T::try_from(n) {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(Error::DoesNotFit { key: key.into(), wanted, found: n.to_string() }),
        }
    }

    /// A number of any float or integer type, rounded to f32.
    ///
    /// # Errors
    /// The value is not a number, or it is a finite f64 that is out of the range of f32.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match *value {
            Value::F32(v) => Ok(Some(v)),
            Value::F64(v) if v.is_finite() && !(v as f32).is_finite() => {
                Err(Error::DoesNotFit { key: key.into(), wanted: "f32", found: v.to_string() })
            }
            Value::F64(v) => Ok(Some(v as f32)),
            _ => match value.as_integer() {
                Some(n) => Ok(Some(n as f32)),
                None => Err(wrong_type(key, "a number", value)),
            },
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// The value is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(other) => Err(wrong_type(key, "bool", other)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The value is something else.
    pub fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Str(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_type(key, "str", other)),
        }
    }

    /// An array.
    ///
    /// # Errors
    /// The value is something else.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_type(key, "array", other)),
        }
    }
}

fn wrong_type(key: &str, wanted: &'static str, found: &Value) -> Error {
    Error::WrongType { key: key.into(), wanted, found: found.value_type().to_string() }
}

/// Refuses a count that the rest of the file cannot hold, before anything is done that often.
fn check_count(cursor: &Cursor<'_>, what: &'static str, count: u64, least: u64) -> Result<(), Error> {
    let left = cursor.left();
    let most = left / least;
    if count > most { Err(Error::Count { what, count, left, most }) } else { Ok(()) }
}

/// Whether bytes can be a key or a name: text without a NUL.
fn as_name(bytes: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.into()),
        _ => Err(String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned()),
    }
}

fn read_key(cursor: &mut Cursor<'_>, index: u64) -> Result<String, Error> {
    let len = cursor.u64("the length of a key")?;
    if len == 0 || len > MAX_KEY_BYTES {
        return Err(Error::KeyLength { index, len, max: MAX_KEY_BYTES });
    }
    as_name(cursor.take(len, "a key")?).map_err(|found| Error::KeyText { index, found })
}

fn read_info(cursor: &mut Cursor<'_>, index: u64, alignment: u64) -> Result<TensorInfo, Error> {
    let len = cursor.u64("the length of a tensor name")?;
    if len == 0 || len > MAX_NAME_BYTES {
        return Err(Error::NameLength { index, len, max: MAX_NAME_BYTES });
    }
    let name =
        as_name(cursor.take(len, "a tensor name")?).map_err(|found| Error::NameText { index, found })?;
    let n_dims = cursor.u32("the number of dimensions")?;
    if !(1..=4).contains(&n_dims) {
        return Err(Error::Dims { name, found: n_dims.into() });
    }
    let mut dims = Vec::with_capacity(4);
    for axis in 0..n_dims as usize {
        let dim = cursor.u64("a dimension")?;
        if dim == 0 || dim > i64::MAX as u64 {
            return Err(Error::Dim { name, axis, found: dim as i64 });
        }
        dims.push(dim);
    }
    let id = cursor.u32("a tensor type")?;
    let offset = cursor.u64("a tensor offset")?;
    let Some(ty) = TensorType::from_id(id) else {
        return Err(match REMOVED_IDS.contains(&id) {
            true => Error::RemovedType { name, id },
            false => Error::UnknownType { name, id },
        });
    };
    let len = tensor_bytes(&name, &dims, ty)?;
    if offset % alignment != 0 {
        return Err(Error::Unaligned { name, offset, alignment });
    }
    Ok(TensorInfo { name, dims, ty, offset, len })
}

/// The bytes of a tensor with 1 to 4 dimensions, none of them zero.
pub(crate) fn tensor_bytes(name: &str, dims: &[u64], ty: TensorType) -> Result<u64, Error> {
    let fits = |n: &u64| *n <= i64::MAX as u64;
    let elements = dims.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim)).filter(fits);
    let elements =
        elements.ok_or_else(|| Error::TooManyElements { name: name.into(), dims: dims.to_vec() })?;
    let (cols, block) = (dims[0], ty.block_len() as u64);
    if cols % block != 0 {
        return Err(Error::RowLength { name: name.into(), ty, cols, block });
    }
    let bytes = (elements / block).checked_mul(ty.block_bytes() as u64).filter(fits);
    bytes.ok_or_else(|| Error::TooManyBytes { name: name.into(), ty, dims: dims.to_vec() })
}

/// Checks that all tensors lie in the `data` bytes of the data section and that none overlap.
fn check_places(tensors: &[TensorInfo], data: u64) -> Result<(), Error> {
    for t in tensors {
        if t.offset.checked_add(t.len).is_none_or(|end| end > data) {
            return Err(Error::OutOfBounds { name: t.name.clone(), offset: t.offset, len: t.len, data });
        }
    }
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_by_key(|t| t.offset);
    for pair in by_offset.windows(2) {
        let end = pair[0].offset + pair[0].len;
        if pair[1].offset < end {
            let (name, other) = (pair[1].name.clone(), pair[0].name.clone());
            return Err(Error::Overlap { name, offset: pair[1].offset, other, end });
        }
    }
    Ok(())
}
