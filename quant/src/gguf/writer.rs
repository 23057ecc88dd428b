//! Writing a file: the header at once, the tensors as a stream, in exactly the layout other readers insist on.

use std::collections::HashSet;
use std::io::Write;

use super::error::Error;
use super::reader::tensor_bytes;
use super::value::{Array, Value, ValueType};
use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_ARRAY_LEN, MAX_KEY_BYTES, MAX_NAME_BYTES,
    MAX_STRING_BYTES, round_up,
};
use crate::types::TensorType;

/// The version that is written.
const VERSION: u32 = 3;

/// A metadata value to be written. Conversions exist from what each holds.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "the variants are the names of the types")]
pub enum Set {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    /// An array of texts, as bytes, since tokens of odd vocabularies are not UTF-8.
    Strings(Vec<Vec<u8>>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
    /// Elements as they lie in another file.
    Raw {
        elem: ValueType,
        len: usize,
        bytes: Vec<u8>,
    },
}

/// `From` for the variants that hold one type.
macro_rules! set_from {
    ($($variant:ident($from:ty)),* $(,)?) => {
        $(impl From<$from> for Set {
            fn from(v: $from) -> Self {
                Self::$variant(v.into())
            }
        })*
    };
}

set_from!(
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    Str(&str),
    Strings(Vec<Vec<u8>>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
);

impl From<Vec<String>> for Set {
    fn from(v: Vec<String>) -> Self {
        Self::Strings(v.into_iter().map(String::into_bytes).collect())
    }
}

impl From<&[&str]> for Set {
    fn from(v: &[&str]) -> Self {
        Self::Strings(v.iter().map(|s| s.as_bytes().to_vec()).collect())
    }
}

impl Set {
    /// A value of a parsed `file`, to be written again as it is.
    ///
    /// # Errors
    /// An array does not lie in `file`.
    pub fn from_value(value: &Value, file: &[u8]) -> Result<Self, Error> {
        Ok(match value {
            Value::U8(v) => Self::U8(*v),
            Value::I8(v) => Self::I8(*v),
            Value::U16(v) => Self::U16(*v),
            Value::I16(v) => Self::I16(*v),
            Value::U32(v) => Self::U32(*v),
            Value::I32(v) => Self::I32(*v),
            Value::U64(v) => Self::U64(*v),
            Value::I64(v) => Self::I64(*v),
            Value::F32(v) => Self::F32(*v),
            Value::F64(v) => Self::F64(*v),
            Value::Bool(v) => Self::Bool(*v),
            Value::Str(v) => Self::Str(v.clone()),
            Value::Array(a) => Self::Raw { elem: a.elem, len: a.len, bytes: a.bytes_in(file)?.to_vec() },
        })
    }

    /// The type under which the value is written.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            _ => ValueType::Array,
        }
    }

    /// The type of the elements and their number, for an array.
    fn array(&self) -> Option<(ValueType, usize)> {
        match self {
            Self::Strings(v) => Some((ValueType::Str, v.len())),
            Self::U32s(v) => Some((ValueType::U32, v.len())),
            Self::I32s(v) => Some((ValueType::I32, v.len())),
            Self::F32s(v) => Some((ValueType::F32, v.len())),
            Self::Bools(v) => Some((ValueType::Bool, v.len())),
            Self::Raw { elem, len, .. } => Some((*elem, *len)),
            _ => None,
        }
    }

