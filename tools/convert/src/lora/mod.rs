//! A PEFT adapter (LoRA), merged into the weights on their way from the checkpoint.
//!
//! A matrix `W` becomes `W + s·B·A` with `s = alpha / r`, or `alpha / sqrt(r)` for rsLoRA (Hu et al. 2021, arXiv
//! 2106.09685; Kalajdzievski 2023, arXiv 2312.03732). DoRA then gives every row the length that was learned for it (Liu
//! et al. 2024, arXiv 2402.09353).

mod patch;
mod scaling;

use crate::checkpoint::{Checkpoint, Stored};
use crate::error::{Result, invalid};
use crate::json::{Object, quote};
use crate::names::{EMBEDDING, Expected, HEAD, canonical};
use crate::{sentencepiece, tiktoken};
pub(crate) use patch::Patch;
use scaling::Scaling;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Settings of adapters that change more than `W` by `B·A`.
const DOES_NOT_MERGE: [&str; 10] = [
    "use_qalora",
    "layer_replication",
    "target_parameters",
    "alora_invocation_tokens",
    "megatron_config",
    "velora_config",
    "monteclora_config",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
];

/// An adapter whose files have been read and understood, but for its weights.
pub(crate) struct Adapter {
    dir: PathBuf,
    checkpoint: Checkpoint,
    scaling: Scaling,
    /// Embeddings and output were trained as one matrix.
    tied: bool,
    /// By the name of the matrix that they change.
    changes: BTreeMap<String, Parts>,
    /// Tensors that take the place of the checkpoint's: their names there, and in the adapter.
    replaced: BTreeMap<String, String>,
}

/// The names, in the adapter's file, of what changes a matrix.
#[derive(Default)]
struct Parts {
    /// The module that the matrix belongs to, as the adapter calls it.
    module: String,
    /// `[r, cols]`; of embeddings `[r, rows]`
    a: Option<String>,
    /// `[rows, r]`; of embeddings `[cols, r]`
    b: Option<String>,
    /// The factors were made for a lookup, and are the other way round.
    of_embedding: bool,
    /// `[rows]`, added to the bias.
    bias: Option<String>,
    /// `[rows]`
    magnitude: Option<String>,
    /// `[tokens, cols]`: rows that were trained one by one, and which they are.
    rows: Option<(String, Vec<u64>)>,
}

/// What a tensor's name says that it is.
#[derive(Clone, Copy)]
enum Kind {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Bias,
    Magnitude,
    Rows,
}

const KINDS: [(&str, Kind); 8] = [
    (".lora_A.weight", Kind::A),
    (".lora_B.weight", Kind::B),
    (".lora_embedding_A", Kind::EmbeddingA),
    (".lora_embedding_B", Kind::EmbeddingB),
    (".lora_B.bias", Kind::Bias),
    (".lora_magnitude_vector", Kind::Magnitude),
    (".lora_magnitude_vector.weight", Kind::Magnitude),
    (".trainable_tokens_delta", Kind::Rows),
];

impl Adapter {
    /// Reads the adapter in `dir`, to be merged with its strength times `scale`.
    pub(crate) fn open(dir: &Path, scale: f32) -> Result<Adapter> {
        let Some(config) = Object::read(dir, CONFIG)? else {
            return invalid(format!("there is no {CONFIG} in {}: it is no LoRA adapter", dir.display()));
        };
        refuse_what_does_not_merge(&config)?;
        if !dir.join(WEIGHTS).is_file() {
            let other = match dir.join("adapter_model.bin").exists() {
                true => "; adapter_model.bin does not convert: load and save it with PEFT",
                false => "",
            };
            return invalid(format!("there is no {WEIGHTS} in {}{other}", dir.display()));
        }
        let mut adapter = Adapter {
            dir: dir.to_path_buf(),
            checkpoint: Checkpoint::of_file(dir, WEIGHTS)?,
            scaling: Scaling::read(&config, scale)?,
            tied: config.bool("ensure_weight_tying")? == Some(true),
            changes: BTreeMap::new(),
            replaced: BTreeMap::new(),
        };
        let names: Vec<String> = adapter.checkpoint.tensors.keys().cloned().collect();
        for name in names {
            adapter.sort_in(name, &config)?;
        }
        adapter.refuse_what_is_incomplete(&config)?;
        Ok(adapter)
    }

