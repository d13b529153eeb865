//! What a slot has told its keeper and what the keeper owes: until when it must answer, which tasks it would take along if it died, and who views the
//! output of its task. The order of tasks is the dispatcher's: here it is only written down in which order they were sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::process::{Ended, KeeperCommand, KeeperEvent, Output, STALL_TOLERANCE};
use crate::worker::events::TaskKey;

/// A message to a slot.
#[derive(Debug)]
pub enum SlotMessage {
    /// For the keeper.
    Keeper(KeeperCommand),
    /// Ask the keeper what a task has printed from these positions on, and say how the task ends.
    Show {
        /// The task; one that does not run in this slot is answered with [`OutputReply::Gone`].
        key: TaskKey,
        /// Position in stdout; `None`: the end of it.
        stdout_from: Option<u64>,
        /// Position in stderr; `None`: the end of it.
        stderr_from: Option<u64>,
        /// Where the replies go.
        to: mpsc::UnboundedSender<OutputReply>,
    },
}

/// A reply to somebody who views the output of a task.
#[derive(Debug)]
pub enum OutputReply {
    /// What the task has printed.
    Output(Box<Output>),
    /// The task has ended, with all that it printed. Nothing follows.
    Ended(Box<Ended>),
    /// The task does not run here.
    Gone,
}

/// A keeper that was told to start its task has this long, and to end it this long beyond the grace: it needs five seconds at most, unless its
/// task has stopped it.
const PATIENCE: Duration = Duration::from_secs(10);

/// To give back what waits there it has longer: its task may be well, and a slow disk may be what holds it while it stores that task's output.
const RETURN_PATIENCE: Duration = Duration::from_secs(30);

/// The messages that a keeper has had and has yet to answer.
#[derive(Default)]
pub(super) struct SlotProtocol {
    /// Sent to the keeper and not over, in the order in which they were sent: what runs, and what waits behind it.
    sent: Vec<TaskKey>,
    /// The one of them that is known to have started: it is not given back any more, and asking for it gets no answer.
    started: Option<TaskKey>,
    /// When a keeper that has yet to start its task, or to end it, is killed for not answering.
    patience: Option<Instant>,
    /// Whether the first task was told to end.
    is_ending: bool,
    /// What it was told to give back, and has neither given back nor started.
    recalled: Vec<TaskKey>,
    /// When a keeper that has yet to give something back is killed for not answering.
    returns_by: Option<Instant>,
    /// Who asked what a task has printed, in the order of the answers.
    asked: VecDeque<mpsc::UnboundedSender<OutputReply>>,
    /// Who is to hear of a task's end. Empty while nobody views the output of a task of this slot.
    viewers: Vec<(TaskKey, mpsc::UnboundedSender<OutputReply>)>,
}

impl SlotProtocol {
    /// Notes a command that the keeper is about to get.
    pub(super) fn note_command(&mut self, now: Instant, command: &KeeperCommand) {
        match command {
            KeeperCommand::Run { key, .. } => {
                if self.sent.is_empty() {
                    (self.patience, self.is_ending) = (Some(now + PATIENCE), false);
                }
                self.sent.push(*key);
            }
            KeeperCommand::Terminate { key, grace_ms } if self.is_first(*key) => {
                self.hurry(now, Duration::from_millis(*grace_ms));
            }
            KeeperCommand::Kill { key } if self.is_first(*key) => self.hurry(now, Duration::ZERO),
            // What waits behind the first is let go of at once.
            KeeperCommand::Terminate { key, .. } | KeeperCommand::Kill { key } | KeeperCommand::Recall { key } => {
                if self.sent.contains(key) && self.started != Some(*key) && !self.recalled.contains(key) {
                    self.recalled.push(*key);
                    self.returns_by.get_or_insert(now + RETURN_PATIENCE);
                }
            }
            KeeperCommand::Group(_) | KeeperCommand::Show { .. } | KeeperCommand::Cores { .. } => {}
        }
    }

    /// Notes who views a task's output from now on; false when that task does not run here, which the viewer is told.
    pub(super) fn note_viewer(&mut self, key: TaskKey, to: &mpsc::UnboundedSender<OutputReply>) -> bool {
        if self.sent.first() != Some(&key) {
            let _ = to.send(OutputReply::Gone);
            return false;
        }
        if !self.viewers.iter().any(|(_, viewer)| viewer.same_channel(to)) {
            self.viewers.push((key, to.clone()));
        }
        self.asked.push_back(to.clone());
        true
    }

