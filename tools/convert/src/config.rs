//! config.json: which architecture, which sizes, which rotary embedding.

use crate::error::{Result, invalid};
use crate::fp8;
use crate::hybrid::Hybrid;
use crate::json::{Object, kind, quote};
use crate::qwen::{self, LongContext};
use qwip_quant::limits;
use qwip_quant::pooling::Pooling;
use std::ops::RangeInclusive;
use std::path::Path;

pub(crate) const FILE: &str = "config.json";

/// The architectures that convert, by their name in GGUF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arch {
    Qwen,
    Qwen2,
    Qwen2Moe,
    Qwen2Vl,
    Qwen3,
    Qwen3Moe,
    Qwen3Next,
    Qwen35,
    Qwen35Moe,
    Qwen3Vl,
    Qwen3VlMoe,
}

impl Arch {
    /// (class in config.json, architecture)
    const KNOWN: [(&'static str, Arch); 19] = [
        ("QWenLMHeadModel", Arch::Qwen),
        ("Qwen2ForCausalLM", Arch::Qwen2),
        ("Qwen2Model", Arch::Qwen2),
        ("Qwen2MoeForCausalLM", Arch::Qwen2Moe),
        ("Qwen2VLForConditionalGeneration", Arch::Qwen2Vl),
        ("Qwen2_5_VLForConditionalGeneration", Arch::Qwen2Vl),
        ("Qwen2_5OmniModel", Arch::Qwen2Vl),
        ("Qwen2_5OmniForConditionalGeneration", Arch::Qwen2Vl),
        ("Qwen2_5OmniThinkerForConditionalGeneration", Arch::Qwen2Vl),
        ("Qwen3ForCausalLM", Arch::Qwen3),
        ("Qwen3Model", Arch::Qwen3),
        ("Qwen3MoeForCausalLM", Arch::Qwen3Moe),
        ("Qwen3NextForCausalLM", Arch::Qwen3Next),
        ("Qwen3_5ForConditionalGeneration", Arch::Qwen35),
        ("Qwen3_5ForCausalLM", Arch::Qwen35),
        ("Qwen3_5MoeForConditionalGeneration", Arch::Qwen35Moe),
        ("Qwen3_5MoeForCausalLM", Arch::Qwen35Moe),
        ("Qwen3VLForConditionalGeneration", Arch::Qwen3Vl),
        ("Qwen3VLMoeForConditionalGeneration", Arch::Qwen3VlMoe),
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Arch::Qwen => "qwen",
            Arch::Qwen2 => "qwen2",
            Arch::Qwen2Moe => "qwen2moe",
            Arch::Qwen2Vl => "qwen2vl",
            Arch::Qwen3 => "qwen3",
            Arch::Qwen3Moe => "qwen3moe",
            Arch::Qwen3Vl => "qwen3vl",
            Arch::Qwen3VlMoe => "qwen3vlmoe",
            Arch::Qwen3Next => "qwen3next",
            Arch::Qwen35 => "qwen35",
            Arch::Qwen35Moe => "qwen35moe",
        }
    }

    /// Whether layers have experts.
    pub(crate) const fn has_experts(self) -> bool {
        matches!(self, Arch::Qwen2Moe | Arch::Qwen3Moe | Arch::Qwen3VlMoe | Arch::Qwen3Next | Arch::Qwen35Moe)
    }

    /// Whether one of the experts is for all tokens.
    pub(crate) const fn has_shared_expert(self) -> bool {
        matches!(self, Arch::Qwen2Moe | Arch::Qwen3Next | Arch::Qwen35Moe)
    }

    /// Whether most layers have a recurrent state in place of attention.
    pub(crate) const fn is_hybrid(self) -> bool {
        matches!(self, Arch::Qwen3Next | Arch::Qwen35 | Arch::Qwen35Moe)
    }

    /// How words are split where the checkpoint does not say it.
    pub(crate) const fn pre(self) -> &'static str {
        match self {
            Arch::Qwen35 | Arch::Qwen35Moe => "qwen35",
            _ => "qwen2",
        }
    }

    /// Whether queries, keys and values have biases; where they have none, queries and keys have norms.
    pub(crate) const fn has_biases(self) -> bool {
        matches!(self, Arch::Qwen | Arch::Qwen2 | Arch::Qwen2Moe | Arch::Qwen2Vl)
    }

    /// Whether it is the text part of a vision model, whose positions have three dimensions.
    pub(crate) const fn of_vision_model(self) -> bool {
        matches!(self, Arch::Qwen2Vl | Arch::Qwen3Vl | Arch::Qwen3VlMoe)
    }

    pub(crate) fn from_class(class: &str) -> Result<Arch> {
        match Self::KNOWN.iter().find(|(known, _)| *known == class) {
            Some((_, arch)) => Ok(*arch),
            None => {
                let mut known = Self::KNOWN.map(|(_, arch)| arch.name()).to_vec();
                known.dedup();
                let known = known.join(", ");
                invalid(format!(
                    "{FILE}: architecture {} is not supported (known: the classes of {known})",
                    quote(class)
                ))
            }
        }
    }
}

