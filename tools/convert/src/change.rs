//! What happens to the numbers of a row on their way from the checkpoint.

/// A change of every row of a tensor. It comes after an adapter's, which was trained on the checkpoint's numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    pub columns: Option<Columns>,
    pub values: Values,
}

/// Columns in another order, by blocks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns {
    /// Columns of a block.
    pub size: usize,
    /// For each place the block that comes there; together all columns of a row.
    pub order: Vec<usize>,
}

/// A function of each number by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Values {
    #[default]
    Same,
    /// `1 + x`: norms that the checkpoint stores as their distance from 1.
    PlusOne,
    /// `-exp(x)`: speeds of decay that the checkpoint stores as their logarithm.
    MinusExp,
}

impl Change {
    pub(crate) fn is_none(&self) -> bool {
        *self == Change::default()
    }

    /// Changes a row; `scratch` holds what it was.
    pub(crate) fn apply(&self, row: &mut [f32], scratch: &mut Vec<f32>) {
        if let Some(Columns { size, order }) = &self.columns {
            scratch.clear();
            scratch.extend_from_slice(row);
            for (place, block) in row.chunks_exact_mut(*size).zip(order) {
                place.copy_from_slice(&scratch[block * size..(block + 1) * size]);
            }
        }
        match self.values {
            Values::Same => {}
            Values::PlusOne => row.iter_mut().for_each(|x| *x += 1.0),
            // What is not finite must not look as if it were.
            Values::MinusExp => row.iter_mut().for_each(|x| {
                *x = if x.is_finite() { -libm::exp(f64::from(*x)) as f32 } else { f32::NAN };
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_change() {
        let applied = |change: Change| {
            let mut row = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
            change.apply(&mut row, &mut vec![9.0]);
            row
        };
        let columns = Some(Columns { size: 2, order: vec![2, 0, 1] });
        let moved = Change { columns: columns.clone(), values: Values::Same };
        assert_eq!(applied(moved), [4.0, 5.0, 0.0, 1.0, 2.0, 3.0]);
        let both = Change { columns, values: Values::PlusOne };
        assert_eq!(applied(both), [5.0, 6.0, 1.0, 2.0, 3.0, 4.0]);
        let decay = applied(Change { columns: None, values: Values::MinusExp });
        assert_eq!(decay[..2], [-1.0, -std::f32::consts::E]);
        let mut lost = [f32::NEG_INFINITY, f32::INFINITY];
        Change { columns: None, values: Values::MinusExp }.apply(&mut lost, &mut Vec::new());
        assert!(lost.iter().all(|x| x.is_nan()));
        assert!(Change::default().is_none());
    }
}
