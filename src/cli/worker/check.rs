//! `distcomp-worker --check`: is this node ready?

use std::path::PathBuf;
use std::time::Duration;

use super::args::WorkerArgs;
use super::load::{PROGRAM, load};
use super::prepare::{
    check_strangers, confine_error, keeper_settings, look_at_node, new_probe, queue_of, start_nursery, warn_of_order,
    warn_of_signing_key, withheld,
};
use crate::cli::exit::{CliError, Exit};
use crate::cli::keys::public_keys;
use crate::cli::output::{Out, warn};
use crate::config::{Config, Prefetch, Role};
use crate::host;
use crate::model::snapshot::Overview;
use crate::model::{Accounting, FieldOrder, NodeSample, ResourceKind};
use crate::process::{self, Confinement, OpenFiles, SlotCgroups, WorkerCgroup};
use crate::queue::guard::{self, Access};
use crate::queue::{Client, inspect, preflight};
use crate::signing::PublicKey;
use crate::sys::random;
use crate::view::overview::warnings;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, precise_duration, tasks};
use crate::worker::nursery::containment;
use crate::worker::results;
use crate::worker::state::State;
use crate::worker::trust::Pin;

/// Prints what this node would offer, and says "ready" only where a worker could start, claim and report. Leaves nothing behind, here or in Redis.
pub(super) async fn run(args: &WorkerArgs) -> Result<Exit, CliError> {
    let files = process::raise_open_files();
    let (_, loaded) = load(args, None, Role::Check)?;
    // Now: should Redis be away, a misspelt key may be why.
    for warning in &loaded.warnings {
        warn(PROGRAM, warning);
    }
    let config = loaded.config;
    let keys = public_keys(&config, loaded.file.as_deref())?;
    let (containment, missing) = try_containment(&config).await?;
    let mut probe = new_probe(args.share())?;
    let (sample, node) = look_at_node(&config, &mut probe);
    let client = Client::new(&config.redis, &config.key_prefix, Duration::from_secs(4))?;
    let conn = client.connect().await?;
    let insecure = check_strangers(&config, args.allow_insecure).await?;
    let order = guard::admit(&conn, config.field_order, Access::Check).await?;
    let overview = inspect::overview(&conn).await?;
    let name = args.name.clone().unwrap_or_else(host::default_worker_name);
    preflight::dry_run(&client, &conn, &name, &random::id()).await?;
    if !keys.is_empty() {
        let file = State::queue_file(&config.state_dir, &name, &queue_of(&config));
        let pin = Pin::open(file).map_err(|error| CliError::io("read the stored identity of the queue", error))?;
        pin.look(&conn).await?;
    }
    let file = loaded.file.map_or("none: the defaults apply".to_owned(), |path| path.display().to_string());
    let mut rows = vec![("configuration", file), ("worker", name.to_string())];
    let slots = Slots::new(&config, files);
    rows.extend(offers(&config, &sample, &slots));
    rows.extend([
        ("containment", containment),
        ("signatures", signatures(&keys)),
        ("withheld", withheld_row(&config)),
        ("results", config.result_dir.display().to_string()),
        ("state", config.state_dir.display().to_string()),
    ]);
    rows.extend(queue(&client, &overview, order));
    let mut out = Out::new();
    for (what, value) in rows {
        out.line(&format!("{what:<14} {}", safe(&value)))?;
    }
    let signing = warn_of_signing_key(&config);
    let order_guessed = warn_of_order(&config, order);
    let found = loaded.python_notes.iter().chain(&order_guessed).chain(&insecure).chain(&signing).chain(&missing);
    for warning in found.chain(&slots.warning()).chain(&warnings(&overview.redis)) {
        warn(PROGRAM, warning);
    }
    out.line(if node.is_empty() { "this node is ready" } else { "this node is not ready" })?;
    out.finish()?;
    if let Some(obstacle) = node.first() {
        return Err(CliError::Usage(format!("this node is not ready: {obstacle}")));
    }
    Ok(Exit::Done)
}

/// How many tasks would run at once.
struct Slots {
    wanted: u32,
    got: u32,
    limit: Option<u64>,
}

impl Slots {
    /// As at the start of a worker: each slot takes descriptors.
    fn new(config: &Config, files: Option<OpenFiles>) -> Self {
        let most = files.map_or(u32::MAX, |files| process::slots_for(files.limit));
        Self { wanted: config.max_tasks, got: config.max_tasks.min(most), limit: files.map(|files| files.limit) }
    }

