//! The expressions: precedence climbing, with jinja2's order of operators. Every node knows how deep it is, and the
//! depth is limited, so that evaluating and dropping a tree cannot exhaust the stack (a long `a + b + c ...` is deep
//! too: it leans to the left).

use super::super::ast::{BinaryOp, CallArgs, CompareOp, Expr, Kind};
use super::super::lexer::Tok;
use super::super::value::{Fail, Outcome, Value};
use super::Parser;

/// The deepest expression.
const MAX_EXPR_DEPTH: usize = 100;

/// Binding strength of the binary operators, weakest first.
const OR: u8 = 0;
const AND: u8 = 1;
const NOT: u8 = 2;
const COMPARE: u8 = 3;
const SUM: u8 = 4;
const CONCAT: u8 = 5;
const PRODUCT: u8 = 6;
const POWER: u8 = 7;

impl Kind {
    fn child_depth(&self) -> u16 {
        let of_args = |args: &CallArgs| {
            let named = args.named.iter().map(|(_, e)| e.depth);
            args.positional.iter().map(|e| e.depth).chain(named).max().unwrap_or(0)
        };
        match self {
            Kind::Const(_) | Kind::Name(_) | Kind::Captured => 0,
            Kind::List(items) | Kind::Tuple(items) | Kind::Concat(items) => {
                items.iter().map(|e| e.depth).max().unwrap_or(0)
            }
            Kind::Dict(entries) => entries.iter().map(|(k, v)| k.depth.max(v.depth)).max().unwrap_or(0),
            Kind::Attribute(base, _) | Kind::Not(base) | Kind::Negative(base) | Kind::Positive(base) => {
                base.depth
            }
            Kind::Item(a, b) | Kind::Binary(_, a, b) | Kind::And(a, b) | Kind::Or(a, b) => {
                a.depth.max(b.depth)
            }
            Kind::Slice(base, parts) => parts.iter().flatten().map(|e| e.depth).fold(base.depth, u16::max),
            Kind::Call(base, args) | Kind::Filter(base, _, args) | Kind::Test(base, _, args) => {
                base.depth.max(of_args(args))
            }
            Kind::Compare(first, rest) => rest.iter().map(|(_, e)| e.depth).fold(first.depth, u16::max),
            Kind::Conditional(pair, otherwise) => {
                let otherwise = otherwise.as_ref().map_or(0, |e| e.depth);
                pair[0].depth.max(pair[1].depth).max(otherwise)
            }
        }
    }
}

impl Parser {
    /// A node over finished children.
    pub(super) fn node(&self, line: u32, kind: Kind) -> Outcome<Expr> {
        let depth = 1 + kind.child_depth();
        if usize::from(depth) > MAX_EXPR_DEPTH {
            return Err(Fail::at(line, format!("an expression is nested deeper than {MAX_EXPR_DEPTH}")));
        }
        Ok(Expr { line, depth, kind })
    }

