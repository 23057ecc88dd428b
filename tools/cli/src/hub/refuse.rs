//! Whether we run a model, judged by the first bytes of its file before the rest is fetched.

use anyhow::{anyhow, bail};
use qwip::model::ARCHITECTURES;
use qwip::quant::gguf::{Error, Gguf};

/// How many bytes to try with, one after the other: a header is mostly the vocabulary, some megabytes.
pub(crate) const STEPS: [u64; 3] = [256 << 10, 16 << 20, 64 << 20];

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Runs,
    /// The header goes on behind them.
    NeedsMore,
}

/// Judges the first bytes of a file of `len` bytes. The later files of a split model need not name an architecture.
pub(crate) fn check(start: &[u8], len: u64, is_first: bool) -> anyhow::Result<Verdict> {
    let gguf = match Gguf::parse_start(start, len) {
        Ok(gguf) => gguf,
        Err(Error::Truncated { .. }) if (start.len() as u64) < len => return Ok(Verdict::NeedsMore),
        Err(error) => return Err(anyhow!(error).context("it is no GGUF file that we can read")),
    };
    match gguf.str("general.type")? {
        None | Some("model") => {}
        Some(found) => bail!("it holds no model but '{found}'"),
    }
    match gguf.str("general.architecture")? {
        Some(found) if ARCHITECTURES.split(", ").any(|known| known == found) => {}
        Some(found) => bail!("its architecture is '{found}', and these run: {ARCHITECTURES}"),
        None if is_first => bail!("it does not say its architecture (general.architecture)"),
        None => {}
    }
    match gguf.tensors.iter().find(|tensor| !tensor.ty.is_decodable()) {
        Some(tensor) => {
            bail!("its tensor '{}' is of the type {}, which does not run", tensor.name, tensor.ty.name())
        }
        None => Ok(Verdict::Runs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{builtin, output};
    use qwip::quant::TensorType;
    use qwip::quant::gguf::Writer;

    fn file(architecture: &str, ty: TensorType) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.set("general.architecture", architecture);
        writer.set("tokenizer.ggml.model", "x".repeat(1000).as_str());
        writer.tensor("t", &[64], ty).unwrap();
        let mut out = writer.start(Vec::new()).unwrap();
        out.write(&[0; 256]).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn the_architecture_and_the_types_decide_and_a_header_can_go_on() {
        let good = builtin::bytes();
        let len = good.len() as u64;
        assert_eq!(check(good, len, true).unwrap(), Verdict::Runs);
        assert_eq!(check(&good[..1000], len, true).unwrap(), Verdict::NeedsMore);
        assert!(check(&good[..1000], 1000, true).is_err());
        let other = file("llama", TensorType::F32);
        let error = output::one_line(&check(&other, other.len() as u64, true).unwrap_err());
        assert!(error.contains("'llama'") && error.contains("qwen3"), "{error}");
        let page = b"<html>please log in</html>";
        assert!(check(page, page.len() as u64, true).is_err());
        assert!(check(page, 1 << 30, true).is_err());
    }
}
