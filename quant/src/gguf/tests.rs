//! Files written, read back, broken one rule at a time, cut short everywhere and spoiled everywhere.

use super::*;
use crate::types::TensorType;

/// A header put together by hand, so that it can be wrong.
#[derive(Clone)]
struct Header {
    bytes: Vec<u8>,
    n_tensors: u64,
    n_keys: u64,
}

impl Header {
    fn new() -> Self {
        Self { bytes: Vec::new(), n_tensors: 0, n_keys: 0 }
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn string(self, text: &[u8]) -> Self {
        self.raw(&(text.len() as u64).to_le_bytes()).raw(text)
    }

    /// A key with the bytes of its value, type id included.
    fn key(mut self, key: &[u8], ty: u32, value: &[u8]) -> Self {
        self.n_keys += 1;
        self.string(key).raw(&ty.to_le_bytes()).raw(value)
    }

    fn info(mut self, name: &[u8], dims: &[u64], ty: u32, offset: u64) -> Self {
        self.n_tensors += 1;
        let mut header = self.string(name).raw(&(dims.len() as u32).to_le_bytes());
        for dim in dims {
            header = header.raw(&dim.to_le_bytes());
        }
        header.raw(&ty.to_le_bytes()).raw(&offset.to_le_bytes())
    }

    /// The file with `data` bytes of zeros in its data section, aligned to 32.
    fn file(&self, data: usize) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend_from_slice(&self.n_tensors.to_le_bytes());
        file.extend_from_slice(&self.n_keys.to_le_bytes());
        file.extend_from_slice(&self.bytes);
        if self.n_tensors > 0 {
            file.resize(file.len().next_multiple_of(32), 0);
        }
        file.resize(file.len() + data, 0);
        file
    }

    /// The message of the error that the file gives.
    fn error(&self, data: usize) -> String {
        message(&self.file(data))
    }
}

fn message(file: &[u8]) -> String {
    let message = Gguf::parse(file).unwrap_err().to_string();
    assert!(!message.contains('\n'), "more than a line: {message}");
    message
}

/// A file with a value of every kind and three tensors.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "qwen3").set("a.u8", 200u8).set("a.i8", -3i8).set("a.u16", 40_000u16);
    writer.set("a.i16", -300i16).set("a.u32", 7u32).set("a.i32", -70_000i32).set("a.u64", u64::MAX);
    writer.set("a.i64", i64::MIN).set("a.f32", 1.5f32).set("a.f64", 1e300f64).set("a.bool", true);
    writer.set("tokens", vec![b"one".to_vec(), Vec::new(), b"\xff\xfe".to_vec()]);
    writer.set("scores", vec![0.5f32, -1.0]).set("types", vec![1i32, -6]).set("ids", vec![3u32, 4]);
    writer.set("flags", vec![true, false]).set("general.quantization_version", 2u32);
    writer.tensor("norm", &[5], TensorType::F32).unwrap();
    writer.tensor("blk.0.weight", &[32, 3], TensorType::Q8_0).unwrap();
    writer.tensor("experts", &[32, 2, 2], TensorType::Q4_0).unwrap();
    let expected = writer.file_len().unwrap();
    let mut data = writer.start(Vec::new()).unwrap();
    for (name, len) in [("norm", 20), ("blk.0.weight", 102), ("experts", 72)] {
        assert_eq!(data.current(), Some(name));
        // In two pieces: the data is a stream.
        data.write(&vec![1; len / 2]).unwrap();
        data.write(&vec![2; len - len / 2]).unwrap();
    }
    assert_eq!(data.current(), None);
    let file = data.finish().unwrap();
    assert_eq!(file.len() as u64, expected);
    file
}

