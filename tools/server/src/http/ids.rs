//! Names of requests and answers, and the time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `prefix` and 24 letters and digits that nobody can foresee.
pub(crate) fn random(prefix: &str) -> String {
    // The keys of the hasher come from the operating system.
    let hasher = RandomState::new();
    let mut text = String::with_capacity(prefix.len() + 24);
    text.push_str(prefix);
    for word in 0..3u64 {
        let mut hash = hasher.build_hasher();
        hash.write_u64(word);
        let mut bits = hash.finish();
        for _ in 0..8 {
            text.push(char::from(LETTERS[(bits % 62) as usize]));
            bits /= 62;
        }
    }
    text
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_long_as_openais_and_differ() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| random("req_")).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 28 && id[4..].bytes().all(|b| b.is_ascii_alphanumeric())));
    }
}
