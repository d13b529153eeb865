//! The way out: how far the worker is on it, for whom it goes, and how long it waits for Redis.

use std::time::{Duration, Instant};

use crate::policy::Lifecycle;

/// How long a worker that was told to go by a signal waits for Redis, with nothing left but outcomes to report.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// The same after the second signal: somebody waits.
const LEAVE_NOW: Duration = Duration::from_secs(1);

/// The same of a worker that is not in a hurry: one that was asked to drain or to stop, or that runs what there is and then ends (`--burst`).
const LEAVE_AT_LAST: Duration = Duration::from_secs(30);

/// For so long after a signal, a task that SIGTERM ends counts as ended by whoever signalled the worker.
const SWEEP: Duration = Duration::from_secs(5);

/// How far the worker is on its way out, and why it goes.
#[derive(Debug, Default)]
pub(super) struct Departure {
    lifecycle: Lifecycle,
    /// An operator has drained this worker; else, where it is finishing, the stop command is there.
    is_drained: bool,
    /// Nothing is left to finish, and it waits for an operator to lift what stopped it.
    is_waiting_idle: bool,
    /// When the last signal came.
    signalled: Option<Instant>,
    /// When running tasks are terminated.
    drain_until: Option<Instant>,
    /// It goes because Redis has been of no use for so long, and not because all is done.
    given_up: Option<Duration>,
    is_exiting: bool,
}

impl Departure {
    /// How far it is.
    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Whether new tasks are taken.
    pub(super) fn is_open(&self) -> bool {
        self.lifecycle.is_open()
    }

    /// Whether an operator has drained this worker, as far as is known.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Whether it has nothing left to do and waits for an operator.
    pub(super) fn is_waiting_idle(&self) -> bool {
        self.is_waiting_idle
    }

    /// Whether it has decided to exit.
    pub(super) fn is_exiting(&self) -> bool {
        self.is_exiting
    }

    /// For how long Redis had been of no use when the worker gave up; `None` where it goes because it was told to, or all is done.
    pub(super) fn given_up(&self) -> Option<Duration> {
        self.given_up
    }

    /// When running tasks are terminated, where they have until then.
    pub(super) fn drain_until(&self) -> Option<Instant> {
        self.drain_until
    }

    /// A termination signal: the first drains, any further one kills, which it says.
    pub(super) fn signal(&mut self, now: Instant, drain_timeout: Duration) -> bool {
        self.lifecycle = self.lifecycle.after_signal();
        self.signalled = Some(now);
        let kills = self.lifecycle == Lifecycle::Killing;
        if !kills {
            self.drain_until = Some(now + drain_timeout);
        }
        kills
    }

    /// Whether a signal came a moment ago. A batch system that ends a job, and a supervisor that ends a service, may signal the tasks as well.
    pub(super) fn is_swept(&self, now: Instant) -> bool {
        self.signalled.is_some_and(|at| now.saturating_duration_since(at) < SWEEP)
    }

    /// Drains for so long at most, as after a first signal; one that came before is no second one.
    pub(super) fn expire(&mut self, now: Instant, left: Duration) {
        let until = now + left;
        if self.lifecycle < Lifecycle::Draining {
            self.lifecycle = Lifecycle::Draining;
            self.drain_until = Some(until);
        } else {
            self.drain_until = self.drain_until.map(|drain| drain.min(until));
        }
    }

    /// Whether the drain time-out has just passed: once, and only where running tasks still had time.
    pub(super) fn drain_timed_out(&mut self, now: Instant) -> bool {
        if self.drain_until.is_none_or(|until| until > now) {
            return false;
        }
        self.drain_until = None;
        let is_first = self.lifecycle < Lifecycle::Returning;
        if is_first {
            self.lifecycle = Lifecycle::Returning;
        }
        is_first
    }

    /// Takes in what operators want: whether this worker is drained, and whether it is to take nothing more at all.
    pub(super) fn order(&mut self, drain: bool, stop: bool) -> Ordered {
        self.is_drained = drain;
        if drain || stop {
            if self.is_open() {
                self.lifecycle = Lifecycle::Finishing;
                return Ordered::Finish;
            }
        } else if self.lifecycle == Lifecycle::Finishing && !self.is_exiting && self.given_up.is_none() {
            (self.lifecycle, self.is_waiting_idle) = (Lifecycle::Open, false);
            return Ordered::Resume;
        }
        Ordered::Nothing
    }

