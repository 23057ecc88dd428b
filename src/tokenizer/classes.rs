//! Which of the classes of the pre-tokenizers a character belongs to.

use std::sync::LazyLock;

use super::unicode_ranges::RANGES;

/// `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// `\p{M}`: combining marks.
pub(super) const MARK: u8 = 2;
/// `\p{N}`: digits and every other number.
pub(super) const NUMBER: u8 = 4;
/// `\s`, the property White_Space, carriage return and line feed included.
pub(super) const SPACE: u8 = 8;

const BLOCK: usize = 256;
const CODE_POINTS: usize = 0x11_0000;

/// The class of every code point, as a table of blocks of which equal ones are kept once.
pub(super) struct ClassTable {
    /// Which block holds the 256 code points that start at 256 times the index.
    index: Box<[u8]>, // [4352]
    blocks: Vec<[u8; BLOCK]>,
}

impl ClassTable {
    /// The table, built on first use (well below a millisecond).
    pub(super) fn get() -> &'static ClassTable {
        static TABLE: LazyLock<ClassTable> = LazyLock::new(ClassTable::build);
        &TABLE
    }

    fn build() -> ClassTable {
        let mut index = Vec::with_capacity(CODE_POINTS / BLOCK);
        let mut blocks: Vec<[u8; BLOCK]> = Vec::new();
        let mut ranges = RANGES.iter().copied().peekable();
        for start in (0..CODE_POINTS as u32).step_by(BLOCK) {
            let end = start + BLOCK as u32;
            let mut block = [0; BLOCK];
            while let Some(&(first, last, class)) = ranges.peek() {
                if first >= end {
                    break;
                }
                let from = first.max(start) - start;
                let to = last.min(end - 1) - start;
                block[from as usize..=to as usize].fill(class);
                if last >= end {
                    break;
                }
                ranges.next();
            }
            let number = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
                blocks.push(block);
                blocks.len() - 1
            });
            index.push(number as u8);
        }
        // The numbers of blocks are bytes; Unicode 16 needs about a hundred of the 256.
        assert!(blocks.len() <= BLOCK, "{} blocks of character classes", blocks.len());
        ClassTable { index: index.into_boxed_slice(), blocks }
    }

    /// The class of an ASCII character.
    pub(super) fn of_ascii(&self, byte: u8) -> u8 {
        self.blocks[0][usize::from(byte)]
    }

    /// The class of a code point, 0 for none. Values that are no code point have none.
    pub(super) fn of(&self, code_point: u32) -> u8 {
        let code_point = code_point as usize;
        self.index.get(code_point / BLOCK).map_or(0, |&b| self.blocks[usize::from(b)][code_point % BLOCK])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_found_and_nothing_else() {
        let table = ClassTable::get();
        let mut expected = vec![0u8; CODE_POINTS];
        for &(first, last, class) in &RANGES {
            expected[first as usize..=last as usize].fill(class);
        }
        for (code_point, &class) in expected.iter().enumerate() {
            assert_eq!(table.of(code_point as u32), class, "U+{code_point:04X}");
        }
        assert_eq!(table.of(u32::MAX), 0);
    }

    #[test]
    fn the_standard_library_agrees_where_it_has_an_opinion() {
        let table = ClassTable::get();
        for c in (0..CODE_POINTS as u32).filter_map(char::from_u32) {
            assert_eq!(table.of(c as u32) == SPACE, c.is_whitespace(), "U+{:04X}", c as u32);
        }
        for (c, class) in [('a', LETTER), ('中', LETTER), ('\u{301}', MARK), ('½', NUMBER), ('😀', 0)] {
            assert_eq!(table.of(c as u32), class, "{c}");
        }
    }
}
