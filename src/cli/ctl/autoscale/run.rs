//! The loop of an autoscaler: look, decide, start, and say so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::args::{AutoscaleArgs, ProviderArgs, ScaleArgs};
use super::command::UserCommands;
use super::keeper::{Keeper, SharedView, lock_time};
use super::launch::Launch;
use super::once;
use super::pbs::Pbs;
use super::planner::{Look, Plan, Planner};
use super::provider::{Caller, Provider, StartRequest};
use super::slurm::Slurm;
use super::ssh::SshHosts;
use crate::cli::ctl::context::CtlContext;
use crate::cli::exit::{CliError, Exit};
use crate::cli::orders::here;
use crate::cli::output::Out;
use crate::host::short_host_name;
use crate::model::snapshot::AutoscalerView;
use crate::model::{Offer, WorkerName};
use crate::policy::allocations::{Change, Standing};
use crate::policy::start_record::{StartRecord, Turn};
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::{Client, Connection, QueueError, autoscale as records, control, inspect};
use crate::view::text::{counted, duration};

/// Between two looks at whether the workers that start have attached.
const LOOK: Duration = Duration::from_secs(1);

/// Between two tries to take a lock that another process has.
const LOCK: Duration = Duration::from_millis(500);

/// The whole command.
pub(in crate::cli::ctl) async fn autoscale(session: &mut CtlContext, args: &AutoscaleArgs) -> Result<Exit, CliError> {
    let provider_args = &args.provider;
    let scale = provider_args.scale();
    let name = name_of(provider_args, &session.context.config.key_prefix)?;
    let launch = Launch::new(name.clone(), scale, provider_args.time_limit(), &session.context)?;
    let provider = provider_of(provider_args, launch)?;
    let planner = Planner::new(provider_args, &*provider, &session.context);
    if scale.once || session.manner.dry_run {
        return once::once(session, provider_args, &name, &*provider, planner).await;
    }
    let holder = format!("{}:{}", short_host_name(), std::process::id());
    take_lock(session, &name, &holder, scale.interval).await?;
    let mut scaler = Scaler::new(session, provider_args, name, holder, &*provider, planner);
    let ended = scaler.run().await;
    let closed = scaler.close().await;
    let exit = ended?;
    closed?;
    Ok(exit)
}

/// The name that was given, or that of the provider with what tells queues of one server apart.
fn name_of(args: &ProviderArgs, prefix: &str) -> Result<WorkerName, CliError> {
    if let Some(name) = &args.scale().name {
        return Ok(name.clone());
    }
    let queue: String = prefix.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(24).collect();
    let name = if queue.is_empty() { args.name().to_owned() } else { format!("{}-{queue}", args.name()) };
    name.parse().map_err(|error| CliError::Usage(format!("--name is missing, and {name} is none: {error}")))
}

fn provider_of(args: &ProviderArgs, launch: Launch) -> Result<Box<dyn Provider>, CliError> {
    let caller = Caller { limit: args.scale().provider_timeout };
    Ok(match args {
        ProviderArgs::Slurm(args) => Box::new(Slurm::new(launch, args, caller)),
        ProviderArgs::Pbs(args) => Box::new(Pbs::new(launch, args, caller)),
        ProviderArgs::Ssh(args) => Box::new(SshHosts::new(&launch, args, caller)?),
        ProviderArgs::Command(args) => Box::new(UserCommands::new(launch, args, caller)),
    })
}

/// Takes the lock of the name. One that was killed leaves it for three intervals.
async fn take_lock(session: &CtlContext, name: &WorkerName, holder: &str, interval: Duration) -> Result<(), CliError> {
    let time = lock_time(interval);
    let (begun, mut has_said) = (Instant::now(), false);
    loop {
        let Some(other) = records::lock(&session.conn, name, holder, time).await? else { return Ok(()) };
        if begun.elapsed() > time + LOCK {
            return Err(CliError::Usage(format!(
                "an autoscaler named {name} runs already, as {other}: stop it, or give this one another name with --name"
            )));
        }
        if !std::mem::replace(&mut has_said, true) {
            session
                .say(&format!("waiting for the lock of {name}, which {other} has, for {} s at most", time.as_secs()));
        }
        sleep(LOCK).await;
    }
}

/// An autoscaler at work.
struct Scaler<'a> {
    session: &'a CtlContext,
    args: &'a ProviderArgs,
    name: WorkerName,
    holder: String,
    provider: &'a dyn Provider,
    planner: Planner,
    record: StartRecord,
    conn: Option<Connection>,
    view: SharedView,
    /// Grows with each start, for names.
    count: u64,
    /// What was said of a problem last, so that it is said once.
    problem: Option<String>,
}

