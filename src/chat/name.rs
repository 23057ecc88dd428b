//! Names that no two things have.

use crate::sample::random_bits;

/// So many letters and digits, other ones each time: names for requests, answers and calls. They are no secrets.
pub fn random_name(len: usize) -> String {
    const SIGNS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = String::with_capacity(len);
    while name.len() < len {
        let mut bits = random_bits();
        for _ in 0..10.min(len - name.len()) {
            name.push(char::from(SIGNS[(bits % 62) as usize]));
            bits /= 62;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_length_that_is_wanted_and_differ() {
        assert_eq!(random_name(0), "");
        assert_eq!(random_name(24).len(), 24);
        let names: std::collections::HashSet<String> = (0..1000).map(|_| random_name(24)).collect();
        assert_eq!(names.len(), 1000);
    }
}
