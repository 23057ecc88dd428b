//! Making a session, asking it, putting it away.

use std::ffi::c_char;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::kv::KvType;
use runtime::model::{RopeOptions, ScalingType};
use runtime::{Estimate, SessionOptions};

use super::{Equipped, SessionThing, Work, qwip_session};
use crate::call::{self, on};
use crate::handle;
use crate::model::{Memory, qwip_model};
use crate::status::{Fault, Outcome, QWIP_STATUS_IO, QWIP_STATUS_NOT_FOUND, qwip_status};
use crate::values::{Out, hand_out, text};

/// Keys or values as 16-bit floats: the default.
pub const QWIP_CACHE_F16: i32 = 0;
/// Keys or values as 32-bit floats.
pub const QWIP_CACHE_F32: i32 = 1;
/// Keys or values in 8 bits, with a scale for every 32 of them.
pub const QWIP_CACHE_Q8_0: i32 = 2;

/// Positions as the file says.
pub const QWIP_ROPE_MODEL: i32 = 0;
/// No scaling, whatever the file says.
pub const QWIP_ROPE_NONE: i32 = 1;
/// Positions are divided by the factor.
pub const QWIP_ROPE_LINEAR: i32 = 2;
/// YaRN, by the factor.
pub const QWIP_ROPE_YARN: i32 = 3;

/// So long freeing waits for a callback to return.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A new, empty session on a loaded model. It takes its memory when it is first used, or by `qwip_session_prepare`. Free it with
/// `qwip_session_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_new(
    model: *mut qwip_model,
    session: *mut *mut qwip_session,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(session, "the place of the session", std::ptr::null_mut()) };
    on(model, |thing| {
        let out = out?;
        let new = SessionThing::new(thing.engine()?, SessionOptions::default(), Work::default());
        out.set(handle::insert(new));
        Ok(())
    })
}

/// Frees a session. What runs on it is cancelled and waited for; `QWIP_STATUS_BUSY`, and nothing is freed, if that takes longer
/// than a second (a callback that does not return, a schema that is being read, a file that is being written), or if the
/// call comes out of a callback of its request. Its requests can be asked for their results afterwards, but no longer be started, and must be freed, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_free(session: *mut qwip_session) -> qwip_status {
    on(session, |thing| {
        if crate::request::is_calling(thing) {
            return Err(Fault::busy("a session cannot be freed out of its request's callback: return first"));
        }
        if !thing.free(PATIENCE) {
            return Err(Fault::busy(
                "a call or callback on the session has not returned yet: free it again later",
            ));
        }
        handle::remove(session);
        Ok(())
    })
}

/// The message of the last call on this session that failed, "" if none did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_error(
    session: *mut qwip_session,
    message: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    unsafe { call::error_of(session, message) }
}

/// Most positions, of prompts and answers together; 0 (the default): as many as the model was trained for, which can be more
/// than a phone has memory for. Before the first use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_set_context(session: *mut qwip_session, tokens: u32) -> qwip_status {
    on(session, |thing| thing.set(|options| options.context = tokens as usize))
}

/// Tokens of a prompt that are computed at a time, 1 to 4096; 0 (the default): up to 512. More is faster, and takes more
/// memory. Answers do not depend on it. Before the first use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_set_batch(session: *mut qwip_session, tokens: u32) -> qwip_status {
    on(session, |thing| thing.set(|options| options.batch = tokens as usize))
}

/// How keys and values are kept: `QWIP_CACHE_` constants. Before the first use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_set_cache_types(
    session: *mut qwip_session,
    keys: i32,
    values: i32,
) -> qwip_status {
    on(session, |thing| {
        let (keys, values) = (cache_type(keys, "keys")?, cache_type(values, "values")?);
        thing.set(|options| (options.k_type, options.v_type) = (keys, values))
    })
}

fn cache_type(number: i32, what: &str) -> Outcome<KvType> {
    match number {
        QWIP_CACHE_F16 => Ok(KvType::F16),
        QWIP_CACHE_F32 => Ok(KvType::F32),
        QWIP_CACHE_Q8_0 => Ok(KvType::Q8_0),
        _ => Err(Fault::argument(format!(
            "the type of {what} is {number}, expected {QWIP_CACHE_F16} to {QWIP_CACHE_Q8_0}"
        ))),
    }
}

