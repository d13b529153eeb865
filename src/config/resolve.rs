//! Turns the keys of the file into a [`Config`], or reports every fault of every key. This is the only place that knows the defaults.

use std::path::PathBuf;
use std::time::Duration;

use super::confine::resolve_confine;
use super::fault::Fault;
use super::key_rules::{
    MAX_TASKS, check_python_workers, narrow, resolve_default_timeout, resolve_dram, resolve_field_order,
    resolve_heartbeat, resolve_prefetch, resolve_public_keys, resolve_result_dir, resolve_scratch_dir, resolve_shell,
    resolve_state_dir,
};
use super::offering::{resolve_labels, resolve_resources};
use super::python;
use super::raw::RawConfig;
use super::redis::resolve_redis;
use super::resource_def::ResourceDefs;
use super::settings::{Config, RedisSettings};
use super::source::{Overrides, Role};
use super::values::{ValueReader, Zero, read};
use crate::model::{Bytes, FieldOrder, MilliCores};

/// A JSON string may be six times its text, and Redis takes values of up to 512 MiB.
const MAX_INLINE_OUTPUT: u64 = 64 * 1024 * 1024;

/// Checks every key and builds the configuration.
///
/// # Errors
/// Every fault found, in the order of the manual.
pub(super) fn resolve(
    raw: &RawConfig,
    overrides: &Overrides,
    role: Role,
    warnings: &mut Vec<String>,
) -> Result<Config, Vec<Fault>> {
    let mut reader = ValueReader { environment: overrides.environment.clone(), ..ValueReader::default() };
    let config = read_keys(&mut reader, raw, overrides, role, warnings);
    if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
}

/// Reads the keys in the order of the manual, so that their faults come in that order. With a fault the configuration is not one to be used.
fn read_keys(
    r: &mut ValueReader,
    raw: &RawConfig,
    overrides: &Overrides,
    role: Role,
    warnings: &mut Vec<String>,
) -> Config {
    let seconds = Duration::from_secs;
    let (min_dram_accept, min_dram_trigger) = resolve_dram(r, raw, overrides.node_mem);
    let max_tasks = read!(r.integer(raw.max_task_per_worker, 32, 1, MAX_TASKS));
    let max_retry = read!(r.integer(raw.max_retry_per_task, 4, 0, u32::MAX.into()));
    let default_timeout = resolve_default_timeout(r, raw, overrides);
    let timeout_check_interval = read!(r.seconds(raw.task_timeout_check_interval, seconds(30), Zero::Refused));
    let kill_grace = read!(r.seconds(raw.task_kill_grace_seconds, seconds(5), Zero::Allowed));
    let poll_interval = read!(r.seconds(raw.sleep_sec_between_accepting_task, seconds(2), Zero::Allowed));
    let min_between_starts = read!(r.seconds(raw.min_seconds_between_starts, Duration::ZERO, Zero::Allowed));
    let auto_sleep = read!(r.boolean(raw.auto_sleep_sec, true));
    let pipeline_batching = read!(r.boolean(raw.redis_pipeline_batching, true));
    let prefetch = resolve_prefetch(r, raw.task_prefetch.as_ref());
    let (heartbeat_interval, dead_after) = resolve_heartbeat(r, raw);
    let min_free_cores = read!(r.cores(raw.min_free_cpu_cores, MilliCores::ZERO));
    let drain_timeout = read!(r.seconds(raw.drain_timeout_seconds, seconds(300), Zero::Allowed));
    let retry_backoff = read!(r.seconds(raw.retry_backoff_seconds, Duration::ZERO, Zero::Allowed));
    let retry_memory_factor = read!(r.factor(raw.retry_memory_factor, 2000));
    let retry_memory_max = read!(r.gib(raw.retry_memory_max_gb, Bytes::ZERO));
    let lacking = overrides.may_lack_result_dir.then_some(&mut *warnings);
    let result_dir = resolve_result_dir(r, raw.result_dir.as_ref(), role, lacking);
    let state_dir = resolve_state_dir(r, raw.state_dir.as_ref(), overrides, role, warnings);
    let task_shell = resolve_shell(r, raw.task_shell.as_ref(), role);
    let max_inline_output = read!(r.integer(raw.max_inline_output_bytes, 1 << 20, 0, MAX_INLINE_OUTPUT));
    let confine = resolve_confine(r, raw);
    let node = read_node_keys(r, raw, overrides, role);
    let queue = read_queue_keys(r, raw, overrides, warnings);
    Config {
        min_dram_accept,
        min_dram_trigger,
        max_tasks: overrides.slots.unwrap_or_else(|| narrow(max_tasks)),
        max_retry: narrow(max_retry),
        default_timeout,
        timeout_check_interval,
        kill_grace,
        poll_interval,
        min_between_starts,
        auto_sleep,
        pipeline_batching,
        prefetch,
        heartbeat_interval,
        dead_after,
        min_free_cores,
        drain_timeout,
        retry_backoff,
        retry_memory_factor,
        retry_memory_max: Some(retry_memory_max).filter(|most| *most > Bytes::ZERO),
        result_dir,
        state_dir,
        task_shell,
        max_inline_output: usize::try_from(max_inline_output).unwrap_or(usize::MAX),
        confine,
        resources: node.resources,
        labels: node.labels,
        hide_gpus: node.hide_gpus,
        pin_cpus: node.pin_cpus,
        scratch_dir: node.scratch_dir,
        prefer_wait: node.prefer_wait,
        time_limit: node.time_limit,
        idle_timeout: node.idle_timeout,
        field_order: queue.field_order,
        redis: queue.redis,
        key_prefix: queue.key_prefix,
        require_signed_tasks: queue.require_signed_tasks,
        task_public_keys: queue.task_public_keys,
        task_signing_key: queue.task_signing_key,
        max_lost: queue.max_lost,
        suspect_after: queue.suspect_after,
        python_workers: queue.python_workers,
        // Whoever writes our own order is at home here.
        is_of_python: python::is_of_python(&raw.names()) && queue.field_order != Some(FieldOrder::MemCpuPrio),
    }
}

