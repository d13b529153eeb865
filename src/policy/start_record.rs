//! When an autoscaler stops asking for workers, because its starts fail, and when it tries again.

use std::time::{Duration, Instant};

/// Refused starts in a row after which it pauses.
pub const MOST_REFUSED: u32 = 10;

/// Failed starts in a row after which it pauses: accepted ones whose worker never attached.
pub const MOST_FAILED: u32 = 3;

/// How long it pauses before it tries one start.
pub const PAUSE: Duration = Duration::from_secs(30 * 60);

/// What has become of the starts of late.
#[derive(Clone, Debug, Default)]
pub struct StartRecord {
    refused: u32,
    failed: u32,
    paused: Option<Pause>,
}

#[derive(Clone, Debug)]
struct Pause {
    why: String,
    tries_at: Instant,
    is_trying: bool,
}

/// What came of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on as before.
    None,
    /// It pauses from now on.
    Pauses,
    /// Its pause is over.
    GoesOn,
}

impl StartRecord {
    /// The provider refused a start, or did not answer.
    pub fn refused(&mut self, now: Instant, why: &str) -> Turn {
        self.refused += 1;
        if self.refused >= MOST_REFUSED || self.is_trying() {
            let count = self.refused;
            return self.pause(now, format!("{count} starts in a row were refused, the last with: {why}"));
        }
        Turn::None
    }

    /// The provider took a start.
    pub fn accepted(&mut self) {
        self.refused = 0;
    }

    /// An allocation ended before its worker attached.
    pub fn failed(&mut self, now: Instant, why: &str) -> Turn {
        self.failed += 1;
        if self.failed >= MOST_FAILED || self.is_trying() {
            let count = self.failed;
            return self.pause(now, format!("{count} workers in a row did not attach, the last: {why}"));
        }
        Turn::None
    }

    /// A worker attached.
    pub fn attached(&mut self) -> Turn {
        self.failed = 0;
        if self.paused.take().is_some() { Turn::GoesOn } else { Turn::None }
    }

    /// An operator lets it go on.
    pub fn resume(&mut self) -> Turn {
        let was_paused = self.paused.is_some();
        *self = Self::default();
        if was_paused { Turn::GoesOn } else { Turn::None }
    }

    /// How many starts it may ask for, of so many: all, or one that is a trial, or none.
    pub fn may_start(&mut self, now: Instant, wanted: u64) -> u64 {
        match &mut self.paused {
            None => wanted,
            Some(pause) if wanted > 0 && !pause.is_trying && now >= pause.tries_at => {
                pause.is_trying = true;
                1
            }
            Some(_) => 0,
        }
    }

    /// Why it is paused, and how long until it tries one start; no time while it does.
    #[must_use]
    pub fn paused(&self, now: Instant) -> Option<(&str, Option<Duration>)> {
        let pause = self.paused.as_ref()?;
        let left = pause.tries_at.saturating_duration_since(now);
        Some((&pause.why, Some(left).filter(|_| !pause.is_trying)))
    }

    fn is_trying(&self) -> bool {
        self.paused.as_ref().is_some_and(|pause| pause.is_trying)
    }

    fn pause(&mut self, now: Instant, why: String) -> Turn {
        let was_paused = self.paused.is_some();
        self.paused = Some(Pause { why, tries_at: now + PAUSE, is_trying: false });
        if was_paused { Turn::None } else { Turn::Pauses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_refused_starts_in_a_row_pause() {
        let (now, mut record) = (Instant::now(), StartRecord::default());
        for _ in 1..MOST_REFUSED {
            assert_eq!(record.refused(now, "no"), Turn::None);
        }
        record.accepted();
        for _ in 1..MOST_REFUSED {
            assert_eq!((record.refused(now, "no"), record.may_start(now, 5)), (Turn::None, 5));
        }
        assert_eq!((record.refused(now, "no"), record.may_start(now, 5)), (Turn::Pauses, 0));
        assert_eq!(record.paused(now).map(|(why, _)| why), Some("10 starts in a row were refused, the last with: no"));
    }

    #[test]
    fn pause_ends_with_a_trial_whose_worker_attaches() {
        let (now, mut record) = (Instant::now(), StartRecord::default());
        assert_eq!([(); 3].map(|()| record.failed(now, "died")), [Turn::None, Turn::None, Turn::Pauses]);
        let later = now + PAUSE;
        assert_eq!((record.may_start(now, 5), record.may_start(later, 0), record.may_start(later, 5)), (0, 0, 1));
        assert_eq!((record.may_start(later, 5), record.paused(later).map(|(_, left)| left)), (0, Some(None)));
        record.accepted();
        assert_eq!((record.failed(later, "died"), record.may_start(later, 5)), (Turn::None, 0), "it waits again");
        let again = later + PAUSE;
        assert_eq!((record.may_start(again, 5), record.attached(), record.may_start(again, 5)), (1, Turn::GoesOn, 5));
    }

    #[test]
    fn operator_ends_a_pause() {
        let (now, mut record) = (Instant::now(), StartRecord::default());
        for _ in 0..MOST_FAILED {
            record.failed(now, "died");
        }
        assert_eq!((record.resume(), record.may_start(now, 5), record.resume()), (Turn::GoesOn, 5, Turn::None));
        assert_eq!(record.failed(now, "died"), Turn::None, "it counts from the beginning");
    }
}
