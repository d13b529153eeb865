//! The steps of a local run, in order.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ended_writer::{EndedWriter, Wanted};
use super::joblog_file::JobLogFile;
use super::report::{Before, Report};
use super::results_table::ResultsFile;
use super::roster::RosterWriter;
use super::run_context::RunContext;
use super::run_ends::RunEndCounter;
use super::run_watch::RunWatch;
use super::run_worker::{Ended, run_worker};
use super::setup::{count_cancelled, leave_aside, lift_orders, recover_others, requeue_failed, take_all};
use crate::cli::common::Context;
use crate::cli::exit::{CliError, Exit};
use crate::cli::submit::{Files, open_files, read_stdin_if_alone, submit_files};
use crate::cli::task_set::TaskSet;
use crate::cli::worker::args::WorkerArgs;
use crate::cli::worker::load::{load, program};
use crate::config::{Role, Watcher, node_warnings};
use crate::local::{LocalServer, full_disk};
use crate::model::WorkerName;
use crate::queue::guard::{self, Access};
use crate::queue::submit::Submitted;
use crate::queue::{Client, Connection, QueueError, aside, control, events};
use crate::view::ctl_command::look_at_directory;
use crate::view::text::{count, joined, tasks};
use crate::worker::start_checks::{look_at_node, new_probe};
use crate::worker::state::StateDir;
use crate::worker::{BootPlan, Setup, boot, keepers};

/// How long one call may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the files to their end, or to a signal.
pub(in crate::cli::worker) async fn run(args: &mut WorkerArgs) -> Result<Exit, CliError> {
    if !args.all {
        read_stdin_if_alone(&mut args.files, &args.sources)?;
    }
    let args = &*args;
    look_at_directory(Path::new("."));
    // Once for the state directory and the rules; again below, with the private server in place of Redis.
    let (_, loaded) = load(args, None, Role::Worker)?;
    let context =
        Context { config: loaded.config, program: program(), file: loaded.file, is_local: true, following: None };
    for warning in &loaded.warnings {
        context.warn(warning);
    }
    check_node(&context, args)?;
    let files = open_files(&context, args.named(), context.config.field_order.unwrap_or_default())?;
    let Some(files) = files else { return Ok(Exit::Usage) };
    if args.dry_run {
        return files.say(&context);
    }
    let members = files.members()?;
    let joblog = args.run.joblog.as_deref().map(JobLogFile::open).transpose()?;
    args.run.results.as_ref().map_or(Ok(()), ResultsFile::check)?;
    if members.len() == 0 && !args.all {
        context.say("nothing to do: the files or sources contain no task");
        return Ok(Exit::Done);
    }
    let cwd = std::env::current_dir().map_err(|error| CliError::io("find the working directory", error))?;
    let mut server = LocalServer::start(&context.config.state_dir, &cwd, args.fresh).await?;
    if let Some(old) = server.old() {
        context.say(&format!("the state and results of earlier runs are now in {}", old.display()));
    }
    let dir = server.dir().to_owned();
    let ended = run_on(args, context, (&files, joblog), members, &mut server).await;
    let stopped = server.stop().await;
    let exit = ended.map_err(|error| with_disk(error, &dir))?;
    stopped?;
    Ok(exit)
}

/// A run that would start nothing, and end in half a minute with all its tasks left, is not begun.
fn check_node(context: &Context, args: &WorkerArgs) -> Result<(), CliError> {
    let (node, warnings) = look_at_node(&context.config, &mut new_probe(args.share())?);
    let fatal = node_warnings(&context.config, &node.total);
    if !fatal.is_empty() {
        return Err(CliError::Usage(fatal.join("\n")));
    }
    warnings.iter().for_each(|warning| context.warn(warning));
    Ok(())
}

/// A server that takes no writes does not say which disk is full.
fn with_disk(error: CliError, dir: &Path) -> CliError {
    match (error, full_disk(dir)) {
        // A script that may not write says that memory is short.
        (CliError::Queue(QueueError::Busy { .. }), Some(full)) => CliError::Stopped(format!(
            "the private server refuses writes{full}; afterwards the same command continues the run"
        )),
        (CliError::Queue(error), Some(full)) => CliError::Stopped(format!("failed to {error}{full}")),
        (error, _) => error,
    }
}

