//! The keys and flags by which a node offers more than memory and cores: `resources` and `labels`.

use std::sync::Arc;

use serde_json::Value;

use super::fault::{quote, show};
use super::resource_def::{GPUS, ResourceDef, ResourceDefs};
use super::values::{ValueReader, kind, number};
use crate::model::{MilliCores, ResourceName};

/// The label that every worker has by itself.
const HOST: &str = "host";

/// More than any node has of one kind, and more labels than anybody reads.
const MOST_DEVICES: usize = 1024;
const MOST_LABELS: usize = 64;
/// The longest name of a resource, and of a device, a label, or a part of one.
const MOST_TERM: usize = 64;

const VALID_RESOURCES: &str = "{\"gpus\": \"auto\", \"fpga\": [\"a\", \"b\"], \"lic\": 3}";
const VALID_NAME: &str =
    "a name of 1 to 32 of a-z 0-9 _ . / -, that begins with a letter and is no other need of a task line";
const VALID_DEF: &str = "a list of names, or a number with 3 digits after the point at most; [] or 0 for none";
const VALID_GPUS: &str =
    "\"auto\", a list of names, or a number with 3 digits after the point at most; [] or 0 for none";
const VALID_DEVICE: &str = "a name of 1 to 64 of A-Z a-z 0-9 . _ -";
const VALID_LABELS: &str = "a list of labels, [\"ssd\", \"region=eu\"]";
const VALID_LABEL: &str = "NAME or KEY=VALUE, each 1 to 64 of A-Z a-z 0-9 . _ -";

/// Reads `resources`, and puts those of flags above it.
pub(super) fn resolve_resources(
    r: &mut ValueReader,
    value: Option<&Value>,
    flags: &[(Arc<str>, ResourceDef)],
) -> ResourceDefs {
    let mut defs = ResourceDefs::from([(GPUS.into(), ResourceDef::Auto)]);
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(object)) => {
            for (name, value) in object {
                if !is_resource_name(name) {
                    r.fault("resources", quote(name), "not the name of a resource", VALID_NAME);
                } else if let Some(def) = resolve_def(r, name, value) {
                    defs.insert(name.as_str().into(), def);
                }
            }
        }
        Some(other) => {
            r.fault("resources", show(other), format!("{} is not an object", kind(other)), VALID_RESOURCES);
        }
    }
    defs.extend(flags.iter().cloned());
    defs
}

fn resolve_def(r: &mut ValueReader, name: &str, value: &Value) -> Option<ResourceDef> {
    let key = format!("resources.{name}");
    let valid = if name == GPUS { VALID_GPUS } else { VALID_DEF };
    let found = match value {
        Value::String(text) if name == GPUS && text.trim() == "auto" => Ok(ResourceDef::Auto),
        Value::Array(items) => devices(items).map_err(|(problem, valid)| (problem, Some(valid))),
        Value::Number(_) | Value::String(_) => sum(value).map_err(|problem| (problem, None)),
        Value::Null | Value::Bool(_) | Value::Object(_) => Err((format!("{} is neither", kind(value)), None)),
    };
    match found {
        Ok(def) => Some(def),
        Err((problem, of_item)) => {
            r.fault(&key, show(value), problem, of_item.unwrap_or(valid));
            None
        }
    }
}

