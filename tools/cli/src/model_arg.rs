//! From what the user calls a model to a session on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use qwip::file::Bytes;
use qwip::model::Task;
use qwip::quant::pooling::Pooling;
use qwip::{Cpu, Model, ModelFile, OpenOptions, Session, SessionOptions, Tokenizer};

use crate::args::{ComputeArgs, Device, HubArgs, ModelArgs};
use crate::{builtin, output};

/// The longest context that is taken unless the user asks for more: a model's own may be too much memory.
const DEFAULT_CONTEXT: usize = 8192;

/// Which model the user means: an argument, then `QWIP_MODEL`, then the built-in one.
pub(crate) fn choose(args: &ModelArgs) -> anyhow::Result<PathBuf> {
    if let (Some(first), Some(second)) = (&args.positional, &args.model) {
        let (first, second) = (first.display(), second.display());
        return Err(output::usage(format!("the model is given twice: {first} and -m {second}")));
    }
    let name = pick(args.model.as_ref().or(args.positional.as_ref()), &args.hub)?;
    let text = name.to_string_lossy();
    if text.contains(char::is_whitespace) && !name.exists() {
        bail!("'{text}': there is no such model file (a prompt goes after -p)");
    }
    Ok(name)
}

/// As [`choose`], for commands that find the argument themselves.
pub(crate) fn pick(given: Option<&PathBuf>, hub: &HubArgs) -> anyhow::Result<PathBuf> {
    if let (Some(repo), None) = (&hub.hf_repo, given) {
        bail!(no_download(repo));
    }
    let from_environment =
        || std::env::var_os("QWIP_MODEL").filter(|name| !name.is_empty()).map(PathBuf::from);
    Ok(given.cloned().or_else(from_environment).unwrap_or_else(|| builtin::NAME.into()))
}

fn no_download(name: &str) -> String {
    format!(
        "{name}: models cannot be downloaded in this release; download a GGUF file with a browser and give its path"
    )
}

/// Whether `name` has the form `owner/repo[:QUANT]` and not that of a file.
fn is_repository(name: &str) -> bool {
    let Some((owner, repo)) = name.split_once('/') else { return false };
    let word = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphanumeric())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    word(owner) && word(repo) && !repo.to_ascii_lowercase().ends_with(".gguf")
}

/// Opens the model file called `name`. An existing path wins over `builtin` and `owner/repo`.
pub(crate) fn open_file(name: &Path, options: OpenOptions) -> anyhow::Result<Arc<ModelFile>> {
    let text = name.to_string_lossy();
    // A folder of that name is no model, so it hides nothing.
    if text == builtin::NAME && !name.is_file() {
        return Ok(Arc::new(ModelFile::from_bytes(Bytes::Static(builtin::bytes()))?));
    }
    if !name.exists() && is_repository(&text) {
        bail!("there is no file {}", no_download(&text));
    }
    Ok(Arc::new(ModelFile::open(name, options)?))
}

/// A model that is ready to compute, without its tokenizer.
pub(crate) struct Opened {
    /// What the user calls it.
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    pub(crate) cpu: Cpu,
    options: SessionOptions,
}

impl Opened {
    /// Opens `name` as the flags say.
    pub(crate) fn new(name: &Path, args: &ComputeArgs) -> anyhow::Result<Opened> {
        check_device(args)?;
        let options = OpenOptions { mmap: !args.no_mmap, mlock: args.mlock };
        let file = open_file(name, options)?;
        let shown = name.display().to_string();
        let model = Arc::new(Model::load(file).with_context(|| shown.clone())?);
        for text in model.notes() {
            output::note(format_args!("qwip: note: {text}"));
        }
        let context = match args.ctx_size {
            Some(0) => model.config().context,
            Some(context) => context,
            None => model.config().context.min(DEFAULT_CONTEXT),
        };
        let options = SessionOptions {
            context,
            batch: args.batch_size.unwrap_or(0),
            k_type: args.cache_type_k,
            v_type: args.cache_type_v,
        };
        Ok(Opened { name: shown, model, cpu: qwip::cpu(args.threads)?, options })
    }

    /// Most positions of a session.
    pub(crate) fn context(&self) -> usize {
        self.options.context
    }

    /// An empty session with room for at least `positions`, or for what the flags say if that is `None`.
    pub(crate) fn session(&self, positions: Option<usize>) -> anyhow::Result<Session> {
        let context = positions.unwrap_or(self.options.context);
        Ok(Session::new(self.model.clone(), self.cpu.clone(), &SessionOptions { context, ..self.options })?)
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

/// The tokenizer of a file.
pub(crate) fn tokenizer(file: &ModelFile) -> anyhow::Result<Tokenizer> {
    Ok(Tokenizer::from_gguf(file.header(), file.parts()[0].bytes.clone())?)
}

fn check_device(args: &ComputeArgs) -> anyhow::Result<()> {
    if args.device == Device::Gpu {
        bail!("--device gpu: this release computes on the CPU only (--device cpu or auto)");
    }
    if args.n_gpu_layers.is_some_and(|layers| layers > 0) {
        output::note("qwip: note: -ngl has no effect: this release computes on the CPU");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        assert!(is_repository("Qwen/Qwen3-4B-GGUF"));
        assert!(is_repository("Qwen/Qwen3-4B-GGUF:Q4_K_M"));
        for name in ["model.gguf", "models/q.gguf", "./a/b", "/a/b", "a/b/c", "a b/c", "~/q", "a/"] {
            assert!(!is_repository(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_model_is_an_error_that_helps() {
        let error =
            |name: &str| output::one_line(&open_file(Path::new(name), OpenOptions::default()).unwrap_err());
        assert!(error("Qwen/Qwen3-4B").contains("cannot be downloaded"));
        let prompt = ModelArgs { positional: Some("what is this".into()), ..ModelArgs::default() };
        assert!(choose(&prompt).unwrap_err().to_string().contains("-p"));
        assert!(error("no-such.gguf").contains("no-such.gguf"));
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