    /// What the settings promise must be in the file, or the model would answer as it was not trained to.
    fn refuse_what_is_incomplete(&self, config: &Object) -> Result<()> {
        if self.changes.is_empty() && self.replaced.is_empty() {
            return invalid(format!("{WEIGHTS} holds nothing that changes a model"));
        }
        if config.bool("use_dora")? == Some(true) {
            let plain = |parts: &Parts| parts.a.is_some() && parts.magnitude.is_none();
            if let Some((name, _)) = self.changes.iter().find(|(_, parts)| plain(parts)) {
                return invalid(format!(
                    "{CONFIG}: use_dora is set, but {WEIGHTS} has no magnitudes for {name}"
                ));
            }
        }
        let modules = config.array("modules_to_save")?.map_or(&[][..], Vec::as_slice);
        for module in modules.iter().filter_map(Value::as_str) {
            let of_module =
                |name: &String| name.rsplit_once('.').is_some_and(|(stem, _)| is_end(module, stem));
            if !self.replaced.keys().any(of_module) {
                let module = quote(module);
                return invalid(format!(
                    "{CONFIG}: modules_to_save names {module}, which is not in {WEIGHTS}"
                ));
            }
        }
        let rows = self.changes.values().any(|parts| parts.rows.is_some());
        if config.get("trainable_token_indices").is_some() && !rows {
            return invalid(format!(
                "{CONFIG}: trainable_token_indices is set, but {WEIGHTS} has no such rows"
            ));
        }
        Ok(())
    }

    /// Finds out what a tensor of the adapter is for.
    fn sort_in(&mut self, name: String, config: &Object) -> Result<()> {
        // Wrappers of modules and the adapter's own name leave their traces in names.
        const WRAPPERS: [&str; 4] = ["default", "base_layer", "modules_to_save", "token_adapter"];
        let bare = name.strip_prefix("base_model.model.").unwrap_or(&name);
        let parts: Vec<&str> = bare.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
        let bare = parts.join(".");
        let found = KINDS.iter().find_map(|(end, kind)| Some((bare.strip_suffix(end)?, *kind)));
        let Some((module, kind)) = found else {
            if bare.contains("lora_") {
                return invalid(format!("{WEIGHTS}: {} is of an unknown kind", quote(&name)));
            }
            let bare = canonical(&bare);
            if let Some(other) = self.replaced.get(&bare) {
                return invalid(format!("{WEIGHTS} holds both {} and {}", quote(other), quote(&name)));
            }
            self.replaced.insert(bare, name);
            return Ok(());
        };
        let rows = match kind {
            Kind::Rows => Some(trained_tokens(config, module)?),
            _ => None,
        };
        let all = self.changes.entry(canonical(&format!("{module}.weight"))).or_default();
        all.module = module.to_string();
        let slot = match kind {
            Kind::A | Kind::EmbeddingA => &mut all.a,
            Kind::B | Kind::EmbeddingB => &mut all.b,
            Kind::Bias => &mut all.bias,
            Kind::Magnitude => &mut all.magnitude,
            Kind::Rows => {
                if let Some((other, _)) = &all.rows {
                    return invalid(format!("{WEIGHTS} holds both {} and {}", quote(other), quote(&name)));
                }
                all.rows = rows.map(|rows| (name, rows));
                return Ok(());
            }
        };
        all.of_embedding |= matches!(kind, Kind::EmbeddingA | Kind::EmbeddingB);
        match slot.replace(name) {
            None => Ok(()),
            Some(other) => invalid(format!("{WEIGHTS} holds {} in two ways", quote(&other))),
        }
    }

    /// The tensor that takes the place of the checkpoint's, if there is one.
    pub(crate) fn replacement(&self, source: &str) -> Option<(&Checkpoint, &Stored)> {
        let name = self.replaced.get(source)?;
        Some((&self.checkpoint, &self.checkpoint.tensors[name]))
    }

    /// The rows that the embeddings have with this adapter, if it brings its own.
    pub(crate) fn vocabulary(&self) -> Option<u64> {
        self.replacement(EMBEDDING).and_then(|(_, t)| t.shape.first().copied())
    }

