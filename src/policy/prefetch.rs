//! How many tasks to claim before a slot is free for them.

use std::time::{Duration, Instant};

/// Claimed ahead: what ends within this time, so that slots are refilled while a claim is under way. Twice the round trip where that is longer.
const COVER: Duration = Duration::from_millis(60);

/// No distance on earth makes a round trip longer than this: what takes longer is an outage, which nothing claimed ahead can cover.
const LONGEST: Duration = Duration::from_millis(400);

/// Where fewer tasks than this end within that time, a round trip between two costs nothing that shows, and every look-ahead is given up for exact order.
const LEAST_ENDS: f64 = 1.2;

/// The most claimed ahead automatically.
const MOST: u32 = 256;

/// Tasks no longer than this are enough of a measure when there are [`ENOUGH`] of them: the rate is known long before a window is over.
const BRIEF: Duration = Duration::from_millis(100);

/// How many brief tasks close a window early.
const ENOUGH: u32 = 16;

/// In a slot wait at most as many tasks as it ends within this time, so that neither another slot nor a better task waits for longer.
const SOON: Duration = Duration::from_millis(10);

/// The most that wait in one slot. In turns, one instead of four costs 5 % of the throughput: one message then serves one task and not two or three.
const MOST_IN_SLOT: u32 = 4;

/// Measures how fast tasks end, over about the last half second; over less where they are brief.
#[derive(Clone, Debug, Default)]
pub struct CompletionRate {
    window: Option<Instant>,
    ended: u32,
    brief: u32,
    rate: f64,
}

impl CompletionRate {
    /// One task ended that ran for so long.
    pub fn ended(&mut self, now: Instant, ran: Duration) {
        self.roll(now);
        self.ended += 1;
        // Long ones that happen to end together say nothing of the next moment.
        self.brief += u32::from(ran <= BRIEF);
    }

    /// Tasks a second; 0 when none ended lately.
    pub fn rate(&mut self, now: Instant) -> f64 {
        self.roll(now);
        self.rate
    }

    fn roll(&mut self, now: Instant) {
        const WINDOW: Duration = Duration::from_millis(250);
        const LEAST_WINDOW: Duration = Duration::from_millis(5);
        let start = *self.window.get_or_insert(now);
        let passed = now.saturating_duration_since(start);
        let is_clear = self.brief >= ENOUGH && self.brief == self.ended && passed >= LEAST_WINDOW;
        if passed >= WINDOW || is_clear {
            self.rate = f64::from(self.ended) / passed.as_secs_f64();
            (self.ended, self.brief) = (0, 0);
            self.window = Some(now);
        }
    }
}

/// How long a claim takes from the question to the answer, smoothed with the weight that TCP gives one round trip (RFC 6298). It begins with 0: one late
/// answer is no distance.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip(Duration);

impl RoundTrip {
    /// One more claim was answered.
    pub fn took(&mut self, time: Duration) {
        let time = time.min(LONGEST);
        self.0 = (self.0 * 7 + time) / 8;
    }

    /// What ends within this time is claimed ahead.
    fn cover(self) -> Duration {
        COVER.max(self.0 * 2)
    }
}

/// How many tasks may be claimed ahead at this rate; `fixed` is the configured number, 0 = none.
#[must_use]
pub fn prefetch_target(rate: f64, round_trip: RoundTrip, fixed: Option<u32>) -> u32 {
    let ends = rate * round_trip.cover().as_secs_f64();
    match fixed {
        Some(fixed) => fixed,
        None if ends < LEAST_ENDS => 0,
        None => (ends.ceil() as u32).clamp(2, MOST),
    }
}

/// How many may wait in each slot at so many ends a second and slot; 0 where tasks are so long that they do not notice the way over the worker.
#[must_use]
pub fn pipeline_depth(rate_per_slot: f64) -> u32 {
    ((rate_per_slot * SOON.as_secs_f64()) as u32).min(MOST_IN_SLOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_given_no_more_than_it_starts_in_a_moment() {
        let depths = [0.0, 99.0, 100.0, 350.0, 1e9].map(pipeline_depth);
        assert_eq!(depths, [0, 0, 1, 3, MOST_IN_SLOT]);
    }

    #[test]
    fn slow_tasks_are_never_claimed_ahead() {
        let near = |rate, fixed| prefetch_target(rate, RoundTrip::default(), fixed);
        assert_eq!(near(0.0, None), 0);
        assert_eq!(near(19.0, None), 0);
        assert_eq!(near(1700.0, None), 102);
        assert_eq!(near(1e9, None), MOST);
        assert_eq!(near(1700.0, Some(0)), 0);
        assert_eq!(near(0.0, Some(7)), 7);
    }

    #[test]
    fn distant_server_has_more_claimed_ahead() {
        let mut far = RoundTrip::default();
        far.took(Duration::from_millis(1));
        assert_eq!(prefetch_target(100.0, far, None), 6, "60 ms");
        for _ in 0..100 {
            far.took(Duration::from_millis(100));
        }
        assert_eq!(prefetch_target(100.0, far, None), 20, "twice 100 ms");
        assert_eq!(
            prefetch_target(8.0, far, None),
            2,
            "8 slots with tasks of a second would wait a tenth of their time"
        );
        far.took(Duration::from_secs(3600));
        assert!(prefetch_target(1.0, far, None) == 0, "an outage is no round trip");
    }

    #[test]
    fn the_rate_follows_what_ends_and_fades() {
        let start = Instant::now();
        let mut completions = CompletionRate::default();
        for i in 0..100 {
            completions.ended(start + Duration::from_millis(i * 5), Duration::from_secs(1));
        }
        let rate = completions.rate(start + Duration::from_millis(501));
        assert!((150.0..250.0).contains(&rate), "{rate}");
        assert!(completions.rate(start + Duration::from_secs(5)) < 20.0);
    }

    #[test]
    fn brief_tasks_raise_the_rate_at_once_and_long_ones_do_not() {
        let start = Instant::now();
        for (ran, is_known) in [(Duration::from_millis(2), true), (Duration::from_secs(10), false)] {
            let mut completions = CompletionRate::default();
            assert!(completions.rate(start).abs() < f64::EPSILON);
            for i in 0..20 {
                completions.ended(start + Duration::from_micros(i * 500), ran);
            }
            assert_eq!(completions.rate(start + Duration::from_millis(10)) > 1000.0, is_known, "{ran:?}");
        }
    }
}
