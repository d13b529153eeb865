//! Ids in JSON wherever a task is named by its line.

use serde_json::{Value, json};

use crate::model::TaskId;

/// Fields that hold the line of a task, and the field for its id.
const NAMED: [(&str, &str); 3] = [("line", "id"), ("sample", "sample_id"), ("reserved", "reserved_id")];

/// The value with an id beside every line that has none. Only for what this build has put together: texts of tasks are never objects in it.
pub(crate) fn with_ids(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(with_ids).collect(),
        Value::Object(map) => {
            let mut map: serde_json::Map<String, Value> =
                map.into_iter().map(|(name, value)| (name, with_ids(value))).collect();
            for (name, id) in NAMED {
                if let Some(line) = map.get(name).and_then(Value::as_str)
                    && !map.contains_key(id)
                {
                    let of_line = json!(TaskId::of(line).to_string());
                    map.insert(id.to_owned(), of_line);
                }
            }
            Value::Object(map)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_an_id_beside_it_at_any_depth() {
        let id = TaskId::of("shell:1:1:1:x").to_string();
        let given = json!([{"line": "shell:1:1:1:x"}, {"a": {"sample": "shell:1:1:1:x", "reserved": null}}]);
        let expected = json!([
            {"line": "shell:1:1:1:x", "id": id},
            {"a": {"sample": "shell:1:1:1:x", "sample_id": id, "reserved": null}}
        ]);
        assert_eq!(with_ids(given), expected);
        // The beginning of a line has its id already.
        assert_eq!(with_ids(json!({"line": "shell:1", "id": "x"})), json!({"line": "shell:1", "id": "x"}));
    }
}
