//! Hyper-parameters: read from the metadata, bounded before anything is multiplied with them.

use std::ops::RangeInclusive;

use qwip_quant::gguf::Gguf;
use qwip_quant::limits;

use super::delta::Hybrid;
use super::experts::{self, ExpertSizes};
use super::rope::{Rope, Scaling};
use crate::error::{Error, Result};

/// The sizes of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of layers.
    pub layers: usize,
    /// Layers behind those that guess further tokens (MTP). They are not used.
    pub mtp_layers: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    /// Width of the feed-forward part that every token goes through; where layers have experts that of the shared one,
    /// or 0.
    pub ffn: usize,
    /// The experts of each layer, where it has some.
    pub experts: Option<ExpertSizes>,
    /// Where only some layers have attention: which, and what the others have.
    pub hybrid: Option<Hybrid>,
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
    /// The length beyond which queries grow ([`super::logn`]), where they do; 2 or more.
    pub logn: Option<usize>,
    /// Whether a token sees only what stands before it. (Some embedding models see all of a text at once.)
    pub causal: bool,
}

/// How many layers at the end guess further tokens.
const MTP_LAYERS: &str = "nextn_predict_layers";

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
    /// Layers with keys and values.
    pub fn attention_layers(&self) -> usize {
        self.attention_layers_before(self.layers)
    }

    /// Layers with keys and values among the first so many.
    pub fn attention_layers_before(&self, layers: usize) -> usize {
        match &self.hybrid {
            None => layers,
            Some(hybrid) => hybrid.attends[..layers].iter().filter(|attends| **attends).count(),
        }
    }

    /// Reads the keys of architecture `arch`; `file` begins with what `gguf` was parsed from, and `vocab` is the number of
    /// rows of the embedding.
    pub fn read(gguf: &Gguf, file: &[u8], arch: &str, vocab: usize) -> Result<Config> {
        let keys = Keys { gguf, arch };
        let blocks = keys.required("block_count", limits::MAX_LAYERS)?;
        let mtp_layers = match keys.gguf.u64(&keys.name(MTP_LAYERS))?.unwrap_or(0) {
            unused if unused < blocks as u64 => unused as usize,
            unused => {
                let (found, want) = (unused.to_string(), format!("less than block_count = {blocks}"));
                return Err(Error::BadValue { key: keys.name(MTP_LAYERS), found, want });
            }
        };
        let layers = blocks - mtp_layers;
        let embedding = keys.required("embedding_length", limits::MAX_EMBEDDING)?;
        let (ffn, experts) = match arch {
            // Weights are probabilities among all experts, or add up to 1.
            "qwen2moe" => (experts::shared_ffn(&keys)?, Some(ExpertSizes::read(&keys, false)?)),
            "qwen3moe" | "qwen3vlmoe" => (0, Some(ExpertSizes::read(&keys, true)?)),
            "qwen35moe" | "qwen3next" => (experts::shared_ffn(&keys)?, Some(ExpertSizes::read(&keys, true)?)),
            "qwen" => (half_of_both(&keys)?, None),
            _ => (keys.required("feed_forward_length", limits::MAX_FFN)?, None),
        };
        let hybrid = match arch {
            // Converters bring the value heads of the newer ones into another order.
            "qwen35" | "qwen35moe" => Some(Hybrid::read(&keys, file, layers, true)?),
            "qwen3next" => Some(Hybrid::read(&keys, file, layers, false)?),
            _ => None,
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
        let eps = match keys.float(eps_key, 0.0..=1.0)? {
            // llama.cpp's converter gives first-generation Qwen the other norm's key.
            None if arch == "qwen" => keys.float("attention.layer_norm_epsilon", 0.0..=1.0)?,
            eps => eps,
        };
        let eps = eps.ok_or_else(|| Error::MissingKey { key: keys.name(eps_key) })?;
        let theta = keys.float("rope.freq_base", limits::ROPE_BASE)?.unwrap_or(10000.0);
        let mut scaling = read_scaling(&keys, context)?;
        let mut logn = None;
        if arch == "qwen" {
            // Keys of our own, which other programs do not know and a scaling type of its own would keep from loading the
            // file. llama.cpp's converter says nothing: of the released models those with a base of 10000 have both, and
            // 72B, with its base of a million, neither.
            let usual = theta == 10000.0;
            let on = |key| Ok::<bool, Error>(keys.gguf.bool(&keys.name(key))?.unwrap_or(usual));
            if on("rope.dynamic_ntk")? && scaling == Scaling::None {
                scaling = Scaling::DynamicNtk { trained: context };
            }
            if on("attention.logn")? {
                logn = Some(context);
            }
        }
        if logn == Some(1) {
            let (found, want) = ("1".into(), "2 or more, since attention.logn is on".into());
            return Err(Error::BadValue { key: keys.name("context_length"), found, want });
        }
        Ok(Config {
            layers,
            mtp_layers,
            embedding,
            ffn,
            experts,
            hybrid,
            heads,
            kv_heads,
            head_dim,
            vocab,
            context,
            eps,
            rope: Rope { theta, rotated, scaling },
            logn,
            causal: keys.gguf.bool(&keys.name("attention.causal"))?.unwrap_or(true),
        })
    }
}

/// The width of the feed-forward part of first-generation Qwen, whose key counts gate and up projection together.
fn half_of_both(keys: &Keys<'_>) -> Result<usize> {
    let key = "feed_forward_length";
    let both = keys.required(key, limits::MAX_FFN)?;
    if both % 2 != 0 {
        let want = "an even number: both halves of the feed-forward part".into();
        return Err(Error::BadValue { key: keys.name(key), found: both.to_string(), want });
    }
    Ok(both / 2)
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
