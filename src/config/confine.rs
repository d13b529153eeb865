//! The keys that restrict tasks: the user they run as, and their limits.
//!
//! Here only the form of each is checked. Whether the user exists, and whether we may become it, is known where processes are started.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::{quote, show};
use super::raw::RawConfig;
use super::values::{ValueReader, kind, read};

/// Tasks come before the worker, and before the Redis beside it, when the kernel looks for a victim.
const OOM_SCORE_ADJ: u64 = 500;

/// The limits of every task of a worker. A running worker does not change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confine {
    /// The user whose rights tasks have, a name or a number; `None`: the worker's.
    pub run_as_user: Option<String>,
    /// Whether programs that raise rights (set-uid, file capabilities) run without them below a task.
    pub no_new_privs: bool,
    /// Limits of each process.
    pub rlimits: TaskRlimits,
    /// Niceness from 0 to 19; `None`: the worker's. Never below the worker's.
    pub nice: Option<i32>,
    /// How readily the kernel kills a task when memory is out, 0 to 1000. Never below the worker's.
    pub oom_score_adj: i32,
    /// Permission bits that files made by tasks do not have; `None`: the worker's.
    pub umask: Option<u32>,
    /// Whether a cgroup limits each task to the memory that it declares, and to a number of processes.
    pub enforce_memory: bool,
}

impl Default for Confine {
    fn default() -> Self {
        Self {
            run_as_user: None,
            no_new_privs: false,
            rlimits: TaskRlimits::default(),
            nice: None,
            oom_score_adj: i32::try_from(OOM_SCORE_ADJ).unwrap_or(0),
            umask: None,
            enforce_memory: false,
        }
    }
}

/// Limits of each process of a task, soft and hard; `None`: the worker's. Never above the worker's hard limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRlimits {
    /// Bytes of a core dump; 0: none.
    pub core: Option<u64>,
    /// Open files.
    pub nofile: Option<u64>,
    /// Bytes of a file that is written.
    pub fsize: Option<u64>,
    /// Processes and threads of the user, those outside of DistComp included. Root is exempt.
    pub nproc: Option<u64>,
}

/// Checks the keys.
pub(super) fn resolve_confine(r: &mut ValueReader, raw: &RawConfig) -> Confine {
    let nice = raw.nice.as_ref().filter(|value| !value.is_null());
    let nice = nice.map(|value| to_i32(r.integer("nice", Some(value), 0, 0, 19)));
    Confine {
        run_as_user: resolve_user(r, raw.run_as_user.as_ref()),
        no_new_privs: read!(r.boolean(raw.no_new_privs, false)),
        rlimits: resolve_rlimits(r, raw.task_rlimits.as_ref()),
        nice,
        oom_score_adj: to_i32(read!(r.integer(raw.oom_score_adj, OOM_SCORE_ADJ, 0, 1000))),
        umask: resolve_umask(r, raw.umask.as_ref()),
        enforce_memory: read!(r.boolean(raw.enforce_memory, false)),
    }
}

fn to_i32(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn resolve_user(r: &mut ValueReader, value: Option<&Value>) -> Option<String> {
    const VALID: &str = "the name or the number of a user other than root";
    let name = match value {
        Some(Value::Number(number)) => number.to_string(),
        other => r.text("run_as_user", other, VALID)?,
    };
    if name == "root" || name.bytes().all(|byte| byte == b'0') {
        r.fault("run_as_user", quote(&name), "tasks must not be root", VALID);
        return None;
    }
    Some(name)
}

/// JSON knows no octal numbers: 27 could be meant as one or as the other.
fn resolve_umask(r: &mut ValueReader, value: Option<&Value>) -> Option<u32> {
    const VALID: &str = "text of three or four octal digits, such as \"027\"";
    let text = match value {
        None | Some(Value::Null) => return None,
        Some(Value::String(text)) => text,
        Some(other) => {
            r.fault("umask", show(other), format!("{} is not text", kind(other)), VALID);
            return None;
        }
    };
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(mask) if is_octal && mask <= 0o777 => Some(mask),
        Ok(_) | Err(_) => {
            r.fault("umask", quote(text), "not a file mode mask", VALID);
            None
        }
    }
}

