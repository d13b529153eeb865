//! What `--json` and the API print beyond the snapshots themselves: a task in a list, the overview with its reason, and an id beside each line.

use serde_json::{Map, Value, json};

use super::explain::top_reason;
use crate::model::failure_cause::FailureDetail;
use crate::model::snapshot::{BatchDetail, FailureGroup, Overview, TaskState};
use crate::model::{Needs, TaskId};

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

/// The overview, and why most of what waits does.
///
/// # Errors
/// None that can happen: every key is text.
pub(crate) fn overview(overview: &Overview) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(overview)?;
    let why = top_reason(overview).map(|top| json!({ "waiting": top.waiting, "why": top.why }));
    json["top_reason"] = json!(why);
    let so_far = overview.progress();
    json["progress"] = json!(so_far);
    json["progress"]["percent"] = json!(so_far.percent());
    json["unrunnable"] = json!(overview.unrunnable());
    Ok(with_ids(json))
}

/// A task in a list of one state. `workers` are the one that has it or finished it, or those that it failed on.
pub(crate) fn task<'a>(line: &str, state: TaskState, workers: impl IntoIterator<Item = &'a str>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(TaskId::of(line).to_string()));
    object.insert("line".to_owned(), json!(line));
    let needs = Needs::of_line(line);
    if !needs.is_empty() {
        object.insert("needs".to_owned(), json!(needs));
    }
    object.insert("state".to_owned(), json!(state));
    let mut workers = workers.into_iter();
    match state {
        TaskState::Todo => {}
        TaskState::InProgress | TaskState::Finished => {
            object.insert("worker".to_owned(), json!(workers.next().unwrap_or_default()));
        }
        TaskState::Failed | TaskState::Cancelled => {
            object.insert("failed_on".to_owned(), json!(workers.collect::<Vec<_>>()));
        }
    }
    object
}

/// A batch with its steps.
pub(crate) fn batch(detail: &BatchDetail) -> Value {
    let mut json = json!(detail.batch);
    json["steps"] = json!(detail.steps);
    json
}

/// A group of failures, with when they happened and what they have in common where that is known.
pub(crate) fn failure_group(group: &FailureGroup, detail: Option<&FailureDetail>) -> Value {
    let mut object = json!(group);
    if let (Some(object), Some(Value::Object(more))) = (object.as_object_mut(), detail.map(|detail| json!(detail))) {
        object.extend(more);
    }
    with_ids(object)
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
