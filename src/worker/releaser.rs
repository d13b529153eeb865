//! Does what is to be done about batches besides claims: empties gates that have opened, gives up what can run no more, counts members anew. One worker of
//! the fleet at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::Doing;
use super::link::Link;
use crate::model::{BatchHold, BatchName, FailureKind, FieldOrder};
use crate::queue::batches::{self, MemberScan, MemberState, Recount};
use crate::queue::{QueueError, Session, aside};
use crate::sys::random;

/// Between looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How long the lock is ours without being renewed.
const LOCK: Duration = Duration::from_secs(5);

/// Looks after batches, in turns with the other workers.
pub(super) struct Releaser {
    /// The way to Redis.
    pub(super) link: Arc<Link>,
    /// The field order of the queue.
    pub(super) order: FieldOrder,
}

impl Releaser {
    /// For ever; it is dropped at shutdown.
    pub(super) async fn run(self) {
        loop {
            tokio::time::sleep(PERIOD.mul_f64(0.75 + random::fraction() / 2.0)).await;
            let Some(session) = self.link.present() else { continue };
            match self.pass(&session).await {
                Ok(()) => self.link.worked(Doing::Release),
                Err(error) => {
                    self.link.report(&session, Doing::Release, &error);
                }
            }
        }
    }

    async fn pass(&self, session: &Session) -> Result<(), QueueError> {
        let conn = session.connection();
        let chores = batches::chores(conn).await?;
        let mut turn = Turn { session, locked: None };
        if chores.recount {
            let mut recount = Recount::default();
            loop {
                if !turn.is_ours().await? {
                    return Ok(());
                }
                let start = Instant::now();
                if recount.step(conn).await? {
                    tracing::info!("counted the members of all batches anew");
                    break;
                }
                tokio::time::sleep(start.elapsed()).await;
            }
        }
        while chores.release && turn.is_ours().await? {
            let start = Instant::now();
            let step = batches::release(conn, None).await?;
            for batch in &step.stopped {
                self.give_up(session, batch, &mut turn).await?;
            }
            if !step.has_more {
                break;
            }
            tokio::time::sleep(start.elapsed()).await;
        }
        Ok(())
    }

    /// Gives up what waits of a stopped batch. While something of it still runs, and may come back, the batch stays to be looked at.
    async fn give_up(&self, session: &Session, batch: &BatchName, turn: &mut Turn<'_>) -> Result<(), QueueError> {
        let conn = session.connection();
        let Some(hold) = batches::held(conn, batch).await?.filter(BatchHold::has_stopped) else {
            return Ok(());
        };
        let reason = hold.to_string();
        let (mut scan, mut open, mut given_up) = (MemberScan::default(), 0, 0);
        while let Some(page) = scan.page(conn).await? {
            if !turn.is_ours().await? {
                return Ok(());
            }
            let start = Instant::now();
            let of_batch = page.into_iter().filter(|member| member.state == MemberState::Open && member.is_of(batch));
            let lines: Vec<String> = of_batch.map(|member| member.line).collect();
            // What a local run has set aside waits for another command, and is nothing to wait for.
            let are_aside = aside::contains(conn, &lines).await?;
            open += are_aside.iter().filter(|is_aside| !**is_aside).count() as u64;
            given_up += batches::give_up(conn, &lines, self.order, &reason, FailureKind::BatchStopped).await?;
            tokio::time::sleep(start.elapsed()).await;
        }
        if given_up > 0 {
            tracing::warn!(%batch, given_up, reason, "gave up what waits of a stopped batch");
        }
        if open == given_up {
            batches::release(conn, Some(batch)).await?;
        }
        Ok(())
    }
}

/// The lock, renewed as long as it is used.
struct Turn<'a> {
    session: &'a Session,
    locked: Option<Instant>,
}

impl Turn<'_> {
    async fn is_ours(&mut self) -> Result<bool, QueueError> {
        if self.locked.is_none_or(|at| at.elapsed() > LOCK / 2) {
            if !batches::lock(self.session.connection(), self.session.instance(), LOCK).await? {
                return Ok(false);
            }
            self.locked = Some(Instant::now());
        }
        Ok(true)
    }
}