    /// What lifts the order that it is finishing for.
    pub(super) fn lifted_by(&self) -> &'static str {
        if self.is_drained { "distcomp-ctl resume --worker" } else { "distcomp-ctl resume" }
    }

    /// Waits for an operator instead of exiting; whether that is new.
    pub(super) fn wait_idle(&mut self) -> bool {
        !std::mem::replace(&mut self.is_waiting_idle, true)
    }

    /// How long it waits for Redis with nothing left but what Redis does not let it do; `None` where it stays.
    pub(super) fn patience(&self, is_burst: bool) -> Option<Duration> {
        match self.lifecycle {
            Lifecycle::Open if !is_burst => None,
            Lifecycle::Open | Lifecycle::Finishing => Some(LEAVE_AT_LAST),
            Lifecycle::Draining | Lifecycle::Returning => Some(LEAVE_AFTER),
            Lifecycle::Killing => Some(LEAVE_NOW),
        }
    }

    /// Redis has been of no use for so long that it ends by itself.
    pub(super) fn give_up(&mut self, lasted: Option<Duration>) {
        self.given_up = lasted;
        self.lifecycle = Lifecycle::Finishing;
    }

    /// Nothing is left: it exits.
    pub(super) fn exit(&mut self) {
        self.is_exiting = true;
    }
}

/// What follows from what operators want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    /// As before.
    Nothing,
    /// It takes nothing more from now on.
    Finish,
    /// It takes tasks again.
    Resume,
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to begin with")]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn first_signal_drains_until_the_timeout_and_second_kills() {
        let (mut departure, now) = (Departure::default(), Instant::now());
        assert!(!departure.signal(now, TIMEOUT));
        assert!(!departure.drain_timed_out(now + TIMEOUT / 2));
        assert!(departure.drain_timed_out(now + TIMEOUT) && !departure.drain_timed_out(now + TIMEOUT));
        assert_eq!(departure.lifecycle(), Lifecycle::Returning);
        assert!(departure.signal(now, TIMEOUT));
        assert_eq!((departure.lifecycle(), departure.drain_until()), (Lifecycle::Killing, None));
    }

    #[test]
    fn end_of_the_time_drains_and_is_no_second_signal() {
        let (mut departure, now) = (Departure::default(), Instant::now());
        departure.order(true, false);
        departure.expire(now, TIMEOUT);
        assert_eq!((departure.lifecycle(), departure.drain_until()), (Lifecycle::Draining, Some(now + TIMEOUT)));
        let mut signalled = Departure::default();
        signalled.signal(now, TIMEOUT);
        signalled.expire(now, TIMEOUT * 2);
        assert_eq!((signalled.lifecycle(), signalled.drain_until()), (Lifecycle::Draining, Some(now + TIMEOUT)));
        signalled.expire(now, TIMEOUT / 2);
        assert!(signalled.drain_timed_out(now + TIMEOUT / 2));
        signalled.signal(now, TIMEOUT);
        signalled.expire(now, TIMEOUT);
        assert_eq!((signalled.lifecycle(), signalled.drain_until()), (Lifecycle::Killing, None));
    }

    #[test]
    fn timeout_after_the_second_signal_terminates_nothing_again() {
        let (mut departure, now) = (Departure::default(), Instant::now());
        departure.signal(now, TIMEOUT);
        departure.signal(now, TIMEOUT);
        assert!(!departure.drain_timed_out(now + TIMEOUT));
        assert_eq!(departure.lifecycle(), Lifecycle::Killing);
    }

    #[test]
    fn order_is_lifted_unless_the_worker_leaves_for_another_reason() {
        let mut departure = Departure::default();
        assert_eq!(departure.order(true, false), Ordered::Finish);
        assert_eq!(
            (departure.order(true, false), departure.lifted_by()),
            (Ordered::Nothing, "distcomp-ctl resume --worker")
        );
        assert!(departure.wait_idle() && !departure.wait_idle());
        assert_eq!(departure.order(false, false), Ordered::Resume);
        assert!(departure.is_open() && !departure.is_waiting_idle());
        departure.order(false, true);
        departure.give_up(Some(TIMEOUT));
        assert_eq!(departure.order(false, false), Ordered::Nothing, "it has given up");
        let mut signalled = Departure::default();
        signalled.signal(Instant::now(), TIMEOUT);
        assert_eq!(signalled.order(false, false), Ordered::Nothing);
    }

    #[test]
    fn later_stages_wait_less_for_redis() {
        let mut departure = Departure::default();
        assert_eq!((departure.patience(false), departure.patience(true)), (None, Some(LEAVE_AT_LAST)));
        departure.signal(Instant::now(), TIMEOUT);
        assert_eq!(departure.patience(false), Some(LEAVE_AFTER));
        departure.signal(Instant::now(), TIMEOUT);
        assert_eq!(departure.patience(true), Some(LEAVE_NOW));
    }
}