#[test]
fn what_is_written_is_read_back() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!((gguf.version, gguf.alignment, gguf.metadata.len()), (3, 32, 18));
    assert_eq!(gguf.str("general.architecture").unwrap(), Some("qwen3"));
    assert_eq!(gguf.u64("a.u64").unwrap(), Some(u64::MAX));
    assert_eq!(gguf.usize("a.u8").unwrap(), Some(200));
    assert_eq!(gguf.u32("a.u16").unwrap(), Some(40_000));
    assert_eq!(gguf.get("a.i64"), Some(&Value::I64(i64::MIN)));
    assert_eq!(gguf.f32("a.f32").unwrap(), Some(1.5));
    assert_eq!(gguf.f32("a.i32").unwrap(), Some(-70_000.0));
    assert_eq!(gguf.bool("a.bool").unwrap(), Some(true));
    let array = |key| gguf.array(key).unwrap().unwrap();
    let tokens: Vec<&[u8]> = array("tokens").strings(&file).unwrap().collect();
    assert_eq!(tokens, [&b"one"[..], b"", b"\xff\xfe"]);
    assert_eq!(array("scores").f32s(&file).unwrap().collect::<Vec<_>>(), [0.5, -1.0]);
    assert_eq!(array("types").i64s(&file).unwrap().collect::<Vec<_>>(), [1, -6]);
    assert_eq!(array("ids").i64s(&file).unwrap().collect::<Vec<_>>(), [3, 4]);
    assert_eq!(array("flags").i64s(&file).unwrap().collect::<Vec<_>>(), [1, 0]);

    let places: Vec<(u64, u64)> = gguf.tensors.iter().map(|t| (t.offset, t.len)).collect();
    assert_eq!(places, [(0, 20), (32, 102), (160, 72)]);
    assert_eq!(gguf.data_start % 32, 0);
    let experts = gguf.tensor("experts").unwrap();
    assert_eq!((experts.cols(), experts.rows(), experts.ty), (32, 4, TensorType::Q4_0));
    let bytes = gguf.tensor_bytes(experts, &file);
    assert_eq!((bytes.len(), bytes[0], bytes[71]), (72, 1, 2));
    assert!(gguf.tensor("other").is_none() && gguf.get("other").is_none());

    // The padding of the last tensor may be missing, as some writers leave it out.
    Gguf::parse(&file[..file.len() - 24]).unwrap();
    assert!(
        message(&file[..file.len() - 25]).contains("takes 72 bytes at 160, but the data section has 231")
    );
}

#[test]
fn a_file_is_rewritten_to_the_same_bytes() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    let mut writer = Writer::new();
    for (key, value) in &gguf.metadata {
        writer.set(key, Set::from_value(value, &file).unwrap());
    }
    for t in &gguf.tensors {
        writer.tensor(&t.name, &t.dims, t.ty).unwrap();
    }
    let mut data = writer.start(Vec::new()).unwrap();
    for t in &gguf.tensors {
        data.write(gguf.tensor_bytes(t, &file)).unwrap();
    }
    assert_eq!(data.finish().unwrap(), file);
}

#[test]
fn values_of_another_type_are_errors_that_name_key_and_types() {
    let file = sample();
    let gguf = Gguf::parse(&file).unwrap();
    let error = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert_eq!(error(gguf.u32("a.f32").map(drop)), "key \"a.f32\" is f32, expected an integer");
    assert_eq!(error(gguf.u32("a.i8").map(drop)), "key \"a.i8\" is -3, which does not fit u32");
    assert!(error(gguf.u32("a.u64").map(drop)).contains("18446744073709551615, which does not fit u32"));
    assert_eq!(error(gguf.str("a.u8").map(drop)), "key \"a.u8\" is u8, expected str");
    assert_eq!(error(gguf.bool("a.u8").map(drop)), "key \"a.u8\" is u8, expected bool");
    assert_eq!(error(gguf.array("a.u8").map(drop)), "key \"a.u8\" is u8, expected array");
    assert!(error(gguf.f32("a.f64").map(drop)).ends_with("does not fit f32"));
    assert_eq!(error(gguf.f32("tokens").map(drop)), "key \"tokens\" is array, expected a number");
    assert_eq!(gguf.u32("absent").unwrap(), None);
    let array = |key| gguf.array(key).unwrap().unwrap();
    assert_eq!(error(array("scores").strings(&file).map(drop)), "an array of f32, expected strings");
    assert_eq!(error(array("scores").i64s(&file).map(drop)), "an array of f32, expected integers");
    assert_eq!(error(array("tokens").f32s(&file).map(drop)), "an array of str, expected floats");
    // Another file: an error, no bytes, or fewer elements, never a panic.
    assert!(error(array("tokens").strings(&file[..100]).map(drop)).contains("but the file has 100"));
    assert_eq!(gguf.tensor_bytes(&gguf.tensors[0], &file[..100]), b"");
    assert_eq!(array("tokens").strings(&vec![0xff; file.len()]).unwrap().count(), 0);
}

