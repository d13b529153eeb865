//! What an operator orders from the pages of `serve --allow-actions`: looked into and carried out as `distcomp-ctl` does, over a connection that is
//! made for one order and may write.

use std::future::Future;
use std::sync::Arc;

use crate::cli::exit::CliError;
use crate::cli::orders::{
    BatchResume, Execution, Interrupted, SelectArgs, Selected, Selector, batch_pause_plan, drain_plan, drain_workers,
    drainable, joined, pause_batches, pause_plan, pause_queue, plan_text, result_text, resume_plan, resume_queue,
    resume_workers, resumed_text, undrain_plan, verb, whole, worker_names,
};
use crate::cli::task_group::GroupArgs;
use crate::config::Config;
use crate::model::{BatchName, FieldOrder, WorkerName, WorkerNameError};
use crate::queue::control::Change;
use crate::queue::find::{TaskMatch, find_all};
use crate::queue::guard::{self, Access};
use crate::queue::{Client, Connection, QueueError, batch_forget, inspect};
use crate::view::dashboard::{CarryOut, Order, OrderDesk, OrderFuture, OrderTarget, OrderVerb, Prepared};
use crate::view::text::{counted, tasks};

/// The name under which the log has these orders, before the operator's own.
const PROGRAM: &str = "dashboard";

/// Connects for each order.
pub(super) struct RedisDesk {
    client: Client,
    config: Arc<Config>,
}

impl RedisDesk {
    /// Makes sure at the start that orders could be carried out.
    pub(super) async fn open(client: Client, config: Arc<Config>) -> Result<Self, CliError> {
        let desk = Self { client, config };
        let (conn, _) = desk.connect(Access::Free).await?;
        match guard::try_write(&conn).await {
            // What cannot be done now may be done later; and a purge makes room.
            Ok(()) | Err(QueueError::Busy { .. }) => Ok(desk),
            Err(error) => Err(error.into()),
        }
    }

    async fn connect(&self, access: Access) -> Result<(Connection, FieldOrder), CliError> {
        let conn = self.client.connect().await?;
        let order = guard::handshake(&conn, self.config.field_order, access).await?;
        Ok((conn, order))
    }

    async fn look_into(self: Arc<Self>, order: Order) -> Result<Prepared, CliError> {
        let verb = order.verb;
        match (verb, order.target) {
            (OrderVerb::Requeue, target) => self.tasks(Change::Requeue, target).await,
            (OrderVerb::Cancel, target) => self.tasks(Change::Cancel, target).await,
            (OrderVerb::Purge, target) => self.tasks(Change::Purge, target).await,
            (OrderVerb::Pause, OrderTarget::Batches(names)) => self.pause_batches(names).await,
            (OrderVerb::Pause, _) => self.pause().await,
            (OrderVerb::Resume, OrderTarget::Batches(names)) => self.resume_batches(names).await,
            (OrderVerb::Resume, OrderTarget::Workers(names)) => self.resume_workers(&names),
            (OrderVerb::Resume, _) => self.resume().await,
            (OrderVerb::Drain, OrderTarget::Workers(names)) => self.drain(&names).await,
            (OrderVerb::Drain, _) => Err(CliError::Usage("no worker is named".to_owned())),
        }
    }

