//! `/set`: what can be changed while talking.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::Context;
use qwip::Sampler;

use super::Talk;
use crate::output::one_line;
use crate::voice;

/// What can be set. The first ones are about how tokens are chosen.
pub(crate) const NAMES: [&str; 14] = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "repeat_last_n",
    "seed",
    "predict",
    "think_budget",
    "markdown",
    "fold",
    "verbose",
];

/// Whether a setting is on or off.
pub(crate) fn is_switch(name: &str) -> bool {
    ["markdown", "fold", "verbose"].contains(&name)
}

impl Talk {
    /// All settings in effect, a line each.
    pub(crate) fn settings(&self) -> Vec<String> {
        NAMES.iter().map(|name| format!("  {name:<18} {}", self.setting(name))).collect()
    }

    fn setting(&self, name: &str) -> String {
        let p = self.sampler.params();
        let limit = |limit: Option<i64>, none: &str| match limit {
            Some(n) if n >= 0 => n.to_string(),
            _ => none.to_string(),
        };
        let switch = |on: bool| if on { "on" } else { "off" }.to_string();
        match name {
            "temperature" => p.temperature.to_string(),
            "top_k" => p.top_k.to_string(),
            "top_p" => p.top_p.to_string(),
            "min_p" => p.min_p.to_string(),
            "repeat_penalty" => p.repeat_penalty.to_string(),
            "presence_penalty" => p.presence_penalty.to_string(),
            "frequency_penalty" => p.frequency_penalty.to_string(),
            "repeat_last_n" => p.penalty_last_n.to_string(),
            "seed" => p.seed.to_string(),
            "predict" => limit(self.answer.predict, "until the context is full"),
            "think_budget" => limit(self.answer.think_budget, "no limit"),
            "markdown" => switch(self.look.markdown),
            "fold" => switch(self.look.fold),
            "verbose" => switch(self.answer.verbose),
            _ => String::new(),
        }
    }

    /// Sets `name` to what `value` says, or to the model's own with `default`. What was done, or what is wrong.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> anyhow::Result<String> {
        let name = match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "temp" => "temperature".to_string(),
            "num_predict" | "n_predict" => "predict".to_string(),
            other => other.to_string(),
        };
        let mut sampling = self.sampling.clone();
        match name.as_str() {
            "temperature" => sampling.temp = number(value, "a number")?,
            "top_k" => sampling.top_k = number(value, "a whole number")?,
            "top_p" => sampling.top_p = number(value, "a number")?,
            "min_p" => sampling.min_p = number(value, "a number")?,
            "repeat_penalty" => sampling.repeat_penalty = number(value, "a number")?,
            "presence_penalty" => sampling.presence_penalty = number(value, "a number")?,
            "frequency_penalty" => sampling.frequency_penalty = number(value, "a number")?,
            "repeat_last_n" => sampling.repeat_last_n = number(value, "a whole number")?,
            "seed" => sampling.seed = number(value, "a whole number")?,
            "predict" => self.answer.predict = number(value, "a whole number")?,
            "think_budget" => self.answer.think_budget = number(value, "a whole number")?,
            "markdown" => self.look.markdown = switch(value)?,
            "fold" => self.look.fold = switch(value)?,
            "verbose" => self.answer.verbose = switch(value)?,
            _ => anyhow::bail!("there is no setting '{name}'; /set lists them"),
        }
        let params = voice::sampling(&self.voice, self.opened.model.file(), self.think, &sampling);
        let params = params.map_err(|error| anyhow::anyhow!(one_line(&error)))?;
        self.sampling = sampling;
        match name.as_str() {
            "seed" => self.sampler = Sampler::new(params),
            _ => self.sampler.set_params(params),
        }
        Ok(format!("{name} is {}", self.setting(&name)))
    }
}

/// A number, or `None` for the default.
fn number<T: FromStr>(value: &str, what: impl Display) -> anyhow::Result<Option<T>> {
    if value == "default" {
        return Ok(None);
    }
    let number = value.parse().ok().with_context(|| format!("'{value}' is not {what}, and not default"))?;
    Ok(Some(number))
}

fn switch(value: &str) -> anyhow::Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => anyhow::bail!("'{value}' is neither on nor off"),
    }
}
