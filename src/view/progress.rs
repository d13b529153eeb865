//! Progress bars: on stderr, only on a terminal, and only for what takes longer than a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when the work turns out to be long.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
    is_shown: bool,
    is_wanted: bool,
}

impl Progress {
    /// A bar over `total` steps; 0 = a spinner with a count, since the total is not known. `what` stands before it.
    pub fn new(what: &'static str, total: u64, is_wanted: bool) -> Self {
        let template = if total == 0 {
            "{prefix} {human_pos} {spinner}"
        } else {
            "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} {msg}eta {eta}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
            .with_style(style.progress_chars("=> "))
            .with_prefix(what);
        Self { bar, begun: Instant::now(), is_shown: false, is_wanted: is_wanted && std::io::stderr().is_terminal() }
    }

    /// The work has come this far.
    pub fn set(&mut self, position: u64) {
        self.bar.set_position(position);
        if self.is_wanted && !self.is_shown && self.begun.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.is_shown = true;
        }
    }

    /// One step more.
    pub fn advance(&mut self, steps: u64) {
        self.set(self.bar.position() + steps);
    }

    /// Prints something else meanwhile, with no bar in its way.
    pub fn pause_for<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    /// Words beside the bar.
    pub fn note(&self, text: String) {
        self.bar.set_message(text);
    }
}

/// The bar goes away, whatever ended the work.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
