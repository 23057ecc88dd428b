//! Qwen3-Next and Qwen3.5: most layers are gated delta nets, which keep a state of fixed size in place of keys and values.
//! What config.json says of them, and how their tensors are regrouped.
//!
//! In the checkpoint the value heads of a key head are neighbours. llama.cpp wants them so in `qwen3next`; in `qwen35` and
//! `qwen35moe` it repeats the key heads as a whole, so that value head `i` belongs to key head `i % key_heads`.

use crate::change::{Change, Columns, Values};
use crate::config::Arch;
use crate::error::{Result, invalid};
use crate::json::{Object, kind};
use crate::names::Expected;
use qwip_quant::limits;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// The layers of a hybrid model.
#[derive(Clone, Debug)]
pub(crate) struct Hybrid {
    /// For each layer whether it is one of full attention.
    pub full_attention: Vec<bool>,
    /// Tokens that the convolution sees.
    pub kernel: u32,
    /// Key heads of a delta net, which are its query heads too, and elements of one.
    pub keys: Heads,
    /// Value heads of a delta net, a multiple of the key heads, and elements of one.
    pub values: Heads,
    /// Elements of an attention head that the rotary embedding turns.
    pub rotated: u32,
    /// Pairs of the rotary embedding for time, height, width and nothing, where the architecture knows images.
    pub sections: Option<[i32; 4]>,
    /// Whether GGUF has the value heads in the order that repeats the key heads as a whole.
    tiled: bool,
}

/// Heads of a delta net.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub count: u32,
    pub dim: u32,
}

impl Heads {
    /// Elements of all of them.
    pub(crate) fn len(self) -> u32 {
        self.count * self.dim
    }

    fn read(c: &Object, count: &str, dim: &str) -> Result<Heads> {
        Ok(Heads { count: c.size(count, limits::MAX_HEADS)?, dim: c.size(dim, limits::MAX_HEAD_DIM)? })
    }
}

impl Hybrid {
    /// Reads what `c` says of a model of so many layers, whose attention heads have `head_dim` elements.
    pub(crate) fn read(c: &Object, arch: Arch, layers: u32, head_dim: u32) -> Result<Hybrid> {
        let keys = Heads::read(c, "linear_num_key_heads", "linear_key_head_dim")?;
        let values = Heads::read(c, "linear_num_value_heads", "linear_value_head_dim")?;
        if !values.count.is_multiple_of(keys.count) {
            return invalid(format!(
                "{}: linear_num_value_heads {} is not a multiple of linear_num_key_heads {}",
                c.place, values.count, keys.count
            ));
        }
        if !values.dim.is_multiple_of(limits::VALUE_HEAD_STEP as u32) {
            return invalid(format!(
                "{}: linear_value_head_dim {} is not a multiple of {}",
                c.place,
                values.dim,
                limits::VALUE_HEAD_STEP
            ));
        }
        let full_attention = kinds(c, layers)?;
        let nets = full_attention.iter().filter(|full| !**full).count() as u64;
        let remembered = nets * u64::from(values.len()) * u64::from(keys.dim);
        if remembered > limits::MAX_DELTA_NUMBERS {
            return invalid(format!(
                "{}: linear_num_value_heads {}: {nets} layers remember {remembered} numbers, more than {}",
                c.place,
                values.count,
                limits::MAX_DELTA_NUMBERS
            ));
        }
        let rotated = rotated(c, head_dim)?;
        let knows_images = arch != Arch::Qwen3Next;
        Ok(Hybrid {
            full_attention,
            kernel: c.size("linear_conv_kernel_dim", limits::MAX_CONVOLUTION)?,
            keys,
            values,
            rotated,
            sections: knows_images.then(|| sections(c, rotated)).transpose()?,
            tiled: knows_images && values.count != keys.count,
        })
    }