fn devices(items: &[Value]) -> Result<ResourceDef, (String, &'static str)> {
    if items.len() > MOST_DEVICES {
        return Err((format!("more than {MOST_DEVICES} devices"), VALID_DEF));
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    for item in items {
        let name = match item {
            Value::String(name) => name.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        if !is_term(&name) {
            return Err((format!("{} is not the name of a device", show(item)), VALID_DEVICE));
        }
        if names.iter().any(|known| **known == *name) {
            return Err((format!("{} is given twice", quote(&name)), VALID_DEF));
        }
        names.push(name.into());
    }
    Ok(ResourceDef::Devices(names))
}

fn sum(value: &Value) -> Result<ResourceDef, String> {
    let digits = number(value)?;
    if digits.split_once('.').is_some_and(|(_, fraction)| fraction.trim_end_matches('0').len() > 3) {
        return Err("more than 3 digits after the point".to_owned());
    }
    MilliCores::parse_cores(&digits).map(|amount| ResourceDef::Sum(amount.0)).map_err(|error| error.to_string())
}

/// Reads `labels`, and puts those of flags above it: one of the same key takes the place of the file's.
pub(super) fn resolve_labels(r: &mut ValueReader, value: Option<&Value>, flags: &[String]) -> Vec<String> {
    let items = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(other) => {
            r.fault("labels", show(other), format!("{} is not a list", kind(other)), VALID_LABELS);
            Vec::new()
        }
    };
    let mut of_file = Vec::new();
    for item in items {
        match item.as_str().map(parse_label) {
            Some(Ok(label)) => of_file.push(label),
            Some(Err(problem)) => r.fault("labels", show(item), problem, VALID_LABEL),
            None => r.fault("labels", show(item), format!("{} is not text", kind(item)), VALID_LABEL),
        }
    }
    for labels in [&mut of_file, &mut flags.to_vec()] {
        if let Some(label) = labels.iter().rfind(|label| given_twice(labels, label)) {
            r.fault("labels", quote(label), "its key has two values", VALID_LABEL);
        }
    }
    of_file.retain(|label| !flags.iter().any(|flag| is_same_key(flag, label)));
    let mut labels: Vec<String> = of_file.into_iter().chain(flags.iter().cloned()).collect();
    labels.sort();
    labels.dedup();
    if labels.len() > MOST_LABELS {
        r.fault("labels", labels.len().to_string(), format!("more than {MOST_LABELS} labels"), VALID_LABELS);
    }
    labels
}

fn given_twice(labels: &[String], label: &str) -> bool {
    labels.iter().any(|other| other != label && is_same_key(other, label))
}

/// Whether two labels are two values of one key.
fn is_same_key(a: &str, b: &str) -> bool {
    matches!((a.split_once('='), b.split_once('=')), (Some((a, _)), Some((b, _))) if a == b)
}

/// Reads a label.
///
/// # Errors
/// Why it is none, as a phrase.
fn parse_label(text: &str) -> Result<String, &'static str> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    if !is_term(key) || value.is_some_and(|value| !is_term(value)) {
        return Err("not a label");
    }
    if key == HOST {
        return Err("every worker has its host=NAME by itself");
    }
    Ok(text.to_owned())
}

/// Reads the value of `--label`.
///
/// # Errors
/// Why it is none, and what would be.
pub fn parse_label_flag(text: &str) -> Result<String, String> {
    parse_label(text).map_err(|problem| format!("{problem}; valid: {VALID_LABEL}"))
}

/// Reads the value of `--resource`: `NAME=DEF`, where DEF is a number, `auto`, names with commas between (and after a single one), or as in the file.
///
/// # Errors
/// Why it is none, and what would be.
pub fn parse_resource_flag(text: &str) -> Result<(Arc<str>, ResourceDef), String> {
    let Some((name, def)) = text.split_once('=') else {
        return Err("valid: NAME=NUMBER, NAME=DEVICE,DEVICE or gpus=auto".to_owned());
    };
    if !is_resource_name(name) {
        return Err(format!("{} is not the name of a resource; valid: {VALID_NAME}", quote(name)));
    }
    let value = match serde_json::from_str::<Value>(def) {
        Ok(value @ (Value::Number(_) | Value::Array(_))) => value,
        Ok(_) | Err(_) if def == "auto" || def.is_empty() => Value::from(def),
        Ok(_) | Err(_) => def.strip_suffix(',').unwrap_or(def).split(',').collect(),
    };
    let mut reader = ValueReader::default();
    match resolve_def(&mut reader, name, &value) {
        Some(def) => Ok((name.into(), def)),
        None => {
            let fault = reader.faults.pop();
            Err(fault.map(|fault| format!("{}; valid: {}", fault.problem, fault.valid)).unwrap_or_default())
        }
    }
}

fn is_resource_name(name: &str) -> bool {
    ResourceName::parse(name).is_some()
}