/// How positions beyond the trained length are reached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum RopeScaling {
    None,
    Linear { factor: f32 },
    Yarn { factor: f32, original_context: u32, beta_fast: Option<f32>, beta_slow: Option<f32> },
}

/// The experts of each layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Experts {
    pub count: u32,
    pub used: u32,
    pub ffn: u32,
    /// Where the architecture has an expert for all tokens.
    pub shared_ffn: Option<u32>,
    /// Whether weights add up to 1, where that is not what goes without saying in the architecture.
    pub normalise: Option<bool>,
    /// How the checkpoint stores them; apart, until it has been looked at.
    pub packing: Packing,
}

/// How a checkpoint stores the matrices of a layer's experts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packing {
    /// Each in a tensor of its own.
    Apart,
    /// All in one tensor, `[experts, outputs, inputs]`, gate and up one below the other in one.
    Packed,
    /// As that, but `[experts, inputs, outputs]`.
    Transposed,
}

/// What makes positions of three dimensions, and images, of the text part of a vision model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vision {
    /// Pairs of a head that turn by the position in time, by height and by width, and 0.
    pub sections: [i32; 4],
    /// Layers that add what the vision part sees.
    pub deepstack: Option<u32>,
}

/// The numbers of config.json that GGUF needs, checked against each other and bounded so that no product of them
/// overflows 64 bits.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub arch: Arch,
    pub layers: u32,
    pub hidden: u32,
    /// Where all layers have experts, nothing is of that width, and it may be missing.
    pub ffn: Option<u32>,
    pub experts: Option<Experts>,
    /// The layers without attention, and which they are.
    pub hybrid: Option<Hybrid>,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub vocab: u32,
    pub context: u32,
    pub eps: f32,
    pub rope_theta: f32,
    pub scaling: RopeScaling,
    /// Of first-generation Qwen.
    pub long: Option<LongContext>,
    /// Where it is the text part of a vision model.
    pub vision: Option<Vision>,
    /// False where every token sees all others.
    pub causal: bool,
    /// What its states are for, where it is not for answers. Known when more than config.json has been read.
    pub pooling: Option<Pooling>,
    /// Of a reranker, the tokens of its labels.
    pub labels: Option<[u32; 2]>,
    /// Saved without an output matrix.
    pub headless: bool,
    pub tied: bool,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
    pub pad: Option<u32>,
    /// Of FP8 weights: the tile `[rows, columns]` that has a scale.
    pub fp8_tile: Option<[u64; 2]>,
    /// What the checkpoint was loaded from when it was saved: `OWNER/NAME`, or a path on another machine.
    pub name_or_path: Option<String>,
    /// Settings that are ignored on purpose, in words.
    pub notes: Vec<String>,
}

