//! `tokenizer.model` of CodeQwen1.5: what becomes of it, and what is wrong with others.

mod common;

use common::{Copy, named};
use qwip_quant::gguf::Gguf;
use serde_json::json;
use std::fs;

const NAME: &str = "codeqwen-pieces";

#[track_caller]
fn expect(copy: &Copy, parts: &[&str]) {
    let message = copy.error();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn scores_take_the_place_of_merges() {
    let copy = Copy::of(NAME);
    let convert = || {
        let (summary, _) = copy.convert(named("F16")).unwrap();
        (summary.notes, fs::read(copy.out()).unwrap())
    };
    let (notes, bytes) = convert();
    assert_eq!(notes, ["token 2 is \"<empty_output>\", not \"</s>\""]);
    let gguf = Gguf::parse(&bytes).unwrap();
    let str = |key: &str| gguf.str(&format!("tokenizer.ggml.{key}")).unwrap();
    assert_eq!((str("model"), str("pre")), (Some("llama"), Some("default")));
    assert_eq!(gguf.bool("tokenizer.ggml.add_space_prefix").unwrap(), Some(true));
    assert!(gguf.get("tokenizer.ggml.merges").is_none());
    let array = |key: &str| gguf.array(&format!("tokenizer.ggml.{key}")).unwrap().unwrap();
    let tokens: Vec<String> =
        array("tokens").strings(&bytes).unwrap().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect();
    let types: Vec<i64> = array("token_type").i64s(&bytes).unwrap().collect();
    let scores: Vec<f32> = array("scores").f32s(&bytes).unwrap().collect();
    assert_eq!((tokens.len(), types.len(), scores.len()), (608, 608, 608));
    for (id, token, kind, score) in [
        (0, "<unk>", 2, 0.0),
        (1, "<s>", 3, 0.0),
        (2, "<empty_output>", 4, -1000.0),
        (3, "<|endoftext|>", 3, 0.0),
        (5, "<|im_end|>", 3, 0.0),
        (6, "<fim_prefix>", 4, 0.0),
        (12, "<0x00>", 6, 0.0),
        (267, "<0xFF>", 6, 0.0),
        (268, "\u{2581}\u{2581}", 1, 0.0),
        (560, "<tool_call>", 4, -1000.0),
        (561, "[PAD561]", 5, -10000.0),
        (607, "[PAD607]", 5, -10000.0),
    ] {
        assert_eq!((tokens[id].as_str(), types[id], scores[id]), (token, kind, score), "{id}");
    }
    assert_eq!((types[269], scores[269]), (1, -1.0));
    let ids =
        ["bos", "eos", "eot", "padding"].map(|k| gguf.u32(&format!("tokenizer.ggml.{k}_token_id")).unwrap());
    assert_eq!(ids, [Some(3), Some(5), Some(3), Some(3)]);

    // The fast form beside it says less, and changes nothing; alone it is not enough.
    copy.write("tokenizer.json", json!({"model": {"type": "BPE", "byte_fallback": true}}).to_string());
    assert!(convert().1 == bytes);
    fs::remove_file(copy.out()).unwrap();
    copy.remove("tokenizer.model");
    expect(&copy, &["only byte-level BPE", "\"BPE with byte_fallback\""]);
}

#[test]
fn models_cut_off_or_changed_anywhere() {
    let copy = Copy::of(NAME);
    let whole = fs::read(copy.path("tokenizer.model")).unwrap();
    for cut in (0..whole.len()).step_by(61).chain(whole.len() - 40..whole.len()) {
        copy.write("tokenizer.model", &whole[..cut]);
        expect(&copy, &["tokenizer.model"]);
    }
    let mut refused = 0;
    for at in (0..whole.len()).step_by(53) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        copy.write("tokenizer.model", bytes);
        // A letter or a score may change freely; nothing may panic or leave a file.
        match copy.convert(named("F16")) {
            Ok(_) => fs::remove_file(copy.out()).unwrap(),
            Err(e) => {
                refused += 1;
                assert!(!e.to_string().contains('\n') && e.to_string().len() < 500, "{e}");
            }
        }
        assert_eq!(copy.left_behind(), Vec::<String>::new());
    }
    assert!(refused > 20, "{refused}");
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn piece(text: &[u8], score: Option<f32>, kind: u64) -> Vec<u8> {
    let score = score.map_or(Vec::new(), |s| [varint(2 << 3 | 5), s.to_le_bytes().to_vec()].concat());
    bytes(1, &[bytes(1, text), score, number(3, kind)].concat())
}

/// A model of its parts, and what is put behind.
struct Model {
    pieces: Vec<Vec<u8>>,
    trainer: Vec<u8>,
    normalizer: Vec<u8>,
    more: Vec<u8>,
}

impl Model {
    fn good() -> Model {
        let special = ["<unk>", "<|endoftext|>", "<|im_end|>"].iter().zip([2, 3, 3]);
        let special = special.map(|(text, kind)| piece(text.as_bytes(), None, kind));
        let of_bytes = (0..=255u8).map(|byte| piece(format!("<0x{byte:02X}>").as_bytes(), None, 6));
        let normal = ["\u{2581}", "a"].map(|text| piece(text.as_bytes(), Some(-1.0), 1));
        Model {
            pieces: special.chain(of_bytes).chain(normal).collect(),
            trainer: number(3, 2),
            normalizer: [bytes(1, b"identity"), number(3, 0), number(4, 0)].concat(),
            // Fields that nobody asked for, of every kind.
            more: [number(99, 7), [varint(98 << 3 | 1), vec![0; 8]].concat(), bytes(97, b"x")].concat(),
        }
    }

    fn write(&self) -> Copy {
        let copy = Copy::of(NAME);
        copy.remove("added_tokens.json");
        let (trainer, normalizer) = (bytes(2, &self.trainer), bytes(3, &self.normalizer));
        copy.write(
            "tokenizer.model",
            [&self.pieces.concat(), &trainer, &normalizer, &self.more].map(|v| &v[..]).concat(),
        );
        copy
    }
}

#[test]
fn models_that_the_runtime_would_read_otherwise() {
    let copy = Model::good().write();
    copy.convert(named("F16")).unwrap();
    let file = fs::read(copy.out()).unwrap();
    assert_eq!(Gguf::parse(&file).unwrap().bool("tokenizer.ggml.add_space_prefix").unwrap(), Some(false));

    let with = |change: &dyn Fn(&mut Model)| {
        let mut model = Model::good();
        change(&mut model);
        model.write()
    };
    for (id, part) in
        [(3, "no piece <0x00> for a byte, or an added token in its place"), (259, "for a space, or")]
    {
        let copy = Model::good().write();
        copy.write("added_tokens.json", json!({"<new>": id}).to_string());
        expect(&copy, &["tokenizer.model", part]);
    }
    for (change, part) in [
        (
            &(|m: &mut Model| m.trainer = number(3, 1)) as &dyn Fn(&mut Model),
            "is a unigram model: only BPE models convert",
        ),
        (&|m| m.trainer.clear(), "is a unigram model"),
        (&|m| m.trainer = number(3, 9), "is a type 9 model"),
        (&|m| m.trainer.extend(number(24, 1)), "treat_whitespace_as_suffix"),
        (&|m| m.normalizer.clear(), "remove_extra_whitespaces"),
        (&|m| m.normalizer.extend(number(5, 0)), "escape_whitespaces"),
        (
            &|m| m.normalizer = [bytes(1, b"nmt_nfkc"), bytes(2, b"rules")].concat(),
            "normalises text (\"nmt_nfkc\")",
        ),
        (&|m| m.pieces.clear(), "holds no pieces"),
        (&|m| drop(m.pieces.remove(3)), "no piece <0x00> for a byte, or"),
        (&|m| drop(m.pieces.remove(259)), "no piece \"\u{2581}\" for a space"),
        (&|m| m.pieces.push(piece(b"b", None, 1)), "piece 261 \"b\" has no score"),
        (&|m| m.pieces.push(piece(b"b", Some(f32::NAN), 1)), "piece 261 \"b\" has the score NaN"),
        (&|m| m.pieces.push(piece(b"b", Some(0.0), 7)), "piece 261 \"b\" has type 7, not 1 to 6"),
        (&|m| m.pieces.push(piece(b"a", Some(0.0), 1)), "piece 261 \"a\" is piece 260 again"),
        (&|m| m.pieces.push(piece(b"", Some(0.0), 1)), "piece 261 is empty"),
        (&|m| m.pieces.push(piece(b"\xff", Some(0.0), 1)), "piece 261 is not UTF-8"),
        (&|m| m.pieces.push(bytes(1, b"")), "piece 261 is empty"),
        (
            &|m| m.pieces.extend((0..348).map(|i| piece(format!("b{i}").as_bytes(), Some(0.0), 1))),
            "\"b347\" has id 608",
        ),
        (&|m| m.more.extend(varint(1 << 3 | 3)), "a field of kind 3 before byte"),
        (&|m| m.more.extend([0xff; 12]), "a number without end at byte"),
        (
            &|m| m.more.extend([varint(1 << 3 | 2), varint(u64::MAX)].concat()),
            "wants 18446744073709551615 more",
        ),
    ] {
        expect(&with(change), &[part]);
    }
}