/// How positions beyond the trained length are reached: `kind` is one of the `QWIP_ROPE_` constants; `factor` says by how much
/// the length grows, 0: as much as the context needs. Before the first use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_set_rope_scaling(
    session: *mut qwip_session,
    kind: i32,
    factor: f32,
) -> qwip_status {
    on(session, |thing| {
        let scaling = match kind {
            QWIP_ROPE_MODEL => None,
            QWIP_ROPE_NONE => Some(ScalingType::None),
            QWIP_ROPE_LINEAR => Some(ScalingType::Linear),
            QWIP_ROPE_YARN => Some(ScalingType::Yarn),
            _ => {
                return Err(Fault::argument(format!(
                    "the rope scaling is {kind}, expected {QWIP_ROPE_MODEL} to {QWIP_ROPE_YARN}"
                )));
            }
        };
        let factor = (factor != 0.0).then_some(factor);
        thing.set(|options| options.rope = RopeOptions { scaling, factor, ..RopeOptions::default() })
    })
}

/// What the session will take when it is full, by its settings; `kind` as in `qwip_model_estimate`. Nothing is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_estimate(
    session: *mut qwip_session,
    kind: i32,
    bytes: *mut u64,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(bytes, "the place of the bytes", 0) };
    on(session, |thing| {
        let out = out?;
        let (engine, options) = (thing.engine(), thing.take()?.options);
        let estimate = Estimate::of_session(engine.model(), &options, engine.threads().all())?;
        out.set(
            Memory::of(&estimate, engine.table_bytes(), engine.is_mapped(), engine.share_on_gpu())
                .kind(kind)?,
        );
        Ok(())
    })
}

/// Takes the memory that does not depend on the length now, so that it is known whether there is enough; otherwise the first
/// use does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_prepare(session: *mut qwip_session) -> qwip_status {
    on(session, |thing| thing.take()?.ready().map(drop))
}

/// A new session with the same settings that holds the same tokens. It shares their keys and values; from there on neither
/// sees what the other does. It has no logits before its next token. (A hybrid's fork may hold fewer tokens:
/// `qwip_session_length` tells.) Free it with `qwip_session_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_fork(
    session: *mut qwip_session,
    fork: *mut *mut qwip_session,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(fork, "the place of the fork", std::ptr::null_mut()) };
    on(session, |thing| {
        let out = out?;
        let mut lent = thing.take()?;
        let session = &lent.sequence()?.session;
        let sequence = Equipped { session: session.fork(session.tokens().len())?, buffers: None };
        let work = Work { sequence: Some(sequence), texts: None };
        out.set(handle::insert(SessionThing::new(thing.engine().clone(), lent.options, work)));
        Ok(())
    })
}

/// How many tokens the session holds. (`QWIP_STATUS_BUSY` while a request runs, as for every call on a session.)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_length(session: *mut qwip_session, tokens: *mut usize) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(tokens, "the place of the length", 0) };
    on(session, |thing| {
        let out = out?;
        out.set(thing.take()?.session().map_or(0, |session| session.tokens().len()));
        Ok(())
    })
}

/// Copies the tokens that the session holds. Array and count as in `qwip_model_tokenize`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_tokens(
    session: *mut qwip_session,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let count = unsafe { Out::new(count, "the count", 0) };
    on(session, |thing| {
        let lent = thing.take()?;
        let found = lent.session().map_or(&[][..], |session| session.tokens());
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(found, tokens, capacity, &count?, "the array of tokens") }
    })
}

/// Forgets all tokens from number `tokens` on; there are no logits then. A request does this by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_truncate(session: *mut qwip_session, tokens: usize) -> qwip_status {
    on(session, |thing| {
        let mut lent = thing.take()?;
        let length = lent.session().map_or(0, |session| session.tokens().len());
        if tokens > length {
            return Err(Fault::argument(format!(
                "the length is to be {tokens}, but there are {length} tokens"
            )));
        }
        if let Some(Equipped { session, .. }) = &mut lent.sequence {
            session.truncate(tokens);
        }
        Ok(())
    })
}

