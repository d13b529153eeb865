//! Keeps the lock of a name and the record of how its autoscaler stands, also while a provider hangs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::model::WorkerName;
use crate::model::snapshot::AutoscalerView;
use crate::queue::{Client, Connection, QueueError, autoscale};

/// The record, as it is written next.
pub(super) type SharedView = Arc<Mutex<AutoscalerView>>;

/// A loop of its own, on a connection of its own.
pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) name: WorkerName,
    pub(super) holder: String,
    pub(super) interval: Duration,
    pub(super) view: SharedView,
    /// Who has taken the lock away; empty while it is ours.
    pub(super) lost: watch::Sender<String>,
}

/// How long the lock lives: three intervals, and never so short that a busy server costs it.
pub(super) fn lock_time(interval: Duration) -> Duration {
    (interval * 3).max(Duration::from_secs(3))
}

impl Keeper {
    /// Until the lock is somebody else's.
    pub(super) async fn run(self) {
        let mut conn: Option<Connection> = None;
        loop {
            if conn.is_none() {
                conn = self.client.connect().await.ok();
            }
            if let Some(there) = &conn {
                match self.renew(there).await {
                    Ok(None) => {}
                    Ok(Some(holder)) => {
                        self.lost.send_replace(holder);
                        return;
                    }
                    // The main loop says it.
                    Err(error) if error.breaks_connection() => conn = None,
                    Err(_) => {}
                }
            }
            sleep(self.interval.min(Duration::from_secs(10))).await;
        }
    }

    async fn renew(&self, conn: &Connection) -> Result<Option<String>, QueueError> {
        if let Some(holder) = autoscale::lock(conn, &self.name, &self.holder, lock_time(self.interval)).await? {
            return Ok(Some(holder));
        }
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        autoscale::write(conn, &view).await?;
        Ok(None)
    }
}
