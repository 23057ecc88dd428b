//! Which tensors an architecture has: their names in the checkpoint, their names in GGUF, and their shapes.

use crate::config::{Arch, Config, Experts};
use crate::qwen;

/// A tensor of the model, which the checkpoint must hold.
pub(crate) struct Expected {
    /// Name in the checkpoint; where each expert has a matrix, the names of all, in order.
    pub sources: Vec<String>,
    /// The shape of each of them, as the checkpoint says it: `[outputs, inputs]` or `[n]`.
    pub source_shape: Vec<u64>,
    /// Name in GGUF.
    pub name: String,
    /// The same, but for `[experts, outputs, inputs]` of all experts and `[n]` of a single row.
    pub shape: Vec<u64>,
}

/// Every tensor of the model, in the order in which a forward pass meets them.
pub(crate) fn expected(c: &Config) -> Vec<Expected> {
    if c.arch == Arch::Qwen {
        return qwen::expected(c);
    }
    let tensor = |source: &str, name: &str, shape: &[u32]| {
        let shape: Vec<u64> = shape.iter().map(|&n| u64::from(n)).collect();
        Expected { sources: vec![source.into()], source_shape: shape.clone(), name: name.into(), shape }
    };
    // Both factors are at most 2^10.
    let (q_rows, kv_rows) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let mut all = vec![tensor("model.embed_tokens.weight", "token_embd.weight", &[c.vocab, c.hidden])];
    for i in 0..c.layers {
        let mut layer = |source: &str, name: &str, shape: &[u32]| {
            all.push(tensor(&format!("model.layers.{i}.{source}"), &format!("blk.{i}.{name}"), shape));
        };
        layer("input_layernorm.weight", "attn_norm.weight", &[c.hidden]);
        for (letter, rows) in [("q", q_rows), ("k", kv_rows), ("v", kv_rows)] {
            let (source, name) = (format!("self_attn.{letter}_proj"), format!("attn_{letter}"));
            layer(&format!("{source}.weight"), &format!("{name}.weight"), &[rows, c.hidden]);
            if c.arch.has_biases() {
                layer(&format!("{source}.bias"), &format!("{name}.bias"), &[rows]);
            }
        }
        if !c.arch.has_biases() {
            layer("self_attn.q_norm.weight", "attn_q_norm.weight", &[c.head_dim]);
            layer("self_attn.k_norm.weight", "attn_k_norm.weight", &[c.head_dim]);
        }
        layer("self_attn.o_proj.weight", "attn_output.weight", &[c.hidden, q_rows]);
        layer("post_attention_layernorm.weight", "ffn_norm.weight", &[c.hidden]);
        match &c.experts {
            Some(experts) => all.extend(of_experts(c, experts, i)),
            None => {
                layer("mlp.gate_proj.weight", "ffn_gate.weight", &[c.ffn, c.hidden]);
                layer("mlp.up_proj.weight", "ffn_up.weight", &[c.ffn, c.hidden]);
                layer("mlp.down_proj.weight", "ffn_down.weight", &[c.hidden, c.ffn]);
            }
        }
    }
    all.push(tensor("model.norm.weight", "output_norm.weight", &[c.hidden]));
    if !c.tied {
        all.push(tensor("lm_head.weight", "output.weight", &[c.vocab, c.hidden]));
    }
    all
}

/// The experts of layer `i`, and what chooses among them.
fn of_experts(c: &Config, experts: &Experts, i: u32) -> Vec<Expected> {
    let Experts { count, ffn, shared_ffn, .. } = *experts;
    let tensor = |sources: Vec<String>, source_shape: &[u32], name: &str, shape: &[u32]| {
        let sources = sources.iter().map(|source| format!("model.layers.{i}.mlp.{source}.weight")).collect();
        let sizes = |shape: &[u32]| shape.iter().map(|&n| u64::from(n)).collect();
        let name = format!("blk.{i}.{name}.weight");
        Expected { sources, source_shape: sizes(source_shape), name, shape: sizes(shape) }
    };
    let (up, down) = (|ffn| [ffn, c.hidden], |ffn| [c.hidden, ffn]);
    let router = [count, c.hidden];
    let mut all = vec![tensor(vec!["gate".into()], &router, "ffn_gate_inp", &router)];
    for (part, [rows, cols]) in [("gate", up(ffn)), ("up", up(ffn)), ("down", down(ffn))] {
        let sources = (0..count).map(|x| format!("experts.{x}.{part}_proj")).collect();
        all.push(tensor(sources, &[rows, cols], &format!("ffn_{part}_exps"), &[count, rows, cols]));
    }
    if let Some(ffn) = shared_ffn {
        let gate = vec!["shared_expert_gate".into()];
        all.push(tensor(gate, &[1, c.hidden], "ffn_gate_inp_shexp", &[c.hidden]));
        for (part, shape) in [("gate", up(ffn)), ("up", up(ffn)), ("down", down(ffn))] {
            let source = vec![format!("shared_expert.{part}_proj")];
            all.push(tensor(source, &shape, &format!("ffn_{part}_shexp"), &shape));
        }
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
    if c.arch == Arch::Qwen { qwen::reason_to_skip(source) } else { None }
}
