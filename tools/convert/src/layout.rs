//! Which tensors go to which file of an output, what the files are called, and that they appear together.

use crate::error::{Result, gguf_error, invalid};
use crate::output::OutputFile;
use qwip_quant::gguf::{self, DataWriter, Writer, split};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a file of the output may hold. As llama.cpp has it, bytes are those of the weights, without metadata and
/// padding, and a tensor that is larger has a file of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of weights.
    pub bytes: Option<u64>,
    /// The most tensors.
    pub tensors: Option<usize>,
}

/// A file of the output.
#[derive(Clone, Debug)]
pub struct Portion {
    /// Its name.
    pub path: PathBuf,
    /// Number of tensors.
    pub tensors: usize,
    /// Bytes of their weights.
    pub bytes: u64,
}

/// How the tensors of an output, in their order, are spread over files.
pub(crate) struct Layout {
    /// For each file the number of tensors in it and the files before it.
    ends: Vec<usize>,
}

impl Layout {
    /// As few files as `limits` allow, for tensors of so many bytes.
    pub(crate) fn within(limits: Limits, sizes: impl Iterator<Item = u64>) -> Result<Layout> {
        let (mut ends, mut start, mut end, mut held) = (Vec::new(), 0, 0, 0u64);
        for size in sizes {
            let full = limits.tensors.is_some_and(|most| end - start >= most)
                || limits.bytes.is_some_and(|most| held.saturating_add(size) > most);
            if full && end > start {
                ends.push(end);
                (start, held) = (end, 0);
            }
            end += 1;
            held = held.saturating_add(size);
        }
        ends.push(end);
        Layout { ends }.checked()
    }

    /// `count` files, given for each tensor the one that it goes to, ascending.
    pub(crate) fn kept(files: &[usize], count: usize) -> Result<Layout> {
        let ends = (0..count).map(|no| files.partition_point(|file| *file <= no)).collect();
        Layout { ends }.checked()
    }

    fn checked(self) -> Result<Layout> {
        let (count, most) = (self.ends.len(), usize::from(u16::MAX));
        if count > most {
            return invalid(format!(
                "the output would be {count} files, more than {most}: let each hold more"
            ));
        }
        Ok(self)
    }

    fn tensors(&self, no: usize) -> Range<usize> {
        let start = no.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[no]
    }

    /// The files that become of `out`: itself, or `PREFIX-00001-of-0000N.gguf` and so on.
    pub(crate) fn portions(&self, out: &Path, size: impl Fn(usize) -> u64) -> Vec<Portion> {
        let count = self.ends.len();
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let prefix = name.strip_suffix(".gguf").unwrap_or(&name);
        let portion = |no: usize| Portion {
            path: match count {
                1 => out.to_path_buf(),
                _ => out.with_file_name(format!("{prefix}-{:05}-of-{count:05}.gguf", no + 1)),
            },
            tensors: self.tensors(no).len(),
            bytes: self.tensors(no).map(&size).sum(),
        };
        (0..count).map(portion).collect()
    }

    /// The headers of the files. The first one has all of `metadata`; `describe` adds a tensor to the header of its file.
    pub(crate) fn headers(
        &self,
        out: &Path,
        metadata: Writer,
        describe: impl Fn(usize, &mut Writer) -> std::result::Result<(), gguf::Error>,
    ) -> Result<Vec<Writer>> {
        let count = self.ends.len();
        let mut metadata = Some(metadata);
        let header = |no: usize| {
            let mut writer = metadata.take().unwrap_or_default();
            if count > 1 {
                writer.set(split::NO_KEY, no as u16);
                writer.set(split::COUNT_KEY, count as u16);
                writer.set(split::TENSORS_KEY, self.ends[count - 1] as i32);
            }
            self.tensors(no).try_for_each(|i| describe(i, &mut writer)).map_err(gguf_error(out))?;
            Ok(writer)
        };
        (0..count).map(header).collect()
    }

    /// Writes all files, then gives them their names; `write` is asked for the data of each tensor. If a name cannot be
    /// given, the files that have theirs stay. The first file, by which a model is opened, is the last to appear.
    pub(crate) fn write(
        &self,
        files: &[Portion],
        headers: Vec<Writer>,
        mut write: impl FnMut(usize, &mut DataWriter<OutputFile>, &Path) -> Result<()>,
    ) -> Result<()> {
        let mut written = Vec::with_capacity(files.len());
        for (no, (Portion { path, .. }, header)) in files.iter().zip(headers).enumerate() {
            let mut data = header.start(OutputFile::create(path)?).map_err(gguf_error(path))?;
            self.tensors(no).try_for_each(|i| write(i, &mut data, path))?;
            let mut output = data.finish().map_err(gguf_error(path))?;
            output.close()?;
            written.push(output);
        }
        written.into_iter().rev().try_for_each(OutputFile::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(bytes: Option<u64>, tensors: Option<usize>, sizes: &[u64]) -> Vec<usize> {
        Layout::within(Limits { bytes, tensors }, sizes.iter().copied()).unwrap().ends
    }

    #[test]
    fn a_file_is_full_when_the_next_tensor_would_break_a_limit() {
        assert_eq!(ends(None, None, &[5, 5, 5]), [3]);
        assert_eq!(ends(Some(10), None, &[5, 5, 5, 10, 1]), [2, 3, 4, 5]);
        // What does not fit anywhere has a file of its own, the first one included.
        assert_eq!(ends(Some(10), None, &[99, 5, 99, 5, 5]), [1, 2, 3, 5]);
        assert_eq!(ends(None, Some(2), &[1, 1, 1, 1, 1]), [2, 4, 5]);
        assert_eq!(ends(Some(10), Some(2), &[1, 1, 1, 9, 9]), [2, 4, 5]);
        assert_eq!(ends(Some(u64::MAX - 1), None, &[5, u64::MAX]), [1, 2]);
        assert_eq!(ends(Some(1), Some(1), &[]), [0]);
    }

    #[test]
    fn kept_files_may_be_empty() {
        let layout = Layout::kept(&[1, 1, 3], 4).unwrap();
        assert_eq!(layout.ends, [0, 2, 2, 3]);
        let files = layout.portions(Path::new("a/b.gguf"), |_| 7);
        assert_eq!(files[1].path, Path::new("a/b-00002-of-00004.gguf"));
        assert_eq!((files[1].tensors, files[1].bytes), (2, 14));
        assert_eq!((files[2].tensors, files[2].bytes), (0, 0));
    }

    #[test]
    fn one_file_keeps_its_name_and_there_are_no_more_than_their_number_can_count() {
        let one = Layout::within(Limits { bytes: Some(10), tensors: None }, [4, 4].into_iter()).unwrap();
        assert_eq!(one.portions(Path::new("b.gguf"), |_| 4)[0].path, Path::new("b.gguf"));
        let each = Limits { bytes: None, tensors: Some(1) };
        assert!(Layout::within(each, std::iter::repeat_n(1, 65535)).is_ok());
        let message = Layout::within(each, std::iter::repeat_n(1, 65536)).err().unwrap().to_string();
        assert!(message.contains("65536 files, more than 65535"), "{message}");
    }
}
