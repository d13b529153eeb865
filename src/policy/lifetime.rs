//! When a worker whose time is limited takes its leave, so that all is given back before its time is over.

use std::time::Duration;

/// What is kept for the reports of the last tasks, and to free the worker's name.
const FAREWELL: Duration = Duration::from_secs(5);

/// The way out of a worker that lives for a limited time, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From then on it takes nothing new.
    pub drains_after: Duration,
    /// Then what runs is terminated and given back: so long a task may run.
    pub terminates_after: Duration,
}

impl Lifetime {
    /// Of a worker that lives so long, lets running tasks end for `drain` and gives them `grace` between SIGTERM and SIGKILL. In a short life both get a part
    /// of it, so that something is done before.
    #[must_use]
    pub fn new(limit: Duration, drain: Duration, grace: Duration) -> Self {
        let terminates_after = limit - grace.saturating_add(FAREWELL).min(limit / 4);
        Self { drains_after: terminates_after - drain.min(limit / 4), terminates_after }
    }

    /// How long what runs has when it drains.
    #[must_use]
    pub fn drain(&self) -> Duration {
        self.terminates_after - self.drains_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_life_ends_with_a_part_of_the_time_to_drain() {
        let [limit, drain, grace] = [7200, 300, 5].map(Duration::from_secs);
        let long = Lifetime::new(limit, drain, grace);
        assert_eq!((long.terminates_after.as_secs(), long.drain()), (7190, drain));
        let short = Lifetime::new(Duration::from_secs(40), drain, grace);
        assert_eq!((short.drains_after.as_secs(), short.terminates_after.as_secs()), (20, 30));
        assert_eq!(Lifetime::new(Duration::ZERO, drain, grace).drain(), Duration::ZERO);
        assert_eq!(Lifetime::new(limit, drain, Duration::MAX).drain(), drain);
    }
}
