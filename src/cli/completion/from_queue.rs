//! Names of workers, batches and limits, and task ids, read from the queue while somebody waits at a prompt.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap_complete::CompletionCandidate;

use super::typed::QueueFlags;
use crate::cli::common::CommonArgs;
use crate::cli::local::source_in;
use crate::config::{self, ConfigSource, Overrides, Role};
use crate::local::socket_of;
use crate::model::safe_text::without_passwords;
use crate::model::snapshot::TaskState;
use crate::model::{BatchName, TaskId};
use crate::queue::select::StateScan;
use crate::queue::{Client, Connection, batch_steps, batch_views, inspect, kinds, limits};
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, shorten};

/// How long all of it may take: a prompt must not hang, whatever Redis, the network or a file system does.
const LIMIT: Duration = Duration::from_millis(900);
/// More than anybody reads.
const MOST: usize = 100;
/// Columns of a line beside its id.
const SHOWN: usize = 70;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Names of workers.
    Workers,
    /// Ids of tasks in these states, in this order.
    Tasks(&'static [TaskState]),
    /// Names of batches, and once one is typed with a `/` those of its steps.
    Batches,
    /// Names of limits.
    Limits,
    /// Kinds of failures.
    Kinds,
}

/// A name, and what it is.
type Found = (String, String);

/// What begins with `current`: the first hundred at most, those that were found in time, nothing where there is no queue.
pub(super) fn look_up(
    flags: &Arc<QueueFlags>,
    typed: &[String],
    wanted: Wanted,
    current: &str,
) -> Vec<CompletionCandidate> {
    if matches!(wanted, Wanted::Tasks(_)) && !current.is_empty() && !is_of_id(current) {
        return Vec::new();
    }
    let (sender, receiver) = channel();
    let (flags, current) = (Arc::clone(flags), current.to_owned());
    let until = Instant::now() + LIMIT;
    // Nobody waits for it at the end: whatever it hangs in ends with the process.
    let begun = thread::Builder::new().spawn(move || {
        send_all(&flags, wanted, &current, &sender);
    });
    if begun.is_err() {
        return Vec::new();
    }
    received(&receiver, until, typed)
}

fn received(receiver: &Receiver<Found>, until: Instant, typed: &[String]) -> Vec<CompletionCandidate> {
    let mut seen: HashSet<String> = typed.iter().cloned().collect();
    let mut found = Vec::new();
    while found.len() < MOST
        && let Ok((name, help)) = receiver.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        if seen.insert(name.clone()) {
            found.push(CompletionCandidate::new(name).help(Some(help.into())));
        }
    }
    found
}

fn is_of_id(text: &str) -> bool {
    text.len() <= TaskId::of("").to_string().len() && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// `None`: there is no queue that can be read, or nobody listens any more.
fn send_all(flags: &QueueFlags, wanted: Wanted, current: &str, sender: &Sender<Found>) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let conn = connect(flags).await?;
        match wanted {
            Wanted::Workers => send_workers(&conn, current, sender).await,
            Wanted::Tasks(states) => send_tasks(&conn, states, current, sender).await,
            Wanted::Batches => send_batches(&conn, current, sender).await,
            Wanted::Limits => send_limits(&conn, current, sender).await,
            Wanted::Kinds => send_kinds(&conn, current, sender).await,
        }
    })
}

/// A connection that only reads. With `--local` no server is started: where none runs, there is nothing to complete.
async fn connect(flags: &QueueFlags) -> Option<Connection> {
    let CommonArgs { redis_url, .. } = &flags.common;
    let mut source = flags.common.source();
    let mut overrides = Overrides::of_process(redis_url.clone());
    if let Some(dir) = &flags.local {
        source = source_in(source, dir);
        overrides = Overrides::of_process(None);
        // Only the state directory is wanted here.
        overrides.private_server = Some(PathBuf::new());
        let state_dir = &load(&source, &overrides)?.state_dir;
        overrides.private_server = Some(socket_of(state_dir, dir)?);
    }
    let config = load(&source, &overrides)?;
    let client = Client::new(&config.redis, &config.key_prefix, LIMIT).ok()?;
    client.connect().await.ok()
}

fn load(source: &ConfigSource, overrides: &Overrides) -> Option<Arc<config::Config>> {
    Some(config::load(source, overrides, Role::Client).ok()?.config)
}

/// Other names would have to be quoted, each shell in its way.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || "._-@:+/".contains(c))
}

async fn send_batches(conn: &Connection, current: &str, sender: &Sender<Found>) -> Option<()> {
    let views = match current.rsplit_once('/').and_then(|(batch, _)| batch.parse::<BatchName>().ok()) {
        Some(batch) => batch_steps::with_steps(conn, &batch, MOST).await.ok()?.steps,
        None => batch_views::first(conn, MOST).await.ok()?.batches,
    };
    for view in views.into_iter().filter(|view| view.name.as_str().starts_with(current)) {
        let about = format!("{}, {} tasks", view.state.as_str(), count(view.tasks));
        sender.send((view.name.to_string(), about)).ok()?;
    }
    Some(())
}

async fn send_limits(conn: &Connection, current: &str, sender: &Sender<Found>) -> Option<()> {
    for name in limits::names(conn).await.ok()?.into_iter().filter(|name| is_plain(name) && name.starts_with(current)) {
        sender.send((name, String::new())).ok()?;
    }
    Some(())
}

async fn send_kinds(conn: &Connection, current: &str, sender: &Sender<Found>) -> Option<()> {
    let kinds = kinds::counted(conn).await.ok()?;
    for (kind, tasks) in kinds.into_iter().filter(|(kind, _)| is_plain(kind) && kind.starts_with(current)) {
        sender.send((kind, counted(tasks, "task"))).ok()?;
    }
    Some(())
}

async fn send_workers(conn: &Connection, current: &str, sender: &Sender<Found>) -> Option<()> {
    for worker in inspect::overview(conn).await.ok()?.workers {
        if is_plain(&worker.name) && worker.name.starts_with(current) {
            let state = if worker.is_python { "Python worker".to_owned() } else { worker.state.as_str().to_owned() };
            sender.send((worker.name, state)).ok()?;
        }
    }
    Some(())
}

async fn send_tasks(conn: &Connection, states: &[TaskState], current: &str, sender: &Sender<Found>) -> Option<()> {
    for &state in states {
        let mut scan = StateScan::new(state);
        while let Some(page) = scan.next(conn).await.ok()? {
            for entry in page {
                let id = TaskId::of(&entry.line).to_string();
                if id.starts_with(current) {
                    let line = shorten(&safe(&without_passwords(&entry.line)), SHOWN);
                    sender.send((id, format!("{}: {line}", state.as_str()))).ok()?;
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hung_queue_ends_the_wait_with_what_was_found() {
        let (sender, receiver) = channel();
        sender.send(("a".to_owned(), String::new())).expect("sent");
        sender.send(("b".to_owned(), String::new())).expect("sent");
        let begun = Instant::now();
        let found = received(&receiver, begun + Duration::from_millis(50), &["b".to_owned()]);
        assert_eq!(found.len(), 1, "b stands on the line already");
        assert!(begun.elapsed() >= Duration::from_millis(50), "the sender may still find more");
        drop(sender);
    }

    #[test]
    fn only_beginnings_of_ids_are_looked_for() {
        assert!(is_of_id("3f9a") && is_of_id("0123456789abcdef"));
        assert!(!is_of_id("shell:1") && !is_of_id("0123456789abcdef0") && !is_of_id("3F"));
    }
}