impl<'a> Scaler<'a> {
    fn new(
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

    fn scale(&self) -> &'a ScaleArgs {
        self.args.scale()
    }

    /// Until a signal asks for the end, or the lock is lost. Exit code 1 where it ends while it is paused.
    async fn run(&mut self) -> Result<Exit, CliError> {
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

    /// Starts one worker; whether another one may be.
    async fn start(&mut self, conn: &Connection, plan: &Plan, drained: &[String]) -> Result<bool, QueueError> {
        // The lock may have been lost while the provider took its time.
        if records::lock(conn, &self.name, &self.holder, lock_time(self.scale().interval)).await?.is_some() {
            return Ok(false);
        }
        self.count += 1;
        let unique = format!("{:x}-{}", conn.time().await?.as_millis(), self.count);
        let taken: BTreeSet<String> =
            self.planner.allocations.all().into_iter().chain(drained.iter().cloned()).collect();
        let started = self.provider.start(StartRequest { unique: &unique, taken: &taken }).await;
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
    async fn take(&mut self, changes: Vec<Change>) {
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

    async fn failed(&mut self, id: &str, why: &str) {
        self.change_view(|view| view.failures += 1);
        self.tell("failed", Some(id), why);
        let turn = self.record.failed(Instant::now(), &format!("allocation {id}: {why}"));
        self.turn(turn, why).await;
    }

    /// A pause begins or ends, loudly.
    async fn turn(&mut self, turn: Turn, why: &str) {
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

    /// Shows how it stands, for others to read.
    fn show(&self, plan: &Plan) {
        let own = self.planner.allocations.own();
        let paused = self.record.paused(Instant::now());
        let paused = paused.map(|(why, left)| match left {
            Some(left) => format!("{why}; it tries again in {}", duration(left.as_secs())),
            None => format!("{why}; it is trying one start"),
        });
        let started = self.planner.allocations.unattached();
        let seen_offer = self.planner.seen_offer.map(|amounts| Offer { amounts }.to_string());
        self.change_view(|view| {
            view.workers = own.attached;
            view.pending = own.pending;
            view.starting = own.starting + own.given_up;
            view.wanted = plan.wanted.wanted + own.pending + own.starting;
            view.paused = paused;
            view.started = started;
            view.seen_offer = seen_offer;
        });
    }

    fn change_view(&self, change: impl FnOnce(&mut AutoscalerView)) {
        change(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says a problem once, and that it is over.
    fn say_problem(&mut self, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        match &problem {
            Some(problem) => self.tell("problem", None, problem),
            None => self.tell("well", None, "the provider and Redis answer again"),
        }
        self.problem = problem;
        let shown = self.problem.clone();
        self.change_view(|view| view.problem = shown);
    }

    /// What has happened: a line for people, or with `--json` an object.
    fn tell(&self, event: &str, id: Option<&str>, why: &str) {
        let Self { name, args, .. } = self;
        if self.session.manner.json {
            let line = json!({ "autoscaler": name, "event": event, "id": id, "why": why });
            let mut out = Out::new();
            // A reader that has gone does not end a daemon.
            let _ = out.json(&line).and_then(|()| out.finish());
            return;
        }
        let id = id.unwrap_or_default();
        let provider = args.name();
        let text = match event {
            "started" => format!("started {provider} {id}: {why}"),
            "attached" => format!("{provider} {id} attached: {why}"),
            "failed" => format!("{provider} {id} failed: {why}"),
            "refused" => format!("{provider} refused a start: {why}"),
            "paused" => format!("autoscaler {name} is PAUSED: {why}"),
            "resumed" => format!("autoscaler {name} goes on: {why}"),
            "cancelled" => format!("{provider} {id} cancelled: {why}"),
            _ => why.to_owned(),
        };
        if !self.session.manner.quiet || matches!(event, "paused" | "failed" | "refused" | "problem") {
            self.session.say(&text);
        }
    }

    /// The end: allocations go on, or are cancelled, and the name is free.
    async fn close(&mut self) -> Result<(), CliError> {
        if self.scale().cancel_on_exit {
            self.cancel_all().await;
        }
        let own = self.planner.allocations.own().all();
        if own > 0 {
            let which = counted(own, "worker or allocation");
            let how = if self.scale().cancel_on_exit { "is ending" } else { "goes on by itself" };
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
    async fn cancel_all(&mut self) {
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
    async fn drain(&self, id: &str) -> Result<(), String> {
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