    /// Guards every recursion of the expression parser.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.expr_depth += 1;
        if self.expr_depth > MAX_EXPR_DEPTH {
            return self.fail(format!("an expression is nested deeper than {MAX_EXPR_DEPTH}"));
        }
        let parsed = parse(self);
        self.expr_depth -= 1;
        parsed
    }

    /// One expression, conditional or not.
    pub(super) fn expression(&mut self) -> Outcome<Expr> {
        self.nested(|p| {
            let mut expr = p.binary(OR)?;
            while p.is_name("if") {
                let line = p.line();
                p.next();
                let condition = p.binary(OR)?;
                let otherwise = if p.skip_name("else") { Some(Box::new(p.expression()?)) } else { None };
                expr = p.node(line, Kind::Conditional(Box::new([condition, expr]), otherwise))?;
            }
            Ok(expr)
        })
    }

    /// An expression, or a tuple without parentheses: `a, b`.
    pub(super) fn tuple_or_expression(&mut self) -> Outcome<Expr> {
        let line = self.line();
        let first = self.expression()?;
        self.tuple_tail(line, first, Self::expression)
    }

    /// The same without conditional expressions.
    pub(super) fn tuple_without_condition(&mut self) -> Outcome<Expr> {
        let line = self.line();
        let first = self.binary(OR)?;
        self.tuple_tail(line, first, |p| p.binary(OR))
    }

    fn tuple_tail(
        &mut self,
        line: u32,
        first: Expr,
        item: impl Fn(&mut Self) -> Outcome<Expr>,
    ) -> Outcome<Expr> {
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op(",") {
            let ends =
                matches!(self.peek(), Tok::VariableEnd | Tok::BlockEnd | Tok::Op(")")) || self.is_name("if");
            if ends {
                break;
            }
            items.push(item(self)?);
        }
        self.node(line, Kind::Tuple(items))
    }

    fn binary(&mut self, weakest: u8) -> Outcome<Expr> {
        self.nested(|p| {
            let line = p.line();
            let mut left = if weakest <= NOT && p.skip_name("not") {
                let inner = p.binary(NOT)?;
                p.node(line, Kind::Not(Box::new(inner)))?
            } else {
                p.unary(true)?
            };
            while let Some(strength) = p.operator_strength().filter(|s| *s >= weakest) {
                left = p.operation(left, strength)?;
            }
            Ok(left)
        })
    }

    fn operator_strength(&self) -> Option<u8> {
        match self.peek() {
            Tok::Name(name) => match name.as_str() {
                "or" => Some(OR),
                "and" => Some(AND),
                "in" => Some(COMPARE),
                "not" if matches!(self.peek_second(), Tok::Name(name) if name == "in") => Some(COMPARE),
                _ => None,
            },
            Tok::Op(op) => match *op {
                "==" | "!=" | "<" | "<=" | ">" | ">=" => Some(COMPARE),
                "+" | "-" => Some(SUM),
                "~" => Some(CONCAT),
                "*" | "/" | "//" | "%" => Some(PRODUCT),
                "**" => Some(POWER),
                _ => None,
            },
            _ => None,
        }
    }

    /// The operator that stands here, of known strength, with its right side.
    fn operation(&mut self, left: Expr, strength: u8) -> Outcome<Expr> {
        let line = self.line();
        if strength == COMPARE {
            let mut rest = Vec::new();
            while self.operator_strength() == Some(COMPARE) {
                let op = self.compare_op();
                rest.push((op, self.binary(SUM)?));
            }
            return self.node(line, Kind::Compare(Box::new(left), rest));
        }
        if strength == CONCAT {
            let mut parts = vec![left];
            while self.skip_op("~") {
                parts.push(self.binary(PRODUCT)?);
            }
            return self.node(line, Kind::Concat(parts));
        }
        let op = match self.next() {
            Tok::Op("+") => BinaryOp::Add,
            Tok::Op("-") => BinaryOp::Sub,
            Tok::Op("*") => BinaryOp::Mul,
            Tok::Op("/") => BinaryOp::Div,
            Tok::Op("//") => BinaryOp::FloorDiv,
            Tok::Op("%") => BinaryOp::Rem,
            Tok::Op("**") => BinaryOp::Pow,
            logical => {
                let right = Box::new(self.binary(strength + 1)?);
                let is_or = matches!(logical, Tok::Name(name) if name == "or");
                let left = Box::new(left);
                return self.node(line, if is_or { Kind::Or(left, right) } else { Kind::And(left, right) });
            }
        };
        let right = self.binary(strength + 1)?;
        self.node(line, Kind::Binary(op, Box::new(left), Box::new(right)))
    }

    fn compare_op(&mut self) -> CompareOp {
        match self.next() {
            Tok::Op("==") => CompareOp::Eq,
            Tok::Op("!=") => CompareOp::Ne,
            Tok::Op("<") => CompareOp::Lt,
            Tok::Op("<=") => CompareOp::Le,
            Tok::Op(">") => CompareOp::Gt,
            Tok::Op(">=") => CompareOp::Ge,
            Tok::Name(name) if name == "not" => {
                self.next();
                CompareOp::NotIn
            }
            _ => CompareOp::In,
        }
    }

    /// A sign, or a primary with what hangs on it. The operand of a sign takes no filters: they bind to the signed
    /// value.
    fn unary(&mut self, with_filters: bool) -> Outcome<Expr> {
        let line = self.line();
        let base = if self.is_op("-") || self.is_op("+") {
            let negative = self.is_op("-");
            self.next();
            let inner = Box::new(self.nested(|p| p.unary(false))?);
            self.node(line, if negative { Kind::Negative(inner) } else { Kind::Positive(inner) })?
        } else {
            self.primary()?
        };
        let base = self.postfix(base)?;
        if with_filters { self.filters_and_tests(base) } else { Ok(base) }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let line = self.line();
        let kind = match self.peek() {
            Tok::Name(name) => {
                let name = name.clone();
                self.next();
                match name.as_str() {
                    "true" | "True" => Kind::Const(Value::Bool(true)),
                    "false" | "False" => Kind::Const(Value::Bool(false)),
                    "none" | "None" => Kind::Const(Value::None),
                    _ => Kind::Name(self.symbol(&name)),
                }
            }
            Tok::Str(_) => {
                let mut text = String::new();
                while let Tok::Str(part) = self.peek() {
                    text.push_str(part);
                    self.next();
                }
                Kind::Const(Value::str(text))
            }
            Tok::Int(i) => {
                let value = Value::Int(*i);
                self.next();
                Kind::Const(value)
            }
            Tok::Float(f) => {
                let value = Value::Float(*f);
                self.next();
                Kind::Const(value)
            }
            Tok::Op("(") => {
                self.next();
                if self.skip_op(")") {
                    Kind::Tuple(Vec::new())
                } else {
                    let inner = self.tuple_or_expression()?;
                    self.expect_op(")")?;
                    return Ok(inner);
                }
            }
            Tok::Op("[") => {
                self.next();
                let mut items = Vec::new();
                while !self.skip_op("]") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                        if self.skip_op("]") {
                            break;
                        }
                    }
                    items.push(self.expression()?);
                }
                Kind::List(items)
            }
            Tok::Op("{") => {
                self.next();
                let mut entries = Vec::new();
                while !self.skip_op("}") {
                    if !entries.is_empty() {
                        self.expect_op(",")?;
                        if self.skip_op("}") {
                            break;
                        }
                    }
                    let key = self.expression()?;
                    self.expect_op(":")?;
                    entries.push((key, self.expression()?));
                }
                Kind::Dict(entries)
            }
            _ => return self.unexpected("an expression"),
        };
        self.node(line, kind)
    }

    fn postfix(&mut self, mut base: Expr) -> Outcome<Expr> {
        loop {
            let line = self.line();
            base = if self.skip_op(".") {
                match self.next() {
                    Tok::Name(name) => self.node(line, Kind::Attribute(Box::new(base), name.into()))?,
                    Tok::Int(i) => {
                        let index = self.node(line, Kind::Const(Value::Int(i)))?;
                        self.node(line, Kind::Item(Box::new(base), Box::new(index)))?
                    }
                    _ => return Err(Fail::at(line, "expected a name after '.'")),
                }
            } else if self.skip_op("[") {
                self.subscript(line, base)?
            } else if self.is_op("(") {
                let args = self.call_args()?;
                self.node(line, Kind::Call(Box::new(base), args))?
            } else {
                return Ok(base);
            };
        }
    }

    /// An index, a tuple of indexes or a slice, up to `]`.
    fn subscript(&mut self, line: u32, base: Expr) -> Outcome<Expr> {
        let mut parts: [Option<Expr>; 3] = [None, None, None];
        let mut colons = 0;
        let mut items = Vec::new();
        while !self.skip_op("]") {
            if self.skip_op(":") {
                colons += 1;
                if colons > 2 || !items.is_empty() {
                    return self.fail("a slice is malformed");
                }
            } else if self.is_op(",") {
                self.next();
                match parts[0].take() {
                    Some(item) if colons == 0 => items.push(item),
                    _ => return self.fail("a slice is malformed"),
                }
            } else if parts[colons].is_some() {
                return self.unexpected("']'");
            } else {
                parts[colons] = Some(self.expression()?);
            }
        }
        if colons > 0 {
            return self.node(line, Kind::Slice(Box::new(base), Box::new(parts)));
        }
        let index = match (parts[0].take(), items.is_empty()) {
            (Some(index), true) => index,
            (None, true) => return self.fail("expected an index"),
            (last, false) => {
                items.extend(last);
                self.node(line, Kind::Tuple(items))?
            }
        };
        self.node(line, Kind::Item(Box::new(base), Box::new(index)))
    }

    fn call_args(&mut self) -> Outcome<CallArgs> {
        let mut args = CallArgs::default();
        self.expect_op("(")?;
        let mut first = true;
        while !self.skip_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.skip_op(")") {
                    break;
                }
            }
            first = false;
            if self.is_op("*") || self.is_op("**") {
                return self.fail("'*' and '**' arguments are not supported");
            }
            match (self.peek(), self.peek_second()) {
                (Tok::Name(name), Tok::Op("=")) => {
                    let name = name.as_str().into();
                    self.next();
                    self.next();
                    args.named.push((name, self.expression()?));
                }
                _ if !args.named.is_empty() => return self.fail("a positional argument follows a named one"),
                _ => args.positional.push(self.expression()?),
            }
        }
        Ok(args)
    }

    fn filters_and_tests(&mut self, mut base: Expr) -> Outcome<Expr> {
        loop {
            if self.is_op("|") {
                base = self.filter_chain(base, false)?;
            } else if self.is_name("is") {
                base = self.test(base)?;
            } else if self.is_op("(") {
                let line = self.line();
                let args = self.call_args()?;
                base = self.node(line, Kind::Call(Box::new(base), args))?;
            } else {
                return Ok(base);
            }
        }
    }

    /// `|name(args)|name...`; the first bar is absent when `bare`.
    pub(super) fn filter_chain(&mut self, mut base: Expr, mut bare: bool) -> Outcome<Expr> {
        while bare || self.is_op("|") {
            let line = self.line();
            if !bare {
                self.next();
            }
            bare = false;
            let name = self.dotted_name()?;
            let args = if self.is_op("(") { self.call_args()? } else { CallArgs::default() };
            base = self.node(line, Kind::Filter(Box::new(base), name.into(), args))?;
        }
        Ok(base)
    }

    fn dotted_name(&mut self) -> Outcome<String> {
        let mut name = self.name()?;
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    fn test(&mut self, base: Expr) -> Outcome<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut args = CallArgs::default();
        let operand_follows = match self.peek() {
            Tok::Name(name) if name == "is" => return self.fail("tests cannot be chained with 'is'"),
            Tok::Name(name) => !matches!(name.as_str(), "else" | "or" | "and"),
            Tok::Str(_) | Tok::Int(_) | Tok::Float(_) | Tok::Op("[" | "{") => true,
            _ => false,
        };
        if self.is_op("(") {
            args = self.call_args()?;
        } else if operand_follows {
            let operand = self.nested(Self::primary)?;
            args.positional.push(self.postfix(operand)?);
        }
        let test = self.node(line, Kind::Test(Box::new(base), name.into(), args))?;
        if negated { self.node(line, Kind::Not(Box::new(test))) } else { Ok(test) }
    }
}
