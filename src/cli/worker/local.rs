//! `distcomp-worker --local`: one machine, nothing to set up. A private server, one worker, a bar, a summary, and nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::args::WorkerArgs;
use super::prepare::{Plan, node_capacity, open_state, prepare};
use super::run::{PROGRAM, load};
use crate::cli::common::{Context, Out};
use crate::cli::exit::{CliError, Exit};
use crate::cli::groups::{Groups, kinds_of};
use crate::cli::submit::{open_files, submit_files};
use crate::config::Config;
use crate::host::Probe;
use crate::local::LocalServer;
use crate::model::snapshot::{Counts, TaskState};
use crate::model::{FieldOrder, TaskLine, WorkerName};
use crate::queue::guard::{self, Access};
use crate::queue::select::Scan;
use crate::queue::{Client, Connection, inspect};
use crate::view::failures::failures;
use crate::view::progress::Progress;
use crate::view::text::{count, precise_duration, tasks};
use crate::{host, worker};

/// Between looks at the counts, for the bar.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the files to their end, or to a signal.
pub(super) async fn run(args: &WorkerArgs) -> Result<Exit, CliError> {
    // Once for the state directory and the rules; again below, with the private server in place of Redis.
    let (_, loaded) = load(args, None)?;
    let context = Context { config: loaded.config, program: PROGRAM, file: loaded.file };
    for warning in &loaded.warnings {
        context.say(&format!("warning: {warning}"));
    }
    let files = open_files(&context, &args.files, context.config.field_order.unwrap_or_default())?;
    let Some(files) = files else { return Ok(Exit::Usage) };
    let cwd = std::env::current_dir().map_err(|error| CliError::io("find the working directory", error))?;
    let server = LocalServer::start(&context.config.state_dir, &cwd, args.fresh)
        .await
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let ended = run_on(args, &context, files, &server).await;
    let stopped = server.stop().await;
    let exit = ended?;
    stopped.map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(exit)
}

async fn run_on(
    args: &WorkerArgs,
    context: &Context,
    files: crate::cli::submit::Files,
    server: &LocalServer,
) -> Result<Exit, CliError> {
    let (watcher, loaded) = load(args, Some(server.socket()))?;
    let config = loaded.config;
    let client = Client::new(&config.redis, &config.key_prefix, Duration::from_secs(30))?;
    let conn = client.connect().await?;
    let order = guard::admit(&conn, config.field_order, Access::Write).await?;
    let submitted = submit_files(context, &conn, files).await?;
    let before = inspect::counts(&conn).await?;
    if before.todo + before.in_progress + before.finished + before.failed == 0 {
        context.say("nothing to do: the files hold no task");
        return Ok(Exit::Done);
    }
    if before.todo + before.in_progress == 0 {
        context.say(&format!(
            "nothing to do: {} finished and {} failed in earlier runs here; --fresh starts anew",
            count(before.finished),
            count(before.failed)
        ));
        return summary(context, &conn, server, before, before, Duration::ZERO).await;
    }
    if server.is_resumed() && submitted.added < before.todo + before.in_progress + before.finished + before.failed {
        context
            .say(&format!("going on where an earlier run stopped: {} left", tasks(before.todo + before.in_progress)));
    }
    let name = args.name.clone().unwrap_or_else(host::default_worker_name);
    let begun = Instant::now();
    let interrupted = run_worker(context, name, &config, watcher, server, &conn).await?;
    let after = inspect::counts(&conn).await?;
    let exit = summary(context, &conn, server, before, after, begun.elapsed()).await?;
    if let Some(exit) = interrupted {
        context.say(&format!(
            "stopped with {} left: the same command goes on from here",
            tasks(after.todo + after.in_progress)
        ));
        return Ok(exit);
    }
    if after.todo > 0 {
        explain_rest(context, &conn, order, after.todo).await?;
    }
    Ok(if after.todo > 0 { Exit::TasksFailed } else { exit })
}

/// Runs a worker in this process until nothing is left that this machine could run; says which signal ended it before.
async fn run_worker(
    context: &Context,
    name: WorkerName,
    config: &Arc<Config>,
    watcher: crate::config::Watcher,
    server: &LocalServer,
    conn: &Connection,
) -> Result<Option<Exit>, CliError> {
    let state = open_state(config, &name, Some(server.dir()))?;
    let plan = Plan {
        config: Arc::clone(config),
        watcher,
        worker: name,
        // The queue is ours alone, in a directory that is closed to others.
        keys: Vec::new(),
        allow_insecure: false,
        is_burst: true,
        hangup_ends: true,
        waits_for_redis: false,
        metrics: None,
    };
    let setup = prepare(plan, &state).await?;
    let signals = note_signals(context.program);
    let mut worker = tokio::spawn(worker::run(setup));
    let first = inspect::counts(conn).await?;
    let total = first.todo + first.in_progress + first.finished + first.failed;
    let mut progress = Progress::new("done", total, true);
    let ended = loop {
        tokio::select! {
            ended = &mut worker => break ended,
            () = tokio::time::sleep(LOOK) => {
                // The bar is a courtesy: it does not end the run.
                if let Ok(now) = inspect::counts(conn).await {
                    progress.set(total.saturating_sub(now.todo + now.in_progress));
                    progress.note(format!("running {} failed {} ", now.in_progress, now.failed));
                }
            }
        }
    };
    drop(progress);
    match ended {
        Ok(ended) => ended?,
        Err(error) => return Err(CliError::io("run the worker", std::io::Error::other(error))),
    }
    Ok(match signals.load(Ordering::Relaxed) {
        0 => None,
        2 => Some(Exit::Interrupted),
        _ => Some(Exit::Terminated),
    })
}