impl Config {
    pub(crate) fn read(dir: &Path) -> Result<Config> {
        let Some(c) = Object::read(dir, FILE)? else {
            return invalid(format!("there is no {FILE} in {}", dir.display()));
        };
        let class = match c.need("architectures", c.array("architectures"))?.first() {
            Some(serde_json::Value::String(class)) => class.clone(),
            _ => return invalid(format!("{FILE}: architectures must name a class")),
        };
        let arch = Arch::from_class(&class)?;
        if arch == Arch::Qwen {
            let fp8_tile = fp8_tile(&c)?;
            return Ok(Config { fp8_tile, ..qwen::config(&c)? });
        }
        let c = part(c, "thinker_config")?;
        let tied = tied(&c, arch)?;
        let c = part(c, "text_config")?;
        refuse_what_we_cannot_keep(&c, arch)?;
        let fp8_tile = fp8_tile(&c)?;

        let size = |key: &str, max: usize| c.size(key, max);
        let hidden = size("hidden_size", limits::MAX_EMBEDDING)?;
        let heads = size("num_attention_heads", limits::MAX_HEADS)?;
        let kv_heads = match c.u64("num_key_value_heads")? {
            Some(n) => ranged(&c, "num_key_value_heads", n, limits::MAX_HEADS)?,
            None => heads,
        };
        if heads % kv_heads != 0 {
            return invalid(format!(
                "{FILE}: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
            ));
        }
        let head_dim = match (c.u64("head_dim")?, arch) {
            (Some(n), _) => ranged(&c, "head_dim", n, limits::MAX_HEAD_DIM)?,
            // transformers' own default, which released files rely on.
            (None, Arch::Qwen3 | Arch::Qwen3Vl) => 128,
            (None, _) if arch.is_hybrid() => 256,
            (None, _) if hidden % heads == 0 => ranged(
                &c,
                "hidden_size / num_attention_heads",
                u64::from(hidden / heads),
                limits::MAX_HEAD_DIM,
            )?,
            (None, _) => {
                return invalid(format!(
                    "{FILE}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
                ));
            }
        };
        if head_dim % 2 != 0 {
            return invalid(format!("{FILE}: head_dim {head_dim} is odd, rotary embedding needs pairs"));
        }
        let context = size("max_position_embeddings", limits::MAX_CONTEXT)?;
        let mut notes = Vec::new();
        let experts = match arch.has_experts() {
            true => Some(experts(&c, arch, &mut notes)?),
            false => None,
        };
        let layers = size("num_hidden_layers", limits::MAX_LAYERS)?;
        let hybrid = match arch.is_hybrid() {
            true => Some(Hybrid::read(&c, arch, layers, head_dim)?),
            false => None,
        };
        let ffn = match c.u64("intermediate_size")? {
            None if arch.is_hybrid() && arch.has_experts() => None,
            _ => Some(size("intermediate_size", limits::MAX_FFN)?),
        };
        let (rope_theta, scaling) = rope(&c, arch, context, &mut notes)?;
        let vision = arch.of_vision_model().then(|| vision(&c, head_dim, layers)).transpose()?;
        if c.bool("use_sliding_window")? == Some(true) {
            notes.push("use_sliding_window is ignored: GGUF has no key for it in this architecture".into());
        }
        if c.get("dual_chunk_attention_config").is_some() {
            notes.push("dual_chunk_attention_config is ignored: the model runs with plain attention".into());
        }
        // What is left out is as in transformers.
        let eps = c.f32("rms_norm_eps")?.unwrap_or(if arch == Arch::Qwen2Vl { 1e-5 } else { 1e-6 });
        if !(eps > 0.0 && eps < 1.0) {
            return invalid(format!("{FILE}: rms_norm_eps {eps} is not between 0 and 1"));
        }
        Ok(Config {
            arch,
            layers,
            hidden,
            ffn,
            experts,
            hybrid,
            heads,
            kv_heads,
            head_dim,
            vocab: size("vocab_size", limits::MAX_VOCAB)?,
            context,
            eps,
            rope_theta,
            scaling,
            long: None,
            vision,
            causal: c.bool("is_causal")?.unwrap_or(true),
            pooling: None,
            labels: None,
            headless: class.ends_with("Model") && !arch.of_vision_model(),
            tied,
            bos: token_ids(&c, "bos_token_id")?.first().copied(),
            eos: token_ids(&c, "eos_token_id")?,
            pad: token_ids(&c, "pad_token_id")?.first().copied(),
            fp8_tile,
            name_or_path: c.str("_name_or_path")?.map(str::to_string),
            notes,
        })
    }
}

/// The settings of one part of a model, where it has an object for it, over those of all.
fn part(c: Object, key: &str) -> Result<Object> {
    Ok(match c.object(key)? {
        Some(part) => c.under(part),
        None => c,
    })
}

/// Whether embeddings and output are one matrix. Of a model with several parts the outermost setting counts, as it does
/// for transformers; Qwen2-VL was saved with it in the text part as well.
fn tied(c: &Object, arch: Arch) -> Result<bool> {
    const KEY: &str = "tie_word_embeddings";
    let of_text = match c.object("text_config")? {
        Some(text) => text.bool(KEY)?,
        None => None,
    };
    let outer = c.bool(KEY)?;
    Ok(match arch {
        Arch::Qwen2Vl => outer == Some(true) || of_text == Some(true),
        _ => outer.or(of_text).unwrap_or(false),
    })
}

