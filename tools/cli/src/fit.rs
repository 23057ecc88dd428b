//! What of a model fits into this computer's memory: how long its sessions may get, and what is said about it.
//!
//! No answer depends on that. Memory shortens a context only where texts that fit get the same logits in a longer one; and
//! what `-c` says is done.

use std::sync::Arc;

use qwip::model::{Config, Rope};
use qwip::quant::TensorType;
use qwip::quant::gguf::TensorInfo;
use qwip::{Estimate, Model, ModelFile, Session, SessionOptions};
use qwip_convert::{file_type, quantize};

use crate::args::ComputeArgs;
use crate::machine::Memory;
use crate::model_arg::Opened;
use crate::output::{self, bytes};

/// Contexts that are chosen by memory are a multiple of this.
const STEP: usize = 256;
/// A context that a model is worth loading with.
const LEAST: usize = 2048;
/// The longest context where the system does not say how much memory there is.
const UNKNOWN: usize = 8192;
/// From here on memory of our own is worth a line.
const MUCH: u64 = 1 << 30;

/// The settings of sessions, and how they came about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) options: SessionOptions,
    /// The context that it would be with more memory.
    full: usize,
    /// Whether the user says how long.
    asked: bool,
    /// Whether the file is read as a whole before anything is computed.
    read: bool,
    memory: Memory,
}

impl Fit {
    /// What the flags say about sessions on a model of these sizes, and where they do not say how long these get: what the
    /// model was trained for, or less if `memory` is short. `estimate` says what a session takes.
    pub(crate) fn new(
        config: &Config,
        args: &ComputeArgs,
        memory: Memory,
        estimate: &dyn Fn(&SessionOptions) -> qwip::Result<Estimate>,
    ) -> anyhow::Result<Fit> {
        let rope = args.rope.options();
        let stretched = config.rope.with(&rope, config.context, args.ctx_size.unwrap_or(0));
        let reach = stretched.map_err(|error| output::usage(error.to_string()))?.reach(config.context);
        let full = args.ctx_size.filter(|&n| n > 0).unwrap_or(reach);
        let (k_type, v_type) = (args.cache_type_k, args.cache_type_v);
        let batch = args.batch_size.unwrap_or(0);
        let mut options =
            SessionOptions { context: full, batch, k_type, v_type, rope, ..SessionOptions::default() };
        let asked = args.ctx_size.is_some();
        if !asked {
            let context = longest(&options, memory, estimate)?;
            // The rotary embedding of some follows from the limit.
            let of = |limit| -> qwip::Result<Rope> {
                Ok(config.rope.with(&rope, config.context, limit)?.within(limit))
            };
            if of(context)? == of(full)? {
                options.context = context;
            }
        }
        Ok(Fit { options, full, asked, read: args.no_mmap || args.mlock, memory })
    }

    /// Those of sessions on `model`.
    pub(crate) fn of(
        model: &Model,
        args: &ComputeArgs,
        memory: Memory,
        threads: usize,
    ) -> anyhow::Result<Fit> {
        Fit::new(model.config(), args, memory, &|options| Estimate::of_session(model, options, threads))
    }

    /// What must be known about memory before a session begins that takes `e` and could do with `least`.
    fn notes(&self, e: &Estimate, least: &Estimate, of_model: &dyn Fn() -> OfModel) -> Vec<String> {
        let mut notes = Vec::new();
        let Some(available) = self.memory.available else {
            notes.extend((self.asked && e.dirty() >= MUCH).then(|| full_context(e) + &beside(e)));
            return notes;
        };
        let free = bytes(available);
        // What is read as a whole has been announced before.
        if least.total() > available && !self.read {
            notes.push(of_model().does_not_fit(least, available));
        }
        if e.context < self.full {
            notes.push(format!(
                "the context is {} tokens, not {}: {free} of memory are available (-c N takes N all the same, \
                 -ctk q8_0 -ctv q8_0 make more fit)",
                e.context, self.full
            ));
        } else if self.asked && e.dirty() > available {
            notes.push(format!(
                "{}, but {free} are available; a smaller -c or -ctk q8_0 -ctv q8_0 takes less",
                full_context(e)
            ));
        } else if self.asked && e.dirty() >= MUCH {
            notes.push(full_context(e) + &beside(e));
        }
        notes
    }
}

fn full_context(e: &Estimate) -> String {
    format!("{} tokens of context take up to {} of memory", e.context, bytes(e.dirty()))
}

fn beside(e: &Estimate) -> String {
    format!(", beside the {} of weights that stay in the file", bytes(e.weights))
}

