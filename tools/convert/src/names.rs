//! Which tensors an architecture has: their names in the checkpoint, their names in GGUF, and their shapes.

use crate::change::{Change, Values};
use crate::checkpoint::{Checkpoint, Stored};
use crate::config::{Arch, Config, Experts, Packing};
use crate::error::{Result, invalid};
use crate::qwen;
use std::ops::Range;

pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(crate) const HEAD: &str = "lm_head.weight";
/// In GGUF, the rows of a reranker's output that judge.
pub(crate) const JUDGE: &str = "cls.output.weight";

/// A tensor of the model, which the checkpoint must hold.
pub(crate) struct Expected {
    /// Name in the checkpoint; where each expert has a matrix, the names of all, in order.
    pub sources: Vec<String>,
    /// The shape of each of them, as the checkpoint says it: `[outputs, inputs]`, `[n]` or `[experts, outputs, inputs]`.
    pub source_shape: Vec<u64>,
    /// Whether the checkpoint says the last two sizes the other way round.
    pub transposed: bool,
    /// Which rows of each of them become the tensor's, in this order.
    pub runs: Vec<Range<u64>>,
    /// What happens to the numbers of a row.
    pub change: Change,
    /// Name in GGUF.
    pub name: String,
    /// The shape in GGUF, the contiguous size last: `[outputs, inputs]`, `[n]` or `[experts, outputs, inputs]`.
    pub shape: Vec<u64>,
}

impl Expected {
    /// A tensor that GGUF has as the checkpoint has it.
    pub(crate) fn plain(source: &str, name: &str, shape: &[u32]) -> Expected {
        let shape: Vec<u64> = shape.iter().map(|&n| u64::from(n)).collect();
        Expected {
            sources: vec![source.into()],
            source_shape: shape.clone(),
            transposed: false,
            runs: first_rows(shape[..shape.len() - 1].iter().product()),
            change: Change::default(),
            name: name.into(),
            shape,
        }
    }
}

/// A single run, from the first row on.
fn first_rows(count: u64) -> Vec<Range<u64>> {
    std::iter::once(0..count).collect()
}

/// Every tensor of the model, in the order in which a forward pass meets them.
pub(crate) fn expected(c: &Config) -> Vec<Expected> {
    if c.arch == Arch::Qwen {
        return qwen::expected(c);
    }
    let norm = |source: &str, name: &str, size: u32| {
        let values = if c.arch.is_hybrid() { Values::PlusOne } else { Values::Same };
        Expected { change: Change { columns: None, values }, ..Expected::plain(source, name, &[size]) }
    };
    let mut all = vec![Expected::plain(EMBEDDING, "token_embd.weight", &[c.vocab, c.hidden])];
    for i in 0..c.layers {
        let of_layer = |source: &str, name: &str| {
            (format!("model.layers.{i}.{source}.weight"), format!("blk.{i}.{name}.weight"))
        };
        let layer_norm = |source: &str, name: &str, size: u32| {
            let (source, name) = of_layer(source, name);
            norm(&source, &name, size)
        };
        all.push(layer_norm("input_layernorm", "attn_norm", c.hidden));
        match &c.hybrid {
            Some(hybrid) if !hybrid.full_attention[i as usize] => all.extend(hybrid.delta_net(i, c.hidden)),
            _ => all.extend(attention(c, i, layer_norm)),
        }
        let second = if c.arch.is_hybrid() { "post_attention_norm" } else { "ffn_norm" };
        all.push(layer_norm("post_attention_layernorm", second, c.hidden));
        match &c.experts {
            Some(experts) => all.extend(of_experts(c, experts, i)),
            None => {
                let ffn = c.ffn.unwrap_or_default();
                for (part, shape) in
                    [("gate", [ffn, c.hidden]), ("up", [ffn, c.hidden]), ("down", [c.hidden, ffn])]
                {
                    let (source, name) = of_layer(&format!("mlp.{part}_proj"), &format!("ffn_{part}"));
                    all.push(Expected::plain(&source, &name, &shape));
                }
            }
        }
    }
    all.push(norm("model.norm.weight", "output_norm.weight", c.hidden));
    // What an adapter does to tied embeddings it does to the output.
    let head = Expected::plain(if c.tied { EMBEDDING } else { HEAD }, "output.weight", &[c.vocab, c.hidden]);
    match c.labels {
        Some(labels) => all.push(Expected {
            runs: labels.map(|id| id.into()..u64::from(id) + 1).to_vec(),
            name: JUDGE.into(),
            shape: vec![2, c.hidden.into()],
            ..head
        }),
        None if c.tied => {}
        None => all.push(head),
    }
    all
}

