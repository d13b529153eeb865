//! Notes about a `conf.json` written for Python DistComp: what this worker does differently with it.

use super::raw::RawConfig;
use super::settings::Config;

/// Keys without which no version of Python DistComp starts.
const NEEDED: [&str; 6] = [
    "min_dram_gb_accept_new_task",
    "min_dram_gb_trigger_return",
    "max_task_per_worker",
    "max_retry_per_task",
    "sleep_sec_between_accepting_task",
    "health_report_interval",
];

/// The other keys that its versions know.
const KNOWN: [&str; 9] = [
    "default_task_timeout_seconds",
    "task_timeout_check_interval",
    "auto_sleep_sec",
    "redis_pipeline_batching",
    "result_dir",
    "redis_host",
    "redis_port",
    "redis_db",
    "redis_pass",
];

/// Keys that are added to such a file to move over, and say nothing of the rest.
const MOVING: [&str; 3] = ["task_field_order", "python_workers", "min_seconds_between_starts"];

/// What a Python worker does with thresholds that are the wrong way round.
pub(super) const BETWEEN_THRESHOLDS: &str = " (with free memory between the two, a Python worker starts tasks and kills the newest within seconds: it returns them, or fails a task that runs alone)";

/// What Python workers do beside a queue that requires signatures.
pub(super) const UNSIGNED_TOO: &str =
    "require_signed_tasks: Python workers do not check signatures and also run unsigned tasks";

/// Whether a file with these keys was written for Python DistComp.
pub(super) fn is_of_python(keys: &[&str]) -> bool {
    let is_known = |key: &&str| NEEDED.contains(key) || KNOWN.contains(key) || MOVING.contains(key);
    NEEDED.iter().all(|key| keys.contains(key)) && keys.iter().all(is_known)
}

/// Where a worker does otherwise than Python DistComp because a key is not there, with the key and its value.
pub(super) fn notes(raw: &RawConfig, config: &Config) -> Vec<String> {
    if !config.is_of_python {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if raw.default_task_timeout_seconds.is_none()
        && let Some(limit) = config.default_timeout
    {
        notes.push(format!(
            "default_task_timeout_seconds is not set, so it is {0}: a task without its own limit is killed after {0} s. Python DistComp has no limit; set 0 for none",
            limit.as_secs()
        ));
    }
    if raw.min_free_cpu_cores.is_none() {
        notes.push(
            "min_free_cpu_cores is not set, so it is 0, and the cores of each line are reserved for it: a line that asks for more cores than any node has waits forever. Python DistComp ignores the cores of a line and keeps 2 cores idle"
                .to_owned(),
        );
    }
    if raw.min_seconds_between_starts.is_none() {
        notes.push(format!(
            "min_seconds_between_starts is not set, so it is 0: tasks start as soon as there is room. Python DistComp waits sleep_sec_between_accepting_task ({} s) between two starts",
            config.poll_interval.as_secs_f64()
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_of_python_by_its_keys() {
        let all: Vec<&str> = NEEDED.into_iter().chain(KNOWN).collect();
        assert!(is_of_python(&all) && is_of_python(&NEEDED));
        assert!(is_of_python(&[&NEEDED[..], &["task_field_order"]].concat()));
        assert!(!is_of_python(&NEEDED[1..]), "Python would not start");
        assert!(!is_of_python(&[&NEEDED[..], &["task_prefetch"]].concat()), "somebody knows of our keys");
        assert!(!is_of_python(&[]));
    }
}
