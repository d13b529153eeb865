//! What happens to a worker and what it does about it: the two lists that the dispatcher stands between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::Config;
use crate::model::meters::WorkerFigures;
use crate::model::{Bytes, Class, NodeSample, TaskLine, Upstream};
use crate::process::Ended;
pub use crate::process::TaskKey;
use crate::queue::follow::OutputRequest;
use crate::queue::session::{Claim, ClaimReply, ClaimRequest, Heartbeat, HeartbeatReply, Reasserted, Settle, Settled};
use crate::sys::{random, wall_clock};
use crate::worker::placed::Placed;

/// Names one slot of this worker, from 0 on. The dispatcher gives the lowest that was not used before, and those that have become idle again.
pub type SlotId = usize;

/// What the dispatcher does not look up by itself: it is given it with each event.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that intervals are measured with.
    pub now: Instant,
    /// By the clock of the wall, milliseconds since the epoch: for records.
    pub unix_ms: u64,
    /// A random number from 0 to 1, to spread what many would do at one moment.
    pub jitter: f64,
}

impl Moment {
    /// The present one.
    #[must_use]
    pub fn present() -> Self {
        Self { now: Instant::now(), unix_ms: wall_clock::unix_ms(), jitter: random::fraction() }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The sampler looked at the node.
    Sampled(Sample),
    /// A claim was answered.
    Claimed(ClaimReply),
    /// A claim was not answered, or refused; what it took, if anything, is found by the next comparison of claims.
    ClaimFailed {
        /// Redis is there and refuses.
        is_refused: bool,
    },
    /// Redis is there and refuses to take outcomes.
    ReportRefused,
    /// The time of the worker is over soon.
    Expiring {
        /// How long what runs has until it is terminated.
        left: Duration,
    },
    /// A task's process runs.
    Started {
        /// The task whose process runs.
        key: TaskKey,
        /// The keeper it runs under: the root of its tree.
        keeper: u32,
    },
    /// A task that waited in a keeper, or was on its way there, will not start there.
    Recalled {
        /// The task, which the worker may start elsewhere or give back.
        key: TaskKey,
    },
    /// A task could not be started.
    SpawnFailed {
        /// The task, of which nothing runs.
        key: TaskKey,
        /// What the operating system said.
        error: String,
        /// Whether the node was out of processes, descriptors or memory, so that it is not the task's fault.
        is_node_fault: bool,
    },
    /// A task was not started, because somebody else has one of its devices.
    DeviceBusy {
        /// The task, of which nothing runs.
        key: TaskKey,
        /// Name of the resource.
        resource: String,
        /// Name of the device.
        device: String,
    },
    /// A task's process ended and nothing of its tree is left.
    Ended {
        /// The task that ended.
        key: TaskKey,
        /// Exit code or signal, times, output and use of memory.
        ended: Box<Ended>,
    },
    /// The keeper of a task died; its tree was killed.
    KeeperLost {
        /// The task that this keeper had, or was to have.
        key: TaskKey,
        /// It had been handed to the keeper, and may be what killed it, whether its start was heard of or not.
        had_it: bool,
    },
    /// A task has reached its limit.
    Overdue(TaskKey),
    /// The reporter settled claims.
    Settled(Vec<(TaskKey, Settled)>),
    /// The next heartbeat is due.
    HeartbeatDue(oneshot::Sender<Heartbeat>),
    /// A heartbeat was answered.
    HeartbeatAnswered(HeartbeatReply),
    /// There may be something new in the queue.
    Woken,
    /// Somebody wants to see what a task prints.
    OutputWanted(OutputRequest),
    /// A moment that the dispatcher asked to be woken at has come.
    Tick,
    /// SIGTERM, SIGINT, or SIGHUP on a terminal.
    Terminate,
    /// The configuration changed.
    Reconfigured(Arc<Config>),
    /// The machine was asleep for so long, which clocks of [`std::time::Instant`] do not count and leases do.
    Slept(Duration),
    /// The connection to Redis is gone.
    LinkDown,
    /// The link wants to know what to reassert.
    Inventory(oneshot::Sender<Inventory>),
    /// What became of what was reasserted, and claims that Redis holds in our name and we do not know.
    Reasserted {
        /// By key.
        known: Vec<(TaskKey, Reasserted)>,
        /// Claims whose answer was lost.
        unknown: Vec<Claim>,
    },
    /// The connection to Redis works again.
    LinkUp,
    /// Somebody wants to see the worker's figures, or whether it answers at all.
    FiguresDue(oneshot::Sender<WorkerFigures>),
}

/// Every claim of the worker.
#[derive(Debug, Default)]
pub struct Inventory {
    /// What is held, starting, running or being ended.
    pub all: Vec<(TaskKey, Claim, Class)>,
    /// Lines that are being settled.
    pub settling: HashSet<Arc<str>>,
}

/// What the sampler saw.
#[derive(Debug, Default)]
pub struct Sample {
    /// The node.
    pub node: NodeSample,
    /// Memory of the tree below each keeper.
    pub touched: HashMap<u32, Bytes>,
    /// How much of each device is held on this node, by resource and device, in thousandths.
    pub devices: Vec<(Arc<str>, Arc<str>, u64)>,
}

/// What a task is told of its attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The batch or step of the task.
    pub batch: Option<Arc<str>>,
    /// How what it waited for has ended.
    pub upstream: Option<Upstream>,
}

