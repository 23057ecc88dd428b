//! What the writer refuses, and models in several files.

use super::*;
use crate::types::TensorType;

fn error<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn data_that_does_not_fill_the_tensors_exactly_is_refused() {
    let mut writer = Writer::new();
    writer.tensor("a", &[32, 2], TensorType::Q4_0).unwrap();
    writer.tensor("b", &[3], TensorType::F16).unwrap();
    let start = || writer.clone().start(Vec::new()).unwrap();

    let mut data = start();
    data.write(&[0; 30]).unwrap();
    assert_eq!(error(data.write(&[0; 7])), "tensor \"a\" takes 6 more bytes, given 7");
    data.write(&[0; 6]).unwrap();
    assert_eq!(data.current(), Some("b"));
    assert_eq!(error(data.finish()), "tensor \"b\" has 6 bytes, only 0 were written");

    let mut data = start();
    data.write(&[0; 35]).unwrap();
    assert_eq!(error(data.finish()), "tensor \"a\" has 36 bytes, only 35 were written");

    let mut data = start();
    data.write(&[0; 36]).unwrap();
    data.write(&[0; 6]).unwrap();
    data.write(&[]).unwrap();
    assert_eq!(error(data.write(&[0])), "all tensors are complete, given 1 more bytes");
    Gguf::parse(&data.finish().unwrap()).unwrap();
}

#[test]
fn the_alignment_of_the_metadata_is_used() {
    let mut writer = Writer::new();
    writer.set(ALIGNMENT_KEY, 8192u32);
    writer.tensor("a", &[1], TensorType::F32).unwrap();
    writer.tensor("b", &[1], TensorType::F32).unwrap();
    assert_eq!(writer.file_len().unwrap(), 3 * 8192);
    let mut data = writer.start(Vec::new()).unwrap();
    data.write(&[1, 2, 3, 4]).unwrap();
    data.write(&[5, 6, 7, 8]).unwrap();
    let file = data.finish().unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!((file.len(), gguf.alignment, gguf.data_start), (3 * 8192, 8192, 8192));
    assert_eq!(gguf.tensor_bytes(&gguf.tensors[1], &file), [5, 6, 7, 8]);

    for bad in [0u32, 24, 1 << 21] {
        let mut writer = Writer::new();
        writer.set(ALIGNMENT_KEY, bad);
        assert!(error(writer.start(Vec::new())).contains(&format!("general.alignment is {bad}")));
    }
    let mut writer = Writer::new();
    writer.set(ALIGNMENT_KEY, 32u64);
    assert_eq!(error(writer.start(Vec::new())), "general.alignment is of type u64, expected u32");
}

#[test]
fn what_no_reader_accepts_is_not_written() {
    let mut writer = Writer::new();
    writer.tensor("t", &[32], TensorType::Q4_0).unwrap();
    let mut tensor = |name: &str, dims: &[u64], ty| error(writer.tensor(name, dims, ty));
    assert_eq!(tensor("t", &[1], TensorType::F32), "tensor \"t\" occurs twice");
    assert!(tensor(&"n".repeat(64), &[1], TensorType::F32).contains("is 64 bytes long, expected 1 to 63"));
    assert!(tensor("n\0", &[1], TensorType::F32).contains("is not text"));
    assert_eq!(tensor("n", &[], TensorType::F32), "tensor \"n\" has 0 dimensions, expected 1 to 4");
    assert_eq!(
        tensor("n", &[2, 0], TensorType::F32),
        "dimension 1 of tensor \"n\" is 0, expected at least 1"
    );
    assert!(tensor("n", &[33], TensorType::Q4_0).contains("have 33 elements"));

    let set = |key: &str, value: Set| {
        let mut writer = Writer::new();
        writer.set(key, value);
        error(writer.start(Vec::new()))
    };
    assert_eq!(set("", 1u32.into()), "key number 0 is 0 bytes long, expected 1 to 65535");
    assert_eq!(set("a\0", 1u32.into()), "key number 0 is not text: \"a\\0\"");
    assert_eq!(set("k", Vec::<u32>::new().into()), "array \"k\" is empty, which other readers refuse");
    let raw = |elem, bytes: &[u8]| set("k", Set::Raw { elem, len: 2, bytes: bytes.to_vec() });
    let wrong = "array \"k\" is given as 7 bytes, which are not 2 elements of type ";
    assert_eq!(raw(ValueType::U32, &[0; 7]), format!("{wrong}u32"));
    assert_eq!(raw(ValueType::Str, &[0; 7]), format!("{wrong}str"));
    assert!(raw(ValueType::Str, &[0; 17]).contains("17 bytes"));
    assert!(raw(ValueType::Array, &[0; 24]).contains("24 bytes"));

    let mut writer = Writer::new();
    for name in ["a", "b", "c"] {
        writer.tensor(name, &[i64::MAX as u64], TensorType::I8).unwrap();
    }
    assert_eq!(error(writer.file_len()), "the bytes of all tensors cannot be counted in 64 bits");
}

