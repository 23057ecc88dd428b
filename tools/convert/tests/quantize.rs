//! GGUF to GGUF: types, splits, what is refused, and that what is written is what was planned.

mod common;

use common::{Log, fixture, named, run};
use qwip_convert::quantize::{Options, Plan, Split, Step};
use qwip_convert::{ConvertError, Edit};
use qwip_quant::gguf::{Gguf, Set, Value, Writer};
use qwip_quant::{TensorType, decode_row, encode_row};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with `model.gguf`, F32, of the fixture with rows of 256.
fn model() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    run(&fixture("qwen3-kquant"), &path, named("F32")).unwrap();
    (dir, path)
}

fn options(ty: &str) -> Options {
    Options { ty: Some(named(ty)), reference: true, threads: Some(2), ..Options::default() }
}

fn refusal(input: &Path, out: &Path, options: Options) -> String {
    let result = Plan::new(input, options).and_then(|plan| plan.write(out, &mut Log::default()));
    let message = match result {
        Ok(_) => panic!("it should be refused"),
        Err(e) => e.to_string(),
    };
    assert!(!message.contains('\n'), "{message}");
    let left: Vec<_> = fs::read_dir(out.parent().unwrap()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
    message
}

#[test]
fn every_mix_is_what_its_encoders_give() {
    let (dir, input) = model();
    let source = fs::read(&input).unwrap();
    let from = Gguf::parse(&source).unwrap();
    for ty in qwip_convert::file_types() {
        let out = dir.path().join("out.gguf");
        let plan = Plan::new(&input, Options { verify: true, ..options(ty.name) }).unwrap();
        let mut log = Log::default();
        let summary = plan.write(&out, &mut log).unwrap();
        // Written, and read again.
        assert_eq!((log.done, log.total), (2 * summary.bytes, summary.bytes));
        let file = fs::read(&out).unwrap();
        let to = Gguf::parse(&file).unwrap();
        assert_eq!(to.u64("general.file_type").unwrap(), Some(ty.id.into()));
        assert_eq!(to.tensors.len(), from.tensors.len());
        for (t, step) in to.tensors.iter().zip(plan.steps()) {
            assert_eq!((&t.name, &t.dims, t.ty, t.len), (&step.name, &step.dims, step.to, step.bytes));
            let old = from.tensor(&t.name).unwrap();
            let cols = t.cols() as usize;
            let (mut row, mut encoded) = (vec![0.0; cols], vec![0; t.ty.row_bytes(cols).unwrap()]);
            let new = from
                .tensor_bytes(old, &source)
                .chunks(cols * 4)
                .zip(to.tensor_bytes(t, &file).chunks(encoded.len()));
            for (old, new) in new {
                decode_row(TensorType::F32, old, &mut row).unwrap();
                encode_row(t.ty, &row, &mut encoded).unwrap();
                assert!(encoded == new, "{} as {}", t.name, ty.name);
            }
        }
    }
}

#[test]
fn types_can_be_chosen_by_name() {
    let (_dir, input) = model();
    let types = |options: Options| -> Vec<Step> { Plan::new(&input, options).unwrap().steps().to_vec() };
    let of = |steps: &[Step], name: &str| steps.iter().find(|s| s.name == name).unwrap().to;
    let steps = types(Options {
        tensor_types: vec!["ATTN_[qk]=q8_0".parse().unwrap(), "attn=f16".parse().unwrap()],
        token_embedding: Some(TensorType::Q5K),
        ..options("Q4_K_M")
    });
    assert_eq!(of(&steps, "blk.0.attn_q.weight"), TensorType::Q8_0);
    assert_eq!(of(&steps, "blk.0.attn_v.weight"), TensorType::F16);
    assert_eq!(of(&steps, "blk.0.attn_norm.weight"), TensorType::F32);
    assert_eq!(of(&steps, "blk.0.ffn_up.weight"), TensorType::Q4K);
    assert_eq!(of(&steps, "token_embd.weight"), TensorType::Q5K);
    let pure = types(Options { pure: true, ..options("Q4_K_M") });
    // Rows of 128 hold no whole block of 256.
    let expected = |s: &Step| if s.dims[0] == 128 { TensorType::Q5_0 } else { TensorType::Q4K };
    assert!(
        pure.iter().all(|s| s.to == if s.dims.len() > 1 { expected(s) } else { TensorType::F32 }),
        "{pure:?}"
    );
    let copy = types(Options::default());
    assert!(copy.iter().all(|s| s.from == s.to));
    for (text, part) in [
        ("attn_v", "there is no = in it"),
        ("attn_(=q8_0", "unclosed group"),
        ("attn_v=q9", "unknown tensor type \"q9\" (known: F32, F16, Q4_0, "),
    ] {
        let message = text.parse::<qwip_convert::quantize::ByName>().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_quantized_is_not_quantized_again_unless_told_to() {
    let (dir, input) = model();
    let (q8, out) = (dir.path().join("q8.gguf"), dir.path().join("out.gguf"));
    Plan::new(&input, options("Q8_0")).unwrap().write(&q8, &mut Log::default()).unwrap();
    let message = refusal(&q8, &out, options("Q4_0"));
    assert!(message.contains("is Q8_0 already") && message.contains("--allow-requantize"), "{message}");
    assert!(!out.exists());
    let again = Options { allow_requantize: true, ..options("Q4_0") };
    Plan::new(&q8, again).unwrap().write(&out, &mut Log::default()).unwrap();
    // The same type again is a copy, and loses nothing.
    Plan::new(&q8, options("Q8_0")).unwrap().write(&out, &mut Log::default()).unwrap();
    assert!(fs::read(&q8).unwrap() == fs::read(&out).unwrap());
}

#[test]
fn the_input_is_never_the_output() {
    let (dir, input) = model();
    let before = fs::read(&input).unwrap();
    let message = refusal(&input, &dir.path().join(".").join("model.gguf"), options("Q8_0"));
    assert!(message.ends_with("model.gguf is the input: give the output another name"), "{message}");
    assert!(fs::read(&input).unwrap() == before);
}

#[test]
fn wrong_files_and_weights_are_named() {
    let (dir, input) = model();
    let out = dir.path().join("out.gguf");
    let bytes = fs::read(&input).unwrap();
    let bad = dir.path().join("bad.gguf");
    fs::write(&bad, &bytes[..bytes.len() - 100]).unwrap();
    let message = refusal(&bad, &out, options("Q8_0"));
    assert!(message.contains("bad.gguf") && message.contains("output"), "{message}");
    fs::write(&bad, &bytes[..1000]).unwrap();
    assert!(refusal(&bad, &out, options("Q8_0")).contains("bad.gguf"));
    fs::write(&bad, b"GGML").unwrap();
    assert!(refusal(&bad, &out, options("Q8_0")).contains("bad.gguf"));
    assert!(refusal(dir.path(), &out, options("Q8_0")).contains("is not a file"));
    assert!(refusal(&dir.path().join("none.gguf"), &out, options("Q8_0")).contains("cannot read"));
    // A weight that is not a number.
    let gguf = Gguf::parse(&bytes).unwrap();
    let t = gguf.tensor("blk.0.ffn_up.weight").unwrap();
    let mut broken = bytes.clone();
    let at = (gguf.data_start + t.offset) as usize + 4 * 5;
    broken[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&bad, &broken).unwrap();
    let message = refusal(&bad, &out, options("Q8_0"));
    assert!(message.starts_with("blk.0.ffn_up.weight: row 0, column 5 is NaN"), "{message}");
    assert!(!out.exists());
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let (dir, input) = model();
    let out = dir.path().join("out.gguf");
    let mut log = Log { cancel_at: Some(3), ..Log::default() };
    let result = Plan::new(&input, options("Q8_0")).unwrap().write(&out, &mut log);
    assert!(matches!(result, Err(ConvertError::Cancelled)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Splits a model after `first` tensors.
fn split(input: &Path, first: usize) -> PathBuf {
    let file = fs::read(input).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let path = |no: usize| input.with_file_name(format!("split-{:05}-of-00002.gguf", no + 1));
    for (no, tensors) in [&gguf.tensors[..first], &gguf.tensors[first..]].iter().enumerate() {
        let mut writer = Writer::new();
        if no == 0 {
            for (key, value) in &gguf.metadata {
                writer.set(key, Set::from_value(value, &file).unwrap());
            }
        }
        writer
            .set("split.no", no as u16)
            .set("split.count", 2u16)
            .set("split.tensors.count", gguf.tensors.len() as i32);
        tensors.iter().for_each(|t| writer.tensor(&t.name, &t.dims, t.ty).unwrap());
        let mut data = writer.start(fs::File::create(path(no)).unwrap()).unwrap();
        tensors.iter().for_each(|t| data.write(gguf.tensor_bytes(t, &file)).unwrap());
        data.finish().unwrap();
    }
    path(0)
}

#[test]
fn split_models_are_merged_or_kept() {
    let (dir, input) = model();
    let (whole, merged) = (dir.path().join("whole.gguf"), dir.path().join("merged.gguf"));
    Plan::new(&input, options("Q8_0")).unwrap().write(&whole, &mut Log::default()).unwrap();
    let first = split(&input, 5);
    Plan::new(&first, options("Q8_0")).unwrap().write(&merged, &mut Log::default()).unwrap();
    assert!(fs::read(&whole).unwrap() == fs::read(&merged).unwrap());
    let kept = Plan::new(&first, Options { split: Split::Kept, verify: true, ..options("Q8_0") }).unwrap();
    kept.write(&dir.path().join("kept.gguf"), &mut Log::default()).unwrap();
    let again = dir.path().join("again.gguf");
    let parts = dir.path().join("kept-00001-of-00002.gguf");
    Plan::new(&parts, Options::default()).unwrap().write(&again, &mut Log::default()).unwrap();
    assert!(fs::read(&whole).unwrap() == fs::read(&again).unwrap());
    fs::remove_file(dir.path().join("kept-00002-of-00002.gguf")).unwrap();
    assert!(refusal(&parts, &merged, Options::default()).contains("kept-00002-of-00002.gguf"));
}

#[test]
fn keys_are_changed_and_tensors_are_not() {
    let (dir, input) = model();
    let out = dir.path().join("out.gguf");
    let edit = |text: &str| text.parse::<Edit>().unwrap();
    let edits = vec![
        edit("general.name=Another=One"),
        edit("general.file_type=7"),
        edit("my.number=int:-3"),
        edit("my.text=str:5"),
        Edit::Text { key: "tokenizer.chat_template".into(), value: "{{ messages }}".into() },
        Edit::Remove { key: "general.size_label".into() },
    ];
    Plan::new(&input, Options { edits, ..Options::default() })
        .unwrap()
        .write(&out, &mut Log::default())
        .unwrap();
    let (old, new) = (fs::read(&input).unwrap(), fs::read(&out).unwrap());
    let (old_header, header) = (Gguf::parse(&old).unwrap(), Gguf::parse(&new).unwrap());
    assert_eq!(header.str("general.name").unwrap(), Some("Another=One"));
    assert_eq!(header.u32("general.file_type").unwrap(), Some(7));
    assert_eq!(header.get("my.number"), Some(&Value::I64(-3)));
    assert_eq!(header.str("my.text").unwrap(), Some("5"));
    assert_eq!(header.str("tokenizer.chat_template").unwrap(), Some("{{ messages }}"));
    assert!(header.get("general.size_label").is_none());
    assert_eq!(
        header.metadata.len(),
        old_header.metadata.len() + 2 - 1 + usize::from(old_header.get("tokenizer.chat_template").is_none())
    );
    for t in &old_header.tensors {
        assert!(
            old_header.tensor_bytes(t, &old) == header.tensor_bytes(header.tensor(&t.name).unwrap(), &new)
        );
    }
    for (edit, part) in [
        ("no.such.key=5", "the file has no key \"no.such.key\": say of which type"),
        ("general.file_type=many", "\"many\" is not of type int"),
        ("general.file_type=-1", "-1 does not fit"),
        ("tokenizer.ggml.tokens=a", "is an array"),
        ("split.count=2", "cannot be changed"),
    ] {
        let message =
            refusal(&input, &out, Options { edits: vec![edit.parse().unwrap()], ..Options::default() });
        assert!(message.contains(part), "{edit}: {message}");
    }
    assert!("novalue".parse::<Edit>().is_err());
}