/// The longest context, up to that of `options`, that leaves room for the weights and for other programs.
fn longest(
    options: &SessionOptions,
    memory: Memory,
    estimate: &dyn Fn(&SessionOptions) -> qwip::Result<Estimate>,
) -> anyhow::Result<usize> {
    let most = options.context;
    let Some(available) = memory.available else { return Ok(most.min(UNKNOWN)) };
    let of = |context| estimate(&SessionOptions { context, ..*options });
    let whole = of(most)?;
    let room = match available.checked_sub(whole.weights) {
        Some(rest) => rest / 5 * 4,
        // What is left reads fewer weights from the disk again and again.
        None => available / 4,
    };
    if whole.dirty() <= room {
        return Ok(most);
    }
    // So many steps fit, so many do not.
    let (mut fits, mut too_many) = (LEAST / STEP, most.div_ceil(STEP));
    while fits + 1 < too_many {
        let middle = fits.midpoint(too_many);
        match of(middle * STEP)?.dirty() <= room {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    Ok((fits * STEP).min(most))
}

/// What is to be said about a model that is too large.
struct OfModel {
    name: String,
    /// Whether all of it is read before it begins.
    read: bool,
    quantized: bool,
    /// Smaller types and the bytes of the weights in them, the best first.
    types: Vec<(&'static str, u64)>,
}

impl OfModel {
    fn new(name: &str, file: &ModelFile, read: bool) -> OfModel {
        let mut whole = file.header().clone();
        // Of a split model all files.
        whole.tensors = file.tensors().map(|t| t.info.clone()).collect();
        let now: u64 = whole.tensors.iter().map(|t| t.len).sum();
        let size = |name: &'static str| {
            let types = quantize::types(&whole, file_type(name).ok()?).ok()?;
            let mut sizes = whole.tensors.iter().zip(types).map(|(tensor, ty)| size_in(tensor, ty));
            let size = sizes.try_fold(0u64, |sum, size| sum.checked_add(size?))?;
            (size < now).then_some((name, size))
        };
        let types = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"].into_iter().filter_map(size);
        OfModel {
            name: name.into(),
            read,
            quantized: whole.tensors.iter().any(|t| t.ty.is_quantized()),
            types: types.collect(),
        }
    }

    /// Says that this does not fit, what would, and what to expect.
    fn does_not_fit(&self, least: &Estimate, available: u64) -> String {
        let OfModel { name, read, quantized, types } = self;
        let beside = least.dirty();
        let better = match types.iter().find(|(_, weights)| weights.saturating_add(beside) <= available) {
            None => "no type of this model would fit, a smaller model does".to_string(),
            Some((ty, weights)) => {
                let from = if *quantized { "a file of the same model in" } else { "`qwip quantize` makes" };
                format!("{from} {ty} ({}), which would fit", bytes(*weights))
            }
        };
        let expect = match read {
            true => "without --no-mmap and --mlock it would run from the disk".to_string(),
            false => format!(
                "as it is, every new token reads about {} of weights, from the disk what does not stay in memory",
                bytes(least.weights_per_token)
            ),
        };
        format!(
            "{name} needs {} (weights {}, {} tokens of context {}), {} are available: {better}; {expect}",
            bytes(least.total()),
            bytes(least.weights),
            least.context,
            bytes(beside),
            bytes(available)
        )
    }
}

/// Bytes of a tensor in another type.
fn size_in(tensor: &TensorInfo, ty: TensorType) -> Option<u64> {
    let row = ty.row_bytes(usize::try_from(tensor.cols()).ok()?)?;
    tensor.rows().checked_mul(row as u64)
}

/// Opens a file that will be read as a whole by its header alone, and says if it will not fit.
pub(crate) fn announce(
    name: &str,
    file: Arc<ModelFile>,
    args: &ComputeArgs,
    memory: Memory,
) -> anyhow::Result<()> {
    let model = Model::load(file)?;
    let threads = qwip::cpu(args.threads)?.pool.threads();
    let fit = Fit::of(&model, args, memory, threads)?;
    let least = SessionOptions { context: fit.options.context.min(LEAST), ..fit.options };
    let least = Estimate::of_session(&model, &least, threads)?;
    if let Some(available) = memory.available.filter(|&available| least.total() > available) {
        let text = OfModel::new(name, model.file(), true).does_not_fit(&least, available);
        output::note(format_args!("qwip: note: {text}"));
    }
    Ok(())
}

impl Opened {
    /// Most positions of a session.
    pub(crate) fn context(&self) -> usize {
        self.fit.options.context
    }

    /// The settings of a session with room for at least `positions`, or for what the flags say if that is `None`.
    pub(crate) fn options(&self, positions: Option<usize>) -> SessionOptions {
        SessionOptions { context: positions.unwrap_or(self.context()), ..self.fit.options }
    }

    /// What the model and such a session take.
    pub(crate) fn estimate(&self, positions: Option<usize>) -> anyhow::Result<Estimate> {
        Ok(Estimate::of_session(&self.model, &self.options(positions), self.cpu.pool.threads())?)
    }

    /// An empty session of these settings.
    pub(crate) fn session(&self, positions: Option<usize>) -> anyhow::Result<Session> {
        let options = self.options(positions);
        let context = options.context;
        let session = match self.placed()? {
            Some(placed) => placed.session(&self.cpu, &options)?,
            None => Session::new(self.model.clone(), self.cpu.clone(), &options)?,
        };
        if context > session.reach() {
            output::note(format_args!(
                "qwip: note: {context} tokens are more than the {} that the model was trained for, and beyond them it \
                 gets worse; --rope-scaling yarn stretches it",
                session.reach()
            ));
        }
        Ok(session)
    }

    /// As [`Opened::session`], for an answer to a person: says before it begins what will take much memory.
    pub(crate) fn session_with_notes(&self) -> anyhow::Result<Session> {
        let session = self.session(None)?;
        // A GPU's memory is another.
        if session.device().is_none() {
            let least = self.estimate(Some(self.context().min(LEAST)))?;
            let of_model = || OfModel::new(&self.name, self.model.file(), self.fit.read);
            for text in self.fit.notes(&self.estimate(None)?, &least, &of_model) {
                output::note(format_args!("qwip: note: {text}"));
            }
        }
        Ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use crate::synthetic;
    use clap::Parser;
    use qwip::quant::gguf::Gguf;
    use qwip::{CacheTypes, KvType};

    const GB: u64 = 1_000_000_000;

    fn args(words: &[&str]) -> ComputeArgs {
        let cli = Cli::try_parse_from([&["qwip", "show"], words].concat()).unwrap();
        let Some(Command::Show(show)) = cli.command else { panic!("not show") };
        show.compute
    }

    struct Sizes {
        header: Gguf,
        config: Config,
    }

    impl Sizes {
        fn of(description: &str) -> Sizes {
            let (header, _) = synthetic::header(description).unwrap();
            let rows = header.tensor("token_embd.weight").unwrap().rows() as usize;
            let arch = header.str("general.architecture").unwrap().unwrap();
            let config = Config::read(&header, &[], arch, rows).unwrap();
            Sizes { header, config }
        }

        fn estimate(&self, options: &SessionOptions) -> qwip::Result<Estimate> {
            let types = CacheTypes { k: vec![KvType::F16; self.config.attention_layers()], v: KvType::F16 };
            Estimate::new(&self.config, &self.header.tensors, &types, options, 4)
        }

        fn fit(&self, words: &[&str], available: Option<u64>) -> Fit {
            let memory = Memory { total: Some(64 * GB), available };
            Fit::new(&self.config, &args(words), memory, &|options| self.estimate(options)).unwrap()
        }

        fn dirty(&self, fit: &Fit, context: usize) -> u64 {
            self.estimate(&SessionOptions { context, ..fit.options }).unwrap().dirty()
        }

        fn notes(&self, words: &[&str], available: Option<u64>) -> Vec<String> {
            let fit = self.fit(words, available);
            let of = |context| self.estimate(&SessionOptions { context, ..fit.options }).unwrap();
            let context = fit.options.context;
            let types = || OfModel {
                name: "model.gguf".into(),
                read: false,
                quantized: true,
                types: vec![("Q6_K", 3_300_000_000), ("Q3_K_M", 2 * GB)],
            };
            fit.notes(&of(context), &of(context.min(LEAST)), &types)
        }
    }

    #[test]
    fn memory_shortens_a_context_that_nobody_asked_for() {
        let model = Sizes::of("qwen3-4b:q4_k_m");
        let trained = model.config.context;
        assert_eq!(model.fit(&[], Some(60 * GB)).options.context, trained);
        assert_eq!(model.fit(&[], None).options.context, UNKNOWN);
        let weights = model.estimate(&SessionOptions::default()).unwrap().weights;
        let fit = model.fit(&[], Some(weights + 2 * GB));
        let context = fit.options.context;
        assert!(context.is_multiple_of(STEP) && (LEAST..trained).contains(&context), "{context}");
        let room = 2 * GB / 5 * 4;
        assert!(model.dirty(&fit, context) <= room && model.dirty(&fit, context + STEP) > room, "{context}");
        // Where the weights do not fit either, most of the memory is theirs.
        let fit = model.fit(&[], Some(weights - 1));
        assert!(model.dirty(&fit, fit.options.context) <= weights / 4, "{fit:?}");
        assert_eq!(model.fit(&[], Some(1000)).options.context, LEAST);
        for (words, context) in [(["-c", "100000"], 100_000), (["-c", "0"], trained)] {
            assert_eq!(model.fit(&words, Some(1000)).options.context, context);
        }
        // A model that was trained for less than the least.
        let short = Sizes::of("qwen-14b:q4_0");
        assert_eq!(short.fit(&[], Some(1000)).options.context, short.config.context.min(LEAST));
    }

    #[test]
    fn memory_never_changes_an_answer() {
        let model = Sizes::of("qwen3-4b:q4_k_m");
        let trained = model.config.context;
        // Without a factor, it follows from the limit how far positions are stretched.
        let by_limit = ["--rope-scaling", "yarn", "--yarn-orig-ctx", "1024"];
        assert_eq!(model.fit(&by_limit, Some(1000)).options.context, trained);
        let by_factor = ["--rope-scaling", "yarn", "--yarn-orig-ctx", "1024", "--rope-scale", "80"];
        assert_eq!(model.fit(&by_factor, Some(60 * GB)).options.context, 80 * 1024);
        assert_eq!(model.fit(&by_factor, Some(1000)).options.context, LEAST);
        // Up to the length that it was trained for, the oldest generation has one base, too.
        let oldest = Sizes::of("qwen-7b:q4_0");
        let fit = oldest.fit(&[], Some(1000));
        let rope = |limit| oldest.config.rope.within(limit);
        assert!(fit.options.context <= LEAST && rope(fit.options.context) == rope(oldest.config.context));
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let model = Sizes::of("qwen3-4b:q8_0");
        assert!(model.notes(&[], Some(60 * GB)).is_empty() && model.notes(&[], None).is_empty());
        let [note] = &model.notes(&[], Some(6 * GB))[..] else { panic!("one note") };
        assert!(note.contains("tokens, not 40960: 6.00 GB of memory are available (-c N"), "{note}");
        let [too_large, short] = &model.notes(&[], Some(3 * GB))[..] else { panic!("two notes") };
        let words = [
            "model.gguf needs 4.",
            "(weights 4.",
            "2048 tokens of context 3",
            "3.00 GB are available: a file of the same model in Q3_K_M (2.00 GB), which would fit",
            "every new token reads about 4.",
        ];
        assert!(words.iter().all(|word| too_large.contains(word)), "{too_large}");
        assert!(short.starts_with("the context is 4352 tokens, not 40960: 3.00 GB"), "{short}");
        let [too_large, _] = &model.notes(&[], Some(GB))[..] else { panic!("two notes") };
        assert!(too_large.contains("no type of this model would fit"), "{too_large}");
        // What was asked for stays.
        let [note] = &model.notes(&["-c", "131072"], Some(60 * GB))[..] else { panic!("one note") };
        assert!(note.starts_with("131072 tokens of context take up to 19."), "{note}");
        assert!(
            note.ends_with("GB of memory, beside the 4.27 GB of weights that stay in the file"),
            "{note}"
        );
        let [note] = &model.notes(&["-c", "131072"], Some(8 * GB))[..] else { panic!("one note") };
        assert!(note.contains("but 8.00 GB are available; a smaller -c"), "{note}");
        assert_eq!(model.notes(&["-c", "131072"], None).len(), 1);
    }

    #[test]
    fn smaller_types_have_the_sizes_that_quantizing_makes() {
        let dir = tempfile::tempdir().unwrap();
        let fixture =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/qwen3-kquant");
        let path = dir.path().join("f16.gguf");
        let options = qwip_convert::Options::new(file_type("f16").unwrap());
        qwip_convert::convert(&fixture, &path, &options, &mut ()).unwrap();
        let of = |path: &std::path::Path| {
            OfModel::new("m", &ModelFile::open(path, Default::default()).unwrap(), false)
        };
        let found = of(&path);
        assert!(!found.quantized && found.types.len() == 6, "{:?}", found.types);
        for (name, size) in found.types {
            let out = dir.path().join(name);
            let options = quantize::Options { ty: file_type(name).ok(), ..Default::default() };
            let made = quantize::Plan::new(&path, options).unwrap().write(&out, &mut ()).unwrap();
            assert_eq!(made.bytes, size, "{name}");
        }
        let smaller = of(&dir.path().join("Q4_K_M"));
        let names: Vec<&str> = smaller.types.iter().map(|t| t.0).collect();
        assert!(smaller.quantized && names == ["Q3_K_M", "Q2_K"], "{names:?}");
    }
}
