//! Which tensors an architecture has: their names in the checkpoint, their names in GGUF, and their shapes.

use crate::config::{Arch, Config};

/// A tensor that the checkpoint must hold.
pub(crate) struct Expected {
    /// Name in the checkpoint.
    pub source: String,
    /// Name in GGUF.
    pub name: String,
    /// As the checkpoint says it: `[outputs, inputs]` or `[n]`.
    pub shape: Vec<u64>,
}

/// Every tensor of the model, in the order in which a forward pass meets them.
pub(crate) fn expected(c: &Config) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut add = |source: String, name: String, shape: &[u32]| {
        all.push(Expected { source, name, shape: shape.iter().map(|&n| u64::from(n)).collect() });
    };
    // Both factors are at most 2^10.
    let (q_rows, kv_rows) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    add("model.embed_tokens.weight".into(), "token_embd.weight".into(), &[c.vocab, c.hidden]);
    for i in 0..c.layers {
        let mut layer = |source: &str, name: &str, shape: &[u32]| {
            add(format!("model.layers.{i}.{source}"), format!("blk.{i}.{name}"), shape);
        };
        layer("input_layernorm.weight", "attn_norm.weight", &[c.hidden]);
        for (letter, rows) in [("q", q_rows), ("k", kv_rows), ("v", kv_rows)] {
            let (source, name) = (format!("self_attn.{letter}_proj"), format!("attn_{letter}"));
            layer(&format!("{source}.weight"), &format!("{name}.weight"), &[rows, c.hidden]);
            if c.arch == Arch::Qwen2 {
                layer(&format!("{source}.bias"), &format!("{name}.bias"), &[rows]);
            }
        }
        if c.arch == Arch::Qwen3 {
            layer("self_attn.q_norm.weight", "attn_q_norm.weight", &[c.head_dim]);
            layer("self_attn.k_norm.weight", "attn_k_norm.weight", &[c.head_dim]);
        }
        layer("self_attn.o_proj.weight", "attn_output.weight", &[c.hidden, q_rows]);
        layer("post_attention_layernorm.weight", "ffn_norm.weight", &[c.hidden]);
        layer("mlp.gate_proj.weight", "ffn_gate.weight", &[c.ffn, c.hidden]);
        layer("mlp.up_proj.weight", "ffn_up.weight", &[c.ffn, c.hidden]);
        layer("mlp.down_proj.weight", "ffn_down.weight", &[c.hidden, c.ffn]);
    }
    add("model.norm.weight".into(), "output_norm.weight".into(), &[c.hidden]);
    if !c.tied {
        add("lm_head.weight".into(), "output.weight".into(), &[c.vocab, c.hidden]);
    }
    all
}

/// Why a tensor outside of [`expected`] may be left out, or `None` if nobody knows what it is.
pub(crate) fn reason_to_skip(source: &str, c: &Config) -> Option<&'static str> {
    if source.ends_with(".rotary_emb.inv_freq") {
        return Some("computed from rope_theta");
    }
    if source == "lm_head.weight" && c.tied {
        return Some("the embeddings are tied");
    }
    None
}
