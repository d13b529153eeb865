//! `distcomp-status wait`: waits for batches to end.

use std::time::Duration;

use serde_json::json;

use super::args::WaitArgs;
use super::context::StatusContext;
use crate::cli::exit::{CliError, Exit};
use crate::cli::known_batches::known;
use crate::cli::reconnect::reconnect;
use crate::model::BatchName;
use crate::model::snapshot::{BatchState, BatchView};
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::{Connection, QueueError, batch_steps, batch_stuck, batch_times, batch_views};
use crate::view::batches::{note, waits_for};
use crate::view::text::{count, tasks};

/// Between two looks.
const POLL: Duration = Duration::from_millis(500);

/// How waiting for one batch stands.
enum Standing {
    Going,
    Finished,
    /// It has ended and failed, and why.
    Failed(String),
    /// It will have failed, and why: it has stopped, and some of it runs yet.
    Ending(String),
    /// It cannot go on by itself, and why.
    Stuck(String),
}

/// Waits for all of the batches, or for any.
pub(super) async fn wait(session: &mut StatusContext, args: &WaitArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate])
        .map_err(|error| CliError::io("listen for signals", error))?;
    session.context.begin_to_follow();
    let batches = known(&session.conn, &args.names).await?;
    let mut found: Vec<(BatchView, Standing)> = batches.into_iter().map(|batch| (batch, Standing::Going)).collect();
    let limit = async {
        match args.timeout {
            // One look, however short the time is.
            None | Some(Duration::ZERO) => std::future::pending().await,
            Some(limit) => tokio::time::sleep(limit).await,
        }
    };
    let exit = tokio::select! {
        biased;
        signal = signals.next() => return Ok(signal.into()),
        exit = follow(session, args, &mut found) => exit?,
        () = limit => Exit::TimedOut,
    };
    for (batch, _) in found.iter_mut().filter(|(_, stands)| matches!(stands, Standing::Going | Standing::Stuck(_))) {
        let looked_up = async {
            batch_steps::look_up(&session.conn, std::slice::from_mut(batch)).await?;
            batch_times::look_up(&session.conn, std::slice::from_mut(batch)).await
        };
        // Of a server that is away, what was last seen is told.
        if !matches!(tokio::time::timeout(POLL, looked_up).await, Ok(Ok(()))) {
            break;
        }
    }
    report(session, &found)?;
    Ok(exit)
}

