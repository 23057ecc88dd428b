//! Everything that can be wrong with a GGUF file, one variant per broken rule.

use super::value::ValueType;
use crate::types::TensorType;

/// Why a file cannot be read or written. Each message is one line that names the key or tensor and the numbers
/// that disagree; names from the file are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("the file ends too early: {what} takes {needed} bytes, {left} are left")]
    Truncated { what: &'static str, needed: u64, left: u64 },
    #[error("not a GGUF file: it begins with {found:02x?}, not with \"GGUF\"")]
    Magic { found: [u8; 4] },
    #[error("the file is of the other byte order (version field {found:#010x}); only little-endian is read")]
    ForeignEndian { found: u32 },
    #[error("GGUF version 1 is obsolete; convert the file again")]
    ObsoleteVersion,
    #[error("GGUF version {found} is not known (2 and 3 are)")]
    Version { found: u32 },
    #[error("the file says it has {count} {what}, but {left} bytes hold at most {most}")]
    Count { what: &'static str, count: u64, left: u64, most: u64 },

    #[error("key number {index} is {len} bytes long, expected 1 to {max}")]
    KeyLength { index: u64, len: u64, max: u64 },
    #[error("key number {index} is not text: {found:?}")]
    KeyText { index: u64, found: String },
    #[error("key {key:?} occurs twice")]
    DuplicateKey { key: String },
    #[error("key {key:?} has unknown value type {id}")]
    ValueTypeId { key: String, id: u32 },
    #[error("key {key:?} is an array of arrays, which is not supported")]
    NestedArray { key: String },
    #[error("array {key:?} has {len} elements, at most {max} are allowed")]
    ArrayLength { key: String, len: u64, max: u64 },
    #[error("array {key:?} of {len} {elem} takes at least {needed} bytes, {left} are left")]
    ArrayBytes { key: String, elem: ValueType, len: u64, needed: u64, left: u64 },
    #[error("{key:?} has a text of {len} bytes, at most {max} are allowed and {left} are left")]
    StringLength { key: String, len: u64, max: u64, left: u64 },
    #[error("the value of {key:?} is not valid UTF-8")]
    ValueText { key: String },
    #[error("general.alignment is of type {found}, expected u32")]
    AlignmentType { found: ValueType },
    #[error("general.alignment is {found}, expected a power of two up to {max}")]
    Alignment { found: u64, max: u64 },
    #[error("general.quantization_version is {found}, expected 2")]
    QuantizationVersion { found: u64 },

    #[error("the name of tensor number {index} is {len} bytes long, expected 1 to {max}")]
    NameLength { index: u64, len: u64, max: u64 },
    #[error("the name of tensor number {index} is not text: {found:?}")]
    NameText { index: u64, found: String },
    #[error("tensor {name:?} occurs twice")]
    DuplicateTensor { name: String },
    #[error("tensor {name:?} has {found} dimensions, expected 1 to 4")]
    Dims { name: String, found: u64 },
    #[error("dimension {axis} of tensor {name:?} is {found}, expected at least 1")]
    Dim { name: String, axis: usize, found: i64 },
    #[error("the elements of tensor {name:?} with dimensions {dims:?} cannot be counted in 63 bits")]
    TooManyElements { name: String, dims: Vec<u64> },
    #[error("tensor {name:?} has unknown type {id}")]
    UnknownType { name: String, id: u32 },
    #[error("tensor {name:?} has type {id}, which was removed from the format")]
    RemovedType { name: String, id: u32 },
    #[error("rows of tensor {name:?} have {cols} elements, not a multiple of the {ty} block of {block}")]
    RowLength { name: String, ty: TensorType, cols: u64, block: u64 },
    #[error(
        "the bytes of tensor {name:?} with dimensions {dims:?} of type {ty} cannot be counted in 63 bits"
    )]
    TooManyBytes { name: String, ty: TensorType, dims: Vec<u64> },
    #[error("tensor {name:?} starts at {offset}, not a multiple of the alignment {alignment}")]
    Unaligned { name: String, offset: u64, alignment: u64 },
    #[error("the data should start at {start}, but the file ends at {len}")]
    DataStart { start: u64, len: u64 },
    #[error("tensor {name:?} takes {len} bytes at {offset}, but the data section has {data}")]
    OutOfBounds { name: String, offset: u64, len: u64, data: u64 },
    #[error("tensor {name:?} at {offset} overlaps tensor {other:?}, which ends at {end}")]
    Overlap { name: String, offset: u64, other: String, end: u64 },

    #[error("key {key:?} is {found}, expected {wanted}")]
    WrongType { key: String, wanted: &'static str, found: String },
    #[error("key {key:?} is {found}, which does not fit {wanted}")]
    DoesNotFit { key: String, wanted: &'static str, found: String },
    #[error("an array of {found}, expected {wanted}")]
    WrongElements { wanted: &'static str, found: ValueType },
    #[error("element {index} of an array is {found}, which does not fit i64")]
    ElementDoesNotFit { index: usize, found: u64 },
    #[error("an array lies in bytes {start}..{end}, but the file has {len}: not the file it was read from")]
    OtherFile { start: usize, end: usize, len: usize },

    #[error("key {key:?} is missing")]
    MissingKey { key: String },
    #[error("split.count is {found}, expected 1 to {max}")]
    SplitCount { found: u64, max: u64 },
    #[error("split.no of file {shard} (counted from 0) is {}, expected {shard}", Absent(.found))]
    SplitNo { shard: usize, found: Option<u64> },
    #[error("split.count of file {shard} (counted from 0) is {}, but the first file says {expected}", Absent(.found))]
    SplitCounts { shard: usize, expected: usize, found: Option<u64> },
    #[error("file name {found:?} does not end in -00001-of-{count:05}.gguf, as the first of {count} must")]
    SplitName { found: String, count: usize },
    #[error("the model is spread over {expected} files, found {found}")]
    SplitShards { expected: usize, found: usize },
    #[error("split.tensors.count is {expected}, but the files have {found} tensors")]
    SplitTensors { expected: u64, found: u64 },

    #[error("array {key:?} is empty, which other readers refuse")]
    EmptyArray { key: String },
    #[error("array {key:?} is given as {found} bytes, which are not {len} elements of type {elem}")]
    RawArray { key: String, elem: ValueType, len: usize, found: usize },
    #[error("the bytes of all tensors cannot be counted in 64 bits")]
    FileTooLarge,
    #[error("tensor {name:?} takes {left} more bytes, given {found}")]
    TooMuchData { name: String, left: u64, found: u64 },
    #[error("all tensors are complete, given {found} more bytes")]
    DataAfterLastTensor { found: u64 },
    #[error("tensor {name:?} has {len} bytes, only {written} were written")]
    Incomplete { name: String, written: u64, len: u64 },
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
}

/// A number that may be missing.
struct Absent<'a>(&'a Option<u64>);

impl std::fmt::Display for Absent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(n) => n.fmt(f),
            None => f.write_str("absent"),
        }
    }
}
