//! A session on disk: its tokens and what they have left behind, so that a long text is not read twice.
//!
//! The format is private to one version of the number contract: it begins with a header that names all that the bytes
//! depend on, and whoever cannot use it evaluates the tokens again. Numbers are in the machine's byte order.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `qwip-kv1` |
//! | 4 | 0x01020304 |
//! | 4 | length of the header |
//! | .. | the header, JSON |
//! | 4 each | tokens |
//! | .. | pages of keys and values, in order |
//! | .. | of a hybrid the memory, then its copies |
//! | 8 | XXH3 of everything before |

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Cancel, Session};
use crate::error::{Error, Result};
use crate::kv::{CacheTypes, Sequence};

const MAGIC: [u8; 8] = *b"qwip-kv1";
const ORDER: u32 = 0x0102_0304;
/// No header is longer: a few words, and a name for each layer.
const LONGEST_HEADER: u32 = 1 << 16;
/// So many bytes at a time, between two looks at the flag.
const CHUNK: usize = 1 << 20;

/// Why a session is not saved, or a saved one not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// Some layers are on a GPU, whose cache stays there.
    #[error("layers are on a GPU, whose cache cannot be saved")]
    OnDevice,
    /// It was made by something that computes other numbers; its tokens have to be evaluated again.
    #[error("the saved session has {what} {found}, here it is {want}")]
    Other {
        /// What differs.
        what: &'static str,
        /// As it is in the saved session.
        found: String,
        /// As it is here.
        want: String,
    },
    /// It is longer than this session may get.
    #[error("the saved session has {tokens} tokens, but the context holds {context}")]
    TooLong {
        /// Tokens saved.
        tokens: usize,
        /// Positions available.
        context: usize,
    },
    /// The bytes are not those that were written.
    #[error("the saved session is damaged: {what} is {found}, expected {want}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// As it was found.
        found: String,
        /// As it should be.
        want: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// All that the bytes behind it depend on.
#[derive(Serialize, Deserialize, Debug)]
struct Header {
    /// Version of the number contract.
    contract: u32,
    /// [`ModelFile::fingerprint`](crate::ModelFile::fingerprint).
    model: String,
    /// Hash of the numbers that keys are rotated by.
    rotation: String,
    /// Types of keys in each layer with attention, and of values.
    cache: String,
    tokens: usize,
    /// Of these, how many have left something behind.
    evaluated: usize,
    /// Of a hybrid: positions of the copies of its memory.
    copies: Vec<usize>,
}

impl Session {
    /// Writes the tokens and what they have left behind: some [`Session::kv_bytes`], and of a hybrid the copies of its
    /// memory. `out` had better be buffered.
    ///
    /// # Errors
    /// [`Error::Saved`]: [`SavedError::OnDevice`], [`SavedError::Io`]; [`Error::Cancelled`]. [`Error::Memory`],
    /// [`Error::KvMemory`] where a hybrid's memory, given back by [`Session::release_pages`], has no room.
    pub fn save(&mut self, out: &mut dyn Write, cancel: &Cancel) -> Result<()> {
        if self.device.is_some() {
            return Err(SavedError::OnDevice.into());
        }
        if self.sequence.spoilt {
            self.sequence.truncate(self.sequence.len());
        }
        self.sequence.regain()?;
        let header = serde_json::to_vec(&self.header()).map_err(io::Error::other).map_err(SavedError::Io)?;
        let mut out = Hashed { inner: out, hash: Xxh3::new(), cancel };
        out.write(&MAGIC)?;
        out.write(&ORDER.to_ne_bytes())?;
        out.write(&(header.len() as u32).to_ne_bytes())?;
        out.write(&header)?;
        out.write(bytemuck::cast_slice(&self.tokens))?;
        let Sequence { kv, memory, snapshots, .. } = &self.sequence;
        kv.contents().try_for_each(|bytes| out.write(bytes))?;
        let copies = snapshots.kept().iter().map(|(_, copy)| copy);
        for state in memory.iter().chain(copies) {
            state.contents().into_iter().try_for_each(|bytes| out.write(bytes))?;
        }
        let sum = out.hash.digest();
        out.inner.write_all(&sum.to_ne_bytes()).map_err(SavedError::Io)?;
        Ok(())
    }

