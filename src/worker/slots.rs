//! The slots of this worker: as many runners as were ever busy at once, each with its keeper.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::{Event, TaskKey};
use super::nursery::Nursery;
use super::runner::{Runner, SlotCommand};
use super::sampler::Keepers;
use crate::config::Config;
use crate::model::{TaskKind, TaskLine, WorkerName};
use crate::process::RunSpec;

/// Of a stdout too large for Redis, how much of each end is kept there.
const END_BYTES: usize = 64 << 10;

/// Bytes of stderr kept: enough for a reason and for the record.
const STDERR_BYTES: usize = 8 << 10;

/// Runners, idle and busy.
pub struct Slots {
    nursery: Nursery,
    events: mpsc::Sender<Event>,
    keepers: Keepers,
    worker: WorkerName,
    python: Option<PathBuf>,
    idle: Vec<mpsc::UnboundedSender<SlotCommand>>,
    busy: HashMap<TaskKey, mpsc::UnboundedSender<SlotCommand>>,
}

impl Slots {
    /// No slot yet; they are made when they are needed.
    #[must_use]
    pub fn new(nursery: Nursery, events: mpsc::Sender<Event>, keepers: Keepers, worker: WorkerName) -> Self {
        Self {
            nursery,
            events,
            keepers,
            worker,
            python: find_in_path("python3"),
            idle: Vec::new(),
            busy: HashMap::new(),
        }
    }

    /// Starts a task in an idle slot, or a new one.
    pub fn start(&mut self, key: TaskKey, task: &TaskLine, attempt: u32, config: &Config) {
        let mut command = SlotCommand::Start(key, Box::new(self.spec(task, attempt, config)));
        while let Some(slot) = self.idle.pop() {
            match slot.send(command) {
                Ok(()) => {
                    self.busy.insert(key, slot);
                    return;
                }
                // Its keeper died while it was idle.
                Err(refused) => command = refused.0,
            }
        }
        let slot = self.add();
        // A new slot reads its first command after its keeper is there.
        let _ = slot.send(command);
        self.busy.insert(key, slot);
    }

    fn add(&self) -> mpsc::UnboundedSender<SlotCommand> {
        let (sender, commands) = mpsc::unbounded_channel();
        let runner = Runner {
            nursery: self.nursery.clone(),
            commands,
            events: self.events.clone(),
            keepers: Arc::clone(&self.keepers),
        };
        tokio::spawn(runner.run());
        sender
    }

    /// A task is over: its slot is idle.
    pub fn free(&mut self, key: TaskKey) {
        if let Some(slot) = self.busy.remove(&key) {
            self.idle.push(slot);
        }
    }

    /// A task's keeper is gone, and its slot with it.
    pub fn forget(&mut self, key: TaskKey) {
        self.busy.remove(&key);
    }

    /// Ends a task with its grace.
    pub fn terminate(&self, key: TaskKey, grace: Duration) {
        if let Some(slot) = self.busy.get(&key) {
            let _ = slot.send(SlotCommand::Terminate(key, grace));
        }
    }

    /// Ends a task now.
    pub fn kill(&self, key: TaskKey) {
        if let Some(slot) = self.busy.get(&key) {
            let _ = slot.send(SlotCommand::Kill(key));
        }
    }

    fn spec(&self, task: &TaskLine, attempt: u32, config: &Config) -> RunSpec {
        let (program, args) = match task.kind() {
            TaskKind::Shell => (config.task_shell.clone(), vec!["-c".into(), task.cmd().into()]),
            // Where there is none the keeper says so, and the task fails with that reason.
            TaskKind::Python => {
                (self.python.clone().unwrap_or_else(|| "/usr/bin/python3".into()), vec!["-c".into(), task.cmd().into()])
            }
            TaskKind::Demo => ("/bin/echo".into(), vec!["demo".into(), task.cmd().into()]),
        };
        let id = task.id();
        RunSpec {
            program,
            args,
            env: vec![
                ("DISTCOMP_TASK_ID".to_owned(), id.to_string()),
                ("DISTCOMP_ATTEMPT".to_owned(), attempt.to_string()),
                ("DISTCOMP_WORKER".to_owned(), self.worker.to_string()),
                ("DISTCOMP_CPUS".to_owned(), task.cpu().to_string()),
                ("DISTCOMP_MEM_GB".to_owned(), task.mem().as_gib().to_string()),
            ],
            max_inline: config.max_inline_output,
            head_keep: END_BYTES.min(config.max_inline_output / 2),
            tail_keep: END_BYTES.min(config.max_inline_output / 2),
            stderr_tail_keep: STDERR_BYTES,
            overflow_path: config.result_dir.join(format!("{id}.{attempt}.{}.{key}.out", self.worker, key = unique())),
        }
    }
}

/// Tells files of one task, attempt and worker apart, should an attempt number ever come twice.
fn unique() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The first executable file of that name on `PATH`.
fn find_in_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_executable =
        |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(is_executable)
}
