//! What a slot knows of its keeper: what runs, what waits behind it, until when it must answer, and who follows what it prints. It decides; the runner
//! does.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::events::TaskKey;
use super::slot_protocol::{Said, SlotCommand};
use crate::process::{KeeperEvent, STALL_TOLERANCE};

/// A keeper that was told to start its task has this long, and to end it this long beyond the grace: it needs five seconds at most, unless its
/// task has stopped it.
const PATIENCE: Duration = Duration::from_secs(10);

/// To give back what waits there it has longer: its task may be well, and a slow disk may be what holds it while it stores that task's output.
const RETURN_PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Default)]
pub(super) struct SlotState {
    /// What runs, and what waits behind it.
    mine: Vec<TaskKey>,
    /// The one of them that is known to have started: it is not given back any more, and asking for it gets no answer.
    started: Option<TaskKey>,
    /// When a keeper that has yet to start its task, or to end it, is taken for deaf.
    patience: Option<Instant>,
    /// Whether the first task was told to end.
    is_ending: bool,
    /// What it was told to give back, and has neither given back nor started.
    asked_back: Vec<TaskKey>,
    /// When a keeper that has yet to give something back is taken for deaf.
    returns_by: Option<Instant>,
    /// Who asked what a task has printed, in the order of the answers.
    asked: VecDeque<(TaskKey, mpsc::UnboundedSender<Said>)>,
    /// Who is to hear of a task's end. Empty while nobody follows a task of this slot.
    followers: Vec<(TaskKey, mpsc::UnboundedSender<Said>)>,
}

impl SlotState {
    /// Notes a command before the keeper gets it; false when it is answered here and the keeper need not hear of it.
    pub(super) fn note_command(&mut self, now: Instant, command: &SlotCommand) -> bool {
        match command {
            SlotCommand::Start(key, ..) => {
                if self.mine.is_empty() {
                    (self.patience, self.is_ending) = (Some(now + PATIENCE), false);
                }
                self.mine.push(*key);
            }
            SlotCommand::Terminate(key, grace) if self.is_first(*key) => self.hurry(now, *grace),
            SlotCommand::Kill(key) if self.is_first(*key) => self.hurry(now, Duration::ZERO),
            SlotCommand::Show { key, to, .. } => {
                if self.mine.first() != Some(key) {
                    let _ = to.send(Said::Gone);
                    return false;
                }
                if !self.followers.iter().any(|(_, follower)| follower.same_channel(to)) {
                    self.followers.push((*key, to.clone()));
                }
                self.asked.push_back((*key, to.clone()));
            }
            // What waits behind the first is let go of at once.
            SlotCommand::Terminate(key, _) | SlotCommand::Kill(key) | SlotCommand::Withdraw(key) => {
                if self.mine.contains(key) && self.started != Some(*key) && !self.asked_back.contains(key) {
                    self.asked_back.push(*key);
                    self.returns_by.get_or_insert(now + RETURN_PATIENCE);
                }
            }
        }
        true
    }

    /// Notes what the keeper said, and passes to followers what is theirs; answers what the dispatcher is to hear.
    pub(super) fn note_event(&mut self, now: Instant, event: KeeperEvent) -> Option<KeeperEvent> {
        if let KeeperEvent::Output(output) = event {
            if let Some((_, to)) = self.asked.pop_front() {
                let _ = to.send(Said::Output(output));
            }
            return None;
        }
        if let KeeperEvent::Ended(ended) = &event
            && !self.followers.is_empty()
        {
            self.followers.retain(|(key, to)| {
                let is_over = *key == ended.seq;
                if is_over {
                    let _ = to.send(Said::Ended(ended.clone()));
                }
                !is_over && !to.is_closed()
            });
        }
        if let KeeperEvent::Started { seq, .. } = &event {
            self.started = Some(*seq);
            self.heard_of(*seq);
        }
        let over = over(&event);
        if let Some(key) = over {
            self.heard_of(key);
        }
        match over {
            Some(key) if self.mine.first() == Some(&key) => {
                self.mine.remove(0);
                // The next one starts at once.
                (self.patience, self.is_ending) = ((!self.mine.is_empty()).then(|| now + PATIENCE), false);
            }
            Some(key) => self.mine.retain(|waiting| *waiting != key),
            None if !self.is_ending => self.patience = None,
            None => {}
        }
        Some(event)
    }

    /// Something was heard of a task: if it was to be given back, it has been, or it was too late for that.
    fn heard_of(&mut self, key: TaskKey) {
        self.asked_back.retain(|asked| *asked != key);
        if self.asked_back.is_empty() {
            self.returns_by = None;
        }
    }

    /// When the keeper is taken for deaf; `None` while a task may run as long as it likes and nothing is to be given back, and while there is none.
    pub(super) fn deaf_at(&self) -> Option<Instant> {
        let until = [self.patience, self.returns_by].into_iter().flatten().min();
        until.filter(|_| !self.mine.is_empty())
    }

    /// Whether the keeper is given its time once more, because the worker itself has stood still until now.
    pub(super) fn forgives(&mut self, now: Instant) -> bool {
        let stood_still = self.deaf_at().is_some_and(|until| now > until + STALL_TOLERANCE);
        if stood_still {
            self.patience = self.patience.map(|_| now + PATIENCE);
            self.returns_by = self.returns_by.map(|_| now + RETURN_PATIENCE);
        }
        stood_still
    }

    /// The tasks it had: what ran, then what waited.
    pub(super) fn into_tasks(self) -> Vec<TaskKey> {
        self.mine
    }

    fn is_first(&self, key: TaskKey) -> bool {
        self.mine.first().is_none_or(|first| *first == key)
    }