    /// The number that says which layers are full attention, where they come at equal distances.
    pub(crate) fn interval(&self) -> Option<u32> {
        let first = self.full_attention.iter().position(|full| *full);
        let every = first.unwrap_or(self.full_attention.len()) + 1;
        let fits = self.full_attention.iter().zip(1..).all(|(full, n)| *full == (n % every == 0));
        fits.then_some(every as u32)
    }

    /// The error of a checkpoint in which a layer is of the other kind.
    pub(crate) fn check<T>(&self, tensors: &BTreeMap<String, T>) -> Result<()> {
        for (i, full) in self.full_attention.iter().enumerate() {
            let (kind, other) = match full {
                true => ("full_attention", "linear_attn"),
                false => ("linear_attention", "self_attn"),
            };
            let start = format!("model.layers.{i}.{other}.");
            if let Some((name, _)) =
                tensors.range(start.clone()..).next().filter(|(name, _)| name.starts_with(&start))
            {
                return invalid(format!(
                    "config.json: layer {i} is {kind} by layer_types or full_attention_interval, but the checkpoint has \
                     {name}"
                ));
            }
        }
        Ok(())
    }

    /// The tensors of a delta net's layer, but for norms and the feed-forward part; `hidden` is the width of the model.
    pub(crate) fn delta_net(&self, i: u32, hidden: u32) -> Vec<Expected> {
        let Heads { count, dim } = self.values;
        let (keys, values) = (self.keys.len(), self.values.len());
        let convolved = 2 * keys + values;
        let (conv, delta) = (u64::from(2 * keys), u64::from(dim));
        let tensor = |source: &str, name: &str, shape: &[u32]| {
            let source = format!("model.layers.{i}.linear_attn.{source}");
            Expected::plain(&source, &format!("blk.{i}.{name}"), shape)
        };
        let mut all = Vec::new();
        if self.has_grouped_projections() {
            let [qkv, z] = self.regrouped();
            let source = "in_proj_qkvz.weight";
            let part = |name: &str, rows: u32, runs| Expected {
                source_shape: [convolved + values, hidden].map(u64::from).to_vec(),
                runs,
                ..tensor(source, name, &[rows, hidden])
            };
            all.push(part("attn_qkv.weight", convolved, qkv));
            all.push(part("attn_gate.weight", values, z));
            all.push(tensor("in_proj_ba.weight", "ssm_ba.weight", &[2 * count, hidden]));
        } else {
            let runs = self.value_rows(conv, delta);
            all.push(Expected {
                runs,
                ..tensor("in_proj_qkv.weight", "attn_qkv.weight", &[convolved, hidden])
            });
            let runs = self.value_rows(0, delta);
            all.push(Expected { runs, ..tensor("in_proj_z.weight", "attn_gate.weight", &[values, hidden]) });
            for (letter, name) in [("b", "ssm_beta"), ("a", "ssm_alpha")] {
                let (source, name) = (format!("in_proj_{letter}.weight"), format!("{name}.weight"));
                let runs = self.value_rows(0, 1);
                all.push(Expected { runs, ..tensor(&source, &name, &[count, hidden]) });
            }
        }
        all.push(Expected {
            source_shape: [convolved, 1, self.kernel].map(u64::from).to_vec(),
            runs: self.value_rows(conv, delta),
            ..tensor("conv1d.weight", "ssm_conv1d.weight", &[convolved, self.kernel])
        });
        let change = |size, values| Change { columns: self.value_columns(size), values };
        all.push(Expected { change: change(1, Values::MinusExp), ..tensor("A_log", "ssm_a", &[count]) });
        all.push(Expected { change: change(1, Values::Same), ..tensor("dt_bias", "ssm_dt.bias", &[count]) });
        all.push(tensor("norm.weight", "ssm_norm.weight", &[dim]));
        let out = tensor("out_proj.weight", "ssm_out.weight", &[hidden, values]);
        all.push(Expected { change: change(dim as usize, Values::Same), ..out });
        all
    }

    /// Qwen3-Next has what belongs to a key head together, in all projections of the input.
    fn has_grouped_projections(&self) -> bool {
        self.sections.is_none()
    }