/// The keys of what a node has for tasks, and of how long its worker runs.
struct NodeKeys {
    resources: ResourceDefs,
    labels: Vec<String>,
    hide_gpus: bool,
    pin_cpus: bool,
    scratch_dir: Option<PathBuf>,
    prefer_wait: Duration,
    time_limit: Option<Duration>,
    idle_timeout: Option<Duration>,
}

fn read_node_keys(r: &mut ValueReader, raw: &RawConfig, overrides: &Overrides, role: Role) -> NodeKeys {
    let resources = resolve_resources(r, raw.resources.as_ref(), &overrides.resources);
    let labels = resolve_labels(r, raw.labels.as_ref(), &overrides.labels);
    let hide_gpus = read!(r.boolean(raw.hide_gpus, false));
    let pin_cpus = read!(r.boolean(raw.pin_cpus, false));
    let scratch_dir = resolve_scratch_dir(r, raw.scratch_dir.as_ref(), role);
    let prefer_wait = read!(r.seconds(raw.prefer_wait_seconds, Duration::from_secs(30), Zero::Allowed));
    let time_limit = read!(r.seconds(raw.time_limit_seconds, Duration::ZERO, Zero::Allowed));
    let idle_timeout = read!(r.seconds(raw.idle_timeout_seconds, Duration::ZERO, Zero::Allowed));
    let is_limit = |limit: &Duration| !limit.is_zero();
    let time_limit = match overrides.time_limit.or(raw.time_limit_seconds.is_some().then_some(time_limit)) {
        Some(limit) => Some(limit).filter(is_limit),
        None => overrides.job_time_left,
    };
    let idle_timeout = overrides.idle_timeout.or_else(|| Some(idle_timeout).filter(is_limit));
    NodeKeys { resources, labels, hide_gpus, pin_cpus, scratch_dir, prefer_wait, time_limit, idle_timeout }
}

/// The keys of the queue: how its lines are read, where it is, and whose tasks run.
struct QueueKeys {
    field_order: Option<FieldOrder>,
    redis: RedisSettings,
    key_prefix: String,
    require_signed_tasks: bool,
    task_public_keys: Vec<PathBuf>,
    task_signing_key: Option<PathBuf>,
    max_lost: u32,
    suspect_after: u32,
    python_workers: bool,
}

fn read_queue_keys(
    r: &mut ValueReader,
    raw: &RawConfig,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> QueueKeys {
    let faults_before = r.faults.len();
    let field_order = resolve_field_order(r, raw.task_field_order.as_ref());
    let is_order_sound = r.faults.len() == faults_before;
    let redis = resolve_redis(r, raw, overrides, warnings);
    let key_prefix = read!(r.text(raw.redis_key_prefix, "text")).unwrap_or_default();
    let require_signed_tasks = read!(r.boolean(raw.require_signed_tasks, false));
    let task_public_keys = resolve_public_keys(r, raw.task_public_keys.as_ref(), require_signed_tasks);
    // Files of keys are read by who uses them: one configuration may serve nodes that have them and nodes that have not.
    let task_signing_key = read!(r.path(raw.task_signing_key, "the path of a signing key file"));
    let max_lost = narrow(read!(r.integer(raw.max_lost_per_task, 3, 0, u32::MAX.into())));
    let suspect_after = narrow(read!(r.integer(raw.suspect_after, 5, 0, u32::MAX.into())));
    let python_workers = read!(r.boolean(raw.python_workers, false));
    if python_workers {
        check_python_workers(r, field_order, is_order_sound, &key_prefix);
        warnings.extend(require_signed_tasks.then(|| python::UNSIGNED_TOO.to_owned()));
    }
    QueueKeys {
        field_order,
        redis,
        key_prefix,
        require_signed_tasks,
        task_public_keys,
        task_signing_key,
        max_lost,
        suspect_after,
        python_workers,
    }
}