#[test]
fn integers_above_i64_in_an_array_are_an_error() {
    let value: Vec<u8> = [
        10u32.to_le_bytes().to_vec(),
        2u64.to_le_bytes().to_vec(),
        vec![1, 0, 0, 0, 0, 0, 0, 0],
        vec![0xff; 8],
    ]
    .concat();
    let file = Header::new().key(b"k", 9, &value).file(0);
    let gguf = Gguf::parse(&file).unwrap();
    let error = gguf.array("k").unwrap().unwrap().i64s(&file).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "element 1 of an array is 18446744073709551615, which does not fit i64");
}

#[test]
fn the_first_bytes_must_be_right() {
    let file = Header::new().file(0);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        message(&file)
    };
    assert_eq!(with(0, b"GGML"), "not a GGUF file: it begins with [47, 47, 4d, 4c], not with \"GGUF\"");
    assert!(with(4, &[1]).contains("version 1 is obsolete"));
    assert_eq!(with(4, &[4]), "GGUF version 4 is not known (2 and 3 are)");
    assert!(with(4, &[0, 0, 0, 3]).contains("of the other byte order"));
    let mut version_2 = file.clone();
    version_2[4] = 2;
    assert_eq!(Gguf::parse(&version_2).unwrap().version, 2);
    assert_eq!(with(8, &[1]), "the file says it has 1 tensors, but 0 bytes hold at most 0");
    assert!(with(16, &[0xff; 8]).starts_with("the file says it has 18446744073709551615 keys"));
    assert_eq!(message(&file[..7]), "the file ends too early: the header takes 4 bytes, 3 are left");
    assert_eq!(message(b""), "the file ends too early: the header takes 4 bytes, 0 are left");
}

#[test]
fn each_broken_rule_about_keys_has_its_message() {
    let key = |key: &[u8], ty: u32, value: &[u8]| Header::new().key(key, ty, value).raw(&[0; 40]).error(0);
    let array = |elem: u32, len: u64| [elem.to_le_bytes().to_vec(), len.to_le_bytes().to_vec()].concat();
    assert_eq!(key(b"", 0, &[1]), "key number 0 is 0 bytes long, expected 1 to 65535");
    assert_eq!(key(&[b'k'; 65_536], 0, &[1]), "key number 0 is 65536 bytes long, expected 1 to 65535");
    assert_eq!(key(b"a\0b", 0, &[1]), "key number 0 is not text: \"a\\0b\"");
    assert_eq!(key(b"a\xff", 0, &[1]), "key number 0 is not text: \"a\u{fffd}\"");
    assert_eq!(key(b"k", 13, &[1]), "key \"k\" has unknown value type 13");
    assert_eq!(key(b"k", 9, &array(13, 1)), "key \"k\" has unknown value type 13");
    assert_eq!(key(b"k", 9, &array(9, 1)), "key \"k\" is an array of arrays, which is not supported");
    let long = key(b"k", 9, &array(0, (1 << 30) + 1));
    assert_eq!(long, "array \"k\" has 1073741825 elements, at most 1073741824 are allowed");
    let big = key(b"k", 9, &array(4, 1 << 30));
    assert_eq!(big, "array \"k\" of 1073741824 u32 takes at least 4294967296 bytes, 40 are left");
    assert!(key(b"k", 9, &array(8, 6)).contains("of 6 str takes at least 48 bytes, 40 are left"));
    assert!(key(b"k", 8, &100u64.to_le_bytes()).contains("a text of 100 bytes, at most 16777216"));
    assert!(key(b"k", 8, &u64::MAX.to_le_bytes()).contains("a text of 18446744073709551615 bytes"));
    assert_eq!(key(b"k", 8, b"\x01\0\0\0\0\0\0\0\xff"), "the value of \"k\" is not valid UTF-8");
    let twice = Header::new().key(b"k", 0, &[1]).key(b"k", 0, &[1]).error(0);
    assert_eq!(twice, "key \"k\" occurs twice");

    let alignment = |v: u32| Header::new().key(ALIGNMENT_KEY.as_bytes(), 4, &v.to_le_bytes()).error(0);
    assert_eq!(alignment(0), "general.alignment is 0, expected a power of two up to 1048576");
    assert_eq!(alignment(48), "general.alignment is 48, expected a power of two up to 1048576");
    assert_eq!(alignment(1 << 21), "general.alignment is 2097152, expected a power of two up to 1048576");
    let wide = Header::new().key(ALIGNMENT_KEY.as_bytes(), 10, &32u64.to_le_bytes()).error(0);
    assert_eq!(wide, "general.alignment is of type u64, expected u32");

    let version = |v: u32| Header::new().key(b"general.quantization_version", 4, &v.to_le_bytes());
    let old = version(1).info(b"t", &[32], 2, 0).error(18);
    assert_eq!(old, "general.quantization_version is 1, expected 2");
    // It says nothing about files without quantized tensors.
    Gguf::parse(&version(1).info(b"t", &[32], 0, 0).file(128)).unwrap();
    Gguf::parse(&version(2).info(b"t", &[32], 2, 0).file(18)).unwrap();
}

