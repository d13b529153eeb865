//! Takes a worker's name at its start, and what an earlier process of that name has left: ends its processes, reports its outcomes, takes its tasks back.
//! In this order: nothing is claimed before the node is clean.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::failpoint::failpoint;
use super::spool::Spool;
use super::state::StateDir;
use crate::config::Config;
use crate::model::{FieldOrder, WorkerName};
use crate::process::{self, ConfineError, ProcessTag, ScratchRecord};
use crate::queue::call_size;
use crate::queue::layout::HeldBack;
use crate::queue::reclaim::{self, Owner};
use crate::queue::session::{AttachOptions, Registration, Settle};
use crate::queue::take_over::{ReclaimReason, Reclaimed, TakeOver};
use crate::queue::{Connection, Key, QueueError, Session};

/// A Python worker measures for two seconds between heartbeats.
const PYTHON_EXTRA: Duration = Duration::from_secs(3);

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another live worker has the name.
    #[error("take the name {worker}: {reason}")]
    NameTaken {
        /// The name that this worker wants.
        worker: WorkerName,
        /// Who has it.
        reason: String,
    },
    /// The configuration asks for what this node, or this user, cannot do.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The server is on the network and asks for no password: the text is a sentence.
    #[error(
        "{0}. This worker runs no task. Set a password (`requirepass` or ACL users) and redis_pass_file, or let Redis listen only on 127.0.0.1 or a Unix socket. To run tasks anyway, use --allow-insecure"
    )]
    OpenRedis(String),
    /// This node.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// Redis.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl StartError {
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }
}

/// Kills what an earlier process of this worker left running. The lock on the state directory proves that process dead.
pub fn sweep(state: &StateDir, instance: &str, old_groups: &[PathBuf], zygote: u32, users: &[u32]) {
    let in_leaves = process::kill_stale_cgroups(&state.identity, instance, old_groups);
    let marks =
        ProcessTag { environment: &state.marker, tag_file: state.mark.as_ref(), cgroup: None, users, before: None };
    let killed = in_leaves + process::kill_tagged(marks, |pid| u32::try_from(pid) == Ok(zygote));
    if killed > 0 {
        tracing::warn!(
            killed,
            in_cgroup = in_leaves,
            "killed processes that an earlier worker of this name left behind"
        );
    }
}

/// Removes the directories of attempts that an earlier process of this worker was running. Call it after [`sweep`]: then nobody uses them.
pub fn sweep_scratch(state: &StateDir) {
    let records = state.scratch_records();
    let (removed, failed) = process::remove_scratch(ScratchRecord::all(&records));
    process::discard_broken_records(&records);
    if removed > 0 {
        tracing::info!(removed, "removed scratch directories that an earlier worker of this name left behind");
    }
    for (dir, error) in failed {
        tracing::warn!(dir = %dir.display(), %error, "cannot remove a scratch directory that an earlier worker of this name left behind");
    }
}

