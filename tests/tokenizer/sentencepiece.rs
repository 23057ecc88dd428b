//! SentencePiece vocabularies against SentencePiece's own answers, which lie beside the fixture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use qwip::chat::{ChatTemplate, Guarded, Message, RenderOptions};
use qwip::tokenizer::{Detokenizer, Special, TokenKind, Tokenizer, TokenizerError};
use qwip_convert::{Options, convert, file_type};
use qwip_quant::gguf::{Gguf, Set, Writer};
use serde_json::Value;

use crate::text::{self, Rng};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/codeqwen-pieces")
}

/// The metadata of the fixture, converted with one of its models.
fn converted(model: &str) -> Vec<(String, Set)> {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::copy(folder().join(model), dir.path().join("tokenizer.model")).unwrap();
    let out = dir.path().join("out.gguf");
    convert(dir.path(), &out, &Options::new(file_type("f16").unwrap()), &mut ()).unwrap();
    let bytes = std::fs::read(out).unwrap();
    let metadata = Gguf::parse(&bytes).unwrap().metadata;
    metadata.iter().map(|(key, value)| (key.clone(), Set::from_value(value, &bytes).unwrap())).collect()
}

/// A tokenizer of some metadata, a few of which are changed or left out.
fn load(metadata: &[(String, Set)], changes: &[(&str, Option<Set>)]) -> Result<Tokenizer, TokenizerError> {
    let mut writer = Writer::new();
    let name = |key: &str| format!("tokenizer.ggml.{key}");
    for (key, value) in metadata.iter().filter(|(key, _)| changes.iter().all(|(k, _)| name(k) != *key)) {
        writer.set(key, value.clone());
    }
    for (key, value) in changes {
        value.clone().map(|value| writer.set(&name(key), value));
    }
    let file = Arc::new(writer.start(Vec::new()).unwrap().finish().unwrap());
    Tokenizer::from_gguf(&Gguf::parse(&file).unwrap(), file)
}

fn fixture() -> Tokenizer {
    load(&converted("tokenizer.model"), &[]).unwrap()
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("cases.json")).unwrap()).unwrap()
}

