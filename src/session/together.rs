//! One pass over several sessions: the weights, which take the time of an answer, are read once for all of them.

use std::sync::Arc;

use qwip_cpu::fpenv::IeeeDefaults;

use super::{Cancel, NEVER, SHORTLY, Session, all_finite};
use crate::backend::{Batch, Buffers, CpuBackend, LogitRows, Output, Timed, VerbTimes};
use crate::error::{Error, Result};
use crate::kv::Room;

/// The next tokens of one session in a pass over several.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// What is appended to it: the last token of an answer, or a slice of a prompt.
    pub tokens: &'a [u32],
    /// Whether the logits after the last of them are wanted; they are then [`Session::logits`]. Not wanted where more of
    /// a prompt follows.
    pub logits: bool,
    /// What became of it, once [`Together::extend`] is back.
    pub result: Result<()>,
}

impl<'a> Turn<'a> {
    /// A turn that is still to come.
    pub fn new(session: &'a mut Session, tokens: &'a [u32], logits: bool) -> Turn<'a> {
        Turn { session, tokens, logits, result: Ok(()) }
    }
}

/// What a pass over several sessions computes in; sessions that are only used here have no such buffers of their own.
#[derive(Debug, Default)]
pub struct Together {
    buffers: Buffers,
    tokens: Vec<u32>,         // of all parts
    before: Vec<usize>,       // of each turn, the tokens that its session had
    rooms: Vec<Option<Room>>, // of each turn that takes part in the pass
    verb_times: Option<VerbTimes>,
}

impl Together {
    /// Nothing yet.
    pub fn new() -> Together {
        Together::default()
    }

    /// From now on measures how long each verb of the passes takes, starting at 0.
    pub fn time_verbs(&mut self) {
        self.verb_times = Some(VerbTimes::default());
    }

    /// What each verb took since [`Together::time_verbs`]; `None` if that was not called.
    pub fn verb_times(&self) -> Option<&VerbTimes> {
        self.verb_times.as_ref()
    }

