//! The rules of keys whose default, or what is valid, depends on more than the key itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::fault::{printable, quote, show};
use super::network_fs::network_file_system;
use super::paths::{check_executable, check_private_dir, check_writable_dir, ensure_private_dir};
use super::python;
use super::raw::RawConfig;
use super::settings::Prefetch;
use super::source::{Overrides, Role};
use super::values::{MAX_SECONDS, ValueReader, Zero, kind, read};
use crate::model::{Bytes, FieldOrder};

/// A dead worker is declared after this many heartbeats, unless the file says otherwise.
const DEAD_AFTER_HEARTBEATS: u32 = 20;
/// More tasks at once than any node can run.
pub(super) const MAX_TASKS: u64 = 1_000_000;

/// For what was checked to fit.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn resolve_dram(r: &mut ValueReader, raw: &RawConfig, node_mem: Option<Bytes>) -> (Bytes, Bytes) {
    let before = r.faults.len();
    // A small part of a node would never accept a task by the thresholds of a large one.
    let default = |gib: u64, part: u64| {
        let most = Bytes(gib * Bytes::GIB.0);
        node_mem.map_or(most, |mem| most.min(Bytes(mem.0 / part)))
    };
    let accept = read!(r.gib(raw.min_dram_gb_accept_new_task, default(2, 4)));
    let trigger = read!(r.gib(raw.min_dram_gb_trigger_return, default(1, 8)));
    // Of two values one of which was refused, nothing can be said.
    if r.faults.len() == before && trigger >= accept {
        let found =
            raw.min_dram_gb_trigger_return.as_ref().map_or_else(|| format!("{} (the default)", trigger.as_gib()), show);
        r.fault(
            "min_dram_gb_trigger_return",
            found,
            format!(
                "not less than min_dram_gb_accept_new_task, which is {}{}",
                accept.as_gib(),
                if trigger > accept { python::BETWEEN_THRESHOLDS } else { "" }
            ),
            "a number of GB greater than 0 and less than min_dram_gb_accept_new_task",
        );
    }
    (accept, trigger)
}

pub(super) fn resolve_default_timeout(r: &mut ValueReader, raw: &RawConfig, overrides: &Overrides) -> Option<Duration> {
    let default = if overrides.no_default_timeout { 0 } else { 3600 };
    let limit = read!(r.integer(raw.default_task_timeout_seconds, default, 0, MAX_SECONDS));
    (limit > 0).then(|| Duration::from_secs(limit))
}

pub(super) fn resolve_heartbeat(r: &mut ValueReader, raw: &RawConfig) -> (Duration, Duration) {
    let before = r.faults.len();
    let interval = read!(r.seconds(raw.health_report_interval, Duration::from_secs(2), Zero::Refused));
    let default = interval.saturating_mul(DEAD_AFTER_HEARTBEATS);
    let dead_after = read!(r.seconds(raw.worker_dead_after_seconds, default, Zero::Refused));
    let least = interval.saturating_mul(3);
    if r.faults.len() == before && dead_after <= least {
        let found = raw.worker_dead_after_seconds.as_ref().map(show).unwrap_or_default();
        r.fault(
            "worker_dead_after_seconds",
            found,
            "not more than three heartbeats: live workers would be declared dead",
            &format!("a number of seconds greater than {} (3 × health_report_interval)", least.as_secs_f64()),
        );
    }
    (interval, dead_after)
}

pub(super) fn resolve_prefetch(r: &mut ValueReader, value: Option<&Value>) -> Prefetch {
    match value {
        None => Prefetch::Auto,
        Some(Value::String(text)) if text.trim().eq_ignore_ascii_case("auto") => Prefetch::Auto,
        Some(value) => {
            let before = r.faults.len();
            let count = r.integer("task_prefetch", Some(value), 0, 0, MAX_TASKS);
            if let Some(fault) = r.faults.get_mut(before) {
                "\"auto\", or an integer, 0 or more; 0 means none".clone_into(&mut fault.valid);
            }
            Prefetch::Fixed(narrow(count))
        }
    }
}

pub(super) fn resolve_field_order(r: &mut ValueReader, value: Option<&Value>) -> Option<FieldOrder> {
    const VALID: &str = "\"mem:cpu:prio\", or \"prio:mem:cpu\" as in Python DistComp";
    let Some(text) = value?.as_str() else {
        let value = value.unwrap_or(&Value::Null);
        r.fault("task_field_order", show(value), format!("{} is not text", kind(value)), VALID);
        return None;
    };
    let order = text.trim().parse().ok();
    if order.is_none() {
        r.fault("task_field_order", quote(text), "no such order", VALID);
    }
    order
}

pub(super) fn resolve_result_dir(
    r: &mut ValueReader,
    value: Option<&Value>,
    role: Role,
    warnings: Option<&mut Vec<String>>,
) -> PathBuf {
    const VALID: &str = "the path of a directory that can be created and written";
    let faults_before = r.faults.len();
    let path = path_or(r, "result_dir", value, "./distcomp-results", VALID);
    if role != Role::Client
        && r.faults.len() == faults_before
        && let Err(problem) = check_writable_dir(&path)
    {
        match warnings.filter(|_| value.is_none()) {
            Some(warnings) => warnings.push(format!(
                "result_dir: {} {problem}: outputs that are too long for the queue are not kept completely; set result_dir in conf.json to a directory that can be written",
                printable(&path.to_string_lossy())
            )),
            None => r.fault("result_dir", quote(&path.to_string_lossy()), problem, VALID),
        }
    }
    path
}

