//! Time as a process of this machine gets it: what a promise of "within so many seconds" is measured by.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// One tick: most of it asleep, and the rest at work.
const TICK: Duration = Duration::from_millis(10);
const WORK: Duration = Duration::from_millis(2);

/// Counts ticks of a thread that sleeps and works in turns. On an idle machine these are a clock's; where others take the processors, or the machine
/// stands still, a tick takes as much longer as anything else does that has to be woken and to work. A program that is slow by its own fault is as late
/// by this as by a clock. Never more than a clock says: for promises of "not before", take that.
pub(crate) struct Stopwatch {
    ticks: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let (ticks, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, seen) = (Arc::clone(&ticks), Arc::clone(&is_over));
        thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                thread::sleep(TICK - WORK);
                let begun = worked();
                while worked().saturating_sub(begun) < WORK {
                    std::hint::spin_loop();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { ticks, is_over }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        TICK * self.ticks.load(Ordering::Relaxed)
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Processor time of this thread.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread").into()
}