/// What config.json says about positions and images, which must fit the heads and layers of the text part.
fn vision(c: &Object, head_dim: u32, layers: u32) -> Result<Vision> {
    let (key, pairs) = ("mrope_section", head_dim / 2);
    let rope = match c.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => c.object("rope_scaling")?,
    };
    let Some(rope) = rope else {
        return invalid(format!("{}: there is no rope_parameters or rope_scaling with {key}", c.place));
    };
    let given = rope.need(key, rope.array(key))?;
    let numbers: Option<Vec<i32>> =
        given.iter().map(|n| n.as_u64().and_then(|n| i32::try_from(n).ok())).collect();
    let Some(&[time, height, width]) = numbers.as_deref() else {
        return invalid(format!("{}: {key} must be three whole numbers", rope.place));
    };
    let sum = i64::from(time) + i64::from(height) + i64::from(width);
    if sum != i64::from(pairs) {
        return invalid(format!("{}: {key} adds up to {sum}, but a head has {pairs} pairs", rope.place));
    }
    let vision = c.object("vision_config")?;
    let deepstack = match &vision {
        Some(vision) => vision.array("deepstack_visual_indexes")?.map(Vec::len),
        None => None,
    };
    let deepstack = deepstack.map(|n| match u32::try_from(n) {
        Ok(n) if n <= layers => Ok(n),
        _ => invalid(format!("{FILE}: deepstack_visual_indexes has {n} entries for {layers} layers")),
    });
    Ok(Vision { sections: [time, height, width, 0], deepstack: deepstack.transpose()? })
}

/// The tile of FP8 weights; other weights that are quantized already do not convert.
fn fp8_tile(c: &Object) -> Result<Option<[u64; 2]>> {
    let Some(quantization) = c.object("quantization_config")? else { return Ok(None) };
    match fp8::tile(&quantization)? {
        Some(tile) => Ok(Some(tile)),
        None => {
            let method = quantization.str("quant_method")?.unwrap_or("unknown");
            invalid(format!(
                "{FILE}: the checkpoint is already quantized ({}); convert the original one",
                quote(method)
            ))
        }
    }
}

/// Settings whose silent loss would give a model that answers differently.
fn refuse_what_we_cannot_keep(c: &Object, arch: Arch) -> Result<()> {
    if let Some(act) = c.str("hidden_act")?
        && act != "silu"
    {
        return invalid(format!("{FILE}: hidden_act must be \"silu\", found {}", quote(act)));
    }
    if !arch.has_biases() && c.bool("attention_bias")? == Some(true) {
        return invalid(format!("{FILE}: attention_bias is true, but {} has no biases in GGUF", arch.name()));
    }
    if arch == Arch::Qwen2Moe && c.bool("qkv_bias")? == Some(false) {
        return invalid(format!("{FILE}: qkv_bias is false, but qwen2moe has biases in GGUF"));
    }
    if arch.is_hybrid() && c.bool("attn_output_gate")? == Some(false) {
        return invalid(format!(
            "{FILE}: attn_output_gate is false, but attention of {} has a gate in GGUF",
            arch.name()
        ));
    }
    Ok(())
}

/// The experts, which must be in every layer.
fn experts(c: &Object, arch: Arch, notes: &mut Vec<String>) -> Result<Experts> {
    if let Some(step) = c.u64("decoder_sparse_step")?
        && step != 1
    {
        return invalid(format!("{FILE}: decoder_sparse_step must be 1, found {step}"));
    }
    if let Some(layer) = c.array("mlp_only_layers")?.into_iter().flatten().next() {
        return invalid(format!("{FILE}: mlp_only_layers must be empty, found {layer}"));
    }
    let size = |key: &str, max: usize| c.size(key, max);
    // transformers 5 has the second name for some classes.
    let count = match c.u64("num_local_experts")? {
        Some(_) => size("num_local_experts", limits::MAX_EXPERTS)?,
        None => size("num_experts", limits::MAX_EXPERTS)?,
    };
    let used = size("num_experts_per_tok", limits::MAX_EXPERTS)?;
    if used > count {
        return invalid(format!("{FILE}: num_experts_per_tok {used} is more than num_experts {count}"));
    }
    let shared_ffn = match arch.has_shared_expert() {
        true => Some(size("shared_expert_intermediate_size", limits::MAX_FFN)?),
        false => None,
    };
    // False is what transformers takes where config.json is silent, but for the hybrids; the experts of Qwen3-VL know one
    // way only.
    let found = arch == Arch::Qwen3VlMoe || c.bool("norm_topk_prob")?.unwrap_or(arch.is_hybrid());
    if arch.is_hybrid() && !found {
        return invalid(format!(
            "{FILE}: norm_topk_prob is false, but the weights of {}'s experts always add up to 1",
            arch.name()
        ));
    }
    let normalise = (found == (arch == Arch::Qwen2Moe)).then_some(found);
    if normalise.is_some() {
        notes.push(format!(
            "norm_topk_prob is {found}, which is unusual: other programs may not know the key {}.expert_weights_norm",
            arch.name()
        ));
    }
    let ffn = size("moe_intermediate_size", limits::MAX_FFN)?;
    Ok(Experts { count, used, ffn, shared_ffn, normalise, packing: Packing::Apart })
}

