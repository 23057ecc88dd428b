//! What an adapter does to the rows of a tensor.

use std::collections::BTreeMap;

/// A matrix plus a product of two small ones, with rows of given lengths, or with rows that are given whole.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) rank: usize,
    /// `[rank, cols]`
    pub(crate) a: Vec<f32>,
    /// `[rows, rank]`, with the scaling in it
    pub(crate) b: Vec<f32>,
    /// `[rows]`: the length that a row gets (DoRA).
    pub(crate) lengths: Option<Vec<f32>>,
    /// Rows that take the place of the matrix's.
    pub(crate) rows: BTreeMap<u64, Vec<f32>>,
}

impl Patch {
    /// Changes the row with the number `row`.
    pub(crate) fn apply(&self, row: u64, values: &mut [f32]) {
        // Rows of a tensor in memory are counted by a usize.
        let index = row as usize;
        for (b, a) in self.b[index * self.rank..].iter().zip(self.a.chunks_exact(values.len())) {
            values.iter_mut().zip(a).for_each(|(value, a)| *value += b * a);
        }
        if let Some(lengths) = &self.lengths {
            let squares: f64 = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
            let factor = (f64::from(lengths[index]) / squares.sqrt()) as f32;
            values.iter_mut().for_each(|value| *value *= factor);
        }
        if let Some(row) = self.rows.get(&row) {
            values.copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_change_by_their_share_of_the_product() {
        let mut patch =
            Patch { rank: 2, a: vec![1.0, 2.0, 10.0, 20.0], b: vec![1.0, 0.0, 0.5, 1.0], ..Patch::default() };
        let changed = |patch: &Patch, row| {
            let mut values = [1.0, 1.0];
            patch.apply(row, &mut values);
            values
        };
        assert_eq!(changed(&patch, 0), [2.0, 3.0]);
        assert_eq!(changed(&patch, 1), [11.5, 22.0]);
        patch.b[2..].fill(0.0);
        patch.lengths = Some(vec![1.0, 8f32.sqrt()]);
        assert_eq!(changed(&patch, 1), [2.0, 2.0]);
        patch.rows.insert(1, vec![7.0, 8.0]);
        assert_eq!(changed(&patch, 1), [7.0, 8.0]);
    }
}