/// Looks again and again until there is nothing to wait for; over a restart of the server.
async fn follow(
    session: &mut StatusContext,
    args: &WaitArgs,
    found: &mut [(BatchView, Standing)],
) -> Result<Exit, CliError> {
    loop {
        match look(&session.conn, found).await {
            Ok(()) => {
                if let Some(exit) = judge(args, found) {
                    return Ok(exit);
                }
                if args.timeout == Some(Duration::ZERO) {
                    return Ok(Exit::TimedOut);
                }
                tokio::time::sleep(POLL).await;
            }
            Err(error) if error.is_transient() => {
                session.conn = reconnect(&session.context, error).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How the batches stand now. Of one that is not known any more stays what was last seen of it.
async fn look(conn: &Connection, found: &mut [(BatchView, Standing)]) -> Result<(), QueueError> {
    let names: Vec<BatchName> = found.iter().map(|(batch, _)| batch.name.clone()).collect();
    let views = batch_views::some(conn, &names).await?;
    let are_known = batch_views::are_known(conn, &names).await?;
    for (((batch, stands), view), is_known) in found.iter_mut().zip(views).zip(are_known) {
        if is_known {
            *stands = standing(conn, &view).await?;
            *batch = view;
        } else {
            *stands = Standing::Failed(purged(batch));
        }
    }
    Ok(())
}

/// `None` while there is something to wait for.
fn judge(args: &WaitArgs, found: &[(BatchView, Standing)]) -> Option<Exit> {
    let exit = |failed: bool| if failed { Exit::TasksFailed } else { Exit::Done };
    let has = |is: fn(&Standing) -> bool| found.iter().any(|(_, standing)| is(standing));
    let is_left = has(|standing| matches!(standing, Standing::Going | Standing::Ending(_)));
    if args.any {
        // What finished counts, whatever else has failed; and what is stuck has not ended.
        let has_finished = has(|standing| matches!(standing, Standing::Finished));
        let has_ended = has_finished || has(|standing| matches!(standing, Standing::Failed(_)));
        return (has_ended || !is_left).then(|| exit(!has_finished));
    }
    let is_bad = has(|standing| matches!(standing, Standing::Failed(_) | Standing::Ending(_) | Standing::Stuck(_)));
    if args.fail_fast && is_bad {
        return Some(Exit::TasksFailed);
    }
    (!is_left).then(|| exit(is_bad))
}

async fn standing(conn: &Connection, batch: &BatchView) -> Result<Standing, QueueError> {
    let name = &batch.name;
    if batch.state == BatchState::Stopped {
        let why = format!("{name}: {}", note(batch));
        return Ok(if batch.running > 0 { Standing::Ending(why) } else { Standing::Failed(why) });
    }
    if batch.has_ended() {
        if batch.failed + batch.cancelled == 0 {
            return Ok(Standing::Finished);
        }
        // What is gone counts as failed in the view. A purge has gone on since that was taken, and may have ended.
        let awaited = batch_views::awaited(conn, std::slice::from_ref(name)).await?.pop();
        let Some(now) = awaited.filter(|now| now.missed() > 0 && now.gone < now.tasks) else {
            return Ok(Standing::Failed(purged(batch)));
        };
        let of = [(now.failed, "failed"), (now.cancelled, "cancelled"), (now.gone, "gone")]
            .map(|(number, what)| (number > 0).then(|| format!("{} of {} {what}", count(number), count(batch.tasks))));
        let of: Vec<String> = of.into_iter().flatten().collect();
        return Ok(Standing::Failed(format!("{name}: {}", of.join(", "))));
    }
    if batch.aside > 0 && batch.open == batch.aside {
        let cause = batch_stuck::cause(conn, std::slice::from_ref(name)).await?;
        let told = || format!("is set aside, {} of it: distcomp run --all runs it", tasks(batch.open));
        return Ok(Standing::Stuck(format!("{name} {}", cause.as_ref().map_or_else(told, waits_for))));
    }
    let stuck = stuck_on(conn, batch).await?;
    Ok(stuck.map_or(Standing::Going, |why| Standing::Stuck(format!("{name} {why}"))))
}

fn purged(batch: &BatchView) -> String {
    format!("{}: it was purged meanwhile, or Redis lost it", batch.name)
}

/// Why a batch cannot go on by itself; `None` while it can: see [`batch_stuck::are_stuck`].
async fn stuck_on(conn: &Connection, batch: &BatchView) -> Result<Option<String>, QueueError> {
    let name = std::slice::from_ref(&batch.name);
    if batch_stuck::are_stuck(conn, name).await? != [true] {
        return Ok(None);
    }
    let cause = batch_stuck::cause(conn, name).await?;
    let none = "waits for batches that wait for each other, or cannot go on";
    Ok(Some(cause.as_ref().map_or_else(|| none.to_owned(), waits_for)))
}

fn report(session: &mut StatusContext, found: &[(BatchView, Standing)]) -> Result<(), CliError> {
    if session.json {
        for (batch, standing) in found {
            let (word, why) = match standing {
                Standing::Going => ("going", None),
                Standing::Finished => ("finished", None),
                Standing::Failed(why) | Standing::Ending(why) | Standing::Stuck(why) => ("failed", Some(why)),
            };
            let mut json = json!(batch);
            json["outcome"] = json!(word);
            json["why"] = json!(why);
            session.out.json(&json)?;
        }
        return Ok(());
    }
    for (batch, standing) in found {
        match standing {
            Standing::Going => {
                let open = format!("{}: {} of {} open", batch.name, count(batch.open), count(batch.tasks));
                session.out.line(&format!("{open}{}", what_keeps(batch)))?;
            }
            Standing::Finished => session.out.line(&format!("{}: finished, {}", batch.name, tasks(batch.tasks)))?,
            Standing::Failed(why) | Standing::Ending(why) | Standing::Stuck(why) => session.out.line(why)?,
        }
    }
    Ok(())
}

/// Why a batch has not ended yet, where it is not because its tasks take their time.
fn what_keeps(batch: &BatchView) -> String {
    let note = note(batch);
    if !note.is_empty() {
        return format!("; {note}");
    }
    match (batch.state, batch.running) {
        (BatchState::Running, _) | (_, 1..) => format!(", {} running", count(batch.running)),
        (BatchState::Counting, _) => "; its counters were deleted, and a worker counts its tasks anew".to_owned(),
        _ => "; nothing of it runs: distcomp-status explain says why".to_owned(),
    }
}