/// Writes the tokens and what was computed of them, so that a later process need not compute it again: to `path` with ".tmp"
/// behind it, which is then renamed; only the user can read it. The file is of use for the same model, the same settings and the same version of the library. Nothing is
/// computed: it works in the background, too. (Behind critical memory pressure there are only the tokens to write.)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_save(session: *mut qwip_session, path: *const c_char) -> qwip_status {
    on(session, |thing| {
        // SAFETY: the header asks for text.
        let path = Path::new(unsafe { text(path, "the path") }?);
        let mut lent = thing.take()?;
        let (beside, file) = Temporary::beside(path)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        lent.aside(|session, cancel| session.save(&mut out, cancel)).map_err(|fault| named(path, fault))?;
        out.flush().map_err(|error| io(path, &error))?;
        out.get_ref().sync_all().map_err(|error| io(path, &error))?;
        drop(out);
        fs::rename(&beside.0, path).map_err(|error| io(path, &error))
    })
}

/// Becomes the session that was saved: what follows has the bits that it would have had there; there are no logits before the
/// next token. If the file is not of use, the
/// session is as it was. Nothing is computed: it works in the background, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_restore(
    session: *mut qwip_session,
    path: *const c_char,
) -> qwip_status {
    on(session, |thing| {
        // SAFETY: the header asks for text.
        let path = Path::new(unsafe { text(path, "the path") }?);
        let mut lent = thing.take()?;
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(|error| io(path, &error))?);
        let restored = lent.aside(|session, cancel| session.restore(&mut file, cancel));
        restored.map_err(|fault| named(path, fault))
    })
}

/// Ends the call or the request that uses the session, from any thread: a call returns `QWIP_STATUS_CANCELLED`, a request
/// finishes as cancelled, within 50 ms, also in the middle of a prompt. (One token of a hybrid is not broken off.) The session
/// is as it was before the step that was broken off. Nothing happens if nothing runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_cancel(session: *mut qwip_session) -> qwip_status {
    on(session, |thing| {
        thing.stop();
        Ok(())
    })
}

/// A file that goes away unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    /// An empty file beside `path`, always the same one: what a process that was killed has left is written over.
    fn beside(path: &Path) -> Outcome<(Temporary, File)> {
        if let Ok(found) = fs::metadata(path)
            && !found.is_file()
        {
            return Err(Fault::argument(format!("{}: is not a file that can be replaced", path.display())));
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let beside = path.with_file_name(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        // It is a conversation.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&beside).map_err(|error| io(&beside, &error))?;
        // Where there are no locks, two that write the same file at the same time are the host's business.
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(Fault::busy(format!("{}: another session is writing it", path.display())));
        }
        // The one that was opened may have been renamed before it was locked: then it is somebody's saved session.
        if !is_still(&file, &beside) {
            return Err(Fault::busy(format!("{}: another session has just written it", path.display())));
        }
        let temporary = Temporary(beside);
        file.set_len(0).map_err(|error| io(&temporary.0, &error))?;
        Ok((temporary, file))
    }
}

/// Whether `file` is what `path` names.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(found)) => (file.dev(), file.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Elsewhere a file that is open is not renamed over.
#[cfg(not(unix))]
fn is_still(_: &File, path: &Path) -> bool {
    path.exists()
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more if all went well.
        let _ = fs::remove_file(&self.0);
    }
}

/// A message that says of which file it is.
fn named(path: &Path, fault: Fault) -> Fault {
    Fault::new(fault.status, format!("{}: {}", path.display(), fault.message))
}

fn io(path: &Path, error: &std::io::Error) -> Fault {
    let status =
        if error.kind() == std::io::ErrorKind::NotFound { QWIP_STATUS_NOT_FOUND } else { QWIP_STATUS_IO };
    Fault::new(status, format!("{}: {error}", path.display()))
}
