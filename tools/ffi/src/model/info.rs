//! What a file says of itself, as JSON.

use runtime::Model;
use runtime::chat::ToolFormat;
use runtime::model::Task;
use runtime::quant::gguf::{self, Array, ValueType};
use runtime::quant::types::FileType;
use serde_json::{Value, json};

use crate::status::{Fault, Outcome, QWIP_STATUS_INVALID_MODEL};

/// Of longer arrays so many values are shown.
const MOST_VALUES: usize = 1000;

/// The object that `qwip_model_info` promises.
pub(super) fn of(model: &Model) -> Value {
    let (header, config) = (model.file().header(), model.config());
    let text = |key: &str| header.str(key).ok().flatten();
    let file_type = header.u64("general.file_type").ok().flatten();
    let file_type = file_type.and_then(|id| FileType::from_id(u32::try_from(id).ok()?));
    let template = text("tokenizer.chat_template");
    let tools =
        template.filter(|template| template.contains("tools")).map(|template| match ToolFormat::of_template(
            template,
        ) {
            ToolFormat::Hermes => "hermes",
            ToolFormat::Xml => "xml",
        });
    let parameters: u64 = model.file().tensors().map(|t| t.info.dims.iter().product::<u64>()).sum();
    let task = match (model.allows(Task::Embed).is_ok() && model.pooling().is_some(), model.judge()) {
        (_, Some(_)) => "rerank",
        (true, None) => "embed",
        (false, None) => "generate",
    };
    json!({
        "architecture": model.architecture(),
        "name": text("general.name"),
        "file_type": file_type.map(|ty| ty.name),
        "bytes": model.file().len(),
        "parameters": parameters,
        "context": config.context,
        "layers": config.layers,
        "embedding": config.embedding,
        "vocab": config.vocab,
        "task": task,
        "dimensions": (task == "embed").then_some(config.embedding),
        "has_template": template.is_some(),
        "thinks": template.is_some_and(|template| template.contains("<think>")),
        "tool_format": tools,
    })
}

/// The value of a key; `None` if there is no such key.
pub(super) fn metadata(model: &Model, key: &str) -> Outcome<Option<Value>> {
    let file = model.file();
    let Some(value) = file.header().get(key) else { return Ok(None) };
    Ok(Some(match value {
        gguf::Value::U8(n) => (*n).into(),
        gguf::Value::I8(n) => (*n).into(),
        gguf::Value::U16(n) => (*n).into(),
        gguf::Value::I16(n) => (*n).into(),
        gguf::Value::U32(n) => (*n).into(),
        gguf::Value::I32(n) => (*n).into(),
        gguf::Value::U64(n) => (*n).into(),
        gguf::Value::I64(n) => (*n).into(),
        gguf::Value::F32(n) => (*n).into(),
        gguf::Value::F64(n) => (*n).into(),
        gguf::Value::Bool(b) => (*b).into(),
        gguf::Value::Str(text) => text.as_str().into(),
        gguf::Value::Array(array) => values(array, (*file.parts()[0].bytes).as_ref()).map_err(|error| {
            Fault::new(QWIP_STATUS_INVALID_MODEL, format!("metadata key '{key}': {error}"))
        })?,
    }))
}

fn values(array: &Array, file: &[u8]) -> Result<Value, gguf::Error> {
    Ok(match array.elem {
        ValueType::Str => array
            .strings(file)?
            .take(MOST_VALUES)
            .map(|text| Value::from(String::from_utf8_lossy(text)))
            .collect(),
        ValueType::F32 | ValueType::F64 => array.f32s(file)?.take(MOST_VALUES).map(Value::from).collect(),
        _ => array.i64s(file)?.take(MOST_VALUES).map(Value::from).collect(),
    })
}
