//! The models that are served: those that were named, or all on this computer. A request's name is looked up here and
//! nowhere else, so none of them can make the server read another file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use qwip::chat::Voice;
use qwip::model::Task;
use qwip::{Cpu, Model, OpenOptions, Session, SessionOptions};
use qwip_server::library::{Described, Library, Listed, OpenError, Opened};
use sha2::{Digest, Sha256};

use crate::args::{ComputeArgs, HubArgs};
use crate::catalog::{self, Entry, last};
use crate::hub::{self, FetchOptions, Name};
use crate::output::{one_line, usage};
use crate::running::{self, Facts};
use crate::{builtin, model_arg, voice};

/// Which model a request means that says so.
const DEFAULT: &str = "default";

/// A model, and how it is opened.
#[derive(Clone, Debug)]
struct Item {
    listed: Listed,
    /// A path, or `builtin`.
    file: PathBuf,
}

pub(super) struct Shelf {
    /// Those that were named; none: all that are here.
    named: Vec<Item>,
    args: ComputeArgs,
    /// All models compute on the same threads.
    cpu: Cpu,
}

impl Shelf {
    /// Fails if one of the models is not there or does not run.
    pub(super) fn new(named: Vec<PathBuf>, hub: &HubArgs, args: &ComputeArgs) -> anyhow::Result<Shelf> {
        let mut items: Vec<Item> = Vec::new();
        for name in named.into_iter().chain(fetched(hub)?) {
            let item = item(&name)?;
            if let Some(other) = items.iter().find(|other| other.listed.name == item.listed.name) {
                let (one, two) = (other.file.display(), item.file.display());
                return Err(usage(format!(
                    "two models would be called '{}': {one} and {two}",
                    other.listed.name
                )));
            }
            items.push(item);
        }
        Ok(Shelf { named: items, args: args.clone(), cpu: qwip::cpu(args.threads)? })
    }

    /// Whether all models of this computer are served.
    pub(super) fn is_open(&self) -> bool {
        self.named.is_empty()
    }

    /// Whether there is nothing but the demonstration.
    pub(super) fn is_demonstration(&self) -> bool {
        self.items().iter().all(|item| item.file == Path::new(builtin::NAME))
    }

    pub(super) fn count(&self) -> usize {
        self.items().len()
    }

    fn items(&self) -> Vec<Item> {
        if !self.named.is_empty() {
            return self.named.clone();
        }
        let (entries, _) = catalog::everything();
        let mut items: Vec<Item> = entries.iter().filter_map(of_entry).collect();
        items.extend(of_builtin());
        items
    }

    /// The model that a request calls `name`.
    fn find(&self, name: &str) -> Option<Item> {
        let mut items = self.items();
        let at = items.iter().position(|item| item.listed.name == name).or_else(|| {
            // Ollama's clients write the tag out; some write the file's ending.
            let bare = name.strip_suffix(":latest").or_else(|| name.strip_suffix(".gguf")).unwrap_or(name);
            let tagged = format!("{name}:latest");
            items.iter().position(|item| item.listed.name == bare || item.listed.name == tagged)
        });
        let at = at.or_else(|| match name {
            DEFAULT => default_of(&items),
            _ => self.by_repository(&items, name),
        });
        at.map(|at| items.swap_remove(at))
    }

    /// A repository, also by a short name as `qwen3:4b`. What is found must be on the list.
    fn by_repository(&self, items: &[Item], name: &str) -> Option<usize> {
        let name = catalog::wanted(name)?.ok()?;
        let path = hub::find(&name)?;
        items.iter().position(|item| item.file == path)
    }
}

/// The model that -hf names, which is downloaded if it is not here.
fn fetched(args: &HubArgs) -> anyhow::Result<Option<PathBuf>> {
    let Some(repo) = &args.hf_repo else { return Ok(None) };
    let Some(name) = Name::parse(repo) else {
        return Err(usage(format!("-hf {repo}: expected OWNER/REPO or OWNER/REPO:QUANT")));
    };
    hub::fetch(&name, &FetchOptions { offline: args.offline, ..FetchOptions::default() })?;
    Ok(Some(repo.into()))
}

/// The one used last if it is there, else the first that answers.
fn default_of(items: &[Item]) -> Option<usize> {
    let last = last::recall().and_then(|name| items.iter().position(|item| item.listed.name == name));
    let answers = || items.iter().position(|item| item.listed.task == Task::Generate);
    last.or_else(answers).or((!items.is_empty()).then_some(0))
}