    /// An order that [`OrderVerb`] and [`OrderTarget`] agree on, to be carried out over a connection of its own.
    fn prepared<F: Future<Output = Result<String, CliError>> + Send + 'static>(
        self: Arc<Self>,
        what: String,
        count: u64,
        access: Access,
        run: impl FnOnce(Connection, FieldOrder, String) -> F + Send + 'static,
    ) -> Prepared {
        let carry_out: CarryOut = Box::new(move |by| {
            Box::pin(async move {
                let carried_out = async {
                    let (conn, order) = self.connect(access).await?;
                    run(conn, order, format!("{PROGRAM}.{by}")).await
                };
                carried_out.await.map_err(|error: CliError| error.to_string())
            })
        });
        Prepared { what, count, examples: Vec::new(), notes: Vec::new(), carry_out }
    }

    async fn tasks(self: Arc<Self>, op: Change, target: OrderTarget) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let mut notes = Vec::new();
        let scope = scope_of(&target);
        let args = match target {
            OrderTarget::Tasks(ids) => {
                SelectArgs { lines: lines_of(&conn, &ids, &mut notes).await?, ..SelectArgs::default() }
            }
            OrderTarget::Matching { state, kind, batch, tag, include, worker } => {
                let (state, group) = (state.map(Into::into), GroupArgs { kind, batch, tag });
                SelectArgs { state, group, include, worker, ..SelectArgs::default() }
            }
            OrderTarget::Queue | OrderTarget::Batches(_) | OrderTarget::Workers(_) => {
                return Err(CliError::Usage("no task is selected".to_owned()));
            }
        };
        let (selected, states) = if args.lines.is_empty() && notes.is_empty() {
            let selector = Selector::new(op, &args)?;
            (selector.scan(&conn, true).await?, selector.states())
        } else {
            (Selected::named(&conn, &args.lines).await?, String::new())
        };
        notes.extend(scope);
        if selected.cancelled > 0 {
            notes.push(format!("Left out: {}.", counted(selected.cancelled, "cancelled task")));
        }
        if op != Change::Requeue {
            notes.push("Running tasks are killed.".to_owned());
        }
        let (what, number, examples) =
            (plan_text(op, &selected, &states), selected.lines.len(), selected.examples.clone());
        let batch = args.whole_batch().cloned();
        let access = if op == Change::Purge { Access::Free } else { Access::Write };
        let config = Arc::clone(&self.config);
        let run = move |conn, order, by: String| change(config, op, (selected, batch), (conn, order), by);
        let prepared = self.prepared(what, number, access, run);
        Ok(Prepared { examples, notes, ..prepared })
    }

    async fn pause(self: Arc<Self>) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let what = pause_plan(&conn).await?;
        Ok(self.prepared(what, 1, Access::Write, async |conn, _, by| {
            pause_queue(&conn, &by, &by).await?;
            Ok("the queue is paused".to_owned())
        }))
    }

    async fn resume(self: Arc<Self>) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let plan = resume_plan(&conn).await?;
        let count = u64::from(plan.is_some());
        let what = plan.unwrap_or_else(|| "the queue is neither paused nor stopping".to_owned());
        Ok(self.prepared(what, count, Access::Write, async |conn, _, by| {
            resume_queue(&conn, &by).await?;
            Ok("the queue goes on".to_owned())
        }))
    }

    async fn pause_batches(self: Arc<Self>, names: Vec<BatchName>) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let what = batch_pause_plan(&whole(&conn, &names).await?);
        Ok(self.prepared(what, names.len() as u64, Access::Write, async move |conn, _, by| {
            pause_batches(&conn, &names, &by).await?;
            Ok(format!("paused {}", joined(&names)))
        }))
    }

    async fn resume_batches(self: Arc<Self>, names: Vec<BatchName>) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let held = BatchResume::of(&conn, &names).await?;
        let what = held.as_ref().map_or_else(|| format!("{} is not held", joined(&names)), BatchResume::plan);
        let count = held.as_ref().map_or(0, |held| held.names.len() as u64);
        Ok(self.prepared(what, count, Access::Write, async move |conn, order, by| match held {
            Some(held) => held.carry_out(&conn, order, &by).await,
            None => Ok("nothing was held".to_owned()),
        }))
    }

    async fn drain(self: Arc<Self>, names: &[String]) -> Result<Prepared, CliError> {
        let (conn, _) = self.connect(Access::Read).await?;
        let workers = drainable(&inspect::overview(&conn).await?, names)?;
        let what = drain_plan(&workers);
        Ok(self.prepared(what, workers.len() as u64, Access::Write, async move |conn, _, by| {
            drain_workers(&conn, &workers, &by).await
        }))
    }

    fn resume_workers(self: Arc<Self>, names: &[String]) -> Result<Prepared, CliError> {
        let workers = worker_names(names)?;
        let what = undrain_plan(&workers);
        Ok(self.prepared(what, workers.len() as u64, Access::Write, async move |conn, _, by| {
            Ok(resumed_text(&resume_workers(&conn, &workers, &by).await?))
        }))
    }
}

/// What tasks have been selected by, in words.
fn scope_of(target: &OrderTarget) -> Option<String> {
    let OrderTarget::Matching { state, kind, batch, tag, include, worker } = target else { return None };
    let said = [
        ("state", state.map(|state| state.as_str().to_owned())),
        ("kind", kind.clone()),
        ("batch", batch.as_ref().map(ToString::to_string)),
        ("tag", tag.clone()),
        ("text", include.clone()),
        ("worker", worker.clone()),
    ];
    let said: Vec<String> = said.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
    Some(format!("Selected by: {}.", said.join(", ")))
}

/// The lines of some tasks; one that is gone is no reason not to change the others.
async fn lines_of(conn: &Connection, ids: &[String], notes: &mut Vec<String>) -> Result<Vec<String>, CliError> {
    let mut lines = Vec::new();
    let mut gone = 0;
    for found in find_all(conn, ids).await? {
        match found {
            TaskMatch::One(line) if !lines.contains(&line) => lines.push(line),
            TaskMatch::One(_) => {}
            TaskMatch::None | TaskMatch::Many(_) => gone += 1,
        }
    }
    if gone > 0 {
        notes.push(format!("{} not in the queue any more.", are(gone)));
    }
    Ok(lines)
}

fn are(number: u64) -> String {
    format!("{} {}", tasks(number), if number == 1 { "is" } else { "are" })
}

/// Changes what was selected, and says what that did.
async fn change(
    config: Arc<Config>,
    op: Change,
    (selected, batch): (Selected, Option<BatchName>),
    (conn, order): (Connection, FieldOrder),
    by: String,
) -> Result<String, CliError> {
    let number = selected.lines.len();
    let name: WorkerName = by.parse().map_err(|error: WorkerNameError| CliError::Usage(error.to_string()))?;
    let (dead_after, max_lost) = (config.dead_after, config.max_lost);
    let execution = Execution { conn: &conn, order, by: &name, dead_after, max_lost };
    let done = execution.carry_out(op, selected, |_| {}).await;
    let (changed, purged) = done.map_err(|Interrupted { after, error }| {
        CliError::Usage(format!("{} stopped after {}: {error}; repeating it is safe", verb(op), tasks(after)))
    })?;
    let mut files = None;
    if op == Change::Purge {
        files = Some(purged.delete_files(&config.result_dir)?);
        if let Some(batch) = &batch {
            batch_forget::forget(&conn, batch).await?;
        }
        batch_forget::forget_purged(&conn).await?;
    }
    Ok(result_text(op, changed, number, files))
}

impl OrderDesk for RedisDesk {
    fn prepare(self: Arc<Self>, order: Order) -> OrderFuture<Prepared> {
        Box::pin(async move { self.look_into(order).await.map_err(|error| error.to_string()) })
    }
}
