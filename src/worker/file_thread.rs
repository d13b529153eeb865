//! Reads files on a thread of its own, since a file system that does not answer stops the thread that asks it: the loops, and the heartbeats, go on.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::policy::OngoingFault;

/// One kind of file work, one piece of it at a time: while one hangs no other is begun, so that threads do not pile up.
#[derive(Debug)]
pub struct FileThread<T> {
    /// What it works on, for the log.
    what: &'static str,
    answer: Option<oneshot::Receiver<T>>,
    hangs: Option<OngoingFault>,
}

impl<T: Send + 'static> FileThread<T> {
    /// Nothing under way.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, answer: None, hangs: None }
    }

    /// Whether a piece of work has no answer yet.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.answer.is_some()
    }

    /// Begins a piece of work. Only where none is under way.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn begin(&mut self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        let (answer, answered) = oneshot::channel();
        // Not one of the runtime's few threads for blocking calls: those look up names, and would all hang here in time.
        std::thread::Builder::new().name("files".to_owned()).spawn(move || drop(answer.send(work())))?;
        self.answer = Some(answered);
        Ok(())
    }

    /// The answer, if it comes in time; what does not is logged, at growing intervals, and may come to a later call. Cancel safe.
    pub async fn wait(&mut self, limit: Duration) -> Option<T> {
        let answer = self.answer.as_mut()?;
        match tokio::time::timeout(limit, answer).await {
            Ok(answered) => {
                self.answer = None;
                if let Some(hung) = self.hangs.take() {
                    let seconds = hung.lasted(Instant::now()).as_secs();
                    tracing::info!(seconds, "the file system answers again: {}", self.what);
                }
                answered.ok()
            }
            Err(_) => {
                let now = Instant::now();
                let is_due = match &mut self.hangs {
                    Some(hangs) => hangs.again(now),
                    None => {
                        self.hangs = Some(OngoingFault::begin(now));
                        true
                    }
                };
                if is_due {
                    tracing::warn!(
                        "the file system does not answer: {}; the worker continues with the values read before",
                        self.what
                    );
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_hangs_holds_nobody_and_is_answered_later() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut files = FileThread::new("a test");
        files.begin(move || gone.recv().is_ok()).expect("a thread");
        assert_eq!(files.wait(Duration::from_millis(10)).await, None);
        assert!(files.is_busy());
        go.send(()).expect("it waits");
        assert_eq!(files.wait(Duration::from_secs(60)).await, Some(true));
        assert!(!files.is_busy());
    }
}