/// The directory itself is made by the worker, when it starts.
pub(super) fn resolve_scratch_dir(r: &mut ValueReader, value: Option<&Value>, role: Role) -> Option<PathBuf> {
    const VALID: &str = "the path of a directory that can be created and written";
    let path = r.path("scratch_dir", value, VALID)?;
    // Tasks may start in another directory one day, and are told this path.
    let checked = match std::path::absolute(&path) {
        Ok(path) if role == Role::Client => Ok(path),
        Ok(path) => check_writable_dir(&path).map(|()| path),
        Err(error) => Err(error.to_string()),
    };
    checked.map_err(|problem| r.fault("scratch_dir", quote(&path.to_string_lossy()), problem, VALID)).ok()
}

pub(super) fn resolve_state_dir(
    r: &mut ValueReader,
    value: Option<&Value>,
    overrides: &Overrides,
    role: Role,
    warnings: &mut Vec<String>,
) -> PathBuf {
    const VALID: &str = "the path of a directory on a local disk that can be created and written";
    let faults_before = r.faults.len();
    let path = r.path("state_dir", value, VALID).unwrap_or_else(|| default_state_dir(overrides));
    // What could not be read stands for no directory: none is made in its place.
    if role != Role::Client && r.faults.len() == faults_before {
        let checked = if role == Role::Worker { ensure_private_dir(&path) } else { check_private_dir(&path) };
        match checked {
            Ok(()) => warnings.extend(network_file_system(&path).map(|kind| {
                format!(
                    "state_dir: {} is on a network file system ({kind}): if that stops answering, this worker stops too, and other workers take over its tasks; name a directory on a local disk",
                    printable(&path.to_string_lossy())
                )
            })),
            Err(problem) => r.fault("state_dir", quote(&path.to_string_lossy()), problem, VALID),
        }
    }
    path
}

/// systemd's directory, else the user's by the XDG rules, else one in `/tmp` for a user without a home (whose owner is
/// checked, as that of any).
fn default_state_dir(overrides: &Overrides) -> PathBuf {
    let environment = &overrides.environment;
    // systemd gives a colon-separated list when the unit names several.
    if let Some(first) = environment.text("STATE_DIRECTORY").and_then(|list| list.split(':').find(|p| !p.is_empty())) {
        return first.into();
    }
    let absolute = |name: &str| environment.path(name).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| std::env::temp_dir().join("distcomp-state"), |p| p.join("distcomp"))
}

pub(super) fn resolve_shell(r: &mut ValueReader, value: Option<&Value>, role: Role) -> PathBuf {
    const VALID: &str = "the absolute path of a program that takes -c COMMAND, such as /bin/sh";
    let path = path_or(r, "task_shell", value, "/bin/sh", VALID);
    if !path.is_absolute() {
        // Looked up in PATH it could be another program for each task, and it would cost the cheap way to spawn.
        r.fault("task_shell", quote(&path.to_string_lossy()), "not an absolute path", VALID);
    } else if role != Role::Client
        && let Err(problem) = check_executable(&path)
    {
        r.fault("task_shell", quote(&path.to_string_lossy()), problem, VALID);
    }
    path
}

/// A path that must not be empty.
fn path_or(r: &mut ValueReader, key: &str, value: Option<&Value>, default: &str, valid: &str) -> PathBuf {
    if let Some(empty @ (Value::Null | Value::String(_))) = value
        && empty.as_str().unwrap_or("").is_empty()
    {
        r.fault(key, show(empty), "is empty", valid);
    }
    r.path(key, value, valid).unwrap_or_else(|| Path::new(default).to_owned())
}

pub(super) fn resolve_public_keys(r: &mut ValueReader, value: Option<&Value>, is_required: bool) -> Vec<PathBuf> {
    const KEY: &str = "task_public_keys";
    const VALID: &str = "a list of paths of public key files, [\"KEY.pub\", …]";
    let files = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            items.iter().enumerate().filter_map(|(i, item)| public_key(r, &format!("{KEY}[{i}]"), item)).collect()
        }
        Some(one @ Value::String(_)) => public_key(r, KEY, one).into_iter().collect(),
        Some(other) => {
            r.fault(KEY, show(other), format!("{} is not a list", kind(other)), VALID);
            return Vec::new();
        }
    };
    let is_empty = value.is_none_or(|v| v.is_null() || v.as_array().is_some_and(Vec::is_empty));
    if is_required && is_empty {
        r.fault(KEY, "", "require_signed_tasks is true, but no public key is named, so no task could run", VALID);
    }
    files
}

fn public_key(r: &mut ValueReader, key: &str, value: &Value) -> Option<PathBuf> {
    if value.as_str().is_none_or(str::is_empty) {
        r.fault(key, show(value), "not a path", "the path of a public key file");
        return None;
    }
    r.path(key, Some(value), "the path of a public key file")
}

pub(super) fn check_python_workers(r: &mut ValueReader, order: Option<FieldOrder>, is_order_sound: bool, prefix: &str) {
    if is_order_sound && order != Some(FieldOrder::PrioMemCpu) {
        let found = order.map(|order| quote(order.as_str())).unwrap_or_default();
        let valid = "\"prio:mem:cpu\" with python_workers";
        r.fault("task_field_order", found, "Python workers only read prio:mem:cpu", valid);
    }
    if !prefix.is_empty() {
        r.fault(
            "redis_key_prefix",
            quote(prefix),
            "Python workers do not support a prefix",
            "\"\" with python_workers",
        );
    }
}
