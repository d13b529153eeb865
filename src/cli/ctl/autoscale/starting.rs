//! Starting workers, and what becomes of the starts.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::keeper::lock_time;
use super::once;
use super::planner::Plan;
use super::provider::StartRequest;
use super::scaler::Scaler;
use crate::policy::allocations::Change;
use crate::policy::start_record::Turn;
use crate::queue::{Connection, QueueError, autoscale as records};
use crate::view::text::duration;

/// How long a worker takes to begin, and to take over from dead ones once it knows of them.
const SETTLING: Duration = Duration::from_secs(10);

impl Scaler<'_> {
    /// Starts one worker; whether another one may be.
    pub(super) async fn start(
        &mut self,
        conn: &Connection,
        plan: &Plan,
        drained: &[String],
    ) -> Result<bool, QueueError> {
        // The lock may have been lost while the provider took its time.
        if records::lock(conn, &self.name, &self.holder, lock_time(self.scale().interval)).await?.is_some() {
            return Ok(false);
        }
        self.count += 1;
        // Dead workers are found by who has waited for their heartbeat: one that exits before that would be started again and again.
        let dead_after = self.session.context.config.dead_after;
        let patience = if plan.wanted.is_for_chores { dead_after * 2 + SETTLING } else { Duration::ZERO };
        let unique = format!("{:x}-{}", conn.time().await?.as_millis(), self.count);
        let taken: BTreeSet<String> =
            self.planner.allocations.all().into_iter().chain(drained.iter().cloned()).collect();
        let started = self.provider.start(StartRequest { unique: &unique, patience, taken: &taken }).await;
        match started {
            Ok(id) => {
                self.record.accepted();
                self.planner.allocations.accepted(Instant::now(), &id);
                // Known to the next process too, whatever the list shows by then.
                self.show(plan);
                let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
                records::write(conn, &view).await?;
                let why = once::why(plan, &self.planner, self.args, None);
                self.tell("started", Some(&id), &why);
                Ok(true)
            }
            Err(error) => {
                self.change_view(|view| view.failures += 1);
                let why = error.to_string();
                self.tell("refused", None, &why);
                let turn = self.record.refused(Instant::now(), &why);
                self.turn(turn, &why).await;
                Ok(false)
            }
        }
    }

    /// Takes note of what has become of allocations.
    pub(super) async fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Attached(id) => {
                    let worker = self.provider.worker_of(&id);
                    self.tell("attached", Some(&id), &format!("worker {worker}"));
                    let turn = self.record.attached();
                    self.turn(turn, &format!("worker {worker} has attached")).await;
                }
                Change::Failed(id, why) => self.failed(&id, &why).await,
                Change::Overdue(id) => {
                    let time = duration(self.scale().start_timeout.as_secs());
                    let why = match self.provider.cancel(&id).await {
                        Ok(()) => format!("its worker did not attach within {time}; it is cancelled"),
                        Err(error) => {
                            format!("its worker did not attach within {time}, and it cannot be cancelled: {error}")
                        }
                    };
                    if self.provider.list().await.is_ok_and(|list| list.is_none()) {
                        self.planner.allocations.forget(&id);
                    }
                    self.failed(&id, &why).await;
                }
            }
        }
    }

    pub(super) async fn failed(&mut self, id: &str, why: &str) {
        self.change_view(|view| view.failures += 1);
        self.tell("failed", Some(id), why);
        let turn = self.record.failed(Instant::now(), &format!("allocation {id}: {why}"));
        self.turn(turn, why).await;
    }

    /// A pause begins or ends, loudly.
    pub(super) async fn turn(&mut self, turn: Turn, why: &str) {
        let what = match turn {
            Turn::None => return,
            Turn::Pauses => "autoscale_paused",
            Turn::GoesOn => "autoscale_resumed",
        };
        if turn == Turn::Pauses {
            let paused = self.record.paused(Instant::now()).map(|(why, _)| why.to_owned()).unwrap_or_default();
            self.tell(
                "paused",
                None,
                &format!("{paused}. It tries one start in 30 m; SIGHUP, or a restart, lets it go on at once"),
            );
        } else {
            self.tell("resumed", None, why);
        }
        if let Some(conn) = self.conn.clone() {
            records::note(&conn, what, &self.name).await;
        }
    }
}
