//! What meets the columns of the weight matrices on the device, for an importance matrix.

use qwip_gpu::ops::squares;
use qwip_gpu::{Gpu, Recording, Span};

use crate::backend::Importance;
use crate::error::Result;

/// Sums of the matrices that share an input.
#[derive(Debug)]
struct Entry {
    names: Vec<String>,
    experts: usize,
    sums: Span, // [experts, cols], then [experts] counts
}

/// The sums of one batch. Batches see the same matrices in the same order, so the memory of the last one is used again.
#[derive(Debug, Default)]
pub(super) struct Squares {
    entries: Vec<Entry>,
    next: usize,
}

impl Squares {
    /// Begins a batch.
    pub(super) fn begin(&mut self) {
        self.next = 0;
    }

    /// Adds what sums the squares of `rows` rows of `x`, which meet the weights of these names; of experts, slots.
    pub(super) fn see(
        &mut self,
        gpu: &Gpu,
        rec: &mut Recording,
        names: &mut dyn Iterator<Item = &str>,
        x: &Span,
        ids: Option<(&Span, usize)>,
        [experts, cols, rows]: [usize; 3],
    ) -> Result<()> {
        if self.next == self.entries.len() {
            let mut distinct: Vec<String> = names.map(Into::into).collect();
            // Parts of one tensor are seen once.
            distinct.dedup();
            let bytes = squares::sums_len(experts, cols) as u64 * 4;
            let sums = gpu.buffer("sums of squares", bytes)?.whole();
            self.entries.push(Entry { names: distinct, experts, sums });
        }
        squares::squares(rec, x, ids, &self.entries[self.next].sums, [experts, cols, rows]);
        self.next += 1;
        Ok(())
    }

    /// What was seen, once the batch has run.
    pub(super) fn finish(&self, gpu: &Gpu, importance: &mut Importance) -> Result<()> {
        for entry in &self.entries[..self.next] {
            let bytes = gpu.read(&entry.sums)?;
            let sums: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let (sums, counts) = sums.split_at(sums.len() - entry.experts);
            for name in &entry.names {
                importance.add_sums(name, sums, counts);
            }
        }
        Ok(())
    }
}