async fn run_on(
    args: &WorkerArgs,
    context: Context,
    (files, joblog): (&Files, Option<JobLogFile>),
    mut members: TaskSet,
    server: &mut LocalServer,
) -> Result<Exit, CliError> {
    let (watcher, loaded) = load(args, Some(server.socket()), Role::Worker)?;
    let config = loaded.config;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let conn = client.connect().await?;
    let order = guard::handshake(&conn, config.field_order, Access::Write).await?;
    if order != context.config.field_order.unwrap_or_default() {
        return Err(CliError::Usage(format!(
            "the queue of this directory reads lines as {order}: set task_field_order to \"{order}\" in conf.json, or start anew with --fresh"
        )));
    }
    let run = RunContext { args, context, config, client, order };
    let name = args.worker_name()?;
    lift_orders(&run, &conn, &name).await?;
    // Whatever ends from here on ends in this run.
    let begin = events::newest(&conn).await?;
    recover_others(&run, &conn, &name).await?;
    let state = StateDir::of_worker(&run.config, &name, Some(server.dir()))?;
    // First what an earlier run had in progress, so that every line is where the rest of this looks for it.
    let setup = boot(plan(&run, watcher, &name), &state).await?;
    let submitted = submit_files(&run.context, &conn, files, &members, args.rerun).await?;
    let before = ended_before(&run, &conn, &members, &submitted, &name).await?;
    let is_passed_on = args.run.shows_output() || joblog.is_some();
    let mut roster = is_passed_on.then(|| RosterWriter::of_files(files)).transpose()?;
    if args.all {
        take_all(&run, &conn, &mut members, roster.as_mut()).await?;
    } else {
        leave_aside(&run, &conn, &members).await?;
    }
    say_set_aside(&run.context, aside::count(&conn).await?);
    let counter = RunEndCounter::new(&conn, begin, &members, before.ended() > 0).await?;
    let wanted = Wanted { shows_output: args.run.shows_output(), keeps_order: args.run.keep_order, joblog };
    let writer = match roster {
        Some(roster) => Some(EndedWriter::new(run.client.clone(), roster.finish()?, wanted, &counter).await?),
        None => None,
    };
    let mut watch = RunWatch::new(&run, &conn, (&members, counter), name.clone(), writer).await?;
    let open = members.len().saturating_sub(before.ended());
    let begun = Instant::now();
    let ended = if open == 0 {
        put_down(setup).await;
        run.context.say(&nothing_to_do(before));
        None
    } else {
        if submitted.added < open || before.ended() > 0 {
            run.context.say(&format!("continuing an earlier run: {} of {} left", count(open), tasks(members.len())));
        }
        Some(drive_to_end(&run, &name, &state, setup, server, (files, &members), &mut watch).await?)
    };
    let conn = run.client.connect().await?;
    let (halted, written) = watch.finish(&conn).await?;
    let table = match &args.run.results {
        Some(file) => file.write(&conn, files, &members).await,
        None => Ok(()),
    };
    let report = Report::make(&run, &conn, server.dir(), &members).await?;
    let left = report.totals.open;
    let notes = files.repeated().into_iter().chain(not_printed(args, before)).collect();
    let exit = report.print(&run, before, ended.is_some().then(|| begun.elapsed()), notes)?;
    let exit = match ended {
        Some(ended) if left > 0 => end_early(&run, &conn, &name, &members, (ended, left, halted)).await?,
        Some(_) | None => {
            if halted.is_some() {
                ended_by(&conn, &name).await?;
            }
            exit
        }
    };
    written.and(table)?;
    Ok(exit)
}

/// What earlier runs have ended of these tasks, less those that `--rerun-failed` runs again.
async fn ended_before(
    run: &RunContext<'_>,
    conn: &Connection,
    members: &TaskSet,
    submitted: &Submitted,
    name: &WorkerName,
) -> Result<Before, CliError> {
    let cancelled = if submitted.failed > 0 { count_cancelled(conn, members).await?.min(submitted.failed) } else { 0 };
    let mut before = Before { finished: submitted.finished, failed: submitted.failed - cancelled, cancelled };
    if run.args.rerun_failed {
        before.failed -= requeue_failed(run, conn, members, name).await?.min(before.failed);
    }
    Ok(before)
}

/// Says why tasks are left, and answers how the command ends.
async fn end_early(
    run: &RunContext<'_>,
    conn: &Connection,
    name: &WorkerName,
    members: &TaskSet,
    (ended, left, halted): (Ended, u64, Option<String>),
) -> Result<Exit, CliError> {
    let order = ended_by(conn, name).await?;
    if let Ended::Signal(exit) = ended {
        run.context.say(&format!("stopped with {} left: the same command continues the run", tasks(left)));
        return Ok(exit);
    }
    if let Some(reason) = halted {
        run.context.say(&format!("ended by {reason}; {} left: the same command continues the run", tasks(left)));
        return Ok(Exit::TasksFailed);
    }
    if let Some(order) = order {
        run.context.say(&format!(
            "ended by distcomp-ctl {order} with {} left: the same command goes on from here",
            tasks(left)
        ));
        return Ok(Exit::TasksFailed);
    }
    super::report::explain_rest(run, conn, members, left).await?;
    Ok(Exit::TasksFailed)
}

