//! The dry run of a start, for `--check`: tries everything that a worker needs, and leaves nothing behind, here or in Redis.

use std::path::Path;
use std::time::Duration;

use super::attach::StartError;
use super::keepers::{self, Trial};
use super::node_extras::NodeExtras;
use super::start_checks::{look_at_node, new_probe, refuse_open_redis};
use super::state::{StateDir, queue_of};
use super::trust::Pin;
use crate::config::Config;
use crate::host::Share;
use crate::model::snapshot::Overview;
use crate::model::{FieldOrder, NodeSample, WorkerName};
use crate::queue::guard::{self, Access};
use crate::queue::{Client, inspect, preflight};
use crate::sys::random;

/// How long one call may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// What was found.
pub struct Rehearsal {
    /// The containment.
    pub trial: Trial,
    /// This node.
    pub node: NodeSample,
    /// What it has besides memory and cores.
    pub extras: NodeExtras,
    /// Settings that keep it from ever taking a task.
    pub obstacles: Vec<String>,
    /// A warning of a server that lets in whoever asks, where that is allowed.
    pub open_redis: Option<String>,
    /// Where the server is.
    pub server: String,
    /// The field order of the queue.
    pub order: FieldOrder,
    /// The queue.
    pub overview: Overview,
}

/// Tries what [`boot`](super::boot()) does. `is_signed`: signatures are required.
///
/// # Errors
/// Those for which a worker would not start.
pub async fn rehearse(
    config: &Config,
    worker: &WorkerName,
    is_signed: bool,
    share: Share,
    allow_insecure: bool,
) -> Result<Rehearsal, StartError> {
    let trial = keepers::try_out(config, Path::new(keepers::THIS_PROGRAM)).await?;
    let (node, obstacles) = look_at_node(config, &mut new_probe(share)?);
    // Nothing is recorded: no task runs.
    let extras = NodeExtras::find(std::path::PathBuf::new()).await;
    let client = Client::new(&config.redis, &config.key_prefix, RESPONSE_TIMEOUT)?;
    let conn = client.connect().await?;
    let open_redis = refuse_open_redis(config, allow_insecure).await?;
    let order = guard::handshake(&conn, config.field_order, Access::Check).await?;
    let overview = inspect::overview(&conn).await?;
    preflight::dry_run(&client, &conn, worker, &random::id()).await?;
    if is_signed {
        let file = StateDir::queue_file(&config.state_dir, worker, &queue_of(config));
        let pin = Pin::open(file).map_err(|error| StartError::io("read the stored identity of the queue", error))?;
        pin.look(&conn).await?;
    }
    let server = client.at().to_owned();
    Ok(Rehearsal { trial, node, extras, obstacles, open_redis, server, order, overview })
}
