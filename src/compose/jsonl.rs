//! `--jsonl`: a task a line, as a JSON object whose keys are the long flags: `{"cmd": "./sim 1", "mem": 8, "env": {"A": "x"}}`.

use serde_json::{Map, Value};

use super::settings::Settings;

/// A task of such a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `cmd`.
    pub command: String,
    /// The other keys.
    pub settings: Settings,
}

/// The keys that there are.
const KEYS: [&str; 22] = [
    "cmd",
    "type",
    "mem",
    "cpus",
    "priority",
    "timeout",
    "gpus",
    "resource",
    "constraint",
    "prefer",
    "limit",
    "time-request",
    "cwd",
    "env",
    "stdin",
    "output",
    "error",
    "name",
    "tag",
    "after",
    "after-any",
    "begin",
];

/// Why a line is no such task; all that is wrong with it, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(String);

impl Record {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no JSON object, lacks `cmd`, has a key that is no flag, or a value of a kind that its flag does not take.
    pub fn parse(line: &str) -> Result<Self, RecordError> {
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| RecordError(format!("it is no JSON object: {error}")))?;
        let mut record = Self::default();
        let mut faults = Vec::new();
        if !object.contains_key("cmd") {
            faults.push("cmd is missing; valid: {\"cmd\": \"COMMAND\", …}".to_owned());
        }
        for (key, value) in object {
            if let Err(fault) = record.set(&key, value) {
                faults.push(fault);
            }
        }
        if faults.is_empty() { Ok(record) } else { Err(RecordError(faults.join("; "))) }
    }

    /// The name in a line, also in one that is faulty otherwise: what waits for that step still means it.
    #[must_use]
    pub fn name_in(line: &str) -> Option<String> {
        let mut object: Map<String, Value> = serde_json::from_str(line).ok()?;
        text("name", object.remove("name")?).ok()
    }

    fn set(&mut self, key: &str, value: Value) -> Result<(), String> {
        let settings = &mut self.settings;
        let place = match key {
            "cmd" => {
                self.command = text(key, value)?;
                return Ok(());
            }
            "env" => {
                settings.env = pairs(key, value)?;
                return Ok(());
            }
            "resource" => {
                settings.needs.resource = pairs(key, value)?;
                return Ok(());
            }
            "constraint" => {
                settings.needs.constraint = texts(key, value)?;
                return Ok(());
            }
            "prefer" => {
                settings.needs.prefer = texts(key, value)?;
                return Ok(());
            }
            "limit" => {
                settings.needs.limit = limits(value)?;
                return Ok(());
            }
            "tag" => {
                settings.tags = texts(key, value)?;
                return Ok(());
            }
            "after" => {
                settings.needs.after = texts(key, value)?;
                return Ok(());
            }
            "after-any" => {
                settings.needs.after_any = texts(key, value)?;
                return Ok(());
            }
            "name" => &mut settings.name,
            "begin" => &mut settings.needs.begin,
            "gpus" => &mut settings.needs.gpus,
            "time-request" => &mut settings.needs.time_request,
            "type" => &mut settings.kind,
            "mem" => &mut settings.mem,
            "cpus" => &mut settings.cpus,
            "priority" => &mut settings.priority,
            "timeout" => &mut settings.timeout,
            "cwd" => &mut settings.cwd,
            "stdin" => &mut settings.stdin,
            "output" => &mut settings.output,
            "error" => &mut settings.error,
            other => return Err(unknown(other)),
        };
        // As if it had not been given.
        *place = if value.is_null() { None } else { Some(text(key, value)?) };
        Ok(())
    }
}

fn unknown(key: &str) -> String {
    let near = KEYS.iter().map(|known| (strsim::jaro_winkler(key, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = near.filter(|(score, _)| *score > 0.8).map(|(_, known)| format!(" (did you mean {known:?}?)"));
    format!("{key:?} is no key{}; valid: {}", meant.unwrap_or_default(), KEYS.join(", "))
}

fn text(key: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) if key != "cmd" => Ok(number.to_string()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("{key} is {other}; valid: a text{}", if key == "cmd" { "" } else { " or a number" }))
        }
    }
}

/// Names and their values: of `env` and `resource`.
fn pairs(key: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Object(map) => {
            map.into_iter().map(|(name, value)| Ok(format!("{name}={}", text(key, value)?))).collect()
        }
        Value::Array(list) => list.into_iter().map(|value| text(key, value)).collect(),
        other @ (Value::Bool(_) | Value::Number(_)) => {
            Err(format!("{key} is {other}; valid: {{\"NAME\": \"VALUE\"}} or [\"NAME=VALUE\"]"))
        }
    }
}

/// Names of limits: `"disk"`, `["disk", "net=3"]` or `{"disk": 20}`.
fn limits(value: Value) -> Result<Vec<String>, String> {
    if value.is_object() { pairs("limit", value) } else { texts("limit", value) }
}

/// One text, or several.
fn texts(key: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) => list.into_iter().map(|value| text(key, value)).collect(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(format!("{key} is {other}; valid: a text or a list of texts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_long_flags() {
        let record = Record::parse(r#"{"cmd": "./sim 'a'", "mem": 0.5, "cpus": "2", "timeout": "1h", "env": {"A": "x y", "B": 1}, "cwd": null}"#).unwrap();
        assert_eq!(record.command, "./sim 'a'");
        let Settings { mem, cpus, timeout, env, cwd, .. } = record.settings;
        assert_eq!(
            (mem.as_deref(), cpus.as_deref(), timeout.as_deref(), cwd),
            (Some("0.5"), Some("2"), Some("1h"), None)
        );
        assert_eq!(env, ["A=x y", "B=1"]);
    }

    #[test]
    fn needs_are_texts_numbers_lists_or_objects() {
        let line = r#"{"cmd": "x", "gpus": 0.5, "resource": {"lic": 2}, "constraint": ["ssd", "!spot"], "prefer": "a|b", "time-request": "10m", "limit": {"disk": 3}}"#;
        let needs = Record::parse(line).unwrap().settings.needs;
        assert_eq!(needs.limit, ["disk=3"]);
        assert_eq!((needs.gpus.as_deref(), needs.time_request.as_deref()), (Some("0.5"), Some("10m")));
        assert_eq!(
            (needs.resource.join(" "), needs.constraint.join(" "), needs.prefer.join(" ")),
            ("lic=2".into(), "ssd !spot".into(), "a|b".into())
        );
        let error =
            Record::parse(r#"{"cmd": "x", "constraint": {"a": 1}, "resource": 5, "gpu": 1}"#).unwrap_err().to_string();
        for words in [
            "constraint is {\"a\":1}; valid: a text or a list",
            "resource is 5; valid: {\"NAME\"",
            "did you mean \"gpus\"?",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        for (line, words) in [
            ("./sim", &["no JSON object"][..]),
            ("[1]", &["no JSON object"]),
            ("{}", &["cmd is missing"]),
            (r#"{"cmd": 5, "memm": 1, "env": 5}"#, &["cmd is 5", "did you mean \"mem\"?", "env is 5"]),
            (
                r#"{"cmd": "x", "mem": [1], "xyzzy": 1}"#,
                &["mem is [1]; valid: a text or a number", "\"xyzzy\" is no key; valid: cmd"],
            ),
        ] {
            let error = Record::parse(line).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{line}: {error}");
        }
    }
}
