//! `distcomp-worker --check`: is this node ready?

use std::path::PathBuf;

use super::args::WorkerArgs;
use super::load::{load, program};
use crate::cli::exit::{CliError, Exit};
use crate::cli::keys::public_keys;
use crate::cli::output::{Out, warn};
use crate::config::{Config, Prefetch, Role};
use crate::host;
use crate::model::snapshot::Overview;
use crate::model::{Accounting, FieldOrder, NodeSample, ResourceKind};
use crate::policy::cores;
use crate::process::{self, OpenFiles};
use crate::signing::PublicKey;
use crate::view::overview::warnings;
use crate::view::safe_text::safe;
use crate::view::text::{bytes, precise_duration, tasks};
use crate::worker::node_extras::{NodeExtras, labels};
use crate::worker::rehearsal::{Rehearsal, rehearse};
use crate::worker::start_checks::{warn_of_order, warn_of_signing_key, withheld};

/// Prints what this node would offer, and says "ready" only where a worker could start, claim and report. Leaves nothing behind, here or in Redis.
pub(super) async fn run(args: &WorkerArgs) -> Result<Exit, CliError> {
    let files = process::raise_open_files();
    let (_, loaded) = load(args, None, Role::Check)?;
    // Now: should Redis be away, a misspelt key may be why.
    for warning in &loaded.warnings {
        warn(program(), warning);
    }
    let config = loaded.config;
    let keys = public_keys(&config, loaded.file.as_deref())?;
    let name = args.worker_name()?;
    let Rehearsal { trial, node, extras, obstacles, open_redis, server, order, overview } =
        rehearse(&config, &name, !keys.is_empty(), args.share(), args.allow_insecure).await?;
    let file = loaded.file.map_or("none: the defaults apply".to_owned(), |path| path.display().to_string());
    let mut rows = vec![("configuration", file), ("worker", name.to_string())];
    let slots = Slots::new(&config, files);
    rows.extend(offers(&config, &node, &slots));
    rows.extend([
        ("resources", extras.shown(&config)),
        ("labels", labels(&config, &host::short_host_name()).join(", ")),
        ("isolation", isolation(&config, &extras)),
    ]);
    rows.extend([
        ("containment", trial.layers),
        ("signatures", signatures(&keys)),
        ("withheld", withheld_row(&config)),
        ("results", config.result_dir.display().to_string()),
        ("state", config.state_dir.display().to_string()),
    ]);
    rows.extend(queue(&server, &overview, order));
    let mut out = Out::new();
    for (what, value) in rows {
        out.line(&format!("{what:<14} {}", safe(&value)))?;
    }
    let signing = warn_of_signing_key(&config);
    let order_guessed = warn_of_order(&config, order);
    let found =
        loaded.python_notes.iter().chain(&order_guessed).chain(&open_redis).chain(&signing).chain(&trial.missing);
    for warning in found.chain(&slots.warning()).chain(&warnings(&overview.redis)) {
        warn(program(), warning);
    }
    out.line(if obstacles.is_empty() { "this node is ready" } else { "this node is not ready" })?;
    out.finish()?;
    if let Some(obstacle) = obstacles.first() {
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
    let lives = [
        ("lives for", config.time_limit, "it returns everything before"),
        ("leaves after", config.idle_timeout, "with nothing to run"),
    ];
    let lives = lives.into_iter().filter_map(|(name, time, what)| {
        time.map(|time| (name, format!("{}; {what}", precise_duration(time.as_secs_f64()))))
    });
    amounts.chain(others).chain(lives).collect()
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

/// How tasks are kept apart.
fn isolation(config: &Config, extras: &NodeExtras) -> String {
    let pins = config.pin_cpus.then(|| {
        let cores: Vec<usize> = extras.cores.iter().copied().collect();
        if cores.is_empty() {
            "pin_cpus cannot be done here: the kernel does not say which cores this worker may use".to_owned()
        } else {
            format!("tasks are pinned to cores of {}", cores::list(&cores))
        }
    });
    let hides = config.hide_gpus.then(|| "GPUs are hidden from tasks without any".to_owned());
    let scratch = config.scratch_dir.as_ref().map(|dir| format!("scratch directories in {}", dir.display()));
    let rules: Vec<String> = [pins, hides, scratch].into_iter().flatten().collect();
    if rules.is_empty() { "none (pin_cpus, hide_gpus and scratch_dir are off)".to_owned() } else { rules.join("; ") }
}

/// What it reached.
fn queue(server: &str, overview: &Overview, order: FieldOrder) -> [(&'static str, String); 2] {
    let (redis, counts) = (&overview.redis, &overview.counts);
    let memory = bytes(redis.used_memory);
    [
        ("Redis", format!("{}, version {}, {memory} in use", server, redis.version)),
        (
            "queue",
            format!(
                "{} todo, {} in progress, {} finished, {} failed; fields {order}",
                counts.todo, counts.in_progress, counts.finished, counts.failed
            ),
        ),
    ]
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