    fn warning(&self) -> Option<String> {
        let limit = self.limit.filter(|_| self.got < self.wanted)?;
        Some(format!(
            "max_task_per_worker is {}, but the limit of open files, {limit}, allows only {}: raise the limit (ulimit -n, LimitNOFILE=)",
            self.wanted,
            tasks(u64::from(self.got))
        ))
    }

    fn shown(&self) -> String {
        if self.got < self.wanted { format!("{} of {}", self.got, self.wanted) } else { self.got.to_string() }
    }
}

/// What this node would offer to tasks.
fn offers(config: &Config, node: &NodeSample, slots: &Slots) -> Vec<(&'static str, String)> {
    let limit = config.default_timeout.map_or("none".to_owned(), |limit| precise_duration(limit.as_secs_f64()));
    let grace = precise_duration(config.kill_grace.as_secs_f64());
    let ahead = match config.prefetch {
        Prefetch::Auto => "as many as end within 60 ms".to_owned(),
        Prefetch::Fixed(0) => "none".to_owned(),
        Prefetch::Fixed(fixed) => fixed.to_string(),
    };
    let amounts = ResourceKind::ALL.into_iter().map(|kind| (kind.noun(), offered(config, node, kind)));
    let others = [
        ("slots", slots.shown()),
        ("claimed ahead", ahead),
        ("time limit", format!("{limit} unless the task sets one; grace {grace} before SIGKILL")),
    ];
    amounts.chain(others).collect()
}

fn offered(config: &Config, node: &NodeSample, kind: ResourceKind) -> String {
    let [total, free, accept] = [node.total, node.free, config.accept()].map(|amounts| kind.exact(amounts.get(kind)));
    match kind.accounting() {
        Accounting::Measured if kind == ResourceKind::Memory => {
            let trigger = config.min_dram_trigger;
            format!("{total} in all, {free} free; tasks start above {accept}, return below {trigger}")
        }
        Accounting::Measured => format!("{total} in all, {free} free; tasks start above {accept}"),
        Accounting::Declared => format!("{total} in all"),
    }
}

/// What it reached.
fn queue(client: &Client, overview: &Overview, order: FieldOrder) -> [(&'static str, String); 2] {
    let (redis, counts) = (&overview.redis, &overview.counts);
    let memory = bytes(redis.used_memory);
    [
        ("Redis", format!("{}, version {}, {memory} in use", client.at(), redis.version)),
        (
            "queue",
            format!(
                "{} todo, {} in progress, {} finished, {} failed; fields {order}",
                counts.todo, counts.in_progress, counts.finished, counts.failed
            ),
        ),
    ]
}

/// Which layers a worker would have: found out by making the cgroups and processes that it would make, and a task that does nothing. Besides,
/// what it would have to do without.
async fn try_containment(config: &Config) -> Result<(String, Vec<String>), CliError> {
    let confinement = Confinement::of(&config.confine).map_err(confine_error)?;
    let instance = std::process::id().to_string();
    let mut leaf = WorkerCgroup::create("check", &instance).ok();
    let has_leaf = leaf.is_some();
    let made = config.confine.enforce_memory.then(|| SlotCgroups::create("check", &instance, leaf.as_mut()));
    let (groups, limits) = match made {
        None => (None, None),
        Some(Ok(groups)) => (Some(groups), None),
        Some(Err(why)) => (None, Some(format!("enforce_memory cannot be done here, tasks run without limits: {why}"))),
    };
    let layers = containment(has_leaf, !has_leaf, &confinement, groups.as_ref());
    let results = results::warning(&config.result_dir, confinement.user.as_ref());
    let nursery = start_nursery(keeper_settings(confinement, None, None, &config.redis), leaf, groups)?;
    let tried = nursery.try_out(&config.task_shell).await;
    nursery.shutdown().await;
    tried.map_err(confine_error)?;
    Ok((layers, limits.into_iter().chain(results).collect()))
}

/// Which variables tasks would not see.
fn withheld_row(config: &Config) -> String {
    match withheld(config) {
        none if none.is_empty() => "no variable".to_owned(),
        names => format!("{names}: these variables contain a secret; tasks do not see them"),
    }
}

/// Whose tasks it would run.
fn signatures(keys: &[(PathBuf, PublicKey)]) -> String {
    if keys.is_empty() {
        return "not required: whoever can write to Redis can run commands here".to_owned();
    }
    let named: Vec<String> = keys.iter().map(|(path, key)| format!("{} ({})", key.id(), path.display())).collect();
    format!("required, of {}", named.join(" or "))
}