    /// Of each value head in the order of GGUF its number in the checkpoint.
    fn order(&self) -> impl Iterator<Item = u32> {
        let (keys, each) = (self.keys.count, self.values.count / self.keys.count);
        let tiled = self.tiled;
        (0..self.values.count).map(move |i| if tiled { i % keys * each + i / keys } else { i })
    }

    /// All rows before `first`, and then the value heads' in their order, `size` rows each.
    fn value_rows(&self, first: u64, size: u64) -> Vec<Range<u64>> {
        let start = |head: u32| first + u64::from(head) * size;
        joined(std::iter::once(0..first).chain(self.order().map(|head| start(head)..start(head) + size)))
    }

    /// The value heads' columns in their order, `size` each, where it is another.
    fn value_columns(&self, size: usize) -> Option<Columns> {
        self.tiled.then(|| Columns { size, order: self.order().map(|head| head as usize).collect() })
    }

    /// The rows of queries, keys and values, and those of the gate, of rows that are grouped by key head: a query, a key,
    /// values, gates.
    fn regrouped(&self) -> [Vec<Range<u64>>; 2] {
        let key = u64::from(self.keys.dim);
        let value = u64::from(self.values.len() / self.keys.count);
        let of_all = |at: u64, size: u64| {
            let group = 2 * key + 2 * value;
            (0..u64::from(self.keys.count)).map(move |head| head * group + at..head * group + at + size)
        };
        let qkv = of_all(0, key).chain(of_all(key, key)).chain(of_all(2 * key, value));
        [joined(qkv), joined(of_all(2 * key + value, value))]
    }
}

/// The same rows in as few runs as there can be.
fn joined(runs: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = Vec::new();
    for run in runs.filter(|run| !run.is_empty()) {
        match all.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => all.push(run),
        }
    }
    all
}

/// Which layers are of full attention: `layer_types`, or every so manieth one.
fn kinds(c: &Object, layers: u32) -> Result<Vec<bool>> {
    const LIST: &str = "layer_types";
    const INTERVAL: &str = "full_attention_interval";
    let Some(list) = c.array(LIST)? else {
        let every = match c.get(INTERVAL) {
            Some(_) => c.size(INTERVAL, limits::MAX_LAYERS)?,
            None => 4,
        };
        return Ok((1..=layers).map(|n| n % every == 0).collect());
    };
    if list.len() != layers as usize {
        return invalid(format!(
            "{}: {LIST} has {} entries, but num_hidden_layers is {layers}",
            c.place,
            list.len()
        ));
    }
    let one = |(i, value): (usize, &Value)| match value.as_str() {
        Some("full_attention") => Ok(true),
        Some("linear_attention") => Ok(false),
        _ => invalid(format!(
            "{}: {LIST}[{i}] must be full_attention or linear_attention, found {}",
            c.place,
            kind(value)
        )),
    };
    list.iter().enumerate().map(one).collect()
}

/// The settings of the rotary embedding, in the spelling of transformers 5 or the older one.
fn rope(c: &Object) -> Result<Option<Object>> {
    Ok(c.object("rope_parameters")?.or(c.object("rope_scaling")?))
}

/// How many elements of an attention head are turned.
fn rotated(c: &Object, head_dim: u32) -> Result<u32> {
    const KEY: &str = "partial_rotary_factor";
    let own = rope(c)?.map_or(Ok(None), |rope| rope.f64(KEY))?;
    let factor = own.map_or_else(|| c.f64(KEY), |own| Ok(Some(own)))?.unwrap_or(0.25);
    let rotated = f64::from(head_dim) * factor;
    if !(2.0..=f64::from(head_dim)).contains(&rotated) || !(rotated as u32).is_multiple_of(2) {
        return invalid(format!(
            "{}: {KEY} {factor} of head_dim {head_dim} does not turn an even number of elements",
            c.place
        ));
    }
    Ok(rotated as u32)
}