/// Drives workers until one ends that has lost nothing with the private server, a signal, or the loss of the server.
///
/// Redis holds writes back for up to two seconds while the disk is busy (`appendfsync everysec`), and a server that is killed loses them.
async fn drive_to_end(
    run: &RunContext<'_>,
    name: &WorkerName,
    state: &StateDir,
    mut setup: Setup,
    server: &mut LocalServer,
    (files, members): (&Files, &TaskSet),
    watch: &mut RunWatch<'_>,
) -> Result<Ended, CliError> {
    loop {
        let ended = run_worker(run, setup, server, watch).await?;
        if matches!(ended, Ended::Broken) {
            return Err(CliError::Stopped("ended before its tasks: the same command continues the run".to_owned()));
        }
        if let Some(trouble) = server.trouble() {
            // At the very end, with nobody looking any more.
            run.context.say(&format!("{trouble}; restarting it with its data"));
            server.restart().await?;
        }
        if !matches!(ended, Ended::Done) || !server.take_restarted() {
            return Ok(ended);
        }
        let conn = run.client.connect().await?;
        let again = submit_files(&run.context, &conn, files, members, false).await?;
        if again.added == 0 {
            return Ok(ended);
        }
        run.context.say(&format!("the private server lost {} when it ended; submitted again", tasks(again.added)));
        let (watcher, _) = load(run.args, Some(server.socket()), Role::Worker)?;
        setup = boot(plan(run, watcher, name), state).await?;
    }
}

fn plan(run: &RunContext<'_>, watcher: Watcher, name: &WorkerName) -> BootPlan {
    BootPlan {
        config: Arc::clone(&run.config),
        watcher,
        worker: name.clone(),
        // The queue is ours alone, in a directory that is closed to others.
        keys: Vec::new(),
        allow_insecure: false,
        is_burst: true,
        hangup_ends: true,
        waits_for_redis: false,
        metrics: None,
        share: run.args.share(),
        keeper_program: keepers::THIS_PROGRAM.into(),
    }
}

/// The order of an operator that has ended the worker, if one has. It was for this run, and is lifted.
async fn ended_by(conn: &Connection, me: &WorkerName) -> Result<Option<&'static str>, CliError> {
    let (_, is_stopped) = control::resume(conn, "").await?;
    let is_drained = control::undrain(conn, me, "").await?;
    Ok(if is_stopped { Some("stop") } else { is_drained.then_some("drain") })
}

fn say_set_aside(context: &Context, number: u64) {
    if number > 0 {
        let verb = if number == 1 { "is" } else { "are" };
        context.say(&format!(
            "{} of earlier commands in this directory {verb} set aside; --all runs them too",
            tasks(number)
        ));
    }
}

fn nothing_to_do(before: Before) -> String {
    let Before { finished, failed, cancelled } = before;
    let others = [(failed, "failed"), (cancelled, "cancelled")];
    let others = others.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = std::iter::once(format!("{} finished", tasks(finished)))
        .chain(others.map(|(number, what)| format!("{} {what}", count(number))))
        .collect();
    let hint = match (failed, cancelled) {
        (0, 0) => "--rerun runs them again",
        (0, _) => "--rerun runs all, distcomp requeue --local --state cancelled only the cancelled ones",
        (_, _) => "--rerun-failed runs the failed ones again, --rerun runs all",
    };
    format!("nothing to do: {} in earlier runs here; {hint}", joined(&parts))
}

/// Whoever redirects the output of a run that was interrupted has only a part of it in the file.
fn not_printed(args: &WorkerArgs, before: Before) -> Option<String> {
    let earlier = before.ended();
    (args.run.shows_output() && earlier > 0).then(|| {
        let (outputs, are) = if earlier == 1 { ("output", "is") } else { ("outputs", "are") };
        format!(
            "the {outputs} of {} that ended in earlier runs {are} not printed again; distcomp export --local prints all outputs, as JSON lines",
            tasks(earlier)
        )
    })
}

/// A worker that is not needed: its name is freed and its process keeper ends.
async fn put_down(setup: Setup) {
    // The server is stopped in a moment: a name that was not freed is found dead.
    drop(setup.session.detach().await);
    setup.keeper_factory.shutdown().await;
}
