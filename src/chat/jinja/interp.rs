//! Runs a syntax tree. Scopes, loops, macros and namespaces live in tables of the run and values refer to them by
//! number, so circles among them cost nothing and everything is freed at the end.

use std::sync::Arc;

use super::ast::{Expr, For, Kind, LOOP, MacroDef, Stmt, Symbol, Target, Template};
use super::format::{push, write_str};
use super::value::{Fail, Function, Meter, Outcome, SeqKind, Value};
use super::{filters, methods, ops, predicates};

mod calls;

/// The deepest nesting of statements, expressions and macro calls together: bounds the stack.
const MAX_DEPTH: usize = 300;

/// One scope: variables and the scope around it.
struct Frame {
    parent: Option<usize>,
    variables: Vec<(Symbol, Value)>,
}

struct LoopState {
    serial: u64,
    items: Vec<Value>,
    index: usize,
    changed: Option<Vec<Value>>,
}

enum Flow {
    Next,
    Break,
    Continue,
}

struct Interp<'t> {
    template: &'t Template,
    now: i64,
    meter: Meter,
    output: String,
    frames: Vec<Frame>,
    /// The current scope.
    frame: usize,
    /// Scopes up to this index outlive their block, because a macro refers to them.
    kept_frames: usize,
    macros: Vec<(&'t MacroDef, usize)>,
    namespaces: Vec<Vec<(Arc<str>, Value)>>,
    loops: Vec<LoopState>,
    next_loop: u64,
    captured: Vec<Value>,
    depth: usize,
}

/// Renders a template with the given variables. `now`: seconds since 1970 for `strftime_now`.
pub(crate) fn render(
    template: &Template,
    variables: Vec<(&str, Value)>,
    input_size: (u64, u64),
    now: i64,
) -> Outcome<String> {
    let known = variables.into_iter().filter_map(|(name, value)| {
        let symbol = template.names.iter().position(|n| **n == *name)?;
        Some((symbol as Symbol, value))
    });
    let root = Frame { parent: None, variables: known.collect() };
    let mut interp = Interp {
        template,
        now,
        meter: Meter::new(input_size.0, input_size.1),
        output: String::new(),
        frames: vec![root],
        frame: 0,
        kept_frames: 0,
        macros: Vec::new(),
        namespaces: Vec::new(),
        loops: Vec::new(),
        next_loop: 0,
        captured: Vec::new(),
        depth: 0,
    };
    interp.run(&template.body)?;
    Ok(interp.output)
}

