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
    /// What `choice` says, over the file's `general.sampling.*` keys, over the values that are published for its family.
    /// The seed is 0.
    ///
    /// | family | temperature, top-p, top-k | penalties |
    /// |---|---|---|
    /// | first-generation Qwen | 1.0, 0.8, all | repetition 1.1 |
    /// | Qwen1.5, Qwen2, Qwen2.5 | 0.7, 0.8, 20 | repetition 1.05; 1.1 up to 1.5B |
    /// | of their architecture but thinking: QwQ, the distilled R1 | 0.6, 0.95, 40 | |
    /// | Qwen2-VL, Qwen2.5-VL | 0, 0.8, 20: the most probable token | repetition 1.05 |
    /// | Qwen3, Qwen3-Next, thinking | 0.6, 0.95, 20 | |
    /// | Qwen3, Qwen3-Next, otherwise | 0.7, 0.8, 20 | |
    /// | Qwen3-Coder | 0.7, 0.8, 20 | repetition 1.05 |
    /// | Qwen3-Coder-Next | 1.0, 0.95, 40 | |
    /// | Qwen3-VL, thinking | 1.0, 0.95, 20 | |
    /// | Qwen3-VL, otherwise | 0.7, 0.8, 20 | presence 1.5 |
    /// | Qwen3.5 and later, thinking | 1.0, 0.95, 20 | presence 1.5 |
    /// | Qwen3.5 and later, otherwise | 0.7, 0.8, 20 | presence 1.5 |
    ///
    /// # Errors
    /// [`Error::BadValue`] if a key that counts is out of range, [`Error::Metadata`] if it has the wrong type,
    /// [`Error::BadOption`] if a choice is out of range.
    pub fn for_model(gguf: &Gguf, thinking: bool, choice: &SamplingChoice) -> Result<SamplingParams> {
        let _ieee = IeeeDefaults::enter();
        let mut p = of_family(gguf, thinking)?;
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

/// The published values of a family.
fn of_family(gguf: &Gguf, thinking: bool) -> Result<SamplingParams> {
    let of =
        |temperature, top_p, top_k| SamplingParams { temperature, top_p, top_k, ..SamplingParams::default() };
    let repeating = |p, repeat_penalty| SamplingParams { repeat_penalty, ..p };
    let varied = |p| SamplingParams { presence_penalty: 1.5, ..p };
    let plain = of(0.7, 0.8, 20);
    Ok(match gguf.str("general.architecture")?.unwrap_or_default() {
        "qwen" => repeating(of(1.0, 0.8, 0), 1.1),
        "qwen2" | "qwen2moe" if thinking => of(0.6, 0.95, 40),
        "qwen2" => {
            let small = gguf.u64("qwen2.embedding_length")?.is_some_and(|width| width <= 1536);
            repeating(plain, if small { 1.1 } else { 1.05 })
        }
        "qwen2moe" => repeating(plain, 1.05),
        // Published as a choice among the best one, which would make a temperature without effect.
        "qwen2vl" => repeating(of(0.0, 0.8, 20), 1.05),
        "qwen3next" if is_coder(gguf)? => of(1.0, 0.95, 40),
        "qwen3" | "qwen3moe" if is_coder(gguf)? => repeating(plain, 1.05),
        "qwen3" | "qwen3moe" | "qwen3next" if thinking => of(0.6, 0.95, 20),
        "qwen3vl" | "qwen3vlmoe" if thinking => of(1.0, 0.95, 20),
        "qwen3vl" | "qwen3vlmoe" => varied(plain),
        "qwen35" | "qwen35moe" if thinking => varied(of(1.0, 0.95, 20)),
        "qwen35" | "qwen35moe" => varied(plain),
        _ => plain,
    })
}

/// Whether this is a model for code, which shares its architecture with others: its name says so.
fn is_coder(gguf: &Gguf) -> Result<bool> {
    for key in ["general.basename", "general.name"] {
        if gguf.str(key)?.is_some_and(|name| name.to_ascii_lowercase().contains("coder")) {
            return Ok(true);
        }
    }
    Ok(false)
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
    fn every_family_has_the_values_that_its_makers_publish() {
        // Architecture, name, thinking; temperature, top-p, top-k; repetition and presence penalty.
        type Row = (&'static str, &'static str, bool, (f32, f32, usize), (f32, f32));
        let rows: [Row; 20] = [
            ("qwen", "Qwen-7B-Chat", false, (1.0, 0.8, 0), (1.1, 0.0)),
            ("qwen2", "Qwen2.5-7B-Instruct", false, (0.7, 0.8, 20), (1.05, 0.0)),
            ("qwen2", "QwQ-32B", true, (0.6, 0.95, 40), (1.0, 0.0)),
            ("qwen2moe", "Qwen2-57B-A14B-Instruct", false, (0.7, 0.8, 20), (1.05, 0.0)),
            ("qwen2vl", "Qwen2.5-VL-7B-Instruct", false, (0.0, 0.8, 20), (1.05, 0.0)),
            ("qwen3", "Qwen3-4B", true, (0.6, 0.95, 20), (1.0, 0.0)),
            ("qwen3", "Qwen3-4B", false, (0.7, 0.8, 20), (1.0, 0.0)),
            ("qwen3", "Qwen3-4B-Thinking-2507", true, (0.6, 0.95, 20), (1.0, 0.0)),
            ("qwen3moe", "Qwen3-30B-A3B-Instruct-2507", false, (0.7, 0.8, 20), (1.0, 0.0)),
            ("qwen3moe", "Qwen3-Coder-30B-A3B-Instruct", false, (0.7, 0.8, 20), (1.05, 0.0)),
            ("qwen3next", "Qwen3-Next-80B-A3B-Thinking", true, (0.6, 0.95, 20), (1.0, 0.0)),
            ("qwen3next", "Qwen3-Next-80B-A3B-Instruct", false, (0.7, 0.8, 20), (1.0, 0.0)),
            ("qwen3next", "Qwen3-Coder-Next", false, (1.0, 0.95, 40), (1.0, 0.0)),
            ("qwen3vl", "Qwen3-VL-4B-Thinking", true, (1.0, 0.95, 20), (1.0, 0.0)),
            ("qwen3vlmoe", "Qwen3-VL-30B-A3B-Instruct", false, (0.7, 0.8, 20), (1.0, 1.5)),
            ("qwen35", "Qwen3.5-4B", true, (1.0, 0.95, 20), (1.0, 1.5)),
            ("qwen35", "Qwen3.5-4B", false, (0.7, 0.8, 20), (1.0, 1.5)),
            ("qwen35moe", "Qwen3.5-35B-A3B", true, (1.0, 0.95, 20), (1.0, 1.5)),
            ("qwen35moe", "Qwen3.5-35B-A3B", false, (0.7, 0.8, 20), (1.0, 1.5)),
            ("unknown", "Something", true, (0.7, 0.8, 20), (1.0, 0.0)),
        ];
        for (arch, name, thinking, draw, penalties) in rows {
            let mut writer = Writer::new();
            writer.set("general.architecture", arch);
            writer.set("general.name", name);
            let gguf = Gguf::parse(&writer.start(Vec::new()).unwrap().finish().unwrap()).unwrap();
            let p = SamplingParams::for_model(&gguf, thinking, &SamplingChoice::default()).unwrap();
            assert_eq!((p.temperature, p.top_p, p.top_k), draw, "{name} {thinking}");
            assert_eq!(
                (p.repeat_penalty, p.presence_penalty, p.min_p),
                (penalties.0, penalties.1, 0.0),
                "{name}"
            );
        }
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
