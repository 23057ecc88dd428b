//! An output in several files: what is in each, that together they are the model, and that none is left alone.

mod common;

use common::{Log, fixture, named, run};
use qwip_convert::quantize::{self, Plan, Split};
use qwip_convert::{ConvertError, Limits, Options, Summary, convert};
use qwip_quant::gguf::{Gguf, Value, split};
use std::fs;
use std::path::{Path, PathBuf};

const CHECKPOINT: &str = "qwen3-kquant";

fn converted(out: &Path, limits: Limits) -> Summary {
    let options = Options { limits, reference: true, ..Options::new(named("F16")) };
    convert(&fixture(CHECKPOINT), out, &options, &mut Log::default()).unwrap()
}

/// Each file of an output.
fn files(summary: &Summary) -> Vec<(Vec<u8>, Gguf)> {
    let parsed = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let header = Gguf::parse(&bytes).unwrap();
        (bytes, header)
    };
    summary.files.iter().map(|file| parsed(&file.path)).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn together_the_files_are_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    converted(&path("whole.gguf"), Limits::default());
    let whole = fs::read(path("whole.gguf")).unwrap();
    let model = Gguf::parse(&whole).unwrap();
    for limits in [
        Limits { bytes: Some(100_000), tensors: None },
        Limits { bytes: Some(1), tensors: None },
        Limits { bytes: None, tensors: Some(5) },
        Limits { bytes: Some(100_000), tensors: Some(5) },
    ] {
        let summary = converted(&path("out.gguf"), limits);
        let files = files(&summary);
        assert!(files.len() > 2);
        let headers: Vec<&Gguf> = files.iter().map(|(_, header)| header).collect();
        split::check(&headers).unwrap();
        let keys: Vec<&str> = model.metadata.iter().map(|(key, _)| key.as_str()).collect();
        for (no, (portion, (bytes, header))) in summary.files.iter().zip(&files).enumerate() {
            let name = format!("out-{:05}-of-{:05}.gguf", no + 1, files.len());
            assert_eq!(portion.path, path(&name));
            let weights: u64 = header.tensors.iter().map(|t| t.len).sum();
            assert_eq!((portion.tensors, portion.bytes), (header.tensors.len(), weights));
            let fits = weights <= limits.bytes.unwrap_or(u64::MAX)
                && header.tensors.len() <= limits.tensors.unwrap_or(usize::MAX);
            assert!(fits || header.tensors.len() == 1, "{name}");
            for (key, value) in [
                ("split.no", Value::U16(no as u16)),
                ("split.count", Value::U16(files.len() as u16)),
                ("split.tensors.count", Value::I32(model.tensors.len() as i32)),
            ] {
                assert_eq!(header.get(key), Some(&value), "{name}");
            }
            let others =
                header.metadata.iter().map(|(key, _)| key.as_str()).filter(|key| !key.starts_with("split."));
            assert_eq!(others.collect::<Vec<_>>(), if no == 0 { &keys[..] } else { &[] });
            for t in &header.tensors {
                let same = model.tensor(&t.name).unwrap();
                assert_eq!((&t.dims, t.ty), (&same.dims, same.ty));
                assert!(header.tensor_bytes(t, bytes) == model.tensor_bytes(same, &whole), "{}", t.name);
            }
        }
        // Putting them together brings the very file back, its tensors in quantize's order.
        let merge = |from: &Path, to: &Path| {
            Plan::new(from, quantize::Options::default()).unwrap().write(to, &mut Log::default()).unwrap();
            fs::read(to).unwrap()
        };
        let merged = merge(&summary.files[0].path, &path("merged.gguf"));
        assert!(merged == merge(&path("whole.gguf"), &path("copied.gguf")));
        summary.files.iter().for_each(|file| fs::remove_file(&file.path).unwrap());
    }
    assert_eq!(names(dir.path()), ["copied.gguf", "merged.gguf", "whole.gguf"]);
}

#[test]
fn limits_that_one_file_keeps_give_the_plain_file() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, out) = (dir.path().join("plain.gguf"), dir.path().join("out.gguf"));
    converted(&plain, Limits::default());
    let summary = converted(&out, Limits { bytes: Some(u64::MAX), tensors: Some(usize::MAX) });
    assert_eq!(summary.files.len(), 1);
    assert!(fs::read(plain).unwrap() == fs::read(out).unwrap());
}

/// The plan of a model in files of four tensors.
fn in_fours(input: &Path) -> Plan {
    let split = Split::Within(Limits { bytes: None, tensors: Some(4) });
    let options = quantize::Options {
        ty: Some(named("Q8_0")),
        split,
        verify: true,
        threads: Some(2),
        ..Default::default()
    };
    Plan::new(input, options).unwrap()
}

fn model(dir: &Path) -> PathBuf {
    let input = dir.join("in.gguf");
    run(&fixture(CHECKPOINT), &input, named("F32")).unwrap();
    input
}

#[test]
fn quantized_files_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (model(dir.path()), dir.path().join("out.gguf"));
    let plan = in_fours(&input);
    assert_eq!(plan.summary(&out).files.len(), 4);
    let summary = plan.write(&out, &mut Log::default()).unwrap();
    let headers = files(&summary);
    split::check(&headers.iter().map(|(_, header)| header).collect::<Vec<_>>()).unwrap();
}

#[test]
fn all_files_appear_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (model(dir.path()), dir.path().join("out.gguf"));
    let plan = in_fours(&input);
    let old = dir.path().join("out-00002-of-00004.gguf");
    fs::write(&old, "old").unwrap();
    let before = names(dir.path());
    let mut stops = 0;
    loop {
        let mut log = Log { cancel_at: Some(stops), ..Log::default() };
        match plan.write(&out, &mut log) {
            Err(ConvertError::Cancelled) => stops += 1,
            Err(e) => panic!("{e}"),
            Ok(_) => break,
        }
        assert_eq!(names(dir.path()), before, "after {stops} steps");
        assert_eq!(fs::read(&old).unwrap(), b"old");
    }
    assert!(stops >= 14, "asked at every tensor: {stops}");
    assert_eq!(names(dir.path()).len(), 5);

    // What stands in the way of any of the names is found before a byte is written.
    let last = dir.path().join("out-00004-of-00004.gguf");
    fs::remove_file(&last).unwrap();
    fs::create_dir(&last).unwrap();
    fs::write(&old, "old").unwrap();
    let message = plan.write(&out, &mut Log::default()).unwrap_err().to_string();
    assert!(message.ends_with("out-00004-of-00004.gguf is a folder"), "{message}");
    let convert = || {
        let limits = Limits { bytes: None, tensors: Some(4) };
        convert(
            &fixture(CHECKPOINT),
            &out,
            &Options { limits, ..Options::new(named("F16")) },
            &mut Log::default(),
        )
    };
    let message = convert().unwrap_err().to_string();
    assert!(message.ends_with("out-00004-of-00004.gguf is a folder"), "{message}");
    assert_eq!(fs::read(&old).unwrap(), b"old");
    // No file of the output is one of the input's.
    fs::remove_dir(&last).unwrap();
    convert().unwrap();
    let first = dir.path().join("out-00001-of-00004.gguf");
    let message = in_fours(&first).write(&out, &mut Log::default()).unwrap_err().to_string();
    assert!(message.contains("out-00001-of-00004.gguf is the input"), "{message}");
}
