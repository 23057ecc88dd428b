//! What `auto` goes by: a short prompt and a few tokens on both devices, their logits and their times.

use std::sync::Arc;
use std::time::Instant;

use qwip::backend::LogitRows;
use qwip::backend::gpu::GpuModel;
use qwip::model::Task;
use qwip::{Cpu, Error, Session, SessionOptions};

use crate::interrupt;

/// Tokens of the prompt.
const PROMPT: usize = 32;
/// Single tokens behind it whose logits are compared.
const COMPARED: usize = 4;
/// Most single tokens that are timed.
const TIMED: usize = 24;
/// So long something is repeated, in seconds.
const LONG: f64 = 0.1;
/// Most times that a prompt is repeated.
const REPEATED: usize = 5;
/// The difference of logits, as a share of the range of the CPU's, with which they count as the same. Where an order of
/// additions pushes a number over the border between two codes of 8 bits, devices differ by what quantizing activations costs in
/// any case; so the mean counts, not the worst of millions.
pub(super) const BOUND: f64 = 1e-2;
/// The answer by which devices are compared: tokens of its prompt, and new ones.
const ANSWER: (f64, f64) = (256.0, 64.0);

/// Seconds a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// In a prompt.
    pub(super) prompt: f64,
    /// On its own; 0 in a model that takes all tokens together.
    pub(super) token: f64,
}

impl Times {
    /// What a typical answer takes.
    fn answer(&self) -> f64 {
        ANSWER.0 * self.prompt + ANSWER.1 * self.token
    }
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// The root of the mean square of the differences of the logits, as a share of the range of the CPU's.
    pub(super) difference: f64,
    pub(super) gpu: Times,
    pub(super) cpu: Times,
}

/// What follows from it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Choice {
    pub(super) gpu: bool,
    pub(super) reason: String,
}

/// Whether the adapter of that name computes from now on.
pub(super) fn decide(adapter: &str, found: &Measured) -> Choice {
    let difference = format!("{:.1e} of their range", found.difference);
    // A difference that is not a number is none that we can accept.
    if found.difference.is_nan() || found.difference > BOUND {
        let reason =
            format!("logits of {adapter} differ from the CPU's by {difference}, the bound is {BOUND:e}");
        return Choice { gpu: false, reason };
    }
    let (gpu, cpu) = (found.gpu.answer(), found.cpu.answer());
    let (prompt, new) = ANSWER;
    let reason = format!(
        "{prompt} tokens of a prompt and {new} of an answer take {} s on {adapter}, {} s on the CPU; logits differ by \
         {difference}",
        seconds(gpu),
        seconds(cpu)
    );
    Choice { gpu: gpu < cpu, reason }
}

