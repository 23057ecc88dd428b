//! Models on Hugging Face and ModelScope: finding, fetching and keeping them where other tools look for them too.

mod agent;
mod choose;
mod connection;
mod disk;
mod download;
pub(crate) mod hash;
mod http;
mod huggingface;
mod journal;
pub(crate) mod layout;
mod modelscope;
mod name;
mod record;
mod refuse;
mod store;
pub(crate) mod unfinished;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, bail};

use crate::output::{bytes, note, usage};
use crate::progress::{Meter, Unit};
use crate::{interrupt, output};
use choose::NoChoice;
pub(crate) use choose::quant_of;
use download::{Changed, Download, Job, Parts};
use http::{Client, Failure, TokenIs};
pub(crate) use layout::find;
pub(crate) use name::{Hub, Name};
use refuse::Verdict;
use store::Place;

/// A file on a hub.
#[derive(Clone, Debug)]
struct Remote {
    path: String,
    size: u64,
    /// As far as the hub states it.
    sha256: Option<String>,
    /// What the cache calls its bytes.
    blob: String,
}

/// What a repository holds.
struct Listing {
    revision: String,
    files: Vec<Remote>,
}

/// How a model is to be had.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct FetchOptions {
    /// The hub; without one what the name says, else Hugging Face.
    pub(crate) source: Option<Hub>,
    /// Only what is in the cache.
    pub(crate) offline: bool,
    /// Ask the hub for the last revision although one is in the cache.
    pub(crate) fresh: bool,
}

/// The path of the first file of a model, which is fetched if it is not here yet.
pub(crate) fn fetch(name: &Name, options: &FetchOptions) -> anyhow::Result<PathBuf> {
    if let (Some(named), Some(source)) = (name.hub, options.source)
        && named != source
    {
        return Err(usage(format!("{name} is on {named}, and --source says {source}")));
    }
    let name = Name { hub: options.source.or(name.hub), ..name.clone() };
    let offline = options.offline || store::is_offline();
    if (offline || !options.fresh)
        && let Some(path) = find(&name)
    {
        return Ok(path);
    }
    if offline {
        bail!(not_here(&name));
    }
    let hub = name.hub.unwrap_or(Hub::HuggingFace);
    let root = layout::root(hub).ok_or_else(|| anyhow!("no folder for models: HOME is not set"))?;
    let client = match hub {
        Hub::HuggingFace => huggingface::client(),
        Hub::ModelScope => modelscope::client(),
    }?;
    let fetcher = Fetcher { hub, name: &name, root, client: Arc::new(client), is_listed: Cell::new(false) };
    let result = match fetcher.fetch() {
        Err(error) if error.is::<Changed>() => {
            note(format_args!("qwip: note: {}; starting again", output::one_line(&error)));
            fetcher.fetch()
        }
        result => result,
    };
    result.map_err(|error| fetcher.explain(error))
}

/// What is said where nothing may be fetched.
fn not_here(name: &Name) -> String {
    let mut here: Vec<String> = layout::cached()
        .iter()
        .filter(|file| file.owner == name.owner && file.repo == name.repo)
        .filter(|file| name.hub.is_none_or(|hub| hub == file.hub))
        .map(|file| quant_of(file.file.trim_end_matches(".gguf")))
        .collect();
    here.dedup();
    let roots: Vec<String> = [Hub::HuggingFace, Hub::ModelScope]
        .into_iter()
        .filter(|hub| name.hub.is_none_or(|named| named == *hub))
        .filter_map(|hub| Some(layout::root(hub)?.display().to_string()))
        .collect();
    let here = if here.is_empty() { String::new() } else { format!("; of it there is {}", here.join(", ")) };
    format!("{name} is not in the cache ({}){here}; nothing is fetched offline", roots.join(", "))
}

/// One model on its way into the cache.
struct Fetcher<'a> {
    hub: Hub,
    name: &'a Name,
    root: PathBuf,
    client: Arc<Client>,
    /// The hub has said what the repository holds.
    is_listed: Cell<bool>,
}

