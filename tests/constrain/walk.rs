//! A model that says anything it may.

use qwip::constrain::{Allowed, Grammar, Thinking};

use super::{Loaded, is_set};

/// SplitMix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of the tokens of a mask.
    pub(super) fn pick(&mut self, mask: &[u32]) -> u32 {
        let ids: Vec<u32> = (0..mask.len() as u32 * 32).filter(|&id| is_set(mask, id)).collect();
        assert!(!ids.is_empty(), "nothing is allowed");
        ids[(self.next() % ids.len() as u64) as usize]
    }
}

/// An answer of tokens drawn from what is allowed; now and then what closes texts, lists and objects is preferred, so that it
/// ends. `None` if that takes more than so many tokens.
pub(super) fn walk(loaded: &Loaded, grammar: &Grammar, seed: u64, most: usize) -> Option<String> {
    let mut constraint = loaded.vocabulary.constraint(grammar, Thinking::None).unwrap();
    let mut rng = Rng(seed);
    let mut tokens = Vec::new();
    let find = |text| loaded.tokenizer.encode(text, qwip::tokenizer::Special::Text)[0];
    let closing: Vec<u32> = ["\"", "]", "}"].map(find).to_vec();
    for _ in 0..most {
        let Allowed::Some(mask) = constraint.allowed().unwrap() else { break };
        let mask = mask.to_vec();
        if loaded.tokenizer.ends_of_generation().iter().any(|&end| is_set(&mask, end))
            && rng.next().is_multiple_of(2)
        {
            return Some(loaded.tokenizer.decode(&tokens, true));
        }
        let closes = closing.iter().copied().find(|&id| is_set(&mask, id) && rng.next().is_multiple_of(3));
        let token = closes.unwrap_or_else(|| rng.pick(&mask));
        if loaded.tokenizer.is_end_of_generation(token) {
            return Some(loaded.tokenizer.decode(&tokens, true));
        }
        constraint.accept(token).unwrap();
        tokens.push(token);
    }
    matches!(constraint.allowed().unwrap(), Allowed::End).then(|| loaded.tokenizer.decode(&tokens, true))
}
