//! The tokenizer against the `tokenizers` crate, on the fixture beside this file and on the real vocabularies where
//! they are at hand.

#[path = "tokenizer/hostile.rs"]
mod hostile;
#[path = "tokenizer/oracle.rs"]
mod oracle;
#[path = "tokenizer/sentencepiece.rs"]
mod sentencepiece;
#[path = "tokenizer/text.rs"]
mod text;
#[path = "tokenizer/tiktoken.rs"]
mod tiktoken;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use oracle::Options;
use qwip::tokenizer::{Detokenizer, Normalize, Special, TokenKind, Tokenizer};
use qwip_quant::gguf::Gguf;
use text::Rng;

const REAL: [&str; 2] = ["qwen2.gguf", "qwen35.gguf"];

struct Loaded {
    gguf: Gguf,
    file: Arc<Vec<u8>>,
    ours: Tokenizer,
}

fn load(path: &Path) -> Loaded {
    let file = Arc::new(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let gguf = Gguf::parse(&file).unwrap();
    let ours = Tokenizer::from_gguf(&gguf, file.clone()).unwrap();
    Loaded { gguf, file, ours }
}

fn tiny() -> Loaded {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokenizer/tiny.gguf"))
}

/// The real vocabularies: they are too large for the repository and lie beside it, in `shared/vocab`.
fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vocab").join(name);
    if !path.exists() {
        assert!(std::env::var_os("QWIP_REQUIRE_SHARED").is_none(), "no {}", path.display());
        eprintln!("SKIPPED: no {}", path.display());
        return None;
    }
    Some(path)
}

fn assert_same(ours: &[u32], theirs: &[u32], text: &str, tokenizer: &Tokenizer) {
    if ours == theirs {
        return;
    }
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let show = |ids: &[u32]| {
        let ids = &ids[common.saturating_sub(4)..ids.len().min(common + 8)];
        ids.iter().map(|&id| (id, tokenizer.decode(&[id], true))).collect::<Vec<_>>()
    };
    panic!("{} bytes differ from token {common} on:\n{:?}\n{:?}", text.len(), show(ours), show(theirs));
}

fn assert_oracle_agrees(loaded: &Loaded, texts: &[String]) {
    for (special, control) in [(Special::Parse, true), (Special::Text, false)] {
        let oracle = oracle::build(&loaded.gguf, &loaded.file, Options { nfc: true, control });
        for text in texts {
            let ids = loaded.ours.encode(text, special);
            assert_same(&ids, &oracle::encode(&oracle, text), text, &loaded.ours);
        }
    }
}

#[test]
fn the_fixture_is_encoded_as_by_the_oracle() {
    let loaded = tiny();
    let pieces: Vec<String> = (0..400).map(|seed| text::mixed(seed, 20)).collect();
    assert_oracle_agrees(&loaded, &pieces);
    assert_oracle_agrees(&loaded, &[text::mixed(1, 200_000)]);
}

#[test]
fn real_vocabularies_encode_a_megabyte_of_everything_as_the_oracle_does() {
    for name in REAL {
        let Some(path) = real(name) else { continue };
        let loaded = load(&path);
        let mut texts: Vec<String> = (0..2000).map(|seed| text::mixed(seed, 30)).collect();
        texts.push(text::mixed(2, 1_200_000));
        assert_oracle_agrees(&loaded, &texts);
    }
}

#[test]
fn real_vocabularies_encode_noise_as_the_oracle_does() {
    for name in REAL {
        let Some(path) = real(name) else { continue };
        let loaded = load(&path);
        // Without NFC: the oracle's tables of it are those of an older Unicode.
        let oracle = oracle::build(&loaded.gguf, &loaded.file, Options { nfc: false, control: true });
        let ours = loaded.ours.with_normalize(Normalize::None);
        let mut texts = vec![text::random_bytes(3, 300_000), text::random_scalars(4, 150_000)];
        texts.extend((0..1000).map(|seed| text::random_scalars(seed, 12)));
        for text in &texts {
            assert_same(&ours.encode(text, Special::Parse), &oracle::encode(&oracle, text), text, &ours);
        }
    }
}

