//! Answers held to a form: the masks against what decoding says, whole documents, thinking, and hostile forms. With the
//! real vocabulary where it is at hand, and with that of the built-in model.

#[path = "constrain/calls.rs"]
mod calls;
#[path = "constrain/hostile.rs"]
mod hostile;
#[path = "constrain/steps.rs"]
mod steps;
#[path = "constrain/walk.rs"]
mod walk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use qwip::Tokenizer;
use qwip::constrain::{Allowed, Grammar, Thinking, Vocabulary};
use qwip_quant::gguf::Gguf;
use serde_json::{Value, json};
use walk::{Rng, walk};

/// A tokenizer and its vocabulary.
struct Loaded {
    tokenizer: Tokenizer,
    vocabulary: Arc<Vocabulary>,
    vocab: usize,
}

fn load(path: &Path) -> Loaded {
    let file = Arc::new(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let gguf = Gguf::parse(&file).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf, file).unwrap();
    // As models have it: padded.
    let vocab = tokenizer.len().next_multiple_of(64);
    let vocabulary = Vocabulary::new(&tokenizer, vocab).unwrap();
    Loaded { tokenizer, vocabulary, vocab }
}

/// The vocabulary of the built-in model, and the real one: it is too large for the repository and lies beside it, in
/// `shared/vocab`.
fn loaded() -> &'static [Loaded] {
    static LOADED: OnceLock<Vec<Loaded>> = OnceLock::new();
    LOADED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let real = root.join("../shared/vocab/qwen2.gguf");
        let mut paths: Vec<PathBuf> = vec![root.join("tools/builtin/builtin.gguf")];
        if real.exists() {
            paths.push(real);
        } else {
            assert!(std::env::var_os("QWIP_REQUIRE_SHARED").is_none(), "no {}", real.display());
            eprintln!("SKIPPED: no {}", real.display());
        }
        paths.iter().map(|path| load(path)).collect()
    })
}

fn is_set(mask: &[u32], id: u32) -> bool {
    mask[id as usize / 32] >> (id % 32) & 1 == 1
}

/// All tokens, not a sample: each that keeps a beginning of one of the texts may come, and no other.
#[test]
fn masks_agree_with_decoding() {
    let texts =
        ["red", "reed", "green light", "green\nlight", "\"grün\"", "中文", "中国人", "<think>", "12", "1234"];
    let quoted: Vec<String> = texts.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
    let lark = Grammar::lark(&format!("start: {}", quoted.join(" | ")));
    let regex = Grammar::regex(&texts.join("|"));
    for (loaded, grammar) in loaded().iter().flat_map(|loaded| [(loaded, &lark), (loaded, &regex)]) {
        for seed in 0..20 {
            let mut constraint = loaded.vocabulary.constraint(grammar, Thinking::None).unwrap();
            let (mut rng, mut said) = (Rng(seed), Vec::new());
            loop {
                let mask = match constraint.allowed().unwrap() {
                    Allowed::Some(mask) => mask.to_vec(),
                    Allowed::End => break,
                    Allowed::All => panic!("nothing is held back"),
                };
                assert_eq!(mask.len(), loaded.vocab.div_ceil(32));
                let complete = texts.iter().any(|text| text.as_bytes() == said);
                for id in 0..loaded.vocab as u32 {
                    let bytes = [&said[..], &loaded.tokenizer.token_bytes(id)].concat();
                    let wanted = match loaded.tokenizer.kind(id) {
                        Some(qwip::tokenizer::TokenKind::Normal | qwip::tokenizer::TokenKind::Byte) => {
                            bytes.len() > said.len()
                                && texts.iter().any(|text| text.as_bytes().starts_with(&bytes))
                        }
                        _ => complete && loaded.tokenizer.is_end_of_generation(id),
                    };
                    assert_eq!(is_set(&mask, id), wanted, "{id} after {:?}", String::from_utf8_lossy(&said));
                }
                let token = rng.pick(&mask);
                if loaded.tokenizer.is_end_of_generation(token) {
                    break;
                }
                constraint.accept(token).unwrap();
                said.extend_from_slice(&loaded.tokenizer.token_bytes(token));
            }
            assert!(texts.iter().any(|text| text.as_bytes() == said), "{:?}", String::from_utf8_lossy(&said));
        }
    }
}