impl Attempt {
    /// Of a claim.
    #[must_use]
    pub fn of(claim: &Claim) -> Self {
        Self { number: claim.attempt, batch: claim.batch.clone(), upstream: claim.upstream }
    }
}

/// Something to do.
#[derive(Debug)]
pub enum Action {
    /// Ask Redis for tasks.
    Claim(ClaimRequest),
    /// Hand a task to a slot, to start when all that was handed to it before has ended.
    Start {
        /// The slot, idle or not.
        slot: SlotId,
        /// The claim under which it runs; later events name it.
        key: TaskKey,
        /// The command, its limit and what it asks for.
        task: TaskLine,
        /// Which attempt it is.
        attempt: Attempt,
        /// Not after this moment: it may be another's by then.
        before: Instant,
        /// What it has besides.
        placed: Placed,
    },
    /// Move a task to other cores.
    Move {
        /// Its slot.
        slot: SlotId,
        /// The task, which may not have started yet.
        key: TaskKey,
        /// The cores by number.
        cores: Vec<usize>,
    },
    /// Take a task back from the slot it waits in, unless it has started.
    Recall {
        /// Its slot.
        slot: SlotId,
        /// The task.
        key: TaskKey,
    },
    /// SIGTERM to the tree, SIGKILL after the configured grace. A task that has not started is recalled.
    Terminate {
        /// Its slot.
        slot: SlotId,
        /// The task.
        key: TaskKey,
    },
    /// SIGKILL to the tree. A task that has not started is recalled.
    Kill {
        /// Its slot.
        slot: SlotId,
        /// The task.
        key: TaskKey,
    },
    /// Watch a task's limit, in seconds from its start, which is now.
    Arm {
        /// The task that has started.
        key: TaskKey,
        /// Seconds of run time, not 0.
        limit: u64,
    },
    /// Stop watching it.
    Disarm(TaskKey),
    /// Tell Redis what became of a claim.
    Settle(TaskKey, Box<Settle>),
    /// Show somebody what a running task prints.
    ShowOutput {
        /// Its slot.
        slot: SlotId,
        /// The running task that is asked about.
        key: TaskKey,
        /// To whom, and from where on.
        request: OutputRequest,
    },
    /// Send a heartbeat now, not at the next interval.
    Heartbeat,
    /// Nothing is left to do: go.
    Exit {
        /// For how long Redis had been of no use, where that is why it goes.
        given_up: Option<Duration>,
    },
}
