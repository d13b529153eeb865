//! The slots of this worker: as many runners as were ever busy at once, each with its keeper.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::events::{Event, TaskKey};
use super::nursery::Nursery;
use super::results::Results;
use super::runner::Runner;
use super::sampler::Keepers;
use super::slot_protocol::SlotCommand;
use crate::config::Config;
use crate::model::{Bytes, Demand, MilliCores, ResourceKind, TaskKind, TaskLine, WorkerName};
use crate::process::RunSpec;
use crate::sys::{boot, wall_clock};

/// Of a stdout too large for Redis, how much of each end is kept there.
const END_BYTES: usize = 64 << 10;

/// Bytes of stderr kept: enough for a reason and for the record.
const STDERR_BYTES: usize = 8 << 10;

/// More than a keeper ever uses but for output that it holds.
const KEEPER_BYTES: u64 = 16 << 20;

/// Processes and threads of a task, for each core that it declares and once more.
const PROCESSES_PER_CORE: u64 = 1024;

/// Runners, idle and busy.
pub struct Slots {
    nursery: Nursery,
    events: mpsc::Sender<Event>,
    keepers: Keepers,
    worker: WorkerName,
    python: Option<PathBuf>,
    results: Results,
    idle: Vec<Slot>,
    busy: HashMap<SlotId, Slot>,
    /// Where each task is.
    at: HashMap<TaskKey, SlotId>,
    last_id: SlotId,
}

type SlotId = u64;

/// A runner, and how many tasks it has: what runs, and what waits behind it.
struct Slot {
    id: SlotId,
    commands: mpsc::UnboundedSender<SlotCommand>,
    tasks: u32,
}

impl Slots {
    /// No slot yet; they are made when they are needed.
    #[must_use]
    pub fn new(
        nursery: Nursery,
        events: mpsc::Sender<Event>,
        keepers: Keepers,
        worker: WorkerName,
        results: Results,
    ) -> Self {
        Self {
            nursery,
            events,
            keepers,
            worker,
            python: find_in_path("python3"),
            results,
            idle: Vec::new(),
            busy: HashMap::new(),
            at: HashMap::new(),
            last_id: 0,
        }
    }

    /// Starts a task in an idle slot, or a new one; not after the moment `before`.
    pub fn start(&mut self, key: TaskKey, task: &TaskLine, attempt: u32, before: Instant, config: &Config) {
        let mut command = SlotCommand::Start(key, Box::new(self.spec(task, attempt, before, config)), before.into());
        while let Some(slot) = self.idle.pop() {
            match slot.commands.send(command) {
                Ok(()) => return self.place(key, slot),
                // Its keeper died while it was idle.
                Err(refused) => command = refused.0,
            }
        }
        let slot = self.add();
        // A new slot reads its first command after its keeper is there.
        let _ = slot.commands.send(command);
        self.place(key, slot);
    }

    /// Hands a task to the slot of one that runs, to start there when that one has ended.
    pub fn queue(
        &mut self,
        key: TaskKey,
        behind: TaskKey,
        task: &TaskLine,
        attempt: u32,
        before: Instant,
        config: &Config,
    ) {
        let command = SlotCommand::Start(key, Box::new(self.spec(task, attempt, before, config)), before.into());
        if let Some(slot) = self.at.get(&behind).and_then(|id| self.busy.get_mut(id))
            && slot.commands.send(command).is_ok()
        {
            slot.tasks += 1;
            self.at.insert(key, slot.id);
        } else {
            // Its keeper has just died: any other slot will do.
            self.start(key, task, attempt, before, config);
        }
    }

    fn place(&mut self, key: TaskKey, mut slot: Slot) {
        slot.tasks = 1;
        self.at.insert(key, slot.id);
        self.busy.insert(slot.id, slot);
    }

    fn add(&mut self) -> Slot {
        let (sender, commands) = mpsc::unbounded_channel();
        let runner = Runner {
            nursery: self.nursery.clone(),
            commands,
            events: self.events.clone(),
            keepers: Arc::clone(&self.keepers),
        };
        tokio::spawn(runner.run());
        self.last_id += 1;
        Slot { id: self.last_id, commands: sender, tasks: 0 }
    }

    /// A task is over, or was withdrawn: its slot is idle, unless it has another.
    pub fn free(&mut self, key: TaskKey) {
        let Some(id) = self.at.remove(&key) else { return };
        let Some(slot) = self.busy.get_mut(&id) else { return };
        slot.tasks -= 1;
        if slot.tasks == 0 {
            self.idle.extend(self.busy.remove(&id));
        }
    }

    /// A task's keeper is gone, and its slot with it.
    pub fn forget(&mut self, key: TaskKey) {
        if let Some(id) = self.at.remove(&key) {
            self.busy.remove(&id);
        }
    }

    /// Takes a task back that waits, unless it has started.
    pub fn withdraw(&self, key: TaskKey) {
        self.tell(key, SlotCommand::Withdraw(key));
    }

    /// Ends a task with its grace.
    pub fn terminate(&self, key: TaskKey, grace: Duration) {
        self.tell(key, SlotCommand::Terminate(key, grace));
    }

    /// Ends a task now.
    pub fn kill(&self, key: TaskKey) {
        self.tell(key, SlotCommand::Kill(key));
    }

    /// Where to ask for the output of a task that runs.
    #[must_use]
    pub fn commands(&self, key: TaskKey) -> Option<mpsc::UnboundedSender<SlotCommand>> {
        self.at.get(&key).and_then(|id| self.busy.get(id)).map(|slot| slot.commands.clone())
    }

    fn tell(&self, key: TaskKey, command: SlotCommand) {
        if let Some(slot) = self.at.get(&key).and_then(|id| self.busy.get(id)) {
            let _ = slot.commands.send(command);
        }
    }

    fn spec(&mut self, task: &TaskLine, attempt: u32, before: Instant, config: &Config) -> RunSpec {
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
        let file = format!("{id}.{attempt}.{}.{key}.out", self.worker, key = wall_clock::unix_ms());
        let (overflow_path, result_dir) = self.results.place(&config.result_dir, file);
        RunSpec {
            memory_limit,
            process_limit,
            start_by_ms: boot::clock_ms().saturating_add(millis(before.saturating_duration_since(Instant::now()))),
            program,
            args,
            env: [
                ("DISTCOMP_TASK_ID".to_owned(), id.to_string()),
                ("DISTCOMP_ATTEMPT".to_owned(), attempt.to_string()),
                ("DISTCOMP_WORKER".to_owned(), self.worker.to_string()),
            ]
            .into_iter()
            .chain(demanded(task.demand()))
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
/// processes and threads that no sound program of so many cores reaches. A task that declares no memory is held to none.
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
