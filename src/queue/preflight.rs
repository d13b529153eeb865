//! A dry run for `--check`: whether a worker has all the rights that it needs here. It writes and leaves nothing behind.

use super::args::Args;
use super::client::{Client, Connection};
use super::error::QueueError;
use super::keys::Key;
use super::records::CheckArgs;
use super::scripts;
use super::wakeups::Wakeups;
use crate::model::WorkerName;

/// Refusals that are named; there may be one for each key.
const NAMED: usize = 6;

/// Loads the scripts, runs one that writes, and subscribes and publishes, all as a worker of this name does.
///
/// Leaves nothing behind but the scripts in the server's cache, where every worker puts them. May be repeated.
///
/// # Errors
/// [`QueueError::Busy`] where the server takes no writes (full, a replica, a failed snapshot); [`QueueError::Denied`] where the user lacks rights.
pub async fn dry_run(client: &Client, conn: &Connection, worker: &WorkerName, nonce: &str) -> Result<(), QueueError> {
    conn.load_scripts().await?;
    let mut args = Args::new();
    args.record(CheckArgs { nonce });
    let refused: Vec<String> = conn.script(&scripts::CHECK, Some(worker), &args).await?;
    if let Some(said) = refused.get(1) {
        let what: Vec<&str> = refused.iter().step_by(2).map(String::as_str).collect();
        let more = what.len().saturating_sub(NAMED);
        let mut named = what[..what.len().min(NAMED)].join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        return Err(conn.denied(format!("run {named}"), said));
    }
    drop(Wakeups::subscribe(client, worker).await?);
    let channel = format!("{}check:{nonce}", conn.name(Key::Output));
    conn.cmd::<u64>(redis::cmd("PUBLISH").arg(channel).arg("")).await?;
    Ok(())
}
