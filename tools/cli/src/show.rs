//! `qwip show`: what is in a model file, also in one that we cannot run.

use std::fmt::Write as _;

use anyhow::Context;
use qwip::model::{Config, ExpertSizes};
use qwip::quant::gguf::{Array, Gguf, TensorInfo, Value, ValueType};
use qwip::quant::pooling::Pooling;
use qwip::{CacheTypes, Estimate, KvType, Model, ModelFile, OpenOptions};
use serde_json::{Map, json};

use crate::args::{ComputeArgs, ShowArgs};
use crate::fit::Fit;
use crate::output::{bytes, count, line};
use crate::{machine, model_arg, output, synthetic};

/// So much of a text value or an array is shown.
const LONGEST_TEXT: usize = 200;
const MOST_ELEMENTS: usize = 5;

pub(crate) fn run(args: &ShowArgs) -> anyhow::Result<()> {
    if let Some(description) = &args.synthetic {
        if args.model.model.is_some() || args.model.positional.is_some() {
            return Err(output::usage("give a MODEL or --synthetic, not both"));
        }
        let (header, len) = synthetic::header(description)?;
        let sizes = Sizes::of_header(&header, &args.compute)?;
        let tensors: Vec<&TensorInfo> = header.tensors.iter().collect();
        let summary = Summary::of(&format!("synthetic {description}"), &header, &tensors, len, Ok(sizes));
        return if args.json { line(json_of(&summary)) } else { print_summary(&summary) };
    }
    let name = model_arg::choose(&args.model)?;
    let file = model_arg::open_file(&name, OpenOptions::default())?;
    let sizes = match Model::load(file.clone()) {
        Ok(model) => Ok(Sizes::of(&model, &args.compute)?),
        Err(problem) => Err(output::one_line(&problem.into())),
    };
    let tensors: Vec<&TensorInfo> = file.tensors().map(|t| t.info).collect();
    let summary = Summary::of(&name.display().to_string(), file.header(), &tensors, file.len(), sizes);
    if args.json {
        let mut object = json_of(&summary);
        add_details(&mut object, &file, args);
        return line(object);
    }
    print_summary(&summary)?;
    if args.all {
        line("")?;
        line("Metadata")?;
        for (key, value) in &file.header().metadata {
            line(format_args!("  {key} = {}", shown(value, &file)))?;
        }
    }
    if args.tensors {
        line("")?;
        line("Tensors")?;
        for tensor in file.tensors() {
            let dims: Vec<String> = tensor.info.dims.iter().map(u64::to_string).collect();
            line(format_args!(
                "  {:<40} {:<8} [{}]  {}",
                tensor.info.name,
                tensor.info.ty.name(),
                dims.join(", "),
                bytes(tensor.info.len)
            ))?;
        }
    }
    Ok(())
}

struct Summary {
    name: String,
    title: Option<String>,
    architecture: String,
    file_bytes: u64,
    parameters: u64,
    tensors: usize,
    types: Vec<(&'static str, usize, u64)>,
    tokenizer: Option<String>,
    template: bool,
    license: Option<String>,
    /// Of a model, or why it does not run.
    sizes: Result<Sizes, String>,
}

/// What a model that runs takes.
pub(crate) struct Sizes {
    config: Config,
    /// Bytes of keys and values of one position in f16, q8_0 and f32.
    cache: [u64; 3],
    pooling: Option<Pooling>,
    pub(crate) estimate: Estimate,
}

/// The types that caches are shown in.
const CACHES: [KvType; 3] = [KvType::F16, KvType::Q8_0, KvType::F32];

impl Sizes {
    fn of(model: &Model, args: &ComputeArgs) -> anyhow::Result<Sizes> {
        let config = model.config().clone();
        let threads = threads(args)?;
        let options = Fit::of(model, args, machine::memory(), threads)?.options;
        let cache = CACHES.map(|ty| CacheTypes::for_model(model, ty, ty).bytes_per_token(&config));
        let estimate = Estimate::of_session(model, &options, threads)?;
        Ok(Sizes { config, cache, pooling: model.pooling(), estimate })
    }

