//! Values of a running template, the meter that bounds a render, and the error that ends one.

use std::sync::Arc;

/// The deepest nesting of lists and dictionaries: bounds the recursion of printing, comparing and dropping.
pub(super) const MAX_VALUE_DEPTH: u16 = 100;

/// Why a template was refused or a render ended. `line` is 0 until a caller that knows it fills it in.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl Fail {
    pub(super) fn new<T>(message: impl Into<String>) -> Result<T, Box<Fail>> {
        Err(Fail::at(0, message))
    }

    pub(super) fn at(line: u32, message: impl Into<String>) -> Box<Fail> {
        Box::new(Fail { line, message: message.into() })
    }
}

pub(crate) type Outcome<T> = Result<T, Box<Fail>>;

/// What a render may still spend. Both counters only ever fall, so they bound all work and all memory of it.
pub(super) struct Meter {
    steps: u64,
    bytes: u64,
}

impl Meter {
    /// Limits that grow with the input: `input_bytes` of text and `input_values` list and dictionary entries.
    pub(super) fn new(input_bytes: u64, input_values: u64) -> Meter {
        Meter {
            steps: 5_000_000 + 2_000 * input_values + 4 * input_bytes,
            bytes: (64 << 20) + 64 * input_bytes + 1_000 * input_values,
        }
    }

    /// Pays for `n` evaluation steps.
    pub(super) fn steps(&mut self, n: usize) -> Outcome<()> {
        match self.steps.checked_sub(n as u64) {
            Some(left) => self.steps = left,
            None => return Fail::new("the template runs too long"),
        }
        Ok(())
    }

    /// Pays for building `n` bytes, before they are allocated.
    pub(super) fn bytes(&mut self, n: usize) -> Outcome<()> {
        match self.bytes.checked_sub(n as u64) {
            Some(left) => self.bytes = left,
            None => return Fail::new("the template uses too much memory"),
        }
        Ok(())
    }

    /// Pays for reading `n` bytes without keeping them.
    pub(super) fn scan(&mut self, n: usize) -> Outcome<()> {
        self.steps(1 + n / 8)
    }

    /// Pays for a container of `n` values.
    pub(super) fn values(&mut self, n: usize) -> Outcome<()> {
        self.steps(n)?;
        self.bytes(n.saturating_mul(size_of::<Value>()))
    }
}

/// One Python-like value. Containers are immutable: the sandbox forbids every method that would change one.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Undefined,
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    Seq(Arc<Seq>),
    Dict(Arc<Dict>),
    /// Index into the render's namespaces, which may refer to each other in circles.
    Namespace(usize),
    /// Index into the render's macros.
    Macro(usize),
    /// Serial number of a running loop.
    Loop(u64),
    /// A global function.
    Function(Function),
    /// A method taken from a value and not called yet.
    Method(Arc<(Value, Arc<str>)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeqKind {
    List,
    Tuple,
    Range,
    /// `keys()`, `values()`, `items()`: has a length and no index.
    View,
    /// What Python gives as an iterator: no length, no index, always true.
    Iter,
}

#[derive(Debug)]
pub(crate) struct Seq {
    pub(super) kind: SeqKind,
    pub(super) items: Vec<Value>,
    depth: u16,
    /// Kept, as the depth is: tuples may share their parts, and visiting these again and again would take for ever.
    hashable: bool,
}

#[derive(Debug)]
pub(crate) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    depth: u16,
}

fn outer_depth<'a>(inner: impl Iterator<Item = &'a Value>) -> Outcome<u16> {
    let depth = 1 + inner.map(Value::depth).max().unwrap_or(0);
    if depth > MAX_VALUE_DEPTH {
        return Fail::new(format!("lists and dictionaries are nested deeper than {MAX_VALUE_DEPTH}"));
    }
    Ok(depth)
}

impl Value {
    pub(super) fn str(text: impl Into<Arc<str>>) -> Value {
        Value::Str(text.into())
    }

    pub(super) fn seq(kind: SeqKind, items: Vec<Value>) -> Outcome<Value> {
        let depth = outer_depth(items.iter())?;
        let hashable = match kind {
            SeqKind::List => false,
            SeqKind::Tuple => items.iter().all(Value::is_hashable),
            SeqKind::Range | SeqKind::View | SeqKind::Iter => true,
        };
        Ok(Value::Seq(Arc::new(Seq { kind, items, depth, hashable })))
    }

    pub(super) fn list(items: Vec<Value>) -> Outcome<Value> {
        Value::seq(SeqKind::List, items)
    }

    /// A dictionary of entries whose keys are distinct.
    pub(super) fn dict(entries: Vec<(Value, Value)>) -> Outcome<Value> {
        let depth = outer_depth(entries.iter().flat_map(|(k, v)| [k, v]))?;
        Ok(Value::Dict(Arc::new(Dict { entries, depth })))
    }

