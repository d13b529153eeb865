//! Waiting for a condition; never a bare sleep.
use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that should happen at once, on a busy machine with two cores.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const STEP: Duration = Duration::from_millis(20);

/// A wait is this many times as long at most when the machine lets us look seldom.
const STRETCH: u32 = 4;

/// Polls `look` until it answers `Ok`, and returns what it found. `Err` holds the state seen, which is printed when the
/// time is over.
///
/// The time is counted in looks, one every 20 ms: a machine that stands still for a second, or that lets us look only every 100 ms, lets those that we
/// wait for do no more in that time.
#[track_caller]
pub(crate) fn wait_until<T, S: Display>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<T, S>) -> T {
    let (start, mut looks) = (Instant::now(), 0);
    loop {
        let state = match look() {
            Ok(found) => return found,
            Err(state) => state,
        };
        looks += 1;
        let waited = start.elapsed();
        let is_over = waited >= timeout && (STEP * looks >= timeout || waited >= timeout * STRETCH);
        assert!(!is_over, "waited {timeout:?} for: {what} ({looks} looks in {waited:?})\nlast state seen: {state}");
        thread::sleep(STEP);
    }
}

/// `Ok` when the condition holds, else the state to print.
pub(crate) fn holds_for<S: Display>(condition: bool, state: S) -> Result<(), S> {
    if condition { Ok(()) } else { Err(state) }
}

/// Asserts for the whole of `time` that the condition holds: for promises that something does *not* happen.
#[track_caller]
pub(crate) fn stays<S: Display>(what: &str, time: Duration, mut look: impl FnMut() -> Result<(), S>) {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Err(state) = look() {
            panic!("after {:?} it no longer held: {what}\nstate: {state}", start.elapsed());
        }
        thread::sleep(STEP);
    }
}
