//! The layers of hybrids: most have a gated delta net, whose memory does not grow with the sequence, and every fourth
//! or so a full attention with a gate.

use qwip_cpu::ops::delta::{DeltaHeads, MAX_HEAD, MAX_TAPS};
use qwip_cpu::table::DELTA_COLUMNS;
use qwip_quant::limits;

use super::config::{Config, Keys};
use super::weights::{Linear, Loader};
use crate::error::{Error, Result};

/// What makes a model a hybrid.
#[derive(Clone, Debug, PartialEq)]
pub struct Hybrid {
    /// The heads of the delta nets.
    pub heads: DeltaHeads,
    /// Whether a layer has attention; else it has a delta net.
    pub attends: Vec<bool>,
}

impl Hybrid {
    /// Reads the keys for a model of `layers` layers; `tiled` says how its value heads are ordered.
    pub(super) fn read(keys: &Keys<'_>, file: &[u8], layers: usize, tiled: bool) -> Result<Hybrid> {
        let key_heads = keys.required("ssm.group_count", limits::MAX_HEADS)?;
        let values = keys.required("ssm.time_step_rank", limits::MAX_HEADS)?;
        let inner = keys.required("ssm.inner_size", limits::MAX_HEADS * MAX_HEAD)?;
        let bad = |key: &str, found: usize, want: String| Error::BadValue {
            key: keys.name(key),
            found: found.to_string(),
            want,
        };
        if values % key_heads != 0 {
            let want = format!("a multiple of ssm.group_count = {key_heads}");
            return Err(bad("ssm.time_step_rank", values, want));
        }
        if inner % (values * DELTA_COLUMNS) != 0 || inner / values > MAX_HEAD {
            let want = format!(
                "{DELTA_COLUMNS} to {MAX_HEAD}, in steps of {DELTA_COLUMNS}, for each of ssm.time_step_rank = {values} heads"
            );
            return Err(bad("ssm.inner_size", inner, want));
        }
        let heads = DeltaHeads {
            keys: key_heads,
            values,
            key_dim: keys.required("ssm.state_size", MAX_HEAD)?,
            value_dim: inner / values,
            taps: keys.required("ssm.conv_kernel", MAX_TAPS)?,
            tiled,
        };
        let attends = layer_kinds(keys, file, layers)?;
        let nets = attends.iter().filter(|attends| !**attends).count();
        let remembered = nets as u64 * inner as u64 * heads.key_dim as u64;
        if remembered > limits::MAX_DELTA_NUMBERS {
            let most = limits::MAX_DELTA_NUMBERS;
            let want = format!(
                "so much that {nets} layers with ssm.state_size = {} remember at most {most} numbers, not {remembered}",
                heads.key_dim
            );
            return Err(bad("ssm.inner_size", inner, want));
        }
        Ok(Hybrid { heads, attends })
    }
}

/// Which layers have attention.
fn layer_kinds(keys: &Keys<'_>, file: &[u8], layers: usize) -> Result<Vec<bool>> {
    let key = keys.name("attention.recurrent_layers");
    let Some(array) = keys.gguf.array(&key)? else {
        let interval = keys.optional("full_attention_interval", limits::MAX_LAYERS)?.unwrap_or(4);
        return Ok((1..=layers).map(|i| i % interval == 0).collect());
    };
    if array.len < layers {
        let (found, want) = (format!("of {} entries", array.len), format!("one for each of {layers} layers"));
        return Err(Error::BadValue { key, found, want });
    }
    Ok(array.i64s(file)?.take(layers).map(|recurrent| recurrent == 0).collect())
}

/// What a layer looks at other tokens with.
#[derive(Debug)]
pub(super) enum Mixer {
    /// All of them, in the cache.
    Attention(GatedAttention),
    /// What it remembers of them.
    Delta {
        /// Among the layers with a delta net.
        index: usize,
        /// The weights.
        net: DeltaNet,
    },
}

/// A full attention whose answers have gates.
#[derive(Debug)]
pub(super) struct GatedAttention {
    /// Among the layers with attention.
    pub(super) index: usize,
    pub(super) qkv: [Linear; 3], // [heads*2*head_dim | kv_heads*head_dim | kv_heads*head_dim, embedding]
    pub(super) q_norm: Vec<f32>, // [head_dim]
    pub(super) k_norm: Vec<f32>, // [head_dim]
    pub(super) output: Linear,   // [embedding, heads*head_dim]
}

