//! From a task line and the configuration to what a keeper is told to run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::isolation_env::{EnvRules, variables};
use crate::config::Config;
use crate::model::{Bytes, Demand, MilliCores, ResourceKind, TaskKind, TaskLine, WorkerName};
use crate::process::{RunSpec, ScratchPlace};
use crate::sys::{boot, wall_clock};
use crate::worker::events::Attempt;
use crate::worker::node_extras::NodeExtras;
use crate::worker::placed::Placed;
use crate::worker::results::Results;

/// Of a stdout too large for Redis, how much of each end is kept there.
const END_BYTES: usize = 64 << 10;

/// Bytes of stderr kept: enough for a reason and for the record.
const STDERR_BYTES: usize = 8 << 10;

/// More than a keeper ever uses but for output that it holds.
const KEEPER_BYTES: u64 = 16 << 20;

/// Processes and threads of a task, for each core that it declares and once more.
const PROCESSES_PER_CORE: u64 = 1024;

/// What is the same for all tasks of a worker.
pub(super) struct RunSpecs {
    worker: WorkerName,
    python: Option<PathBuf>,
    results: Results,
    node: NodeExtras,
    has_omp_threads: bool,
}

impl RunSpecs {
    /// Long outputs go to `results`.
    pub(super) fn new(worker: WorkerName, results: Results, node: NodeExtras) -> Self {
        let has_omp_threads = std::env::var_os("OMP_NUM_THREADS").is_some();
        Self { worker, python: find_in_path("python3"), results, node, has_omp_threads }
    }

    /// How to run an attempt of a task; not after the moment `before`.
    pub(super) fn of(
        &mut self,
        task: &TaskLine,
        attempt: &Attempt,
        before: Instant,
        placed: &Placed,
        config: &Config,
    ) -> RunSpec {
        let (program, args) = match task.kind() {
            TaskKind::Shell => (config.task_shell.clone(), vec!["-c".into(), task.cmd().into()]),
            // Where there is none the keeper says so, and the task fails with that reason.
            TaskKind::Python => {
                (self.python.clone().unwrap_or_else(|| "/usr/bin/python3".into()), vec!["-c".into(), task.cmd().into()])
            }
            TaskKind::Demo => ("/bin/echo".into(), vec!["demo".into(), task.cmd().into()]),
        };
        let id = task.id();
        let (memory_limit, process_limit) = limits(task, config);
        let file = format!("{id}.{}.{}.{}.out", attempt.number, self.worker, wall_clock::unix_ms());
        let (overflow_path, result_dir) = self.results.place(&config.result_dir, file);
        let rules = EnvRules {
            vendor: self.node.gpus.vendor,
            hides_gpus: config.hide_gpus,
            has_omp_threads: self.has_omp_threads,
        };
        let locks = &self.node.locks;
        let devices =
            placed.grants.devices().map(|(resource, share)| locks.hold(resource, &share.device, share.amount));
        let scratch = config.scratch_dir.as_ref().map(|parent| ScratchPlace {
            parent: parent.clone(),
            name: format!("{id}.{}", attempt.number),
            records: self.node.scratch_records.clone(),
        });
        let cores = if placed.own_cores.is_empty() { &placed.shared_cores } else { &placed.own_cores };
        RunSpec {
            devices: devices.collect(),
            cores: cores.clone(),
            scratch,
            memory_limit,
            process_limit,
            start_by_ms: boot::clock_ms().saturating_add(millis(before.saturating_duration_since(Instant::now()))),
            program,
            args,
            env: [
                ("DISTCOMP_TASK_ID".to_owned(), id.to_string()),
                ("DISTCOMP_ATTEMPT".to_owned(), attempt.number.to_string()),
                ("DISTCOMP_WORKER".to_owned(), self.worker.to_string()),
            ]
            .into_iter()
            .chain(attempt.batch.iter().map(|batch| ("DISTCOMP_BATCH".to_owned(), batch.to_string())))
            .chain(attempt.upstream.map(|ended| ("DISTCOMP_UPSTREAM".to_owned(), ended.as_str().to_owned())))
            .chain(demanded(task.demand()))
            .chain(variables(placed, rules))
            .collect(),
            max_inline: config.max_inline_output,
            head_keep: END_BYTES.min(config.max_inline_output / 2),
            tail_keep: END_BYTES.min(config.max_inline_output / 2),
            stderr_tail_keep: STDERR_BYTES,
            overflow_path,
            result_dir,
        }
    }
}

/// What a task asks for, for its environment: `DISTCOMP_CPUS`, `DISTCOMP_MEM_GB`.
fn demanded(demand: &Demand) -> impl Iterator<Item = (String, String)> {
    let amounts = demand.amounts;
    ResourceKind::ALL.into_iter().map(move |kind| {
        (format!("DISTCOMP_{}", kind.asked().to_uppercase()), kind.shown(amounts.get(kind)).to_string())
    })
}

/// What a task may use where its keeper has a cgroup: the memory that it declares and what the keeper needs for itself and the output, and a number of
/// processes and threads that no sound program of so many cores reaches. A task that declares no memory has no limit of it.
fn limits(task: &TaskLine, config: &Config) -> (u64, u64) {
    if !config.confine.enforce_memory {
        return (0, 0);
    }
    let keeper = KEEPER_BYTES.saturating_add(2 * config.max_inline_output as u64);
    let memory = match task.demand().mem() {
        Bytes::ZERO => 0,
        Bytes(declared) => declared.saturating_add(keeper),
    };
    let cores = task.demand().cpu().0.div_ceil(MilliCores::CORE.0);
    (memory, PROCESSES_PER_CORE.saturating_mul(cores.saturating_add(1)))
}

/// Rounded down: a right to start is not stretched.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The first executable file of that name on `PATH`.
fn find_in_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_executable =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(is_executable)
}
