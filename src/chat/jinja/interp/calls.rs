//! Calls: macros, global functions, methods of `loop`, and the filters that apply other filters and tests.

use super::super::args::Args;
use super::super::ast::{CallArgs, MacroDef, Symbol};
use super::super::format::write_str;
use super::super::value::{Fail, Function, Outcome, SeqKind, Value};
use super::super::{filters, methods, ops, predicates, time};
use super::Interp;

/// The longest `range`, as in the sandbox.
const MAX_RANGE: i128 = 100_000;

impl<'t> Interp<'t> {
    fn loop_method(&mut self, serial: u64, name: &str, args: Args) -> Outcome<Value> {
        let values: Vec<Value> = args.positional.into_iter().flatten().collect();
        let Some(state) = self.loops.iter_mut().rev().find(|state| state.serial == serial) else {
            return Fail::new("'loop' is used after its loop has ended");
        };
        if name == "cycle" {
            return match values.len() {
                0 => Fail::new("'loop.cycle' needs values"),
                count => Ok(values[state.index % count].clone()),
            };
        }
        let mut same = state.changed.as_ref().is_some_and(|last| last.len() == values.len());
        for (a, b) in state.changed.iter().flatten().zip(&values) {
            same = same && ops::equal(a, b, &mut self.meter)?;
        }
        state.changed = Some(values);
        Ok(Value::Bool(!same))
    }

    pub(super) fn arguments(&mut self, args: &'t CallArgs) -> Outcome<Args> {
        let mut evaluated = Args::default();
        for expr in &args.positional {
            evaluated.positional.push(Some(self.eval(expr)?));
        }
        for (name, expr) in &args.named {
            if evaluated.named.iter().any(|(found, _)| found == name) {
                return Fail::new(format!("the argument '{name}' is given twice"));
            }
            evaluated.named.push((name.clone(), self.eval(expr)?));
        }
        Ok(evaluated)
    }

    pub(super) fn call(&mut self, function: Value, args: Args, caller: Option<Value>) -> Outcome<Value> {
        match function {
            Value::Macro(index) => self.call_macro(index, args, caller),
            Value::Method(method) => match &method.0 {
                Value::Loop(serial) => self.loop_method(*serial, &method.1, args),
                value => methods::call(value, &method.1, args, &mut self.meter),
            },
            Value::Function(function) => self.call_function(function, args),
            other => Fail::new(format!("a value of type {} cannot be called", other.type_name())),
        }
    }

    pub(super) fn define(&mut self, definition: &'t MacroDef) -> Outcome<Value> {
        // The scopes that the macro can see stay until the end of the run, so it has a price.
        self.meter.bytes(1024)?;
        self.kept_frames = self.kept_frames.max(self.frame);
        self.macros.push((definition, self.frame));
        Ok(Value::Macro(self.macros.len() - 1))
    }

