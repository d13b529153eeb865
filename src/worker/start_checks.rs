//! What a start and `--check` look at alike: this node, the server, and settings that may not mean what they say.

use super::attach::StartError;
use crate::config::{Config, node_warnings, withheld_variables};
use crate::host::{Probe, Share};
use crate::model::{FieldOrder, NodeSample};
use crate::queue::auth_probe;

/// Refuses a server on the network that lets in whoever asks, or, where that is allowed, answers with a warning of it.
///
/// # Errors
/// [`StartError::OpenRedis`], and those of asking.
pub async fn refuse_open_redis(config: &Config, is_allowed: bool) -> Result<Option<String>, StartError> {
    if auth_probe::is_on_this_machine(&config.redis).await?
        || !auth_probe::allows_anonymous(&config.redis, &config.key_prefix).await?
    {
        return Ok(None);
    }
    let what = format!(
        "the Redis at {} is on the network and asks for no password: whoever reaches it can run commands on this node",
        config.redis
    );
    if is_allowed { Ok(Some(what)) } else { Err(StartError::OpenRedis(what)) }
}

/// A worker needs public keys alone: one that can read the signing key could sign, once it is taken over.
#[must_use]
pub fn warn_of_signing_key(config: &Config) -> Option<String> {
    let path = config.task_signing_key.as_ref().filter(|path| std::fs::File::open(path).is_ok())?;
    Some(format!(
        "task_signing_key: this worker can read {}, so a compromised worker could sign tasks; keep the key only on machines that submit tasks",
        path.display()
    ))
}

/// Where the file is Python DistComp's, and nobody has said in which order its lines are.
#[must_use]
pub fn warn_of_order(config: &Config, order: FieldOrder) -> Option<String> {
    let is_guess = config.is_of_python && config.field_order.is_none() && order == FieldOrder::MemCpuPrio;
    is_guess.then(|| {
        format!(
            "task_field_order is not set, so it is \"{order}\", and lines are read as type:{order}:cmd. Lines of Python DistComp are type:{0}:cmd: to run those, set it to \"{0}\"",
            FieldOrder::PrioMemCpu
        )
    })
}

/// What measures this node, or the part of it that may be used.
///
/// # Errors
/// [`StartError::Io`] when the system does not tell.
pub fn new_probe(share: Share) -> Result<Probe, StartError> {
    let probe =
        Probe::new().map_err(|error| StartError::io("read the state of this node", std::io::Error::other(error)))?;
    Ok(probe.with_share(share))
}

/// Looks at the node, and warns of settings that keep it from ever taking a task.
pub fn look_at_node(config: &Config, probe: &mut Probe) -> (NodeSample, Vec<String>) {
    let node = probe.sample();
    let mut warnings = node_warnings(config, &node.total);
    if let Some(asked) = probe.share_beyond_node() {
        warnings.push(format!("--memory asks for {asked} and this machine has {}: that is used", node.total.mem()));
    }
    (node, warnings)
}

/// The variables of this process that tasks do not see, by name, for people.
#[must_use]
pub fn withheld(config: &Config) -> String {
    let names = withheld_variables(&config.redis, std::env::vars_os());
    names.iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
}