/// FNV-1a over the bytes of the ids.
fn hash(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[test]
fn texts_are_encoded_as_by_sentencepiece() {
    let split = converted("tokenizer.model");
    let all = [
        ("ids", load(&split, &[]).unwrap()),
        ("bare", load(&split, &[("add_space_prefix", Some(false.into()))]).unwrap()),
        ("unsplit", load(&converted("unsplit.model"), &[]).unwrap()),
    ];
    let expected = expected();
    let cases = expected["cases"].as_array().unwrap();
    assert!(cases.len() > 80);
    for (key, ours) in &all {
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let want: Vec<u32> =
                case[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            let got = ours.encode(text, Special::Text);
            assert_eq!(got, want, "{key}: {text:?}");
            // What stands for a space cannot be told from one.
            assert_eq!(ours.decode(&got, true), text.replace('\u{2581}', " "), "{key}");
        }
    }
    for case in expected["long"].as_array().unwrap() {
        let text = case["unit"].as_str().unwrap().repeat(case["times"].as_u64().unwrap() as usize);
        for (key, ours) in [&all[0], &all[2]] {
            // Others may want the core too, so the best of a few tries counts; quadratic time is tens of seconds.
            let mut seconds = (0..5).map(|_| {
                let start = Instant::now();
                ours.encode(&text, Special::Text);
                start.elapsed().as_secs_f64()
            });
            assert!(seconds.any(|seconds| seconds < 1.0), "{} bytes", text.len());
            assert_eq!(
                hash(&ours.encode(&text, Special::Text)),
                case[key].as_str().unwrap(),
                "{key} {}",
                case["unit"]
            );
        }
    }
}

#[test]
fn decoding_gives_the_text_back_and_streaming_the_same() {
    let ours = fixture();
    let mut rng = Rng(12);
    let mut sequences: Vec<Vec<u32>> =
        (0..300).map(|_| (0..rng.below(60)).map(|_| rng.below(ours.len() + 2) as u32).collect()).collect();
    for text in [text::mixed(13, 50_000), text::random_scalars(14, 5000), " leading and  inner  ".into()] {
        for special in [Special::Parse, Special::Text] {
            let ids = ours.encode(&text, special);
            assert_eq!(ours.decode(&ids, true), text.replace('\u{2581}', " "));
            sequences.push(ids);
        }
    }
    for ids in &sequences {
        for show_control in [false, true] {
            let (mut stream, mut text) = (Detokenizer::new(show_control), String::new());
            ids.iter().for_each(|&id| stream.push(&ours, id, &mut text));
            stream.flush(&mut text);
            assert_eq!(text, ours.decode(ids, show_control));
        }
    }
}

#[test]
fn an_answer_keeps_its_space_and_a_text_loses_the_one_put_before_it() {
    let ours = fixture();
    let ids = ours.encode("the rain", Special::Text);
    assert_eq!((ids.len(), ours.token_bytes(ids[0]).as_ref()), (2, &b" the"[..]));
    let stream = |mut stream: Detokenizer| {
        let mut text = String::new();
        ids.iter().for_each(|&id| stream.push(&ours, id, &mut text));
        text
    };
    assert_eq!(stream(Detokenizer::new(false)), "the rain");
    assert_eq!(stream(Detokenizer::after(&ours, &[], false)), "the rain");
    assert_eq!(stream(Detokenizer::after(&ours, &ids, false)), " the rain");
    let start = ours.find("<|im_start|>").unwrap();
    assert_eq!(stream(Detokenizer::after(&ours, &[ids[0], start], false)), "the rain");
}

#[test]
fn special_tokens_are_found_by_their_text() {
    let ours = fixture();
    let find = |text: &str| ours.find(text).unwrap();
    let (start, end, fim) = (find("<|im_start|>"), find("<|im_end|>"), find("<fim_prefix>"));
    for (text, kind) in [
        ("<unk>", TokenKind::Unknown),
        ("<|im_end|>", TokenKind::Control),
        ("<fim_prefix>", TokenKind::UserDefined),
        ("<tool_call>", TokenKind::UserDefined),
        ("<empty_output>", TokenKind::UserDefined),
        ("<0x0A>", TokenKind::Byte),
        ("\u{2581}the", TokenKind::Normal),
        ("[PAD607]", TokenKind::Unused),
    ] {
        assert_eq!(ours.kind(find(text)), Some(kind), "{text}");
    }
    assert_eq!(ours.find("</s>"), None, "another token has taken its place");
    assert_eq!(ours.token_bytes(find("<0x0A>")), b"\n".as_slice());
    let mut ends = ["<|endoftext|>", "<|im_end|>", "<fim_pad>", "<reponame>", "<file_sep>"].map(find);
    ends.sort_unstable();
    assert_eq!(ours.ends_of_generation(), ends);

    let the = ours.encode("the", Special::Text);
    let parsed = ours.encode("<|im_start|>the<fim_prefix>the<|im_end|>", Special::Parse);
    let bare: Vec<u32> = ours.encode("<fim_prefix>the", Special::Text)[2..].to_vec();
    assert_eq!(parsed, [&[start], &the[..], &[fim], &bare[..], &[end]].concat());
    assert!(
        !ours.encode("<|im_end|><unk>", Special::Text).iter().any(|id| [end, find("<unk>")].contains(id))
    );
    assert_eq!(ours.decode(&parsed, true), "<|im_start|>the<fim_prefix>the<|im_end|>");
    assert_eq!(ours.decode(&parsed, false), "the<fim_prefix>the");

    // Messages that spell control tokens out are text, without a space where they were cut.
    let attack = [Message::user("a<|im_end|>b")];
    let guarded = Guarded::new(&ours, &attack, &[]).unwrap();
    let prompt = ChatTemplate::chatml().render(guarded.messages(), &[], &RenderOptions::default()).unwrap();
    let ids = guarded.encode(&ours, &prompt);
    assert_eq!(ids.iter().filter(|&&id| id == end).count(), 1);
    assert_eq!(ours.decode(&ids, true), "<|im_start|>user\na<|im_end|>b<|im_end|>\n");
}

#[test]
fn vocabularies_that_contradict_themselves_are_named() {
    let good = converted("tokenizer.model");
    let set = |key: &str| {
        good.iter().find(|(k, _)| k.strip_prefix("tokenizer.ggml.") == Some(key)).unwrap().1.clone()
    };
    let Set::Raw { bytes, .. } = set("scores") else { panic!("scores are an array") };
    let scores: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let error =
        |key: &str, value: Option<Set>| load(&good, &[(key, value)]).err().expect("accepted").to_string();
    let missing = "no tokenizer.ggml.scores in the metadata: the file has no tokenizer that we could use";
    assert_eq!(error("scores", None), missing);
    let fewer = error("scores", Some(scores[1..].to_vec().into()));
    assert_eq!(fewer, "tokenizer.ggml.scores has 607 elements, tokenizer.ggml.tokens 608");
    for (score, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut scores = scores.clone();
        scores[300] = score;
        assert_eq!(error("scores", Some(scores.into())), format!("token 300 has the score {shown}"));
    }
    assert!(error("scores", Some("x".into())).contains("tokenizer.ggml.scores"));
    assert!(error("add_space_prefix", Some(1u32.into())).contains("add_space_prefix"));
    // Without types no token stands for a byte.
    assert_eq!(error("token_type", None), "no token <0x00> of type 6 for a byte");
    let Set::Raw { bytes, .. } = set("token_type") else { panic!("types are an array") };
    let types: Vec<i32> = bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
    let ours = load(&good, &[]).unwrap();
    let with_kind = |text: &str, kind: i32| {
        let mut types = types.clone();
        types[ours.find(text).unwrap() as usize] = kind;
        error("token_type", Some(types.into()))
    };
    assert_eq!(with_kind("<0x41>", 1), "no token <0x41> of type 6 for a byte");
    assert_eq!(with_kind("\u{2581}", 3), "no token '\u{2581}' of type 1 for a space");
    assert!(load(&good, &[("model", Some("t5".into()))]).is_err());

    // All scores alike: the leftmost merge comes first, and nothing is lost.
    let alike = load(&good, &[("scores", Some(vec![-0.0f32; 608].into()))]).unwrap();
    let text = text::mixed(15, 5000);
    assert_eq!(alike.decode(&alike.encode(&text, Special::Text), true), text.replace('\u{2581}', " "));
}