#[test]
fn whatever_is_chosen_the_answer_satisfies_the_schema() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "colour": {"enum": ["red", "green", "蓝色", 7, null]},
            "sizes": {"type": "array", "items": {"type": "number", "minimum": -10, "maximum": 1e6}, "minItems": 2, "maxItems": 4},
            "inner": {
                "type": "object",
                "properties": {"count": {"type": "integer", "minimum": -3, "maximum": 20}, "ok": {"type": "boolean"}},
                "required": ["count"],
                "additionalProperties": false
            }
        },
        "required": ["name", "colour", "sizes", "inner"],
        "additionalProperties": false
    });
    let grammar = Grammar::json_schema(&schema);
    for loaded in loaded() {
        for seed in 0..30 {
            let text = walk(loaded, &grammar, seed, 2000).expect("an end");
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(value.as_object().unwrap().len(), 4, "{text}");
            assert!(value["name"].as_str().unwrap().chars().count() <= 12, "{text}");
            let colours = schema["properties"]["colour"]["enum"].as_array().unwrap();
            assert!(colours.contains(&value["colour"]), "{text}");
            let sizes = value["sizes"].as_array().unwrap();
            assert!((2..=4).contains(&sizes.len()) && sizes.iter().all(Value::is_number), "{text}");
            // -0 is an integer, too.
            let count = value["inner"]["count"].as_f64().unwrap();
            assert!(count.fract() == 0.0 && (-3.0..=20.0).contains(&count), "{text}");
            assert!(value["inner"].get("ok").is_none_or(Value::is_boolean), "{text}");
            // White space has an end everywhere.
            assert!(!text.contains("\n\n") && !text.contains(&" ".repeat(17)), "{text:?}");
            assert_eq!(walk(loaded, &grammar, seed, 2000).unwrap(), text, "the same again");
        }
    }
}

#[test]
fn any_object_is_an_object() {
    for loaded in loaded() {
        for seed in 0..20 {
            // What has no end in time is cut off; its beginning is good.
            if let Some(text) = walk(loaded, &Grammar::json_object(), seed, 3000) {
                let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                assert!(value.is_object(), "{text}");
            }
        }
    }
}

#[test]
fn white_space_settings_of_the_schema_do_not_count() {
    let schema = json!({"const": [1, 2], "x-guidance": {"whitespace_pattern": "[ ]{0,5000}"}});
    let loaded = &loaded()[0];
    let mut constraint =
        loaded.vocabulary.constraint(&Grammar::json_schema(&schema), Thinking::None).unwrap();
    let bracket = loaded.tokenizer.encode("[", qwip::tokenizer::Special::Text);
    constraint.accept(bracket[0]).unwrap();
    let two = loaded.tokenizer.encode("  ", qwip::tokenizer::Special::Text);
    let allowed = two.iter().try_for_each(|&token| constraint.accept(token));
    assert!(allowed.is_err());
}

/// Constraints of one form: none sees what another has taken, also in another thread.
#[test]
fn answers_of_one_form_do_not_touch_each_other() {
    let texts = ["red", "reed", "green light", "grey"];
    for loaded in loaded() {
        let form = loaded.vocabulary.form(&Grammar::regex(&texts.join("|"))).unwrap();
        let tokens = |text: &str| loaded.tokenizer.encode(text, qwip::tokenizer::Special::Text);
        fn is_shared(_: &(impl Send + Sync)) {}
        is_shared(&form);
        // The allowed tokens at each step.
        let follow = |mut constraint: Box<dyn qwip::constrain::Constraint>, text: &str| -> Vec<Vec<u32>> {
            let mut masks = Vec::new();
            for token in tokens(text) {
                let Allowed::Some(mask) = constraint.allowed().unwrap() else { panic!("an end in {text:?}") };
                masks.push(mask.to_vec());
                constraint.accept(token).unwrap();
            }
            masks
        };
        let alone = |text| {
            follow(
                loaded.vocabulary.constraint(&Grammar::regex(&texts.join("|")), Thinking::None).unwrap(),
                text,
            )
        };
        let mut waiting = form.constraint(Thinking::None);
        let constraints: Vec<_> = texts.iter().map(|text| (form.constraint(Thinking::None), *text)).collect();
        std::thread::scope(|scope| {
            for (constraint, text) in constraints {
                scope.spawn(move || assert_eq!(follow(constraint, text), alone(text), "{text}"));
            }
        });
        let Allowed::Some(mask) = waiting.allowed().unwrap() else { panic!("an end") };
        assert_eq!(mask, alone("red")[0]);
        waiting.accept(tokens("grey")[0]).unwrap();
        // Each thinks, or not, for itself.
        let mut inside = form.constraint(Thinking::Inside);
        inside.accept(tokens("x")[0]).unwrap();
        assert!(form.constraint(Thinking::None).accept(tokens("x")[0]).is_err());
    }
    // What cannot be read or satisfied is known before the first answer.
    assert!(loaded()[0].vocabulary.form(&Grammar::regex("(")).is_err());
    assert!(loaded()[0].vocabulary.form(&Grammar::regex("[a&&b]")).is_err());
}

