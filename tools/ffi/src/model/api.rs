//! Opening and loading.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use super::settings::{Progress, qwip_progress_callback, qwip_release_callback};
use super::{HostMemory, Source, info, qwip_model};
use crate::call::{self, on};
use crate::handle;
use crate::status::{Fault, QWIP_STATUS_NOT_FOUND, QWIP_STATUS_UNSUPPORTED, qwip_status};
use crate::values::{Out, array, flag, text};

/// Most threads that can be asked for.
const MOST_THREADS: i32 = 1024;

/// A new model, without a file yet. Free it with `qwip_model_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_new(model: *mut *mut qwip_model) -> qwip_status {
    call::plain(|| {
        // SAFETY: the header asks for a place to write to.
        let out = unsafe { Out::new(model, "the place of the model", std::ptr::null_mut()) }?;
        out.set(handle::insert(Arc::default()));
        Ok(())
    })
}

/// Frees a model. Sessions, samplers and requests that still live keep its weights for as long as they do. What waits in the
/// background is cancelled: nobody could bring it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_free(model: *mut qwip_model) -> qwip_status {
    on(model, |thing| {
        handle::remove(model);
        if let Ok(engine) = thing.engine() {
            engine.abandon();
        }
        Ok(())
    })
}

/// The message of the last call on this model that failed, "" if none did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_error(model: *mut qwip_model, message: *mut *mut c_char) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    unsafe { call::error_of(model, message) }
}

/// How many threads compute, the calling one or the request's among them, 1 to 1024; 0 (the default): one per performance
/// core that the process may use. Results do not depend on it. Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_threads(model: *mut qwip_model, threads: i32) -> qwip_status {
    on(model, |thing| {
        if !(0..=MOST_THREADS).contains(&threads) {
            return Err(Fault::argument(format!("threads is {threads}, expected 0 to {MOST_THREADS}")));
        }
        thing.set(|settings| settings.threads = threads as usize)
    })
}

/// The logical processors that the threads run on, `[count]`; none (the default): any. Requests and the threads beside them
/// are pinned, the host's own threads never. Linux and Android. Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_affinity(
    model: *mut qwip_model,
    cores: *const u32,
    count: usize,
) -> qwip_status {
    on(model, |thing| {
        // SAFETY: the header asks for so many values.
        let cores = unsafe { array(cores, count, "cores") }?;
        if !cores.is_empty() && !cfg!(any(target_os = "linux", target_os = "android")) {
            let message = "threads cannot be bound to processors on this system";
            return Err(Fault::new(QWIP_STATUS_UNSUPPORTED, message));
        }
        thing.set(|settings| settings.cores = cores.iter().map(|&core| core as usize).collect())
    })
}

/// Whether the file is mapped (1, the default), or copied into memory (0). A mapped file takes no memory that counts, but one
/// that somebody truncates meanwhile ends the process; a copy survives that, once it is loaded. Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_mmap(model: *mut qwip_model, on_off: i32) -> qwip_status {
    on(model, |thing| {
        let value = flag(on_off, "mmap")?;
        thing.set(|settings| settings.mmap = value)
    })
}

/// Whether the system is asked to keep the mapped pages in memory (0, the default, or 1). That it refuses is logged, and no
/// error. Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_mlock(model: *mut qwip_model, on_off: i32) -> qwip_status {
    on(model, |thing| {
        let value = flag(on_off, "mlock")?;
        thing.set(|settings| settings.mlock = value)
    })
}

/// Whether loading reads the whole mapped file once, so that the first answer does not wait for it (0, the default, or 1).
/// Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_prefault(model: *mut qwip_model, on_off: i32) -> qwip_status {
    on(model, |thing| {
        let value = flag(on_off, "prefault")?;
        thing.set(|settings| settings.prefault = value)
    })
}

/// A limit, in bytes, on the memory of our own (not the mapped pages) that the model and all its sessions take together; 0
/// (the default): none. (What schemas and grammars need is not counted.) What would exceed it fails with `QWIP_STATUS_OUT_OF_MEMORY` and leaves everything as it was. Before
/// loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_memory_limit(model: *mut qwip_model, bytes: u64) -> qwip_status {
    on(model, |thing| thing.set(|settings| settings.memory_limit = bytes))
}

/// So many of the last layers are on a GPU: 0 (the default): none; negative: all, and the output projection. Needs the feature
/// "gpu". Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_gpu_layers(model: *mut qwip_model, layers: i32) -> qwip_status {
    on(model, |thing| {
        if layers != 0 && !cfg!(feature = "gpu") {
            let message = "this build of the library computes on the CPU alone (feature \"gpu\")";
            return Err(Fault::new(QWIP_STATUS_UNSUPPORTED, message));
        }
        thing.set(|settings| settings.gpu_layers = usize::try_from(layers).unwrap_or(usize::MAX))
    })
}

/// Who hears how far loading is; NULL: nobody. There is something to hear where the file is copied, read ahead or put on a
/// GPU. Before loading.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_set_progress(
    model: *mut qwip_model,
    callback: qwip_progress_callback,
    user: *mut c_void,
) -> qwip_status {
    on(model, |thing| {
        let progress = callback.map(|callback| Progress { callback, user });
        thing.set(|settings| settings.progress = progress)
    })
}

