//! Names that no two things have.

use std::hash::{BuildHasher, Hasher, RandomState};

/// So many letters and digits, other ones each time.
pub(crate) fn random(len: usize) -> String {
    const SIGNS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = String::with_capacity(len);
    while name.len() < len {
        let mut bits = bits();
        for _ in 0..10.min(len - name.len()) {
            name.push(char::from(SIGNS[(bits % 62) as usize]));
            bits /= 62;
        }
    }
    name
}

/// A seed that nobody chose; JSON's numbers hold it exactly.
pub(crate) fn seed() -> u64 {
    bits() >> 11
}

fn bits() -> u64 {
    // The hasher's keys come from the operating system and differ from one to the next.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_length_that_is_wanted_and_differ() {
        assert_eq!(random(0), "");
        assert_eq!(random(24).len(), 24);
        let names: std::collections::HashSet<String> = (0..1000).map(|_| random(24)).collect();
        assert_eq!(names.len(), 1000);
    }
}