    fn hurry(&mut self, now: Instant, grace: Duration) {
        self.patience = Some(until(now, grace, self.patience.filter(|_| self.is_ending)));
        self.is_ending = true;
    }
}

/// When a keeper that is to end its task is taken for deaf; a second request may shorten that, never lengthen it.
fn until(now: Instant, grace: Duration, earlier: Option<Instant>) -> Instant {
    let until = now + grace.min(Duration::from_secs(365 * 24 * 3600)) + PATIENCE;
    earlier.map_or(until, |earlier| earlier.min(until))
}

/// The run that this is the last of.
pub(super) fn over(event: &KeeperEvent) -> Option<TaskKey> {
    match event {
        KeeperEvent::Started { .. } | KeeperEvent::Output(_) | KeeperEvent::SetupFailed { .. } => None,
        KeeperEvent::Ended(ended) => Some(ended.seq),
        KeeperEvent::SpawnFailed { seq, .. } | KeeperEvent::Withdrawn { seq } => Some(*seq),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::process::RunSpec;

    fn start(key: TaskKey) -> SlotCommand {
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
        };
        SlotCommand::Start(key, Box::new(spec), Instant::now())
    }

    fn started(key: TaskKey) -> KeeperEvent {
        KeeperEvent::Started { seq: key, pid: 1, at_ms: 0 }
    }

    fn failed(key: TaskKey) -> KeeperEvent {
        KeeperEvent::SpawnFailed { seq: key, error: String::new(), is_transient: false }
    }

    fn running() -> (SlotState, Instant) {
        let (mut slot, now) = (SlotState::default(), Instant::now());
        assert!(slot.note_command(now, &start(1)));
        assert_eq!(slot.deaf_at(), Some(now + PATIENCE), "it must start");
        assert!(slot.note_event(now, started(1)).is_some());
        assert_eq!(slot.deaf_at(), None, "a task may run as long as it likes");
        (slot, now)
    }

    #[test]
    fn a_keeper_is_not_deaf_when_the_worker_itself_stood_still() {
        let (mut slot, now) = (SlotState::default(), Instant::now());
        slot.note_command(now, &start(1));
        assert!(!slot.forgives(now + PATIENCE), "the timer is on time");
        let thaw = now + 2 * PATIENCE;
        assert!(slot.forgives(thaw));
        assert_eq!(slot.deaf_at(), Some(thaw + PATIENCE));
        assert!(!slot.forgives(thaw + PATIENCE), "once");
    }

    #[test]
    fn keeper_must_end_a_task_in_time_despite_repeated_requests() {
        let (mut slot, now) = running();
        let grace = Duration::from_secs(5);
        slot.note_command(now, &SlotCommand::Terminate(1, grace));
        assert_eq!(slot.deaf_at(), Some(now + grace + PATIENCE));
        let later = now + Duration::from_secs(1);
        slot.note_command(later, &SlotCommand::Terminate(1, grace));
        assert_eq!(slot.deaf_at(), Some(now + grace + PATIENCE), "the first request counts");
        slot.note_command(later, &SlotCommand::Kill(1));
        assert_eq!(slot.deaf_at(), Some(later + PATIENCE), "a kill leaves it less");
    }

    #[test]
    fn what_waits_behind_the_first_is_due_only_when_its_turn_comes() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        assert_eq!(slot.deaf_at(), None);
        let later = now + Duration::from_secs(60);
        assert!(slot.note_event(later, failed(1)).is_some());
        assert_eq!(slot.deaf_at(), Some(later + PATIENCE), "the next one starts at once");
        assert_eq!(slot.into_tasks(), [2]);
    }

    #[test]
    fn keeper_must_return_a_recalled_task_or_have_started_it() {
        for answer in [Some(KeeperEvent::Withdrawn { seq: 2 }), Some(failed(1)), None] {
            let (mut slot, now) = running();
            slot.note_command(now, &start(2));
            slot.note_command(now, &start(3));
            slot.note_command(now, &SlotCommand::Withdraw(2));
            let later = now + Duration::from_secs(1);
            slot.note_command(later, &SlotCommand::Terminate(3, Duration::ZERO));
            assert_eq!(slot.deaf_at(), Some(now + RETURN_PATIENCE), "the first request counts");
            slot.note_event(later, KeeperEvent::Withdrawn { seq: 3 });
            assert_eq!(slot.deaf_at(), Some(now + RETURN_PATIENCE), "the other is owed still");
            let starts = matches!(answer, Some(KeeperEvent::SpawnFailed { .. }));
            if let Some(event) = answer {
                slot.note_event(later, event);
                if starts {
                    slot.note_event(later, started(2));
                }
                assert_eq!(slot.deaf_at(), None);
            }
        }
    }

    #[test]
    fn recalled_task_that_has_started_may_run_on() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        slot.note_event(now, failed(1));
        slot.note_event(now, started(2));
        // Sent before its start was heard of.
        slot.note_command(now, &SlotCommand::Withdraw(2));
        assert_eq!(slot.deaf_at(), None, "the keeper has nothing to say to that");
    }

    #[test]
    fn who_asks_for_the_output_of_what_does_not_run_is_told_so() {
        let (mut slot, now) = running();
        slot.note_command(now, &start(2));
        let (to, mut said) = mpsc::unbounded_channel();
        let show = |key| SlotCommand::Show { key, stdout_from: None, stderr_from: None, to: to.clone() };
        assert!(slot.note_command(now, &show(1)), "the keeper is asked");
        assert!(said.try_recv().is_err());
        assert!(!slot.note_command(now, &show(2)), "the keeper is not asked");
        assert!(matches!(said.try_recv(), Ok(Said::Gone)));
    }
}
