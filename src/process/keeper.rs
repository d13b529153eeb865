//! The keeper's loop: runs the tasks of one slot, one after another, with one thread and one `poll`.
//!
//! It waits nowhere but in that `poll`, except for the short time in which it kills a process tree. So it always reads the output of a task, and always
//! notices a command. When the worker closes the socket, the keeper kills everything below it and exits.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::cgroup_meter::{self, CgroupMeter, CgroupUsage};
use super::isolation::{Isolation, Refusal};
use super::oom_watch::OomWatch;
use super::protocol::{KeeperCommand, KeeperEvent, Output, RunSpec, TaskKey};
use super::reaper::{self, KILL_BOUND, Reaper};
use super::reply_journal::ReplyJournal;
use super::running_task::{RunningTask, StartStamp};
use super::spawn::{SpawnError, Spawner};
use super::syscalls;
use super::worker_link::{WorkerGone, WorkerLink};
use crate::sys::boot;

struct Keeper {
    link: WorkerLink,
    /// Runs that wait for the one before them.
    queue: VecDeque<(u64, RunSpec)>,
    task: Option<RunningTask>,
    /// Whether a process of the task's tree was left when the keeper last reaped children.
    tree_lives: bool,
    reaper: Reaper,
    spawner: Spawner,
    /// The buffer for reads of pipes.
    scratch: Vec<u8>,
    /// `None` without a cgroup; an error if the cgroup of the slot cannot be used.
    meter: Option<Result<CgroupMeter, String>>,
    oom_watch: OomWatch,
    /// What the task has for itself.
    isolation: Isolation,
    /// A large output was received; its memory is freed when it has been sent.
    was_large: bool,
}

/// Which descriptors are ready to be read.
#[derive(Default)]
struct Ready {
    socket: bool,
    child: bool,
    stdout: bool,
    stderr: bool,
}

/// Runs the slot until the worker closes the socket. The process must have one thread, and all signals blocked and at their default dispositions.
pub(super) fn run(socket: OwnedFd, journal: Option<ReplyJournal>, spawner: Spawner, reaper: Reaper) -> ExitCode {
    let mut keeper = Keeper {
        link: WorkerLink::new(socket, journal),
        queue: VecDeque::new(),
        task: None,
        tree_lives: false,
        reaper,
        spawner,
        scratch: Vec::new(),
        meter: None,
        oom_watch: OomWatch::new(cgroup_meter::oom_kills_of_machine()),
        isolation: Isolation::default(),
        was_large: false,
    };
    while keeper.step().is_ok() {}
    // A process that does not die now is left to the zygote, which waits longer.
    let unkillable = keeper.reaper.kill_all(KILL_BOUND, &[], &mut |_| {});
    let _ = keeper.isolation.end(!unkillable);
    ExitCode::SUCCESS
}

impl Keeper {
    fn step(&mut self) -> Result<(), WorkerGone> {
        self.start_next()?;
        self.flush()?;
        if self.can_start() && !self.link.has_unsent() {
            // The events that prevented a start have just been sent.
            return Ok(());
        }
        let ready = self.wait();
        if ready.socket {
            self.link.receive()?;
            while let Some(command) = self.link.next_command()? {
                self.handle(command)?;
            }
        }
        // Reap before reading: what the pipes hold after the end of a child is the rest of its output.
        if ready.child {
            self.reaper.acknowledge();
            self.reap();
        }
        if let Some(task) = &mut self.task {
            if ready.stdout {
                task.read_stdout(&mut self.scratch);
            }
            if ready.stderr {
                task.read_stderr(&mut self.scratch);
            }
            self.advance()?;
        }
        Ok(())
    }

