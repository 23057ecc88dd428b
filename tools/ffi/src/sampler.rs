//! Settings of the draw, for requests and for those who draw themselves.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::sample::{SamplingChoice, random_seed};
use runtime::{Sampler, SamplingParams};

use crate::call::{self, on};
use crate::handle::{self, Handle, LastError, Remembers};
use crate::model::{Engine, qwip_model};
use crate::session::qwip_session;
use crate::status::{Fault, Outcome, QWIP_STATUS_INVALID_MODEL, qwip_status};
use crate::values::Out;

/// How tokens are chosen: what is not set is the model's own, as its file or its makers say. All calls on it may come from any
/// thread.
#[expect(non_camel_case_types, reason = "the name that it has in C")]
pub struct qwip_sampler {
    _number: (),
}

impl Handle for qwip_sampler {
    type Thing = SamplerThing;
    const NAME: &'static str = "sampler";
}

/// What is behind the handle of a sampler.
pub(crate) struct SamplerThing {
    error: LastError,
    engine: Arc<Engine>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    draw: Draw,
    /// Once it has been used: the draw goes on where it is.
    sampler: Option<Sampler>,
}

/// What was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draw {
    pub(crate) choice: SamplingChoice,
    pub(crate) seed: Option<u64>,
}

impl Draw {
    /// The settings for a model that thinks, or not.
    pub(crate) fn params(&self, engine: &Engine, thinking: Option<bool>) -> Outcome<SamplingParams> {
        let params = engine.voice().sampling(engine.model().file(), thinking, &self.choice)?;
        let seed = self.seed.unwrap_or_else(random_seed);
        Ok(SamplingParams { seed, ..params })
    }
}

impl Remembers for SamplerThing {
    fn last_error(&self) -> &LastError {
        &self.error
    }
}

impl SamplerThing {
    /// What has been set.
    pub(crate) fn draw(&self) -> Draw {
        self.inside().draw.clone()
    }

    /// Changes a setting, if the new ones are in range.
    fn set(&self, change: impl FnOnce(&mut Draw)) -> Outcome {
        let mut inside = self.inside();
        let mut draw = Draw { seed: None, ..inside.draw.clone() };
        change(&mut draw);
        // Whether it thinks or not: what is out of range is so for both.
        SamplingParams::for_model(self.engine.model().file().header(), false, &draw.choice)?.check()?;
        // A seed begins anew, even if it is the same; otherwise the draw goes on where it is.
        let seed = draw.seed.take();
        let begins = seed.is_some();
        inside.draw = Draw { seed: seed.or(inside.draw.seed), ..draw };
        let Inside { draw, sampler } = &mut *inside;
        match sampler {
            Some(sampler) if !begins => sampler.set_params(draw.params(&self.engine, None)?),
            used => *used = None,
        }
        Ok(())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new sampler with a loaded model's own settings. Free it with `qwip_sampler_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_new(
    model: *mut qwip_model,
    sampler: *mut *mut qwip_sampler,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(sampler, "the place of the sampler", std::ptr::null_mut()) };
    on(model, |thing| {
        let out = out?;
        let (error, engine, inside) = (LastError::default(), thing.engine()?, Mutex::default());
        out.set(handle::insert(Arc::new(SamplerThing { error, engine, inside })));
        Ok(())
    })
}

/// Frees a sampler. Requests have copied its settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_free(sampler: *mut qwip_sampler) -> qwip_status {
    on(sampler, |_| {
        handle::remove(sampler);
        Ok(())
    })
}

/// The message of the last call on this sampler that failed, "" if none did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_error(
    sampler: *mut qwip_sampler,
    message: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    unsafe { call::error_of(sampler, message) }
}

/// Divides the logits, 0 to 100; 0 takes the most probable token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_temperature(
    sampler: *mut qwip_sampler,
    temperature: f32,
) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.temperature = Some(temperature)))
}

/// Keeps so many most probable tokens; 0 keeps all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_top_k(sampler: *mut qwip_sampler, tokens: u32) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.top_k = Some(tokens as usize)))
}

/// Keeps the smallest set of most probable tokens that holds this much probability, 0 to 1; 1 keeps all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_top_p(sampler: *mut qwip_sampler, share: f32) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.top_p = Some(share)))
}

/// Drops tokens below this share of the most probable one, 0 to 1; 0 keeps all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_min_p(sampler: *mut qwip_sampler, share: f32) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.min_p = Some(share)))
}

/// Divides positive and multiplies negative logits of tokens seen lately, 0.01 to 100; 1 is off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_repeat_penalty(
    sampler: *mut qwip_sampler,
    penalty: f32,
) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.repeat_penalty = Some(penalty)))
}

/// Subtracted once from the logit of every token seen lately, -100 to 100; 0 is off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_presence_penalty(
    sampler: *mut qwip_sampler,
    penalty: f32,
) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.presence_penalty = Some(penalty)))
}

/// Subtracted for each time that a token was seen lately, -100 to 100; 0 is off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_frequency_penalty(
    sampler: *mut qwip_sampler,
    penalty: f32,
) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.choice.frequency_penalty = Some(penalty)))
}

/// How many tokens "lately" reaches back; 4294967295: all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_penalty_last_n(
    sampler: *mut qwip_sampler,
    tokens: u32,
) -> qwip_status {
    let reach = if tokens == u32::MAX { usize::MAX } else { tokens as usize };
    on(sampler, |thing| thing.set(|draw| draw.choice.penalty_last_n = Some(reach)))
}

/// The seed of the draw; without one there is a new one each time. The same seed gives the same answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_set_seed(sampler: *mut qwip_sampler, seed: u64) -> qwip_status {
    on(sampler, |thing| thing.set(|draw| draw.seed = Some(seed)))
}

/// Chooses the next token from the logits of a session; penalties look at the tokens that it holds. Nothing is appended:
/// that is what `qwip_session_decode` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_sampler_sample(
    sampler: *mut qwip_sampler,
    session: *mut qwip_session,
    token: *mut u32,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(token, "the place of the token", 0) };
    on(sampler, |thing| {
        let out = out?;
        let of_session = handle::get(session)?;
        if !Arc::ptr_eq(of_session.engine(), &thing.engine) {
            return Err(Fault::argument("the sampler and the session are of different models"));
        }
        let lent = of_session.take()?;
        let mut inside = thing.inside();
        if inside.sampler.is_none() {
            inside.sampler = Some(Sampler::new(inside.draw.params(&thing.engine, None)?));
        }
        let tokenizer = thing.engine.voice().tokenizer();
        let (Some(session), Some(sampler)) = (lent.session(), &mut inside.sampler) else {
            return Err(Fault::state("there are no logits: decode a token first"));
        };
        if session.logits().is_empty() {
            return Err(Fault::state("there are no logits: decode a token first"));
        }
        let picked = sampler.pick(session.logits(), session.tokens(), |id| tokenizer.is_sampleable(id));
        out.set(picked.ok_or_else(|| {
            Fault::new(QWIP_STATUS_INVALID_MODEL, "no token can be chosen: the logits are not finite")
        })?);
        Ok(())
    })
}
