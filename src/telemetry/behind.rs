//! Log lines are written by a thread of their own: standard error may be a pipe that nobody reads, or a file on a server that does not answer, and
//! whoever writes there waits.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written, at most; further ones are dropped and counted.
const LINES: usize = 8192;

/// The thread of this process.
static THREAD: OnceLock<SyncSender<Work>> = OnceLock::new();

enum Work {
    Line(Vec<u8>),
    /// Everything before this has been written.
    Answer(SyncSender<()>),
}

/// Hands lines to the thread.
#[derive(Clone)]
pub(super) struct Behind {
    work: SyncSender<Work>,
    dropped: Arc<AtomicU64>,
}

impl Behind {
    /// Starts the thread; `None` where there is none to be had, or it runs already.
    pub(super) fn start() -> Option<Self> {
        let (work, todo) = sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&todo, &counted)).ok()?;
        THREAD.set(work.clone()).ok()?;
        Some(Self { work, dropped })
    }
}

impl<'a> MakeWriter<'a> for Behind {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Behind {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.work.try_send(Work::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(todo: &Receiver<Work>, dropped: &AtomicU64) {
    while let Ok(work) = todo.recv() {
        match work {
            // A full disk is no reason to end.
            Work::Line(line) => drop(io::stderr().write_all(&line)),
            Work::Answer(answer) => drop(answer.try_send(())),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(io::stderr(), "{lost} log lines were dropped: standard error did not accept them in time");
        }
    }
}

/// Waits until the lines so far are written, at most so long. To be called before the process ends, or writes to standard error itself.
pub(super) fn flush(limit: Duration) {
    let Some(work) = THREAD.get() else { return };
    let (answer, answered) = sync_channel(1);
    if work.try_send(Work::Answer(answer)).is_ok() {
        let _ = answered.recv_timeout(limit);
    }
}
