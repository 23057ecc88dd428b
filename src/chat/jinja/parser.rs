//! Tokens to the syntax tree: the statements. The expressions are in `expressions`.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Expr, For, Kind, LOOP, MacroDef, Stmt, Symbol, Target, Template};
use super::lexer::{Tok, Token, tokenize};
use super::value::{Fail, Outcome};

mod expressions;

/// The longest template source, in bytes. Real ones have some ten thousand.
const MAX_SOURCE: usize = 1 << 18;
/// The deepest nesting of block statements.
const MAX_BLOCK_DEPTH: usize = 40;

pub(super) struct Parser {
    tokens: Vec<Token>,
    pos: usize,
    names: Vec<Arc<str>>,
    symbols: HashMap<Arc<str>, Symbol>,
    block_depth: usize,
    /// How many expressions are being parsed inside each other.
    expr_depth: usize,
    /// How many loops are open, for `break` and `continue`.
    loops: usize,
}

/// Parses a template source.
pub(crate) fn parse(source: &str) -> Outcome<Template> {
    if source.len() > MAX_SOURCE {
        return Err(Fail::at(
            1,
            format!("the template has {} bytes, the limit is {MAX_SOURCE}", source.len()),
        ));
    }
    let mut parser = Parser {
        tokens: tokenize(source)?,
        pos: 0,
        names: Vec::new(),
        symbols: HashMap::new(),
        block_depth: 0,
        expr_depth: 0,
        loops: 0,
    };
    let loop_symbol = parser.symbol("loop");
    debug_assert_eq!(loop_symbol, LOOP);
    let body = parser.statements(&[])?;
    Ok(Template { body, names: parser.names })
}

impl Parser {
    fn peek(&self) -> &Tok {
        &self.tokens[self.pos].tok
    }

    fn peek_second(&self) -> &Tok {
        &self.tokens[(self.pos + 1).min(self.tokens.len() - 1)].tok
    }

    fn line(&self) -> u32 {
        self.tokens[self.pos].line
    }

    /// Takes the current token. The final `End` stays for ever.
    fn next(&mut self) -> Tok {
        let tok = self.tokens[self.pos].tok.clone();
        self.pos = (self.pos + 1).min(self.tokens.len() - 1);
        tok
    }

    fn fail<T>(&self, message: impl Into<String>) -> Outcome<T> {
        Err(Fail::at(self.line(), message))
    }

    fn unexpected<T>(&self, wanted: &str) -> Outcome<T> {
        let found = match self.peek() {
            Tok::Data(_) => "text".to_owned(),
            Tok::VariableBegin => "'{{'".to_owned(),
            Tok::VariableEnd => "'}}'".to_owned(),
            Tok::BlockBegin => "'{%'".to_owned(),
            Tok::BlockEnd => "'%}'".to_owned(),
            Tok::Name(name) => format!("'{name}'"),
            Tok::Str(_) => "a string".to_owned(),
            Tok::Int(_) | Tok::Float(_) => "a number".to_owned(),
            Tok::Op(op) => format!("'{op}'"),
            Tok::End => "the end of the template".to_owned(),
        };
        self.fail(format!("expected {wanted}, found {found}"))
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }

    fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    fn expect_op(&mut self, op: &str) -> Outcome<()> {
        if self.skip_op(op) { Ok(()) } else { self.unexpected(&format!("'{op}'")) }
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if found == name)
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    fn name(&mut self) -> Outcome<String> {
        match self.peek() {
            Tok::Name(name) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    fn symbol(&mut self, name: &str) -> Symbol {
        if let Some(&symbol) = self.symbols.get(name) {
            return symbol;
        }
        let symbol = self.names.len() as Symbol;
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.symbols.insert(name, symbol);
        symbol
    }

    fn block_end(&mut self) -> Outcome<()> {
        match self.peek() {
            Tok::BlockEnd => {
                self.next();
                Ok(())
            }
            _ => self.unexpected("'%}'"),
        }
    }

    /// Statements up to a block tag named in `ends` (which stays, behind its `{%`) or, without `ends`, to the end.
    fn statements(&mut self, ends: &[&str]) -> Outcome<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            match self.peek() {
                Tok::Data(_) => {
                    if let Tok::Data(text) = self.next() {
                        body.push(Stmt::Data(text.into()));
                    }
                }
                Tok::VariableBegin => {
                    self.next();
                    let value = self.tuple_or_expression()?;
                    match self.peek() {
                        Tok::VariableEnd => self.next(),
                        _ => return self.unexpected("'}}'"),
                    };
                    body.push(Stmt::Emit(value));
                }
                Tok::BlockBegin => {
                    if ends.iter().any(|end| matches!(self.peek_second(), Tok::Name(name) if name == end)) {
                        self.next();
                        return Ok(body);
                    }
                    self.next();
                    self.block_depth += 1;
                    if self.block_depth > MAX_BLOCK_DEPTH {
                        return self.fail(format!("blocks are nested deeper than {MAX_BLOCK_DEPTH}"));
                    }
                    self.statement(&mut body)?;
                    self.block_depth -= 1;
                }
                Tok::End if ends.is_empty() => return Ok(body),
                _ => return self.unexpected(&format!("'{{% {} %}}'", ends.join(" %}' or '{% "))),
            }
        }
    }

    /// The body of a block up to its end tag, which is taken whole.
    fn body(&mut self, end: &str) -> Outcome<Vec<Stmt>> {
        let body = self.statements(&[end])?;
        self.next();
        self.block_end()?;
        Ok(body)
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Outcome<()> {
        let line = self.line();
        let tag = self.name()?;
        let stmt = match tag.as_str() {
            "if" => self.if_block()?,
            "for" => self.for_block()?,
            "set" => self.set_block()?,
            "macro" => {
                let name = self.name()?;
                Stmt::Macro(self.macro_tail(&name, "endmacro")?)
            }
            "call" => {
                let params = if self.is_op("(") { self.params()? } else { Vec::new() };
                let call = self.expression()?;
                if !matches!(call.kind, Kind::Call(..)) {
                    return Err(Fail::at(line, "a call block needs a call"));
                }
                self.block_end()?;
                let name = self.symbol("caller");
                let body = self.outside_loops(|p| p.body("endcall"))?;
                Stmt::CallBlock { call, caller: MacroDef { name, params, body } }
            }
            "filter" => {
                let captured = self.node(line, Kind::Captured)?;
                let value = self.filter_chain(captured, true)?;
                self.block_end()?;
                Stmt::FilterBlock { value, body: self.body("endfilter")? }
            }
            "with" => {
                let mut bindings = Vec::new();
                while !matches!(self.peek(), Tok::BlockEnd) {
                    if !bindings.is_empty() {
                        self.expect_op(",")?;
                    }
                    let target = self.target_item()?;
                    self.expect_op("=")?;
                    bindings.push((target, self.expression()?));
                }
                self.block_end()?;
                Stmt::With { bindings, body: self.body("endwith")? }
            }
            // Marks the model's own words for training; it prints its body.
            "generation" => {
                self.block_end()?;
                Stmt::With { bindings: Vec::new(), body: self.body("endgeneration")? }
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(Fail::at(line, format!("'{tag}' outside of a loop")));
                }
                self.block_end()?;
                if tag == "break" { Stmt::Break } else { Stmt::Continue }
            }
            "print" => {
                let mut value = self.expression()?;
                while self.skip_op(",") {
                    out.push(Stmt::Emit(value));
                    value = self.expression()?;
                }
                self.block_end()?;
                Stmt::Emit(value)
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(Fail::at(line, format!("the tag '{shown}' is not supported here")));
            }
        };
        out.push(stmt);
        Ok(())
    }

