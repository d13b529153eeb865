//! Asking for tasks: whether a claim is due or under way, what the last answer said of the queue, and what holds the next one back.

use std::time::{Duration, Instant};

use crate::model::Bytes;
use crate::policy::Polling;
use crate::queue::session::{ClaimReply, QueueState};

/// After a fork that failed for want of processes, descriptors or memory: how long nothing new is claimed.
const SPAWN_PAUSE: Duration = Duration::from_secs(2);

/// The state machine of claims: at most one is under way.
#[derive(Debug, Default)]
pub(super) struct Intake {
    polling: Polling,
    under_way: Option<Asked>,
    claims_made: u64,
    /// Woken while a claim was under way: its answer may be older than what there is now.
    woken_since: bool,
    /// Redis knows that this worker has room: the last claim for free slots brought less than was asked for.
    is_listed_idle: bool,
    /// Whether a claim was made since the last settlement.
    has_asked_since: bool,
    last: Option<LastClaim>,
    /// The queue has another field order: its lines are not this worker's to read.
    other_order: bool,
    /// How many tasks speak against this worker, which pauses itself; 0 while it is trusted.
    suspect: u64,
    /// As a suspect it may claim one task now.
    may_try: bool,
    /// Nothing is claimed before a heartbeat has told whether this worker is trusted.
    is_unjudged: bool,
    /// Since when Redis refuses claims.
    refused_since: Option<Instant>,
    pause_until: Option<Instant>,
    /// When a task was last told to start.
    last_start: Option<Instant>,
}

/// A claim that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// How many tasks were asked for, to start at once.
    pub(super) slots: u32,
    /// How many were asked for beyond these.
    pub(super) prefetch: u32,
    /// When the claim was sent.
    pub(super) since: Instant,
}

/// What the last claim's answer said of the queue.
#[derive(Clone, Debug)]
struct LastClaim {
    waiting: u64,
    indexed: u64,
    has_leftovers: bool,
    reserved: Option<(String, Option<Bytes>)>,
    state: QueueState,
    got: usize,
}

impl Intake {
    /// There may be something new in the queue.
    pub(super) fn woken(&mut self) {
        self.woken_since = true;
        self.is_listed_idle = false;
        self.polling.wake();
    }

    /// Room or a task may be there: the next claim is due at once.
    pub(super) fn hurry(&mut self) {
        self.polling.wake();
    }

    /// A slot is free. One that Redis does not know to have room is not woken when something comes: it asks by itself.
    pub(super) fn task_ended(&mut self) {
        if !self.is_listed_idle || self.waiting().is_some_and(|waiting| waiting > 0) {
            self.polling.wake();
        }
    }

    /// What was settled may have put something back: a burst asks once more before it is over.
    pub(super) fn settled(&mut self) {
        self.has_asked_since = false;
    }

    /// An order to take nothing more: the pace of asking begins anew when it is lifted.
    pub(super) fn finish(&mut self) {
        self.polling = Polling::default();
    }

    /// Takes tasks again, and knows nothing of the queue.
    pub(super) fn resume(&mut self) {
        self.last = None;
        self.polling = Polling::default();
        self.polling.wake();
    }

    /// The connection works again: what was asked before is answered no more.
    pub(super) fn relinked(&mut self) {
        self.under_way = None;
        self.is_listed_idle = false;
        self.polling.wake();
    }

    /// A claim is made: the number of it.
    pub(super) fn asked(&mut self, now: Instant, slots: u32, prefetch: u32) -> u64 {
        self.claims_made += 1;
        self.under_way = Some(Asked { slots, prefetch, since: now });
        self.woken_since = false;
        self.has_asked_since = true;
        self.claims_made
    }