/// Remembers the number of the first signal that asks to end; the worker itself acts on it.
fn note_signals(program: &'static str) -> Arc<AtomicU8> {
    let first = Arc::new(AtomicU8::new(0));
    let seen = Arc::clone(&first);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return;
        };
        let number = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        };
        seen.store(number, Ordering::Relaxed);
        crate::cli::common::complain(program, "letting what runs end; once more to stop it now");
    });
    first
}

/// What became of the tasks, for a newcomer; the whole of it in a file.
async fn summary(
    context: &Context,
    conn: &Connection,
    server: &LocalServer,
    before: Counts,
    after: Counts,
    took: Duration,
) -> Result<Exit, CliError> {
    let (mut groups, mut failed) = (Groups::default(), 0);
    let mut scan = Scan::new(TaskState::Failed);
    while let Some(page) = scan.next(conn).await? {
        for failure in kinds_of(conn, page).await? {
            failed += 1;
            groups.add(&failure);
        }
    }
    let groups = groups.finish(conn).await?;
    let mut out = Out::new();
    if !groups.is_empty() {
        out.line(&failures(&groups, crate::cli::common::columns()))?;
    }
    let done = after.finished.saturating_sub(before.finished);
    let new_failed = after.failed.saturating_sub(before.failed);
    let earlier = before.finished + before.failed;
    let mut line = format!("{} finished, {} failed", tasks(after.finished), count(failed));
    if took > Duration::ZERO {
        line.push_str(&format!(" in {}", precise_duration(took.as_secs_f64())));
    }
    if earlier > 0 && done + new_failed > 0 {
        line.push_str(&format!(" ({} of them in earlier runs)", count(earlier)));
    }
    out.line(&line)?;
    let path = server.dir().join("results.jsonl");
    match write_results(conn, &path).await {
        Ok(()) => out.line(&format!(
            "output and evidence of each task: {}",
            crate::view::safe_text::safe(&path.display().to_string())
        ))?,
        Err(error) => context.say(&error.to_string()),
    }
    out.finish()?;
    Ok(if failed > 0 { Exit::TasksFailed } else { Exit::Done })
}

/// Every finished and failed task as a JSON line, since the server is gone after this.
async fn write_results(conn: &Connection, path: &std::path::Path) -> Result<(), CliError> {
    use std::io::Write;
    let failed = |error| CliError::io(format!("write {}", path.display()), error);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    for state in [TaskState::Finished, TaskState::Failed] {
        let mut scan = Scan::new(state);
        while let Some(page) = scan.next(conn).await? {
            let lines: Vec<String> = page.into_iter().map(|entry| entry.line).collect();
            for chunk in lines.chunks(100) {
                for task in inspect::tasks(conn, chunk).await? {
                    serde_json::to_writer(&mut file, &task).map_err(|error| failed(error.into()))?;
                    file.write_all(b"\n").map_err(failed)?;
                }
            }
        }
    }
    file.flush().map_err(failed)
}

/// Tasks that this machine could not run at all, the first few by name.
async fn explain_rest(context: &Context, conn: &Connection, order: FieldOrder, left: u64) -> Result<(), CliError> {
    const NAMED: usize = 3;
    let mut probe = Probe::new().map_err(|error| CliError::io("look at this machine", std::io::Error::other(error)))?;
    let (capacity, _) = node_capacity(&context.config, &mut probe);
    context.say(&format!(
        "{} not run: this machine has {} of memory and {} cores in all",
        tasks(left),
        capacity.mem,
        capacity.cores
    ));
    let mut scan = Scan::new(TaskState::Todo);
    let first = scan.next(conn).await?.unwrap_or_default();
    for entry in first.iter().take(NAMED) {
        if let Ok(task) = TaskLine::parse(&entry.line, order) {
            let line = crate::view::safe_text::safe(&entry.line);
            context.say(&format!("{} needs {} and {} cores: {line}", task.id(), task.mem(), task.cpu()));
        }
    }
    Ok(())
}