    fn if_block(&mut self) -> Outcome<Stmt> {
        let mut branches = Vec::new();
        loop {
            // As in jinja2, a conditional expression needs parentheses here.
            let condition = self.tuple_without_condition()?;
            self.block_end()?;
            branches.push((condition, self.statements(&["elif", "else", "endif"])?));
            match self.name()?.as_str() {
                "elif" => {}
                "else" => {
                    self.block_end()?;
                    return Ok(Stmt::If { branches, otherwise: self.body("endif")? });
                }
                _ => {
                    self.block_end()?;
                    return Ok(Stmt::If { branches, otherwise: Vec::new() });
                }
            }
        }
    }

    fn for_block(&mut self) -> Outcome<Stmt> {
        let start = self.pos;
        let target = self.target()?;
        if self.tokens[start..self.pos].iter().any(|token| token.tok == Tok::Name("loop".to_owned())) {
            return self.fail("a loop cannot assign to 'loop'");
        }
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        // `if` after the iterable filters it, so the iterable itself is no conditional expression.
        let iter = self.tuple_without_condition()?;
        let filter = if self.skip_name("if") { Some(self.expression()?) } else { None };
        if self.is_name("recursive") {
            return self.fail("recursive loops are not supported");
        }
        self.block_end()?;
        self.loops += 1;
        let body = self.statements(&["else", "endfor"])?;
        self.loops -= 1;
        let has_else = self.is_name("else");
        self.next();
        self.block_end()?;
        let otherwise = if has_else { self.body("endfor")? } else { Vec::new() };
        Ok(Stmt::For(Box::new(For { target, iter, filter, body, otherwise })))
    }

    fn set_block(&mut self) -> Outcome<Stmt> {
        let line = self.line();
        let target = self.target()?;
        if self.skip_op("=") {
            let value = self.tuple_or_expression()?;
            self.block_end()?;
            return Ok(Stmt::Set { target, value });
        }
        let captured = self.node(line, Kind::Captured)?;
        let value = self.filter_chain(captured, false)?;
        self.block_end()?;
        Ok(Stmt::SetBlock { target, value, body: self.body("endset")? })
    }

    /// Parameters, closing mark and body of a macro.
    fn macro_tail(&mut self, name: &str, end: &str) -> Outcome<MacroDef> {
        let name = self.symbol(name);
        let params = self.params()?;
        self.block_end()?;
        let body = self.outside_loops(|p| p.body(end))?;
        Ok(MacroDef { name, params, body })
    }

    /// A macro's body belongs to no loop around its definition.
    fn outside_loops<T>(&mut self, parse: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let loops = std::mem::take(&mut self.loops);
        let parsed = parse(self);
        self.loops = loops;
        parsed
    }

    fn params(&mut self) -> Outcome<Vec<(Symbol, Option<Expr>)>> {
        let mut params: Vec<(Symbol, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.skip_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.assignable_name()?;
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("a parameter without a default follows one that has one");
            }
            params.push((self.symbol(&name), default));
        }
        Ok(params)
    }

    fn assignable_name(&mut self) -> Outcome<String> {
        let name = self.name()?;
        if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail(format!("cannot assign to '{name}'"));
        }
        Ok(name)
    }

    /// An assignment target; `a, b` is a tuple.
    fn target(&mut self) -> Outcome<Target> {
        let first = self.target_item()?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op(",") {
            if matches!(self.peek(), Tok::Name(name) if name != "in") || self.is_op("(") {
                items.push(self.target_item()?);
            } else {
                break;
            }
        }
        Ok(Target::Tuple(items))
    }

    fn target_item(&mut self) -> Outcome<Target> {
        let line = self.line();
        if self.skip_op("(") {
            self.block_depth += 1;
            if self.block_depth > MAX_BLOCK_DEPTH {
                return self.fail(format!("blocks are nested deeper than {MAX_BLOCK_DEPTH}"));
            }
            let inner = self.target()?;
            self.block_depth -= 1;
            self.expect_op(")")?;
            return Ok(inner);
        }
        let name = self.assignable_name()?;
        let symbol = self.symbol(&name);
        if self.skip_op(".") {
            let attribute = self.name()?;
            return Ok(Target::Attribute(symbol, attribute.into(), line));
        }
        Ok(Target::Name(symbol))
    }
}
