//! Which tensors go to which file of an output, what the files are called, and that they appear together.

use crate::Progress;
use crate::error::{Result, gguf_error, invalid};
use crate::output::OutputFile;
use crate::verify::{Wanted, verify};
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
        // The name of a model's first file stands for all of them.
        let prefix = prefix.strip_suffix(&format!("-00001-of-{count:05}")).unwrap_or(prefix);
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

    /// Writes all files; `write` is asked for the data of each tensor, and returns their hash.
    pub(crate) fn write<'a>(
        &'a self,
        files: &'a [Portion],
        headers: Vec<Writer>,
        mut write: impl FnMut(usize, &mut DataWriter<OutputFile>, &Path) -> Result<u64>,
    ) -> Result<Complete<'a>> {
        let mut complete = Complete { layout: self, files, outputs: Vec::new(), hashes: Vec::new() };
        for (no, (Portion { path, .. }, header)) in files.iter().zip(headers).enumerate() {
            let mut data = header.start(OutputFile::create(path)?).map_err(gguf_error(path))?;
            for i in self.tensors(no) {
                complete.hashes.push(write(i, &mut data, path)?);
            }
            let mut output = data.finish().map_err(gguf_error(path))?;
            output.close()?;
            complete.outputs.push(output);
        }
        Ok(complete)
    }
}

/// Files that are on the disk and do not have their names yet; dropped, they disappear.
pub(crate) struct Complete<'a> {
    layout: &'a Layout,
    files: &'a [Portion],
    outputs: Vec<OutputFile>,
    /// One for each tensor.
    hashes: Vec<u64>,
}

impl Complete<'_> {
    /// Reads everything again; `wanted` says what each tensor must be.
    pub(crate) fn verify<'a>(
        &self,
        wanted: impl Fn(usize) -> Wanted<'a>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        progress.start(self.files.iter().map(|file| file.bytes).sum());
        self.outputs.iter().zip(self.files).enumerate().try_for_each(|(no, (output, file))| {
            let tensors = self.layout.tensors(no).map(|i| (wanted(i), self.hashes[i]));
            verify(output, file, tensors, progress)
        })
    }

    /// Gives the files their names. If one cannot be given, the files that have theirs stay. The first file, by which a
    /// model is opened, is the last to appear.
    pub(crate) fn finish(self) -> Result<()> {
        self.outputs.into_iter().rev().try_for_each(OutputFile::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qwip_quant::TensorType;

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

    #[test]
    fn what_reads_back_otherwise_is_found_before_it_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("m.gguf");
        let layout = Layout::within(Limits { bytes: None, tensors: Some(1) }, [32, 32].into_iter()).unwrap();
        let files = layout.portions(&out, |_| 32);
        let wanted = |i: usize| Wanted { name: ["a", "b"][i], dims: vec![8], ty: TensorType::F32 };
        let headers = || {
            let describe = |i, writer: &mut Writer| writer.tensor(["a", "b"][i], &[8], TensorType::F32);
            layout.headers(&out, Writer::new(), describe).unwrap()
        };
        let complete = || {
            let write = |i: usize, data: &mut DataWriter<OutputFile>, path: &Path| {
                let bytes: Vec<u8> = (0..8).flat_map(|n| ((i * 8 + n) as f32).to_le_bytes()).collect();
                data.write(&bytes).map_err(gguf_error(path))?;
                let mut hasher = std::hash::DefaultHasher::new();
                std::hash::Hasher::write(&mut hasher, &bytes);
                Ok(std::hash::Hasher::finish(&hasher))
            };
            layout.write(&files, headers(), write).unwrap()
        };
        complete().verify(wanted, &mut ()).unwrap();
        let other = |i: usize| Wanted { dims: vec![9], ..wanted(i) };
        assert!(
            complete().verify(other, &mut ()).unwrap_err().to_string().contains("a is not as it was written")
        );
        // Another number, and one that is none.
        for (end, part) in [
            ([0, 0, 0, 0x41], "b reads back with other bytes"),
            ([0, 0, 0xc0, 0x7f], "m-00002-of-00002.gguf: b: column"),
        ] {
            let complete = complete();
            let file = complete.outputs[1].part();
            let mut bytes = std::fs::read(file).unwrap();
            let at = bytes.len() - 4;
            bytes[at..].copy_from_slice(&end);
            std::fs::write(file, bytes).unwrap();
            let message = complete.verify(wanted, &mut ()).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        complete().finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