    /// A claim was answered; what was asked. `fixed` is the interval between claims where it is not adapted.
    pub(super) fn answered(&mut self, now: Instant, reply: &ClaimReply, fixed: Option<Duration>) -> Option<Asked> {
        self.refused_since = None;
        let under_way = self.under_way.take();
        let asked = under_way.map_or(0, |asked| asked.slots + asked.prefetch) as usize;
        let got = reply.claims.len() + reply.unsigned.len();
        if got >= asked && got > 0 {
            self.polling.found_all();
        } else {
            self.polling.found_less(now, got > 0, fixed, reply.next_timer.map(|wait| now + wait));
        }
        if let Some(asked) = under_way.filter(|asked| asked.slots > 0) {
            self.is_listed_idle = reply.state == QueueState::Open && reply.now < asked.slots as usize;
        }
        if std::mem::take(&mut self.woken_since) {
            self.polling.wake();
        }
        self.last = Some(LastClaim {
            waiting: reply.waiting,
            indexed: reply.indexed,
            has_leftovers: reply.has_leftovers,
            reserved: reply.reserved.clone().map(|line| (line, reply.reserved_mem)),
            state: reply.state,
            got,
        });
        under_way
    }

    /// A claim was not answered, or refused.
    pub(super) fn failed(&mut self, now: Instant, is_refused: bool) {
        self.under_way = None;
        if is_refused {
            self.refused_since.get_or_insert(now);
        }
    }

    /// Since when Redis refuses claims.
    pub(super) fn refused_since(&self) -> Option<Instant> {
        self.refused_since
    }