    fn call_macro(&mut self, index: usize, mut args: Args, caller: Option<Value>) -> Outcome<Value> {
        let (definition, home) = self.macros[index];
        let outer = self.enter(home);
        let outer_output = std::mem::take(&mut self.output);
        for (i, (symbol, default)) in definition.params.iter().enumerate() {
            let name = self.template.names[*symbol as usize].clone();
            let value = match (args.take(i, &name), default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default)?,
                (None, None) => Value::Undefined,
            };
            self.set(*symbol, value)?;
        }
        args.finish(&self.template.names[definition.name as usize])?;
        if let Some(caller) = caller {
            let symbol = self.template.names.iter().position(|name| &**name == "caller");
            if let Some(symbol) = symbol {
                self.set(symbol as Symbol, caller)?;
            }
        }
        self.run(&definition.body)?;
        self.leave(outer);
        Ok(Value::str(std::mem::replace(&mut self.output, outer_output)))
    }

    fn call_function(&mut self, function: Function, mut args: Args) -> Outcome<Value> {
        match function {
            Function::RaiseException => {
                let message = args.take(0, "message").unwrap_or(Value::None);
                let mut text = String::new();
                write_str(&message, &mut text, &mut self.meter)?;
                Fail::new(text)
            }
            Function::StrftimeNow => {
                let format = args.need_text(0, "format", "strftime_now")?;
                args.finish("strftime_now")?;
                self.meter.bytes(format.len().saturating_mul(16))?;
                Ok(Value::str(time::strftime(&format, self.now)?))
            }
            Function::Range => {
                let first = args.int(0, "start", "range")?;
                let second = args.int(1, "stop", "range")?;
                let step = args.int(2, "step", "range")?.unwrap_or(1);
                args.finish("range")?;
                let (Some(start), Some(stop)) = (second.map_or(Some(0), |_| first), second.or(first)) else {
                    return Fail::new("'range' needs whole numbers");
                };
                if step == 0 {
                    return Fail::new("'range' has a step of zero");
                }
                let span = if step > 0 { stop.checked_sub(start) } else { start.checked_sub(stop) };
                let count =
                    span.map(|span| if span <= 0 { 0 } else { (span - 1) / step.saturating_abs() + 1 });
                let Some(count) = count.filter(|count| *count <= MAX_RANGE) else {
                    return Fail::new(format!("a range is longer than {MAX_RANGE}"));
                };
                self.meter.values(count as usize)?;
                Value::seq(SeqKind::Range, (0..count).map(|i| Value::Int(start + i * step)).collect())
            }
            Function::Dict | Function::Namespace => {
                let base = args.take(0, "");
                let pairs = std::mem::take(&mut args.named);
                args.finish("dict")?;
                let base = match &base {
                    None => None,
                    Some(Value::Dict(dict)) => Some(&**dict),
                    Some(other) => {
                        return Fail::new(format!("a dictionary cannot be made of {}", other.type_name()));
                    }
                };
                let pairs = pairs.into_iter().map(|(name, value)| (Value::Str(name), value)).collect();
                let entries = filters::merged(base, pairs, &mut self.meter)?;
                if function == Function::Dict {
                    return Value::dict(entries);
                }
                let name = |(key, value)| match key {
                    Value::Str(key) => Some((key, value)),
                    _ => None,
                };
                self.meter.bytes(64)?;
                self.namespaces.push(entries.into_iter().filter_map(name).collect());
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
        }
    }

    pub(super) fn filter(&mut self, value: &Value, name: &str, args: Args) -> Outcome<Value> {
        match name {
            "map" => self.map(value, args),
            "select" | "reject" => self.select(value, args, false, name == "select"),
            "selectattr" | "rejectattr" => self.select(value, args, true, name == "selectattr"),
            "groupby" => filters::group_by(value, args, &mut self.meter),
            _ => filters::apply(value, name, args, &mut self.meter),
        }
    }

    /// `map(attribute=..., default=...)` or `map('filter', args...)`.
    fn map(&mut self, value: &Value, mut args: Args) -> Outcome<Value> {
        let items = value.iterate(&mut self.meter)?;
        let mut mapped = Vec::with_capacity(items.len());
        if let Some(at) = args.named.iter().position(|(name, _)| &**name == "attribute") {
            let key = args.named.remove(at).1;
            let default = args.take(usize::MAX, "default");
            args.finish("map")?;
            for item in &items {
                match (filters::path(item, &key, &mut self.meter)?, &default) {
                    (Value::Undefined, Some(default)) => mapped.push(default.clone()),
                    (found, _) => mapped.push(found),
                }
            }
        } else {
            let name = args.need_text(0, "filter", "map")?;
            args.positional.drain(..args.positional.len().min(1));
            if matches!(&*name, "map" | "select" | "reject" | "selectattr" | "rejectattr" | "groupby") {
                return Fail::new(format!("'map' cannot apply '{name}'"));
            }
            for item in &items {
                let args = Args { positional: args.positional.clone(), named: args.named.clone() };
                mapped.push(filters::apply(item, &name, args, &mut self.meter)?);
            }
        }
        Value::seq(SeqKind::Iter, mapped)
    }

    /// The items (or those whose attribute) pass a test, or do not.
    fn select(&mut self, value: &Value, mut args: Args, by_attribute: bool, wanted: bool) -> Outcome<Value> {
        let key = if by_attribute { Some(args.need(0, "attribute", "selectattr")?) } else { None };
        let skip = usize::from(by_attribute);
        let test = args.text(skip, "test", "select")?;
        args.positional.drain(..(skip + usize::from(test.is_some())).min(args.positional.len()));
        let mut kept = Vec::new();
        for item in value.iterate(&mut self.meter)? {
            let tested = match &key {
                None => item.clone(),
                Some(key) => filters::path(&item, key, &mut self.meter)?,
            };
            let passes = match &test {
                None => tested.truthy(),
                Some(test) => {
                    let args = Args { positional: args.positional.clone(), named: args.named.clone() };
                    predicates::test(&tested, test, args, &mut self.meter)?
                }
            };
            if passes == wanted {
                kept.push(item);
            }
        }
        Value::seq(SeqKind::Iter, kept)
    }
}