/// A gated delta net (Yang et al. 2024, "Gated Delta Networks").
#[derive(Clone, Debug)]
pub struct DeltaNet {
    /// Queries, keys and values before the convolution.
    pub qkv: Linear, // [channels, embedding]
    /// The gates of the answers.
    pub gate: Linear, // [values*value_dim, embedding]
    /// How much each head learns and forgets.
    pub rates: RateInputs,
    /// The convolution's taps, the oldest first.
    pub taps: Vec<f32>, // [taps, channels]
    /// Multiplies the logarithm of what each head keeps; negative.
    pub decay: Vec<f32>, // [values]
    /// Added to what decides about forgetting.
    pub bias: Vec<f32>, // [values]
    /// The norm of a head's answer.
    pub norm: Vec<f32>, // [value_dim]
    /// Back to the width of the state.
    pub output: Linear, // [embedding, values*value_dim]
}

/// The projections to the two numbers of each value head.
#[derive(Clone, Debug)]
pub enum RateInputs {
    /// A matrix for each number.
    Apart {
        /// For learning.
        beta: Linear, // [values, embedding]
        /// For forgetting.
        alpha: Linear, // [values, embedding]
    },
    /// One matrix: for each key head the beta of its value heads, then their alpha.
    Grouped(Linear), // [2*values, embedding]
}

impl Mixer {
    /// What layer `layer` has.
    pub(super) fn load(file: &Loader<'_>, arch: &str, c: &Config, layer: usize) -> Result<Mixer> {
        let Some(Hybrid { heads, attends }) = &c.hybrid else {
            return Err(Error::MissingKey { key: format!("{arch}.ssm.group_count") });
        };
        let p = format!("blk.{layer}");
        let index = attends[..layer].iter().filter(|&&a| a == attends[layer]).count();
        let (kind, other) = match attends[layer] {
            true => ("attention", format!("{p}.ssm_a")),
            false => ("a delta net", format!("{p}.attn_q.weight")),
        };
        if file.has(&other) {
            return Err(Error::LayerKind { layer, kind, tensor: other });
        }
        if !attends[layer] {
            return Ok(Mixer::Delta { index, net: DeltaNet::load(file, heads, c.embedding, &p)? });
        }
        let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
        Ok(Mixer::Attention(GatedAttention {
            index,
            qkv: [
                file.linear(&format!("{p}.attn_q"), 2 * q, c.embedding)?,
                file.linear(&format!("{p}.attn_k"), kv, c.embedding)?,
                file.linear(&format!("{p}.attn_v"), kv, c.embedding)?,
            ],
            q_norm: file.vector(&format!("{p}.attn_q_norm.weight"), c.head_dim)?,
            k_norm: file.vector(&format!("{p}.attn_k_norm.weight"), c.head_dim)?,
            output: file.linear(&format!("{p}.attn_output"), c.embedding, q)?,
        }))
    }

    /// The key projection, if there is one.
    pub(super) fn key(&self) -> Option<&Linear> {
        match self {
            Mixer::Attention(attention) => Some(&attention.qkv[1]),
            Mixer::Delta { .. } => None,
        }
    }
}

impl DeltaNet {
    fn load(file: &Loader<'_>, heads: &DeltaHeads, embedding: usize, p: &str) -> Result<DeltaNet> {
        let (channels, width, values) = (heads.channels(), heads.value_width(), heads.values);
        let linear = |name: &str, rows| file.linear(&format!("{p}.{name}"), rows, embedding);
        // In one matrix they are grouped by key head, as the value heads are where these are not tiled.
        let rates = match !heads.tiled && file.has(&format!("{p}.ssm_ba.weight")) {
            true => RateInputs::Grouped(linear("ssm_ba", 2 * values)?),
            false => {
                RateInputs::Apart { beta: linear("ssm_beta", values)?, alpha: linear("ssm_alpha", values)? }
            }
        };
        // In the file the taps of a channel lie beside each other.
        let in_file = file.grid(&format!("{p}.ssm_conv1d.weight"), channels, heads.taps)?;
        let taps =
            (0..heads.taps).flat_map(|t| in_file.iter().skip(t).step_by(heads.taps)).copied().collect();
        Ok(DeltaNet {
            qkv: linear("attn_qkv", channels)?,
            gate: linear("attn_gate", width)?,
            rates,
            taps,
            decay: file.vector(&format!("{p}.ssm_a"), values)?,
            bias: file.vector(&format!("{p}.ssm_dt.bias"), values)?,
            norm: file.vector(&format!("{p}.ssm_norm.weight"), heads.value_dim)?,
            output: file.linear(&format!("{p}.ssm_out"), embedding, width)?,
        })
    }
}
