//! From what the user calls a model to a model that is ready to compute.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context, bail};
use qwip::file::Bytes;
use qwip::model::Task;
use qwip::quant::pooling::Pooling;
use qwip::{Cpu, Model, ModelFile, OpenOptions, Tokenizer};

use crate::args::{ComputeArgs, HubArgs, ModelArgs};
use crate::catalog::{self, last};
use crate::device::{self, Placed, Wish};
use crate::fit::{self, Fit};
use crate::hub::{self, FetchOptions, Name};
use crate::{builtin, machine, output, places};

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
    pub(crate) fit: Fit,
    wish: Wish,
    /// What came of it, once there is a session.
    placed: OnceCell<Option<Placed>>,
}

impl Opened {
    /// Opens `name` as the flags say.
    pub(crate) fn new(name: &Path, args: &ComputeArgs) -> anyhow::Result<Opened> {
        Opened::with_cpu(name, args, None)
    }

    /// As [`Opened::new`], on threads that are there already.
    pub(crate) fn with_cpu(name: &Path, args: &ComputeArgs, cpu: Option<Cpu>) -> anyhow::Result<Opened> {
        let options = OpenOptions { mmap: !args.no_mmap, mlock: args.mlock, ..Default::default() };
        let memory = machine::memory();
        // Where files cannot be mapped, nothing is known before.
        if (args.no_mmap || args.mlock)
            && let Ok(file) = open_file(name, OpenOptions::default())
        {
            fit::announce(&name.display().to_string(), file, args, memory)
                .with_context(|| name.display().to_string())?;
        }
        let file = open_file(name, options)?;
        let shown = name.display().to_string();
        let model = Arc::new(Model::load(file).with_context(|| shown.clone())?);
        for text in model.notes() {
            output::note(format_args!("qwip: note: {text}"));
        }
        let cpu = cpu.map_or_else(|| qwip::cpu(args.threads), Ok)?;
        let wish = Wish::of(args);
        let fit = Fit::of(&model, args, memory, cpu.pool.threads())?;
        Ok(Opened { name: shown, model, cpu, fit, wish, placed: OnceCell::new() })
    }

    /// The layers that are on a GPU; the first call puts them there.
    pub(crate) fn placed(&self) -> anyhow::Result<Option<&Placed>> {
        if self.placed.get().is_none() {
            // Nobody else can have set it.
            let _ = self.placed.set(device::place(self, &self.wish)?);
        }
        Ok(self.placed.get().and_then(Option::as_ref))
    }

    /// As [`Opened::placed`], to keep.
    pub(crate) fn into_placed(self) -> anyhow::Result<Option<Placed>> {
        self.placed()?;
        Ok(self.placed.into_inner().flatten())
    }

    /// What its sessions compute with, in words.
    pub(crate) fn device(&self) -> String {
        self.placed.get().and_then(Option::as_ref).map_or_else(|| "cpu".into(), Placed::title)
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
