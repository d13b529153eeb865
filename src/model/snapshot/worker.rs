//! What the commands show of a worker.

use serde::{Deserialize, Serialize};

use super::extras::WorkerExtras;
use super::wait::WaitReason;
use crate::model::{Amounts, Demand, Needs, Offer, Stocks, Traits, Usage};

/// Whether a worker can be expected to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Beats and takes tasks.
    Live,
    /// Beats and takes nothing new: tasks that failed there have finished elsewhere.
    Suspect,
    /// Beats and takes nothing new.
    Draining,
    /// Was drained: what it ran has ended, and it takes nothing until it is resumed, or no worker of that name runs.
    Drained,
    /// No heartbeat for a while, not yet declared dead.
    Silent,
    /// Declared dead; its tasks are being taken over. Of a Python worker: silent for a minute, and an operator has to take its tasks over.
    Dead,
    /// Known by its `worker_status` alone: a Python worker that has reported of late.
    Python,
}

impl WorkerState {
    /// For tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Silent => "silent",
            Self::Dead => "dead",
            Self::Python => "python",
        }
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Whether it can be expected to act.
    pub state: WorkerState,
    /// Seconds since the last heartbeat; `None` when there is none.
    pub heartbeat_age_seconds: Option<u64>,
    /// How much of its node is in use.
    #[serde(flatten)]
    pub usage: Usage,
    /// Whether it is a Python worker, dead or alive: known by its `worker_status` alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_python: bool,
    /// Attempts it finished since the queue began; of a Python worker, the tasks in `finished_tasks` that it ran.
    pub finished: u64,
    /// Whether `finished` was estimated from a part of `finished_tasks`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_estimate: bool,
    /// Attempts that failed on it.
    pub failed: u64,
    /// Attempts it gave back.
    pub returned: u64,
    /// Attempts that timed out on it, counted in `failed` too.
    pub timed_out: u64,
    /// What it said of itself at its last heartbeat; `None` for a Python worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<WorkerLoad>,
    /// What it has beside memory and cores.
    #[serde(flatten)]
    pub extras: WorkerExtras,
    /// Its host and version; `None` for a Python worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<WorkerProcess>,
}

/// A Python worker that has not reported for this long is taken to be dead: it does so every few seconds.
pub const PYTHON_DEAD_AFTER_SECONDS: u64 = 60;

impl WorkerView {
    /// Whether it can take tasks now.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        match self.state {
            WorkerState::Live | WorkerState::Python => true,
            WorkerState::Suspect
            | WorkerState::Draining
            | WorkerState::Drained
            | WorkerState::Silent
            | WorkerState::Dead => false,
        }
    }

    /// Whether it reports. What one that does not has said last need not be true any more.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.state {
            WorkerState::Live | WorkerState::Suspect | WorkerState::Draining | WorkerState::Python => true,
            // Of one that has gone, only the order of its name is left.
            WorkerState::Drained => self.heartbeat_age_seconds.is_some(),
            WorkerState::Silent | WorkerState::Dead => false,
        }
    }

    /// What it says of itself, while it reports.
    #[must_use]
    pub fn present_load(&self) -> Option<&WorkerLoad> {
        self.load.as_ref().filter(|_| self.is_alive())
    }

    /// Whether its node could run a task that asks for this if it ran nothing else.
    #[must_use]
    pub fn could_hold(&self, demand: &Demand) -> bool {
        self.offer().map_or_else(|| self.usage.could_hold(demand), |offer| offer.holds(demand))
    }

    /// What its node has beside memory and cores; `None` of one that takes no task with needs, or does not tell.
    #[must_use]
    pub fn traits(&self) -> Option<&Traits> {
        self.extras.traits.as_ref()
    }

    /// Whether its node could run a task that asks for this, at this second, if it ran nothing else.
    #[must_use]
    pub fn could_run(&self, demand: &Demand, needs: &Needs, now: u64) -> bool {
        let suits = !needs.is_extended() || self.traits().is_some_and(|traits| traits.suits(needs, now).is_ok());
        suits && self.could_hold(demand)
    }

    fn offer(&self) -> Option<Offer> {
        self.load.as_ref()?.offer.map(|amounts| Offer { amounts })
    }

    /// The most that one task could have here.
    #[must_use]
    pub fn most(&self) -> Amounts {
        self.offer().map_or(self.usage.total, |offer| offer.amounts)
    }
}

