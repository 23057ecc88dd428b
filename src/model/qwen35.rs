//! `qwen35`: Qwen3.5 and later, dense. Three of four layers have a gated delta net, the fourth a full attention with a
//! gate; SwiGLU in all of them.

use super::config::Config;
use super::delta::Mixer;
use super::weights::{Linear, Loader, Weight};
use crate::backend::{Backend, Batch, HeadNorms};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Qwen35 {
    token_embd: Weight, // [vocab, embedding]
    layers: Vec<Layer>,
    output_norm: Vec<f32>,     // [embedding]
    pub(super) output: Linear, // [vocab, embedding]; the embedding itself where the file ties them
}

#[derive(Debug)]
struct Layer {
    attn_norm: Vec<f32>, // [embedding]
    mixer: Mixer,
    ffn_norm: Vec<f32>, // [embedding]; `post_attention_norm` in the file
    ffn_gate: Linear,   // [ffn, embedding]
    ffn_up: Linear,     // [ffn, embedding]
    ffn_down: Linear,   // [embedding, ffn]
}

impl Qwen35 {
    pub(super) fn load(file: &Loader<'_>, c: &Config) -> Result<Qwen35> {
        let token_embd = file.matrix("token_embd.weight", c.vocab, c.embedding)?;
        let layers = (0..c.layers)
            .map(|i| {
                let p = format!("blk.{i}");
                Ok(Layer {
                    attn_norm: file.vector(&format!("{p}.attn_norm.weight"), c.embedding)?,
                    mixer: Mixer::load(file, "qwen35", c, i)?,
                    ffn_norm: file.vector(&format!("{p}.post_attention_norm.weight"), c.embedding)?,
                    ffn_gate: file.linear(&format!("{p}.ffn_gate"), c.ffn, c.embedding)?,
                    ffn_up: file.linear(&format!("{p}.ffn_up"), c.ffn, c.embedding)?,
                    ffn_down: file.linear(&format!("{p}.ffn_down"), c.embedding, c.ffn)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let output_norm = file.vector("output_norm.weight", c.embedding)?;
        let output = file.output(&token_embd)?;
        Ok(Qwen35 { token_embd, layers, output_norm, output })
    }

    /// The key projection of each layer that has one.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().filter_map(|layer| layer.mixer.key())
    }
}

pub(super) fn forward<B: Backend>(w: &Qwen35, c: &Config, b: &mut B, batch: &Batch<'_>) -> Result<()> {
    b.embed(&w.token_embd, batch)?;
    for layer in &w.layers {
        match &layer.mixer {
            Mixer::Attention(a) => {
                b.norm_project_gated(&layer.attn_norm, c.eps, &a.qkv)?;
                b.rope_store(a.index, Some(HeadNorms { q: &a.q_norm, k: &a.k_norm }), c.eps)?;
                b.attend(a.index)?;
                b.project_add_gated(&a.output)?;
            }
            Mixer::Delta { index, net } => b.delta_net(*index, &layer.attn_norm, c.eps, net)?,
        }
        b.gated_mlp(&layer.ffn_norm, c.eps, &layer.ffn_gate, &layer.ffn_up, &layer.ffn_down)?;
    }
    b.logits(&w.output_norm, c.eps, &w.output, batch)
}