    /// Becomes a session that was saved on the same model with settings that make the same numbers: the tokens need not be
    /// evaluated again, and what follows has the bits that it would have had there. There are no logits until the
    /// next call.
    ///
    /// # Errors
    /// [`Error::Saved`], [`Error::Memory`], [`Error::KvMemory`], [`Error::Cancelled`]; the session is then as it was.
    pub fn restore(&mut self, from: &mut dyn Read, cancel: &Cancel) -> Result<()> {
        if self.device.is_some() {
            return Err(SavedError::OnDevice.into());
        }
        let mut from = Hashed { inner: from, hash: Xxh3::new(), cancel };
        let magic: [u8; 8] = from.array()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        expect("its beginning", &text(&magic), &text(&MAGIC))?;
        let order = u32::from_ne_bytes(from.array()?);
        expect("the byte order", &format!("{order:#x}"), &format!("{ORDER:#x}"))?;
        let header = from.header()?;
        let here = self.header();
        for (what, found, want) in [
            ("number contract", header.contract.to_string(), here.contract.to_string()),
            ("model file", header.model, here.model),
            ("rotary positions", header.rotation, here.rotation),
            ("cache types", header.cache, here.cache),
        ] {
            if found != want {
                return Err(SavedError::Other { what, found, want }.into());
            }
        }
        let Header { tokens: count, evaluated, copies, .. } = header;
        if count > self.context {
            return Err(SavedError::TooLong { tokens: count, context: self.context }.into());
        }
        let in_order = copies.is_sorted() && copies.iter().all(|&copy| copy <= evaluated);
        if evaluated > count || !in_order || copies.len() > Self::MAX_SNAPSHOTS {
            let found = format!("{evaluated} positions and copies at {copies:?}");
            let want = format!("at most {count}, in order");
            return Err(SavedError::Damaged { what: "the header", found, want }.into());
        }

        let mut tokens = vec![0u32; count];
        from.fill(bytemuck::cast_slice_mut(&mut tokens))?;
        let vocab = self.model.config().vocab;
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocab) {
            let want = format!("below {vocab}");
            return Err(SavedError::Damaged { what: "a token", found: token.to_string(), want }.into());
        }
        let types = self.sequence.kv.types().clone();
        let sequence = self.read_sequence(&mut from, types, evaluated, &copies)?;
        let sum = from.hash.digest();
        let found = u64::from_ne_bytes(from.array()?);
        expect("the checksum", &format!("{sum:016x}"), &format!("{found:016x}"))?;
        self.sequence = sequence;
        self.tokens = tokens;
        self.buffers.clear_logits();
        Ok(())
    }

    fn read_sequence(
        &self,
        from: &mut Hashed<'_, dyn Read + '_>,
        types: CacheTypes,
        evaluated: usize,
        copies: &[usize],
    ) -> Result<Sequence> {
        let config = self.model.config();
        let mut sequence = Sequence::new(config, types, self.options.snapshots, None, self.budget.as_ref())?;
        // Page by page, so that a header that lies does not cost memory that the bytes behind it do not fill.
        while sequence.kv.len() < evaluated {
            let more = (evaluated - sequence.kv.len()).min(qwip_cpu::TILE);
            sequence.kv.reserve(more)?;
            sequence.kv.last_page_mut().try_for_each(|bytes| from.fill(bytes))?;
            sequence.kv.advance(more);
        }
        let Sequence { memory: Some(memory), snapshots, .. } = &mut sequence else {
            return Ok(sequence);
        };
        memory.contents_mut().into_iter().try_for_each(|bytes| from.fill(bytes))?;
        let mut taken = Vec::new();
        for &position in copies {
            let mut copy = memory.another()?;
            copy.contents_mut().into_iter().try_for_each(|bytes| from.fill(bytes))?;
            taken.push((position, copy));
        }
        snapshots.put_back(0, taken);
        Ok(sequence)
    }

    fn header(&self) -> Header {
        let CacheTypes { k, v } = self.sequence.kv.types();
        let keys: Vec<&str> = k.iter().map(|ty| ty.name()).collect();
        let mut rotation = Xxh3::new();
        let logn = self.model.config().logn.unwrap_or(0) as u64;
        self.rope.numbers().for_each(|number| rotation.update(&number.to_le_bytes()));
        rotation.update(&logn.to_le_bytes());
        Header {
            contract: qwip_cpu::CONTRACT_VERSION,
            model: format!("{:032x}", self.model.file().fingerprint()),
            rotation: format!("{:016x}", rotation.digest()),
            cache: format!("{} {}", keys.join(" "), v.name()),
            tokens: self.tokens.len(),
            evaluated: self.sequence.len(),
            copies: self.sequence.snapshots.positions().collect(),
        }
    }
}

fn expect(what: &'static str, found: &str, want: &str) -> Result<()> {
    match found == want {
        true => Ok(()),
        false => {
            Err(SavedError::Damaged { what, found: found.escape_debug().to_string(), want: want.into() }
                .into())
        }
    }
}

/// Bytes that go by, and their hash.
struct Hashed<'a, T: ?Sized> {
    inner: &'a mut T,
    hash: Xxh3,
    cancel: &'a Cancel,
}

impl Hashed<'_, dyn Write + '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for part in bytes.chunks(CHUNK) {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            self.hash.update(part);
            self.inner.write_all(part).map_err(SavedError::Io)?;
        }
        Ok(())
    }
}

impl Hashed<'_, dyn Read + '_> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        for part in bytes.chunks_mut(CHUNK) {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            self.inner.read_exact(part).map_err(SavedError::Io)?;
            self.hash.update(part);
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn header(&mut self) -> Result<Header> {
        let len = u32::from_ne_bytes(self.array()?);
        if len > LONGEST_HEADER {
            let (found, want) = (len.to_string(), format!("at most {LONGEST_HEADER}"));
            return Err(SavedError::Damaged { what: "the header's length", found, want }.into());
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            SavedError::Damaged { what: "the header", found: error.to_string(), want: "JSON".into() }.into()
        })
    }
}
