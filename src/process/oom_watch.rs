//! Guesses whether the OOM killer has killed a task, if the slot has no cgroup that counts such kills.
//!
//! The kernel counts the OOM kills of the whole machine. Reading this count before each task would slow short tasks down. So it is read some time after
//! the start of a task, when short tasks have ended, and again when a task has been killed.

use std::time::{Duration, Instant};

/// When the count is read after a start. A task needs longer than this to use much memory.
const ASK_AFTER: Duration = Duration::from_millis(200);
/// How long a killed process may take to release its memory, before which it does not end. This is enough, even on a busy machine, for the memory that it
/// can take within [`ASK_AFTER`].
const DYING: Duration = Duration::from_secs(2);

/// The last count, and when it is read next. Count and time are arguments.
#[derive(Debug)]
pub(super) struct OomWatch {
    /// The last count; `None` where the kernel does not count.
    known: Option<u64>,
    ask_at: Option<Instant>,
    /// When the count was found to have grown during the task: the task may have been dying at that time.
    grown_at: Option<Instant>,
}

impl OomWatch {
    pub(super) const fn new(known: Option<u64>) -> Self {
        Self { known, ask_at: None, grown_at: None }
    }

    /// Call it when a task has started.
    pub(super) fn begin(&mut self, now: Instant) {
        self.ask_at = Some(now + ASK_AFTER);
        self.grown_at = None;
    }

    /// When [`Self::asked`] is to be called with the count.
    pub(super) const fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Takes the count while the task runs.
    pub(super) fn asked(&mut self, now: Instant, kills: Option<u64>) {
        self.ask_at = None;
        if self.learn(kills) {
            self.grown_at = Some(now);
        }
    }

    /// Call it when the task has ended. Returns whether the OOM killer probably killed it. `kills` is called only for a task that was killed.
    pub(super) fn end(&mut self, now: Instant, was_killed: bool, kills: impl FnOnce() -> Option<u64>) -> bool {
        self.ask_at = None;
        let was_dying = self.grown_at.take().is_some_and(|grown| now.duration_since(grown) <= DYING);
        was_killed && (self.learn(kills()) || was_dying)
    }

    /// Stores the count, and returns whether it has grown.
    fn learn(&mut self, kills: Option<u64>) -> bool {
        let before = std::mem::replace(&mut self.known, kills);
        before.zip(kills).is_some_and(|(before, now)| now > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn kill_counted_before_the_end_is_recognised() {
        let start = Instant::now();
        let mut watch = OomWatch::new(Some(7));
        watch.begin(start);
        let asked = watch.ask_at().unwrap();
        assert_eq!(asked, start + ASK_AFTER);
        watch.asked(asked, Some(8));
        assert_eq!(watch.ask_at(), None);
        assert!(watch.end(asked + MS(50), true, || Some(8)), "it was giving its memory back when the count was read");
        watch.begin(asked + MS(60));
        assert!(!watch.end(asked + MS(70), true, || Some(8)), "the next one is not to blame for it");
    }

    #[test]
    fn kill_long_after_another_oom_kill_is_not_blamed_on_it() {
        let start = Instant::now();
        let mut watch = OomWatch::new(Some(7));
        watch.begin(start);
        watch.asked(start + MS(200), Some(8));
        assert!(!watch.end(start + MS(200) + DYING + MS(1), true, || Some(8)));
        watch.begin(start);
        watch.asked(start + MS(200), Some(8));
        assert!(watch.end(start + MS(9000), true, || Some(9)), "counted after the question");
        watch.begin(start);
        assert!(!watch.end(start + MS(1), false, || panic!("who was not killed is not asked about")));
    }

    #[test]
    fn nothing_is_claimed_without_a_count() {
        let now = Instant::now();
        let mut watch = OomWatch::new(None);
        watch.begin(now);
        watch.asked(now, None);
        assert!(!watch.end(now, true, || None));
        assert!(!watch.end(now, true, || Some(3)), "known only since now");
    }
}