#[test]
fn each_broken_rule_about_tensors_has_its_message() {
    let info = |name: &[u8], dims: &[u64], ty, offset| {
        Header::new().info(name, dims, ty, offset).raw(&[0; 40]).error(64)
    };
    assert_eq!(info(b"", &[4], 0, 0), "the name of tensor number 0 is 0 bytes long, expected 1 to 63");
    assert_eq!(
        info(&[b'n'; 64], &[4], 0, 0),
        "the name of tensor number 0 is 64 bytes long, expected 1 to 63"
    );
    assert_eq!(info(b"a\0", &[4], 0, 0), "the name of tensor number 0 is not text: \"a\\0\"");
    assert_eq!(info(b"t", &[], 0, 0), "tensor \"t\" has 0 dimensions, expected 1 to 4");
    assert_eq!(info(b"t", &[1; 5], 0, 0), "tensor \"t\" has 5 dimensions, expected 1 to 4");
    assert_eq!(info(b"t", &[4, 0], 0, 0), "dimension 1 of tensor \"t\" is 0, expected at least 1");
    assert_eq!(info(b"t", &[u64::MAX], 0, 0), "dimension 0 of tensor \"t\" is -1, expected at least 1");
    let huge = info(b"t", &[1 << 32, 1 << 31], 0, 0);
    assert_eq!(
        huge,
        "the elements of tensor \"t\" with dimensions [4294967296, 2147483648] cannot be counted in 63 bits"
    );
    assert!(info(b"t", &[1 << 62], 0, 0).starts_with("the bytes of tensor \"t\" with dimensions"));
    assert_eq!(info(b"t", &[4], 43, 0), "tensor \"t\" has unknown type 43");
    for id in crate::types::REMOVED_IDS {
        let removed = format!("tensor \"t\" has type {id}, which was removed from the format");
        assert_eq!(info(b"t", &[4], id, 0), removed);
    }
    let ragged = info(b"t", &[48, 2], 2, 0);
    assert_eq!(ragged, "rows of tensor \"t\" have 48 elements, not a multiple of the Q4_0 block of 32");
    assert_eq!(info(b"t", &[4], 0, 16), "tensor \"t\" starts at 16, not a multiple of the alignment 32");
    let outside = Header::new().info(b"t", &[32], 0, 32).error(159);
    assert_eq!(outside, "tensor \"t\" takes 128 bytes at 32, but the data section has 159");
    let far = Header::new().info(b"t", &[32], 0, u64::MAX - 31).error(128);
    assert_eq!(far, "tensor \"t\" takes 128 bytes at 18446744073709551584, but the data section has 128");
    let twice = Header::new().info(b"t", &[1], 0, 0).info(b"t", &[1], 0, 32).error(64);
    assert_eq!(twice, "tensor \"t\" occurs twice");
    let overlap = Header::new().info(b"b", &[8], 0, 64).info(b"a", &[9], 0, 32).error(128);
    assert_eq!(overlap, "tensor \"b\" at 64 overlaps tensor \"a\", which ends at 68");
    // Gaps and another order are tolerated, as long as nothing overlaps.
    Gguf::parse(&Header::new().info(b"b", &[8], 0, 96).info(b"a", &[8], 0, 32).file(128)).unwrap();
    let mut short = Header::new().info(b"tt", &[1], 0, 0).file(0);
    let len = short.len();
    short.truncate(len - 1);
    assert_eq!(message(&short), format!("the data should start at {len}, but the file ends at {}", len - 1));
    // A type that cannot be decoded is no fault of the header.
    let file = Header::new().info(b"t", &[256], TensorType::Q8K.id(), 0).file(292);
    assert!(!Gguf::parse(&file).unwrap().tensors[0].ty.is_decodable());
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let file = sample();
    let whole = file.len() - 24; // without the last padding
    for len in 0..whole {
        assert!(Gguf::parse(&file[..len]).is_err(), "cut to {len} of {}", file.len());
    }
    Gguf::parse(&file[..whole]).unwrap();
}

