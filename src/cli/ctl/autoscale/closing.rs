//! The end of an autoscaler.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Instant;

use tokio::time::sleep;

use super::keeper::lock_time;
use super::scaler::{LOOK, Scaler};
use crate::cli::exit::CliError;
use crate::cli::orders::here;
use crate::model::WorkerName;
use crate::policy::allocations::Standing;
use crate::queue::{QueueError, autoscale as records, control, inspect};
use crate::view::text::counted;

impl Scaler<'_> {
    /// The end: allocations go on, or are cancelled, and the name is free.
    pub(super) async fn close(&mut self) -> Result<(), CliError> {
        if self.scale().cancel_on_exit {
            self.cancel_all().await;
        }
        let own = self.planner.allocations.own().all();
        if own > 0 {
            let which = counted(own, "allocation");
            let how = match (self.scale().cancel_on_exit, own) {
                (true, 1) => "is ending",
                (true, _) => "are ending",
                (false, 1) => "goes on by itself",
                (false, _) => "go on by themselves",
            };
            self.session.say(&format!("{which} of autoscaler {} {how}", self.name));
        }
        self.change_view(|view| view.is_stopped = true);
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.session.context.client()?.connect().await?,
        };
        // Of another one that holds the lock now, the record stays.
        if records::lock(&conn, &self.name, &self.holder, lock_time(self.scale().interval)).await?.is_none() {
            records::write(&conn, &view).await?;
            records::unlock(&conn, &self.name, &self.holder).await?;
        }
        Ok(())
    }

    /// Cancels what the provider lists, and what is known beside.
    pub(super) async fn cancel_all(&mut self) {
        let listed = self.provider.list().await.ok().flatten().unwrap_or_default();
        let listed = listed.into_iter().filter(|one| !matches!(one.standing, Standing::Ended(_))).map(|one| one.id);
        let all: BTreeSet<String> = self.planner.allocations.all().into_iter().chain(listed).collect();
        for id in all {
            let cancelled = if self.provider.drains() {
                self.drain(&id).await
            } else {
                self.provider.cancel(&id).await.map_err(|error| error.to_string())
            };
            match cancelled {
                Ok(()) => self.tell("cancelled", Some(&id), "--cancel-on-exit"),
                Err(why) => self.tell("problem", None, &format!("cannot cancel {id}: {why}")),
            }
        }
    }

    /// Drains a worker, and waits for a while until it has left. Then its name is as it was.
    pub(super) async fn drain(&self, id: &str) -> Result<(), String> {
        let worker = self.provider.worker_of(id).parse::<WorkerName>().map_err(|error| error.to_string())?;
        let conn = self.conn.as_ref().ok_or("Redis does not answer")?;
        let told = |error: QueueError| error.to_string();
        control::drain(conn, &worker, &here()).await.map_err(told)?;
        let begun = Instant::now();
        while begun.elapsed() < self.scale().provider_timeout {
            let live = inspect::overview(conn).await.map_err(told)?.workers;
            if !live.iter().any(|view| view.name == worker.as_str() && view.is_alive()) {
                return control::undrain(conn, &worker, &here()).await.map(drop).map_err(told);
            }
            sleep(LOOK).await;
        }
        Err(format!("{worker} still runs tasks; its drain goes on, and distcomp-ctl resume --worker {worker} lifts it"))
    }
}
