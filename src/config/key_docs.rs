//! What `distcomp-conf(5)` says about each key of `conf.json`: the table of the manuals, word for word.

/// Keys that belong together, and what is said about them; the marks are those of Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The names, in the order of [`super::KEYS`].
    pub keys: &'static [&'static str],
    /// Their defaults.
    pub default: &'static str,
    /// Their meaning.
    pub meaning: &'static str,
}

const fn key(keys: &'static [&'static str], default: &'static str, meaning: &'static str) -> KeyDoc {
    KeyDoc { keys, default, meaning }
}

/// Every key.
pub const KEY_DOCS: &[KeyDoc] = &[
    key(
        &["min_dram_gb_accept_new_task"],
        "2; with `--local` or `--memory` at most a quarter of the memory",
        "Start a task only while this much memory is free; above 0",
    ),
    key(
        &["min_dram_gb_trigger_return"],
        "1; with `--local` or `--memory` at most an eighth",
        "Below this much free memory, the newest task is killed and returned to the queue. Above 0 and less than `min_dram_gb_accept_new_task`",
    ),
    key(&["max_task_per_worker"], "32", "Number of slots: tasks that run at once on a node"),
    key(&["max_retry_per_task"], "4", "Failed attempts until a task fails for good. 0 and 1 both allow one attempt"),
    key(&["default_task_timeout_seconds"], "3600", "Time limit of tasks without one of their own. 0 means no limit"),
    key(
        &["task_timeout_check_interval"],
        "30",
        "Seconds between checks for overdue tasks: the longest delay of a limit if its timer fails",
    ),
    key(&["task_kill_grace_seconds"], "5", "Seconds between SIGTERM and SIGKILL. 0 means SIGKILL at once"),
    key(&["sleep_sec_between_accepting_task"], "2", "Poll interval in seconds when there is nothing to do"),
    key(
        &["min_seconds_between_starts"],
        "0",
        "Minimum time between two starts of tasks on a worker. 0 means that tasks start as soon as there is room. Above 0, nothing is prefetched",
    ),
    key(
        &["auto_sleep_sec"],
        "true",
        "Adapt the poll interval to the load, between 0.1 s and 5 s. false: keep it fixed",
    ),
    key(&["redis_pipeline_batching"], "true", "false: one task per round trip, for comparison or as a fallback"),
    key(
        &["task_prefetch"],
        "`auto`",
        "Tasks claimed ahead of free slots. 0 means none: the order is then exact at each start",
    ),
    key(&["health_report_interval"], "2", "Seconds between heartbeats"),
    key(
        &["worker_dead_after_seconds"],
        "20 × `health_report_interval`",
        "Silence after which other workers take over a worker's tasks; more than 3 intervals",
    ),
    key(&["min_free_cpu_cores"], "0", "Start a task only while this many cores are idle (Python DistComp: 2, fixed)"),
    key(&["drain_timeout_seconds"], "300", "How long running tasks may continue after SIGTERM"),
    key(
        &["retry_backoff_seconds"],
        "0",
        "Delay before a retry. It doubles with each failure since the last requeue, up to one hour, and is jittered",
    ),
    key(
        &["retry_memory_factor"],
        "2",
        "After an attempt that was killed because memory was short, the next one declares this many times as much. 1 switches this off. See [memory](docs/policy.md#memory)",
    ),
    key(&["retry_memory_max_gb"], "the largest live node", "The most memory, in GB, that such a retry declares"),
    key(
        &["result_dir"],
        "`./distcomp-results`",
        "Directory for outputs that Redis does not hold completely. Created when the first such output is written, also with `--local`. Its files belong to the user of the task",
    ),
    key(
        &["state_dir"],
        "`$STATE_DIRECTORY`, `$XDG_STATE_HOME/distcomp` or `~/.local/state/distcomp`",
        "A directory on a local disk used only by DistComp (mode 0700). A directory that other users can access and that contains foreign files is rejected. A directory on a network file system causes a warning",
    ),
    key(
        &["task_shell"],
        "`/bin/sh`",
        "Run as `task_shell -c CMD`. `/bin/bash`, or a script that sets up what all tasks need: [`example/task-shell.sh`](example/task-shell.sh)",
    ),
    key(
        &["max_inline_output_bytes"],
        "1048576",
        "Size of an output up to which Redis holds it completely. Of a longer one Redis holds the head and the tail, and a file in `result_dir`, named in the record, has all of it. An output that is not UTF-8, or has more than 256 bytes of white space at its ends, is also written to such a file",
    ),
    key(
        &["run_as_user"],
        "the worker's",
        "For a worker that runs as root: run tasks as this user. For this key and the next six see [containment](docs/containment.md). A change of any of the seven requires a restart",
    ),
    key(&["no_new_privs"], "false", "true: set-uid programs and the like grant a task no rights"),
    key(
        &["task_rlimits"],
        "none",
        "`{\"core\": BYTES, \"nofile\": N, \"fsize\": BYTES, \"nproc\": N}`, each optional: limits of each process",
    ),
    key(&["nice"], "the worker's", "0 to 19"),
    key(
        &["oom_score_adj"],
        "500",
        "0 to 1000. Larger values make the kernel more likely to kill a task instead of the worker when memory runs out",
    ),
    key(&["umask"], "the worker's", "Octal, as text: `\"027\"`"),
    key(&["enforce_memory"], "false", "true: enforce each task's declared memory (requires a writable cgroup)"),
    key(
        &["resources"],
        "the GPUs found",
        "What the node has besides memory and cores: `{\"gpus\": \"auto\", \"fpga\": [\"a\", \"b\"], \"lic\": 3}`. A list names devices, of which a task gets whole ones or a part of one; a number is a sum, with 3 digits after the point at most; `[]` or 0 switches a resource off. `\"auto\"` finds GPUs of NVIDIA and AMD, within `CUDA_VISIBLE_DEVICES` or `ROCR_VISIBLE_DEVICES`",
    ),
    key(
        &["labels"],
        "`[]`",
        "What tasks may ask of the node: `[\"ssd\", \"region=eu\"]`. Every worker also has `host=NAME`",
    ),
    key(
        &["hide_gpus"],
        "false",
        "true: a task that asks for no GPU sees none (`CUDA_VISIBLE_DEVICES` and `ROCR_VISIBLE_DEVICES` are empty)",
    ),
    key(
        &["pin_cpus"],
        "false",
        "true: a task of whole cores has them for itself, as far as tasks of this worker are concerned; the other tasks share the rest. See [containment](docs/containment.md#cores-devices-and-scratch)",
    ),
    key(
        &["scratch_dir"],
        "none",
        "A directory in which each attempt gets a directory of its own (`DISTCOMP_SCRATCH` and `TMPDIR`, mode 0700). The worker removes it when the last process of the task has ended. On a local disk",
    ),
    key(
        &["prefer_wait_seconds"],
        "30",
        "How long a worker leaves a task alone that prefers a label which the worker lacks. 0 means not at all",
    ),
    key(
        &["time_limit_seconds"],
        "the rest of the job in Slurm and PBS, else 0",
        "How long the worker lives, from its start. Before, it drains for `drain_timeout_seconds` (a quarter of a short life at most), returns what still runs, and exits with 0. 0 means for ever",
    ),
    key(
        &["idle_timeout_seconds"],
        "0",
        "After so long with nothing to run, a worker returns what it holds and exits with 0, also while the queue is paused or the worker drained. 0 means never",
    ),
    key(&["task_field_order"], "`mem:cpu:prio`", "Or `prio:mem:cpu`, the order of Python DistComp"),
    key(
        &["redis_host", "redis_port", "redis_db", "redis_pass"],
        "`localhost`, 6379, 0, none",
        "Address, database and password of Redis",
    ),
    key(
        &["redis_user", "redis_pass_file", "redis_url", "redis_tls"],
        "none",
        "URLs: `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`. `redis_tls` is `{\"ca\": FILE, \"cert\": FILE, \"key\": FILE}`",
    ),
    key(&["redis_key_prefix"], "empty", "Prefix of every key, so that one server can hold several queues"),
    key(
        &["require_signed_tasks", "task_public_keys", "task_signing_key"],
        "false, `[]`, none",
        "Run only tasks signed with one of these public key files; the key file with which a submitter signs. See [Security](docs/security.md)",
    ),
    key(
        &["max_lost_per_task"],
        "3",
        "Lost workers after which a task fails. Only a loss in which the task was the only suspect can fail it",
    ),
    key(
        &["suspect_after"],
        "5",
        "Tasks that failed on the worker and then finished on another one, with nothing finished here in between, after which the worker pauses itself. 0: never. See [Policy](docs/policy.md#bad-nodes)",
    ),
    key(&["python_workers"], "false", "true: Python workers share the queue; see below"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_key_is_described_once_and_in_order() {
        let described: Vec<&str> = KEY_DOCS.iter().flat_map(|doc| doc.keys).copied().collect();
        assert_eq!(described, KEYS);
    }

    #[test]
    fn descriptions_are_those_of_the_manuals() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manual = fs::read_to_string(root.join("docs/conf.md")).expect("the manual");
        // Here links lead from the root, there from `docs/`: first those that stay in it, then those that leave it.
        let text = manual.replace("](", "](docs/").replace("](docs/../", "](");
        for doc in KEY_DOCS {
            let keys: Vec<String> = doc.keys.iter().map(|key| format!("`{key}`")).collect();
            let row = format!("| {} | {} | {} |", keys.join(", "), doc.default, doc.meaning);
            assert!(text.lines().any(|line| line == row), "docs/conf.md lacks this row: {row}");
        }
    }
}
