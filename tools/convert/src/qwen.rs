//! First-generation Qwen (2023), whose checkpoints have other names for everything: its config.json and its tensors.

use crate::config::{Arch, Config, FILE, RopeScaling, ranged, token_ids, within};
use crate::error::{Result, invalid};
use crate::json::Object;
use crate::names::Expected;
use qwip_quant::limits;

/// What becomes of positions beyond the trained length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LongContext {
    /// The rotary base grows with the length.
    pub dynamic_ntk: bool,
    /// Queries grow with the logarithm of their position.
    pub logn: bool,
}

/// The numbers of config.json. Where it is silent, what the makers' own code takes.
pub(crate) fn config(c: &Object) -> Result<Config> {
    refuse_what_we_cannot_keep(c)?;
    let size = |key: &str, max: usize| -> Result<u32> { ranged(c, key, c.need(key, c.u64(key))?, max) };
    let hidden = size("hidden_size", limits::MAX_EMBEDDING)?;
    let heads = size("num_attention_heads", limits::MAX_HEADS)?;
    let head_dim = ranged(c, "kv_channels", c.u64("kv_channels")?.unwrap_or(128), limits::MAX_HEAD_DIM)?;
    // Both factors are at most 2^10.
    if heads * head_dim != hidden {
        return invalid(format!(
            "{FILE}: num_attention_heads {heads} times kv_channels {head_dim} is not hidden_size {hidden}"
        ));
    }
    if head_dim % 2 != 0 {
        return invalid(format!("{FILE}: kv_channels {head_dim} is odd, rotary embedding needs pairs"));
    }
    let both = size("intermediate_size", limits::MAX_FFN)?;
    if both % 2 != 0 {
        return invalid(format!(
            "{FILE}: intermediate_size {both} is odd, but counts two matrices of equal width"
        ));
    }
    // `seq_length` is what the model was trained with; `max_position_embeddings` may promise more.
    let context = match c.u64("seq_length")? {
        Some(n) => ranged(c, "seq_length", n, limits::MAX_CONTEXT)?,
        None => size("max_position_embeddings", limits::MAX_CONTEXT)?,
    };
    let eps = c.f32("layer_norm_epsilon")?.unwrap_or(1e-6);
    if !(eps > 0.0 && eps < 1.0) {
        return invalid(format!("{FILE}: layer_norm_epsilon {eps} is not between 0 and 1"));
    }
    let theta = c.f32("rotary_emb_base")?.unwrap_or(10000.0);
    let long = LongContext {
        dynamic_ntk: c.bool("use_dynamic_ntk")?.unwrap_or(true),
        logn: c.bool("use_logn_attn")?.unwrap_or(true),
    };
    if long.logn && context < 2 {
        return invalid(format!(
            "{FILE}: use_logn_attn needs a trained length of 2 or more, found {context}"
        ));
    }
    Ok(Config {
        arch: Arch::Qwen,
        layers: size("num_hidden_layers", limits::MAX_LAYERS)?,
        hidden,
        ffn: Some(both / 2),
        experts: None,
        hybrid: None,
        heads,
        kv_heads: heads,
        head_dim,
        vocab: size("vocab_size", limits::MAX_VOCAB)?,
        context,
        eps,
        rope_theta: within(c, "rotary_emb_base", theta, limits::ROPE_BASE)?,
        scaling: RopeScaling::None,
        long: Some(long),
        vision: None,
        causal: true,
        pooling: None,
        labels: None,
        headless: false,
        tied: false,
        bos: token_ids(c, "bos_token_id")?.first().copied(),
        eos: token_ids(c, "eos_token_id")?,
        pad: token_ids(c, "pad_token_id")?.first().copied(),
        fp8_tile: None,
        name_or_path: c.str("_name_or_path")?.map(str::to_string),
        notes: Vec::new(),
    })
}

/// Settings whose silent loss would give a model that answers differently.
fn refuse_what_we_cannot_keep(c: &Object) -> Result<()> {
    for (key, wanted) in [("no_bias", true), ("scale_attn_weights", true), ("tie_word_embeddings", false)] {
        if c.bool(key)?.is_some_and(|found| found != wanted) {
            return invalid(format!("{FILE}: {key} must be {wanted}, as in every first-generation Qwen"));
        }
    }
    if let Some(share) = c.f32("rotary_pct")?
        && share != 1.0
    {
        return invalid(format!("{FILE}: rotary_pct must be 1, found {share}"));
    }
    for part in ["visual", "audio"] {
        if c.get(part).is_some() {
            return invalid(format!(
                "{FILE}: {part}: there is no form of first-generation Qwen-VL or Qwen-Audio in GGUF"
            ));
        }
    }
    Ok(())
}

/// Every tensor of the model, in the order in which a forward pass meets them.
pub(crate) fn expected(c: &Config) -> Vec<Expected> {
    let ffn = c.ffn.unwrap_or_default();
    let mut all = vec![Expected::plain("transformer.wte.weight", "token_embd.weight", &[c.vocab, c.hidden])];
    for i in 0..c.layers {
        let mut layer = |source: &str, name: &str, shape: &[u32]| {
            let (source, name) = (format!("transformer.h.{i}.{source}"), format!("blk.{i}.{name}"));
            all.push(Expected::plain(&source, &name, shape));
        };
        layer("ln_1.weight", "attn_norm.weight", &[c.hidden]);
        layer("attn.c_attn.weight", "attn_qkv.weight", &[3 * c.hidden, c.hidden]);
        layer("attn.c_attn.bias", "attn_qkv.bias", &[3 * c.hidden]);
        layer("attn.c_proj.weight", "attn_output.weight", &[c.hidden, c.hidden]);
        layer("ln_2.weight", "ffn_norm.weight", &[c.hidden]);
        // The second matrix is the one behind the activation.
        layer("mlp.w2.weight", "ffn_gate.weight", &[ffn, c.hidden]);
        layer("mlp.w1.weight", "ffn_up.weight", &[ffn, c.hidden]);
        layer("mlp.c_proj.weight", "ffn_down.weight", &[c.hidden, ffn]);
    }
    all.push(Expected::plain("transformer.ln_f.weight", "output_norm.weight", &[c.hidden]));
    all.push(Expected::plain("lm_head.weight", "output.weight", &[c.vocab, c.hidden]));
    all
}

/// Why a tensor outside of [`expected`] may be left out.
pub(crate) fn reason_to_skip(source: &str) -> Option<&'static str> {
    let mask = source.ends_with(".attn.bias") || source.ends_with(".attn.masked_bias");
    mask.then_some("a mask, which is not trained")
}

/// How the makers' code talks with the models for chats, which say `chat_format` in generation_config.json: they have no
/// template.
pub(crate) const CHATML: &str = "\
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";