impl Fetcher<'_> {
    fn fetch(&self) -> anyhow::Result<PathBuf> {
        let listing = match self.hub {
            Hub::HuggingFace => huggingface::list(&self.client, self.name),
            Hub::ModelScope => modelscope::list(&self.client, self.name),
        }?;
        self.is_listed.set(true);
        let chosen = self.choose(&listing)?;
        // Until here nothing is lost by ending at once.
        let _armed = interrupt::arm();
        let mut wanted = Vec::new();
        for remote in &chosen {
            wanted.push((*remote, Place::new(&self.root, self.hub, self.name, &listing.revision, remote)?));
        }
        let mut missing = Vec::new();
        for (at, (remote, place)) in wanted.iter().enumerate() {
            if !place.present()? {
                missing.push((at, *remote, place));
            }
        }
        let jobs: Vec<Job> =
            missing.iter().map(|(_, remote, place)| self.job(remote, place, &listing)).collect();
        self.check_room(&jobs)?;
        let total = jobs.iter().fold(0u64, |sum, job| sum.saturating_add(job.size));
        let mut meter = Meter::new("fetching", total, Unit::Bytes);
        for ((at, _, place), job) in missing.iter().zip(jobs) {
            self.fetch_file(place, job, *at == 0, &mut meter)?;
        }
        if let Some((remote, place)) = wanted.iter().find(|(_, place)| !place.path.is_file()) {
            bail!(
                "{}: {} was here and is gone: something removed it meanwhile; the same command fetches it again",
                remote.path,
                place.path.display()
            );
        }
        let Some((_, first)) = wanted.first() else { bail!("{}: no file was chosen", self.name) };
        store::set_main(&first.repo, self.hub, &listing.revision)?;
        Ok(first.path.clone())
    }

    /// The files of the model that was asked for.
    fn choose<'l>(&self, listing: &'l Listing) -> anyhow::Result<Vec<&'l Remote>> {
        let name = self.name;
        let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
        match choose::choose(&paths, name.quant.as_deref()) {
            Ok(chosen) => Ok(chosen.into_iter().map(|at| &listing.files[at]).collect()),
            Err(NoChoice::NoGguf) if paths.iter().any(|path| path.ends_with(".safetensors")) => bail!(
                "{name} holds no GGUF file but a checkpoint in safetensors: look for a repository {}-GGUF, or fetch this one \
                 with another tool and make a GGUF file of it with `qwip convert`",
                name.id()
            ),
            Err(NoChoice::NoGguf) => bail!("{name} holds no GGUF file of a model"),
            Err(NoChoice::NoSuchQuant(there)) => bail!(
                "{} has no {}; it has {}",
                name.id(),
                name.quant.as_deref().unwrap_or_default(),
                there.iter().take(40).cloned().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    fn job(&self, remote: &Remote, place: &Place, listing: &Listing) -> Job {
        let url = match self.hub {
            Hub::HuggingFace => huggingface::url(&self.client, self.name, &listing.revision, &remote.path),
            Hub::ModelScope => modelscope::url(&self.client, self.name, &remote.path),
        };
        Job {
            url,
            title: remote.path.clone(),
            size: remote.size,
            sha256: remote.sha256.clone(),
            data: place.unfinished.clone(),
            journal: place.journal.clone(),
        }
    }

    /// Whether the disk has room for what is not here yet.
    fn check_room(&self, jobs: &[Job]) -> anyhow::Result<()> {
        let sizes = jobs.iter().map(|job| job.size.saturating_sub(job.done()));
        let needed = sizes.fold(0u64, u64::saturating_add);
        match disk::free(&self.root) {
            Some(free) if needed > free => bail!(
                "{} needs {} ({needed} bytes), and the disk of {} has {} ({free} bytes) left; HF_HUB_CACHE or \
                 MODELSCOPE_CACHE names another folder",
                self.name,
                bytes(needed),
                self.root.display(),
                bytes(free)
            ),
            _ => Ok(()),
        }
    }

    fn fetch_file(&self, place: &Place, job: Job, is_first: bool, meter: &mut Meter) -> anyhow::Result<()> {
        place.prepare()?;
        let _lock = place.lock()?;
        // Another process may have been faster.
        if place.present()? {
            meter.begin_at(job.size);
            // What we had of it serves nobody any more.
            job.discard();
            return Ok(());
        }
        let download = Download::open(self.client.clone(), job.clone())?;
        meter.begin_at(download.done());
        let result = self.fill(&download, &job, is_first, meter);
        let sha256 = match result {
            Err(error) if error.is::<Refused>() || error.is::<Changed>() => {
                drop(download);
                job.discard();
                return Err(error);
            }
            result => result?,
        };
        if let Some(stated) = job.sha256.as_ref().filter(|stated| **stated != sha256) {
            drop(download);
            job.discard();
            bail!(
                "{}: the bytes hash to {sha256}, but {} states {stated}; they were thrown away, and the same command \
                 fetches them again",
                job.title,
                self.hub
            );
        }
        if job.sha256.is_none() {
            meter.note(&format!(
                "qwip: note: {} states no SHA-256 for {}; only its size was checked",
                self.hub, job.title
            ));
        }
        drop(download);
        place.publish(sha256)
    }

    /// Fetches what is missing of one file, its header first; the result is its hash.
    fn fill(
        &self,
        download: &Download,
        job: &Job,
        is_first: bool,
        meter: &mut Meter,
    ) -> anyhow::Result<String> {
        let mut judged = false;
        let mut parts = Parts::Given;
        for step in refuse::STEPS {
            let end = step.min(job.size);
            parts = download.fill(end, meter)?;
            if parts == Parts::Refused {
                break;
            }
            judged = self.judge(&download.start(end)?, job, is_first)?;
            if judged || end == job.size {
                break;
            }
        }
        let follower = match parts {
            Parts::Given => {
                let follower = download.hasher()?;
                match download.fill(job.size, meter)? {
                    Parts::Given => follower,
                    // Only now it was asked for parts: what we had came in another run, or the server changed its mind.
                    Parts::Refused => {
                        drop(follower);
                        download.stream(meter)?;
                        download.hasher()?
                    }
                }
            }
            Parts::Refused => {
                download.stream(meter)?;
                download.hasher()?
            }
        };
        if !judged {
            let longest = refuse::STEPS[refuse::STEPS.len() - 1].saturating_mul(16);
            self.judge(&download.start(longest)?, job, is_first)?;
        }
        follower.finish(&job.title, meter, hash::Shown::AsTail)
    }

    /// Whether the first bytes were enough to see that the model runs.
    fn judge(&self, start: &[u8], job: &Job, is_first: bool) -> anyhow::Result<bool> {
        match refuse::check(start, job.size, is_first) {
            Ok(verdict) => Ok(verdict == Verdict::Runs),
            Err(error) => Err(error.context(Refused(format!("{}: {} is not fetched", self.name, job.title)))),
        }
    }

    /// An error of the hub in words that help.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let Fetcher { hub, name, client, .. } = self;
        let id = name.id();
        let found = error.downcast_ref::<Failure>();
        if let Some(Failure::Broken(why)) = found
            && find(name).is_some()
        {
            return anyhow!("{why}; what is in the cache is found with --offline");
        }
        let Some(Failure::Status { code, reason, .. }) = found else { return error };
        let unknown = !self.is_listed.get() && (*code == 404 || reason == "RepoNotFound");
        if let (true, 401, TokenIs::Withheld(from)) = (unknown, code, &client.token_is) {
            let at = &client.endpoint;
            return anyhow!(
                "there is no repository {id} on {at}, or it is private: your token in {from} is not sent to {at}; without \
                 HF_ENDPOINT it goes to huggingface.co"
            );
        }
        match (unknown, code, hub) {
            (true, 401, Hub::HuggingFace) if client.token_is == TokenIs::Absent => anyhow!(
                "there is no repository {id} on {hub}, or it is private and needs a token in HF_TOKEN; --source {} looks on \
                 the other hub",
                hub.other()
            ),
            (true, ..) => {
                anyhow!(
                    "there is no repository {id} on {hub} ({code}); --source {} looks on the other hub",
                    hub.other()
                )
            }
            (_, 401 | 403, Hub::HuggingFace) => {
                let at = &client.endpoint;
                match &client.token_is {
                    TokenIs::Shown(from) => anyhow!(
                        "{id}: {hub} refuses your token ({code}): the one in {from} is wrong, or the repository is gated and \
                         its terms have to be accepted on {at}/{id} first"
                    ),
                    TokenIs::Withheld(from) => anyhow!(
                        "{id}: {at} asks who you are ({code}): the repository is gated or private, and your token in {from} \
                         is not sent to {at}; without HF_ENDPOINT it goes to huggingface.co"
                    ),
                    TokenIs::Absent => anyhow!(
                        "{id}: {hub} asks who you are ({code}): the repository is gated or private; accept its terms on \
                         {at}/{id} and put a token into HF_TOKEN"
                    ),
                }
            }
            (_, 401 | 403, Hub::ModelScope) => {
                anyhow!("{id}: {hub} refuses access ({code}): the repository is private")
            }
            _ => error.context(format!("{name} on {hub}")),
        }
    }
}

/// Said of a model that does not run here.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