/// A model by the name or path that the user gave.
fn item(name: &Path) -> anyhow::Result<Item> {
    let text = name.to_str().with_context(|| format!("{}: a name must be Unicode", name.display()))?;
    let file = model_arg::open_file(name, OpenOptions::default())?;
    let model = Model::load(file.clone()).with_context(|| text.to_owned())?;
    if text == builtin::NAME && !name.is_file() {
        let path = PathBuf::from(builtin::NAME);
        return Ok(Item { listed: listed(builtin::NAME.into(), &model, None, builtin_digest()), file: path });
    }
    let path = catalog::resolve(name)?;
    let called = match name.is_file() {
        true => stem(name).with_context(|| format!("{text}: a file without a name"))?,
        false => text.to_owned(),
    };
    let modified = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
    let digest = digest(&path, file.len(), modified);
    Ok(Item { listed: listed(called, &model, modified, digest), file: path })
}

fn of_builtin() -> Option<Item> {
    item(Path::new(builtin::NAME)).ok()
}

/// What a file of models is called: `m` of `dir/m.gguf` and of `dir/m-00001-of-00003.gguf`.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    let part = name.rsplit_once("-of-").and_then(|(front, count)| {
        let (front, number) = front.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(count) && digits(number)).then_some(front)
    });
    Some(part.unwrap_or(name).to_owned())
}

fn listed(name: String, model: &Model, modified: Option<SystemTime>, digest: String) -> Listed {
    let file = model.file();
    let ty = file.header().u64("general.file_type").ok().flatten().and_then(|id| u32::try_from(id).ok());
    let ty = ty.and_then(qwip::quant::types::FileType::from_id).map(|ty| ty.name.to_owned());
    let count = |dims: &[u64]| dims.iter().product::<u64>();
    Listed {
        name,
        bytes: file.len(),
        modified,
        architecture: model.architecture().to_owned(),
        parameters: Some(file.tensors().map(|tensor| count(&tensor.info.dims)).sum()),
        file_type: ty,
        context: Some(model.config().context),
        task: match model.pooling() {
            None | Some(qwip::quant::pooling::Pooling::None) => Task::Generate,
            Some(qwip::quant::pooling::Pooling::Rank) => Task::Rerank,
            Some(_) => Task::Embed,
        },
        digest,
    }
}

/// A model of the catalog, if it runs: by the beginning of its file alone.
fn of_entry(entry: &Entry) -> Option<Item> {
    let file = entry.files.first().filter(|_| entry.is_whole())?;
    let header = catalog::header(file).filter(catalog::Header::runs)?;
    let listed = Listed {
        name: entry.name.clone(),
        bytes: entry.bytes,
        modified: entry.modified,
        task: header.task(),
        architecture: header.architecture?,
        parameters: None,
        file_type: header.file_type.map(str::to_owned),
        context: header.context,
        digest: digest(file, entry.bytes, entry.modified),
    };
    Some(Item { listed, file: file.clone() })
}

/// The SHA-256 where the file is called so, as in the caches of hubs and of Ollama; else one that changes with the file.
fn digest(path: &Path, bytes: u64, modified: Option<SystemTime>) -> String {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_prefix("sha256-").unwrap_or(&name);
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return name.to_ascii_lowercase();
    }
    let time = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    hex(&Sha256::digest(format!("{} {bytes} {}", real.display(), time.as_nanos())))
}

