//! What `up` and `down` share: hosts, how each of them ended, and how that is told.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::args::FleetArgs;
use super::context::CtlContext;
use super::hosts::{Host, Hosts, read_hosts};
use crate::cli::exit::{CliError, Exit};
use crate::model::snapshot::WorkerView;
use crate::queue::inspect;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted};

/// Names that a plan spells out; of more it says how many.
const MOST_NAMED: usize = 20;

/// How a host stands. The names are those of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// Its worker was started.
    Started,
    /// A worker of its name ran before.
    Running,
    /// Its worker has left.
    Left,
    /// Its worker was told to drain, and nothing was waited for.
    Draining,
    /// No worker of its name ran.
    NotRunning,
    /// A dry run: its worker would be started.
    WouldStart,
    /// A dry run: its worker would be drained.
    WouldDrain,
    /// It is not as it should be.
    Failed,
}

impl Fate {
    /// In a sentence, after a number: `2 started`.
    fn words(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Running => "running already",
            Self::Left => "left",
            Self::Draining => "draining",
            Self::NotRunning => "not running",
            Self::WouldStart => "to start",
            Self::WouldDrain => "to drain",
            Self::Failed => "failed",
        }
    }
}

/// A host and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// The host.
    pub(super) host: Host,
    /// How it stands.
    pub(super) fate: Fate,
    /// Why it failed, and other things worth saying; the lines of a log follow the first.
    pub(super) note: Option<String>,
    /// Where the log of its worker is, if it was started.
    pub(super) log: Option<String>,
}

impl Report {
    /// With nothing to say.
    pub(super) fn of(host: &Host, fate: Fate) -> Self {
        Self { host: host.clone(), fate, note: None, log: None }
    }

    /// With the reason.
    pub(super) fn failed(host: &Host, why: String) -> Self {
        Self { note: Some(why), ..Self::of(host, Fate::Failed) }
    }

    fn json(&self) -> Value {
        let Self { host, fate, note, log } = self;
        let mut json = json!({ "host": host.to_string(), "line": host.line, "worker": host.worker, "state": fate });
        let said = [("note", note.as_ref()), ("log", log.as_ref())];
        if let Value::Object(fields) = &mut json {
            fields.extend(said.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))));
        }
        json
    }
}

/// Reads the hosts, and says which of their lines count for nothing.
pub(super) fn hosts(session: &CtlContext, args: &FleetArgs) -> Result<Vec<Host>, CliError> {
    let Hosts { hosts, repeated } = read_hosts(&args.reach.hosts)?;
    if let Some(first) = repeated.first() {
        let lines = counted(repeated.len() as u64, "line");
        let shown = args.reach.hosts.display();
        session.say(&format!("{shown}:{first}: this host is there already ({lines} like this); it has one worker"));
    }
    Ok(hosts)
}

/// The workers that Redis knows, by name.
pub(super) type Workers = HashMap<String, WorkerView>;

/// The workers that Redis knows, and whether they have been told to stop.
pub(super) async fn workers_and_stop(session: &CtlContext) -> Result<(Workers, bool), CliError> {
    let overview = inspect::overview(&session.conn).await?;
    Ok((overview.workers.into_iter().map(|worker| (worker.name.clone(), worker)).collect(), overview.stopping))
}

/// The workers that Redis knows.
pub(super) async fn workers(session: &CtlContext) -> Result<Workers, CliError> {
    workers_and_stop(session).await.map(|(workers, _)| workers)
}

/// `node1, node2` and, of many, how many more.
pub(super) fn names<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> String {
    let all: Vec<&str> = hosts.into_iter().map(|host| host.worker.as_str()).collect();
    let named = all.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {} more", count(more as u64)),
    }
}

/// The hosts that stand so, as a part of a plan: `; 2 running already: node1, node2`.
pub(super) fn those(reports: &[Report], fate: Fate) -> String {
    let of: Vec<&Host> = reports.iter().filter(|report| report.fate == fate).map(|report| &report.host).collect();
    let number = of.len() as u64;
    if of.is_empty() { String::new() } else { format!("; {} {}: {}", count(number), fate.words(), names(of)) }
}

/// The same where nothing is done: there is nothing to do, or a dry run says what would be.
pub(super) fn finish_dry(
    session: &mut CtlContext,
    command: &str,
    file: &Path,
    reports: Vec<Report>,
    plan: &str,
) -> Result<Exit, CliError> {
    let would = reports.iter().any(|report| matches!(report.fate, Fate::WouldStart | Fate::WouldDrain));
    if would && !session.manner.json {
        session.tell(&safe(&format!("would {plan}")))?;
    }
    finish(session, command, file, reports)
}

/// Prints what became of each host: failures with their reasons, then how many stand how. Exit code 1 where one has failed.
pub(super) fn finish(
    session: &mut CtlContext,
    command: &str,
    file: &Path,
    mut reports: Vec<Report>,
) -> Result<Exit, CliError> {
    reports.sort_by_key(|report| report.host.line);
    let shown = file.display();
    for Report { host, note, .. } in reports.iter().filter(|_| !session.manner.json) {
        if let Some(note) = note {
            session.say(&format!("{shown}:{}: {host}: {note}", host.line));
        }
    }
    let has_failed = reports.iter().any(|report| report.fate == Fate::Failed);
    let order = [
        Fate::WouldStart,
        Fate::WouldDrain,
        Fate::Started,
        Fate::Left,
        Fate::Draining,
        Fate::Running,
        Fate::NotRunning,
        Fate::Failed,
    ];
    let number = |fate: Fate| reports.iter().filter(|report| report.fate == fate).count() as u64;
    let parts: Vec<String> = order
        .into_iter()
        .filter(|fate| number(*fate) > 0)
        .map(|fate| format!("{} {}", count(number(fate)), fate.words()))
        .collect();
    if session.manner.json {
        let counts: serde_json::Map<String, Value> = order
            .into_iter()
            .filter_map(|fate| Some((json!(fate).as_str()?.to_owned(), json!(number(fate)))))
            .collect();
        let hosts: Vec<Value> = reports.iter().map(Report::json).collect();
        let dry_run = session.manner.dry_run;
        session.out.json(&json!({ "command": command, "dry_run": dry_run, "counts": counts, "hosts": hosts }))?;
    } else {
        session.tell(&safe(&format!("{}: {}", counted(reports.len() as u64, "host"), parts.join(", "))))?;
    }
    Ok(if has_failed { Exit::TasksFailed } else { Exit::Done })
}