fn is_term(text: &str) -> bool {
    (1..=MOST_TERM).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resources(file: &Value, flags: &[&str]) -> (String, Vec<String>) {
        let flags: Vec<_> = flags.iter().map(|flag| parse_resource_flag(flag).expect("a resource")).collect();
        let mut reader = ValueReader::default();
        let defs = resolve_resources(&mut reader, Some(file), &flags);
        let shown: String = defs.iter().map(|(name, def)| format!("{name}: {def:?} ")).collect();
        (shown, reader.faults.iter().map(ToString::to_string).collect())
    }

    fn labels(file: &Value, flags: &[&str]) -> (String, Vec<String>) {
        let flags: Vec<String> = flags.iter().map(|flag| parse_label_flag(flag).expect("a label")).collect();
        let mut reader = ValueReader::default();
        let labels = resolve_labels(&mut reader, Some(file), &flags).join(" ");
        (labels, reader.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn list_is_indexed_and_number_is_a_sum() {
        let file =
            json!({"fpga": ["a", "b"], "scratch_gb": 800, "lic": "2.5", "disks": [0, 1], "a/b.c-d_9": 0, "off": []});
        let (shown, faults) = resources(&file, &[]);
        assert_eq!(faults, [""; 0]);
        assert_eq!(
            shown,
            "a/b.c-d_9: Sum(0) disks: Devices([\"0\", \"1\"]) fpga: Devices([\"a\", \"b\"]) gpus: Auto lic: Sum(2500) \
             off: Devices([]) scratch_gb: Sum(800000) "
        );
        assert_eq!(resources(&json!({"gpus": []}), &[]).0, "gpus: Devices([]) ");
        assert_eq!(resources(&json!({"gpus": "auto"}), &[]).0, "gpus: Auto ");
    }

    #[test]
    fn flags_take_the_place_of_the_same_resource() {
        let flags = ["fpga=3", "gpus=0,1", "disk=a,", "lic=[7]", "off=0"];
        let (shown, faults) = resources(&json!({"fpga": ["a"], "lic": 2}), &flags);
        assert_eq!(faults, [""; 0]);
        assert_eq!(
            shown,
            "disk: Devices([\"a\"]) fpga: Sum(3000) gpus: Devices([\"0\", \"1\"]) lic: Devices([\"7\"]) off: Sum(0) "
        );
    }

    #[test]
    fn bad_resource_is_refused_with_its_key() {
        for (file, key) in [
            (json!([]), "resources: "),
            (json!({"GPUS": 1}), "resources: "),
            (json!({"after": 1}), "resources: "),
            (json!({"": 1}), "resources: "),
            (json!({"x".repeat(33): 1}), "resources: "),
            (json!({"fpga": "auto"}), "resources.fpga: "),
            (json!({"fpga": ["a", "a"]}), "resources.fpga: "),
            (json!({"fpga": ["a b"]}), "resources.fpga: "),
            (json!({"fpga": [null]}), "resources.fpga: "),
            (json!({"fpga": {}}), "resources.fpga: "),
            (json!({"lic": -1}), "resources.lic: "),
            (json!({"lic": 0.0005}), "resources.lic: "),
            (json!({"gpus": "all"}), "resources.gpus: "),
        ] {
            let faults = resources(&file, &[]).1;
            assert!(matches!(faults.as_slice(), [fault] if fault.starts_with(key)), "{file}: {faults:?}");
        }
        for flag in ["gpus", "Gpus=1", "lic=0.0005", "lic=", "fpga=a,a", "fpga=a b", "limit=3", "fpga=auto,"] {
            let parsed = parse_resource_flag(flag);
            if flag == "fpga=auto," {
                assert_eq!(parsed.expect("a name as any").1, ResourceDef::Devices(vec!["auto".into()]));
            } else {
                assert!(parsed.expect_err("it is refused").contains("valid: "), "{flag}");
            }
        }
    }

    #[test]
    fn labels_are_terms_or_have_one_value() {
        assert_eq!(labels(&json!(["ssd", "region=eu", "ssd"]), &[]), ("region=eu ssd".to_owned(), vec![]));
        assert_eq!(labels(&json!(["region=eu", "x"]), &["region=us"]), ("region=us x".to_owned(), vec![]));
        for file in [
            json!("ssd"),
            json!([1]),
            json!(["a b"]),
            json!([""]),
            json!(["a="]),
            json!(["=a"]),
            json!(["a=b=c"]),
            json!(["host=n1"]),
            json!(["x".repeat(65)]),
            json!(["region=eu", "ssd", "region=us"]),
        ] {
            let faults = labels(&file, &[]).1;
            assert!(matches!(faults.as_slice(), [fault] if fault.starts_with("labels: ")), "{file}: {faults:?}");
        }
        assert_eq!(labels(&json!([]), &["region=us", "region=eu"]).1.len(), 1);
    }
}