    /// Notes what the keeper said, and passes to viewers what is theirs; answers what the dispatcher is to hear.
    pub(super) fn note_event(&mut self, now: Instant, event: KeeperEvent) -> Option<KeeperEvent> {
        if let KeeperEvent::Output(output) = event {
            if let Some(to) = self.asked.pop_front() {
                let _ = to.send(OutputReply::Output(output));
            }
            return None;
        }
        if let KeeperEvent::Ended(ended) = &event
            && !self.viewers.is_empty()
        {
            self.viewers.retain(|(key, to)| {
                let is_over = *key == ended.key;
                if is_over {
                    let _ = to.send(OutputReply::Ended(ended.clone()));
                }
                !is_over && !to.is_closed()
            });
        }
        if let KeeperEvent::Started { key, .. } = &event {
            self.started = Some(*key);
            self.heard_of(*key);
        }
        let over = over(&event);
        if let Some(key) = over {
            self.heard_of(key);
        }
        match over {
            Some(key) if self.sent.first() == Some(&key) => {
                self.sent.remove(0);
                // The next one starts at once.
                (self.patience, self.is_ending) = ((!self.sent.is_empty()).then(|| now + PATIENCE), false);
            }
            Some(key) => self.sent.retain(|waiting| *waiting != key),
            None if !self.is_ending => self.patience = None,
            None => {}
        }
        Some(event)
    }

    /// Something was heard of a task: if it was to be given back, it has been, or it was too late for that.
    fn heard_of(&mut self, key: TaskKey) {
        self.recalled.retain(|recalled| *recalled != key);
        if self.recalled.is_empty() {
            self.returns_by = None;
        }
    }

    /// By when the keeper must have said something; `None` while a task may run as long as it likes and nothing is to be given back, and while there
    /// is none.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        let until = [self.patience, self.returns_by].into_iter().flatten().min();
        until.filter(|_| !self.sent.is_empty())
    }

    /// Whether the keeper is given its time once more, because the worker itself has stood still until now.
    pub(super) fn extends(&mut self, now: Instant) -> bool {
        let stood_still = self.answer_due().is_some_and(|until| now > until + STALL_TOLERANCE);
        if stood_still {
            self.patience = self.patience.map(|_| now + PATIENCE);
            self.returns_by = self.returns_by.map(|_| now + RETURN_PATIENCE);
        }
        stood_still
    }

    /// The tasks that the keeper had: what ran, then what waited.
    pub(super) fn into_tasks(self) -> Vec<TaskKey> {
        self.sent
    }

    fn is_first(&self, key: TaskKey) -> bool {
        self.sent.first().is_none_or(|first| *first == key)
    }

    fn hurry(&mut self, now: Instant, grace: Duration) {
        self.patience = Some(until(now, grace, self.patience.filter(|_| self.is_ending)));
        self.is_ending = true;
    }
}

/// When a keeper that is to end its task is killed for not answering; a second request may shorten that, never lengthen it.
fn until(now: Instant, grace: Duration, earlier: Option<Instant>) -> Instant {
    let until = now + grace.min(Duration::from_secs(365 * 24 * 3600)) + PATIENCE;
    earlier.map_or(until, |earlier| earlier.min(until))
}

