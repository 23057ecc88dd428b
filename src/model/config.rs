//! Hyper-parameters: read from the metadata, bounded before anything is multiplied with them.

use qwip_quant::gguf::Gguf;

use super::rope::{Rope, Scaling};
use crate::error::{Error, Result};

/// The sizes of a dense decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub embedding: usize,
    /// Width of the feed-forward part.
    pub ffn: usize,
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
}

/// Reads `{arch}.*` keys with bounds; errors name the key.
struct Keys<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    fn optional(&self, key: &str, max: u64) -> Result<Option<usize>> {
        let name = self.name(key);
        // Some hyper-parameters may be one number for each layer; a dense model has the same everywhere.
        let value = match self.gguf.u64(&name)? {
            Some(value) => value,
            None => return Ok(None),
        };
        if value == 0 || value > max {
            return Err(Error::BadValue { key: name, found: value.to_string(), want: format!("1 to {max}") });
        }
        Ok(Some(value as usize))
    }

    fn required(&self, key: &str, max: u64) -> Result<usize> {
        self.optional(key, max)?.ok_or_else(|| Error::MissingKey { key: self.name(key) })
    }

    fn float(&self, key: &str, low: f32, high: f32) -> Result<Option<f32>> {
        let name = self.name(key);
        let Some(value) = self.gguf.f32(&name)? else { return Ok(None) };
        if !(value >= low && value <= high) {
            return Err(Error::BadValue {
                key: name,
                found: value.to_string(),
                want: format!("{low} to {high}"),
            });
        }
        Ok(Some(value))
    }
}

impl Config {
    /// Reads the keys of architecture `arch`; `vocab` is the number of rows of the embedding.
    pub fn read(gguf: &Gguf, arch: &str, vocab: usize) -> Result<Config> {
        let keys = Keys { gguf, arch };
        let layers = keys.required("block_count", 1024)?;
        let embedding = keys.required("embedding_length", 1 << 16)?;
        let ffn = keys.required("feed_forward_length", 1 << 20)?;
        let heads = keys.required("attention.head_count", 1 << 10)?;
        let kv_heads = keys.optional("attention.head_count_kv", 1 << 10)?.unwrap_or(heads);
        if heads % kv_heads != 0 {
            return Err(Error::BadValue {
                key: keys.name("attention.head_count_kv"),
                found: kv_heads.to_string(),
                want: format!("a divisor of attention.head_count = {heads}"),
            });
        }
        let head_dim = match keys.optional("attention.key_length", 1 << 10)? {
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
        if let Some(value_length) = keys.optional("attention.value_length", 1 << 10)?
            && value_length != head_dim
        {
            return Err(Error::BadValue {
                key: keys.name("attention.value_length"),
                found: value_length.to_string(),
                want: format!("attention.key_length = {head_dim}"),
            });
        }
        let rotated = keys.optional("rope.dimension_count", 1 << 10)?.unwrap_or(head_dim);
        if rotated % 2 != 0 || rotated > head_dim {
            return Err(Error::BadValue {
                key: keys.name("rope.dimension_count"),
                found: rotated.to_string(),
                want: format!("an even number up to the head size {head_dim}"),
            });
        }
        let context = keys.optional("context_length", 1 << 24)?.unwrap_or(2048);
        let eps_key = "attention.layer_norm_rms_epsilon";
        let eps =
            keys.float(eps_key, 0.0, 1.0)?.ok_or_else(|| Error::MissingKey { key: keys.name(eps_key) })?;
        let theta = keys.float("rope.freq_base", 1.0, 1e12)?.unwrap_or(10000.0);
        let scaling = read_scaling(&keys, context)?;
        Ok(Config {
            layers,
            embedding,
            ffn,
            heads,
            kv_heads,
            head_dim,
            vocab,
            context,
            eps,
            rope: Rope { theta, rotated, scaling },
        })
    }

    /// Bytes of keys and values for one position, all layers, at `element_bytes` bytes an element.
    pub fn kv_bytes_per_token(&self, element_bytes: f64) -> f64 {
        2.0 * (self.layers * self.kv_heads * self.head_dim) as f64 * element_bytes
    }
}

fn read_scaling(keys: &Keys<'_>, context: usize) -> Result<Scaling> {
    let key = keys.name("rope.scaling.type");
    let factor = keys.float("rope.scaling.factor", 1e-3, 1e6)?.unwrap_or(1.0);
    match keys.gguf.str(&key)? {
        None | Some("none") if factor == 1.0 => Ok(Scaling::None),
        Some("none") => Ok(Scaling::None),
        None | Some("linear") => Ok(Scaling::Linear { factor }),
        Some("yarn") => {
            let original = keys.optional("rope.scaling.original_context_length", 1 << 24)?;
            // Both spellings of the strength of the attention factor are found in files.
            let attention = match keys.float("rope.scaling.yarn_attn_factor", 1e-3, 1e3)? {
                Some(value) => value,
                None => keys.float("rope.scaling.attn_factor", 1e-3, 1e3)?.unwrap_or(1.0),
            };
            Ok(Scaling::Yarn {
                factor,
                original: original.unwrap_or(context) as f32,
                attention,
                beta_fast: keys.float("rope.scaling.yarn_beta_fast", 1e-3, 1e6)?.unwrap_or(32.0),
                beta_slow: keys.float("rope.scaling.yarn_beta_slow", 1e-3, 1e6)?.unwrap_or(1.0),
            })
        }
        Some(other) => {
            Err(Error::BadValue { key, found: format!("'{other}'"), want: "none, linear or yarn".into() })
        }
    }
}
