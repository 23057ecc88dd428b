//! The keys of the GGUF file: what the model is called and where it comes from (`general`), its hyper-parameters, its
//! tokenizer.

mod card;
mod general;
mod name;
#[cfg(test)]
mod tests;
mod tokenizer;
mod yaml;

use crate::config::{Config, Experts, RopeScaling, Vision};
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
    set("feed_forward_length", c.ffn.into());
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