impl<'t> Interp<'t> {
    fn run(&mut self, body: &'t [Stmt]) -> Outcome<Flow> {
        self.descend()?;
        for stmt in body {
            self.meter.steps(1)?;
            match self.statement(stmt)? {
                Flow::Next => {}
                flow => {
                    self.depth -= 1;
                    return Ok(flow);
                }
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn descend(&mut self) -> Outcome<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Fail::new(format!("the template nests calls and blocks deeper than {MAX_DEPTH}"));
        }
        Ok(())
    }

    fn statement(&mut self, stmt: &'t Stmt) -> Outcome<Flow> {
        match stmt {
            Stmt::Data(text) => push(&mut self.output, text, &mut self.meter)?,
            Stmt::Emit(expr) => {
                let value = self.eval(expr)?;
                let written = write_str(&value, &mut self.output, &mut self.meter);
                written.map_err(|fail| at(fail, expr.line))?;
            }
            Stmt::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.eval(condition)?.truthy() {
                        return self.run(body);
                    }
                }
                return self.run(otherwise);
            }
            Stmt::For(block) => return self.for_loop(block),
            Stmt::Set { target, value } => {
                let evaluated = self.eval(value)?;
                self.assign(target, evaluated).map_err(|fail| at(fail, value.line))?;
            }
            Stmt::SetBlock { target, value, body } => {
                let evaluated = self.capture(value, body)?;
                self.assign(target, evaluated).map_err(|fail| at(fail, value.line))?;
            }
            Stmt::FilterBlock { value, body } => {
                let evaluated = self.capture(value, body)?;
                write_str(&evaluated, &mut self.output, &mut self.meter)?;
            }
            Stmt::With { bindings, body } => {
                let mut values = Vec::with_capacity(bindings.len());
                for (_, value) in bindings {
                    values.push(self.eval(value)?);
                }
                let outer = self.enter(self.frame);
                for ((target, _), value) in bindings.iter().zip(values) {
                    self.assign(target, value)?;
                }
                let flow = self.run(body)?;
                self.leave(outer);
                return Ok(flow);
            }
            Stmt::Macro(definition) => {
                let made = self.define(definition)?;
                self.set(definition.name, made)?;
            }
            Stmt::CallBlock { call, caller } => {
                let caller = self.define(caller)?;
                let Kind::Call(callee, args) = &call.kind else {
                    return Ok(Flow::Next);
                };
                let callee = self.eval(callee)?;
                let args = self.arguments(args)?;
                let result = self.call(callee, args, Some(caller)).map_err(|fail| at(fail, call.line))?;
                write_str(&result, &mut self.output, &mut self.meter)?;
            }
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Runs a body into a text and applies `value` (filters over `Captured`) to it.
    fn capture(&mut self, value: &'t Expr, body: &'t [Stmt]) -> Outcome<Value> {
        let outer_output = std::mem::take(&mut self.output);
        let outer = self.enter(self.frame);
        self.run(body)?;
        self.leave(outer);
        let text = std::mem::replace(&mut self.output, outer_output);
        self.captured.push(Value::str(text));
        let evaluated = self.eval(value)?;
        self.captured.pop();
        Ok(evaluated)
    }

    fn for_loop(&mut self, block: &'t For) -> Outcome<Flow> {
        let iterable = self.eval(&block.iter)?;
        let mut items = iterable.iterate(&mut self.meter).map_err(|fail| at(fail, block.iter.line))?;
        if let Some(filter) = &block.filter {
            let mut kept = Vec::new();
            for item in items {
                let outer = self.enter(self.frame);
                self.assign(&block.target, item.clone()).map_err(|fail| at(fail, filter.line))?;
                if self.eval(filter)?.truthy() {
                    kept.push(item);
                }
                self.leave(outer);
            }
            items = kept;
        }
        let count = items.len();
        let mut completed = false;
        let serial = self.next_loop;
        self.next_loop += 1;
        self.loops.push(LoopState { serial, items, index: 0, changed: None });
        for index in 0..count {
            self.meter.steps(1)?;
            let item = match self.loops.last_mut() {
                Some(state) => {
                    state.index = index;
                    state.items[index].clone()
                }
                None => break,
            };
            let outer = self.enter(self.frame);
            self.set(LOOP, Value::Loop(serial))?;
            self.assign(&block.target, item).map_err(|fail| at(fail, block.iter.line))?;
            let flow = self.run(&block.body)?;
            self.leave(outer);
            match flow {
                Flow::Next => completed = true,
                Flow::Continue => {}
                Flow::Break => break,
            }
        }
        self.loops.pop();
        // jinja2's `else` asks whether any round came to its end, not whether there was one.
        if completed { Ok(Flow::Next) } else { self.run(&block.otherwise) }
    }

    /// Opens a scope inside `parent`; returns the scope to go back to.
    fn enter(&mut self, parent: usize) -> usize {
        self.frames.push(Frame { parent: Some(parent), variables: Vec::new() });
        std::mem::replace(&mut self.frame, self.frames.len() - 1)
    }

    fn leave(&mut self, outer: usize) {
        if self.frame > self.kept_frames {
            self.frames.truncate(self.frame);
        }
        self.frame = outer;
    }

    fn set(&mut self, symbol: Symbol, value: Value) -> Outcome<()> {
        let variables = &mut self.frames[self.frame].variables;
        self.meter.steps(1 + variables.len() / 16)?;
        match variables.iter_mut().find(|(found, _)| *found == symbol) {
            Some((_, slot)) => *slot = value,
            None => {
                self.meter.bytes(size_of::<(Symbol, Value)>())?;
                variables.push((symbol, value));
            }
        }
        Ok(())
    }

    fn lookup(&mut self, symbol: Symbol) -> Outcome<Value> {
        let mut frame = Some(self.frame);
        while let Some(found) = frame.and_then(|index| self.frames.get(index)) {
            self.meter.steps(1 + found.variables.len() / 16)?;
            if let Some((_, value)) = found.variables.iter().find(|(name, _)| *name == symbol) {
                return Ok(value.clone());
            }
            frame = found.parent;
        }
        Ok(match &*self.template.names[symbol as usize] {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" => Value::Function(Function::StrftimeNow),
            _ => Value::Undefined,
        })
    }

    fn assign(&mut self, target: &'t Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(symbol) => self.set(*symbol, value),
            Target::Tuple(targets) => {
                let items = value.iterate(&mut self.meter)?;
                if items.len() != targets.len() {
                    return Fail::new(format!("{} values for {} names", items.len(), targets.len()));
                }
                targets.iter().zip(items).try_for_each(|(target, item)| self.assign(target, item))
            }
            Target::Attribute(symbol, name, line) => {
                let Value::Namespace(index) = self.lookup(*symbol)? else {
                    return Err(Fail::at(*line, "only a namespace's attributes can be set"));
                };
                self.meter.bytes(name.len() + 64)?;
                let attributes = &mut self.namespaces[index];
                self.meter.steps(1 + attributes.len() / 16)?;
                match attributes.iter_mut().find(|(found, _)| found == name) {
                    Some((_, slot)) => *slot = value,
                    None => attributes.push((name.clone(), value)),
                }
                Ok(())
            }
        }
    }

