//! The vocabulary of the real models, written down as first-generation Qwen has it, converted, and compared with itself.

use std::path::Path;
use std::time::Instant;

use qwip::tokenizer::Special;
use qwip_convert::{Options, convert, file_type};
use qwip_quant::byte_map;

use crate::{REAL, load, oracle, real, text};

const CONFIG: &str = r#"{"architectures": ["QWenLMHeadModel"], "hidden_size": 2, "kv_channels": 2, "seq_length": 64,
    "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 2, "vocab_size": 151936}"#;

/// A checkpoint without a vocabulary, whose weights are zero.
fn write_checkpoint(dir: &Path) {
    let mut header = String::from("{");
    let mut end = 0;
    for (name, shape) in [
        ("transformer.wte.weight", &[151936, 2][..]),
        ("transformer.h.0.ln_1.weight", &[2]),
        ("transformer.h.0.attn.c_attn.weight", &[6, 2]),
        ("transformer.h.0.attn.c_attn.bias", &[6]),
        ("transformer.h.0.attn.c_proj.weight", &[2, 2]),
        ("transformer.h.0.ln_2.weight", &[2]),
        ("transformer.h.0.mlp.w1.weight", &[1, 2]),
        ("transformer.h.0.mlp.w2.weight", &[1, 2]),
        ("transformer.h.0.mlp.c_proj.weight", &[2, 1]),
        ("transformer.ln_f.weight", &[2]),
        ("lm_head.weight", &[151936, 2]),
    ] {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let comma = if start == 0 { "" } else { "," };
        header += &format!(
            r#"{comma}"{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }
    header.push('}');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.resize(file.len() + end, 0);
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
    std::fs::write(dir.join("config.json"), CONFIG).unwrap();
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let three = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let digits = (0..4).map(|i| DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char);
        out.extend(digits.take(group.len() + 1));
        out.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    out
}

#[test]
fn the_real_vocabulary_gets_its_merges_back() {
    let Some(path) = real(REAL[0]) else { return };
    let original = load(&path);
    let tokens = oracle::strings(&original.gguf, &original.file, "tokenizer.ggml.tokens");
    let ranks = tokens.iter().position(|token| token == "<|endoftext|>").unwrap();
    assert_eq!(ranks, 151643);
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(dir.path());
    let mut lines = String::new();
    for (rank, token) in tokens[..ranks].iter().enumerate() {
        let mut bytes = Vec::new();
        byte_map::append_bytes(token.as_bytes(), &mut bytes);
        lines += &format!("{} {rank}\n", base64(&bytes));
    }
    std::fs::write(dir.path().join("qwen.tiktoken"), lines).unwrap();

    let out = dir.path().join("out.gguf");
    let start = Instant::now();
    convert(dir.path(), &out, &Options::new(file_type("f16").unwrap()), &mut ()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("converted in {seconds:.1} s");
    assert!(seconds < 20.0, "{seconds} s for 151643 tokens");
    let ours = load(&out);
    for key in ["tokenizer.ggml.merges", "tokenizer.ggml.tokens"] {
        let [got, want] = [&ours, &original].map(|loaded| oracle::strings(&loaded.gguf, &loaded.file, key));
        assert!(got[..ranks.min(got.len())] == want[..ranks.min(want.len())], "{key}");
    }
    assert_eq!(ours.ours.find("<|extra_204|>"), Some(151850));
    // In the original the padding is of a kind that is found in any text.
    for text in [text::mixed(20, 300_000).replace("[PAD", ""), text::random_scalars(21, 20_000)] {
        assert!(ours.ours.encode(&text, Special::Text) == original.ours.encode(&text, Special::Text));
    }
}
