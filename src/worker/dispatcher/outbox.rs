//! What Redis has yet to hear, or to confirm: what goes back unstarted, what was refused, what has started, and which orders were carried out.

use std::time::Instant;

use crate::queue::session::Revoked;
use crate::worker::events::TaskKey;

/// See the module. Outcomes themselves wait in the reporter; their claims are in the ledger until then.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Settlements under way for lines that never were entries.
    refusing: usize,
    /// What goes back unstarted, until Redis has it: a claim that came before it would bring what comes after it.
    returning: Vec<TaskKey>,
    /// Started, and not yet told.
    started: Vec<TaskKey>,
    /// Orders that were carried out, until Redis has heard of it.
    stopped: Vec<Revoked>,
    /// An order is about a claim whose answer, or settlement, is on its way: Redis is asked again when that has come.
    owes_look: bool,
    /// Since when Redis refuses to take outcomes.
    refused_since: Option<Instant>,
}

impl Outbox {
    /// A claim is refused for ever without its ever having been an entry.
    pub(super) fn refuse(&mut self) {
        self.refusing += 1;
    }

    /// Whether refused claims have yet to be confirmed.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusing > 0
    }

    /// A task goes back unstarted.
    pub(super) fn give_back(&mut self, key: TaskKey) {
        self.returning.push(key);
    }

    /// Whether something that goes back is not there yet.
    pub(super) fn is_returning(&self) -> bool {
        !self.returning.is_empty()
    }

    /// Redis takes outcomes, and has confirmed this one.
    pub(super) fn confirm(&mut self, key: TaskKey, was_entry: bool) {
        self.refused_since = None;
        self.returning.retain(|returning| *returning != key);
        if !was_entry {
            self.refusing = self.refusing.saturating_sub(1);
        }
    }

    /// Redis is there and refuses to take outcomes.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refused_since.get_or_insert(now);
    }

    /// Since when Redis refuses to take outcomes.
    pub(super) fn refused_since(&self) -> Option<Instant> {
        self.refused_since
    }

    /// A task has started, which the next heartbeat tells.
    pub(super) fn add_started(&mut self, key: TaskKey) {
        self.started.push(key);
    }

    /// What has started and was not told. What does not go into the heartbeat is put back by [`Self::reannounce`].
    pub(super) fn take_started(&mut self) -> Vec<TaskKey> {
        std::mem::take(&mut self.started)
    }

    /// Everything that runs is told again with the next heartbeat.
    pub(super) fn reannounce(&mut self, running: Vec<TaskKey>) {
        self.started = running;
    }

    /// Nothing runs here any more of what an order was about.
    pub(super) fn add_stopped(&mut self, order: Revoked) {
        self.stopped.push(order);
    }

    /// Orders that were carried out and are not confirmed.
    pub(super) fn stopped(&self) -> &[Revoked] {
        &self.stopped
    }

    /// A heartbeat's answer lists these orders as not carried out: those that are not listed any more have been confirmed. Whether there were such.
    pub(super) fn confirm_stopped(&mut self, listed: &[Revoked]) -> bool {
        let before = self.stopped.len();
        self.stopped.retain(|order| listed.contains(order));
        self.stopped.len() < before
    }

    /// An order cannot be carried out for what is on its way.
    pub(super) fn owe_look(&mut self) {
        self.owes_look = true;
    }

    /// Whether orders are to be asked for again, now that something has come.
    pub(super) fn take_owed_look(&mut self) -> bool {
        std::mem::take(&mut self.owes_look)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to begin with")]
mod tests {
    use super::*;

    fn order(line: &str) -> Revoked {
        Revoked { line: line.to_owned(), token: "i.1".to_owned() }
    }

    #[test]
    fn returned_and_refused_tasks_are_owed_until_confirmed() {
        let mut outbox = Outbox::default();
        outbox.give_back(1);
        outbox.refuse();
        outbox.confirm(1, true);
        assert!(!outbox.is_returning() && outbox.is_refusing());
        outbox.confirm(2, false);
        assert!(!outbox.is_refusing());
        outbox.confirm(3, false);
        assert!(!outbox.is_refusing(), "one that nobody knows counts for nothing");
    }

    #[test]
    fn refusal_lasts_from_its_beginning_to_the_first_confirmation() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.refused(now);
        outbox.refused(now + std::time::Duration::from_secs(1));
        assert_eq!(outbox.refused_since(), Some(now));
        outbox.confirm(1, true);
        assert_eq!(outbox.refused_since(), None);
    }

    #[test]
    fn carried_out_order_is_kept_while_redis_lists_it() {
        let mut outbox = Outbox::default();
        outbox.add_stopped(order("a"));
        outbox.add_stopped(order("b"));
        assert!(outbox.confirm_stopped(&[order("b"), order("c")]));
        assert_eq!(outbox.stopped(), [order("b")]);
        assert!(!outbox.confirm_stopped(&[order("b")]));
    }

    #[test]
    fn look_is_owed_once_and_started_tasks_are_told_once() {
        let mut outbox = Outbox::default();
        outbox.owe_look();
        assert!(outbox.take_owed_look() && !outbox.take_owed_look());
        outbox.add_started(1);
        assert_eq!((outbox.take_started(), outbox.take_started()), (vec![1], vec![]));
        outbox.reannounce(vec![2, 3]);
        assert_eq!(outbox.take_started(), [2, 3]);
    }
}
