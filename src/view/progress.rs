//! Progress bars: on stderr, only on a terminal, and only for work that takes longer than a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::glyphs;
use super::text::{duration, rate};
use crate::model::snapshot::ProgressParts;
use crate::policy::estimate::{Estimator, TaskCounts};

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when the work turns out to be long.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    total: u64,
    estimator: Estimator,
    note: String,
    is_shown: bool,
    is_wanted: bool,
}

impl Progress {
    /// A bar over `total` steps; 0 = a spinner with a count, since the total is not known. `what` stands before it.
    pub fn new(what: &'static str, total: u64, is_wanted: bool) -> Self {
        let template = if total == 0 {
            "{prefix} {human_pos} {spinner}"
        } else {
            "{prefix} {wide_bar} {human_pos}/{human_len} {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
            .with_style(style.progress_chars("=> ").tick_strings(glyphs::spinner()))
            .with_prefix(what);
        Self {
            bar,
            begun: Instant::now(),
            total,
            estimator: Estimator::default(),
            note: String::new(),
            is_shown: false,
            is_wanted: is_wanted && std::io::stderr().is_terminal(),
        }
    }

    /// The work has come this far. The first call tells where it began: what was done before is not its speed.
    pub fn set(&mut self, position: u64) {
        self.observe(TaskCounts { ended: position, running: 0, waiting: self.total.saturating_sub(position) });
    }

    /// The same for tasks, some of which run.
    pub fn see(&mut self, parts: &ProgressParts) {
        self.observe(TaskCounts { ended: parts.ended(), running: parts.running, waiting: parts.waiting });
    }

    fn observe(&mut self, seen: TaskCounts) {
        self.estimator.observe(Instant::now(), seen);
        self.bar.set_position(seen.ended);
        self.bar.set_message(format!("{}{}", self.note, self.pace()));
        if self.is_wanted && !self.is_shown && self.begun.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.is_shown = true;
        }
    }

    /// One step more.
    pub fn advance(&mut self, steps: u64) {
        let at = self.bar.position();
        if at == 0 {
            self.estimator.observe(self.begun, TaskCounts { ended: 0, running: 0, waiting: self.total });
        }
        self.set(at + steps);
    }

    /// Rate and time left, as the bar shows them: `33/s, eta 1 m 10 s`; `?` until there is something to go by.
    #[must_use]
    pub fn pace(&self) -> String {
        let rate = self.estimator.rate().map_or_else(|| "?/s".to_owned(), rate);
        let left = self.estimator.seconds_left().map_or_else(|| "?".to_owned(), duration);
        format!("{rate}, eta {left}")
    }

    /// Prints something else meanwhile, with no bar in its way.
    pub fn pause_for<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    /// Words beside the bar, from the next look on.
    pub fn note(&mut self, text: &str) {
        self.note = if text.is_empty() { String::new() } else { format!("{text}, ") };
    }
}

/// The bar goes away, whatever ended the work.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_nothing_before_something_ended() {
        let mut bar = Progress::new("done", 10, false);
        bar.see(&ProgressParts::of_set(10, 5, 0, 2));
        bar.see(&ProgressParts::of_set(10, 5, 0, 2));
        assert_eq!(bar.pace(), "?/s, eta ?");
        std::thread::sleep(Duration::from_millis(2));
        bar.see(&ProgressParts::of_set(10, 6, 0, 2));
        assert!(!bar.pace().contains('?') && !bar.pace().contains("eta 0 s"), "{}", bar.pace());
    }
}
