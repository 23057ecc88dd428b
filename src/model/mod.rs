//! Models: hyper-parameters, weights and one straight-line forward pass for each architecture.
//!
//! An architecture file speaks only the verbs of [`crate::backend::Backend`]: no unsafe code, no threads, no
//! instruction sets here.

mod config;
mod delta;
mod experts;
mod pooling;
mod qwen;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen35;
mod qwen35moe;
mod qwen3moe;
mod rope;
mod vision;
mod weights;

use std::sync::Arc;

use qwip_cpu::fpenv::IeeeDefaults;

pub use config::Config;
pub use delta::{DeltaNet, Hybrid, RateInputs};
pub use experts::{ExpertSizes, Experts, SharedExpert};
pub use pooling::{Judge, Task};
pub use rope::{Rope, RopeFrequencies, RopeOptions, Scaling, ScalingType, logn};
pub use weights::{ExpertLinear, Linear, Weight};

use qwip_quant::limits;
use qwip_quant::pooling::Pooling;

use crate::backend::{Backend, Batch};
use crate::error::{Error, Result};
use crate::file::ModelFile;
use weights::Loader;

/// The architectures that run, as `general.architecture` spells them.
pub const ARCHITECTURES: &str = "qwen, qwen2, qwen2moe, qwen2vl, qwen3, qwen35, qwen35moe, qwen3moe, qwen3next, qwen3vl, \
                                 qwen3vlmoe";

/// A model: its file, its sizes and where its weights lie.
#[derive(Debug)]
pub struct Model {
    file: Arc<ModelFile>,
    architecture: &'static str,
    config: Config,
    weights: Weights,
    pooling: Option<Pooling>,
    judge: Option<Judge>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Weights {
    Qwen(qwen::Qwen),
    Qwen2(qwen2::Qwen2),
    Qwen2Moe(qwen2moe::Qwen2Moe),
    Qwen3(qwen3::Qwen3),
    Qwen3Moe(qwen3moe::Qwen3Moe),
    Qwen35(qwen35::Qwen35),
    Qwen35Moe(qwen35moe::Qwen35Moe),
}

impl Model {
    /// Finds and checks every tensor of the model in `file`. Reads no weight matrix.
    pub fn load(file: Arc<ModelFile>) -> Result<Model> {
        let _ieee = IeeeDefaults::enter();
        let header = file.header();
        if let Some(found) = header.str("general.type")?
            && found != "model"
        {
            return Err(Error::NotAModel { found: found.into() });
        }
        let arch = header
            .str("general.architecture")?
            .ok_or_else(|| Error::MissingKey { key: "general.architecture".into() })?;
        let Some(architecture) = ARCHITECTURES.split(", ").find(|known| *known == arch) else {
            return Err(Error::UnknownArchitecture { found: arch.into(), known: ARCHITECTURES });
        };
        let loader = Loader::new(&file);
        let vocab = vocabulary_size(&file)?;
        let config = Config::read(header, (*file.parts()[0].bytes).as_ref(), arch, vocab)?;
        if arch.contains("vl") {
            vision::check(&file, arch, &config)?;
        }
        let weights = match arch {
            "qwen" => Weights::Qwen(qwen::Qwen::load(&loader, &config)?),
            // The text parts of the vision models are these: a token of text has the same position in time, height and
            // width, and M-RoPE, which turns some pairs by each, is then plain RoPE.
            "qwen2" | "qwen2vl" => Weights::Qwen2(qwen2::Qwen2::load(&loader, &config)?),
            "qwen3" | "qwen3vl" => Weights::Qwen3(qwen3::Qwen3::load(&loader, &config)?),
            "qwen2moe" => Weights::Qwen2Moe(qwen2moe::Qwen2Moe::load(&loader, arch, &config)?),
            "qwen3moe" | "qwen3vlmoe" => Weights::Qwen3Moe(qwen3moe::Qwen3Moe::load(&loader, arch, &config)?),
            "qwen35" => Weights::Qwen35(qwen35::Qwen35::load(&loader, &config)?),
            _ => Weights::Qwen35Moe(qwen35moe::Qwen35Moe::load(&loader, arch, &config)?),
        };
        let pooling = pooling::read(header, arch)?;
        let judge = Judge::load(&loader, &file, arch, &config)?;
        let mut notes = file.notes().to_vec();
        let (misplaced, ignored): (Vec<&str>, Vec<&str>) =
            loader.unused().into_iter().partition(|name| is_of_text_model(name, &config));
        if let Some(&name) = misplaced.first() {
            return Err(Error::UnexpectedTensor {
                name: name.into(),
                count: misplaced.len(),
                architecture: arch.into(),
                layers: config.layers,
            });
        }
        if let Some(first) = ignored.first() {
            notes.push(format!(
                "{} tensors are not part of the text model and are ignored ('{first}' is the first)",
                ignored.len()
            ));
        }
        Ok(Model { architecture, config, weights, pooling, judge, notes, file })
    }

