//! Checks, before anything else, whether this build and this configuration may use this server and this queue.

use super::client::Connection;
use super::error::QueueError;
use super::keys::{Key, STOP_FIELD};
use super::layout::Layouts;
use crate::model::FieldOrder;

/// The oldest server with every command we use (`HRANDFIELD` in Python DistComp, `ZRANGE` options).
const OLDEST: (u32, u32) = (6, 2);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A worker, submitter or ctl: must agree with the queue's field order. The script that first stores something records it: a submission that is
    /// refused must not decide how lines are read.
    Write,
    /// A worker: as a writer, but attaching upgrades the layout before this one.
    Attach,
    /// Who makes room: as a writer, but a server without the memory for those records is no obstacle.
    Free,
    /// Must agree like a writer, and writes nothing: a check.
    Check,
    /// Status: takes the queue's field order as it is.
    Read,
}

/// Checks version and layout, and settles the field order.
///
/// # Errors
/// [`QueueError::Unsupported`] for an old server; [`QueueError::Mismatch`] when this build does not support the layout, when field orders disagree or
/// when none can be known.
pub async fn handshake(
    conn: &Connection,
    configured: Option<FieldOrder>,
    access: Access,
) -> Result<FieldOrder, QueueError> {
    check_version(conn).await?;
    check_format(conn, access).await?;
    match access {
        Access::Read => {
            let recorded: Option<String> = conn.cmd(redis::cmd("GET").arg(conn.name(Key::FieldOrder))).await?;
            Ok(recorded.and_then(|order| order.parse().ok()).or(configured).unwrap_or_default())
        }
        Access::Write | Access::Attach | Access::Free | Access::Check => settle_order(conn, configured).await,
    }
}

/// Tries a write that changes nothing: whether the server takes writes at all now.
///
/// # Errors
/// [`QueueError::Busy`] when it is full, read-only or cannot write its files; otherwise those of any call.
pub async fn try_write(conn: &Connection) -> Result<(), QueueError> {
    let version = Layouts::of_this_build().newest();
    conn.cmd::<i64>(redis::cmd("SETNX").arg(conn.name(Key::Format)).arg(version)).await.map(drop)
}

async fn check_version(conn: &Connection) -> Result<(), QueueError> {
    let info: String = conn.cmd(redis::cmd("INFO").arg("server")).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    // Valkey keeps `redis_version` at 7.2.4 for its clients' sake, which suits us.
    let Some(version) = field("redis_version") else {
        return Err(QueueError::Unsupported(format!("the server at {} does not report its version", conn.at())));
    };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST {
        return Err(QueueError::Unsupported(format!(
            "the server at {} is version {version}; 6.2 or newer, or Valkey, is required",
            conn.at()
        )));
    }
    Ok(())
}

async fn check_format(conn: &Connection, access: Access) -> Result<(), QueueError> {
    let key = conn.name(Key::Format);
    let layouts = Layouts::of_this_build();
    let mut found: Option<String> = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    // Written only where it is missing: a purge must get past a server that takes no writes for want of memory.
    if found.is_none() && matches!(access, Access::Write | Access::Attach | Access::Free) {
        // SETNX and not SET: a submitter's Redis user must not be able to overwrite it.
        record(conn, &key, &layouts.newest().to_string(), access).await?;
        found = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    }
    match found {
        Some(found) if access == Access::Attach && layouts.may_upgrade(&found) => Ok(()),
        Some(found) => layouts.check(&found),
        None => Ok(()),
    }
}

async fn settle_order(conn: &Connection, configured: Option<FieldOrder>) -> Result<FieldOrder, QueueError> {
    let key = conn.name(Key::FieldOrder);
    if let Some(recorded) = conn.cmd::<Option<String>>(redis::cmd("GET").arg(&key)).await? {
        return agree(&key, &recorded, configured);
    }
    let order = match configured {
        Some(order) => order,
        None if is_used(conn).await? => {
            // Whoever has stored the first task since has recorded its order in the same step.
            if let Some(recorded) = conn.cmd::<Option<String>>(redis::cmd("GET").arg(&key)).await? {
                return agree(&key, &recorded, configured);
            }
            return Err(QueueError::Mismatch(format!(
                "the hashes contain tasks, but {key} records no field order and task_field_order is not set: set it in conf.json to \
                 \"prio:mem:cpu\" if Python DistComp wrote them, or to \"mem:cpu:prio\""
            )));
        }
        None => FieldOrder::default(),
    };
    Ok(order)
}

/// Records in which order lines are read, where nobody has: what scripts do of themselves.
///
/// # Errors
/// [`QueueError::Mismatch`] when another order is recorded; otherwise those of any call.
pub(super) async fn record_order(conn: &Connection, order: FieldOrder) -> Result<(), QueueError> {
    let key = conn.name(Key::FieldOrder);
    record(conn, &key, order.as_str(), Access::Write).await?;
    let recorded: Option<String> = conn.cmd(redis::cmd("GET").arg(&key)).await?;
    agree(&key, &recorded.unwrap_or_default(), Some(order)).map(drop)
}

/// Sets a key that is not there; false when another was quicker.
async fn record(conn: &Connection, key: &str, value: &str, access: Access) -> Result<bool, QueueError> {
    match conn.cmd(redis::cmd("SETNX").arg(key).arg(value)).await {
        Err(QueueError::Busy { .. }) if access == Access::Free => Ok(true),
        set => set,
    }
}

fn agree(key: &str, recorded: &str, configured: Option<FieldOrder>) -> Result<FieldOrder, QueueError> {
    let Ok(order) = recorded.parse::<FieldOrder>() else {
        return Err(QueueError::Mismatch(format!("{key} is {recorded:?}, which is not a field order")));
    };
    match configured {
        Some(configured) if configured != order => Err(QueueError::Mismatch(format!(
            "task_field_order is \"{configured}\" here and \"{order}\" in the queue: set it to \"{order}\" in conf.json, or, while no task waits \
             and no worker runs, change the queue with `redis-cli SET {key} {configured}`"
        ))),
        _ => Ok(order),
    }
}

/// What to say where a script has refused a field order.
pub(super) async fn other_order(conn: &Connection, ours: FieldOrder) -> QueueError {
    let key = conn.name(Key::FieldOrder);
    match conn.cmd::<Option<String>>(redis::cmd("GET").arg(&key)).await {
        Ok(recorded) => match agree(&key, &recorded.unwrap_or_default(), Some(ours)) {
            Err(error) => error,
            // It has been changed back since.
            Ok(_) => QueueError::busy(format!("{key} has just changed")),
        },
        Err(error) => error,
    }
}

/// Whether any task is there. The stop command is none: a fleet may be told to stop before its first task.
async fn is_used(conn: &Connection) -> Result<bool, QueueError> {
    let mut pipe = redis::pipe();
    pipe.hlen(conn.name(Key::Todo))
        .hlen(conn.name(Key::Waiting))
        .hlen(conn.name(Key::InProgress))
        .hlen(conn.name(Key::Finished))
        .hlen(conn.name(Key::Failed))
        .hexists(conn.name(Key::Todo), STOP_FIELD);
    let (todo, waiting, in_progress, finished, failed, stopping): (u64, u64, u64, u64, u64, bool) =
        conn.pipe(&pipe).await?;
    Ok(todo + waiting + in_progress + finished + failed > u64::from(stopping))
}