    fn depth(&self) -> u16 {
        match self {
            Value::Seq(seq) => seq.depth,
            Value::Dict(dict) => dict.depth,
            Value::Method(method) => 1 + method.0.depth(),
            _ => 0,
        }
    }

    /// Whether Python could use the value as a dictionary key.
    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Value::Dict(_) => false,
            Value::Seq(seq) => seq.hashable,
            _ => true,
        }
    }

    pub(super) fn truthy(&self) -> bool {
        match self {
            Value::Undefined | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::Seq(seq) => seq.kind == SeqKind::Iter || !seq.items.is_empty(),
            Value::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    /// The name of the type in messages, as Python calls it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined => "undefined",
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Seq(seq) => match seq.kind {
                SeqKind::List => "list",
                SeqKind::Tuple => "tuple",
                SeqKind::Range => "range",
                SeqKind::View => "dict view",
                SeqKind::Iter => "iterator",
            },
            Value::Dict(_) => "dict",
            Value::Namespace(_) => "namespace",
            Value::Macro(_) | Value::Function(_) | Value::Method(_) => "function",
            Value::Loop(_) => "loop",
        }
    }

    /// `bool` counts as `int`, as in Python.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(f) => Some(*f),
            _ => self.as_int().map(|i| i as f64),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// What `len()` gives; text is counted in characters.
    pub(super) fn len(&self, meter: &mut Meter) -> Outcome<usize> {
        match self {
            Value::Undefined => Ok(0),
            Value::Str(s) => {
                meter.scan(s.len())?;
                Ok(s.chars().count())
            }
            Value::Seq(seq) if seq.kind != SeqKind::Iter => Ok(seq.items.len()),
            Value::Dict(dict) => Ok(dict.entries.len()),
            other => Fail::new(format!("a value of type {} has no length", other.type_name())),
        }
    }

    /// The values that a loop over this one visits.
    pub(super) fn iterate(&self, meter: &mut Meter) -> Outcome<Vec<Value>> {
        match self {
            Value::Undefined => Ok(Vec::new()),
            Value::Str(s) => {
                meter.values(s.len())?;
                // Every character becomes an allocation of its own.
                meter.bytes(s.len().saturating_mul(32))?;
                Ok(s.chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4]) as &str)).collect())
            }
            Value::Seq(seq) => {
                meter.values(seq.items.len())?;
                Ok(seq.items.clone())
            }
            Value::Dict(dict) => {
                meter.values(dict.entries.len())?;
                Ok(dict.entries.iter().map(|(k, _)| k.clone()).collect())
            }
            other => Fail::new(format!("a value of type {} cannot be iterated", other.type_name())),
        }
    }
}

impl Dict {
    /// The entry of a text key.
    pub(super) fn get_str(&self, key: &str, meter: &mut Meter) -> Outcome<Option<&Value>> {
        meter.steps(1 + self.entries.len() / 8)?;
        for (found, value) in &self.entries {
            let Some(found) = found.as_str().filter(|found| found.len() == key.len()) else { continue };
            meter.scan(key.len())?;
            if found == key {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// A list of JSON objects; see `from_json`.
pub(crate) fn from_maps<'a>(
    maps: impl Iterator<Item = &'a serde_json::Map<String, serde_json::Value>>,
    size: &mut (u64, u64),
) -> Outcome<Value> {
    Value::list(maps.map(|map| convert_map(map, size, 1)).collect::<Outcome<_>>()?)
}

/// A JSON value as Python's `json.loads` would hand it to a template; also adds its text bytes and its number of
/// values to `size`.
pub(crate) fn from_json(json: &serde_json::Value, size: &mut (u64, u64)) -> Outcome<Value> {
    convert(json, size, 0)
}

fn convert(json: &serde_json::Value, size: &mut (u64, u64), depth: u16) -> Outcome<Value> {
    if depth >= MAX_VALUE_DEPTH {
        return Fail::new(format!("a message or tool is nested deeper than {MAX_VALUE_DEPTH}"));
    }
    size.1 += 1;
    Ok(match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::Int(i128::from(i)),
            (_, Some(u)) => Value::Int(i128::from(u)),
            _ => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(s) => {
            size.0 += s.len() as u64;
            Value::str(s.as_str())
        }
        serde_json::Value::Array(items) => {
            let items = items.iter().map(|item| convert(item, size, depth + 1)).collect::<Outcome<_>>()?;
            Value::list(items)?
        }
        serde_json::Value::Object(map) => convert_map(map, size, depth)?,
    })
}

fn convert_map(
    map: &serde_json::Map<String, serde_json::Value>,
    size: &mut (u64, u64),
    depth: u16,
) -> Outcome<Value> {
    let mut entries = Vec::with_capacity(map.len());
    for (key, value) in map {
        size.0 += key.len() as u64;
        size.1 += 1;
        entries.push((Value::str(key.as_str()), convert(value, size, depth + 1)?));
    }
    Value::dict(entries)
}