/// The pairs of each dimension of a position.
fn sections(c: &Object, rotated: u32) -> Result<[i32; 4]> {
    const KEY: &str = "mrope_section";
    let pairs = rotated / 2;
    // transformers takes 11, 11 and 10, which go round; of fewer pairs than 32 these are their shares.
    let (height, width) = (((pairs + 1) / 3).min(11), (pairs / 3).min(10));
    let mut sections = [pairs - height - width, height, width, 0].map(|n| n as i32);
    let Some(rope) = rope(c)? else { return Ok(sections) };
    let Some(list) = rope.array(KEY)? else { return Ok(sections) };
    let numbers: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
    let Some(numbers) = numbers.filter(|numbers| (3..=4).contains(&numbers.len())) else {
        return invalid(format!("{}: {KEY} must be three or four whole numbers", rope.place));
    };
    let sum = numbers.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    if sum != u64::from(pairs) {
        return invalid(format!("{}: {KEY} adds up to {sum}, but {pairs} pairs are turned", rope.place));
    }
    sections = [0; 4];
    // None is more than their sum, which is small.
    sections.iter_mut().zip(numbers).for_each(|(section, n)| *section = n as i32);
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hybrid(arch: Arch, more: &str) -> Result<Hybrid> {
        let text = format!(
            r#"{{"linear_num_key_heads": 2, "linear_key_head_dim": 4, "linear_num_value_heads": 6,
                "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4{more}}}"#
        );
        Hybrid::read(&Object::of("config.json", &text), arch, 6, 64)
    }

    #[test]
    fn value_heads_go_round_the_key_heads() {
        let next = hybrid(Arch::Qwen3Next, "").unwrap();
        assert_eq!(next.order().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert!(matches!(next.value_rows(7, 2).as_slice(), [Range { start: 0, end: 19 }]));
        assert_eq!(next.value_columns(2), None);
        // 4 + 4 + 96 + 96 rows for each key head.
        let [qkv, z] = next.regrouped();
        assert_eq!(qkv, [0..4, 200..204, 4..8, 204..208, 8..104, 208..304]);
        assert_eq!(z, [104..200, 304..400]);

        let other = hybrid(Arch::Qwen35, "").unwrap();
        assert_eq!(other.order().collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(other.value_rows(3, 2), [0..5, 9..11, 5..7, 11..13, 7..9, 13..15]);
        assert_eq!(other.value_columns(8).unwrap().order, [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn pairs_are_shared_where_nothing_is_said() {
        let of = |factor: &str| {
            let hybrid = hybrid(Arch::Qwen35, &format!(r#", "partial_rotary_factor": {factor}"#)).unwrap();
            (hybrid.rotated, hybrid.sections.unwrap())
        };
        assert_eq!(of("1"), (64, [11, 11, 10, 0]));
        assert_eq!(of("0.25"), (16, [3, 3, 2, 0]));
        assert_eq!(of("0.03125"), (2, [1, 0, 0, 0]));
    }

    #[test]
    fn distances_of_full_attention() {
        let layers = |more: &str| hybrid(Arch::Qwen35, more).unwrap();
        assert_eq!(layers("").interval(), Some(4));
        assert_eq!(layers(r#", "full_attention_interval": 2"#).full_attention[..3], [false, true, false]);
        assert_eq!(layers(r#", "full_attention_interval": 9"#).interval(), Some(7));
        let types = |kinds: &str| {
            let name = |kind| if kind == 'f' { "\"full_attention\"" } else { "\"linear_attention\"" };
            format!(r#", "layer_types": [{}]"#, kinds.chars().map(name).collect::<Vec<_>>().join(","))
        };
        assert_eq!(layers(&types("lflflf")).interval(), Some(2));
        assert_eq!(layers(&types("ffffff")).interval(), Some(1));
        assert_eq!(layers(&types("lfllfl")).interval(), None);
        assert_eq!(layers(&types("llflll")).interval(), None);
    }
}
