//! From what the user calls a model to a session on it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context, bail};
use qwip::file::Bytes;
use qwip::model::{Config, Task};
use qwip::quant::pooling::Pooling;
use qwip::{Cpu, Estimate, Model, ModelFile, OpenOptions, Session, SessionOptions, Tokenizer};

use crate::args::{ComputeArgs, HubArgs, ModelArgs};
use crate::catalog::{self, last};
use crate::device::{self, Placed, Wish};
use crate::hub::{self, FetchOptions, Name};
use crate::output::bytes;
use crate::{builtin, machine, output, places};

/// The longest context that is taken unless the user asks for more: a model's own may be too much memory.
const DEFAULT_CONTEXT: usize = 8192;

/// Which model the user means: an argument, then `QWIP_MODEL`, then the one that was used last, then the built-in one.
pub(crate) fn choose(args: &ModelArgs) -> anyhow::Result<PathBuf> {
    if let (Some(first), Some(second)) = (&args.positional, &args.model) {
        let (first, second) = (first.display(), second.display());
        return Err(output::usage(format!("the model is given twice: {first} and -m {second}")));
    }
    let name = pick(given(args), &args.hub)?;
    let text = name.to_string_lossy();
    if text.contains(char::is_whitespace) && !name.exists() {
        bail!("'{text}': there is no such model file (a prompt goes after -p)");
    }
    Ok(name)
}

fn given(args: &ModelArgs) -> Option<&PathBuf> {
    args.model.as_ref().or(args.positional.as_ref())
}

/// As [`choose`], for commands that find the argument themselves. Downloads what -hf names and is not here.
pub(crate) fn pick(given: Option<&PathBuf>, hub: &HubArgs) -> anyhow::Result<PathBuf> {
    if let (Some(repo), None) = (&hub.hf_repo, given) {
        let Some(name) = Name::parse(repo) else {
            return Err(output::usage(format!("-hf {repo}: expected OWNER/REPO or OWNER/REPO:QUANT")));
        };
        hub::fetch(&name, &FetchOptions { offline: hub.offline, ..FetchOptions::default() })?;
        return Ok(repo.into());
    }
    let from_environment = || places::variable("QWIP_MODEL").map(PathBuf::from);
    if let Some(name) = given.cloned().or_else(from_environment) {
        return Ok(name);
    }
    let Some(name) = last::recall() else { return Ok(builtin::NAME.into()) };
    let is_there = catalog::resolve(Path::new(&name)).is_ok_and(|path| path.is_file());
    // `run` without a prompt asks once more, as a chat.
    static SAID: Once = Once::new();
    SAID.call_once(|| match is_there {
        true if output::to_terminal() => {
            output::note(format_args!("qwip: note: {name}, the model used last (-m takes another)"));
        }
        true => {}
        false => output::note(format_args!("qwip: note: {name}, the model used last, is no longer there")),
    });
    Ok(if is_there { name.into() } else { builtin::NAME.into() })
}

/// Remembers the model that a conversation was begun with, if the user named one.
pub(crate) fn remember(args: &ModelArgs, opened: &Opened) {
    if (given(args).is_none() && args.hub.hf_repo.is_none()) || opened.is_builtin() {
        return;
    }
    let name = Path::new(&opened.name);
    // A path means the same in every folder only if it is whole.
    match name.is_file() {
        true => last::remember(&std::path::absolute(name).unwrap_or_else(|_| name.into()).to_string_lossy()),
        false => last::remember(&opened.name),
    }
}

/// Opens the model called `name`. An existing path wins over every other meaning.
pub(crate) fn open_file(name: &Path, options: OpenOptions) -> anyhow::Result<Arc<ModelFile>> {
    // A folder of that name is no model, so it hides nothing.
    if name == Path::new(builtin::NAME) && !name.is_file() {
        return Ok(Arc::new(ModelFile::from_bytes(Bytes::Static(builtin::bytes()))?));
    }
    Ok(Arc::new(ModelFile::open(&catalog::resolve(name)?, options)?))
}

