//! An autoscaler at work: a look after another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::args::{ProviderArgs, ScaleArgs};
use super::keeper::{Keeper, SharedView};
use super::planner::{Look, Planner};
use super::provider::Provider;
use crate::cli::ctl::context::CtlContext;
use crate::cli::exit::{CliError, Exit};
use crate::model::WorkerName;
use crate::model::snapshot::AutoscalerView;
use crate::policy::start_record::StartRecord;
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::{Client, Connection, QueueError, autoscale as records};

/// Between two looks at whether the workers that start have attached.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// An autoscaler at work.
pub(super) struct Scaler<'a> {
    pub(super) session: &'a CtlContext,
    pub(super) args: &'a ProviderArgs,
    pub(super) name: WorkerName,
    pub(super) holder: String,
    pub(super) provider: &'a dyn Provider,
    pub(super) planner: Planner,
    pub(super) record: StartRecord,
    pub(super) conn: Option<Connection>,
    pub(super) view: SharedView,
    /// Grows with each start, for names.
    pub(super) count: u64,
    /// What was said of a problem last, so that it is said once.
    pub(super) problem: Option<String>,
}

impl<'a> Scaler<'a> {
    /// Nothing is known yet.
    pub(super) fn new(
        session: &'a CtlContext,
        args: &'a ProviderArgs,
        name: WorkerName,
        holder: String,
        provider: &'a dyn Provider,
        planner: Planner,
    ) -> Self {
        let view = AutoscalerView {
            name: name.to_string(),
            provider: args.name().to_owned(),
            shape: planner.said_shape().to_string(),
            interval: args.scale().interval.as_secs().max(1),
            max_workers: planner.bounds().max,
            holder: holder.clone(),
            flags: planner.flags.clone(),
            ..AutoscalerView::default()
        };
        Self {
            session,
            args,
            name,
            holder,
            provider,
            planner,
            record: StartRecord::default(),
            conn: Some(session.conn.clone()),
            view: Arc::new(Mutex::new(view)),
            count: 0,
            problem: None,
        }
    }

    pub(super) fn scale(&self) -> &'a ScaleArgs {
        self.args.scale()
    }

    /// Until a signal asks for the end, or the lock is lost. Exit code 1 where it ends while it is paused.
    pub(super) async fn run(&mut self) -> Result<Exit, CliError> {
        if let Some(record) = records::begin(&self.session.conn, &self.name).await? {
            self.planner.resume(Instant::now(), &record);
            self.change_view(|view| view.failures = record.failures);
        }
        let client = self.session.context.client()?;
        let (lost, mut is_lost) = watch::channel(String::new());
        let keeper = Keeper {
            client: client.clone(),
            name: self.name.clone(),
            holder: self.holder.clone(),
            interval: self.scale().interval,
            view: Arc::clone(&self.view),
            lost,
        };
        let keeper = tokio::spawn(keeper.run());
        let resume = Arc::new(Notify::new());
        let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate, SignalRequest::Hangup])
            .map_err(|error| CliError::io("listen for signals", error))?;
        let resumes = Arc::clone(&resume);
        let stopped = async move {
            while signals.next().await == SignalRequest::Hangup {
                resumes.notify_one();
            }
        };
        let bounds = self.planner.bounds();
        self.session.say(&format!(
            "autoscaler {} starts workers of {} by {}, at most {}",
            self.name,
            self.planner.said_shape(),
            self.args.name(),
            bounds.max
        ));
        let ended = tokio::select! {
            ended = self.go_on(&client, &resume) => ended.map(|()| Exit::Done),
            () = stopped => Ok(Exit::Done),
            _ = is_lost.wait_for(|holder| !holder.is_empty()) => Err(CliError::Usage(format!(
                "the lock of autoscaler {} was lost: another one runs under this name; give this one another with --name", self.name
            ))),
        };
        keeper.abort();
        let is_paused = self.record.paused(Instant::now()).is_some();
        ended.map(|exit| if is_paused { Exit::TasksFailed } else { exit })
    }

    /// A look after another.
    async fn go_on(&mut self, client: &Client, resume: &Notify) -> Result<(), CliError> {
        loop {
            match self.tick(client).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    self.conn = self.conn.take().filter(|_| !error.breaks_connection());
                    self.say_problem(Some(format!("failed to {error}; it goes on when Redis answers")));
                }
                Err(error) => return Err(error.into()),
            }
            self.rest(resume).await;
        }
    }

    /// Waits for the next look, and meanwhile sees who attaches.
    async fn rest(&mut self, resume: &Notify) {
        let until = Instant::now() + self.scale().interval;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            tokio::select! {
                () = sleep(left.min(LOOK)) => {}
                () = resume.notified() => {
                    let turn = self.record.resume();
                    self.turn(turn, "an operator lets it go on").await;
                    return;
                }
            }
            let waiting = self.planner.allocations.unattached();
            let workers: Vec<String> = waiting.iter().map(|id| self.provider.worker_of(id)).collect();
            let Some(conn) = self.conn.clone() else { continue };
            // Where Redis is away, the next look says so.
            let Ok(seen) = records::seen(&conn, &workers).await else { continue };
            let attached: Vec<String> =
                waiting.into_iter().zip(seen).filter(|(_, seen)| *seen).map(|(id, _)| id).collect();
            let changes = self.planner.allocations.attached(&attached);
            self.take(changes).await;
        }
    }

    /// One look, and what follows from it.
    async fn tick(&mut self, client: &Client) -> Result<(), QueueError> {
        let conn = match &self.conn {
            Some(conn) => conn.clone(),
            None => self.conn.insert(client.connect().await?).clone(),
        };
        let list = match self.provider.list().await {
            Ok(list) => list,
            Err(error) => {
                self.say_problem(Some(format!("cannot list the workers of {}: {error}", self.args.name())));
                return Ok(());
            }
        };
        let look = Look::read(&conn).await?;
        let mut changes = self.planner.observe(Instant::now(), list.as_deref(), self.provider, &look);
        for id in self.planner.allocations.unlisted() {
            if list.is_some() && self.provider.is_gone(&id).await.is_ok_and(|is_gone| is_gone) {
                changes.extend(self.planner.allocations.gone(&id));
            }
        }
        self.say_problem(None);
        self.take(changes).await;
        let plan = self.planner.plan(&look);
        self.show(&plan);
        let drained = self.planner.drained(self.provider, &look);
        let free = self.provider.most().map(|most| most.saturating_sub(plan.own.all() + drained.len() as u64));
        let start = self.record.may_start(Instant::now(), plan.start.min(free.unwrap_or(u64::MAX)));
        for _ in 0..start {
            if !self.start(&conn, &plan, &drained).await? {
                break;
            }
        }
        self.show(&self.planner.plan(&look));
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        records::write(&conn, &view).await
    }
}