    /// Appends type id and value of `key` to `out`.
    fn write(&self, key: &str, out: &mut Vec<u8>) -> Result<(), Error> {
        put_u32(out, self.value_type().id());
        if let Some((elem, len)) = self.array() {
            if len == 0 {
                return Err(Error::EmptyArray { key: key.into() });
            }
            if len as u64 > MAX_ARRAY_LEN {
                return Err(Error::ArrayLength { key: key.into(), len: len as u64, max: MAX_ARRAY_LEN });
            }
            put_u32(out, elem.id());
            put_u64(out, len as u64);
        }
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::U32(v) => put_u32(out, *v),
            Self::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::U64(v) => put_u64(out, *v),
            Self::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::Str(v) => put_string(key, v.as_bytes(), out)?,
            Self::Strings(v) => v.iter().try_for_each(|s| put_string(key, s, out))?,
            Self::U32s(v) => v.iter().for_each(|v| put_u32(out, *v)),
            Self::I32s(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
            Self::F32s(v) => v.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
            Self::Bools(v) => out.extend(v.iter().map(|v| u8::from(*v))),
            Self::Raw { elem, len, bytes } => {
                if !is_array(*elem, *len, bytes) {
                    let (elem, len, found) = (*elem, *len, bytes.len());
                    return Err(Error::RawArray { key: key.into(), elem, len, found });
                }
                out.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// Whether `bytes` are `len` elements, no more and no less.
fn is_array(elem: ValueType, len: usize, bytes: &[u8]) -> bool {
    let array = Array { elem, len, bytes: 0..bytes.len() };
    match array.strings(bytes) {
        Ok(mut strings) => strings.by_ref().count() == len && strings.is_at_end(),
        Err(_) => {
            elem != ValueType::Array && elem.min_bytes().checked_mul(len as u64) == Some(bytes.len() as u64)
        }
    }
}

fn put_u32(out: &mut Vec<u8>, v: u32) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, v: u64) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_string(key: &str, text: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let len = text.len() as u64;
    if len > MAX_STRING_BYTES {
        return Err(Error::StringLength {
            key: key.into(),
            len,
            max: MAX_STRING_BYTES,
            left: MAX_STRING_BYTES,
        });
    }
    put_u64(out, len);
    out.extend_from_slice(text);
    Ok(())
}

/// A tensor that will be written.
#[derive(Clone, Debug)]
struct Planned {
    name: String,
    dims: Vec<u64>,
    ty: TensorType,
    len: u64,
}

/// Collects metadata and tensor descriptions; [`Writer::start`] writes them and goes on to the data.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    metadata: Vec<(String, Set)>,
    tensors: Vec<Planned>,
    names: HashSet<String>,
}

impl Writer {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key. The keys are written in the order in which they were first set; setting one again replaces
    /// its value.
    pub fn set(&mut self, key: &str, value: impl Into<Set>) -> &mut Self {
        let value = value.into();
        match self.metadata.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.metadata.push((key.into(), value)),
        }
        self
    }

    /// Adds a tensor, `dims[0]` contiguous. The data must follow in the order of these calls.
    ///
    /// # Errors
    /// The name is empty, too long or already taken, or a tensor of these dimensions and type cannot be.
    pub fn tensor(&mut self, name: &str, dims: &[u64], ty: TensorType) -> Result<(), Error> {
        let (len, index) = (name.len() as u64, self.tensors.len() as u64);
        if len == 0 || len > MAX_NAME_BYTES {
            return Err(Error::NameLength { index, len, max: MAX_NAME_BYTES });
        }
        if name.contains('\0') {
            return Err(Error::NameText { index, found: name.into() });
        }
        if !(1..=4).contains(&dims.len()) {
            return Err(Error::Dims { name: name.into(), found: dims.len() as u64 });
        }
        if let Some(axis) = dims.iter().position(|d| *d == 0 || *d > i64::MAX as u64) {
            return Err(Error::Dim { name: name.into(), axis, found: dims[axis] as i64 });
        }
        let bytes = tensor_bytes(name, dims, ty)?;
        if !self.names.insert(name.into()) {
            return Err(Error::DuplicateTensor { name: name.into() });
        }
        self.tensors.push(Planned { name: name.into(), dims: dims.to_vec(), ty, len: bytes });
        Ok(())
    }

    /// The bytes that the finished file will have.
    ///
    /// # Errors
    /// As [`Writer::start`], writing apart.
    pub fn file_len(&self) -> Result<u64, Error> {
        let (header, alignment) = self.header()?;
        self.tensors.iter().try_fold(header.len() as u64, |sum, t| {
            let padded = round_up(t.len, alignment).and_then(|len| sum.checked_add(len));
            padded.ok_or(Error::FileTooLarge)
        })
    }

    /// Writes the header to `out`, and the padding up to the data section.
    ///
    /// # Errors
    /// A key or value that no reader would accept, a total that does not fit, or `out` fails.
    pub fn start<W: Write>(self, mut out: W) -> Result<DataWriter<W>, Error> {
        let (header, alignment) = self.header()?;
        out.write_all(&header)?;
        let mut data = DataWriter { out, alignment, tensors: self.tensors, current: 0, written: 0 };
        data.finish_tensors()?;
        Ok(data)
    }

    /// The bytes before the data section, and the alignment.
    fn header(&self) -> Result<(Vec<u8>, u64), Error> {
        let alignment = self.alignment()?;
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.tensors.len() as u64);
        put_u64(&mut out, self.metadata.len() as u64);
        for (index, (key, value)) in self.metadata.iter().enumerate() {
            let (index, len) = (index as u64, key.len() as u64);
            if len == 0 || len > MAX_KEY_BYTES {
                return Err(Error::KeyLength { index, len, max: MAX_KEY_BYTES });
            }
            if key.contains('\0') {
                return Err(Error::KeyText { index, found: key.clone() });
            }
            put_string(key, key.as_bytes(), &mut out)?;
            value.write(key, &mut out)?;
        }
        let mut offset = 0u64;
        for t in &self.tensors {
            put_string(&t.name, t.name.as_bytes(), &mut out)?;
            put_u32(&mut out, t.dims.len() as u32);
            t.dims.iter().for_each(|d| put_u64(&mut out, *d));
            put_u32(&mut out, t.ty.id());
            put_u64(&mut out, offset);
            let padded = round_up(t.len, alignment).and_then(|len| offset.checked_add(len));
            offset = padded.ok_or(Error::FileTooLarge)?;
        }
        if !self.tensors.is_empty() {
            out.resize(out.len().next_multiple_of(alignment as usize), 0);
        }
        Ok((out, alignment))
    }

