//! Settings for when the user gives none: the file's own, else what the model family publishes.

use std::ops::RangeInclusive;

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_quant::gguf::Gguf;

use super::SamplingParams;
use super::ranges;
use crate::error::{Error, Result};

/// What the user chose; the rest comes from the file or its family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingChoice {
    /// See [`SamplingParams::temperature`].
    pub temperature: Option<f32>,
    /// See [`SamplingParams::top_k`].
    pub top_k: Option<usize>,
    /// See [`SamplingParams::top_p`].
    pub top_p: Option<f32>,
    /// See [`SamplingParams::min_p`].
    pub min_p: Option<f32>,
    /// See [`SamplingParams::repeat_penalty`].
    pub repeat_penalty: Option<f32>,
    /// See [`SamplingParams::presence_penalty`].
    pub presence_penalty: Option<f32>,
    /// See [`SamplingParams::frequency_penalty`].
    pub frequency_penalty: Option<f32>,
    /// See [`SamplingParams::penalty_last_n`].
    pub penalty_last_n: Option<usize>,
}

impl SamplingParams {
    /// What `choice` says, over the file's `general.sampling.*` keys, over the published values of its family:
    /// first-generation Qwen (temperature 1, top-p 0.8, no top-k, repetition 1.1), Qwen2 and Qwen2.5 (temperature 0.7,
    /// top-p 0.8, top-k 20, repetition 1.05, or 1.1 up to 1.5B), Qwen3 with its vision models and Qwen3-Next while thinking
    /// (0.6, 0.95, 20) and otherwise (0.7, 0.8, 20), Qwen3.5 while thinking (1.0, 0.95, 20) and otherwise (0.7, 0.8, 20),
    /// with a presence penalty of 1.5. The seed is 0.
    ///
    /// # Errors
    /// [`Error::BadValue`] if a key that counts is out of range, [`Error::Metadata`] if it has the wrong type,
    /// [`Error::BadOption`] if a choice is out of range.
    pub fn for_model(gguf: &Gguf, thinking: bool, choice: &SamplingChoice) -> Result<SamplingParams> {
        let _ieee = IeeeDefaults::enter();
        let arch = gguf.str("general.architecture")?.unwrap_or_default();
        let mut p = SamplingParams { temperature: 0.7, top_p: 0.8, top_k: 20, ..SamplingParams::default() };
        match arch {
            "qwen" => (p.temperature, p.top_k, p.repeat_penalty) = (1.0, 0, 1.1),
            "qwen2moe" => p.repeat_penalty = 1.05,
            "qwen2" => {
                let small = gguf.u64("qwen2.embedding_length")?.is_some_and(|width| width <= 1536);
                p.repeat_penalty = if small { 1.1 } else { 1.05 };
            }
            "qwen3" | "qwen3moe" | "qwen3vl" | "qwen3vlmoe" | "qwen3next" if thinking => {
                (p.temperature, p.top_p) = (0.6, 0.95);
            }
            "qwen35" | "qwen35moe" => {
                p.presence_penalty = 1.5;
                if thinking {
                    (p.temperature, p.top_p) = (1.0, 0.95);
                }
            }
            _ => {}
        }
        let float =
            |chosen: Option<f32>, key: &str, range: RangeInclusive<f32>, value: &mut f32| -> Result<()> {
                let key = format!("general.sampling.{key}");
                let found = if chosen.is_some() { None } else { gguf.f32(&key)? };
                if let Some(found) = found.filter(|found| !range.contains(found)) {
                    let (low, high) = range.into_inner();
                    let (found, want) = (found.to_string(), format!("{low} to {high}"));
                    return Err(Error::BadValue { key, found, want });
                }
                *value = chosen.or(found).unwrap_or(*value);
                Ok(())
            };
        float(choice.temperature, "temp", ranges::TEMPERATURE, &mut p.temperature)?;
        float(choice.top_p, "top_p", ranges::SHARE, &mut p.top_p)?;
        float(choice.min_p, "min_p", ranges::SHARE, &mut p.min_p)?;
        float(choice.repeat_penalty, "penalty_repeat", ranges::REPEAT_PENALTY, &mut p.repeat_penalty)?;
        // Written as i32; other tools take a negative number as "all".
        let count = |chosen: Option<usize>, key: &str, all: usize, value: &mut usize| -> Result<()> {
            let key = format!("general.sampling.{key}");
            let found = if chosen.is_some() { None } else { gguf.f32(&key)? };
            let found = found.map(|n| if n < 0.0 { all } else { n as usize });
            *value = chosen.or(found).unwrap_or(*value);
            Ok(())
        };
        count(choice.top_k, "top_k", 0, &mut p.top_k)?;
        count(choice.penalty_last_n, "penalty_last_n", usize::MAX, &mut p.penalty_last_n)?;
        p.presence_penalty = choice.presence_penalty.unwrap_or(p.presence_penalty);
        p.frequency_penalty = choice.frequency_penalty.unwrap_or(p.frequency_penalty);
        p.check()?;
        Ok(p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qwip_quant::gguf::{Set, Writer};

    fn file(arch: &str, sampling: &[(&str, Set)]) -> Gguf {
        let mut writer = Writer::new();
        writer.set("general.architecture", arch);
        for (key, value) in sampling {
            writer.set(&format!("general.sampling.{key}"), value.clone());
        }
        let bytes = writer.start(Vec::new()).unwrap().finish().unwrap();
        Gguf::parse(&bytes).unwrap()
    }

    fn params(gguf: &Gguf, choice: SamplingChoice) -> Result<SamplingParams> {
        SamplingParams::for_model(gguf, false, &choice)
    }

    #[test]
    fn choices_come_before_the_file_and_the_file_before_the_family() {
        let gguf = file("qwen2", &[("temp", 0.3f32.into()), ("top_k", 7i32.into())]);
        let p = params(&gguf, SamplingChoice { temperature: Some(0.2), ..Default::default() }).unwrap();
        assert_eq!((p.temperature, p.top_k, p.top_p, p.repeat_penalty), (0.2, 7, 0.8, 1.05));
        let thinking = |on| SamplingParams::for_model(&file("qwen3", &[]), on, &SamplingChoice::default());
        assert_eq!(thinking(true).unwrap().temperature, 0.6);
        assert_eq!(thinking(false).unwrap().temperature, 0.7);
        let newer =
            |on| SamplingParams::for_model(&file("qwen35", &[]), on, &SamplingChoice::default()).unwrap();
        assert_eq!((newer(true).temperature, newer(true).presence_penalty), (1.0, 1.5));
        assert_eq!((newer(false).temperature, newer(false).presence_penalty), (0.7, 1.5));
    }

    #[test]
    fn negative_counts_mean_all() {
        let gguf = file("qwen3", &[("top_k", (-1i32).into()), ("penalty_last_n", (-1i32).into())]);
        let p = params(&gguf, SamplingChoice::default()).unwrap();
        assert_eq!((p.top_k, p.penalty_last_n), (0, usize::MAX));
    }

    #[test]
    fn a_bad_value_of_the_file_is_named_unless_it_does_not_count() {
        let gguf = file("qwen3", &[("temp", (-2.0f32).into())]);
        let error = params(&gguf, SamplingChoice::default()).unwrap_err().to_string();
        assert_eq!(error, "metadata key 'general.sampling.temp' is -2, expected 0 to 100");
        let chosen = SamplingChoice { temperature: Some(1.0), ..Default::default() };
        assert_eq!(params(&gguf, chosen).unwrap().temperature, 1.0);
        let wrong = SamplingChoice { temperature: Some(-1.0), ..Default::default() };
        assert!(matches!(params(&gguf, wrong), Err(Error::BadOption { what: "temperature", .. })));
    }
}