    /// Starts the next run if the slot is free. This comes before events are sent, so that the end of one task and the start of the next wake the worker
    /// once.
    fn start_next(&mut self) -> Result<(), WorkerGone> {
        while self.can_start() {
            let Some((key, mut spec)) = self.queue.pop_front() else { break };
            if spec.start_by_ms != 0 && boot::clock_ms() > spec.start_by_ms {
                // The keeper was frozen, or the machine was asleep: another worker may have the task by now.
                self.send(&KeeperEvent::Recalled { key })?;
                continue;
            }
            if !self.link.secure_unsent()? {
                self.queue.push_front((key, spec));
                break;
            }
            let limited = match &mut self.meter {
                None => Ok(()),
                Some(Ok(meter)) => {
                    meter.begin(spec.memory_limit, spec.process_limit).map_err(|error| error.to_string())
                }
                Some(Err(error)) => Err(error.clone()),
            };
            // A task never runs without the limit that was requested.
            let limited = limited.map_err(|error| SpawnError::of_node("limit the memory of the task", &error));
            let begun = StartStamp::now();
            let isolated = limited
                .map_err(Refusal::Spawn)
                .and_then(|()| self.isolation.begin(&mut spec, self.spawner.user()))
                .and_then(|()| self.spawner.start(&spec).map_err(Refusal::Spawn));
            let event = match isolated {
                Ok(spawned) => {
                    let owner = self.spawner.user().cloned();
                    let task = self.task.insert(RunningTask::new(key, spec, spawned, begun, owner));
                    self.tree_lives = true;
                    self.oom_watch.begin(task.started);
                    KeeperEvent::Started { key, pid: task.pid, at_ms: task.start_ms }
                }
                Err(refusal) => {
                    let _ = self.isolation.end(true);
                    refusal.event(key)
                }
            };
            self.send(&event)?;
        }
        Ok(())
    }

    fn can_start(&self) -> bool {
        self.task.is_none() && !self.queue.is_empty() && !self.link.is_congested()
    }

    fn wait(&mut self) -> Ready {
        let mut flags = PollFlags::POLLIN;
        if self.link.has_unsent() {
            flags |= PollFlags::POLLOUT;
        }
        let idle = self.link.as_fd();
        let [stdout, stderr] = self.task.as_ref().map_or([idle; 2], RunningTask::outputs);
        let mut fds = [
            PollFd::new(self.link.as_fd(), flags),
            PollFd::new(self.reaper.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdout, PollFlags::POLLIN),
            PollFd::new(stderr, PollFlags::POLLIN),
        ];
        let count = if self.task.is_some() { 4 } else { 2 };
        let deadline = self.task.as_ref().and_then(|task| task.deadline);
        let deadline = deadline.into_iter().chain(self.oom_watch.ask_at()).min();
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(&mut fds[..count], reaper::timeout(limit)) {
            Ok(0) => {
                let now = Instant::now();
                if self.oom_watch.ask_at().is_some_and(|at| at <= now) {
                    self.oom_watch.asked(now, cgroup_meter::oom_kills_of_machine());
                }
                Ready::default()
            }
            Ok(_) => {
                // Read after an error or hang-up too: the read returns the error.
                let is_ready = |index: usize| fds[index].revents().is_some_and(|revents| !revents.is_empty());
                let socket = fds[0].revents().is_some_and(|revents| revents.intersects(!PollFlags::POLLOUT));
                Ready {
                    socket,
                    child: is_ready(1),
                    stdout: count == 4 && is_ready(2),
                    stderr: count == 4 && is_ready(3),
                }
            }
            // Interrupted, or short of memory for a moment: try all of them.
            Err(_) => Ready { socket: true, child: true, stdout: count == 4, stderr: count == 4 },
        }
    }

    fn reap(&mut self) {
        let task = &mut self.task;
        self.tree_lives = self.reaper.reap(&mut |reaped| {
            if let Some(task) = task {
                task.record_exit(reaped);
            }
        });
    }

