//! How a batch, or a step of one, stands.

use serde::{Deserialize, Serialize};

use crate::model::units::grouped;
use crate::model::{BatchHold, BatchName, Gate};

/// What goes on in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Nothing was ever added to it.
    Empty,
    /// All that was added has ended, and a submission to it is under way.
    Adding,
    /// Something of it runs.
    Running,
    /// Something of it waits that may run.
    Waiting,
    /// All that is left waits for other batches, or for a time.
    Blocked,
    /// With `--local`: a run of another command line has set aside all that is left.
    Aside,
    /// An operator holds it.
    Paused,
    /// It has stopped, since too many of its tasks failed.
    Stopped,
    /// Its tasks are being counted anew, since others have deleted the counters: nothing else is known meanwhile.
    Counting,
    /// All of it has finished.
    Finished,
    /// It has ended, and not all of it finished.
    Failed,
}

impl BatchState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Adding => "adding",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Aside => "aside",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Counting => "counting",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// Something that a batch waits for, and how that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The batch or step.
    pub name: BatchName,
    /// Its tasks that have not ended.
    pub open: u64,
    /// Its tasks that were given up. Those that were cancelled or are gone are among them where nobody looked for these.
    pub failed: u64,
    /// Its tasks that were cancelled.
    #[serde(default)]
    pub cancelled: u64,
    /// Its tasks that are gone unfinished: purged, or removed by others.
    #[serde(default)]
    pub gone: u64,
    /// All its tasks.
    pub tasks: u64,
    /// Submissions to it that are under way, or were cut short.
    pub submissions: u64,
    /// Whether anything was ever known of it.
    pub is_known: bool,
    /// Whether nobody needs to wait for it.
    pub is_waived: bool,
    /// Why nothing of it starts, where that was looked up.
    #[serde(default)]
    pub held: Option<BatchHold>,
}

/// How a batch or a step stands to what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedState {
    /// All of it has finished, or nobody needs to wait for it.
    Done,
    /// It has ended, and not all of it finished: what waits for all of it to finish is stuck until somebody requeues or releases it.
    Failed,
    /// Something of it is left, or is to come, or nothing is known of it.
    Open,
}

impl Awaited {
    /// How it stands. Every judgement in this program goes by this one.
    #[must_use]
    pub fn state(&self) -> AwaitedState {
        match self {
            Self { is_waived: true, .. } => AwaitedState::Done,
            Self { is_known: true, open: 0, submissions: 0, .. } if self.missed() == 0 => AwaitedState::Done,
            Self { is_known: true, open: 0, submissions: 0, .. } => AwaitedState::Failed,
            Self { .. } => AwaitedState::Open,
        }
    }

    /// Its tasks that have ended without finishing.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.failed.saturating_add(self.cancelled).saturating_add(self.gone)
    }

    /// What became of those, in words: `2 failed, 1 cancelled`; empty where there are none.
    #[must_use]
    pub fn missed_told(&self) -> String {
        let of = [(self.failed, "failed"), (self.cancelled, "cancelled"), (self.gone, "gone")];
        let of = of.iter().filter(|(number, _)| *number > 0);
        of.map(|(number, what)| format!("{} {what}", grouped(u128::from(*number)))).collect::<Vec<_>>().join(", ")
    }

    /// Whether it has ended, and not all of it finished.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state() == AwaitedState::Failed
    }

    /// Whether all of it has finished, or it need not.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state() == AwaitedState::Done
    }

    /// Whether a gate on it is open.
    #[must_use]
    pub fn opens(&self, gate: &Gate) -> bool {
        match (gate, self.state()) {
            (Gate::After(_), AwaitedState::Done) | (Gate::AfterAny(_), AwaitedState::Done | AwaitedState::Failed) => {
                true
            }
            (Gate::After(_), AwaitedState::Failed | AwaitedState::Open)
            | (Gate::AfterAny(_), AwaitedState::Open)
            | (Gate::Begin(_), _) => false,
        }
    }

    /// How it stands while it is not done, in words: `s1 has 40 open`.
    #[must_use]
    pub fn told(&self) -> String {
        let count = |number: u64| grouped(u128::from(number));
        let name = &self.name;
        match self {
            Self { is_known: false, .. } => format!("nothing is known of {name}"),
            Self { open: 0, submissions: 1.., .. } => format!("{name} is being submitted"),
            Self { open: 0, .. } => format!("{name} has {}", self.missed_told()),
            Self { open, .. } if self.missed() == 0 => format!("{name} has {} open", count(*open)),
            Self { open, .. } => format!("{name} has {} open, {}", count(*open), self.missed_told()),
        }
    }
}

