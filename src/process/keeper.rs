//! The keeper's loop: one slot, one task at a time, one thread, one `poll`.
//!
//! It never waits for anything else than that `poll`, but for the short while in which it kills a tree: so the pipes of a task are always
//! read, and a request is always heard. When the worker's end of the socket closes, everything below is killed and the keeper ends.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, send};

use super::cgroup_meter::{self, CgroupMeter, CgroupUsage};
use super::codec::{self, Decoded};
use super::oom_watch::OomWatch;
use super::protocol::{KeeperCommand, KeeperEvent, Output, RunSpec};
use super::reaper::{self, KILL_BOUND, Reaper};
use super::reply_journal::ReplyJournal;
use super::running_task::{RunningTask, StartStamp};
use super::spawn::{SpawnError, Spawner};
use super::syscalls;
use crate::sys::boot;

/// While the worker has not taken this much, no further task is started: answers must not pile up for a worker that does not listen.
const OUTBOX_LIMIT: usize = 64 * 1024;

struct Keeper {
    socket: OwnedFd,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Bytes of answers sent so far.
    sent: u64,
    /// Where what has yet to be sent is safe from the next task; `None` where there is no such place, and it is sent first.
    journal: Option<ReplyJournal>,
    /// Runs that wait for the one before them.
    queue: VecDeque<(u64, RunSpec)>,
    task: Option<RunningTask>,
    /// Whether anything of the running task's tree is left, as of the last look.
    tree_lives: bool,
    reaper: Reaper,
    spawner: Spawner,
    scratch: Vec<u8>,
    /// Where the slot has a cgroup; an error where it has one that cannot be used.
    meter: Option<Result<CgroupMeter, String>>,
    oom_watch: OomWatch,
    /// A large output has passed through: give its memory back when it is sent.
    was_large: bool,
}

/// Nobody is at the other end any more, or nobody who can be understood.
struct WorkerGone;

/// Which of the descriptors had something to say.
#[derive(Default)]
struct Ready {
    socket: bool,
    child: bool,
    stdout: bool,
    stderr: bool,
}

/// The keeper cannot keep anything: says why and ends.
pub(super) fn report_setup_failure(socket: &OwnedFd, error: String) -> ExitCode {
    let mut bytes = Vec::new();
    if codec::encode(&mut bytes, &KeeperEvent::SetupFailed { error }).is_ok() {
        // A fresh socket takes so little at once.
        let _ = send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
    }
    ExitCode::from(2)
}

/// Runs the slot until the worker goes. Called in a process of a single thread with all signals blocked and at their defaults.
pub(super) fn run(socket: OwnedFd, journal: Option<ReplyJournal>, spawner: Spawner, reaper: Reaper) -> ExitCode {
    let mut keeper = Keeper {
        socket,
        inbox: Vec::new(),
        outbox: Vec::new(),
        sent: 0,
        journal,
        queue: VecDeque::new(),
        task: None,
        tree_lives: false,
        reaper,
        spawner,
        scratch: Vec::new(),
        meter: None,
        oom_watch: OomWatch::new(cgroup_meter::oom_kills_of_machine()),
        was_large: false,
    };
    while keeper.step().is_ok() {}
    // What will not die now is left to the zygote, which has more patience.
    keeper.reaper.kill_all(KILL_BOUND, &[], &mut |_| {});
    ExitCode::SUCCESS
}

