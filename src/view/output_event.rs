//! The events of a running task's output, for the pages that show it live.

use futures_util::stream::BoxStream;

/// What a task prints from now on, or from its start; it ends with the attempt, once its outcome is known. Dropped, nobody is followed any more.
pub type OutputStream = BoxStream<'static, OutputEvent>;

/// A piece of [`OutputStream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputEvent {
    /// It waits: nothing runs.
    Waits,
    /// It runs on this worker; what follows is from the beginning of that attempt.
    RunsOn(String),
    /// It has printed this.
    Output {
        /// On standard error, else on standard output.
        is_stderr: bool,
        /// Bytes before these that are not to be had any more.
        skipped: u64,
        /// As the task wrote them; not always whole characters.
        bytes: Vec<u8>,
    },
    /// Its worker, or Redis, answers again.
    Mended,
    /// This worker has not answered for seconds; it is asked again.
    Silent(String),
    /// Redis is away, for this reason; what follows goes on from here when it is back.
    Away(String),
}