    /// Whether embeddings and output of a model with tied ones are still one matrix; `rows` has the checkpoint's.
    pub(crate) fn stays_tied(&self, rows: u64) -> Result<bool> {
        let lora = |name: &str| self.changes.get(name).is_some_and(|parts| parts.a.is_some());
        if lora(EMBEDDING) || lora(HEAD) {
            return match self.tied {
                true => {
                    invalid(format!("{CONFIG}: ensure_weight_tying with LoRA on embeddings does not merge"))
                }
                false => Ok(false),
            };
        }
        match (self.replacement(EMBEDDING), self.replacement(HEAD)) {
            (None, None) => Ok(true),
            (None, Some(_)) => Ok(false),
            // A vocabulary of another size is tied again; a trained copy of the embeddings is not.
            (Some((_, own)), None) => Ok(self.tied || own.shape.first() != Some(&rows)),
            (Some((_, own)), Some((_, head))) => self.checkpoint.same(own, head),
        }
    }

    /// The folder with the tokenizer: the adapter's, if it has one, else the checkpoint's.
    pub(crate) fn tokenizer_dir<'a>(&'a self, checkpoint: &'a Path) -> &'a Path {
        let files = ["tokenizer.json", "vocab.json", tiktoken::FILE, sentencepiece::FILE];
        let here = files.iter().any(|file| self.dir.join(file).is_file());
        if here { &self.dir } else { checkpoint }
    }

    /// Checks that everything in the adapter has its place among the tensors of the model, and says what it does.
    pub(crate) fn check(&self, expected: &[Expected], tied: bool) -> Result<String> {
        let places = expected.iter().flat_map(|e| e.sources.iter().map(move |source| (source.as_str(), e)));
        let places: HashMap<&str, &Expected> = places.collect();
        for (name, own) in &self.replaced {
            let known = places.contains_key(name.as_str()) || (tied && name == HEAD);
            if !known {
                return invalid(format!("the adapter's {} has no place in the model", quote(own)));
            }
        }
        for (name, t) in &self.checkpoint.tensors {
            t.format(name)?;
        }
        let mut merged = 0;
        for (name, parts) in &self.changes {
            let Some(e) = places.get(name.as_str()) else {
                return invalid(format!("the adapter changes {}, which is not in the model", quote(name)));
            };
            let &[rows, cols] = e.source_shape.as_slice() else {
                return invalid(format!(
                    "the adapter changes {name} of {:?}, which is no matrix",
                    e.source_shape
                ));
            };
            self.check_parts(name, parts, rows, cols)?;
            if parts.bias.is_some() {
                let bias = format!("{}.bias", module_of(name));
                if !places.contains_key(bias.as_str()) {
                    return invalid(format!("the adapter changes {bias}, which is not in the model"));
                }
            }
            merged += usize::from(parts.a.is_some());
        }
        Ok(format!(
            "merged {}: {merged} matrices changed, {} tensors replaced",
            self.dir.display(),
            self.replaced.len()
        ))
    }

    fn check_parts(&self, name: &str, parts: &Parts, rows: u64, cols: u64) -> Result<()> {
        let shape = |part: &Option<String>| part.as_ref().map(|p| &self.checkpoint.tensors[p].shape[..]);
        let wrong = |what: &str, found: Option<&[u64]>, wanted: &[u64]| {
            let found = found.map_or("is missing".into(), |f| format!("has shape {f:?}"));
            invalid(format!("the adapter's {what} of {name} {found}, and should have {wanted:?}"))
        };
        if parts.a.is_some() || parts.b.is_some() {
            let rank = self.scaling.rank(&parts.module);
            let (a, b) = match parts.of_embedding {
                true => ([rank, rows], [cols, rank]),
                false => ([rank, cols], [rows, rank]),
            };
            if shape(&parts.a) != Some(&a) {
                return wrong("A", shape(&parts.a), &a);
            }
            if shape(&parts.b) != Some(&b) {
                return wrong("B", shape(&parts.b), &b);
            }
        }
        for (what, part) in [("bias", &parts.bias), ("magnitude", &parts.magnitude)] {
            if part.is_some() && shape(part) != Some(&[rows]) {
                return wrong(what, shape(part), &[rows]);
            }
        }
        if parts.magnitude.is_some() && (parts.of_embedding || parts.a.is_none()) {
            return invalid(format!(
                "the adapter's DoRA of {name} is not of a linear layer, and does not merge"
            ));
        }
        if let Some((part, tokens)) = &parts.rows {
            let wanted = [tokens.len() as u64, cols];
            let found = &self.checkpoint.tensors[part].shape[..];
            if found != wanted {
                return wrong("trained tokens", Some(found), &wanted);
            }
            if let Some(token) = tokens.iter().find(|token| **token >= rows) {
                return invalid(format!("the adapter trains the token {token}, but {name} has {rows} rows"));
            }
        }
        Ok(())
    }