/// What a worker says of itself at each heartbeat, kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// Tasks running.
    pub running: u32,
    /// How many tasks it may run at once.
    pub slots: u32,
    /// Tasks claimed and not started.
    #[serde(default)]
    pub held: u32,
    /// Why it takes nothing now, where it does not, in its own words: for builds that do not know the code of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Why it takes nothing now; `None` while it takes tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::wait::lenient")]
    pub wait: Option<WaitReason>,
    /// What is left there for another task; `None` while it takes nothing, and of a worker that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Amounts>,
    /// The most that its node could give to one task, other programs and thresholds considered; `None` where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Amounts>,
    /// What its node has beside memory and cores; `None` of a worker that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::model::traits::as_text")]
    pub traits: Option<Traits>,
    /// What of its named resources no task has; `None` of a worker that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::model::traits::as_text")]
    pub free: Option<Stocks>,
    /// The task it keeps room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<String>,
    /// Results refused because the claim was lost.
    #[serde(default)]
    pub fenced: u64,
    /// Reconnects to Redis.
    #[serde(default)]
    pub reconnects: u64,
    /// Seconds that a task took there on average; `None` before the first ended, and of a worker that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_seconds: Option<f64>,
    /// Tasks that have run for a while, longest first; of many, the first [`WorkerLoad::TASKS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<RunningTask>,
}

impl WorkerLoad {
    /// Running tasks that a heartbeat names at most.
    pub const TASKS: usize = 64;

    /// A load as its worker wrote it; `None` for what is none. A code of a later build spoils nothing, and the sentence of an earlier one is kept.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let mut load: Self = serde_json::from_str(json).ok()?;
        load.wait = load.wait.or_else(|| load.waiting.as_deref().map(WaitReason::of_sentence));
        Some(load)
    }
}

/// A task that runs, as its worker saw it at its last heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningTask {
    /// Its id.
    pub id: String,
    /// The first 200 characters of its line.
    pub line: String,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Seconds it had run by then.
    pub seconds: u64,
    /// Its limit in seconds; 0 = none.
    pub limit: u64,
    /// Memory that its tree held, bytes; 0 before the first look.
    pub mem_bytes: u64,
}

/// The process of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProcess {
    /// Its host.
    pub host: String,
    /// Process id there.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Start, seconds since the epoch.
    pub since: u64,
    /// Which layers of containment are on.
    pub containment: String,
    /// Seconds of silence after which it counts as dead, as it was configured when it started; `None` of an earlier build.
    #[serde(default, skip_serializing)]
    pub dead_after_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (Option<WaitReason>, Option<String>) {
        let load = WorkerLoad::parse(json).expect("a load");
        (load.wait, load.waiting)
    }

    #[test]
    fn a_load_is_read_as_it_was_written() {
        let load =
            WorkerLoad { wait: Some(WaitReason::Slots), waiting: Some("why".to_owned()), ..WorkerLoad::default() };
        assert_eq!(WorkerLoad::parse(&serde_json::to_string(&load).expect("JSON")), Some(load));
    }

    #[test]
    fn the_sentence_of_an_earlier_build_is_kept() {
        let of = |sentence: &str| read(&format!(r#"{{"running":1,"slots":4,"waiting":"{sentence}"}}"#));
        assert_eq!(of("the queue is paused").0, Some(WaitReason::Paused));
        assert_eq!(of("drained: distcomp-ctl resume --worker lifts it").0, Some(WaitReason::Drained));
        let other = (Some(WaitReason::Unknown), Some("every slot is taken".to_owned()));
        assert_eq!(of("every slot is taken"), other);
        assert_eq!(read(r#"{"running":1,"slots":4}"#), (None, None));
    }

    #[test]
    fn a_code_of_a_later_build_spoils_nothing() {
        for wait in [r#"{"code":"gate","at":5}"#, r#"{"code":"threshold","resource":"gpus","free":0,"least":1}"#, "7"] {
            let json = format!(r#"{{"running":1,"slots":4,"waiting":"the gate is shut","wait":{wait}}}"#);
            assert_eq!(read(&json), (Some(WaitReason::Unknown), Some("the gate is shut".to_owned())), "{wait}");
        }
    }
}
