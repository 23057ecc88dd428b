//! Where models come from. The program that embeds the server implements this; the server opens no files by itself.

use std::sync::Arc;
use std::time::SystemTime;

use qwip::chat::Voice;
use qwip::model::Task;
use qwip::{Cpu, Model, Session, SessionOptions};

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What it is called; requests name it so.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// When its file was written.
    pub modified: Option<SystemTime>,
    /// `general.architecture`.
    pub architecture: String,
    /// Weights, where known.
    pub parameters: Option<u64>,
    /// The type mix, as `Q4_K_M`.
    pub file_type: Option<String>,
    /// Positions it was trained for.
    pub context: Option<usize>,
    /// What it is for.
    pub task: Task,
    /// SHA-256 of the file, or another text that changes with it.
    pub digest: String,
}

/// Makes an empty session.
pub type NewSession = Box<dyn Fn(&SessionOptions) -> qwip::Result<Session> + Send + Sync>;

/// A model that was opened.
pub struct Opened {
    /// What it is listed as.
    pub name: String,
    /// The model.
    pub model: Arc<Model>,
    /// Template and tokenizer.
    pub voice: Voice,
    /// What it computes with. Models that are loaded at the same time share the threads.
    pub cpu: Cpu,
    /// The settings of its sessions; the context is that of one sequence.
    pub options: SessionOptions,
    /// Makes an empty session, with layers on a GPU where that was chosen.
    pub session: NewSession,
    /// What computes, in words: `cpu`, or the layers on a GPU.
    pub device: String,
}

/// A model as its file describes it, without what it would need to answer.
pub struct Described {
    /// What it is listed as.
    pub name: String,
    /// The model, whose weights are at most mapped.
    pub model: Arc<Model>,
    /// Template and tokenizer.
    pub voice: Voice,
}

impl From<Opened> for Described {
    fn from(Opened { name, model, voice, .. }: Opened) -> Described {
        Described { name, model, voice }
    }
}

/// Why a model was not opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no model of that name.
    #[error("{0}")]
    Unknown(String),
    /// There is one, but it cannot be used.
    #[error("{0}")]
    Failed(String),
}

/// The models that there are. Calls may take long (they read files) and come from any thread.
pub trait Library: Send + Sync + 'static {
    /// All models, in the order in which they are shown.
    fn list(&self) -> Vec<Listed>;

    /// Opens one. Names are those of the list, and whatever else the program understands, but never a path: a request
    /// must not make the server read files.
    fn open(&self, name: &str) -> Result<Opened, OpenError>;

    /// Reads what a file says about its model. Nothing is kept of it, and no limit counts it: no weights may be read into
    /// memory or put on a device for that, as [`open`](Library::open), which does by default, may do.
    fn describe(&self, name: &str) -> Result<Described, OpenError> {
        self.open(name).map(Described::from)
    }

    /// The model that a request means which names none, or an unknown one where only one is served.
    fn default_name(&self) -> Option<String>;
}
