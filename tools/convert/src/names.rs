//! Which tensors an architecture has: their names in the checkpoint, their names in GGUF, and their shapes.

use crate::checkpoint::{Checkpoint, Stored};
use crate::config::{Config, Experts, Packing};
use crate::error::{Result, invalid};
use crate::lora::HEAD;
use std::ops::Range;

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
    /// How it lies in its sources.
    pub view: View,
}

/// How a tensor of the model lies in the tensors of the checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum View {
    /// It is all of them, one after the other.
    Whole,
    /// In one source, `[matrices, outputs, inputs]`: of each matrix these outputs. If `transposed`, the source is
    /// `[matrices, inputs, outputs]`.
    Packed { outputs: Range<u64>, transposed: bool },
    /// These rows of one source.
    Rows([u32; 2]),
}

/// The name that a tensor has where a model is nothing but a text model for answers. Models of several parts, and those
/// saved without their output matrix, have others.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.strip_prefix("thinker.").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("model.language_model.") {
        return format!("model.{rest}");
    }
    if let Some(rest) = name.strip_prefix("language_model.") {
        return rest.to_string();
    }
    match ["embed_tokens.", "layers.", "norm."].iter().any(|start| name.starts_with(start)) {
        true => format!("model.{name}"),
        false => name.to_string(),
    }
}

/// The part of a model that a tensor belongs to, if it is not the text part.
pub(crate) fn other_part(source: &str) -> Option<&'static str> {
    const PARTS: [(&str, &[&str]); 3] = [
        ("vision", &["visual.", "model.visual."]),
        ("audio", &["audio_tower."]),
        ("speech", &["talker.", "token2wav."]),
    ];
    let is = |prefixes: &&[&str]| prefixes.iter().any(|prefix| source.starts_with(prefix));
    PARTS.iter().find(|(_, prefixes)| is(prefixes)).map(|(part, _)| *part)
}

/// How the checkpoint stores the matrices of experts. Tensors of all experts are told from transposed ones by their
/// shapes, both axes of both.
pub(crate) fn packing(checkpoint: &Checkpoint, c: &Config) -> Result<Packing> {
    let Some(Experts { ffn, .. }) = c.experts else { return Ok(Packing::Apart) };
    let (ffn, hidden) = (u64::from(ffn), u64::from(c.hidden));
    let mut found: Option<(Packing, String)> = None;
    for (part, outputs, inputs) in [("gate_up", 2 * ffn, hidden), ("down", hidden, ffn)] {
        let name = format!("model.layers.0.mlp.experts.{part}_proj");
        let Some(Stored { shape, .. }) = checkpoint.tensors.get(&name) else { continue };
        let straight = shape.ends_with(&[outputs, inputs]);
        let packing = match (straight, shape.ends_with(&[inputs, outputs])) {
            (true, true) => {
                return invalid(format!(
                    "{name} has shape {shape:?}: whether inputs or outputs come first cannot be told, as both are \
                     {inputs}"
                ));
            }
            (true, false) => Packing::Packed,
            (false, true) => Packing::Transposed,
            (false, false) => {
                return invalid(format!(
                    "{name} has shape {shape:?}, but config.json gives {outputs} outputs and {inputs} inputs"
                ));
            }
        };
        match &found {
            Some((other, first)) if *other != packing => {
                return invalid(format!(
                    "{name} has shape {shape:?}, which is transposed otherwise than {first}"
                ));
            }
            _ => found = Some((packing, name)),
        }
    }
    Ok(found.map_or(Packing::Apart, |(packing, _)| packing))
}

/// Every tensor of the model, in the order in which a forward pass meets them.
pub(crate) fn expected(c: &Config) -> Vec<Expected> {
    let tensor = |source: &str, name: &str, shape: &[u32]| {
        let shape: Vec<u64> = shape.iter().map(|&n| u64::from(n)).collect();
        let (sources, name) = (vec![source.into()], name.into());
        Expected { sources, source_shape: shape.clone(), name, shape, view: View::Whole }
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
    let head = tensor(HEAD, "output.weight", &[c.vocab, c.hidden]);
    match c.labels {
        Some(rows) => all.push(Expected {
            name: "cls.output.weight".into(),
            shape: vec![2, c.hidden.into()],
            view: View::Rows(rows),
            ..head
        }),
        None if c.tied => {}
        None => all.push(head),
    }
    all
}

/// The experts of layer `i`, and what chooses among them.
fn of_experts(c: &Config, experts: &Experts, i: u32) -> Vec<Expected> {
    let Experts { count, ffn, shared_ffn, packing, .. } = *experts;
    let tensor = |sources: Vec<String>, source_shape: &[u32], name: &str, shape: &[u32]| {
        let sources = sources.iter().map(|source| format!("model.layers.{i}.mlp.{source}.weight")).collect();
        let sizes = |shape: &[u32]| shape.iter().map(|&n| u64::from(n)).collect();
        let name = format!("blk.{i}.{name}.weight");
        Expected { sources, source_shape: sizes(source_shape), name, shape: sizes(shape), view: View::Whole }
    };
    let (up, down) = (|ffn| [ffn, c.hidden], |ffn| [c.hidden, ffn]);
    let router = [count, c.hidden];
    let mut all = vec![tensor(vec!["gate".into()], &router, "ffn_gate_inp", &router)];
    for (part, [rows, cols]) in [("gate", up(ffn)), ("up", up(ffn)), ("down", down(ffn))] {
        let sources = (0..count).map(|x| format!("experts.{x}.{part}_proj")).collect();
        let mut stack = tensor(sources, &[rows, cols], &format!("ffn_{part}_exps"), &[count, rows, cols]);
        if packing != Packing::Apart {
            // Gate and up are one tensor, the rows of gate first.
            let (source, first, height) = match part {
                "gate" => ("gate_up", 0, 2 * rows),
                "up" => ("gate_up", rows, 2 * rows),
                _ => (part, 0, rows),
            };
            let transposed = packing == Packing::Transposed;
            let [height, cols] = if transposed { [cols, height] } else { [height, cols] };
            stack.sources = vec![format!("model.layers.{i}.mlp.experts.{source}_proj")];
            stack.source_shape = [count, height, cols].map(u64::from).to_vec();
            stack.view = View::Packed { outputs: first.into()..(first + rows).into(), transposed };
        }
        all.push(stack);
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
    if source == HEAD && c.tied {
        return Some("the embeddings are tied");
    }
    None
}
