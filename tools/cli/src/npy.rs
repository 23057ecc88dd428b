//! NumPy's .npy format, version 1.0: a float32 matrix written row by row under a temporary name.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use qwip_convert::OutputFile;

/// A matrix that is being written. Dropped before [`NpyWriter::finish`], it leaves nothing behind.
pub(crate) struct NpyWriter {
    out: OutputFile,
    cols: usize,
    rows_left: usize,
}

impl NpyWriter {
    /// Starts the file of a matrix of `rows` x `cols`.
    pub(crate) fn create(path: &Path, rows: usize, cols: usize) -> anyhow::Result<NpyWriter> {
        let mut out = OutputFile::create(path)?;
        out.write_all(&header(rows, cols))?;
        Ok(NpyWriter { out, cols, rows_left: rows })
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, values: &[f32]) -> anyhow::Result<()> {
        let (found, left, cols) = (values.len(), self.rows_left, self.cols);
        if found != cols || left == 0 {
            bail!("a row of {found} values where {left} rows of {cols} are left");
        }
        self.rows_left -= 1;
        Ok(values.iter().try_for_each(|v| self.out.write_all(&v.to_le_bytes()))?)
    }

    /// Gives the file its name. It must be complete.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if self.rows_left > 0 {
            bail!("{} rows are missing", self.rows_left);
        }
        Ok(self.out.finish()?)
    }
}

/// Magic, version 1.0, length of the dictionary, and the dictionary padded so that the data starts at a
/// multiple of 64 bytes.
fn header(rows: usize, cols: usize) -> Vec<u8> {
    let mut dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_finished_file_has_header_and_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let mut npy = NpyWriter::create(&path, 2, 3).unwrap();
        npy.row(&[1.0, 2.0, 3.0]).unwrap();
        assert!(npy.row(&[1.0]).is_err());
        npy.row(&[4.0, 5.0, -6.0]).unwrap();
        npy.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[..8]), (128 + 24, b"\x93NUMPY\x01\x00".as_slice()));
        assert_eq!(&bytes[148..], (-6.0f32).to_le_bytes());
        assert!(String::from_utf8_lossy(&bytes[..128]).contains("'shape': (2, 3)"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_file_disappears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let mut npy = NpyWriter::create(&path, 2, 1).unwrap();
        npy.row(&[1.0]).unwrap();
        assert!(npy.finish().is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