#[test]
fn a_file_with_any_byte_of_its_header_changed_gives_a_result() {
    let file = sample();
    let start = Gguf::parse(&file).unwrap().data_start as usize;
    let (mut accepted, mut refused) = (0, 0);
    for at in 0..start {
        for value in
            [0, 1, 2, 8, 9, 13, 0x20, 0x7f, 0x80, 0xfe, 0xff, !file[at], file[at] ^ 1, file[at] ^ 0x80]
        {
            let mut file = file.clone();
            file[at] = value;
            match Gguf::parse(&file) {
                Ok(gguf) => {
                    accepted += 1;
                    read_everything(&gguf, &file);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().contains('\n'));
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "accepted {accepted}, refused {refused}");
}

/// Uses all that a parsed file offers.
fn read_everything(gguf: &Gguf, file: &[u8]) {
    for (key, value) in &gguf.metadata {
        assert_eq!(gguf.get(key).map(Value::value_type), Some(value.value_type()));
        let _ = (gguf.u64(key), gguf.u32(key), gguf.usize(key), gguf.f32(key), gguf.bool(key), gguf.str(key));
        if let Value::Array(array) = value {
            let counts = [
                array.strings(file).map(Iterator::count),
                array.i64s(file).map(Iterator::count),
                array.f32s(file).map(Iterator::count),
            ];
            assert!(counts.into_iter().flatten().all(|n| n == array.len));
        }
    }
    for t in &gguf.tensors {
        assert_eq!(gguf.tensor_bytes(t, file).len() as u64, t.len);
        assert_eq!(gguf.tensor(&t.name), Some(t));
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_a_result(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let _ = Gguf::parse(&bytes);
        // With a header that lets the parser get on to the rest.
        let mut file = Header { bytes, n_tensors: 1, n_keys: 1 }.file(64);
        let _ = Gguf::parse(&file);
        file[8] = 0;
        if let Ok(gguf) = Gguf::parse(&file) {
            read_everything(&gguf, &file);
        }
    }

    #[test]
    fn several_changes_at_once_give_a_result(
        changes in proptest::collection::vec(proptest::prelude::any::<(u16, u8)>(), 1..6)
    ) {
        let mut file = sample();
        for (at, value) in changes {
            let at = usize::from(at) % file.len();
            file[at] = value;
        }
        if let Ok(gguf) = Gguf::parse(&file) {
            read_everything(&gguf, &file);
        }
    }
}

#[test]
fn the_qwen_vocabulary_parses_fast() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vocab/qwen2.gguf");
    let Ok(file) = std::fs::read(path) else {
        assert!(std::env::var_os("QWIP_REQUIRE_SHARED").is_none(), "no vocabulary at {path}");
        eprintln!("SKIPPED: no vocabulary at {path}");
        return;
    };
    let times = (0..5).map(|_| {
        let start = std::time::Instant::now();
        Gguf::parse(&file).unwrap();
        start.elapsed()
    });
    let best = times.min().unwrap();
    eprintln!("parsed {} bytes in {best:?}", file.len());
    // It takes a few milliseconds; the limit leaves room for a busy machine and still fails on copies.
    assert!(best.as_millis() < 100, "{best:?}");

    let gguf = Gguf::parse(&file).unwrap();
    let array = |key| gguf.array(key).unwrap().unwrap();
    assert_eq!(gguf.str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
    assert_eq!(array("tokenizer.ggml.tokens").strings(&file).unwrap().count(), 151_936);
    assert_eq!(array("tokenizer.ggml.merges").strings(&file).unwrap().count(), 151_387);
    assert_eq!(array("tokenizer.ggml.token_type").i64s(&file).unwrap().len(), 151_936);
    assert_eq!(array("tokenizer.ggml.tokens").strings(&file).unwrap().next(), Some(&b"!"[..]));
}