fn resolve_rlimits(r: &mut ValueReader, value: Option<&Value>) -> TaskRlimits {
    const KEYS: [&str; 4] = ["core", "nofile", "fsize", "nproc"];
    const VALID: &str = "{\"core\": BYTES, \"nofile\": N, \"fsize\": BYTES, \"nproc\": N}, each optional";
    let object = match value {
        None | Some(Value::Null) => return TaskRlimits::default(),
        Some(Value::Object(object)) => object,
        Some(other) => {
            r.fault("task_rlimits", show(other), format!("{} is not an object", kind(other)), VALID);
            return TaskRlimits::default();
        }
    };
    // A limit that is misspelt is one that does not hold: no warning, a fault.
    for key in object.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        r.fault("task_rlimits", quote(key), "no such limit", VALID);
    }
    let mut limit = |name: &str, least: u64| {
        let value = object.get(name).filter(|value| !value.is_null())?;
        Some(r.integer(&format!("task_rlimits.{name}"), Some(value), least, least, i64::MAX.unsigned_abs()))
    };
    // Fewer descriptors than a shell needs to start, or no process at all, would mean that no task runs.
    TaskRlimits {
        core: limit("core", 0),
        nofile: limit("nofile", 16),
        fsize: limit("fsize", 0),
        nproc: limit("nproc", 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(file: &Value) -> (Confine, Vec<String>) {
        let raw: RawConfig = serde_json::from_value(file.clone()).expect("an object");
        let mut reader = ValueReader::default();
        let confine = resolve_confine(&mut reader, &raw);
        (confine, reader.faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn absent_keys_hold_tasks_to_nothing_but_to_die_first_of_memory() {
        let (confine, faults) = resolved(&json!({}));
        assert_eq!((confine, faults), (Confine { oom_score_adj: 500, ..Confine::default() }, Vec::new()));
    }

    #[test]
    fn every_key_is_read() {
        let file = json!({
            "run_as_user": "nobody", "no_new_privs": true, "nice": 5, "oom_score_adj": "700", "umask": "0027",
            "task_rlimits": {"core": 0, "nofile": 256, "fsize": "1073741824", "nproc": 100}, "enforce_memory": true,
        });
        let (confine, faults) = resolved(&file);
        assert_eq!(faults, Vec::<String>::new());
        let rlimits = TaskRlimits { core: Some(0), nofile: Some(256), fsize: Some(1 << 30), nproc: Some(100) };
        let wanted = Confine {
            run_as_user: Some("nobody".to_owned()),
            no_new_privs: true,
            rlimits,
            nice: Some(5),
            oom_score_adj: 700,
            umask: Some(0o027),
            enforce_memory: true,
        };
        assert_eq!(confine, wanted);
        assert_eq!(resolved(&json!({"run_as_user": 1001})).0.run_as_user.as_deref(), Some("1001"));
    }

    #[test]
    fn what_would_not_hold_is_refused_with_its_key() {
        for (file, key) in [
            (json!({"run_as_user": "root"}), "run_as_user"),
            (json!({"run_as_user": 0}), "run_as_user"),
            (json!({"run_as_user": true}), "run_as_user"),
            (json!({"no_new_privs": "perhaps"}), "no_new_privs"),
            (json!({"nice": -5}), "nice"),
            (json!({"nice": 20}), "nice"),
            (json!({"oom_score_adj": 1001}), "oom_score_adj"),
            (json!({"umask": 27}), "umask"),
            (json!({"umask": "29"}), "umask"),
            (json!({"umask": "1777"}), "umask"),
            (json!({"task_rlimits": 5}), "task_rlimits"),
            (json!({"task_rlimits": {"nofiles": 5}}), "task_rlimits"),
            (json!({"task_rlimits": {"nofile": 3}}), "task_rlimits.nofile"),
            (json!({"task_rlimits": {"core": "none"}}), "task_rlimits.core"),
            (json!({"enforce_memory": 1}), "enforce_memory"),
        ] {
            let faults = resolved(&file).1;
            assert!(matches!(faults.as_slice(), [fault] if fault.contains(key)), "{file}: {faults:?}");
        }
    }
}
