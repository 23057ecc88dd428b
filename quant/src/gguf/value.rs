//! Metadata values. Arrays stay in the file, which keeps the vocabulary of 150 000 strings cheap to parse.

use std::ops::Range;

use super::cursor::Cursor;
use super::error::Error;
use super::{MAX_ARRAY_LEN, MAX_STRING_BYTES};

/// The type of a value or of the elements of an array; the discriminant is the id in the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
#[expect(missing_docs, reason = "the variants are the names of the types")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type with this id in a file.
    pub const fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Str,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// The id in a file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "str",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Bytes of an element of an array; for a string the least it can be.
    pub(crate) const fn min_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Str => 8,
            Self::Array => 12,
        }
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A metadata value.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "the variants are the names of the types")]
pub enum Value {
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
    Array(Array),
}

impl Value {
    /// The type of the value.
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
            Self::Array(_) => ValueType::Array,
        }
    }

    /// The value of any integer type.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// Reads the value of `key`, type id and all.
    pub(crate) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, Error> {
        let what = "a value";
        Ok(match read_type(cursor, key)? {
            ValueType::U8 => Self::U8(u8::from_le_bytes(cursor.array(what)?)),
            ValueType::I8 => Self::I8(i8::from_le_bytes(cursor.array(what)?)),
            ValueType::U16 => Self::U16(u16::from_le_bytes(cursor.array(what)?)),
            ValueType::I16 => Self::I16(i16::from_le_bytes(cursor.array(what)?)),
            ValueType::U32 => Self::U32(u32::from_le_bytes(cursor.array(what)?)),
            ValueType::I32 => Self::I32(i32::from_le_bytes(cursor.array(what)?)),
            ValueType::U64 => Self::U64(u64::from_le_bytes(cursor.array(what)?)),
            ValueType::I64 => Self::I64(i64::from_le_bytes(cursor.array(what)?)),
            ValueType::F32 => Self::F32(f32::from_le_bytes(cursor.array(what)?)),
            ValueType::F64 => Self::F64(f64::from_le_bytes(cursor.array(what)?)),
            ValueType::Bool => Self::Bool(cursor.array::<1>(what)?[0] != 0),
            ValueType::Str => {
                let text = read_string(cursor, key)?;
                let text = std::str::from_utf8(text).map_err(|_| Error::ValueText { key: key.into() })?;
                Self::Str(text.into())
            }
            ValueType::Array => Self::Array(Array::read(cursor, key)?),
        })
    }
}

fn read_type(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType, Error> {
    let id = cursor.u32("a value type")?;
    ValueType::from_id(id).ok_or_else(|| Error::ValueTypeId { key: key.into(), id })
}

fn read_string<'a>(cursor: &mut Cursor<'a>, key: &str) -> Result<&'a [u8], Error> {
    let len = cursor.u64("the length of a text")?;
    let left = cursor.left();
    if len > left.min(MAX_STRING_BYTES) {
        return Err(Error::StringLength { key: key.into(), len, max: MAX_STRING_BYTES, left });
    }
    cursor.take(len, "a text")
}

/// An array whose elements stay in the file: pass the same file to read them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Array {
    /// The type of the elements, never [`ValueType::Array`].
    pub elem: ValueType,
    /// How many there are.
    pub len: usize,
    /// Where they lie in the file.
    pub bytes: Range<usize>,
}

impl Array {
    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, Error> {
        let elem = read_type(cursor, key)?;
        if elem == ValueType::Array {
            return Err(Error::NestedArray { key: key.into() });
        }
        let len = cursor.u64("the length of an array")?;
        if len > MAX_ARRAY_LEN {
            return Err(Error::ArrayLength { key: key.into(), len, max: MAX_ARRAY_LEN });
        }
        let (needed, left) = (len * elem.min_bytes(), cursor.left());
        if needed > left {
            return Err(Error::ArrayBytes { key: key.into(), elem, len, needed, left });
        }
        let start = cursor.pos();
        if elem == ValueType::Str {
            for _ in 0..len {
                read_string(cursor, key)?;
            }
        } else {
            cursor.take(needed, "an array")?;
        }
        Ok(Self { elem, len: len as usize, bytes: start..cursor.pos() })
    }