/// Two digits that count.
fn seconds(value: f64) -> String {
    match value {
        0.0..0.1 => format!("{value:.3}"),
        0.1..10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Compares and times the two.
pub(super) fn measure(layers: &Arc<GpuModel>, cpu: &Cpu, options: &SessionOptions) -> qwip::Result<Measured> {
    let context = options.context.max(PROMPT + COMPARED + TIMED);
    let options = SessionOptions { context, ..*options };
    let model = layers.model();
    let mut on_gpu = Session::on_gpu(layers.clone(), cpu.clone(), &options)?;
    let mut on_cpu = Session::new(model.clone(), cpu.clone(), &options)?;
    // On the GPU first: it has read the file just now. Whoever is slow to start is not timed by that.
    let found = match numbers(&mut on_gpu) {
        Err(Error::NonFiniteLogits { .. }) => None,
        found => Some(found?),
    };
    let want = numbers(&mut on_cpu)?;
    let difference = found.map_or(f64::INFINITY, |found| difference(&found, &want));
    Ok(match difference <= BOUND {
        true => Measured { difference, gpu: times(&mut on_gpu)?, cpu: times(&mut on_cpu)? },
        false => {
            let none = Times { prompt: 0.0, token: 0.0 };
            Measured { difference, gpu: none, cpu: none }
        }
    })
}

/// The root of the mean square of the differences as a share of the range of `want`.
fn difference(found: &[f32], want: &[f32]) -> f64 {
    let (low, high) = want.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let squares = found.iter().zip(want).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum::<f64>();
    let mean = (squares / want.len().max(1) as f64).sqrt();
    match found.len() == want.len() {
        true => mean / f64::from(high - low).max(1e-30),
        false => f64::INFINITY,
    }
}

/// Token ids all over the vocabulary.
fn tokens(session: &Session, first: usize, n: usize) -> Vec<u32> {
    let vocab = session.model().config().vocab as u32;
    (first..first + n).map(|i| (i as u32).wrapping_mul(2_654_435_761) % vocab).collect()
}

/// Whether tokens may come one after the other.
fn one_by_one(session: &Session) -> bool {
    session.model().config().causal
}

/// What the model makes of the last of these tokens: logits, or a state if it is not for answers.
fn evaluate(session: &mut Session, tokens: &[u32]) -> qwip::Result<Vec<f32>> {
    if session.model().allows(Task::Generate).is_ok() {
        session.extend(tokens, interrupt::flag(), &mut |_| {})?;
        return Ok(session.logits().to_vec());
    }
    let mut state = Vec::new();
    session
        .extend_with_states(tokens, LogitRows::Last, interrupt::flag(), &mut |row| state = row.to_vec())?;
    Ok(state)
}

/// What it makes of the prompt and of each token behind it.
fn numbers(session: &mut Session) -> qwip::Result<Vec<f32>> {
    let mut all = evaluate(session, &tokens(session, 0, PROMPT))?;
    if one_by_one(session) {
        for i in 0..COMPARED {
            all.extend(evaluate(session, &tokens(session, PROMPT + i, 1))?);
        }
    }
    Ok(all)
}

fn times(session: &mut Session) -> qwip::Result<Times> {
    let timed = |session: &mut Session, tokens: &[u32]| -> qwip::Result<f64> {
        let started = Instant::now();
        match tokens {
            // As in an answer: a GPU does not hand out all logits of each token.
            &[token] if session.device().is_some() && session.model().allows(Task::Generate).is_ok() => {
                session.extend_greedily(token, interrupt::flag()).map(drop)?;
            }
            tokens => evaluate(session, tokens).map(drop)?,
        }
        Ok(started.elapsed().as_secs_f64())
    };
    let prompt = tokens(session, 0, PROMPT);
    let (mut best, mut spent) = (f64::MAX, 0.0);
    for _ in 0..REPEATED {
        session.truncate(0);
        let took = timed(session, &prompt)?;
        best = best.min(took);
        spent += took;
        if spent >= LONG {
            break;
        }
    }
    let mut each = Vec::new();
    if one_by_one(session) {
        for i in 0..TIMED {
            let token = tokens(session, PROMPT + i, 1);
            each.push(timed(session, &token)?);
            if i + 1 >= COMPARED && each.iter().sum::<f64>() >= LONG {
                break;
            }
        }
    }
    each.sort_by(f64::total_cmp);
    Ok(Times { prompt: best / PROMPT as f64, token: each.get(each.len() / 2).copied().unwrap_or(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(difference: f64, gpu: (f64, f64), cpu: (f64, f64)) -> Measured {
        let times = |(prompt, token)| Times { prompt, token };
        Measured { difference, gpu: times(gpu), cpu: times(cpu) }
    }

    #[test]
    fn the_faster_device_wins_where_the_numbers_are_the_same() {
        let fast = (0.001, 0.01);
        let slow = (0.01, 0.02);
        let choice = decide("X", &measured(1e-3, fast, slow));
        assert!(choice.gpu, "{choice:?}");
        assert!(choice.reason.contains("0.90 s on X, 3.84 s on the CPU"), "{choice:?}");
        assert!(!decide("X", &measured(1e-3, slow, fast)).gpu);
        assert!(!decide("X", &measured(1e-3, fast, fast)).gpu, "no reason to leave the CPU");
        // A slow prompt can be made up for by fast tokens, and the other way round.
        assert!(decide("X", &measured(0.0, (0.002, 0.01), (0.001, 0.02))).gpu);
        assert!(decide("X", &measured(0.0, (0.001, 0.02), (0.01, 0.01))).gpu);
        assert!(!decide("X", &measured(0.0, (0.004, 0.01), (0.001, 0.02))).gpu);
    }

    #[test]
    fn other_numbers_are_the_cpus_whatever_the_speed() {
        for difference in [1.1e-2, f64::INFINITY, f64::NAN] {
            let choice = decide("X", &measured(difference, (0.0, 0.0), (1.0, 1.0)));
            assert!(!choice.gpu && choice.reason.contains("logits of X differ"), "{choice:?}");
        }
        assert!(decide("X", &measured(1e-2, (0.0, 0.0), (1.0, 1.0))).gpu);
        let reason = decide("X", &measured(0.25, (0.0, 0.0), (1.0, 1.0))).reason;
        assert!(reason.contains("by 2.5e-1 of their range, the bound is 1e-2"), "{reason}");
    }

    #[test]
    fn the_difference_is_a_share_of_the_range() {
        assert_eq!(difference(&[0.5, 2.5, 3.5, 4.5], &[0.0, 2.0, 4.0, 4.0]), 0.125);
        assert!(difference(&[0.0, f32::NAN, 4.0], &[0.0, 2.0, 4.0]).is_nan());
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(difference(&[], &[]), 0.0);
    }
}