fn builtin_digest() -> String {
    static DIGEST: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    DIGEST.get_or_init(|| hex(&Sha256::digest(builtin::bytes()))).clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Library for Shelf {
    fn list(&self) -> Vec<Listed> {
        self.items().into_iter().map(|item| item.listed).collect()
    }

    fn open(&self, name: &str) -> Result<Opened, OpenError> {
        let item = self.must_find(name)?;
        let name = item.listed.name.clone();
        self.opened(item).map_err(|error| failed(&name, &error))
    }

    /// The file is mapped whatever the flags say, and nothing is put on a device.
    fn describe(&self, name: &str) -> Result<Described, OpenError> {
        let item = self.must_find(name)?;
        let name = item.listed.name.clone();
        described(item).map_err(|error| failed(&name, &error))
    }

    fn default_name(&self) -> Option<String> {
        let mut items = self.items();
        let at = default_of(&items)?;
        Some(items.swap_remove(at).listed.name)
    }
}

fn failed(name: &str, error: &anyhow::Error) -> OpenError {
    OpenError::Failed(format!("{name}: {}", one_line(error)))
}

fn described(item: Item) -> anyhow::Result<Described> {
    let file = model_arg::open_file(&item.file, OpenOptions::default())?;
    let voice = Voice::new(&file, model_arg::tokenizer(&file)?)?;
    Ok(Described { name: item.listed.name, model: Arc::new(Model::load(file)?), voice })
}

impl Shelf {
    fn must_find(&self, name: &str) -> Result<Item, OpenError> {
        self.find(name).ok_or_else(|| {
            let name: String = name.chars().take(200).collect();
            let there: Vec<String> = self.items().into_iter().map(|item| item.listed.name).take(20).collect();
            OpenError::Unknown(format!(
                "there is no model '{}' here; there is {}",
                crate::output::visible(name),
                there.join(", ")
            ))
        })
    }

    fn opened(&self, item: Item) -> anyhow::Result<Opened> {
        let name = item.listed.name;
        let mut opened = model_arg::Opened::with_cpu(&item.file, &self.args, Some(self.cpu.clone()))?;
        opened.name = name.clone();
        let voice = voice::of(&opened)?;
        let (model, cpu, options) = (opened.model.clone(), opened.cpu.clone(), opened.fit.options);
        let placed = opened.into_placed()?;
        let device = placed.as_ref().map_or_else(|| "cpu".into(), crate::device::Placed::title);
        // As long as the model is loaded `ps` shows it, and `rm` leaves its file alone.
        let shown = running::register_as(&Facts {
            command: "serve",
            model: &name,
            file: Some(model.file().path()),
            weights: model.file().len(),
            context: options.context,
            device: &device,
        });
        let weights: Arc<Model> = model.clone();
        let threads = cpu.clone();
        let session = move |options: &SessionOptions| {
            let _ = &shown;
            match &placed {
                Some(placed) => placed.try_session(&threads, options),
                None => Session::new(weights.clone(), threads.clone(), options),
            }
        };
        Ok(Opened { name, model, voice, cpu, options, session: Box::new(session), device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn shelf(names: &[&str]) -> anyhow::Result<Shelf> {
        let cli = Cli::try_parse_from(["qwip", "serve", "-t", "1", "--device", "cpu"]).unwrap();
        let Some(Command::Serve(args)) = cli.command else { panic!("not serve") };
        Shelf::new(names.iter().map(PathBuf::from).collect(), &HubArgs::default(), &args.compute)
    }

    #[test]
    fn only_what_is_listed_can_be_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny-00001-of-00001.gguf");
        std::fs::write(&path, builtin::bytes()).unwrap();
        let path = path.to_str().unwrap();
        let shelf = shelf(&["builtin", path]).unwrap();
        let names: Vec<String> = shelf.list().into_iter().map(|listed| listed.name).collect();
        assert_eq!(names, ["builtin", "tiny"]);
        assert_eq!(shelf.default_name().as_deref(), Some("builtin"));
        for (asked, found) in [
            ("builtin", "builtin"),
            ("builtin:latest", "builtin"),
            ("default", "builtin"),
            ("tiny.gguf", "tiny"),
        ] {
            assert_eq!(shelf.find(asked).map(|item| item.listed.name).as_deref(), Some(found), "{asked}");
        }
        for asked in [path, "", "gpt-4o", "../tiny", "/etc/passwd", "Qwen/Qwen3-4B-GGUF"] {
            assert!(shelf.find(asked).is_none(), "{asked}");
        }
        match shelf.open("gpt-4o\n") {
            Err(OpenError::Unknown(text)) => {
                assert!(text.contains("gpt-4o\\u000a") && text.contains("builtin, tiny"), "{text}")
            }
            other => panic!("{:?}", other.err()),
        }
        assert_eq!(shelf.describe("tiny.gguf").unwrap().name, "tiny");
        assert!(matches!(shelf.describe("gpt-4o"), Err(OpenError::Unknown(_))));
        let opened = shelf.open("tiny").unwrap();
        assert_eq!((opened.name.as_str(), opened.device.as_str()), ("tiny", "cpu"));
        assert!((opened.session)(&opened.options).is_ok());
    }

    #[test]
    fn facts_come_from_the_file() {
        let listed = shelf(&["builtin"]).unwrap().list().remove(0);
        assert_eq!((listed.architecture.as_str(), listed.task), ("qwen3", Task::Generate));
        assert_eq!(listed.bytes, builtin::bytes().len() as u64);
        assert!(listed.parameters.is_some_and(|count| count > 100_000));
        assert!(listed.context.is_some() && listed.file_type.is_some() && listed.digest.len() == 64);
    }

    #[test]
    fn names_must_differ_and_files_must_run() {
        let error = |names: &[&str]| one_line(&shelf(names).err().unwrap());
        assert!(error(&["builtin", "builtin"]).contains("'builtin'"));
        assert!(error(&["no-such.gguf"]).contains("no-such.gguf"));
    }

    #[test]
    fn a_file_is_called_by_its_name() {
        let of = |path: &str| stem(Path::new(path)).unwrap();
        assert_eq!(of("a/m-Q4_K_M.gguf"), "m-Q4_K_M");
        assert_eq!(of("m-00001-of-00003.gguf"), "m");
        assert_eq!(of("best-of-3.gguf"), "best-of-3");
        assert_eq!(of("sha256-abc"), "sha256-abc");
    }
}