    fn eval(&mut self, expr: &'t Expr) -> Outcome<Value> {
        self.meter.steps(1).map_err(|fail| at(fail, expr.line))?;
        match &expr.kind {
            Kind::Const(value) => return Ok(value.clone()),
            Kind::Name(symbol) => return self.lookup(*symbol).map_err(|fail| at(fail, expr.line)),
            _ => {}
        }
        self.descend().map_err(|fail| at(fail, expr.line))?;
        let result = self.eval_kind(expr).map_err(|fail| at(fail, expr.line));
        self.depth -= 1;
        result
    }

    fn eval_all(&mut self, exprs: &'t [Expr]) -> Outcome<Vec<Value>> {
        self.meter.values(exprs.len())?;
        exprs.iter().map(|expr| self.eval(expr)).collect()
    }

    fn eval_kind(&mut self, expr: &'t Expr) -> Outcome<Value> {
        match &expr.kind {
            Kind::Const(value) => Ok(value.clone()),
            Kind::Name(symbol) => self.lookup(*symbol),
            Kind::Captured => Ok(self.captured.last().cloned().unwrap_or(Value::Undefined)),
            Kind::List(items) => Value::list(self.eval_all(items)?),
            Kind::Tuple(items) => Value::seq(SeqKind::Tuple, self.eval_all(items)?),
            Kind::Dict(entries) => {
                let mut pairs = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    pairs.push((self.eval(key)?, self.eval(value)?));
                }
                Value::dict(filters::merged(None, pairs, &mut self.meter)?)
            }
            Kind::Attribute(base, name) => {
                let value = self.eval(base)?;
                if matches!(value, Value::Undefined) {
                    return Fail::new(format!(
                        "'{}' is undefined, so it has no '{name}'",
                        self.describe(base)
                    ));
                }
                self.attribute(&value, name)
            }
            Kind::Item(base, index) => {
                let (value, index) = (self.eval(base)?, self.eval(index)?);
                if matches!(value, Value::Undefined) {
                    return Fail::new(format!(
                        "'{}' is undefined, so it has no elements",
                        self.describe(base)
                    ));
                }
                self.item(&value, &index)
            }
            Kind::Slice(base, parts) => {
                let value = self.eval(base)?;
                let mut bounds = [None, None, None];
                for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                    if let Some(part) = part {
                        *bound = Some(self.eval(part)?);
                    }
                }
                ops::slice(&value, bounds, &mut self.meter)
            }
            Kind::Call(callee, args) => {
                let function = self.eval(callee)?;
                let args = self.arguments(args)?;
                if matches!(function, Value::Undefined) {
                    return Fail::new(format!(
                        "'{}' is undefined and cannot be called",
                        self.describe(callee)
                    ));
                }
                self.call(function, args, None)
            }
            Kind::Filter(base, name, args) => {
                let value = self.eval(base)?;
                let args = self.arguments(args)?;
                self.filter(&value, name, args)
            }
            Kind::Test(base, name, args) => {
                let value = self.eval(base)?;
                let args = self.arguments(args)?;
                Ok(Value::Bool(predicates::test(&value, name, args, &mut self.meter)?))
            }
            Kind::Not(inner) => Ok(Value::Bool(!self.eval(inner)?.truthy())),
            Kind::Negative(inner) | Kind::Positive(inner) => {
                let value = self.eval(inner)?;
                let negative = matches!(expr.kind, Kind::Negative(_));
                match (value.as_int(), &value) {
                    (Some(i), _) if negative => Ok(Value::Int(i.checked_neg().unwrap_or(i128::MAX))),
                    (Some(i), _) => Ok(Value::Int(i)),
                    (None, Value::Float(f)) => Ok(Value::Float(if negative { -f } else { *f })),
                    _ => Fail::new(format!("a value of type {} has no sign", value.type_name())),
                }
            }
            Kind::Binary(op, left, right) => {
                let (a, b) = (self.eval(left)?, self.eval(right)?);
                for (value, operand) in [(&a, left), (&b, right)] {
                    if matches!(value, Value::Undefined) {
                        return Fail::new(format!("'{}' is undefined", self.describe(operand)));
                    }
                }
                ops::binary(*op, &a, &b, &mut self.meter)
            }
            Kind::And(left, right) => {
                let value = self.eval(left)?;
                if value.truthy() { self.eval(right) } else { Ok(value) }
            }
            Kind::Or(left, right) => {
                let value = self.eval(left)?;
                if value.truthy() { Ok(value) } else { self.eval(right) }
            }
            Kind::Compare(first, rest) => {
                let mut left = self.eval(first)?;
                for (op, expr) in rest {
                    let right = self.eval(expr)?;
                    if !ops::compare(*op, &left, &right, &mut self.meter)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Kind::Concat(parts) => {
                let values = self.eval_all(parts)?;
                ops::concat(&values, &mut self.meter)
            }
            Kind::Conditional(pair, otherwise) => {
                let [condition, then] = &**pair;
                if self.eval(condition)?.truthy() {
                    self.eval(then)
                } else {
                    otherwise.as_ref().map_or(Ok(Value::Undefined), |expr| self.eval(expr))
                }
            }
        }
    }