    /// Whether a claim is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the next claim is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.polling.is_due(now)
    }

    /// When the next claim is due; `None`: now.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.polling.next()
    }

    /// Whether a claim was made since the last settlement.
    pub(super) fn has_asked_since(&self) -> bool {
        self.has_asked_since
    }

    /// The node could not start a task: nothing is claimed for a while.
    pub(super) fn pause(&mut self, now: Instant) {
        self.pause_until = Some(now + SPAWN_PAUSE);
    }

    /// Until when nothing is claimed; `None` where that has passed.
    pub(super) fn pause_until(&self) -> Option<Instant> {
        self.pause_until
    }

    /// Ends a pause whose time has passed.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.pause_until = self.pause_until.filter(|until| *until > now);
    }

    /// A task was told to start.
    pub(super) fn started(&mut self, now: Instant) {
        self.last_start = Some(now);
    }

    /// Before when nothing starts, where starts are spaced; zero: they are not.
    pub(super) fn next_start(&self, spacing: Duration) -> Option<Instant> {
        self.last_start.filter(|_| !spacing.is_zero()).map(|last| last + spacing)
    }

    /// Whether the queue has another field order than this worker; whether that has changed by what is known now.
    pub(super) fn set_other_order(&mut self, other_order: bool) -> bool {
        std::mem::replace(&mut self.other_order, other_order) != other_order
    }

    /// Whether the queue has another field order than this worker.
    pub(super) fn has_other_order(&self) -> bool {
        self.other_order
    }

    /// Nothing is claimed until [`Self::judged`].
    pub(super) fn await_judgement(&mut self) {
        self.is_unjudged = true;
    }

    /// Takes in how many tasks speak against this worker, 0 for none that count; whether that has changed whether it is trusted.
    pub(super) fn judged(&mut self, suspect: u64, may_try: bool) -> bool {
        let was_suspect = self.is_suspect();
        (self.suspect, self.may_try, self.is_unjudged) = (suspect, may_try, false);
        was_suspect != self.is_suspect()
    }

    /// Whether this worker takes nothing because of what speaks against it.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect > 0
    }

    /// How many tasks speak against this worker; 0 while it is trusted.
    pub(super) fn suspect(&self) -> u64 {
        self.suspect
    }

    /// Whether it may claim, as far as it is trusted: a suspect tries one task, beside nothing else.
    pub(super) fn is_trusted(&self, is_empty: bool) -> bool {
        !self.is_unjudged && (self.suspect == 0 || (self.may_try && is_empty))
    }

    /// A suspect has asked for the task that it may try: whether it may try another is for a later heartbeat to say.
    pub(super) fn tried(&mut self) {
        self.may_try = false;
    }

    /// The state of the queue, as the last claim found it.
    pub(super) fn queue_state(&self) -> Option<QueueState> {
        self.last.as_ref().map(|last| last.state)
    }

    /// How many lines waited, as the last claim found it.
    pub(super) fn waiting(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.waiting)
    }

    /// The line that room is kept for, and the memory that it declares, as the last claim found them.
    pub(super) fn reserved(&self) -> Option<(&str, Option<Bytes>)> {
        self.last.as_ref().and_then(|last| last.reserved.as_ref()).map(|(line, mem)| (line.as_str(), *mem))
    }

    /// Waiting and indexed lines, as the last claim found them.
    pub(super) fn index_gap(&self) -> Option<(u64, u64)> {
        self.last.as_ref().map(|last| (last.waiting, last.indexed))
    }

    /// Whether nothing is left for a worker that takes what there is and then ends, as of a claim since the last settlement.
    pub(super) fn is_exhausted(&self) -> bool {
        let is_over = |last: &LastClaim| match last.state {
            QueueState::Open => last.got == 0 && !last.has_leftovers && last.waiting == last.indexed,
            // A pause keeps nothing back where nothing waits.
            QueueState::Paused => last.waiting == 0,
            QueueState::Stopping | QueueState::Draining | QueueState::OtherOrder => false,
        };
        self.has_asked_since && !self.is_asking() && self.last.as_ref().is_some_and(is_over)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to begin with")]
mod tests {
    use super::*;

    fn reply(waiting: u64, now: usize) -> ClaimReply {
        ClaimReply {
            state: QueueState::Open,
            waiting,
            indexed: waiting,
            has_leftovers: false,
            reserved: None,
            reserved_mem: None,
            next_timer: None,
            now,
            claims: Vec::new(),
            signatures: Vec::new(),
            unsigned: Vec::new(),
        }
    }

    fn asked() -> (Intake, Instant) {
        let (mut intake, now) = (Intake::default(), Instant::now());
        assert_eq!(intake.asked(now, 2, 0), 1);
        (intake, now)
    }

    #[test]
    fn empty_answer_ends_a_burst_until_something_is_settled() {
        let (mut intake, now) = asked();
        assert!(!intake.is_exhausted(), "the answer is on its way");
        intake.answered(now, &reply(0, 0), None);
        assert!(intake.is_exhausted());
        intake.settled();
        assert!(!intake.is_exhausted());
    }

    #[test]
    fn waking_during_a_claim_makes_the_next_one_due() {
        for is_woken in [false, true] {
            let (mut intake, now) = asked();
            if is_woken {
                intake.woken();
            }
            intake.answered(now, &reply(0, 0), None);
            assert_eq!(intake.is_due(now), is_woken);
        }
    }

    #[test]
    fn end_of_a_task_makes_a_claim_due_unless_redis_would_wake() {
        for (waiting, is_due) in [(0, false), (5, true)] {
            let (mut intake, now) = asked();
            intake.answered(now, &reply(waiting, 0), None);
            intake.task_ended();
            assert_eq!(intake.is_due(now), is_due, "{waiting} wait");
        }
    }

    #[test]
    fn refusal_lasts_from_its_beginning_to_an_answer() {
        let (mut intake, now) = asked();
        intake.failed(now, true);
        intake.failed(now + SPAWN_PAUSE, true);
        assert_eq!((intake.refused_since(), intake.is_asking()), (Some(now), false));
        intake.answered(now, &reply(0, 0), None);
        assert_eq!(intake.refused_since(), None);
    }

    #[test]
    fn starts_are_spaced_and_a_pause_passes() {
        let (mut intake, now) = asked();
        intake.started(now);
        assert_eq!(intake.next_start(SPAWN_PAUSE), Some(now + SPAWN_PAUSE));
        assert_eq!(intake.next_start(Duration::ZERO), None);
        intake.pause(now);
        intake.end_pause(now);
        assert_eq!(intake.pause_until(), Some(now + SPAWN_PAUSE));
        intake.end_pause(now + SPAWN_PAUSE);
        assert_eq!(intake.pause_until(), None);
    }
}
