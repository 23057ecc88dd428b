//! The flags for contexts beyond the trained length.

use clap::{Args, ValueEnum};
use qwip::model::{RopeOptions, ScalingType};
use qwip::quant::limits;

use crate::args::{parse_tokens, within};

/// How contexts longer than the trained one are reached; fixed for all of a session.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Long contexts (defaults: the model's own)")]
pub(crate) struct RopeArgs {
    /// How positions beyond the trained length are squeezed in: Qwen's makers publish yarn
    #[arg(long, env = "QWIP_ROPE_SCALING", value_enum, value_name = "TYPE")]
    pub(crate) rope_scaling: Option<RopeScaling>,
    /// The factor by which the context grows [default: what -c needs]; alone it means linear scaling
    #[arg(long, env = "QWIP_ROPE_SCALE", value_name = "X", allow_negative_numbers = true, value_parser = parse_rope_scale)]
    pub(crate) rope_scale: Option<f32>,
    /// Base of the rotary frequencies
    #[arg(long, env = "QWIP_ROPE_FREQ_BASE", value_name = "X", allow_negative_numbers = true,
          value_parser = parse_rope_base)]
    pub(crate) rope_freq_base: Option<f32>,
    /// The trained context that yarn starts from, 0: the model's (Qwen3 of 40960 tokens: 32768)
    #[arg(long, env = "QWIP_YARN_ORIG_CTX", value_name = "N", value_parser = parse_tokens)]
    pub(crate) yarn_orig_ctx: Option<usize>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RopeScaling {
    None,
    Linear,
    Yarn,
}

impl RopeArgs {
    /// As settings of a session.
    pub(crate) fn options(&self) -> RopeOptions {
        let scaling = self.rope_scaling.map(|scaling| match scaling {
            RopeScaling::None => ScalingType::None,
            RopeScaling::Linear => ScalingType::Linear,
            RopeScaling::Yarn => ScalingType::Yarn,
        });
        let original = self.yarn_orig_ctx.filter(|&n| n > 0);
        RopeOptions { scaling, factor: self.rope_scale, theta: self.rope_freq_base, original }
    }
}

fn parse_rope_scale(text: &str) -> Result<f32, String> {
    within(text, limits::ROPE_FACTOR)
}

fn parse_rope_base(text: &str) -> Result<f32, String> {
    within(text, limits::ROPE_BASE)
}
