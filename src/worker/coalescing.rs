//! Lets events coalesce before the worker's thread looks at them, when its dispatcher says that nobody waits for it.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Of the thread that a worker runs on, which is the one that waits for its events.
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// From now on events coalesce for so long; zero: not at all.
pub(super) fn set(time: Duration) {
    TIME.set(time);
}

/// For a runtime of one thread to call when it has nothing left to do: blocks the thread, and so everything that it would do.
pub fn pause() {
    let time = TIME.get();
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}
