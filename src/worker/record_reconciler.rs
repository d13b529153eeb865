//! Keeps what is derived true when others move or delete lines: one worker of the fleet at a time, at most 1 % of the server's time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::Doing;
use super::link::Link;
use crate::model::FieldOrder;
use crate::queue::reconcile::{self, DerivedHash, ReconcileScan};
use crate::queue::{QueueError, Session, share};
use crate::sys::random;

/// Between passes of the fleet.
const PERIOD: Duration = Duration::from_secs(5);

/// Between the two judgements of an entry: longer than the two steps of a Python manager's move are apart.
const DOUBT: Duration = Duration::from_secs(1);

/// Goes through the records of the queue a step at a time, in turns with the other workers.
pub(super) struct RecordReconciler {
    /// The way to Redis.
    pub(super) link: Arc<Link>,
    /// The fields of task lines.
    pub(super) order: FieldOrder,
}

impl RecordReconciler {
    /// For ever; it is dropped at shutdown.
    pub(super) async fn run(self) {
        loop {
            tokio::time::sleep(PERIOD.mul_f64(0.75 + random::fraction() / 2.0)).await;
            let Some(session) = self.link.present() else { continue };
            match pass(&session, self.order).await {
                Ok(mended) => {
                    self.link.worked(Doing::ReconcileRecords);
                    if mended > 0 {
                        tracing::info!(mended, "removed records that were left of earlier tasks");
                    }
                }
                Err(error) => {
                    self.link.report(&session, Doing::ReconcileRecords, &error);
                }
            }
        }
    }
}

/// A whole pass; answers how many entries were mended, 0 when another worker is at it.
async fn pass(session: &Session, order: FieldOrder) -> Result<u64, QueueError> {
    let conn = session.connection();
    let mut locked: Option<Instant> = None;
    let mut mended = 0;
    for subject in reconcile::subjects(conn).await? {
        let mut look = ReconcileScan::default();
        loop {
            if locked.is_none_or(|at| at.elapsed() > PERIOD / 2) {
                if !reconcile::lock(conn, session.instance(), PERIOD * 2).await? {
                    return Ok(mended);
                }
                locked = Some(Instant::now());
            }
            let start = Instant::now();
            let is_over = look.step(conn, &subject).await?;
            tokio::time::sleep((start.elapsed() * 99).min(Duration::from_secs(1))).await;
            if is_over {
                break;
            }
        }
        mended += judge_again(session, &subject, look).await?;
    }
    mended += share::count(conn, order).await?;
    Ok(mended)
}

async fn judge_again(session: &Session, subject: &DerivedHash, look: ReconcileScan) -> Result<u64, QueueError> {
    if look.suspects.is_empty() {
        return Ok(0);
    }
    tokio::time::sleep(DOUBT).await;
    reconcile::mend(session.connection(), subject, &look.suspects).await
}