    fn alignment(&self) -> Result<u64, Error> {
        match self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) {
            None => Ok(DEFAULT_ALIGNMENT),
            Some((_, Set::U32(v))) if v.is_power_of_two() && u64::from(*v) <= MAX_ALIGNMENT => {
                Ok((*v).into())
            }
            Some((_, Set::U32(v))) => Err(Error::Alignment { found: (*v).into(), max: MAX_ALIGNMENT }),
            Some((_, other)) => Err(Error::AlignmentType { found: other.value_type() }),
        }
    }
}

/// Takes the data of the tensors, in order.
#[derive(Debug)]
pub struct DataWriter<W: Write> {
    out: W,
    alignment: u64,
    tensors: Vec<Planned>,
    /// The tensor that the next bytes belong to.
    current: usize,
    /// How many of its bytes have been written.
    written: u64,
}

impl<W: Write> DataWriter<W> {
    /// Writes the next bytes of the current tensor, and its padding once it is complete; the next bytes then
    /// belong to the next tensor. One call never fills more than one tensor.
    ///
    /// # Errors
    /// The tensor has no room for that many bytes, all tensors are complete, or the output fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let found = bytes.len() as u64;
        let Some(t) = self.tensors.get(self.current) else {
            return Err(Error::DataAfterLastTensor { found });
        };
        let left = t.len - self.written;
        if found > left {
            return Err(Error::TooMuchData { name: t.name.clone(), left, found });
        }
        self.out.write_all(bytes)?;
        self.written += found;
        self.finish_tensors()
    }

    /// The name of the tensor that the next bytes belong to; `None` when all are complete.
    pub fn current(&self) -> Option<&str> {
        self.tensors.get(self.current).map(|t| t.name.as_str())
    }

    /// Flushes the output and hands it back.
    ///
    /// # Errors
    /// A tensor is not complete, or the output fails.
    pub fn finish(mut self) -> Result<W, Error> {
        if let Some(t) = self.tensors.get(self.current) {
            return Err(Error::Incomplete { name: t.name.clone(), written: self.written, len: t.len });
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Pads the current tensor if it is complete, and goes on to the next.
    fn finish_tensors(&mut self) -> Result<(), Error> {
        const ZEROS: [u8; 4096] = [0; 4096];
        if self.tensors.get(self.current).is_some_and(|t| t.len == self.written) {
            let mut padding = self.written.next_multiple_of(self.alignment) - self.written;
            while padding > 0 {
                let n = padding.min(ZEROS.len() as u64);
                self.out.write_all(&ZEROS[..n as usize])?;
                padding -= n;
            }
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }
}
