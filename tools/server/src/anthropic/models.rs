//! The list of models in Anthropic's form, which a client asks for with the header `anthropic-version`.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::library::Listed;
use crate::time::rfc3339;

/// All models on one page.
pub(crate) fn list<'a>(models: impl Iterator<Item = &'a Listed>) -> Value {
    let data: Vec<Value> = models.map(model).collect();
    let id = |model: Option<&Value>| model.map_or(Value::Null, |model| model["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    json!({"data": data, "first_id": first, "last_id": last, "has_more": false})
}

/// One model.
pub(crate) fn model(listed: &Listed) -> Value {
    json!({
        "type": "model",
        "id": listed.name,
        "display_name": listed.name,
        "created_at": rfc3339(listed.modified.unwrap_or(UNIX_EPOCH)),
        "lifecycle": "active",
        "max_input_tokens": listed.context,
        "max_tokens": listed.context,
    })
}

#[cfg(test)]
mod tests {
    use qwip::model::Task;

    use super::*;

    #[test]
    fn a_page_of_models() {
        let listed = |name: &str| Listed {
            name: name.to_owned(),
            bytes: 1,
            modified: None,
            architecture: "qwen3".to_owned(),
            parameters: None,
            file_type: None,
            context: Some(4096),
            task: Task::Generate,
            digest: "d".to_owned(),
        };
        let page = list([listed("a"), listed("b")].iter());
        assert_eq!((&page["first_id"], &page["last_id"]), (&json!("a"), &json!("b")));
        assert_eq!(page["data"][1]["created_at"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(page["data"][1]["max_input_tokens"], 4096);
        let none = list([].iter());
        assert_eq!(none, json!({"data": [], "first_id": null, "last_id": null, "has_more": false}));
    }
}