/// A model that is ready to compute, without its tokenizer.
pub(crate) struct Opened {
    /// What the user calls it.
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    pub(crate) cpu: Cpu,
    options: SessionOptions,
    wish: Wish,
    /// What came of it, once there is a session.
    placed: OnceCell<Option<Placed>>,
}

impl Opened {
    /// Opens `name` as the flags say.
    pub(crate) fn new(name: &Path, args: &ComputeArgs) -> anyhow::Result<Opened> {
        let options = OpenOptions { mmap: !args.no_mmap, mlock: args.mlock };
        let file = open_file(name, options)?;
        let shown = name.display().to_string();
        let model = Arc::new(Model::load(file).with_context(|| shown.clone())?);
        for text in model.notes() {
            output::note(format_args!("qwip: note: {text}"));
        }
        let options = session_options(model.config(), args)?;
        let (cpu, wish) = (qwip::cpu(args.threads)?, Wish::of(args));
        Ok(Opened { name: shown, model, cpu, options, wish, placed: OnceCell::new() })
    }

    /// Most positions of a session.
    pub(crate) fn context(&self) -> usize {
        self.options.context
    }

    /// An empty session with room for at least `positions`, or for what the flags say if that is `None`.
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

    /// The layers that are on a GPU; the first call puts them there.
    fn placed(&self) -> anyhow::Result<Option<&Placed>> {
        if self.placed.get().is_none() {
            // Nobody else can have set it.
            let _ = self.placed.set(device::place(self, &self.wish)?);
        }
        Ok(self.placed.get().and_then(Option::as_ref))
    }

    /// What its sessions compute with, in words.
    pub(crate) fn device(&self) -> String {
        self.placed.get().and_then(Option::as_ref).map_or_else(|| "cpu".into(), Placed::title)
    }

    /// The settings of such a session.
    pub(crate) fn options(&self, positions: Option<usize>) -> SessionOptions {
        SessionOptions { context: positions.unwrap_or(self.options.context), ..self.options }
    }

    /// What the model and such a session take.
    pub(crate) fn estimate(&self, positions: Option<usize>) -> anyhow::Result<Estimate> {
        Ok(Estimate::of_session(&self.model, &self.options(positions), self.cpu.pool.threads())?)
    }

    /// As [`Opened::session`], for an answer to a person: says before it begins what will take much memory.
    pub(crate) fn session_with_notes(&self) -> anyhow::Result<Session> {
        let session = self.session(None)?;
        // A GPU's memory is another.
        if session.device().is_none() {
            for text in memory_notes(&self.estimate(None)?, machine::memory().available) {
                output::note(format_args!("qwip: note: {text}"));
            }
        }
        Ok(session)
    }

    /// The tokenizer in the file.
    pub(crate) fn tokenizer(&self) -> anyhow::Result<Tokenizer> {
        tokenizer(self.model.file()).with_context(|| self.name.clone())
    }

    /// Fails if the model is not for answers, and says so if they are not what it was made for.
    pub(crate) fn check_answers(&self) -> anyhow::Result<()> {
        self.model.allows(Task::Generate).with_context(|| self.name.clone())?;
        if matches!(self.model.pooling(), Some(Pooling::Mean | Pooling::Cls | Pooling::Last)) {
            output::note(format_args!(
                "qwip: note: {} is an embedding model (for qwip embed): its answers mean little",
                self.name
            ));
        }
        Ok(())
    }

    /// What the file calls itself, else its architecture.
    pub(crate) fn title(&self) -> String {
        let name = self.model.file().header().str("general.name").ok().flatten();
        match self.is_builtin() {
            true => "qwip builtin".into(),
            false => name.unwrap_or(self.model.architecture()).into(),
        }
    }

    /// Whether this is the demonstration.
    pub(crate) fn is_builtin(&self) -> bool {
        self.model.file().path() == Path::new("<memory>")
    }
}

/// From here on memory of our own is worth a line.
const MUCH: u64 = 1 << 30;

