//! Settings for when the user gives none: the file's own, else what the model family publishes.

use qwip_quant::gguf::Gguf;

use super::SamplingParams;
use crate::error::Result;

impl SamplingParams {
    /// The file's `general.sampling.*` keys over the published values of its family: Qwen2 and Qwen2.5
    /// (temperature 0.7, top-p 0.8, top-k 20, repetition 1.05, or 1.1 up to 1.5B), Qwen3 while thinking (0.6,
    /// 0.95, 20) and otherwise (0.7, 0.8, 20). The seed is 0.
    ///
    /// # Errors
    /// If a key has the wrong type or a value out of range.
    pub fn for_model(gguf: &Gguf, thinking: bool) -> Result<SamplingParams> {
        let arch = gguf.str("general.architecture")?.unwrap_or_default();
        let mut p = SamplingParams { temperature: 0.7, top_p: 0.8, top_k: 20, ..SamplingParams::default() };
        match arch {
            "qwen2" => {
                let small = gguf.u64("qwen2.embedding_length")?.is_some_and(|width| width <= 1536);
                p.repeat_penalty = if small { 1.1 } else { 1.05 };
            }
            "qwen3" if thinking => (p.temperature, p.top_p) = (0.6, 0.95),
            _ => {}
        }
        let float = |key: &str, value: &mut f32| -> Result<()> {
            if let Some(found) = gguf.f32(&format!("general.sampling.{key}"))? {
                *value = found;
            }
            Ok(())
        };
        float("temp", &mut p.temperature)?;
        float("top_p", &mut p.top_p)?;
        float("min_p", &mut p.min_p)?;
        float("penalty_repeat", &mut p.repeat_penalty)?;
        let count = |key: &str, value: &mut usize| -> Result<()> {
            // Written as i32; a negative number means "off" to other tools.
            if let Some(found) = gguf.f32(&format!("general.sampling.{key}"))? {
                *value = found.max(0.0) as usize;
            }
            Ok(())
        };
        count("top_k", &mut p.top_k)?;
        count("penalty_last_n", &mut p.penalty_last_n)?;
        p.check()?;
        Ok(p)
    }
}