    /// Appends the tokens of each turn to its session, all in one pass, and leaves the bits that each session would have
    /// alone. A turn that fails has the reason in its `result`, and its session is as it was, without logits; the others
    /// go on. Sessions with layers on a GPU take their turns one after the other.
    ///
    /// A hybrid's memory is copied where a turn of several tokens begins, shortly before the end of one that wants logits,
    /// and behind one that wants none. A pass in which a hybrid takes a single token is not broken off by `cancel` once it
    /// has begun: the answer would take the way back to the last copy with it. Neither [`Session::time_verbs`] nor
    /// [`Session::observe_importance`] sees a pass.
    ///
    /// # Errors
    /// Of the pass as a whole; all sessions are then as they were, without logits. [`Error::BadOption`] if sessions have not
    /// the same model, CPU, rotary positions and cache types, if tokens see those behind them, or if there are more than
    /// [`Session::MAX_BATCH`] tokens in all. [`Error::Cancelled`], [`Error::Memory`]. Of one turn: as
    /// [`Session::extend`].
    pub fn extend(&mut self, turns: &mut [Turn<'_>], cancel: &Cancel) -> Result<()> {
        let _ieee = IeeeDefaults::enter();
        fit_together(turns)?;
        turns.iter_mut().for_each(|turn| turn.result = Ok(()));
        self.before.clear();
        self.before.extend(turns.iter().map(|turn| turn.session.tokens.len()));
        let result = self.on_cpu(turns, cancel).and_then(|()| self.on_devices(turns, cancel));
        if result.is_err() {
            for (turn, &before) in turns.iter_mut().zip(&self.before) {
                turn.session.truncate(before);
            }
        }
        self.rooms.clear();
        result
    }

    /// As [`Session::extend_with_logits`], in these buffers; the session keeps only the last logits.
    ///
    /// # Errors
    /// As [`Session::extend_with_logits`].
    pub fn extend_with_logits(
        &mut self,
        session: &mut Session,
        tokens: &[u32],
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        let before = session.tokens.len();
        session.buffers.clear_logits();
        std::mem::swap(&mut self.buffers, &mut session.buffers);
        let result = session.extend_with_logits(tokens, cancel, sink);
        std::mem::swap(&mut self.buffers, &mut session.buffers);
        let result = result.and_then(|()| session.buffers.set_logits(self.buffers.logits()));
        self.buffers.clear_logits();
        if result.is_err() {
            session.truncate(before);
        }
        result
    }

    /// The turns of sessions that are on the CPU alone, in one pass.
    fn on_cpu(&mut self, turns: &mut [Turn<'_>], cancel: &Cancel) -> Result<()> {
        for turn in turns.iter_mut() {
            let room = match turn.session.device {
                None => of_turn(self.prepare(turn, cancel), turn)?,
                Some(_) => None,
            };
            self.rooms.push(room);
        }
        self.pass(turns, cancel)?;
        for ((turn, &before), room) in turns.iter_mut().zip(&self.before).zip(&mut self.rooms) {
            let Some(room) = room.take() else { continue };
            let (session, n) = (&mut *turn.session, turn.tokens.len());
            if turn.result.is_ok() {
                session.sequence.finish(n, room);
                session.tokens.extend_from_slice(turn.tokens);
                if !turn.logits && n > 1 {
                    turn.result = session.snapshot();
                }
            }
            if turn.result.is_err() {
                session.truncate(before);
            }
        }
        Ok(())
    }

    /// Gets a session ready for its tokens.
    fn prepare(&mut self, turn: &mut Turn<'_>, cancel: &Cancel) -> Result<Room> {
        let (session, n) = (&mut *turn.session, turn.tokens.len());
        let before = session.tokens.len();
        session.fits(before, turn.tokens)?;
        self.lend(session, |session| session.catch_up(cancel))?;
        session.buffers.clear_logits();
        let beginning = if n > 1 { session.snapshot() } else { Ok(()) };
        let copy = (turn.logits && n > 1).then(|| (before + n).saturating_sub(SHORTLY));
        let room = beginning.and_then(|()| session.sequence.prepare(n, copy));
        if room.is_err() {
            session.truncate(before);
        }
        room
    }

    /// Evaluates what has been prepared.
    fn pass(&mut self, turns: &mut [Turn<'_>], cancel: &Cancel) -> Result<()> {
        // Before any memory counts as that of no position.
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.tokens.clear();
        let (mut parts, mut outs) = (Vec::with_capacity(turns.len()), Vec::with_capacity(turns.len()));
        let (mut shared, mut whole) = (None, false);
        for (turn, room) in turns.iter_mut().zip(&mut self.rooms) {
            let Some(room) = room else { continue };
            let (n, position) = (turn.tokens.len(), turn.session.tokens.len() + turn.tokens.len() - 1);
            let Session { model, cpu, rope, sequence, buffers, .. } = &mut *turn.session;
            self.tokens.extend_from_slice(turn.tokens);
            whole |= n == 1 && sequence.memory.is_some();
            let logits = if turn.logits { LogitRows::Last } else { LogitRows::None };
            parts.push(sequence.part(room, n, logits));
            if turn.logits {
                outs.push((buffers, &mut turn.result, position));
            }
            shared.get_or_insert((&*model, &*cpu, &*rope));
        }
        let Some((model, cpu, rope)) = shared else { return Ok(()) };
        let mut outs = outs.into_iter();
        let mut hand_out = |rows: &[f32]| {
            for (row, (buffers, result, position)) in rows.chunks_exact(model.config().vocab).zip(&mut outs) {
                *result = match all_finite(row) {
                    true => buffers.set_logits(row),
                    false => Err(Error::NonFiniteLogits { position }),
                };
            }
            Ok(())
        };
        let flag = if whole { &NEVER } else { cancel.flag() };
        let (file, config) = (model.file(), model.config());
        let buffers = &mut self.buffers;
        let mut backend = CpuBackend::new(cpu, file, config, rope, &mut parts, buffers, flag, &mut hand_out);
        let batch = Batch { tokens: &self.tokens, output: Output::Logits };
        match &mut self.verb_times {
            None => model.forward(&mut backend, &batch),
            Some(times) => model.forward(&mut Timed { backend: &mut backend, times }, &batch),
        }
    }

    /// The turns of sessions with layers on a device, each by itself.
    fn on_devices(&mut self, turns: &mut [Turn<'_>], cancel: &Cancel) -> Result<()> {
        for turn in turns.iter_mut().filter(|turn| turn.session.device.is_some()) {
            let rows = if turn.logits { LogitRows::Last } else { LogitRows::None };
            let done = self.lend(turn.session, |session| {
                session.run(turn.tokens, None, cancel, (rows, Output::Logits), &mut |_| {}, &mut |_| {})
            });
            of_turn(done, turn)?;
        }
        Ok(())
    }

    /// Lets a session compute in these buffers.
    fn lend<R>(&mut self, session: &mut Session, run: impl FnOnce(&mut Session) -> R) -> R {
        self.buffers.lend(&mut session.buffers);
        let result = run(session);
        self.buffers.lend(&mut session.buffers);
        result
    }
}

/// Tells what ends all from what is the matter with one turn, which goes there.
fn of_turn<T>(result: Result<T>, turn: &mut Turn<'_>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => {
            turn.result = Err(error);
            Ok(None)
        }
    }
}

/// Whether the sessions can be evaluated in one pass.
fn fit_together(turns: &[Turn<'_>]) -> Result<()> {
    let tokens = turns.iter().fold(0usize, |sum, turn| sum.saturating_add(turn.tokens.len()));
    if tokens > Session::MAX_BATCH {
        let (found, want) = (tokens.to_string(), format!("at most {}", Session::MAX_BATCH));
        return Err(Error::BadOption { what: "the number of tokens in a pass", found, want });
    }
    let Some((first, others)) = turns.split_first() else { return Ok(()) };
    let first = &*first.session;
    if !first.model.config().causal {
        let want = "true, for sessions that are evaluated together".into();
        return Err(Error::BadOption { what: "attention.causal", found: "false".into(), want });
    }
    for (i, other) in others.iter().enumerate() {
        let other = &*other.session;
        let kernels = std::ptr::eq(first.cpu.kernels, other.cpu.kernels);
        let types = |session: &Session| (session.options.k_type, session.options.v_type);
        let alike = [
            ("model", Arc::ptr_eq(&first.model, &other.model)),
            ("CPU", kernels && Arc::ptr_eq(&first.cpu.pool, &other.cpu.pool)),
            ("rotation", first.rope.numbers().eq(other.rope.numbers())),
            ("type of cache", types(first) == types(other)),
        ];
        if let Some((what, _)) = alike.into_iter().find(|(_, same)| !same) {
            let found = format!("number {}, with another {what}", i + 1);
            let want = format!("the {what} of number 0");
            return Err(Error::BadOption { what: "a session in a pass", found, want });
        }
    }
    Ok(())
}
