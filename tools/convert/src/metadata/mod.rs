//! The keys of the GGUF file: what the model is called and where it comes from (`general`), its hyper-parameters, its
//! tokenizer.

mod card;
mod general;
mod name;
#[cfg(test)]
mod tests;
mod tokenizer;
mod yaml;

use crate::config::{Arch, Config, Experts, RopeScaling, Vision};
use crate::qwen::LongContext;
use qwip_quant::gguf::{Set, Writer};
use qwip_quant::pooling::{Pooling, RERANK_LABELS};

pub(crate) use general::{general, repository};
pub(crate) use tokenizer::tokenizer;

/// Sets the keys that begin with the architecture's name.
pub(crate) fn hyper_parameters(w: &mut Writer, c: &Config) {
    let mut set = |key: &str, value: Set| {
        w.set(&format!("{}.{key}", c.arch.name()), value);
    };
    set("block_count", c.layers.into());
    set("context_length", c.context.into());
    set("embedding_length", c.hidden.into());
    if let Some(ffn) = c.ffn {
        // First-generation Qwen counts gate and up projection together.
        set("feed_forward_length", (ffn * if c.arch == Arch::Qwen { 2 } else { 1 }).into());
    }
    if let Some(Experts { count, used, ffn, shared_ffn, normalise, .. }) = c.experts {
        set("expert_count", count.into());
        set("expert_used_count", used.into());
        set("expert_feed_forward_length", ffn.into());
        if let Some(ffn) = shared_ffn {
            set("expert_shared_feed_forward_length", ffn.into());
        }
        if let Some(normalise) = normalise {
            set("expert_weights_norm", normalise.into());
        }
    }
    set("attention.head_count", c.heads.into());
    set("attention.head_count_kv", c.kv_heads.into());
    set("attention.key_length", c.head_dim.into());
    set("attention.value_length", c.head_dim.into());
    set("attention.layer_norm_rms_epsilon", c.eps.into());
    if !c.causal {
        set("attention.causal", false.into());
    }
    if let Some(pooling) = c.pooling {
        set("pooling_type", (pooling as u32).into());
        if pooling == Pooling::Rank {
            set("classifier.output_labels", RERANK_LABELS.as_slice().into());
        }
    }
    if let Some(Vision { sections, deepstack }) = c.vision {
        set("rope.dimension_sections", sections.to_vec().into());
        if let Some(deepstack) = deepstack {
            set("n_deepstack_layers", deepstack.into());
        }
    }
    set("rope.freq_base", c.rope_theta.into());
    if let Some(LongContext { dynamic_ntk, logn }) = c.long {
        // Required by llama.cpp.
        set("rope.dimension_count", c.head_dim.into());
        // Keys of our own, since GGUF has none: `rope.scaling.type` knows no such type.
        set("rope.dynamic_ntk", dynamic_ntk.into());
        set("attention.logn", logn.into());
    }
    if let Some(hybrid) = &c.hybrid {
        set("rope.dimension_count", hybrid.rotated.into());
        if let Some(sections) = hybrid.sections {
            set("rope.dimension_sections", sections.to_vec().into());
        }
        set("ssm.conv_kernel", hybrid.kernel.into());
        set("ssm.state_size", hybrid.keys.dim.into());
        set("ssm.group_count", hybrid.keys.count.into());
        set("ssm.time_step_rank", hybrid.values.count.into());
        set("ssm.inner_size", hybrid.values.len().into());
        match hybrid.interval() {
            Some(interval) => set("full_attention_interval", interval.into()),
            None => {
                let recurrent: Vec<bool> = hybrid.full_attention.iter().map(|full| !full).collect();
                set("attention.recurrent_layers", recurrent.into());
            }
        }
    }
    match c.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            set("rope.scaling.type", "linear".into());
            set("rope.scaling.factor", factor.into());
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
            set("rope.scaling.type", "yarn".into());
            set("rope.scaling.factor", factor.into());
            set("rope.scaling.original_context_length", original_context.into());
            for (key, beta) in
                [("rope.scaling.yarn_beta_fast", beta_fast), ("rope.scaling.yarn_beta_slow", beta_slow)]
            {
                if let Some(beta) = beta {
                    set(key, beta.into());
                }
            }
        }
    }
}