    /// Of a model whose file does not exist.
    pub(crate) fn of_header(header: &Gguf, args: &ComputeArgs) -> anyhow::Result<Sizes> {
        let arch = header.str("general.architecture")?.context("no architecture")?;
        let embedding = header.tensor("token_embd.weight").context("no embedding")?;
        let config = Config::read(header, &[], arch, usize::try_from(embedding.rows())?)?;
        let types = |k, v| CacheTypes { k: vec![k; config.attention_layers()], v };
        let cache = CACHES.map(|ty| types(ty, ty).bytes_per_token(&config));
        let (stored, threads) = (types(args.cache_type_k, args.cache_type_v), threads(args)?);
        let of = |options: &_| Estimate::new(&config, &header.tensors, &stored, options, threads);
        let estimate = of(&Fit::new(&config, args, machine::memory(), &of)?.options)?;
        Ok(Sizes { config, cache, pooling: None, estimate })
    }
}

/// The threads that would compute.
fn threads(args: &ComputeArgs) -> anyhow::Result<usize> {
    Ok(if args.threads > 0 { args.threads } else { qwip::cpu(0)?.pool.threads() })
}

impl Summary {
    fn of(
        name: &str,
        header: &Gguf,
        infos: &[&TensorInfo],
        len: u64,
        sizes: Result<Sizes, String>,
    ) -> Summary {
        let text = |key: &str| header.str(key).ok().flatten().map(str::to_string);
        let tokens = header.array("tokenizer.ggml.tokens").ok().flatten();
        let tokenizer = tokens.map(|tokens| {
            let kind = text("tokenizer.ggml.model").unwrap_or_default();
            let pre = text("tokenizer.ggml.pre").unwrap_or_default();
            format!("{kind} ({pre}), {} tokens", tokens.len)
        });
        let elements = |dims: &[u64]| dims.iter().fold(1u64, |product, &d| product.saturating_mul(d));
        let mut types: Vec<(&str, usize, u64)> = Vec::new();
        for t in infos {
            match types.iter_mut().find(|(name, ..)| *name == t.ty.name()) {
                Some((_, count, bytes)) => (*count, *bytes) = (*count + 1, *bytes + t.len),
                None => types.push((t.ty.name(), 1, t.len)),
            }
        }
        types.sort_by_key(|&(name, _, bytes)| (std::cmp::Reverse(bytes), name));
        Summary {
            name: name.into(),
            title: text("general.name"),
            architecture: text("general.architecture").unwrap_or_else(|| "not given".into()),
            file_bytes: len,
            parameters: infos.iter().map(|t| elements(&t.dims)).fold(0, u64::saturating_add),
            tensors: infos.len(),
            types,
            tokenizer,
            template: text("tokenizer.chat_template").is_some(),
            license: text("general.license"),
            sizes,
        }
    }
}

/// The widths of the state and of the feed-forward part.
fn widths(c: &Config) -> String {
    match c.experts {
        None => format!("{}, feed-forward {}", c.embedding, c.ffn),
        Some(ExpertSizes { count, ffn, routing }) => {
            let shared = if c.ffn > 0 { format!(", one of {} for all", c.ffn) } else { String::new() };
            format!("{}, {} of {count} experts of {ffn} for a token{shared}", c.embedding, routing.used)
        }
    }
}

fn print_summary(s: &Summary) -> anyhow::Result<()> {
    let row = |what: &str, value: &str| line(format_args!("{what:<14} {value}"));
    row("file", &format!("{}, {}", s.name, bytes(s.file_bytes)))?;
    if let Some(title) = &s.title {
        row("name", title)?;
    }
    row("architecture", &s.architecture)?;
    row("parameters", &format!("{} in {} tensors", count(s.parameters), s.tensors))?;
    match &s.sizes {
        Ok(Sizes { config: c, cache, pooling, estimate: e }) => {
            row("layers", &c.layers.to_string())?;
            row("width", &widths(c))?;
            row("heads", &format!("{} of {}, key/value heads {}", c.heads, c.head_dim, c.kv_heads))?;
            row("vocabulary", &c.vocab.to_string())?;
            row("context", &format!("{} tokens", c.context))?;
            let types: Vec<String> =
                CACHES.iter().zip(cache).map(|(ty, n)| format!("{} {}", bytes(*n), ty.name())).collect();
            row("cache", &format!("{} for a token", types.join(", ")))?;
            row(
                "memory",
                &format!(
                    "{} with {} tokens of context: weights {}, cache {}, intermediate results {}",
                    bytes(e.total()),
                    e.context,
                    bytes(e.weights),
                    bytes(e.cache + e.recurrent),
                    bytes(e.buffers + e.vectors)
                ),
            )?;
            row("reads", &format!("{} of weights for a new token", bytes(e.weights_per_token)))?;
            if let Some(pooling) = pooling {
                row("pooling", pooling.name())?;
            }
        }
        Err(problem) => row("does not run", problem)?,
    }
    row("tokenizer", s.tokenizer.as_deref().unwrap_or("none"))?;
    row("chat template", if s.template { "yes" } else { "no" })?;
    if let Some(license) = &s.license {
        row("license", license)?;
    }
    let total: u64 = s.types.iter().map(|t| t.2).sum();
    for (i, (name, tensors, size)) in s.types.iter().enumerate() {
        let share = 100.0 * *size as f64 / total.max(1) as f64;
        let text = format!("{name:<7} {:>9} {share:5.1} %  {tensors} tensors", bytes(*size));
        row(if i == 0 { "types" } else { "" }, &text)?;
    }
    Ok(())
}

fn json_of(s: &Summary) -> serde_json::Value {
    let types: Map<_, _> = s
        .types
        .iter()
        .map(|(name, tensors, bytes)| (name.to_string(), json!({"tensors": tensors, "bytes": bytes})))
        .collect();
    let mut object = json!({
        "file": s.name, "name": s.title, "bytes": s.file_bytes, "architecture": s.architecture,
        "parameters": s.parameters, "tensor_count": s.tensors, "types": types,
        "tokenizer": s.tokenizer, "chat_template": s.template, "license": s.license,
        "runs": s.sizes.is_ok(), "problem": s.sizes.as_ref().err(),
    });
    if let Ok(Sizes { config: c, cache: [f16, q8_0, f32], pooling, estimate: e }) = &s.sizes {
        object["layers"] = c.layers.into();
        object["embedding"] = c.embedding.into();
        object["ffn"] = c.ffn.into();
        object["experts"] =
            c.experts.map(|e| json!({"count": e.count, "used": e.routing.used, "ffn": e.ffn})).into();
        object["heads"] = c.heads.into();
        object["kv_heads"] = c.kv_heads.into();
        object["head_dim"] = c.head_dim.into();
        object["vocab"] = c.vocab.into();
        object["context"] = c.context.into();
        object["pooling"] = pooling.map(Pooling::name).into();
        object["kv_bytes_per_token"] = json!({"f16": f16, "q8_0": q8_0, "f32": f32});
        object["memory"] = json!({
            "context": e.context, "weights": e.weights, "looked_up": e.looked_up,
            "weights_per_token": e.weights_per_token, "vectors": e.vectors, "cache": e.cache,
            "recurrent": e.recurrent, "buffers": e.buffers, "dirty": e.dirty(), "total": e.total(),
        });
    }
    object
}

/// What `--all` and `--tensors` ask for.
fn add_details(object: &mut serde_json::Value, file: &ModelFile, args: &ShowArgs) {
    if args.all {
        let metadata =
            file.header().metadata.iter().map(|(key, value)| (key.clone(), json_value(value, file)));
        object["metadata"] = metadata.collect::<Map<_, _>>().into();
    }
    if args.tensors {
        let tensors = file.tensors().map(|t| {
            json!({"name": t.info.name, "type": t.info.ty.name(), "dims": t.info.dims, "bytes": t.info.len})
        });
        object["tensors"] = tensors.collect();
    }
}

/// The first elements of an array, as JSON.
fn first_elements(array: &Array, file: &ModelFile) -> Vec<serde_json::Value> {
    let file: &[u8] = (*file.parts()[0].bytes).as_ref();
    let elements: Result<Vec<serde_json::Value>, _> = match array.elem {
        ValueType::Str => array.strings(file).map(|strings| {
            strings.take(MOST_ELEMENTS).map(|s| String::from_utf8_lossy(s).into_owned().into()).collect()
        }),
        ValueType::F32 | ValueType::F64 => {
            array.f32s(file).map(|floats| floats.take(MOST_ELEMENTS).map(|f| json!(f)).collect())
        }
        _ => array.i64s(file).map(|numbers| numbers.take(MOST_ELEMENTS).map(Into::into).collect()),
    };
    elements.unwrap_or_default()
}

fn json_value(value: &Value, file: &ModelFile) -> serde_json::Value {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => json!(v),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::Str(v) => json!(v),
        Value::Array(array) => {
            json!({"elements": array.elem.name(), "length": array.len, "first": first_elements(array, file)})
        }
    }
}

/// A value on one line, shortened.
fn shown(value: &Value, file: &ModelFile) -> String {
    match value {
        Value::Str(text) => {
            let mut quoted: String = text.chars().take(LONGEST_TEXT).flat_map(char::escape_debug).collect();
            if text.chars().nth(LONGEST_TEXT).is_some() {
                let _ = write!(quoted, "... ({} bytes)", text.len());
            }
            format!("\"{quoted}\"")
        }
        Value::Array(array) => {
            let mut elements: Vec<String> =
                first_elements(array, file).iter().map(ToString::to_string).collect();
            if array.len > elements.len() {
                elements.push("...".into());
            }
            format!("{}[{}] [{}]", array.elem.name(), array.len, elements.join(", "))
        }
        other => json_value(other, file).to_string(),
    }
}
