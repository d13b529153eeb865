//! Whether a task that was killed was killed by the kernel for want of memory, where no cgroup of its own says so.
//!
//! All there is then is the machine's count of such kills. To read it before every task would cost short ones much, so it is read a while
//! after a task has started, by when the short ones have gone, and again when a task has been killed.

use std::time::{Duration, Instant};

/// A task that eats much takes longer than this to do so, and one that is shorter is not worth the question.
const ASK_AFTER: Duration = Duration::from_millis(200);
/// A process that has been killed takes a while to give its memory back, and is gone only then. What it ate within [`ASK_AFTER`] is given
/// back sooner than this, also on a busy machine.
const DYING: Duration = Duration::from_secs(2);

/// The count as it was, and what is to be asked when. Pure: the count and the time are given to it.
#[derive(Debug)]
pub(super) struct OomWatch {
    /// Kills when last asked; `None` where the kernel does not say.
    known: Option<u64>,
    ask_at: Option<Instant>,
    /// The count had grown when it was asked during the task: the task may have been dying by then.
    grown_at: Option<Instant>,
}

impl OomWatch {
    pub(super) const fn new(known: Option<u64>) -> Self {
        Self { known, ask_at: None, grown_at: None }
    }

    /// A task has started.
    pub(super) fn begin(&mut self, now: Instant) {
        self.ask_at = Some(now + ASK_AFTER);
        self.grown_at = None;
    }

    /// When the count is to be told to [`Self::asked`], if at all.
    pub(super) const fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// The count while the task seems to run.
    pub(super) fn asked(&mut self, now: Instant, kills: Option<u64>) {
        self.ask_at = None;
        if self.learn(kills) {
            self.grown_at = Some(now);
        }
    }

    /// The task has ended; whether it was probably the kernel that killed it, if anybody did. `kills` is asked for only then.
    pub(super) fn end(&mut self, now: Instant, was_killed: bool, kills: impl FnOnce() -> Option<u64>) -> bool {
        self.ask_at = None;
        let was_dying = self.grown_at.take().is_some_and(|grown| now.duration_since(grown) <= DYING);
        was_killed && (self.learn(kills()) || was_dying)
    }

    /// Whether there were more than before.
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
    fn a_kill_that_is_counted_before_its_death_is_seen_is_known() {
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
    fn a_kill_long_after_somebody_elses_is_not_the_kernels() {
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
    fn where_the_kernel_does_not_say_nothing_is_claimed() {
        let now = Instant::now();
        let mut watch = OomWatch::new(None);
        watch.begin(now);
        watch.asked(now, None);
        assert!(!watch.end(now, true, || None));
        assert!(!watch.end(now, true, || Some(3)), "known only since now");
    }
}
