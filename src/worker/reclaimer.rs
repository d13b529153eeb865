//! Takes over the tasks of dead workers. One worker of the fleet looks at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::failpoint::failpoint;
use super::faults::Doing;
use super::link::Link;
use super::local_orphans::LocalOrphans;
use crate::config::Config;
use crate::model::{FieldOrder, WorkerName};
use crate::policy::failure_detector::{FailureDetector, Observation};
use crate::queue::reclaim::{self, Leases, SilentWorker};
use crate::queue::take_over::{ReclaimReason, Reclaimed, TakeOver, deregister};
use crate::queue::{Connection, QueueError, Session};
use crate::sys::random;

/// Later than a lease runs out by so much at most: whoever looks then must not be a moment early.
const LATENESS: Duration = Duration::from_millis(200);

/// Looks for leases that have run out, in turns with the other workers.
pub struct Reclaimer {
    /// The way to Redis.
    pub link: Arc<Link>,
    /// The dead of this machine.
    pub local_orphans: LocalOrphans,
    /// The settings.
    pub config: watch::Receiver<Arc<Config>>,
    /// The field order of the queue.
    pub order: FieldOrder,
}

impl Reclaimer {
    /// For ever; it is dropped at shutdown.
    pub async fn run(self) {
        let mut detector = FailureDetector::default();
        let mut mute = HashMap::new();
        // What is watched from the start is believed a lease from the start.
        let mut due = Some(self.config.borrow().heartbeat_interval / 4);
        loop {
            let period =
                (self.config.borrow().dead_after / 4).clamp(Duration::from_millis(200), Duration::from_secs(10));
            let usual = period.mul_f64(0.75 + random::fraction() / 2.0);
            // Not a quarter of a lease late: the moment is known at which the next lease runs out.
            let wait = due
                .take()
                .map_or(usual, |due: Duration| usual.min(due + LATENESS.mul_f64(0.1 + 0.9 * random::fraction())));
            tokio::time::sleep(wait).await;
            let Some(session) = self.link.present() else {
                detector.miss();
                mute.clear();
                continue;
            };
            let looked = self.look(&mut detector, &mut mute, &session, period);
            match looked.await {
                Ok(next) => {
                    self.link.worked(Doing::Reclaim);
                    due = next;
                }
                Err(error) => {
                    detector.miss();
                    mute.clear();
                    self.link.report(&session, Doing::Reclaim, &error);
                }
            }
        }
    }

    /// `mute` holds those whose heartbeat tells no age, and since when it stands so: there is none, since a worker that has just attached has had no
    /// time to heartbeat; or it is of the future, since the server's clock was set back. They are dead when it stands so for a lease.
    ///
    /// Answers in how long to look again at the latest, where something is known: the next lease runs out, or silence can be believed.
    async fn look(
        &self,
        detector: &mut FailureDetector,
        mute: &mut HashMap<WorkerName, (Option<u64>, Instant)>,
        session: &Session,
        period: Duration,
    ) -> Result<Option<Duration>, QueueError> {
        let dead_after = self.config.borrow().dead_after;
        let (conn, me, now) = (session.connection(), session.worker(), Instant::now());
        let (server, own_heartbeat) = reclaim::own_heartbeat(conn, me).await?;
        if !detector.observe(now, Observation { server, own_heartbeat }, dead_after) {
            mute.clear();
            return Ok(Some(detector.ready_in(now, dead_after).unwrap_or(self.config.borrow().heartbeat_interval)));
        }
        if !reclaim::lock(conn, session.instance(), period * 2).await? {
            mute.clear();
            return Ok(None);
        }
        // Judged by the time that the detector has just found good: a clock that is set a moment later makes nobody old.
        let Leases { silent, next_end } = reclaim::leases(conn, server, dead_after).await?;
        mute.retain(|worker, (heartbeat, _)| {
            silent.iter().any(|one| one.worker == *worker && one.heartbeat == *heartbeat)
        });
        for SilentWorker { worker, heartbeat, is_old } in silent {
            let stands_for = |since: Instant| now.saturating_duration_since(since);
            let is_dead = is_old || stands_for(mute.entry(worker.clone()).or_insert((heartbeat, now)).1) >= dead_after;
            if is_dead && worker != *me {
                self.take_over(conn, &worker, ReclaimReason::LeaseExpired(dead_after, heartbeat)).await?;
            }
        }
        let mute_end = mute.values().map(|(_, since)| dead_after.saturating_sub(now.saturating_duration_since(*since)));
        // What is over by now and still there cannot be helped sooner than with the usual look.
        Ok(mute_end.chain(next_end).filter(|left| !left.is_zero()).min())
    }

    async fn take_over(
        &self,
        conn: &Connection,
        worker: &WorkerName,
        reason: ReclaimReason<'_>,
    ) -> Result<(), QueueError> {
        let max_lost = self.config.borrow().max_lost;
        failpoint!("reclaiming");
        self.local_orphans.sweep(conn, worker).await?;
        let Reclaimed { returned, failed, is_alive } =
            TakeOver { conn, worker, reason, max_lost }.all(self.order).await?;
        if is_alive {
            return Ok(());
        }
        failpoint!("reclaimed");
        if deregister(conn, worker).await? {
            tracing::warn!(dead = %worker, returned, failed, "took over the tasks of a dead worker");
        }
        Ok(())
    }
}
