//! The guard against answers that repeat themselves for ever.
//!
//! Small models above all can fall into a cycle: the same words again and again, each round making the next one more
//! certain. The guard ends an answer whose end is one cycle of at most [`LONGEST`] tokens,
//!
//! - repeated without any difference for [`ENOUGH`] tokens, and at least [`ROUNDS`] times;
//! - or for [`ENOUGH_SIGNS`] tokens, if there is no letter in the cycle and something that is no white space: rows of zeros,
//!   dashes and boxes are what somebody may have asked for.
//!
//! So no table, list or drawing of an ordinary size ends an answer, nor do lines of code that are alike: what differs in one
//! token from round to round, such as a number, is no cycle. A loop is let run a while rather than an answer cut.

/// Tokens of the longest cycle that is seen.
pub const LONGEST: usize = 512;
/// Tokens that a cycle goes on for until it is called one.
pub const ENOUGH: usize = 768;
/// As [`ENOUGH`], for cycles of numbers and signs.
pub const ENOUGH_SIGNS: usize = 4096;
/// Rounds of a cycle, at least.
pub const ROUNDS: usize = 4;

/// Watches the tokens of one answer. A token costs a comparison for each length that a cycle may have: a microsecond at most.
#[derive(Debug)]
pub(super) struct Guard {
    /// For each length, from 1 on: how many of the last tokens are those that many before them.
    same: Vec<u32>,
}

impl Guard {
    pub(super) fn new() -> Guard {
        Guard { same: Vec::with_capacity(LONGEST) }
    }

    /// Takes the last of `tokens`, all those of the answer, of which it has seen the others. True if they end in a cycle;
    /// `text` says what the tokens of a round say.
    pub(super) fn is_loop(&mut self, tokens: &[u32], text: impl FnOnce(&[u32]) -> String) -> bool {
        let Some((last, before)) = tokens.split_last() else { return false };
        if self.same.len() < before.len().min(LONGEST) {
            self.same.push(0);
        }
        for (same, token) in self.same.iter_mut().zip(before.iter().rev()) {
            *same = if token == last { *same + 1 } else { 0 };
        }
        // A limit is met once by each cycle, since the tokens that it goes on for are one more each time. Those of twice its
        // length, and so on, meet it together with the shortest.
        let meets = |limit: usize| {
            let length = |(i, &same): (usize, &u32)| (i + 1, same as usize);
            let goes_on =
                |&(length, same): &(usize, usize)| same > 0 && length + same == limit.max(ROUNDS * length);
            self.same.iter().enumerate().map(length).find(goes_on).map(|(length, _)| length)
        };
        if meets(ENOUGH_SIGNS).is_some() {
            return true;
        }
        meets(ENOUGH).is_some_and(|length| !is_drawn(&text(&tokens[tokens.len() - length..])))
    }
}

/// Whether a text consists of numbers and signs.
fn is_drawn(text: &str) -> bool {
    !text.contains(char::is_alphabetic) && text.contains(|c: char| !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// After how many tokens the guard says that this is a loop; tokens are characters.
    fn found(tokens: &[u32]) -> Option<usize> {
        let mut guard = Guard::new();
        let text = |ids: &[u32]| ids.iter().filter_map(|&id| char::from_u32(id)).collect();
        (1..=tokens.len()).find(|&n| guard.is_loop(&tokens[..n], text))
    }

    fn tokens(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    /// So many tokens of a cycle.
    fn cycle(round: &[u32], n: usize) -> Vec<u32> {
        round.iter().copied().cycle().take(n).collect()
    }

    #[test]
    fn words_are_a_loop_sooner_than_signs() {
        assert_eq!(found(&cycle(&tokens("ha "), 5000)), Some(ENOUGH));
        assert_eq!(found(&cycle(&tokens("哈"), 5000)), Some(ENOUGH));
        assert_eq!(found(&cycle(&tokens("\n"), 5000)), Some(ENOUGH));
        for drawn in ["0", "-", "0, ", "| - | - |\n", "!", "│  ", "1234567890"] {
            assert_eq!(found(&cycle(&tokens(drawn), 5000)), Some(ENOUGH_SIGNS), "{drawn:?}");
        }
    }

    #[test]
    fn what_people_ask_for_is_no_loop() {
        let rows: String = (1..400).map(|i| format!("| {i} | {} |\n", i * i)).collect();
        let code: String = (0..400).map(|i| format!("    values[{i}] = 0;\n")).collect();
        let grid = "[0, 0, 0, 0, 0, 0, 0, 0, 0],\n".repeat(32);
        let laughter = format!("{}!", "ha".repeat(300));
        let lines = "print(\"again\")\n".repeat(40);
        let text =
            format!("{rows}{}\n{code}{grid}{}\n{laughter}\n{lines}", "-".repeat(2000), "0".repeat(3000));
        assert_eq!(found(&tokens(&text)), None);
    }

    #[test]
    fn a_cycle_that_is_too_long_is_not_seen_and_memory_is_bounded() {
        let mut guard = Guard::new();
        let round: Vec<u32> = (0..LONGEST as u32 + 1).map(|i| 'a' as u32 + i).collect();
        let all = cycle(&round, 8 * round.len());
        for n in 1..=all.len() {
            assert!(!guard.is_loop(&all[..n], |_| "a".into()));
        }
        assert_eq!(guard.same.len(), LONGEST);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever came before, a cycle of any length is found when it has gone on for long enough, not before.
        #[test]
        fn every_cycle_is_found(
            before in proptest::collection::vec(97u32..123, 0..300),
            round in proptest::collection::vec(97u32..123, 1..LONGEST),
        ) {
            let enough = ENOUGH.max(ROUNDS * round.len());
            // The marks end what might belong to the cycle by chance.
            let all = [&before[..], &[65, 66], &cycle(&round, 2 * enough)].concat();
            let start = before.len() + 2;
            let at = found(&all);
            // Its own cycles, if it has any, need not go on for longer.
            let shortest = (1..=round.len())
                .find(|&p| round.len() % p == 0 && round.iter().eq(round[..p].iter().cycle().take(round.len())));
            let expected = start + ENOUGH.max(ROUNDS * shortest.unwrap_or(round.len()));
            prop_assert_eq!(at, Some(expected));
        }

        /// A round that differs in a token from the one before it is none.
        #[test]
        fn a_counter_in_every_round_is_no_loop(round in proptest::collection::vec(97u32..123, 1..100)) {
            let all: Vec<u32> = (0..60).flat_map(|i| [&round[..], &[1000 + i]].concat()).collect();
            prop_assert_eq!(found(&all), None);
        }

        /// Random text has none.
        #[test]
        fn noise_is_no_loop(text in proptest::collection::vec(97u32..100, 0..4000)) {
            prop_assert_eq!(found(&text), None);
        }
    }
}
