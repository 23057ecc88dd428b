//! Text from files and standard input, in bounded amounts.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};

/// No prompt that fits a context is longer.
const LARGEST: u64 = 64 << 20;

/// Whether a person types at standard input.
pub(crate) fn from_terminal() -> bool {
    io::stdin().is_terminal()
}

/// All of a file, or of standard input if it is called `-`.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        return read_stdin();
    }
    let name = path.display().to_string();
    if path.is_dir() {
        bail!("{name} is a directory, not a text file");
    }
    let file = File::open(path).with_context(|| name.clone())?;
    to_text(file, &name)
}

/// As [`read`], of a text that a model is to see.
pub(crate) fn read_prompt(path: &Path) -> anyhow::Result<String> {
    let text = read(path)?;
    if text.contains('\0') {
        bail!("{} is not a text: it contains zero bytes", path.display());
    }
    Ok(text)
}

/// All of standard input.
pub(crate) fn read_stdin() -> anyhow::Result<String> {
    to_text(io::stdin().lock(), "standard input")
}

fn to_text(input: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    input.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| name.to_string())?;
    if bytes.len() as u64 > LARGEST {
        bail!("{name} is longer than {LARGEST} bytes");
    }
    String::from_utf8(bytes)
        .map_err(|e| anyhow::anyhow!("{name} is not UTF-8 text (at byte {})", e.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let error = to_text(&b"ab\xffc"[..], "x.txt").unwrap_err().to_string();
        assert_eq!(error, "x.txt is not UTF-8 text (at byte 2)");
        assert_eq!(to_text("日本".as_bytes(), "x").unwrap(), "日本");
    }
}
