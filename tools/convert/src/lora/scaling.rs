//! How strong an adapter is at each module: `alpha / r`, or `alpha / sqrt(r)` for rsLoRA, times what the user asks for.

use super::CONFIG;
use crate::error::{Result, invalid};
use crate::json::{Object, kind, quote};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Beyond every rank that makes sense.
const MAX_RANK: u64 = 1 << 16;
/// Bytes of a compiled pattern of the adapter, and how many patterns there may be: one for each matrix of a large model.
const MAX_PATTERN: usize = 64 << 10;
const MAX_PATTERNS: usize = 2048;

/// How strong the adapter is at each module.
pub(super) struct Scaling {
    rank: u64,
    alpha: f32,
    ranks: Vec<(Regex, u64)>,
    alphas: Vec<(Regex, f32)>,
    /// rsLoRA
    root: bool,
    /// The user's.
    scale: f32,
}

impl Scaling {
    pub(super) fn read(config: &Object, scale: f32) -> Result<Scaling> {
        let rank = |n: &Value| n.as_u64().filter(|n| (1..=MAX_RANK).contains(n));
        let alpha = |n: &Value| n.as_f64().map(|n| n as f32).filter(|n| n.is_finite());
        let wrong = |key: &str, n: &Value| invalid(format!("{CONFIG}: {key} cannot be {}", kind(n)));
        let (r, a) =
            (config.get("r").unwrap_or(&Value::Null), config.get("lora_alpha").unwrap_or(&Value::Null));
        let Some(r) = rank(r) else { return wrong("r", r) };
        let Some(a) = alpha(a) else { return wrong("lora_alpha", a) };
        Ok(Scaling {
            rank: r,
            alpha: a,
            ranks: patterns(config, "rank_pattern", rank)?,
            alphas: patterns(config, "alpha_pattern", alpha)?,
            root: config.bool("use_rslora")? == Some(true),
            scale,
        })
    }

    /// The rank of a module's factors.
    pub(super) fn rank(&self, module: &str) -> u64 {
        self.ranks.iter().find(|(name, _)| name.is_match(module)).map_or(self.rank, |found| found.1)
    }

    /// The factor of a module's `B·A`.
    pub(super) fn of(&self, module: &str) -> f32 {
        let alpha =
            self.alphas.iter().find(|(name, _)| name.is_match(module)).map_or(self.alpha, |found| found.1);
        let rank = self.rank(module) as f32;
        self.scale * alpha / if self.root { rank.sqrt() } else { rank }
    }
}

/// Values by module. A pattern stands for a name's end, from a dot on; the first that fits counts.
fn patterns<T>(config: &Object, key: &str, pick: impl Fn(&Value) -> Option<T>) -> Result<Vec<(Regex, T)>> {
    let Some(all) = config.object(key)? else { return Ok(Vec::new()) };
    let one = |(pattern, value): (&String, &Value)| {
        let Some(value) = pick(value) else {
            return invalid(format!("{}: {} cannot be {}", all.place, quote(pattern), kind(value)));
        };
        let text = format!(r"^(?:.*\.)?(?:{pattern})$");
        match RegexBuilder::new(&text).size_limit(MAX_PATTERN).build() {
            Ok(regex) => Ok((regex, value)),
            Err(_) => invalid(format!("{}: {} is no expression, or a large one", all.place, quote(pattern))),
        }
    };
    let count = all.entries().count();
    if count > MAX_PATTERNS {
        return invalid(format!("{}: {count} patterns are more than {MAX_PATTERNS}", all.place));
    }
    all.entries().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_ends_of_names() {
        let config = Object::of(
            "adapter_config.json",
            r#"{"r": 4, "lora_alpha": 8, "use_rslora": true,
            "rank_pattern": {"layers.1.self_attn.q_proj": 16, "q_proj": 2, "^model.layers.0.mlp.up_proj": 1},
            "alpha_pattern": {"q_proj": 4}}"#,
        );
        let scaling = Scaling::read(&config, 0.5).unwrap();
        for (module, rank, scale) in [
            ("model.layers.1.self_attn.q_proj", 16, 0.5),
            ("model.layers.11.self_attn.q_proj", 2, 2.0 / 2f32.sqrt()),
            ("model.layers.0.mlp.up_proj", 1, 4.0),
            ("model.layers.2.mlp.up_proj", 4, 2.0),
        ] {
            assert_eq!((scaling.rank(module), scaling.of(module)), (rank, scale), "{module}");
        }
    }
}
