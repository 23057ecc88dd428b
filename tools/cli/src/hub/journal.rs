//! Which bytes of an unfinished file are there. A record is written after its bytes have reached the disk, so that after
//! any end of the process, or of the computer, at worst some bytes are fetched again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// A journal of this length is of no download of ours.
const MAX_BYTES: u64 = 16 << 20;

/// Ranges of bytes, sorted, without overlap.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds the bytes from `from` up to `to`.
    pub(crate) fn add(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        let first = self.0.partition_point(|range| range.1 < from);
        let last = self.0.partition_point(|range| range.0 <= to);
        for range in &self.0[first..last] {
            (from, to) = (from.min(range.0), to.max(range.1));
        }
        self.0.splice(first..last, [(from, to)]);
    }

    /// How many bytes.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }

    /// How far it goes from the beginning without a hole.
    pub(crate) fn frontier(&self) -> u64 {
        self.0.first().filter(|range| range.0 == 0).map_or(0, |range| range.1)
    }

    /// The holes before `end`.
    pub(crate) fn missing(&self, end: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut at = 0;
        for &(from, to) in &self.0 {
            if from > at && at < end {
                holes.push((at, from.min(end)));
            }
            at = to;
        }
        if at < end {
            holes.push((at, end));
        }
        holes
    }
}

/// An open journal.
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Opens the journal of a file of `size` bytes, shortened to what it says.
    pub(crate) fn open(path: &Path, size: u64, done: &Ranges) -> io::Result<Journal> {
        let mut text = header(size);
        for (from, to) in &done.0 {
            text.push_str(&format!("{from} {to}\n"));
        }
        let next = path.with_extension("parts.new");
        std::fs::write(&next, text)?;
        std::fs::rename(&next, path)?;
        Ok(Journal { file: OpenOptions::new().append(true).open(path)? })
    }

    /// These bytes are on the disk.
    pub(crate) fn add(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.file.write_all(format!("{from} {to}\n").as_bytes())
    }
}

fn header(size: u64) -> String {
    format!("qwip-parts 1 {size}\n")
}

/// What the journal at `path` says about the file `data`, which shall have `size` bytes: nothing if either is not there
/// or not sound. A last line that was cut off does not count.
pub(crate) fn read(path: &Path, data: &Path, size: u64) -> Ranges {
    let mut done = Ranges::default();
    if !std::fs::metadata(data).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size) {
        return done;
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    let Some(lines) = read.ok().and_then(|_| text.strip_prefix(&header(size))) else { return done };
    for line in lines.split_inclusive('\n') {
        let range = line.strip_suffix('\n').and_then(|line| {
            let (from, to) = line.split_once(' ')?;
            Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?))
        });
        match range {
            Some((from, to)) if from < to && to <= size => done.add(from, to),
            _ => break,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[(u64, u64)]) -> Ranges {
        let mut all = Ranges::default();
        ranges.iter().for_each(|&(from, to)| all.add(from, to));
        all
    }

    #[test]
    fn ranges_join_and_leave_holes() {
        let all = of(&[(10, 20), (30, 40), (20, 25), (0, 5), (24, 31), (7, 7)]);
        assert_eq!(all.0, [(0, 5), (10, 40)]);
        assert_eq!((all.total(), all.frontier()), (35, 5));
        assert_eq!(all.missing(50), [(5, 10), (40, 50)]);
        assert_eq!(all.missing(7), [(5, 7)]);
        assert_eq!(all.missing(5), []);
        assert_eq!((of(&[]).missing(3), of(&[(1, 2)]).frontier()), (vec![(0, 3)], 0));
        assert_eq!(of(&[(0, 9), (2, 3)]).0, [(0, 9)]);
    }

    #[test]
    fn a_journal_survives_being_cut_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("j.parts"), dir.path().join("d"));
        std::fs::write(&data, [0; 100]).unwrap();
        let mut journal = Journal::open(&path, 100, &of(&[(0, 10)])).unwrap();
        journal.add(50, 60).unwrap();
        journal.add(10, 12).unwrap();
        assert_eq!(read(&path, &data, 100), of(&[(0, 12), (50, 60)]));
        let text = std::fs::read(&path).unwrap();
        for len in 0..text.len() {
            std::fs::write(&path, &text[..len]).unwrap();
            let done = read(&path, &data, 100);
            assert!(
                done.total() <= 22
                    && done
                        .missing(100)
                        .iter()
                        .any(|hole| *hole == (60, 100) || *hole == (10, 100) || *hole == (0, 100))
            );
        }
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path, &data, 101), of(&[]));
        std::fs::write(&data, [0; 99]).unwrap();
        assert_eq!(read(&path, &data, 100), of(&[]));
        std::fs::write(&data, [0; 100]).unwrap();
        for wrong in
            ["qwip-parts 1 100\n5 101\n", "qwip-parts 1 100\n7 5\n", "qwip-parts 2 100\n0 5\n", "\0\0\0"]
        {
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(read(&path, &data, 100), of(&[]), "{wrong:?}");
        }
    }
}
