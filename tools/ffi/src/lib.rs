//! libqwip: the runtime for programs in other languages, as a shared and as a static library.
//!
//! `include/qwip.h` is made of the documentation here (`tests/header.rs`); docs/embedding.md says how it is used.
//!
//! | file | what it holds |
//! |---|---|
//! | `handle.rs` | the table that handles are numbers of |
//! | `call.rs` | what every call goes through: no panic leaves, errors are remembered, the float control word is ours meanwhile |
//! | `status.rs` | status codes, and which error is which |
//! | `values.rs` | text, arrays and numbers on their way in and out |
//! | `model/` | a model: its settings, its loading, what the host signals |
//! | `session/` | a sequence, which one call at a time may use |
//! | `sampler.rs` | settings of the draw |
//! | `request/` | an answer on a thread of its own, and the events that come of it |
//!
//! A handle is a number, never an address, so that one that has been freed is recognised. Whatever a call needs is looked up
//! once, at its beginning, and lives until its end, whoever frees the handle meanwhile.

// Whether a handle may cross threads is asked of all that is behind it, down to the types of wgpu.
#![recursion_limit = "256"]
#![allow(
    clippy::missing_safety_doc,
    reason = "the rules for pointers are the same for all functions: the header states them once"
)]
#![allow(
    unreachable_pub,
    reason = "what is public is so for C; Rust programs use the runtime library itself"
)]

mod call;
mod handle;
mod library;
mod log;
mod model;
mod request;
mod sampler;
mod session;
mod status;
mod values;