/// The run that this is the last of.
pub(super) fn over(event: &KeeperEvent) -> Option<TaskKey> {
    match event {
        KeeperEvent::Started { .. } | KeeperEvent::Output(_) | KeeperEvent::SetupFailed { .. } => None,
        KeeperEvent::Ended(ended) => Some(ended.key),
        KeeperEvent::SpawnFailed { key, .. } | KeeperEvent::DeviceBusy { key, .. } | KeeperEvent::Recalled { key } => {
            Some(*key)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::process::RunSpec;

    fn start(key: TaskKey) -> KeeperCommand {
        let spec = RunSpec {
            program: "/bin/true".into(),
            args: Vec::new(),
            env: Vec::new(),
            max_inline: 0,
            head_keep: 0,
            tail_keep: 0,
            stderr_tail_keep: 0,
            overflow_path: PathBuf::new(),
            result_dir: None,
            memory_limit: 0,
            process_limit: 0,
            start_by_ms: 0,
            ..RunSpec::default()
        };
        KeeperCommand::Run { key, spec: Box::new(spec) }
    }

    fn started(key: TaskKey) -> KeeperEvent {
        KeeperEvent::Started { key, pid: 1, at_ms: 0 }
    }

    fn failed(key: TaskKey) -> KeeperEvent {
        KeeperEvent::SpawnFailed { key, error: String::new(), is_node_fault: false }
    }

    fn running() -> (SlotProtocol, Instant) {
        let (mut slot, now) = (SlotProtocol::default(), Instant::now());
        slot.note_command(now, &start(1));
        assert_eq!(slot.answer_due(), Some(now + PATIENCE), "it must start");
        assert!(slot.note_event(now, started(1)).is_some());
        assert_eq!(slot.answer_due(), None, "a task may run as long as it likes");
        (slot, now)
    }

    #[test]
    fn keeper_gets_more_time_when_the_worker_stood_still() {
        let (mut slot, now) = (SlotProtocol::default(), Instant::now());
        slot.note_command(now, &start(1));
        assert!(!slot.extends(now + PATIENCE), "the timer is on time");
        let thaw = now + 2 * PATIENCE;
        assert!(slot.extends(thaw));
        assert_eq!(slot.answer_due(), Some(thaw + PATIENCE));
        assert!(!slot.extends(thaw + PATIENCE), "once");
    }

    #[test]
    fn keeper_must_end_its_task_and_a_repeat_gives_no_more_time() {
        let (mut slot, now) = running();
        let grace = Duration::from_secs(5);
        slot.note_command(now, &KeeperCommand::Terminate { key: 1, grace_ms: 5000 });
        assert_eq!(slot.answer_due(), Some(now + grace + PATIENCE));
        let later = now + Duration::from_secs(1);
        slot.note_command(later, &KeeperCommand::Terminate { key: 1, grace_ms: 5000 });
        assert_eq!(slot.answer_due(), Some(now + grace + PATIENCE), "the first request counts");
        slot.note_command(later, &KeeperCommand::Kill { key: 1 });
        assert_eq!(slot.answer_due(), Some(later + PATIENCE), "a kill leaves it less");
    }

    #[test]
    fn waiting_task_is_due_only_when_its_turn_comes() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        assert_eq!(slot.answer_due(), None);
        let later = now + Duration::from_secs(60);
        assert!(slot.note_event(later, failed(1)).is_some());
        assert_eq!(slot.answer_due(), Some(later + PATIENCE), "the next one starts at once");
        assert_eq!(slot.into_tasks(), [2]);
    }

    #[test]
    fn keeper_must_return_or_have_started_a_recalled_task() {
        for answer in [Some(KeeperEvent::Recalled { key: 2 }), Some(failed(1)), None] {
            let (mut slot, now) = running();
            slot.note_command(now, &start(2));
            slot.note_command(now, &start(3));
            slot.note_command(now, &KeeperCommand::Recall { key: 2 });
            let later = now + Duration::from_secs(1);
            slot.note_command(later, &KeeperCommand::Terminate { key: 3, grace_ms: 0 });
            assert_eq!(slot.answer_due(), Some(now + RETURN_PATIENCE), "the first request counts");
            slot.note_event(later, KeeperEvent::Recalled { key: 3 });
            assert_eq!(slot.answer_due(), Some(now + RETURN_PATIENCE), "the other is owed still");
            let starts = matches!(answer, Some(KeeperEvent::SpawnFailed { .. }));
            if let Some(event) = answer {
                slot.note_event(later, event);
                if starts {
                    slot.note_event(later, started(2));
                }
                assert_eq!(slot.answer_due(), None);
            }
        }
    }

    #[test]
    fn task_started_before_its_recall_may_run_on() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        slot.note_event(now, failed(1));
        slot.note_event(now, started(2));
        // Sent before its start was heard of.
        slot.note_command(now, &KeeperCommand::Recall { key: 2 });
        assert_eq!(slot.answer_due(), None, "the keeper has nothing to say to that");
    }

    #[test]
    fn viewer_of_a_task_that_does_not_run_is_told() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        let (to, mut said) = mpsc::unbounded_channel();
        assert!(slot.note_viewer(1, &to), "the keeper is asked");
        assert!(said.try_recv().is_err());
        assert!(!slot.note_viewer(2, &to), "the keeper is not asked");
        assert!(matches!(said.try_recv(), Ok(OutputReply::Gone)));
    }
}
