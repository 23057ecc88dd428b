//! A small Jinja: what chat templates use of the language, as Python's jinja2 renders it under Hugging Face's
//! settings (`trim_blocks`, `lstrip_blocks`, the immutable sandbox, loop controls, `tojson` without HTML escaping).
//!
//! Why our own: a template comes out of a model file, so it is hostile, and the library must survive it. Every
//! step of a render is metered here (evaluation steps, bytes built, nesting), so memory, time and stack are
//! bounded whatever the template does. The general engine that we tried first let strings double without a limit
//! and overflowed the stack on a long chain of operators.
//!
//! Not in the language here: template inheritance and `include`/`import` (there is nothing to include),
//! `recursive` loops, `*args`, and `Markup` strings (`safe` gives plain text). A filter that jinja2 evaluates late
//! (`map`, `select`...) fails at once here where jinja2 fails when its result is used.

mod args;
mod ast;
mod filters;
mod format;
mod interp;
mod lexer;
mod methods;
mod ops;
mod parser;
mod predicates;
mod time;
mod value;

pub(super) use ast::Template;
pub(super) use interp::render;
pub(super) use parser::parse;
pub(super) use value::{Fail, Value, from_json, from_maps};