/// Opens a GGUF file, of a split model its first part: maps it and reads its header. Then `qwip_model_info` and
/// `qwip_model_estimate` can be asked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_open_path(model: *mut qwip_model, path: *const c_char) -> qwip_status {
    on(model, |thing| {
        // SAFETY: the header asks for text.
        let path = unsafe { text(path, "the path") }?;
        if path.is_empty() {
            return Err(Fault::argument("the path is empty"));
        }
        thing.open(|| Ok(Source::Path(PathBuf::from(path))))
    })
}

/// Opens a GGUF file that is a part of an open file, as an asset inside of an Android package is: `length` bytes (0: all that
/// follow) from byte `offset` on, which need not be aligned. The descriptor is duplicated: the caller may close its own.
/// Where there are file descriptors: not on Windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_open_fd(
    model: *mut qwip_model,
    fd: i32,
    offset: u64,
    length: u64,
) -> qwip_status {
    on(model, |thing| {
        thing.open(|| {
            let file = duplicate(fd)?;
            Ok(Source::File { file, offset, length })
        })
    })
}

#[cfg(unix)]
fn duplicate(fd: i32) -> crate::status::Outcome<std::fs::File> {
    use std::os::fd::FromRawFd;
    // SAFETY: it reads no memory of ours; a descriptor that is not open is an error.
    let own = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if own < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Fault::argument(format!("the file descriptor {fd} cannot be duplicated: {error}")));
    }
    // SAFETY: it is new, and nobody else has it.
    Ok(unsafe { std::fs::File::from_raw_fd(own) })
}

#[cfg(not(unix))]
fn duplicate(fd: i32) -> crate::status::Outcome<std::fs::File> {
    let message = format!("there are no file descriptors on this system, so {fd} is none");
    Err(Fault::new(QWIP_STATUS_UNSUPPORTED, message))
}

/// Opens a GGUF file that is in memory already. `data` must be readable and must not change until `release` is called with
/// `user`, which happens exactly once, also if this call fails; without a `release`, until the model and all its sessions,
/// samplers and requests have been freed and their calls have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_open_memory(
    model: *mut qwip_model,
    data: *const c_void,
    length: usize,
    release: qwip_release_callback,
    user: *mut c_void,
) -> qwip_status {
    // Whatever becomes of the call, dropping this releases the memory.
    let memory = HostMemory { data: data.cast(), length, release, user };
    on(model, move |thing| {
        // SAFETY: the header asks for so many bytes; NULL and lengths that cannot be are refused.
        let bytes = unsafe { array(memory.data, memory.length, "the data") }?;
        if bytes.is_empty() {
            return Err(Fault::argument("the data have no bytes"));
        }
        thing.open(|| Ok(Source::Memory(memory.into_model()?)))
    })
}

/// Gets the model ready: tokenizer, template, threads; copies or reads the file ahead if that was asked for. The model stays
/// open, and can be loaded again, if it fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_load(model: *mut qwip_model) -> qwip_status {
    on(model, |thing| thing.load())
}

/// What the file says of itself, as a JSON object: "architecture", "name" (null if it has none), "file_type", "bytes",
/// "parameters", "context" (positions it was trained for), "layers", "embedding", "vocab", "task" ("generate", "embed" or
/// "rerank"), "dimensions" (of an embedding, else null), "has_template", "thinks", "tool_format" ("hermes", "xml", or null
/// where the template knows of no tools). An open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_info(model: *mut qwip_model, json: *mut *mut c_char) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::text(json, "the place of the JSON") };
    on(model, |thing| {
        let out = out?;
        out.set_text(&info::of(&*thing.described()?).to_string());
        Ok(())
    })
}

/// The value of a key of the file's metadata, as JSON; of long arrays the first 1,000 values. `QWIP_STATUS_NOT_FOUND` if there
/// is no such key. An open model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_metadata(
    model: *mut qwip_model,
    key: *const c_char,
    json: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::text(json, "the place of the JSON") };
    on(model, |thing| {
        // SAFETY: the header asks for text.
        let (out, key) = (out?, unsafe { text(key, "the key") }?);
        let model = thing.described()?;
        let value = info::metadata(&model, key)?.ok_or_else(|| {
            Fault::new(QWIP_STATUS_NOT_FOUND, format!("there is no metadata key '{key}' in the file"))
        })?;
        out.set_text(&value.to_string());
        Ok(())
    })
}

/// What a session with so many positions (0: as many as the model was trained for) and default settings will take: `kind` is
/// one of `QWIP_MEMORY_MAPPED`, `_DIRTY`, `_GPU`, `_KV_PER_TOKEN`, `_TOTAL`. Computed from sizes; nothing is taken. An open
/// model, which need not be loaded; it goes by the settings as they are now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_estimate(
    model: *mut qwip_model,
    context: u32,
    kind: i32,
    bytes: *mut u64,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(bytes, "the place of the bytes", 0) };
    on(model, |thing| {
        let out = out?;
        out.set(thing.estimate(context as usize)?.kind(kind)?);
        Ok(())
    })
}

/// Bytes of our own that the model and its sessions take now, as they count against the limit. A loaded model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_memory_used(model: *mut qwip_model, bytes: *mut u64) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(bytes, "the place of the bytes", 0) };
    on(model, |thing| {
        let out = out?;
        out.set(thing.engine()?.budget().used());
        Ok(())
    })
}
