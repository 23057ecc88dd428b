//! `qwen`: first-generation Qwen. As `qwen2`, but queries, keys and values are one matrix in the file, every head has
//! keys of its own, and beyond the trained length the rotary base and the queries grow ([`super::Rope::within`],
//! [`super::logn`]).

use super::config::Config;
use super::weights::{Linear, Loader, Weight};
use crate::backend::{Backend, Batch};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Qwen {
    token_embd: Weight, // [vocab, embedding]
    layers: Vec<Layer>,
    output_norm: Vec<f32>,     // [embedding]
    pub(super) output: Linear, // [vocab, embedding]; the embedding itself where the file ties them
}

#[derive(Debug)]
struct Layer {
    attn_norm: Vec<f32>, // [embedding]
    qkv: [Linear; 3],    // [heads*head_dim | kv_heads*head_dim | kv_heads*head_dim, embedding] + bias
    attn_output: Linear, // [embedding, heads*head_dim]
    ffn_norm: Vec<f32>,  // [embedding]
    ffn_gate: Linear,    // [ffn, embedding]
    ffn_up: Linear,      // [ffn, embedding]
    ffn_down: Linear,    // [embedding, ffn]
}

impl Qwen {
    pub(super) fn load(file: &Loader<'_>, c: &Config) -> Result<Qwen> {
        let token_embd = file.matrix("token_embd.weight", c.vocab, c.embedding)?;
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        let layers = (0..c.layers)
            .map(|i| {
                let p = format!("blk.{i}");
                Ok(Layer {
                    attn_norm: file.vector(&format!("{p}.attn_norm.weight"), c.embedding)?,
                    qkv: file.attention_inputs(&p, q, kv, c.embedding)?,
                    attn_output: file.linear(&format!("{p}.attn_output"), c.embedding, q)?,
                    ffn_norm: file.vector(&format!("{p}.ffn_norm.weight"), c.embedding)?,
                    ffn_gate: file.linear(&format!("{p}.ffn_gate"), c.ffn, c.embedding)?,
                    ffn_up: file.linear(&format!("{p}.ffn_up"), c.ffn, c.embedding)?,
                    ffn_down: file.linear(&format!("{p}.ffn_down"), c.embedding, c.ffn)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let output_norm = file.vector("output_norm.weight", c.embedding)?;
        let output = file.output(&token_embd)?;
        Ok(Qwen { token_embd, layers, output_norm, output })
    }

    /// The key projection of each layer.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().map(|layer| &layer.qkv[1])
    }
}

pub(super) fn forward<B: Backend>(w: &Qwen, c: &Config, b: &mut B, batch: &Batch<'_>) -> Result<()> {
    b.embed(&w.token_embd, batch)?;
    for (i, layer) in w.layers.iter().enumerate() {
        b.norm_project(&layer.attn_norm, c.eps, &layer.qkv)?;
        b.rope_store(i, None, c.eps)?;
        b.attend(i)?;
        b.project_add(&layer.attn_output)?;
        b.gated_mlp(&layer.ffn_norm, c.eps, &layer.ffn_gate, &layer.ffn_up, &layer.ffn_down)?;
    }
    b.logits(&w.output_norm, c.eps, &w.output, batch)
}
