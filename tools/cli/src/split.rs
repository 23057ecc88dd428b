//! `--split-max-size` and `--split-max-tensors`: an output in several files, with llama.cpp's words.

use clap::Args;
use qwip_convert::Limits;

#[derive(Args, Debug, Clone)]
pub(crate) struct SplitArgs {
    /// Several files, each with at most so many bytes of weights: 2G, 500M, 100K (thousands, as llama.cpp has them)
    #[arg(long, env = "QWIP_SPLIT_MAX_SIZE", value_name = "N(K|M|G)", value_parser = parse_size)]
    pub(crate) split_max_size: Option<u64>,
    /// Several files, each with at most so many tensors
    #[arg(long, env = "QWIP_SPLIT_MAX_TENSORS", value_name = "N", value_parser = parse_count)]
    pub(crate) split_max_tensors: Option<usize>,
}

impl SplitArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits { bytes: self.split_max_size, tensors: self.split_max_tensors }
    }
}

/// 2G, 500M, 100K or a plain number, from 1 on.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K')) => (&text[..at], 1000),
        Some((at, 'M')) => (&text[..at], 1000 * 1000),
        Some((at, 'G')) => (&text[..at], 1000 * 1000 * 1000),
        _ => (text, 1),
    };
    match digits.parse().ok().filter(|n| *n > 0).and_then(|n: u64| n.checked_mul(unit)) {
        Some(bytes) => Ok(bytes),
        None => {
            Err(format!("expected a number from 1 to {}, perhaps with K, M or G after it", u64::MAX / unit))
        }
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1 on".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn sizes_are_counted_in_thousands() {
        for (text, bytes) in [("1", 1), ("70K", 70_000), ("3M", 3_000_000), ("2G", 2_000_000_000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("18446744073709551615"), Ok(u64::MAX));
        for text in
            ["", "0", "0G", "2X", "2KB", "G", "-1", "1.5G", "18446744073709551616", "18446744074G", "2Ｇ"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("18446744074G").unwrap_err().contains("1 to 18446744073,"));
        assert!(parse_count("0").is_err() && parse_count("many").is_err());
    }

    #[test]
    fn a_wrong_value_names_its_flag() {
        let quantize = |words: &str| {
            let words = format!("qwip quantize in.gguf copy {words}");
            Cli::try_parse_from(words.split_whitespace()).map(|cli| cli.command).map_err(|e| e.to_string())
        };
        for words in ["--split-max-size 2X", "--split-max-size 0", "--split-max-tensors 0"] {
            let flag = words.split(' ').next().unwrap();
            assert!(quantize(words).unwrap_err().contains(flag), "{words}");
        }
        let Ok(Some(Command::Quantize(args))) = quantize("--split-max-size 2G --split-max-tensors 3") else {
            panic!("both limits together")
        };
        assert_eq!(args.split.limits(), Limits { bytes: Some(2_000_000_000), tensors: Some(3) });
    }
}