    /// The source of a simple expression, for messages.
    fn describe(&self, expr: &Expr) -> String {
        match &expr.kind {
            Kind::Name(symbol) => self.template.names[*symbol as usize].chars().take(80).collect(),
            Kind::Attribute(base, name) => {
                format!("{}.{name}", self.describe(base)).chars().take(80).collect()
            }
            Kind::Item(base, _) => format!("{}[..]", self.describe(base)).chars().take(80).collect(),
            _ => "a value".to_owned(),
        }
    }

    fn attribute(&mut self, value: &Value, name: &str) -> Outcome<Value> {
        if let Value::Namespace(index) = value {
            let attributes = &self.namespaces[*index];
            self.meter.steps(1 + attributes.len() / 16)?;
            let found = attributes.iter().find(|(found, _)| **found == *name);
            return Ok(found.map_or(Value::Undefined, |(_, value)| value.clone()));
        }
        if let Value::Loop(serial) = value {
            return self.loop_attribute(*serial, name);
        }
        if let Some(found) = methods::attribute(value, name) {
            return Ok(found);
        }
        match value {
            Value::Dict(dict) => {
                Ok(dict.get_str(name, &mut self.meter)?.cloned().unwrap_or(Value::Undefined))
            }
            _ => Ok(Value::Undefined),
        }
    }

    fn item(&mut self, value: &Value, index: &Value) -> Outcome<Value> {
        if let Some(found) = ops::item(value, index, &mut self.meter)? {
            return Ok(found);
        }
        match (index, value) {
            (Value::Str(name), Value::Dict(_)) => {
                Ok(methods::attribute(value, name).unwrap_or(Value::Undefined))
            }
            (Value::Str(name), _) => self.attribute(value, name),
            _ => Ok(Value::Undefined),
        }
    }

    fn loop_attribute(&mut self, serial: u64, name: &str) -> Outcome<Value> {
        let Some(state) = self.loops.iter().rev().find(|state| state.serial == serial) else {
            return Fail::new("'loop' is used after its loop has ended");
        };
        let (index, count) = (state.index, state.items.len());
        let neighbour = |at: Option<usize>| at.and_then(|at| state.items.get(at)).cloned();
        Ok(match name {
            "index" => Value::Int(index as i128 + 1),
            "index0" => Value::Int(index as i128),
            "revindex" => Value::Int((count - index) as i128),
            "revindex0" => Value::Int((count - index) as i128 - 1),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(index + 1 == count),
            "length" => Value::Int(count as i128),
            "depth" => Value::Int(1),
            "depth0" => Value::Int(0),
            "previtem" => neighbour(index.checked_sub(1)).unwrap_or(Value::Undefined),
            "nextitem" => neighbour(Some(index + 1)).unwrap_or(Value::Undefined),
            "cycle" | "changed" => Value::Method(Arc::new((Value::Loop(serial), name.into()))),
            _ => Value::Undefined,
        })
    }
}

/// Notes the line of a failure that has none yet.
fn at(mut fail: Box<Fail>, line: u32) -> Box<Fail> {
    if fail.line == 0 {
        fail.line = line;
    }
    fail
}