impl Keeper {
    fn step(&mut self) -> Result<(), WorkerGone> {
        self.start_next()?;
        self.flush()?;
        if self.can_start() && self.outbox.is_empty() {
            // The answers that stood in the way have just gone.
            return Ok(());
        }
        let ready = self.wait();
        if ready.socket {
            self.receive()?;
        }
        // The end of a child before its output: then what the pipes hold afterwards is all that it has said.
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

    /// Starts the next run, if the slot is free. Done before the answers are sent, so that the end of one task and the start of the next
    /// are one message and one wake-up of the worker.
    fn start_next(&mut self) -> Result<(), WorkerGone> {
        while self.can_start() {
            let Some((seq, spec)) = self.queue.pop_front() else { break };
            if spec.start_by_ms != 0 && boot::clock_ms() > spec.start_by_ms {
                // We were frozen, or the machine was asleep: another may have it by now.
                self.answer(&KeeperEvent::Withdrawn { seq })?;
                continue;
            }
            if !self.is_outbox_safe()? {
                self.queue.push_front((seq, spec));
                break;
            }
            let limited = match &mut self.meter {
                None => Ok(()),
                Some(Ok(meter)) => {
                    meter.begin(spec.memory_limit, spec.process_limit).map_err(|error| error.to_string())
                }
                Some(Err(error)) => Err(error.clone()),
            };
            // A task that was to be limited does not run without its limit.
            let limited = limited.map_err(|error| SpawnError::of_node("limit the memory of the task", &error));
            let begun = StartStamp::now();
            let event = match limited.and_then(|()| self.spawner.start(&spec)) {
                Ok(spawned) => {
                    let owner = self.spawner.user().cloned();
                    let task = self.task.insert(RunningTask::new(seq, spec, spawned, begun, owner));
                    self.tree_lives = true;
                    self.oom_watch.begin(task.started);
                    KeeperEvent::Started { seq, pid: task.pid, at_ms: task.start_ms }
                }
                Err(SpawnError { error, is_transient }) => KeeperEvent::SpawnFailed { seq, error, is_transient },
            };
            self.answer(&event)?;
        }
        Ok(())
    }

    /// Whether what has yet to be said survives this keeper, should the next task kill it: it is kept elsewhere, or it has been sent.
    fn is_outbox_safe(&mut self) -> Result<bool, WorkerGone> {
        if self.outbox.is_empty() || self.journal.as_ref().is_some_and(|file| file.keep(self.sent, &self.outbox)) {
            return Ok(true);
        }
        self.flush()?;
        Ok(self.outbox.is_empty())
    }

    fn can_start(&self) -> bool {
        self.task.is_none() && !self.queue.is_empty() && self.outbox.len() < OUTBOX_LIMIT
    }

    fn wait(&mut self) -> Ready {
        let mut flags = PollFlags::POLLIN;
        if !self.outbox.is_empty() {
            flags |= PollFlags::POLLOUT;
        }
        let idle = self.socket.as_fd();
        let [stdout, stderr] = self.task.as_ref().map_or([idle; 2], RunningTask::outputs);
        let mut fds = [
            PollFd::new(self.socket.as_fd(), flags),
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
                // An error or hang-up counts as something to read: the read says what it is.
                let said = |index: usize| fds[index].revents().is_some_and(|revents| !revents.is_empty());
                let socket = fds[0].revents().is_some_and(|revents| revents.intersects(!PollFlags::POLLOUT));
                Ready { socket, child: said(1), stdout: count == 4 && said(2), stderr: count == 4 && said(3) }
            }
            // Short of memory for a moment, or interrupted: look at everything.
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

    /// Ends the slot when its time has come.
    fn advance(&mut self) -> Result<(), WorkerGone> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let overdue = task.is_overdue(Instant::now());
        let main_ended = task.main().is_none();
        if main_ended {
            task.drain(&mut self.scratch);
        }
        // Within a grace the rest of the tree may go on cleaning up when its root has ended; otherwise the root's end is everybody's.
        let over = main_ended && (!self.tree_lives || task.deadline.is_none());
        if !over && !overdue {
            return Ok(());
        }
        let mut unkillable = false;
        if self.tree_lives {
            task.begin_killing();
            unkillable = self.reaper.kill_all(KILL_BOUND, &[], &mut |reaped| task.record_exit(reaped));
            // What they have written until they were killed.
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
        self.answer(&KeeperEvent::Ended(Box::new(task.finish(unkillable, used, is_oom_likely))))
    }

    fn handle(&mut self, command: KeeperCommand) -> Result<(), WorkerGone> {
        match command {
            KeeperCommand::Group(dirs) => {
                self.meter =
                    Some(CgroupMeter::open(&dirs).map_err(|error| format!("{}: {error}", dirs.memory.display())));
            }
            KeeperCommand::Run { seq, spec } => self.queue.push_back((seq, *spec)),
            KeeperCommand::Terminate { seq, grace_ms } => return self.terminate(seq, Duration::from_millis(grace_ms)),
            KeeperCommand::Kill { seq } => return self.terminate(seq, Duration::ZERO),
            KeeperCommand::Withdraw { seq } => return self.withdraw(seq),
            KeeperCommand::Show { seq, stdout_from, stderr_from } => {
                let task = self.task.as_ref().filter(|task| task.seq == seq);
                let nothing = || Output { seq, ..Output::default() };
                let output = task.map_or_else(nothing, |task| task.output_since(stdout_from, stderr_from));
                return self.answer(&KeeperEvent::Output(Box::new(output)));
            }
        }
        Ok(())
    }

    fn terminate(&mut self, seq: u64, grace: Duration) -> Result<(), WorkerGone> {
        let Some(task) = self.task.as_mut().filter(|task| task.seq == seq) else { return self.withdraw(seq) };
        let first = task.deadline.is_none();
        // An instant too far to be counted is no deadline, but still a request to end.
        let far = Duration::from_secs(100 * 365 * 24 * 3600);
        let deadline = Instant::now() + grace.min(far);
        task.deadline = Some(task.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        if first && !grace.is_zero() {
            reaper::ask_to_end(task.main());
        }
        self.advance()
    }

    fn withdraw(&mut self, seq: u64) -> Result<(), WorkerGone> {
        match self.queue.iter().position(|(waiting, _)| *waiting == seq) {
            Some(index) => {
                self.queue.remove(index);
                self.answer(&KeeperEvent::Withdrawn { seq })
            }
            None => Ok(()),
        }
    }

    fn answer(&mut self, event: &KeeperEvent) -> Result<(), WorkerGone> {
        codec::encode(&mut self.outbox, event).map_err(|_| WorkerGone)
    }

    /// Sends what the socket takes now.
    fn flush(&mut self) -> Result<(), WorkerGone> {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match send(self.socket.as_raw_fd(), &self.outbox[sent..], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => break,
                Err(_) => return Err(WorkerGone),
            }
        }
        self.outbox.drain(..sent);
        self.sent += sent as u64;
        if self.was_large && self.outbox.is_empty() {
            self.was_large = false;
            self.outbox = Vec::new();
            self.scratch = Vec::new();
            syscalls::trim_heap();
        }
        Ok(())
    }

    /// Reads what the worker has sent and does what it asks.
    fn receive(&mut self) -> Result<(), WorkerGone> {
        self.inbox.reserve(4096);
        match syscalls::read_to_spare(&self.socket, &mut self.inbox) {
            Ok(0) => return Err(WorkerGone),
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(_) => return Err(WorkerGone),
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut taken = 0;
        loop {
            match codec::decode(&inbox[taken..]).map_err(|_| WorkerGone)? {
                Decoded::Message(command, len) => {
                    taken += len;
                    self.handle(command)?;
                }
                Decoded::Needs(needed) => {
                    inbox.drain(..taken);
                    if inbox.is_empty() && inbox.capacity() > OUTBOX_LIMIT {
                        inbox = Vec::new();
                    } else {
                        inbox.reserve(needed.saturating_sub(inbox.len()));
                    }
                    self.inbox = inbox;
                    return Ok(());
                }
            }
        }
    }
}