#[test]
fn known_encodings_of_the_qwen2_vocabulary() {
    let Some(path) = real(REAL[0]) else { return };
    let ours = load(&path).ours;
    let cases: &[(&str, &[u32])] = &[
        ("Hello world", &[9707, 1879]),
        (" Hello World!", &[21927, 4337, 0]),
        ("Hello, world!", &[9707, 11, 1879, 0]),
        ("   Hello", &[256, 21927]),
        ("\n\n\n", &[1406]),
        ("\t\n", &[1572]),
        ("3333", &[18, 18, 18, 18]),
        ("' era", &[6, 11385]),
        ("!!!!!!", &[17085, 2928]),
        ("\n =", &[198, 284]),
        ("w048 7tuijk dsdfhu", &[86, 15, 19, 23, 220, 22, 83, 1963, 41808, 11472, 2940, 16739]),
        (" this is 🦙.cpp", &[419, 374, 11162, 99, 247, 13, 10821]),
        ("нещо на Български", &[78762, 14144, 1456, 13073, 63471, 33594, 3038, 133178, 79012]),
        ("Cửa Việt", &[34, 90063, 128324]),
        ("I'M don't 'S", &[40, 27603, 1513, 944, 364, 50]),
        ("x=10**3;\n\n  y", &[87, 28, 16, 15, 334, 18, 401, 220, 379]),
        ("  \n  x", &[2303, 220, 856]),
        ("½①", &[26062, 48312, 254]),
        ("caf\u{e9}", &[924, 58858]),
        ("cafe\u{301}", &[924, 58858]),
        ("", &[]),
    ];
    for (text, ids) in cases {
        assert_eq!(ours.encode(text, Special::Text), *ids, "{text:?}");
    }
    let plain = ours.with_normalize(Normalize::None);
    assert_eq!(plain.encode("cafe\u{301}", Special::Text), [924, 1859, 53839]);
}

#[test]
fn special_tokens_are_parsed_only_where_allowed() {
    let ours = tiny().ours;
    let find = |text: &str| ours.find(text).unwrap();
    let (end, think, unknown) = (find("<|im_end|>"), find("<think>"), find("<unk>"));
    assert_eq!(ours.encode("<|im_end|><think><unk>", Special::Parse), [end, think, unknown]);
    let as_text = ours.encode("<|im_end|><think><unk>", Special::Text);
    assert!(!as_text.contains(&end) && !as_text.contains(&unknown) && as_text.contains(&think));
    assert_eq!(ours.decode(&as_text, false), "<|im_end|><think><unk>");
    // The longest one that is there; padding never.
    let whole = find("the whole");
    assert_eq!(ours.encode("the whole", Special::Text), [whole]);
    assert_eq!(ours.encode("the whol", Special::Text)[0], find("the w"));
    assert!(!ours.encode("[PAD0]", Special::Parse).contains(&find("[PAD0]")));

    let ids = ours.encode("a<|im_end|>b<think>", Special::Parse);
    assert_eq!(ours.decode(&ids, false), "ab<think>");
    assert_eq!(ours.decode(&ids, true), "a<|im_end|>b<think>");
}

#[test]
fn the_fixture_knows_its_tokens() {
    let ours = tiny().ours;
    let find = |text: &str| ours.find(text).unwrap();
    let kinds = [
        ("a", TokenKind::Normal),
        ("<unk>", TokenKind::Unknown),
        ("<|im_end|>", TokenKind::Control),
        ("<think>", TokenKind::UserDefined),
        ("[PAD1]", TokenKind::Unused),
    ];
    for (text, kind) in kinds {
        assert_eq!(ours.kind(find(text)), Some(kind), "{text}");
        assert_eq!(ours.is_sampleable(find(text)), kind != TokenKind::Unused, "{text}");
        assert_eq!(ours.token_bytes(find(text)), text.as_bytes(), "{text}");
    }
    assert_eq!((ours.find("no such token"), ours.find("")), (None, None));
    assert_eq!(ours.token_bytes(find("Ġ")), b" ".as_slice());
    assert_eq!((ours.eos(), ours.pad()), (ours.find("<|im_end|>"), ours.find("<|endoftext|>")));
    assert_eq!((ours.bos(), ours.eot(), ours.add_bos(), ours.is_empty()), (None, None, false, false));
    let ends = [find("<|endoftext|>"), find("<|im_end|>"), find("<|fim_pad|>")];
    assert_eq!(ours.ends_of_generation(), ends);
    assert!(ours.is_end_of_generation(ends[0]) && !ours.is_end_of_generation(find("<think>")));

    let beyond = ours.len() as u32;
    assert_eq!((ours.kind(beyond), ours.kind(u32::MAX)), (None, None));
    assert!(ours.kind(beyond - 1).is_some() && !ours.is_sampleable(beyond));
    assert!(ours.token_bytes(beyond).is_empty() && ours.decode(&[beyond, u32::MAX], true).is_empty());
    assert_eq!(ours.encode_with_bos("a", Special::Parse), [find("a")]);
}

#[test]
fn decoding_gives_the_text_back() {
    let mut all = vec![tiny()];
    all.extend(REAL.iter().filter_map(|name| real(name)).map(|path| load(&path)));
    for loaded in all {
        let ours = loaded.ours.with_normalize(Normalize::None);
        for text in [text::mixed(5, 100_000), text::random_scalars(6, 20_000)] {
            for special in [Special::Parse, Special::Text] {
                let ids = ours.encode(&text, special);
                assert_eq!(ours.decode(&ids, true), text);
            }
        }
    }
}