/// Takes the worker's name: at once when it is free or its holder dead, never from a live one.
///
/// # Errors
/// [`StartError::NameTaken`] when the holder lives.
pub async fn take_name(
    conn: &Connection,
    worker: &WorkerName,
    registration: &Registration,
    config: &Config,
    order: FieldOrder,
) -> Result<Session, StartError> {
    let owner = reclaim::owner(conn, worker).await?;
    let taken = |reason: String| StartError::NameTaken { worker: worker.clone(), reason };
    match holder(&owner, registration, config.dead_after) {
        Holder::None | Holder::Dead => {}
        Holder::Alive => return Err(taken(describe(&owner))),
        Holder::Unknown => {
            let patience = (config.heartbeat_interval * 2 + PYTHON_EXTRA).min(config.dead_after + PYTHON_EXTRA);
            tracing::info!(%worker, seconds = patience.as_secs_f64(), "the name is registered elsewhere; waiting for a heartbeat");
            let end = Instant::now() + patience;
            while Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let now = reclaim::owner(conn, worker).await?;
                if now.heartbeat.is_some() && now.heartbeat != owner.heartbeat {
                    return Err(taken(describe(&now)));
                }
            }
        }
    }
    let standing = AttachOptions { order: Some(order), ..AttachOptions::default() };
    match Session::attach(conn.clone(), worker.clone(), registration, owner.fence.as_deref(), standing).await {
        Ok(session) => {
            tell_layout(&session, registration);
            Ok(session)
        }
        Err(QueueError::Fenced) => Err(taken("another worker took it a moment ago".to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// Says why the queue keeps an older layout, and who can change that.
fn tell_layout(session: &Session, registration: &Registration) {
    let (layout, newest) = (session.layout(), registration.layouts.newest());
    match &layout.held_back {
        None => {}
        Some(HeldBack::ByWorker(other)) => {
            tracing::info!(
                layout = layout.version,
                newest,
                %other,
                "the queue keeps its older layout until all workers run a release that supports the newer one"
            );
        }
        Some(HeldBack::ByServer(refusal)) => {
            let key = session.connection().keys().name(Key::Format);
            tracing::warn!(
                layout = layout.version,
                newest,
                %refusal,
                "cannot raise the layout of the queue; an administrator of Redis can: SET {key} {newest}"
            );
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    None,
    Dead,
    Alive,
    /// Elsewhere: only its heartbeat can tell.
    Unknown,
}

fn holder(owner: &Owner, me: &Registration, dead_after: Duration) -> Holder {
    let is_open_in = |instance: &str| {
        owner.fence.as_deref().and_then(|fence| fence.rsplit_once(':')).is_some_and(|(holder, _)| holder == instance)
    };
    // Ours already: an attempt to start that Redis did not let come to its end.
    if is_open_in("!dead") || is_open_in(&me.instance) || (owner.fence.is_none() && owner.heartbeat.is_none()) {
        return Holder::None;
    }
    if let (Some(_), Some(other)) = (&owner.fence, &owner.registration)
        && is_same_machine(me, other)
    {
        let pid = i32::try_from(other.pid).unwrap_or(0);
        return if process::is_alive(pid, other.start_ticks) { Holder::Alive } else { Holder::Dead };
    }
    let is_silent = owner.heartbeat.is_none_or(|heartbeat| reclaim::is_silent(owner.now, heartbeat, dead_after));
    if is_silent && owner.fence.is_some() { Holder::Dead } else { Holder::Unknown }
}

/// Whether process ids mean the same to both.
pub(super) fn is_same_machine(me: &Registration, other: &Registration) -> bool {
    !other.boot_id.is_empty() && other.boot_id == me.boot_id && other.host == me.host
}

fn describe(owner: &Owner) -> String {
    match &owner.registration {
        Some(other) if owner.fence.is_some() => {
            format!(
                "a live worker has this name, process {} on {}; choose another name with --name",
                other.pid, other.host
            )
        }
        _ => "a live Python worker has this name; choose another name with --name".to_owned(),
    }
}

/// Reports what an earlier process left in the spool, then takes back what it had in progress.
///
/// # Errors
/// Those of any call; may be repeated.
pub async fn recover(
    session: &Session,
    spool: Option<&mut Spool>,
    config: &Config,
    order: FieldOrder,
) -> Result<(), QueueError> {
    failpoint!("entered");
    if let Some(spool) = spool {
        let mut is_readable = true;
        // What cannot be read stays where it is, for a start that can.
        let left = spool.read().unwrap_or_else(|error| {
            tracing::error!(error = %error, spool = %spool.path().display(), "cannot read the spool; its outcomes are not reported now");
            is_readable = false;
            Vec::new()
        });
        for batch in call_size::parts(&left, 64, Settle::size) {
            session.settle(batch, config.max_retry, false).await?;
        }
        if !left.is_empty() {
            tracing::info!(outcomes = left.len(), "reported the unreported outcomes of an earlier process");
        }
        if is_readable && let Err(error) = spool.clear() {
            tracing::warn!(error = %error, "failed to clear the spool");
        }
    }
    let reason = ReclaimReason::Restart(session.fence());
    let before = TakeOver { conn: session.connection(), worker: session.worker(), reason, max_lost: config.max_lost };
    let Reclaimed { returned, failed, .. } = before.all(order).await?;
    if returned + failed > 0 {
        tracing::info!(returned, failed, "took over the tasks that an earlier process with this name had in progress");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Layouts;

    fn registration(host: &str, boot_id: &str, pid: u32, start_ticks: u64) -> Registration {
        Registration {
            instance: "i".to_owned(),
            host: host.to_owned(),
            boot_id: boot_id.to_owned(),
            pid,
            start_ticks,
            version: String::new(),
            since: 0,
            containment: String::new(),
            layouts: Layouts::default(),
            dead_after_seconds: 0,
        }
    }

    #[test]
    fn liveness_is_by_process_on_this_host_else_by_heartbeat() {
        let me = Registration { instance: "me".to_owned(), ..registration("a", "boot", 1, 1) };
        let own = process::identity(i32::try_from(std::process::id()).expect("pid")).expect("identity");
        let owner =
            |registration, heartbeat| Owner { fence: Some("i:1".to_owned()), registration, heartbeat, now: 100 };
        let dead_after = Duration::from_secs(40);
        let live = registration("a", "boot", std::process::id(), own.start_ticks);
        assert_eq!(holder(&owner(Some(live), Some(1)), &me, dead_after), Holder::Alive);
        let gone = registration("a", "boot", std::process::id(), own.start_ticks + 1);
        assert_eq!(holder(&owner(Some(gone), Some(100)), &me, dead_after), Holder::Dead);
        let elsewhere = registration("b", "other", 1, 1);
        assert_eq!(holder(&owner(Some(elsewhere.clone()), Some(99)), &me, dead_after), Holder::Unknown);
        assert_eq!(holder(&owner(Some(elsewhere), Some(10)), &me, dead_after), Holder::Dead);
        assert_eq!(
            holder(&Owner { heartbeat: Some(99), now: 100, ..Owner::default() }, &me, dead_after),
            Holder::Unknown
        );
        assert_eq!(holder(&Owner::default(), &me, dead_after), Holder::None);
        let ours =
            Owner { fence: Some("me:3".to_owned()), registration: Some(me.clone()), heartbeat: Some(100), now: 100 };
        assert_eq!(holder(&ours, &me, dead_after), Holder::None);
    }
}
