//! The first few values of a GGUF file: enough to list it, without reading its vocabulary.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use qwip::model::{ARCHITECTURES, Task};
use qwip::quant::gguf::MAGIC;
use qwip::quant::pooling::Pooling;
use qwip::quant::types::FileType;

/// So much of a file is read. The keys that are looked for come before the vocabulary, which is megabytes.
const PREFIX: u64 = 64 << 10;
/// The longest name of an architecture and the most keys that are looked at.
const LONGEST_TEXT: usize = 64;
const MOST_KEYS: u64 = 4096;

/// What the beginning of a GGUF file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) architecture: Option<String>,
    /// The name of its `general.file_type`, such as `Q4_K_M`.
    pub(crate) file_type: Option<&'static str>,
    /// `general.type` where it is not `model`: an adapter, a vision encoder.
    pub(crate) other_kind: Option<String>,
    /// `ARCHITECTURE.context_length`: positions it was trained for.
    pub(crate) context: Option<usize>,
    /// `ARCHITECTURE.pooling_type`.
    pooling: Option<Pooling>,
}

impl Header {
    /// Whether a model of this architecture runs here.
    pub(crate) fn runs(&self) -> bool {
        let known = |name: &String| ARCHITECTURES.split(", ").any(|known| known == name);
        self.other_kind.is_none() && self.architecture.as_ref().is_some_and(known)
    }

    /// What it was made for, as far as its pooling says.
    pub(crate) fn task(&self) -> Task {
        match self.pooling {
            None | Some(Pooling::None) => Task::Generate,
            Some(Pooling::Rank) => Task::Rerank,
            Some(_) => Task::Embed,
        }
    }

    /// Whether it is a model for answers: it runs, and was not made to turn a text into one vector or number.
    pub(crate) fn answers(&self) -> bool {
        self.runs() && self.task() == Task::Generate
    }
}

/// Reads the beginning of a file; `None` if that cannot be read or is not GGUF.
pub(crate) fn read(path: &Path) -> Option<Header> {
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    File::open(path).ok()?.take(PREFIX).read_to_end(&mut start).ok()?;
    parse(&start)
}

fn parse(start: &[u8]) -> Option<Header> {
    let mut cursor = Cursor(start);
    if cursor.take(4)? != MAGIC || !(2..=3).contains(&cursor.u32()?) {
        return None;
    }
    cursor.take(8)?;
    let keys = cursor.u64()?.min(MOST_KEYS);
    let mut header = Header::default();
    for _ in 0..keys {
        // The prefix is over, or the file is damaged: what was found so far counts.
        if cursor.key(&mut header).is_none() {
            break;
        }
    }
    Some(header)
}

/// What is left of the prefix.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.take(len)
    }

    /// Reads one key and its value.
    fn key(&mut self, header: &mut Header) -> Option<()> {
        let key = self.text()?;
        let ty = self.u32()?;
        match (key, ty) {
            (b"general.architecture", 8) => header.architecture = short(self.text()?),
            (b"general.type", 8) => header.other_kind = short(self.text()?).filter(|kind| kind != "model"),
            (b"general.file_type", 4) => header.file_type = FileType::from_id(self.u32()?).map(|ty| ty.name),
            (key, 4) if key.ends_with(b".context_length") => {
                header.context = usize::try_from(self.u32()?).ok().filter(|&context| context > 0);
            }
            (key, 4) if key.ends_with(b".pooling_type") => {
                header.pooling = Pooling::from_id(u64::from(self.u32()?));
            }
            _ => self.skip(ty)?,
        }
        Some(())
    }

    fn skip(&mut self, ty: u32) -> Option<()> {
        match ty {
            8 => {
                self.text()?;
            }
            9 => {
                let (ty, count) = (self.u32()?, self.u64()?);
                match size(ty) {
                    Some(size) => {
                        self.take(usize::try_from(count.checked_mul(size as u64)?).ok()?)?;
                    }
                    None if ty == 8 => {
                        for _ in 0..count {
                            self.text()?;
                        }
                    }
                    None => return None,
                }
            }
            ty => {
                self.take(size(ty)?)?;
            }
        }
        Some(())
    }
}

/// Bytes of a number of this type.
fn size(ty: u32) -> Option<usize> {
    match ty {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A text that is short enough for a table.
fn short(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.is_empty() && text.len() <= LONGEST_TEXT).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qwip::quant::gguf::{Set, Writer};

    fn file(keys: &[(&str, Set)]) -> Vec<u8> {
        let mut writer = Writer::new();
        for (key, value) in keys {
            writer.set(key, value.clone());
        }
        writer.start(Vec::new()).unwrap().finish().unwrap()
    }

    #[test]
    fn the_builtin_model_is_recognised() {
        let header = parse(&crate::builtin::bytes()[..PREFIX as usize]).unwrap();
        assert_eq!(header.architecture.as_deref(), Some("qwen3"));
        assert!(header.file_type.is_some() && header.runs(), "{header:?}");
    }

    #[test]
    fn other_kinds_and_architectures_do_not_run() {
        let text = |s: &str| Set::from(s);
        let header = parse(&file(&[("general.architecture", text("llama"))])).unwrap();
        assert!(!header.runs() && header.architecture.as_deref() == Some("llama"));
        let keys = [("general.type", text("adapter")), ("general.architecture", text("qwen3"))];
        assert!(!parse(&file(&keys)).unwrap().runs());
    }

    #[test]
    fn what_makes_vectors_is_not_for_answers() {
        let of = |pooling: Option<u32>| {
            let mut keys =
                vec![("general.architecture", Set::from("qwen3")), ("general.file_type", Set::from(15u32))];
            keys.extend(pooling.map(|id| ("qwen3.pooling_type", Set::from(id))));
            parse(&file(&keys)).unwrap()
        };
        assert!(of(None).answers() && of(Some(0)).answers());
        assert!((1..=4).all(|id| of(Some(id)).runs() && !of(Some(id)).answers()));
    }

    #[test]
    fn damaged_files_are_read_as_far_as_they_go() {
        let whole = file(&[
            ("a.list", Set::from(vec!["x".to_string(); 3])),
            ("general.architecture", Set::from("qwen2")),
            ("general.file_type", Set::from(15u32)),
        ]);
        assert_eq!(parse(&whole).unwrap().file_type, Some("Q4_K_M"));
        for end in 0..whole.len() {
            let header = parse(&whole[..end]);
            assert!(header.is_none() || end >= 24, "{end}");
        }
        let mut huge = whole.clone();
        huge[24..32].fill(0xff);
        assert_eq!(parse(&huge).unwrap(), Header::default());
        assert_eq!(parse(b"no model at all, only text of some length"), None);
    }
}