#[test]
fn setting_a_key_again_keeps_its_place() {
    let mut writer = Writer::new();
    writer.set("first", 1u32).set("second", 2u32).set("first", "one");
    let file = writer.start(Vec::new()).unwrap().finish().unwrap();
    let keys = Gguf::parse(&file).unwrap().metadata;
    let expected = [("first".to_string(), Value::Str("one".into())), ("second".to_string(), Value::U32(2))];
    assert_eq!(keys, expected);
}

/// Shard `no` of `count`, with one tensor, which says that all have `total`.
fn shard(no: u64, count: u64, total: i32, tensor: &str) -> Gguf {
    let mut writer = Writer::new();
    writer.set(split::NO_KEY, no as u16).set(split::COUNT_KEY, count as u16).set(split::TENSORS_KEY, total);
    writer.tensor(tensor, &[1], TensorType::F32).unwrap();
    let mut data = writer.start(Vec::new()).unwrap();
    data.write(&[0; 4]).unwrap();
    Gguf::parse(&data.finish().unwrap()).unwrap()
}

#[test]
fn shards_that_belong_together_pass() {
    let shards = [shard(0, 3, 3, "a"), shard(1, 3, 3, "b"), shard(2, 3, 3, "c")];
    assert_eq!(split::count(&shards[0]).unwrap(), 3);
    split::check(&shards.each_ref()).unwrap();
    let single = Gguf::parse(&Writer::new().start(Vec::new()).unwrap().finish().unwrap()).unwrap();
    assert_eq!(split::count(&single).unwrap(), 1);
    split::check(&[&single]).unwrap();
}

#[test]
fn shards_that_do_not_are_refused() {
    let check = |shards: &[Gguf]| error(split::check(&shards.iter().collect::<Vec<_>>()));
    let a = || shard(0, 2, 2, "a");
    assert_eq!(check(&[]), "split.count is 0, expected 1 to 99999");
    assert_eq!(check(&[shard(0, 0, 2, "a")]), "split.count is 0, expected 1 to 99999");
    assert_eq!(check(&[a()]), "the model is spread over 2 files, found 1");
    let second_first = check(&[shard(1, 2, 2, "b"), a()]);
    assert_eq!(second_first, "split.no of file 0 (counted from 0) is 1, expected 0");
    assert_eq!(check(&[a(), a()]), "split.no of file 1 (counted from 0) is 0, expected 1");
    let counts = check(&[a(), shard(1, 3, 2, "b")]);
    assert_eq!(counts, "split.count of file 1 (counted from 0) is 3, but the first file says 2");
    assert_eq!(check(&[a(), shard(1, 2, 2, "a")]), "tensor \"a\" occurs twice");
    let total = check(&[shard(0, 2, 3, "a"), shard(1, 2, 3, "b")]);
    assert_eq!(total, "split.tensors.count is 3, but the files have 2 tensors");
}

#[test]
fn shard_names_follow_from_the_first() {
    let names = split::shard_names("qwen-00001-of-00003.gguf", 3).unwrap();
    assert_eq!(names, ["qwen-00001-of-00003.gguf", "qwen-00002-of-00003.gguf", "qwen-00003-of-00003.gguf"]);
    for wrong in [
        "qwen-00002-of-00003.gguf",
        "qwen-00001-of-00004.gguf",
        "qwen.gguf",
        "-00001-of-00003.gguf",
        "a/b-00001-of-00003.gguf",
    ] {
        let message = error(split::shard_names(wrong, 3));
        assert_eq!(
            message,
            format!("file name {wrong:?} does not end in -00001-of-00003.gguf, as the first of 3 must")
        );
    }
    assert!(split::shard_names("qwen-00001-of-00000.gguf", 0).is_err());
}
