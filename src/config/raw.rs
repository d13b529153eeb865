//! The keys of `conf.json` as they are in the file. This only checks that the file is a JSON object: each value is kept as found, so that
//! `resolve` can report the faults of all keys at once.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::fault::{Fault, quote};

/// Declares the mirror and the list of its keys together, so that neither can miss one.
macro_rules! raw_config {
    ($($key:ident),* $(,)?) => {
        /// Every key of `conf.json`: `None` when absent, the value as written otherwise (`null` included).
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct RawConfig {
            $(#[serde(deserialize_with = "present")] pub(super) $key: Option<Value>,)*
        }

        impl RawConfig {
            /// The keys that the file has, `null` or not.
            pub(super) fn names(&self) -> Vec<&'static str> {
                [$((stringify!($key), self.$key.is_some())),*].into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
            }
        }

        /// Every key that `conf.json` may hold, in the order of the manual.
        pub const KEYS: &[&str] = &[$(stringify!($key)),*];
    };
}

raw_config! {
    min_dram_gb_accept_new_task,
    min_dram_gb_trigger_return,
    max_task_per_worker,
    max_retry_per_task,
    default_task_timeout_seconds,
    task_timeout_check_interval,
    task_kill_grace_seconds,
    sleep_sec_between_accepting_task,
    min_seconds_between_starts,
    auto_sleep_sec,
    redis_pipeline_batching,
    task_prefetch,
    health_report_interval,
    worker_dead_after_seconds,
    min_free_cpu_cores,
    drain_timeout_seconds,
    retry_backoff_seconds,
    retry_memory_factor,
    retry_memory_max_gb,
    result_dir,
    state_dir,
    task_shell,
    max_inline_output_bytes,
    run_as_user,
    no_new_privs,
    task_rlimits,
    nice,
    oom_score_adj,
    umask,
    enforce_memory,
    resources,
    labels,
    hide_gpus,
    pin_cpus,
    scratch_dir,
    prefer_wait_seconds,
    time_limit_seconds,
    idle_timeout_seconds,
    task_field_order,
    redis_host,
    redis_port,
    redis_db,
    redis_pass,
    redis_user,
    redis_pass_file,
    redis_url,
    redis_tls,
    redis_key_prefix,
    require_signed_tasks,
    task_public_keys,
    task_signing_key,
    max_lost_per_task,
    suspect_after,
    python_workers,
}

/// Keeps `null` apart from an absent key.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Parses the text of a file; unknown and repeated keys are added to `warnings`.
///
/// # Errors
/// The one fault that hides all others: text that is not JSON (with line and column), or not an object.
pub(super) fn parse(text: &str, warnings: &mut Vec<String>) -> Result<RawConfig, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Document = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let object = match document {
        Document::Object { object, repeated } => {
            for key in repeated {
                warnings.push(format!("{} is given more than once: the last one applies", quote(&key)));
            }
            object
        }
        Document::Other(kind) => {
            return Err(Fault::of_file(format!("the file contains {kind}"), "one JSON object, { \"key\": value, … }"));
        }
    };
    let mut unknown = Vec::new();
    let raw = serde_ignored::deserialize(Value::Object(object), |path| unknown.push(path.to_string()))
        .map_err(|error| malformed(&error))?;
    warnings.extend(unknown.iter().map(|key| unknown_key(key, KEYS)));
    Ok(raw)
}

/// The warning for a key that nobody knows, with the known one that resembles it most.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&key.to_ascii_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, candidate)) => format!("unknown key {} is ignored; did you mean {candidate:?}?", quote(key)),
        None => format!("unknown key {} is ignored", quote(key)),
    }
}

fn malformed(error: &serde_json::Error) -> Fault {
    // The text may quote the file: escaped, since the file may hold anything.
    Fault::of_file(format!("not valid JSON: {}", super::fault::printable(&error.to_string())), "")
}

/// A JSON document whose outermost object remembers which keys came twice.
enum Document {
    Object { object: Map<String, Value>, repeated: Vec<String> },
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let mut object = Map::new();
        let mut repeated = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            if object.insert(key.clone(), value).is_some() && !repeated.contains(&key) {
                repeated.push(key);
            }
        }
        Ok(Document::Object { object, repeated })
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Document::Other("a list"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document::Other("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document::Other("a string"))
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Other("null"))
    }
}
