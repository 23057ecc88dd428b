//! The syntax tree of a template.

use std::sync::Arc;

use super::value::Value;

/// A name, as an index into `Template::names`.
pub(super) type Symbol = u32;

/// The name `loop`, which every template knows.
pub(super) const LOOP: Symbol = 0;

/// A parsed template. It holds no interior mutability, so threads can render it at the same time.
#[derive(Debug)]
pub(crate) struct Template {
    pub(super) body: Vec<Stmt>,
    pub(super) names: Vec<Arc<str>>,
}

impl Template {
    /// Whether the source names a variable or function so.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.names.iter().any(|found| **found == *name)
    }
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Symbol),
    Tuple(Vec<Target>),
    /// `namespace.attribute`
    Attribute(Symbol, Arc<str>, u32),
}

#[derive(Debug)]
pub(super) enum Stmt {
    Data(Arc<str>),
    Emit(Expr),
    If {
        branches: Vec<(Expr, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    For(Box<For>),
    Set {
        target: Target,
        value: Expr,
    },
    /// `{% set x %}..{% endset %}`: `value` is applied to what the body printed (`Kind::Captured`).
    SetBlock {
        target: Target,
        value: Expr,
        body: Vec<Stmt>,
    },
    With {
        bindings: Vec<(Target, Expr)>,
        body: Vec<Stmt>,
    },
    FilterBlock {
        value: Expr,
        body: Vec<Stmt>,
    },
    Macro(MacroDef),
    CallBlock {
        call: Expr,
        caller: MacroDef,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) iter: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) body: Vec<Stmt>,
    pub(super) otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) struct MacroDef {
    pub(super) name: Symbol,
    pub(super) params: Vec<(Symbol, Option<Expr>)>,
    pub(super) body: Vec<Stmt>,
}

#[derive(Debug)]
pub(super) struct Expr {
    pub(super) line: u32,
    /// How many expressions deep this one is; the parser limits it.
    pub(super) depth: u16,
    pub(super) kind: Kind,
}

#[derive(Debug, Default)]
pub(super) struct CallArgs {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Arc<str>, Expr)>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Const(Value),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, CallArgs),
    Filter(Box<Expr>, Arc<str>, CallArgs),
    Test(Box<Expr>, Arc<str>, CallArgs),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(CompareOp, Expr)>),
    Concat(Vec<Expr>),
    /// `then if condition else otherwise`
    Conditional(Box<[Expr; 2]>, Option<Box<Expr>>),
    /// What the block statement around this expression printed.
    Captured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