    /// The elements as they lie in `file`.
    ///
    /// # Errors
    /// `file` is not the one that was parsed: it ends before the elements do.
    pub fn bytes_in<'a>(&self, file: &'a [u8]) -> Result<&'a [u8], Error> {
        let Range { start, end } = self.bytes;
        file.get(start..end).ok_or(Error::OtherFile { start, end, len: file.len() })
    }

    /// The elements of an array of strings. They need not be UTF-8: tokens of odd vocabularies are not.
    ///
    /// # Errors
    /// The elements are not strings, or `file` is not the one that was parsed.
    pub fn strings<'a>(&self, file: &'a [u8]) -> Result<Strings<'a>, Error> {
        match self.elem {
            ValueType::Str => Ok(Strings { rest: self.bytes_in(file)?, left: self.len }),
            found => Err(Error::WrongElements { wanted: "strings", found }),
        }
    }

    /// The elements of an array of integers or booleans of any width.
    ///
    /// # Errors
    /// The elements are neither, one does not fit, or `file` is not the one that was parsed.
    pub fn i64s<'a>(&self, file: &'a [u8]) -> Result<impl ExactSizeIterator<Item = i64> + use<'a>, Error> {
        let bytes = self.bytes_in(file)?;
        let read: fn(&[u8]) -> i64 = match self.elem {
            ValueType::Bool => |b| i64::from(b[0] != 0),
            ValueType::U8 => |b| b[0].into(),
            ValueType::I8 => |b| (b[0] as i8).into(),
            ValueType::U16 => |b| u16::from_le_bytes(fixed(b)).into(),
            ValueType::I16 => |b| i16::from_le_bytes(fixed(b)).into(),
            ValueType::U32 => |b| u32::from_le_bytes(fixed(b)).into(),
            ValueType::I32 => |b| i32::from_le_bytes(fixed(b)).into(),
            ValueType::I64 => |b| i64::from_le_bytes(fixed(b)),
            ValueType::U64 => {
                for (index, b) in bytes.as_chunks::<8>().0.iter().enumerate() {
                    let found = u64::from_le_bytes(*b);
                    if found > i64::MAX as u64 {
                        return Err(Error::ElementDoesNotFit { index, found });
                    }
                }
                |b| u64::from_le_bytes(fixed(b)) as i64
            }
            found => return Err(Error::WrongElements { wanted: "integers", found }),
        };
        Ok(bytes.chunks_exact(self.elem.min_bytes() as usize).map(read))
    }

    /// The elements of an array of floats; f64 are rounded to f32.
    ///
    /// # Errors
    /// The elements are not floats, or `file` is not the one that was parsed.
    pub fn f32s<'a>(&self, file: &'a [u8]) -> Result<impl ExactSizeIterator<Item = f32> + use<'a>, Error> {
        let bytes = self.bytes_in(file)?;
        let read: fn(&[u8]) -> f32 = match self.elem {
            ValueType::F32 => |b| f32::from_le_bytes(fixed(b)),
            ValueType::F64 => |b| f64::from_le_bytes(fixed(b)) as f32,
            found => return Err(Error::WrongElements { wanted: "floats", found }),
        };
        Ok(bytes.chunks_exact(self.elem.min_bytes() as usize).map(read))
    }
}

/// `bytes` as an array of the same length.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// Iterates over the elements of an array of strings, as raw bytes. Ends early if the bytes are not those of an
/// array that was parsed.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
    left: usize,
}

impl Strings<'_> {
    /// Whether no byte is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.rest.split_first_chunk::<8>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.rest = rest;
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