/// One batch, or one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchView {
    /// Its name.
    pub name: BatchName,
    /// What goes on.
    pub state: BatchState,
    /// Tasks that it ever had.
    pub tasks: u64,
    /// Tasks that wait or run.
    pub open: u64,
    /// Tasks that have finished.
    pub finished: u64,
    /// Tasks that were given up: out of retries, refused, or gone.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks in progress.
    pub running: u64,
    /// Tasks that wait and may run.
    pub waiting: u64,
    /// Tasks that wait for other batches, or for a time. Of a step they count as waiting, unless it was looked up.
    pub blocked: u64,
    /// With `--local`: tasks that a run of another command line has set aside, so that none of them starts.
    pub aside: u64,
    /// When the first of the blocked tasks that wait for a time may start, in seconds since the epoch; only where it was looked up.
    pub starts_at: Option<u64>,
    /// Submissions to it that are under way, or were cut short.
    pub submissions: u64,
    /// Finished tasks a second over the last minute.
    pub rate_per_second: f64,
    /// Seconds to go at that rate; `None` where that cannot be said.
    pub eta_seconds: Option<u64>,
    /// Why it is held: `paused by ann`, `stopped: 101 failed, --max-fails 100`.
    pub held: Option<BatchHold>,
    /// Who has released what waits for it, so that it need not wait any more.
    pub released: Option<String>,
    /// Who made it, if that was recorded.
    pub by: String,
    /// When, in seconds since the epoch; 0 if that was not recorded.
    pub created: u64,
    /// More failures than this stop it: a number or a percentage.
    pub max_fails: Option<String>,
    /// Whether its tasks are given up when what they wait for fails.
    pub kill_on_invalid_dep: bool,
    /// What its tasks wait for; of a step, only where it was looked up.
    pub after: Vec<Awaited>,
}

/// Some of all batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchList {
    /// Those that are shown: those that have not ended first.
    pub batches: Vec<BatchView>,
    /// How many there are.
    pub known: u64,
}

/// A batch or a step, with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchDetail {
    /// The batch.
    pub batch: BatchView,
    /// Its steps, the first by name.
    pub steps: Vec<BatchView>,
    /// Whether there are more steps.
    pub has_more: bool,
}

impl BatchView {
    /// The part of it that has finished, from 0 to 1; 1 of an empty one. What failed, was given up or was cancelled is not done.
    #[must_use]
    pub fn progress(&self) -> f64 {
        if self.tasks == 0 { 1.0 } else { self.finished as f64 / self.tasks as f64 }
    }

    /// Whether nothing of it is left to run or to come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.open == 0 && self.submissions == 0 && self.state != BatchState::Counting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_ended_well_or_is_waived_is_done() {
        let name: BatchName = "s1".parse().expect("a name");
        let of = |open, failed, submissions, is_known, is_waived| Awaited {
            name: name.clone(),
            open,
            failed,
            cancelled: 0,
            gone: 0,
            tasks: 9,
            submissions,
            is_known,
            is_waived,
            held: None,
        };
        let gates = [Gate::After(name.clone()), Gate::AfterAny(name.clone()), Gate::Begin(1)];
        for (awaited, state, opens) in [
            (of(0, 0, 0, true, false), AwaitedState::Done, [true, true, false]),
            (of(0, 2, 0, true, false), AwaitedState::Failed, [false, true, false]),
            (of(1, 2, 0, true, false), AwaitedState::Open, [false; 3]),
            (of(0, 0, 1, true, false), AwaitedState::Open, [false; 3]),
            (of(0, 2, 1, true, false), AwaitedState::Open, [false; 3]),
            // Counters that vanished open nothing.
            (of(0, 0, 0, false, false), AwaitedState::Open, [false; 3]),
            (of(0, 2, 0, false, false), AwaitedState::Open, [false; 3]),
            (of(5, 2, 1, false, true), AwaitedState::Done, [true, true, false]),
        ] {
            assert_eq!(awaited.state(), state, "{awaited:?}");
            assert_eq!(gates.each_ref().map(|gate| awaited.opens(gate)), opens, "{awaited:?}");
        }
    }

    #[test]
    fn words_for_what_is_waited_for_say_what_is_left() {
        let of = |open, failed, submissions, is_known| {
            let name = "s1".parse().expect("a name");
            let (cancelled, gone) = (failed / 2, failed / 3);
            let (tasks, is_waived, held) = (5000, false, None);
            Awaited { name, open, failed, cancelled, gone, tasks, submissions, is_known, is_waived, held }.told()
        };
        assert_eq!(of(0, 0, 0, false), "nothing is known of s1");
        assert_eq!(of(0, 1, 2, true), "s1 is being submitted");
        assert_eq!(of(0, 1, 0, true), "s1 has 1 failed");
        assert_eq!(of(1000, 0, 1, true), "s1 has 1,000 open");
        assert_eq!(of(1000, 3, 0, true), "s1 has 1,000 open, 3 failed, 1 cancelled, 1 gone");
    }
}
