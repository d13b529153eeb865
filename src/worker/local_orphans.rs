//! Kills the process trees that a dead worker of this machine has left running, before its tasks run again here.
//!
//! It knows only workers of the same queue and state directory. What others left is killed when a worker of their name starts again.

use std::path::PathBuf;

use super::attach;
use super::state::StateDir;
use crate::model::WorkerName;
use crate::process;
use crate::queue::reclaim;
use crate::queue::session::Registration;
use crate::queue::{Connection, QueueError};

/// What tells a worker of this machine from another.
#[derive(Clone, Debug)]
pub struct LocalOrphans {
    me: Registration,
    state_dir: PathBuf,
    queue: String,
}

impl LocalOrphans {
    /// Those of one worker; `queue` names server, database and prefix, as for its own [`StateDir`].
    #[must_use]
    pub fn new(me: Registration, state_dir: PathBuf, queue: String) -> Self {
        Self { me, state_dir, queue }
    }

    /// Kills what a dead worker left running, if it ran here. One that lives and was only silent keeps its tasks: it ends them itself once it hears
    /// that it has lost them.
    ///
    /// # Errors
    /// Those of asking Redis where it ran.
    pub async fn sweep(&self, conn: &Connection, dead: &WorkerName) -> Result<(), QueueError> {
        let Some(other) = reclaim::owner(conn, dead).await?.registration else { return Ok(()) };
        let pid = i32::try_from(other.pid).unwrap_or(0);
        if !attach::is_same_machine(&self.me, &other) || process::is_alive(pid, other.start_ticks) {
            return Ok(());
        }
        let (state_dir, queue, worker) = (self.state_dir.clone(), self.queue.clone(), dead.clone());
        // It reads all of /proc, and waits for those it kills.
        let swept = tokio::task::spawn_blocking(move || StateDir::sweep_dead(&state_dir, &worker, &queue)).await;
        if let Some(killed) = swept.ok().flatten().filter(|killed| *killed > 0) {
            tracing::warn!(%dead, killed, "killed processes that a dead worker of this machine left behind");
        }
        Ok(())
    }
}