    /// The file that the weights lie in.
    pub fn file(&self) -> &Arc<ModelFile> {
        &self.file
    }

    /// The sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// How the states of a text's tokens become one vector, if the file says so.
    pub fn pooling(&self) -> Option<Pooling> {
        self.pooling
    }

    /// The rows that judge a document, where the file has them in place of the output projection.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    /// The output projection; the embedding itself where the file ties them, or has none.
    pub fn output(&self) -> &Linear {
        match &self.weights {
            Weights::Qwen(w) => &w.output,
            Weights::Qwen2(w) => &w.output,
            Weights::Qwen2Moe(w) => &w.output,
            Weights::Qwen3(w) => &w.output,
            Weights::Qwen3Moe(w) => &w.output,
            Weights::Qwen35(w) => &w.output,
            Weights::Qwen35Moe(w) => &w.output,
        }
    }

    /// Things worth telling the user that did not stop the model from loading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The largest magnitude of a key bias in each layer with attention; 0 where there are none.
    pub fn largest_key_biases(&self) -> Vec<f32> {
        let largest = |key: &Linear| key.bias.iter().flatten().fold(0.0, |m: f32, b| m.max(b.abs()));
        match &self.weights {
            Weights::Qwen(w) => w.keys().map(largest).collect(),
            Weights::Qwen2(w) => w.keys().map(largest).collect(),
            Weights::Qwen2Moe(w) => w.keys().map(largest).collect(),
            Weights::Qwen3(w) => w.keys().map(largest).collect(),
            Weights::Qwen3Moe(w) => w.keys().map(largest).collect(),
            Weights::Qwen35(w) => w.keys().map(largest).collect(),
            Weights::Qwen35Moe(w) => w.keys().map(largest).collect(),
        }
    }

    /// Runs one batch of tokens through the model.
    pub fn forward<B: Backend>(&self, backend: &mut B, batch: &Batch<'_>) -> Result<()> {
        match &self.weights {
            Weights::Qwen(w) => qwen::forward(w, &self.config, backend, batch),
            Weights::Qwen2(w) => qwen2::forward(w, &self.config, backend, batch),
            Weights::Qwen2Moe(w) => qwen2moe::forward(w, &self.config, backend, batch),
            Weights::Qwen3(w) => qwen3::forward(w, &self.config, backend, batch),
            Weights::Qwen3Moe(w) => qwen3moe::forward(w, &self.config, backend, batch),
            Weights::Qwen35(w) => qwen35::forward(w, &self.config, backend, batch),
            Weights::Qwen35Moe(w) => qwen35moe::forward(w, &self.config, backend, batch),
        }
    }
}

/// Whether a tensor of that name takes part in the computation of text: then ignoring it would give a model that
/// answers differently. Other modalities have prefixes of their own (`mm.`, `v.`, `a.`).
pub(crate) fn is_of_text_model(name: &str, config: &Config) -> bool {
    let layer = || name.strip_prefix("blk.")?.split('.').next()?.parse().ok();
    if layer().is_some_and(|i: usize| (config.layers..config.layers + config.mtp_layers).contains(&i)) {
        return false;
    }
    ["blk.", "token_embd", "output", "rope_freqs", "rope_factors", "cls."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Rows of the embedding, which must be the number of tokens if the file has a tokenizer.
fn vocabulary_size(file: &ModelFile) -> Result<usize> {
    const NAME: &str = "token_embd.weight";
    const LARGEST: u64 = limits::MAX_VOCAB as u64;
    let tensor = file.tensor(NAME).ok_or_else(|| Error::MissingTensor { name: NAME.into() })?;
    let rows = tensor.info.dims.get(1).copied().unwrap_or(1);
    let key = "tokenizer.ggml.tokens";
    if let Some(tokens) = file.header().array(key)?
        && tokens.len as u64 != rows
    {
        return Err(Error::BadValue {
            key: key.into(),
            found: format!("of {} entries", tokens.len),
            want: format!("{rows}, the rows of {NAME}"),
        });
    }
    if rows == 0 || rows > LARGEST {
        return Err(Error::BadValue {
            key: NAME.into(),
            found: format!("of {rows} rows"),
            want: format!("1 to {LARGEST}"),
        });
    }
    Ok(rows as usize)
}