    /// Ends the task if its main process has ended or its grace is over.
    fn advance(&mut self) -> Result<(), WorkerGone> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let overdue = task.is_overdue(Instant::now());
        let main_ended = task.main().is_none();
        if main_ended {
            task.drain(&mut self.scratch);
        }
        // Within a grace, other processes of the tree may go on after the main process has ended. Otherwise the tree ends with it.
        let over = main_ended && (!self.tree_lives || task.deadline.is_none());
        if !over && !overdue {
            return Ok(());
        }
        let mut unkillable = false;
        if self.tree_lives {
            task.begin_killing();
            unkillable = self.reaper.kill_all(KILL_BOUND, &[], &mut |reaped| task.record_exit(reaped));
            // What they wrote before they were killed.
            task.drain(&mut self.scratch);
            self.tree_lives = false;
        }
        self.was_large |= task.was_large();
        let Some(task) = self.task.take() else { return Ok(()) };
        let used = match &self.meter {
            Some(Ok(meter)) => meter.end(),
            Some(Err(_)) | None => CgroupUsage::default(),
        };
        let is_oom_likely = self.oom_watch.end(Instant::now(), task.was_killed(), cgroup_meter::oom_kills_of_machine);
        let scratch_left = self.isolation.end(!unkillable);
        self.send(&KeeperEvent::Ended(Box::new(task.finish(unkillable, used, is_oom_likely, scratch_left))))
    }

    fn handle(&mut self, command: KeeperCommand) -> Result<(), WorkerGone> {
        match command {
            KeeperCommand::Group(dirs) => {
                self.meter =
                    Some(CgroupMeter::open(&dirs).map_err(|error| format!("{}: {error}", dirs.memory.display())));
            }
            KeeperCommand::Run { key, spec } => self.queue.push_back((key, *spec)),
            KeeperCommand::Terminate { key, grace_ms } => return self.terminate(key, Duration::from_millis(grace_ms)),
            KeeperCommand::Kill { key } => return self.terminate(key, Duration::ZERO),
            KeeperCommand::Recall { key } => return self.recall(key),
            KeeperCommand::Cores { key, cores } => match self.queue.iter_mut().find(|(waiting, _)| *waiting == key) {
                Some((_, spec)) => spec.cores = cores,
                None if self.task.as_ref().is_some_and(|task| task.key == key) => self.isolation.move_to(cores),
                None => {}
            },
            KeeperCommand::Show { key, stdout_from, stderr_from } => {
                let task = self.task.as_ref().filter(|task| task.key == key);
                let nothing = || Output { key, ..Output::default() };
                let output = task.map_or_else(nothing, |task| task.output_since(stdout_from, stderr_from));
                return self.send(&KeeperEvent::Output(Box::new(output)));
            }
        }
        Ok(())
    }

    fn terminate(&mut self, key: TaskKey, grace: Duration) -> Result<(), WorkerGone> {
        let Some(task) = self.task.as_mut().filter(|task| task.key == key) else { return self.recall(key) };
        let first = task.deadline.is_none();
        // Bounded, because the sum with a very long grace would overflow.
        let far = Duration::from_secs(100 * 365 * 24 * 3600);
        let deadline = Instant::now() + grace.min(far);
        task.deadline = Some(task.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        if first && !grace.is_zero() {
            reaper::ask_to_end(task.main());
        }
        self.advance()
    }

    fn recall(&mut self, key: TaskKey) -> Result<(), WorkerGone> {
        match self.queue.iter().position(|(waiting, _)| *waiting == key) {
            Some(index) => {
                self.queue.remove(index);
                self.send(&KeeperEvent::Recalled { key })
            }
            None => Ok(()),
        }
    }

    fn send(&mut self, event: &KeeperEvent) -> Result<(), WorkerGone> {
        self.link.push(event)
    }

    /// Sends what the socket takes now, and then frees the memory of a large output.
    fn flush(&mut self) -> Result<(), WorkerGone> {
        self.link.flush()?;
        if self.was_large && !self.link.has_unsent() {
            self.was_large = false;
            self.link.release_outbox();
            self.scratch = Vec::new();
            syscalls::trim_heap();
        }
        Ok(())
    }
}