/// What must be known about memory before a session begins, where `available` bytes are free or could be freed.
fn memory_notes(e: &Estimate, available: Option<u64>) -> Vec<String> {
    let mut notes = Vec::new();
    let (dirty, weights) = (bytes(e.dirty()), bytes(e.weights));
    let full = format!("{} tokens of context take up to {dirty} of memory", e.context);
    match available {
        Some(available) if e.dirty() > available => notes.push(format!(
            "{full}, but {} are available; a smaller -c or -ctk q8_0 -ctv q8_0 takes less",
            bytes(available)
        )),
        _ if e.dirty() >= MUCH => {
            notes.push(format!("{full}, beside the {weights} of weights that stay in the file"));
        }
        _ => {}
    }
    if let Some(available) = available.filter(|&available| e.weights > available) {
        notes.push(format!(
            "the weights, {weights}, are more than the {} of memory that are available: every new token reads about {} \
             of them, from the disk what does not stay in memory",
            bytes(available),
            bytes(e.weights_per_token)
        ));
    }
    notes
}

/// What the flags say about a session on a model of these sizes.
pub(crate) fn session_options(config: &Config, args: &ComputeArgs) -> anyhow::Result<SessionOptions> {
    let rope = args.rope.options();
    let stretched = config.rope.with(&rope, config.context, args.ctx_size.unwrap_or(0));
    let reach = stretched.map_err(|error| output::usage(error.to_string()))?.reach(config.context);
    let context = match args.ctx_size {
        Some(0) => reach,
        Some(context) => context,
        None => reach.min(DEFAULT_CONTEXT),
    };
    let (k_type, v_type) = (args.cache_type_k, args.cache_type_v);
    let batch = args.batch_size.unwrap_or(0);
    Ok(SessionOptions { context, batch, k_type, v_type, rope, ..SessionOptions::default() })
}

/// The tokenizer of a file.
pub(crate) fn tokenizer(file: &ModelFile) -> anyhow::Result<Tokenizer> {
    Ok(Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_model_is_an_error_that_helps() {
        let error =
            |name: &str| output::one_line(&open_file(Path::new(name), OpenOptions::default()).unwrap_err());
        assert!(error("Qwen/No-Such").contains("`qwip pull Qwen/No-Such`"));
        assert!(error("qwen3:5b").contains("qwen3:4b"));
        let prompt = ModelArgs { positional: Some("what is this".into()), ..ModelArgs::default() };
        assert!(choose(&prompt).unwrap_err().to_string().contains("-p"));
        assert!(error("no-such.gguf").contains("no-such.gguf"));
    }

    #[test]
    fn much_memory_is_announced_and_too_much_explained() {
        let small = Estimate {
            context: 4096,
            weights: 400 << 20,
            looked_up: 0,
            weights_per_token: 350 << 20,
            vectors: 1 << 20,
            cache_per_token: 12 << 10,
            cache: 48 << 20,
            recurrent: 0,
            buffers: 30 << 20,
        };
        assert!(memory_notes(&small, Some(8 << 30)).is_empty() && memory_notes(&small, None).is_empty());
        let long = Estimate { context: 131072, cache: 3 << 30, ..small };
        let [note] = &memory_notes(&long, Some(8 << 30))[..] else { panic!("one note") };
        assert_eq!(
            note,
            "131072 tokens of context take up to 3.25 GB of memory, beside the 419 MB of weights that stay in the file"
        );
        let [note] = &memory_notes(&long, Some(2 << 30))[..] else { panic!("one note") };
        assert!(note.contains("but 2.15 GB are available; a smaller -c"), "{note}");
        let experts = Estimate { weights: 33 << 30, weights_per_token: 2 << 30, ..small };
        let [note] = &memory_notes(&experts, Some(8 << 30))[..] else { panic!("one note") };
        assert!(
            note.contains("35.4 GB, are more than the 8.59 GB") && note.contains("about 2.15 GB"),
            "{note}"
        );
    }

    #[test]
    fn the_model_is_given_at_most_once() {
        let model = |positional: Option<&str>, model: Option<&str>| ModelArgs {
            positional: positional.map(PathBuf::from),
            model: model.map(PathBuf::from),
            ..ModelArgs::default()
        };
        assert_eq!(choose(&model(Some("a"), None)).unwrap(), Path::new("a"));
        assert_eq!(choose(&model(None, Some("b"))).unwrap(), Path::new("b"));
        assert!(choose(&model(Some("a"), Some("b"))).is_err());
    }
}
