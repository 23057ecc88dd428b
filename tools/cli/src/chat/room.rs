//! A context that gets full: what is left is said, and the oldest turns go only if the user wants that.

use super::lines::Lines;
use super::transcript::Role;
use super::{Talk, note};

impl Talk {
    /// Tokens of the prompt that the history makes without its `first` messages.
    pub(crate) fn count(&self, first: usize) -> anyhow::Result<usize> {
        Ok(self.prompt_from(first)?.tokens.len())
    }

    /// Sees to it that the last message of the history can be answered; false if it cannot. Less than an eighth of the
    /// context is little for an answer: a person is offered to forget the oldest turns, a script is told.
    pub(crate) fn make_room(&mut self, lines: &mut Lines) -> anyhow::Result<bool> {
        let context = self.opened.context();
        // What the template refuses is reported where it is asked for an answer.
        let Ok(used) = self.count(self.forgotten) else { return Ok(true) };
        let left = context.saturating_sub(used);
        if left > 0 && left >= context / 8 {
            return Ok(true);
        }
        let fits = left > 0;
        if !lines.is_interactive() {
            if fits {
                note(format_args!(
                    "qwip: note: {used} of {context} tokens of the context are used, {left} are left"
                ));
            }
            // That it does not fit is an error of this message.
            return Ok(true);
        }
        if fits && self.declined {
            return Ok(true);
        }
        let Some((first, turns, after)) = self.droppable(used) else {
            let what = if self.history.len().saturating_sub(self.forgotten) > 1 {
                "The conversation"
            } else {
                "This message"
            };
            note(match fits {
                true => format!(
                    "{what} takes {used} of {context} tokens of the context, {left} are left for the answer."
                ),
                false => {
                    format!("{what} takes {used} tokens, but the context has {context}: a larger -c helps.")
                }
            });
            return Ok(fits);
        };
        let of = if turns == 1 { "the oldest turn".to_string() } else { format!("the {turns} oldest turns") };
        note(format_args!(
            "The conversation takes {used} of {context} tokens of the context. Without {of} it would take {after}. \
             (Forgotten turns stay in the transcript.)"
        ));
        match lines.ask(&format!("Forget {of}?"))? {
            Some(true) => {
                self.forgotten = first;
                self.declined = false;
                self.changed();
                Ok(true)
            }
            _ if fits => {
                self.declined = true;
                Ok(true)
            }
            _ => {
                note("The message does not fit and is not sent; /clear starts again, a larger -c helps too.");
                Ok(false)
            }
        }
    }

    /// How far the history must be forgotten for a quarter of the context to be free, or as much as can be: the first
    /// message that stays, how many turns go, and the tokens that are then used.
    fn droppable(&self, used: usize) -> Option<(usize, usize, usize)> {
        let context = self.opened.context();
        let begins = |i: &usize| self.history[*i].role == Role::User;
        let starts: Vec<usize> = (self.forgotten + 1..self.history.len()).filter(begins).collect();
        let mut best = None;
        for (i, &start) in starts.iter().enumerate() {
            let Ok(after) = self.count(start) else { continue };
            if after < context && after < used {
                best = Some((start, i + 1, after));
            }
            if context.saturating_sub(after) >= context / 4 {
                break;
            }
        }
        best
    }
}