/// The attention of layer `i`.
fn attention(c: &Config, i: u32, norm: impl Fn(&str, &str, u32) -> Expected) -> Vec<Expected> {
    let tensor = |source: &str, name: &str, shape: &[u32]| {
        Expected::plain(&format!("model.layers.{i}.self_attn.{source}"), &format!("blk.{i}.{name}"), shape)
    };
    // Both factors are at most 2^10.
    let (q_rows, kv_rows) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    // Each query of a hybrid has a gate of the same size after it.
    let gated = if c.arch.is_hybrid() { 2 } else { 1 };
    let mut all = Vec::new();
    for (letter, rows) in [("q", q_rows * gated), ("k", kv_rows), ("v", kv_rows)] {
        let (source, name) = (format!("{letter}_proj"), format!("attn_{letter}"));
        all.push(tensor(&format!("{source}.weight"), &format!("{name}.weight"), &[rows, c.hidden]));
        if c.arch.has_biases() {
            all.push(tensor(&format!("{source}.bias"), &format!("{name}.bias"), &[rows]));
        }
    }
    if !c.arch.has_biases() {
        all.push(norm("self_attn.q_norm", "attn_q_norm", c.head_dim));
        all.push(norm("self_attn.k_norm", "attn_k_norm", c.head_dim));
    }
    all.push(tensor("o_proj.weight", "attn_output.weight", &[c.hidden, q_rows]));
    all
}

/// The experts of layer `i`, and what chooses among them.
fn of_experts(c: &Config, experts: &Experts, i: u32) -> Vec<Expected> {
    let Experts { count, ffn, shared_ffn, packing, .. } = *experts;
    let transposed = packing == Packing::Transposed;
    let tensor = |source: &str, name: &str, shape: &[u32]| {
        Expected::plain(&format!("model.layers.{i}.mlp.{source}"), &format!("blk.{i}.{name}.weight"), shape)
    };
    let shapes = |ffn| [("gate", [ffn, c.hidden]), ("up", [ffn, c.hidden]), ("down", [c.hidden, ffn])];
    let mut all = vec![tensor("gate.weight", "ffn_gate_inp", &[count, c.hidden])];
    for (part, [rows, cols]) in shapes(ffn) {
        let stack = |source: &str| tensor(source, &format!("ffn_{part}_exps"), &[count, rows, cols]);
        all.push(match (packing, part) {
            (Packing::Apart, _) => {
                let sources =
                    (0..count).map(|x| format!("model.layers.{i}.mlp.experts.{x}.{part}_proj.weight"));
                Expected {
                    sources: sources.collect(),
                    source_shape: [rows, cols].map(u64::from).to_vec(),
                    runs: first_rows(rows.into()),
                    ..stack("")
                }
            }
            (_, "down") => Expected { transposed, ..stack("experts.down_proj") },
            _ => {
                // Of each expert the rows of its gate, then those of `up`.
                let (count, ffn) = (u64::from(count), u64::from(ffn));
                let first = if part == "up" { ffn } else { 0 };
                Expected {
                    source_shape: vec![count, 2 * ffn, cols.into()],
                    transposed,
                    runs: (0..count).map(|x| x * 2 * ffn + first..x * 2 * ffn + first + ffn).collect(),
                    ..stack("experts.gate_up_proj")
                }
            }
        });
    }
    if let Some(ffn) = shared_ffn {
        let gate = tensor("shared_expert_gate.weight", "ffn_gate_inp_shexp", &[c.hidden]);
        all.push(Expected { source_shape: vec![1, c.hidden.into()], ..gate });
        for (part, shape) in shapes(ffn) {
            let source = format!("shared_expert.{part}_proj.weight");
            all.push(tensor(&source, &format!("ffn_{part}_shexp"), &shape));
        }
    }
    all
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
            // Only these were ever transposed.
            (true, true) if c.arch == Arch::Qwen3VlMoe => {
                return invalid(format!(
                    "{name} has shape {shape:?}: whether inputs or outputs come first cannot be told, as both are \
                     {inputs}"
                ));
            }
            (true, _) => Packing::Packed,
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

/// Why a tensor outside of [`expected`] may be left out, or `None` if nobody knows what it is.
pub(crate) fn reason_to_skip(source: &str, c: &Config) -> Option<&'static str> {
    if source.ends_with(".rotary_emb.inv_freq") {
        return Some("computed from rope_theta");
    }
    if source == HEAD && c.tied {
        return Some("the embeddings are tied");
    }
    if c.arch.is_hybrid() && source.starts_with("mtp.") {
        return Some("part of what guesses tokens ahead");
    }
    const PARTS: [(&str, &[&str]); 3] = [
        ("part of what sees images", &["visual.", "model.visual."]),
        ("part of what hears", &["audio_tower."]),
        ("part of what speaks", &["talker.", "token2wav."]),
    ];
    let is = |prefixes: &&[&str]| prefixes.iter().any(|prefix| source.starts_with(prefix));
    if (c.arch.of_vision_model() || c.arch.is_hybrid())
        && let Some((reason, _)) = PARTS.iter().find(|(_, prefixes)| is(prefixes))
    {
        return Some(reason);
    }
    if c.arch == Arch::Qwen { qwen::reason_to_skip(source) } else { None }
}