/// Tokens and what comes of them, for each way of thinking.
#[test]
fn thinking_is_free_and_the_answer_is_not() {
    let grammar = Grammar::json_schema(&json!({"const": "yes"}));
    // The real vocabulary of Qwen2 has no such tokens.
    let loaded = &loaded()[0];
    let (tokenizer, special) = (&loaded.tokenizer, qwip::tokenizer::Special::Parse);
    let takes = |thinking, text: &str| -> bool {
        let mut constraint = loaded.vocabulary.constraint(&grammar, thinking).unwrap();
        tokenizer.encode(text, special).iter().all(|&token| {
            let allowed = match constraint.allowed().unwrap() {
                Allowed::Some(mask) => is_set(mask, token),
                // Nothing but the end may come.
                _ => return tokenizer.is_end_of_generation(token),
            };
            assert_eq!(constraint.accept(token).is_ok(), allowed, "{token} in {text:?}");
            allowed
        })
    };
    let end = "<|im_end|>";
    let cases = [
        (Thinking::None, "\"yes\"", true),
        (Thinking::None, "\"yes\"<|im_end|>", true),
        (Thinking::None, "\"no", false),
        (Thinking::None, "\n\"yes\"", false),
        (Thinking::None, "<think>", false),
        (Thinking::MayOpen, "\"yes\"<|im_end|>", true),
        (Thinking::MayOpen, "\n\n\"yes\"", true),
        (Thinking::MayOpen, "<think>\nI see \"no\".\n</think>\n\n\"yes\"<|im_end|>", true),
        (Thinking::MayOpen, "\n<think>\n</think>\"yes\"", true),
        (Thinking::MayOpen, "<think>\n</think>\n\n<think>", false),
        (Thinking::MayOpen, "<think>\n</think>no", false),
        (Thinking::MayOpen, "I see", false),
        (Thinking::Inside, "I see.\n</think>\n\n\"yes\"<|im_end|>", true),
        (Thinking::Inside, "I see.\n</think>\n\n\"no", false),
        (Thinking::Inside, "</think>\"yes\"", true),
        (Thinking::Inside, "I see", true),
    ];
    for (thinking, text, want) in cases {
        assert_eq!(takes(thinking, text), want, "{thinking:?} {text:?}");
    }
    // Newlines come to an end, and an answer does not end before it has begun.
    let ids = tokenizer.encode("\n", special);
    let mut constraint = loaded.vocabulary.constraint(&grammar, Thinking::MayOpen).unwrap();
    let taken = (0..10).take_while(|_| constraint.accept(ids[0]).is_ok()).count();
    assert_eq!(taken, 2);
    for thinking in [Thinking::None, Thinking::MayOpen, Thinking::Inside] {
        let mut constraint = loaded.vocabulary.constraint(&grammar, thinking).unwrap();
        let Allowed::Some(mask) = constraint.allowed().unwrap() else { panic!("all is free") };
        assert!(!is_set(mask, tokenizer.find(end).unwrap()), "{thinking:?}");
    }
    // Spelt out, letter by letter, it ends the thinking too.
    let mut constraint = loaded.vocabulary.constraint(&grammar, Thinking::Inside).unwrap();
    for letter in ["<", "/", "t", "h", "i", "n", "k", ">"] {
        constraint.accept(tokenizer.encode(letter, qwip::tokenizer::Special::Text)[0]).unwrap();
    }
    let Allowed::Some(mask) = constraint.allowed().unwrap() else { panic!("all is free") };
    assert!(!is_set(mask, tokenizer.encode("n", special)[0]));
}
