//! What is said of a model before it is loaded.

use std::ffi::c_void;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::file::Bytes;
use runtime::{Model, ModelFile, OpenOptions};

use crate::status::Outcome;

/// Hears how far loading is, in bytes; anything but 0 stops it, and the load returns `QWIP_STATUS_CANCELLED`. It is called on
/// the thread that loads. Calls on the model out of it get `QWIP_STATUS_BUSY`.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub type qwip_progress_callback =
    Option<unsafe extern "C" fn(done: u64, total: u64, user: *mut c_void) -> i32>;

/// Hears that memory is no longer used. It is called once, on whichever thread uses it last, and must not call back into
/// the library.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub type qwip_release_callback = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// See the setters.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) threads: usize,
    pub(super) cores: Vec<usize>,
    pub(super) mmap: bool,
    pub(super) mlock: bool,
    pub(super) prefault: bool,
    /// 0: none.
    pub(super) memory_limit: u64,
    /// More than there are: the output projection, too.
    pub(super) gpu_layers: usize,
    pub(super) progress: Option<Progress>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            threads: 0,
            cores: Vec::new(),
            mmap: true,
            mlock: false,
            prefault: false,
            memory_limit: 0,
            gpu_layers: 0,
            progress: None,
        }
    }
}

/// The host's function that hears of the progress.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub(super) callback: unsafe extern "C" fn(u64, u64, *mut c_void) -> i32,
    pub(super) user: *mut c_void,
}

// SAFETY: the pointer is handed back to the host's function and never read here; the header says which thread that is.
unsafe impl Send for Progress {}
// SAFETY: as above.
unsafe impl Sync for Progress {}

impl Settings {
    pub(super) fn hear(&self, done: u64, total: u64) -> ControlFlow<()> {
        let stop = self.progress.is_some_and(|Progress { callback, user }| {
            // SAFETY: the host has given the function for this.
            crate::call::host(|| unsafe { callback(done, total, user) != 0 })
        });
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Where a model comes from.
pub(super) enum Source {
    Path(PathBuf),
    /// A part of an open file; length 0: to its end.
    File {
        file: File,
        offset: u64,
        length: u64,
    },
    /// Is mapped by nature.
    Memory(Arc<Model>),
}

impl Source {
    /// Whether its bytes are never copied.
    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Source::Memory(_))
    }

    /// Maps the file and reads what it says of itself.
    pub(super) fn describe(&self) -> Outcome<Arc<Model>> {
        match self {
            Source::Memory(model) => Ok(model.clone()),
            _ => self.open(OpenOptions::default(), &mut |_, _| ControlFlow::Continue(())),
        }
    }

    /// Opens the file as the settings say.
    pub(super) fn load(&self, settings: &Settings) -> Outcome<Arc<Model>> {
        let Settings { mmap, mlock, prefault, .. } = *settings;
        let options = OpenOptions { mmap, mlock, prefault };
        self.open(options, &mut |done, total| settings.hear(done, total))
    }

    fn open(
        &self,
        options: OpenOptions,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Outcome<Arc<Model>> {
        let file = match self {
            Source::Memory(model) => return Ok(model.clone()),
            Source::Path(path) => ModelFile::open_watched(path, options, progress)?,
            Source::File { file, offset, length } => {
                let name = PathBuf::from("<file>");
                let file =
                    file.try_clone().map_err(|source| runtime::Error::Io { path: name.clone(), source })?;
                let length = (*length > 0).then_some(*length);
                ModelFile::open_at_watched(file, &name, *offset, length, options, progress)?
            }
        };
        Ok(Arc::new(Model::load(Arc::new(file))?))
    }
}

/// The host's memory, which hears when nobody uses it any more.
pub(super) struct HostMemory {
    pub(super) data: *const u8,
    pub(super) length: usize,
    pub(super) release: qwip_release_callback,
    pub(super) user: *mut c_void,
}

// SAFETY: the header asks for memory that does not change until it is released, so that any thread may read it; the pointer
// `user` is only handed back.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    pub(super) fn into_model(self) -> Outcome<Arc<Model>> {
        let file = ModelFile::from_bytes(Bytes::Host(Box::new(self)))?;
        Ok(Arc::new(Model::load(Arc::new(file))?))
    }
}

impl AsRef<[u8]> for HostMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `qwip_model_open_memory` has checked the pointer and the length; the header asks that the memory is
        // readable and does not change until it is released, which is when this is dropped.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the host has given the function for this, and this is the only time.
            unsafe { release(self.user) };
        }
    }
}
