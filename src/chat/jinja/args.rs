//! The arguments of one call, taken one by one; what nobody took is an error.

use std::sync::Arc;

use super::value::{Fail, Outcome, Value};

#[derive(Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Option<Value>>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Args {
    /// The argument at `index`, or the one called `name`.
    pub(super) fn take(&mut self, index: usize, name: &str) -> Option<Value> {
        if let Some(value) = self.positional.get_mut(index).and_then(Option::take) {
            return Some(value);
        }
        let at = self.named.iter().position(|(n, _)| **n == *name)?;
        Some(self.named.remove(at).1)
    }

    pub(super) fn need(&mut self, index: usize, name: &str, what: &str) -> Outcome<Value> {
        match self.take(index, name) {
            Some(value) => Ok(value),
            None => Fail::new(format!("'{what}' needs the argument '{name}'")),
        }
    }

    /// A text argument. `None` where it is absent or Python's `None`.
    pub(super) fn text(&mut self, index: usize, name: &str, what: &str) -> Outcome<Option<Arc<str>>> {
        match self.take(index, name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Str(s)) => Ok(Some(s)),
            Some(other) => Fail::new(format!("'{what}' takes text as '{name}', not {}", other.type_name())),
        }
    }

    pub(super) fn need_text(&mut self, index: usize, name: &str, what: &str) -> Outcome<Arc<str>> {
        match self.text(index, name, what)? {
            Some(text) => Ok(text),
            None => Fail::new(format!("'{what}' needs text as '{name}'")),
        }
    }

    pub(super) fn int(&mut self, index: usize, name: &str, what: &str) -> Outcome<Option<i128>> {
        match self.take(index, name) {
            None | Some(Value::None) => Ok(None),
            Some(value) => match value.as_int() {
                Some(i) => Ok(Some(i)),
                None => {
                    Fail::new(format!("'{what}' takes a whole number as '{name}', not {}", value.type_name()))
                }
            },
        }
    }

    pub(super) fn flag(&mut self, index: usize, name: &str) -> Option<bool> {
        self.take(index, name).map(|value| value.truthy())
    }

    pub(super) fn finish(self, what: &str) -> Outcome<()> {
        match (self.positional.iter().position(Option::is_some), self.named.first()) {
            (Some(at), _) => Fail::new(format!("'{what}' takes no argument number {}", at + 1)),
            (None, Some((name, _))) => Fail::new(format!("'{what}' takes no argument '{name}'")),
            (None, None) => Ok(()),
        }
    }
}
