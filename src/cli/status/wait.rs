//! `distcomp-status wait`: waits for batches to end.

use std::collections::BTreeSet;
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
use crate::queue::{Connection, QueueError, batch_stuck, batch_views};
use crate::view::batches::{note, waits_for};
use crate::view::text::{count, tasks};

/// Between two looks.
const POLL: Duration = Duration::from_millis(500);

/// How deep what a batch waits for is looked at, to name the failure that keeps it from going on.
const DEPTH: usize = 16;

/// How waiting for one batch stands.
enum Standing {
    Going,
    Finished,
    /// It failed, or cannot go on, and why.
    Failed(String),
}

/// Waits for all of the batches, or for any.
pub(super) async fn wait(session: &mut StatusContext, args: &WaitArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate])
        .map_err(|error| CliError::io("listen for signals", error))?;
    let mut batches = known(&session.conn, &args.names).await?;
    let mut standings: Vec<Standing> = batches.iter().map(|_| Standing::Going).collect();
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
        exit = follow(session, args, &mut batches, &mut standings) => exit?,
        () = limit => Exit::TimedOut,
    };
    report(session, &batches, &standings)?;
    Ok(exit)
}

/// Looks again and again until there is nothing to wait for; over a restart of the server.
async fn follow(
    session: &mut StatusContext,
    args: &WaitArgs,
    batches: &mut Vec<BatchView>,
    standings: &mut Vec<Standing>,
) -> Result<Exit, CliError> {
    loop {
        match look(&session.conn, args).await {
            Ok(found) => {
                (*batches, *standings) = found;
                if let Some(exit) = judge(args, standings) {
                    return Ok(exit);
                }
                if args.timeout == Some(Duration::ZERO) {
                    return Ok(Exit::TimedOut);
                }
                tokio::time::sleep(POLL).await;
            }
            Err(CliError::Queue(error)) if error.is_transient() => {
                session.conn = reconnect(&session.context, error).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// How the batches stand now. One that is not known any more, as the server came back without its data, is an error and has not finished.
async fn look(conn: &Connection, args: &WaitArgs) -> Result<(Vec<BatchView>, Vec<Standing>), CliError> {
    let batches = known(conn, &args.names).await?;
    let mut standings = Vec::with_capacity(batches.len());
    for batch in &batches {
        standings.push(standing(conn, batch).await?);
    }
    Ok((batches, standings))
}

/// `None` while there is something to wait for.
fn judge(args: &WaitArgs, standings: &[Standing]) -> Option<Exit> {
    let is_over = |standing: &&Standing| !matches!(standing, Standing::Going);
    let is_failed = |standing: &Standing| matches!(standing, Standing::Failed(_));
    let ended = standings.iter().filter(is_over).count();
    let exit = |failed: bool| if failed { Exit::TasksFailed } else { Exit::Done };
    if args.any {
        // What finished counts, whatever else has failed.
        let has_finished = standings.iter().any(|standing| matches!(standing, Standing::Finished));
        return (ended > 0).then(|| exit(!has_finished));
    }
    if args.fail_fast && standings.iter().any(is_failed) {
        return Some(Exit::TasksFailed);
    }
    (ended == standings.len()).then(|| exit(standings.iter().any(is_failed)))
}

async fn standing(conn: &Connection, batch: &BatchView) -> Result<Standing, QueueError> {
    if batch.state == BatchState::Stopped {
        return Ok(Standing::Failed(format!("{}: {}", batch.name, note(batch))));
    }
    if batch.has_ended() {
        let of = [(batch.failed, "failed"), (batch.cancelled, "cancelled")]
            .map(|(number, what)| (number > 0).then(|| format!("{} of {} {what}", count(number), count(batch.tasks))));
        let of: Vec<String> = of.into_iter().flatten().collect();
        let said = format!("{}: {}", batch.name, of.join(", "));
        return Ok(if of.is_empty() { Standing::Finished } else { Standing::Failed(said) });
    }
    let stuck = stuck_on(conn, batch).await?;
    Ok(stuck.map_or(Standing::Going, |why| Standing::Failed(format!("{} {why}", batch.name))))
}

/// Why a batch cannot go on by itself; `None` while it can: see [`batch_stuck::are_stuck`].
async fn stuck_on(conn: &Connection, batch: &BatchView) -> Result<Option<String>, QueueError> {
    let is_stuck = batch_stuck::are_stuck(conn, std::slice::from_ref(&batch.name)).await?;
    if is_stuck != [true] {
        return Ok(None);
    }
    // The failure that it all goes back to, over the batches between.
    let (mut seen, mut chain) = (BTreeSet::new(), vec![batch.clone()]);
    for _ in 0..DEPTH {
        if let Some(failed) = chain.iter().flat_map(|batch| &batch.after).find(|awaited| awaited.has_failed()) {
            return Ok(Some(waits_for(failed)));
        }
        let next = chain.iter().flat_map(|batch| &batch.after).map(|awaited| awaited.name.top());
        let next: Vec<BatchName> = next.filter(|top| seen.insert(top.clone())).collect();
        chain = batch_views::some(conn, &next).await?;
    }
    Ok(Some("waits for batches that wait for each other, or cannot go on".to_owned()))
}

fn report(session: &mut StatusContext, batches: &[BatchView], standings: &[Standing]) -> Result<(), CliError> {
    if session.json {
        for (batch, standing) in batches.iter().zip(standings) {
            let (word, why) = match standing {
                Standing::Going => ("going", None),
                Standing::Finished => ("finished", None),
                Standing::Failed(why) => ("failed", Some(why)),
            };
            let mut json = json!(batch);
            json["outcome"] = json!(word);
            json["why"] = json!(why);
            session.out.json(&json)?;
        }
        return Ok(());
    }
    for (batch, standing) in batches.iter().zip(standings) {
        match standing {
            Standing::Going => {
                session.out.line(&format!("{}: {} of {} open", batch.name, count(batch.open), count(batch.tasks)))?;
            }
            Standing::Finished => session.out.line(&format!("{}: finished, {}", batch.name, tasks(batch.tasks)))?,
            Standing::Failed(why) => session.out.line(why)?,
        }
    }
    Ok(())
}