impl Object {
    /// A number of `1..=max` that must be there.
    pub(crate) fn size(&self, key: &str, max: usize) -> Result<u32> {
        ranged(self, key, self.need(key, self.u64(key))?, max)
    }
}

pub(crate) fn ranged(c: &Object, key: &str, n: u64, max: usize) -> Result<u32> {
    match u32::try_from(n) {
        Ok(n) if (1..=max).contains(&(n as usize)) => Ok(n),
        _ => invalid(format!("{}: {key} must be between 1 and {max}, found {n}", c.place)),
    }
}

pub(crate) fn within(c: &Object, key: &str, x: f32, range: RangeInclusive<f32>) -> Result<f32> {
    if range.contains(&x) {
        return Ok(x);
    }
    invalid(format!("{}: {key} must be between {} and {}, found {x}", c.place, range.start(), range.end()))
}

/// One id or a list of them; absent is empty.
pub(crate) fn token_ids(c: &Object, key: &str) -> Result<Vec<u32>> {
    let Some(value) = c.get(key) else { return Ok(Vec::new()) };
    let one = std::slice::from_ref(value);
    let list = value.as_array().map_or(one, Vec::as_slice);
    list.iter()
        .map(|v| match v.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(id) => Ok(id),
            None => invalid(format!("{}: {key} must be token ids, found {}", c.place, kind(v))),
        })
        .collect()
}

/// The base and the scaling of rotary embedding, in the spelling of transformers 5 (`rope_parameters`) or the older
/// one (`rope_theta` and `rope_scaling`).
fn rope(c: &Object, arch: Arch, context: u32, notes: &mut Vec<String>) -> Result<(f32, RopeScaling)> {
    let parameters = c.object("rope_parameters")?;
    let scaling = c.object("rope_scaling")?;
    let theta = match &parameters {
        Some(p) => p.f32("rope_theta")?,
        None => None,
    };
    let theta = match theta {
        Some(theta) => theta,
        None => c.f32("rope_theta")?.unwrap_or_else(|| {
            let usual = match arch {
                Arch::Qwen2Vl => 1e6,
                Arch::Qwen3Vl | Arch::Qwen3VlMoe => 5e5,
                _ => 1e4,
            };
            notes.push(format!("config.json has no rope_theta: {usual} is used"));
            usual
        }),
    };
    within(c, "rope_theta", theta, limits::ROPE_BASE)?;
    let Some(s) = parameters.or(scaling) else { return Ok((theta, RopeScaling::None)) };
    let name = match s.str("rope_type")? {
        Some(name) => name,
        None => s.str("type")?.unwrap_or("default"),
    };
    let factor = || -> Result<f32> {
        within(&s, "factor", s.need("factor", s.f32("factor"))?, 1.0..=*limits::ROPE_FACTOR.end())
    };
    let scaling = match name {
        "default" | "mrope" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: factor()? },
        "yarn" => {
            for key in ["attention_factor", "mscale", "mscale_all_dim"] {
                if s.get(key).is_some() {
                    return invalid(format!("{}: {key} is not supported", s.place));
                }
            }
            if s.bool("truncate")? == Some(false) {
                return invalid(format!("{}: truncate = false is not supported", s.place));
            }
            let key = "original_max_position_embeddings";
            let original_context = match s.u64(key)? {
                Some(n) => ranged(&s, key, n, limits::MAX_CONTEXT)?,
                None => context,
            };
            let beta = |key: &str| match s.f32(key)? {
                Some(beta) => within(&s, key, beta, limits::YARN_BETA).map(Some),
                None => Ok(None),
            };
            RopeScaling::Yarn {
                factor: factor()?,
                original_context,
                beta_fast: beta("beta_fast")?,
                beta_slow: beta("beta_slow")?,
            }
        }
        other => {
            return invalid(format!(
                "{}: rope type {} is not supported (known: default, linear, yarn)",
                s.place,
                quote(other)
            ));
        }
    };
    Ok((theta, scaling))
}