#[test]
fn streaming_gives_the_same_text_as_decoding_at_once() {
    let ours = tiny().ours;
    let mut rng = Rng(7);
    // Random tokens: bytes in an order that is hardly ever UTF-8. Real text: characters of several tokens.
    let mut sequences: Vec<Vec<u32>> =
        (0..300).map(|_| (0..rng.below(60)).map(|_| rng.below(ours.len() + 2) as u32).collect()).collect();
    sequences.push(ours.encode(&text::mixed(8, 50_000), Special::Parse));
    sequences.push(ours.encode(&text::random_scalars(9, 5000), Special::Parse));
    for ids in &sequences {
        for show_control in [false, true] {
            let mut stream = Detokenizer::new(show_control);
            let mut text = String::new();
            for &id in ids {
                stream.push(&ours, id, &mut text);
            }
            stream.flush(&mut text);
            assert_eq!(text, ours.decode(ids, show_control));
        }
    }
}

#[test]
fn streaming_never_emits_half_a_character() {
    let ours = tiny().ours;
    let ids: Vec<u32> = ours.encode("🦙é\u{10ffff}", Special::Text);
    assert!(ids.len() > 3, "some of these characters are several tokens: {ids:?}");
    let mut stream = Detokenizer::new(false);
    let mut steps = Vec::new();
    for &id in &ids {
        let mut step = String::new();
        stream.push(&ours, id, &mut step);
        if !step.is_empty() {
            steps.push(step);
        }
    }
    assert_eq!(steps, ["🦙", "é", "\u{10ffff}"]);

    // The first two bytes of three: nothing yet, then a letter that does not belong to them, then an end too early.
    let byte = |byte: &str| ours.find(byte).unwrap();
    let mut text = String::new();
    for (id, expected) in
        [(byte("ä"), ""), (byte("½"), ""), (byte("z"), "\u{fffd}z"), (byte("ð"), "\u{fffd}z")]
    {
        stream.push(&ours, id, &mut text);
        assert_eq!(text, expected);
    }
    stream.flush(&mut text);
    assert_eq!(text, "\u{fffd}z\u{fffd}");
    stream.flush(&mut text);
    assert_eq!(text, "\u{fffd}z\u{fffd}");
}

#[test]
fn long_words_take_no_quadratic_time() {
    let mut all = vec![tiny()];
    all.extend(real(REAL[0]).map(|path| load(&path)));
    let mut rng = Rng(10);
    let letters: String = (0..200_000).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
    let few: String = (0..200_000).map(|_| ["t", "h", "e"][rng.below(3)]).collect();
    for loaded in all {
        let oracle = oracle::build(&loaded.gguf, &loaded.file, Options { nfc: true, control: false });
        for text in ["a".repeat(200_000), " ".repeat(200_000), letters.clone(), few.clone()] {
            // Others may want the core too, so the best of a few tries counts; quadratic time is tens of seconds.
            let seconds = (0..5).map(|_| {
                let start = Instant::now();
                loaded.ours.encode(&text, Special::Parse);
                start.elapsed().as_secs_f64()
            });
            assert!(seconds.into_iter().any(|seconds| seconds < 1.0), "{} bytes", text.len());
            let ids = loaded.ours.encode(&text, Special::Parse);
            assert_same(&ids, &oracle::encode(&oracle, &text), &text, &loaded.ours);
        }
    }
}

#[test]
fn loading_and_encoding_are_fast_and_small() {
    for name in REAL {
        let Some(path) = real(name) else { continue };
        let file = Arc::new(std::fs::read(path).unwrap());
        let gguf = Gguf::parse(&file).unwrap();
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                Tokenizer::from_gguf(&gguf, file.clone()).unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let ours = Tokenizer::from_gguf(&gguf, file.clone()).unwrap();
        let table_bytes = ours.table_bytes();
        println!(
            "{name}: loaded in {:.1} ms (median of 5), tables of {:.2} MiB",
            times[2],
            table_bytes as f64 / f64::from(1 << 20)
        );
        assert!(table_bytes <= 12 << 20, "{table_bytes} bytes of tables");

        let oracle = oracle::build(&gguf, &file, Options { nfc: true, control: true });
        let text = text::mixed(11, 2_000_000);
        let megabytes = text.len() as f64 / 1e6;
        let start = Instant::now();
        let ids = ours.encode(&text, Special::Parse);
        let our_rate = megabytes / start.elapsed().as_secs_f64();
        let start = Instant::now();
        let theirs = oracle::encode(&oracle, &text);
        let their_rate = megabytes / start.elapsed().as_secs_f64();
        println!("{name}: encodes {our_rate:.1} MB/s, the tokenizers crate {their_rate:.2} MB/s");
        assert_same(&ids, &theirs, &text, &ours);
    }
}
