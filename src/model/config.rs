//! Hyper-parameters: read from the metadata, bounded before anything is multiplied with them.

use std::ops::RangeInclusive;

use qwip_quant::gguf::Gguf;
use qwip_quant::limits;

use super::experts::{self, ExpertSizes};
use super::rope::{Rope, Scaling};
use crate::error::{Error, Result};

/// The sizes of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    /// Width of the feed-forward part that every token goes through; where layers have experts that of the shared one,
    /// or 0.
    pub ffn: usize,
    /// The experts of each layer, where it has some.
    pub experts: Option<ExpertSizes>,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of one head; even, and not necessarily `embedding / heads`.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    /// Positions that the model was trained for.
    pub context: usize,
    /// The epsilon of the RMS norms.
    pub eps: f32,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether a token sees only what stands before it. (Some embedding models see all of a text at once.)
    pub causal: bool,
}

/// Reads `{arch}.*` keys with bounds; errors name the key.
pub(super) struct Keys<'a> {
    pub(super) gguf: &'a Gguf,
    arch: &'a str,
}

impl Keys<'_> {
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    pub(super) fn optional(&self, key: &str, max: usize) -> Result<Option<usize>> {
        let name = self.name(key);
        let Some(value) = self.gguf.u64(&name)? else { return Ok(None) };
        if value == 0 || value > max as u64 {
            return Err(Error::BadValue { key: name, found: value.to_string(), want: format!("1 to {max}") });
        }
        Ok(Some(value as usize))
    }

    pub(super) fn required(&self, key: &str, max: usize) -> Result<usize> {
        self.optional(key, max)?.ok_or_else(|| Error::MissingKey { key: self.name(key) })
    }

    pub(super) fn float(&self, key: &str, range: RangeInclusive<f32>) -> Result<Option<f32>> {
        let name = self.name(key);
        let Some(value) = self.gguf.f32(&name)? else { return Ok(None) };
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            let (found, want) = (value.to_string(), format!("{low} to {high}"));
            return Err(Error::BadValue { key: name, found, want });
        }
        Ok(Some(value))
    }
}

impl Config {
    /// Reads the keys of architecture `arch`; `vocab` is the number of rows of the embedding.
    pub fn read(gguf: &Gguf, arch: &str, vocab: usize) -> Result<Config> {
        let keys = Keys { gguf, arch };
        let layers = keys.required("block_count", limits::MAX_LAYERS)?;
        let embedding = keys.required("embedding_length", limits::MAX_EMBEDDING)?;
        let (ffn, experts) = match arch {
            // Weights are probabilities among all experts, or add up to 1.
            "qwen2moe" => (experts::shared_ffn(&keys)?, Some(ExpertSizes::read(&keys, false)?)),
            "qwen3moe" | "qwen3vlmoe" => (0, Some(ExpertSizes::read(&keys, true)?)),
            _ => (keys.required("feed_forward_length", limits::MAX_FFN)?, None),
        };
        let heads = keys.required("attention.head_count", limits::MAX_HEADS)?;
        let kv_heads = keys.optional("attention.head_count_kv", limits::MAX_HEADS)?.unwrap_or(heads);
        if heads % kv_heads != 0 {
            return Err(Error::BadValue {
                key: keys.name("attention.head_count_kv"),
                found: kv_heads.to_string(),
                want: format!("a divisor of attention.head_count = {heads}"),
            });
        }
        let head_dim = match keys.optional("attention.key_length", limits::MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if embedding % heads == 0 => embedding / heads,
            None => {
                return Err(Error::BadValue {
                    key: keys.name("attention.head_count"),
                    found: heads.to_string(),
                    want: format!("a divisor of embedding_length = {embedding}"),
                });
            }
        };
        if let Some(value_length) = keys.optional("attention.value_length", limits::MAX_HEAD_DIM)?
            && value_length != head_dim
        {
            return Err(Error::BadValue {
                key: keys.name("attention.value_length"),
                found: value_length.to_string(),
                want: format!("attention.key_length = {head_dim}"),
            });
        }
        let rotated = keys.optional("rope.dimension_count", limits::MAX_HEAD_DIM)?.unwrap_or(head_dim);
        if rotated % 2 != 0 || rotated > head_dim {
            return Err(Error::BadValue {
                key: keys.name("rope.dimension_count"),
                found: rotated.to_string(),
                want: format!("an even number up to the head size {head_dim}"),
            });
        }
        let context = keys.optional("context_length", limits::MAX_CONTEXT)?.unwrap_or(2048);
        let eps_key = "attention.layer_norm_rms_epsilon";
        let eps =
            keys.float(eps_key, 0.0..=1.0)?.ok_or_else(|| Error::MissingKey { key: keys.name(eps_key) })?;
        let theta = keys.float("rope.freq_base", limits::ROPE_BASE)?.unwrap_or(10000.0);
        let scaling = read_scaling(&keys, context)?;
        Ok(Config {
            layers,
            embedding,
            ffn,
            experts,
            heads,
            kv_heads,
            head_dim,
            vocab,
            context,
            eps,
            rope: Rope { theta, rotated, scaling },
            causal: gguf.bool(&keys.name("attention.causal"))?.unwrap_or(true),
        })
    }
}

fn read_scaling(keys: &Keys<'_>, context: usize) -> Result<Scaling> {
    let key = keys.name("rope.scaling.type");
    let factor = keys.float("rope.scaling.factor", limits::ROPE_FACTOR)?.unwrap_or(1.0);
    match keys.gguf.str(&key)? {
        None | Some("none") if factor == 1.0 => Ok(Scaling::None),
        Some("none") => Ok(Scaling::None),
        None | Some("linear") => Ok(Scaling::Linear { factor }),
        Some("yarn") => {
            let original = keys.optional("rope.scaling.original_context_length", limits::MAX_CONTEXT)?;
            // Both spellings of the strength of the attention factor are found in files.
            let attention = match keys.float("rope.scaling.yarn_attn_factor", 1e-3..=1e3)? {
                Some(value) => value,
                None => keys.float("rope.scaling.attn_factor", 1e-3..=1e3)?.unwrap_or(1.0),
            };
            Ok(Scaling::Yarn {
                factor,
                original: original.unwrap_or(context) as f32,
                attention,
                beta_fast: keys.float("rope.scaling.yarn_beta_fast", limits::YARN_BETA)?.unwrap_or(32.0),
                beta_slow: keys.float("rope.scaling.yarn_beta_slow", limits::YARN_BETA)?.unwrap_or(1.0),
            })
        }
        Some(other) => {
            Err(Error::BadValue { key, found: format!("'{other}'"), want: "none, linear or yarn".into() })
        }
    }
}
