//! `qwip edit`: other metadata, or another chat template, for a GGUF file.

use anyhow::Context;
use qwip_convert::quantize::{Options, Plan, Split};
use qwip_convert::{ConvertError, Edit};

use crate::args::EditArgs;
use crate::convert::{Reporter, named, uninterrupted};
use crate::interrupt;
use crate::output::{self, usage};

pub(crate) fn run(args: &EditArgs) -> anyhow::Result<()> {
    let mut edits = edits(&args.set, "--set")?;
    edits.extend(args.remove.iter().map(|key| Edit::Remove { key: key.clone() }));
    if let Some(path) = &args.chat_template {
        let value =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        edits.push(Edit::Text { key: "tokenizer.chat_template".into(), value });
    }
    if edits.is_empty() {
        return Err(usage("nothing to change: give --set KEY=VALUE, --remove KEY or --chat-template FILE"));
    }
    let count = edits.len();
    let plan = Plan::new(&args.input, Options { edits, split: Split::Kept, ..Options::default() })?;
    let armed = interrupt::arm();
    let result = plan.write(&args.out, &mut Reporter::new("copying"));
    drop(armed);
    let summary = uninterrupted(result)?;
    let keys = if count == 1 { "1 key".to_string() } else { format!("{count} keys") };
    output::line(format_args!(
        "{}: {keys} changed, {} tensors as they were",
        named(&summary.files),
        summary.tensors
    ))
}

/// Reads each `KEY=VALUE` of a flag.
pub(crate) fn edits(texts: &[String], flag: &str) -> anyhow::Result<Vec<Edit>> {
    texts.iter().map(|text| text.parse().map_err(|e: ConvertError| usage(format!("{flag}: {e}")))).collect()
}
