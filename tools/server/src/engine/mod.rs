//! One loaded model. A thread evaluates all its sequences together, slice by slice, and hands out what comes of them.

mod ask;

pub use ask::{Ask, Event, Failure, FailureKind, Summary};