    /// What is done to the rows of a tensor of the checkpoint; `None` is nothing. The adapter has passed
    /// [`Adapter::check`].
    pub(crate) fn patch(&self, source: &str) -> Result<Option<Patch>> {
        let mut patch = Patch::default();
        if let Some(module) = source.strip_suffix(".bias") {
            let parts = self.changes.get(&format!("{module}.weight"));
            let Some((bias, parts)) = parts.and_then(|parts| Some((parts.bias.as_ref()?, parts))) else {
                return Ok(None);
            };
            patch.rank = 1;
            patch.a = self.numbers(bias)?;
            patch.b = vec![self.scaling.of(&parts.module)];
            return Ok(Some(patch));
        }
        let Some(parts) = self.changes.get(source) else { return Ok(None) };
        if let (Some(a), Some(b)) = (&parts.a, &parts.b) {
            let shape = &self.checkpoint.tensors[a].shape;
            let (a, b) = (self.numbers(a)?, self.numbers(b)?);
            // Lengths that fit in memory fit a usize.
            let rank = shape[0] as usize;
            (patch.a, patch.b) = match parts.of_embedding {
                true => (transposed(&b, rank), transposed(&a, shape[1] as usize)),
                false => (a, b),
            };
            let scale = self.scaling.of(&parts.module);
            patch.b.iter_mut().for_each(|b| *b *= scale);
            patch.rank = rank;
        }
        patch.lengths = parts.magnitude.as_ref().map(|name| self.numbers(name)).transpose()?;
        if let Some((name, tokens)) = &parts.rows {
            let numbers = self.numbers(name)?;
            let rows = numbers.chunks((numbers.len() / tokens.len().max(1)).max(1)).map(<[f32]>::to_vec);
            patch.rows = tokens.iter().copied().zip(rows).collect();
        }
        Ok(Some(patch))
    }

    fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        self.checkpoint.read_numbers(name, &self.checkpoint.tensors[name])
    }
}

fn module_of(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// `[rows, cols]` of `m`, as `[cols, rows]`.
fn transposed(m: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| m.iter().skip(col).step_by(cols).copied()).collect()
}

/// Whether a module's name is `end`, or ends with it after a dot.
fn is_end(end: &str, module: &str) -> bool {
    module.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The tokens of `trainable_token_indices`: a list, or one for each module.
fn trained_tokens(config: &Object, module: &str) -> Result<Vec<u64>> {
    const KEY: &str = "trainable_token_indices";
    let list = match config.get(KEY) {
        Some(Value::Object(all)) => all.iter().find(|(name, _)| is_end(name, module)).map(|(_, list)| list),
        other => other,
    };
    let tokens = list.and_then(Value::as_array).and_then(|list| list.iter().map(Value::as_u64).collect());
    match tokens {
        Some(tokens) => Ok(tokens),
        None => {
            invalid(format!("{CONFIG}: {KEY} does not say which tokens of {} were trained", quote(module)))
        }
    }
}

/// Settings whose silent loss would give a model that answers differently.
fn refuse_what_does_not_merge(config: &Object) -> Result<()> {
    let ty = config.need("peft_type", config.str("peft_type"))?;
    if ty != "LORA" {
        return invalid(format!("{CONFIG}: adapters of the type {} do not merge (known: LORA)", quote(ty)));
    }
    for key in DOES_NOT_MERGE {
        match config.get(key) {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Array(list)) if list.is_empty() => {}
            Some(_) => return invalid(format!("{CONFIG}: {key} is set, and such an adapter does not merge")),
        }
    }
    // These begin with other weights than the checkpoint's, which only PEFT can compute.
    if let Some(Value::String(init)) = config.get("init_lora_weights")
        && ["pissa", "olora", "corda", "loftq", "lora_ga"]
            .iter()
            .any(|start| init.to_lowercase().starts_with(start))
    {
        return invalid(format!(
            "{CONFIG}: init_lora_weights is {}, which changes the checkpoint as well: save the adapter with PEFT's \
             path_initial_model_for_weight_conversion",
            quote(init)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_factors() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
