//! Layers of experts: a feed-forward part in pieces, of which a router chooses a few for each token.

use qwip_cpu::ops::moe::Routing;
use qwip_quant::limits;

use super::config::{Config, Keys};
use super::weights::{ExpertLinear, FUSED_EXPERTS, Linear, Loader};
use crate::error::{Error, Result};

/// The sizes of a layer of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertSizes {
    /// Experts.
    pub count: usize,
    /// Width of one.
    pub ffn: usize,
    /// How a token's are chosen.
    pub routing: Routing,
}

impl ExpertSizes {
    /// Reads the keys; `normalise` is what the architecture does where no key says it.
    pub(super) fn read(keys: &Keys<'_>, normalise: bool) -> Result<ExpertSizes> {
        let count = keys.required("expert_count", limits::MAX_EXPERTS)?;
        let used = keys.required("expert_used_count", limits::MAX_EXPERTS)?;
        if used > count {
            return Err(Error::BadValue {
                key: keys.name("expert_used_count"),
                found: used.to_string(),
                want: format!("1 to expert_count = {count}"),
            });
        }
        // The first files have but one key of widths.
        let ffn = match keys.optional("expert_feed_forward_length", limits::MAX_FFN)? {
            Some(ffn) => ffn,
            None => keys.required("feed_forward_length", limits::MAX_FFN)? / used,
        };
        let normalise = keys.gguf.bool(&keys.name("expert_weights_norm"))?.unwrap_or(normalise);
        let scale = match keys.float("expert_weights_scale", 0.0..=1e6)? {
            None | Some(0.0) => 1.0,
            Some(scale) => scale,
        };
        Ok(ExpertSizes { count, ffn, routing: Routing { used, normalise, scale } })
    }
}

/// The width of the shared expert.
pub(super) fn shared_ffn(keys: &Keys<'_>) -> Result<usize> {
    match keys.optional("expert_shared_feed_forward_length", limits::MAX_FFN)? {
        Some(ffn) => Ok(ffn),
        None => keys.required("feed_forward_length", limits::MAX_FFN),
    }
}

/// A layer of experts.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Says which experts a token goes to; never quantized.
    pub router: Linear, // [experts, embedding]
    /// How it is understood.
    pub routing: Routing,
    /// The gates.
    pub gate: ExpertLinear, // experts x [ffn, embedding]
    /// What they let through.
    pub up: ExpertLinear, // experts x [ffn, embedding]
    /// Back to the width of the state.
    pub down: ExpertLinear, // experts x [embedding, ffn]
    /// The expert that every token uses, too.
    pub shared: Option<SharedExpert>,
}

/// An expert for every token.
#[derive(Clone, Debug)]
pub struct SharedExpert {
    /// Says how much its answer counts; never quantized.
    pub router: Linear, // [1, embedding]
    /// The gate.
    pub gate: Linear, // [shared_ffn, embedding]
    /// What it lets through.
    pub up: Linear, // [shared_ffn, embedding]
    /// Back to the width of the state.
    pub down: Linear, // [embedding, shared_ffn]
}

impl Experts {
    /// The experts of layer `layer`, with a shared one if the configuration has a width for it.
    pub(super) fn load(file: &Loader<'_>, arch: &str, c: &Config, layer: usize) -> Result<Experts> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let Some(ExpertSizes { count, ffn, routing }) = c.experts else {
            return Err(Error::MissingKey { key: format!("{arch}.expert_count") });
        };
        let agrees = |part: &str, dim: usize, what: &'static str, key: &str, want: usize| {
            file.agrees(&name(&format!("{part}.weight")), dim, what, &format!("{arch}.{key}"), want)
        };
        agrees("ffn_gate_inp", 1, "experts", "expert_count", count)?;
        for (part, dim) in [("ffn_gate_exps", 1), ("ffn_up_exps", 1), ("ffn_down_exps", 0)] {
            agrees(part, 2, "experts", "expert_count", count)?;
            agrees(part, dim, "hidden values", "expert_feed_forward_length", ffn)?;
        }
        agrees(FUSED_EXPERTS, 2, "experts", "expert_count", count)?;
        let shared = match c.ffn {
            0 => None,
            ffn => {
                for (part, dim) in [("ffn_gate_shexp", 1), ("ffn_up_shexp", 1), ("ffn_down_shexp", 0)] {
                    agrees(part, dim, "hidden values", "expert_shared_feed_forward_length", ffn)?;
                }
                Some(SharedExpert {
                    router: router(file, &name("ffn_gate_inp_shexp"), 1, c.embedding)?,
                    gate: file.linear(&name("ffn_gate_shexp"), ffn, c.embedding)?,
                    up: file.linear(&name("ffn_up_shexp"), ffn, c.embedding)?,
                    down: file.linear(&name("ffn_down_shexp"), c.embedding, ffn)?,
                })
            }
        };
        let [gate, up] = file.gate_and_up(&format!("blk.{layer}"), count, ffn, c.embedding)?;
        Ok(Experts {
            router: router(file, &name("ffn_gate_inp"), count, c.embedding)?,
            routing,
            gate,
            up,
            down: file.stack(&name("ffn_down_exps"), count, c.embedding, ffn)?,
            shared,
        })
    }
}

/// A projection whose results decide: with quantized activations near misses would go to other experts.
fn router(file: &Loader<'_>, name: &str, rows: usize, cols: usize) -> Result<Linear> {
    let router = file.linear(name, rows, cols)?;
    match router.weight.ty.is_quantized() {
        true => Err(Error::TensorType { name: router.weight.name, ty: router.weight.ty.name() }),
        false => Ok(router),
    }
}
