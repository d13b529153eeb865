//! Decodes the replies of an overview: pure functions of hashes and of `INFO`.

use std::collections::HashMap;

use crate::model::snapshot::{
    Death, FailureGroup, PYTHON_DEAD_AFTER_SECONDS, RedisHealth, SuspectEvidence, WaitReason, WorkerExtras, WorkerLoad,
    WorkerProcess, WorkerState, WorkerView,
};
use crate::model::{Outcome, Usage};

/// A worker without a heartbeat for this long is shown as silent.
const SILENT_AFTER_SECONDS: u64 = 15;

/// The groups of failures from their counters, largest first; cancelled tasks are none. 0 = all.
pub(super) fn top_groups(
    groups: &HashMap<String, String>,
    samples: &HashMap<String, String>,
    limit: usize,
) -> Vec<FailureGroup> {
    let mut all: Vec<FailureGroup> = groups
        .iter()
        .filter(|(kind, _)| *kind != Outcome::CANCELLED_GROUP)
        .filter_map(|(kind, count)| {
            let count = count.parse().ok().filter(|count: &u64| *count > 0)?;
            let sample = samples.get(kind).cloned().unwrap_or_default();
            Some(FailureGroup { kind: kind.clone(), count, workers: Vec::new(), sample, reason: String::new() })
        })
        .collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    if limit > 0 {
        all.truncate(limit);
    }
    all
}

/// How many failed tasks there are of each kind, most first.
pub(super) fn kinds_of(groups: &HashMap<String, String>) -> Vec<(String, u64)> {
    top_groups(groups, &HashMap::new(), 0).into_iter().map(|group| (group.kind, group.count)).collect()
}

/// Tasks finished, and tasks out of retries, per second over the last minute.
pub(super) fn rates_over_last_minute(rings: &HashMap<String, String>, now: u64) -> (f64, f64) {
    let (failed, finished): (Vec<_>, Vec<_>) = rings.iter().partition(|(field, _)| field.starts_with('f'));
    let rate = |ring: Vec<(&String, &String)>| rate_over_last_minute(ring.iter().map(|(_, value)| value.as_str()), now);
    (rate(finished), rate(failed))
}

/// `BUCKET:COUNT` in any order, buckets being of five seconds.
pub(super) fn rate_over_last_minute<'a>(ring: impl Iterator<Item = &'a str> + Clone, now: u64) -> f64 {
    let bucket_now = now / 5;
    // The bucket being filled counts for the part of it that has passed.
    let span = 55.0 + (now % 5) as f64 + 1.0;
    let sum: u64 = ring
        .clone()
        .filter_map(|value| {
            let (bucket, count) = value.split_once(':')?;
            let age = bucket_now.checked_sub(bucket.parse().ok()?)?;
            (age < 12).then(|| count.parse::<u64>().ok())?
        })
        .fold(0, u64::saturating_add);
    // Younger than a minute: over the time there was something to count.
    let oldest = ring
        .filter_map(|value| bucket_now.checked_sub(value.split_once(':')?.0.parse().ok()?))
        .filter(|age| *age < 12)
        .max();
    match oldest {
        Some(age) if sum > 0 => sum as f64 / span.min(age as f64 * 5.0 + (now % 5) as f64 + 1.0),
        _ => 0.0,
    }
}

/// The hashes that tell of workers, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerHashes {
    pub(super) status: HashMap<String, String>,
    pub(super) owners: HashMap<String, String>,
    pub(super) loads: HashMap<String, String>,
    pub(super) processes: HashMap<String, String>,
    pub(super) drains: HashMap<String, String>,
    pub(super) died: HashMap<String, String>,
}

/// Every worker: those that do not live first, otherwise by name.
pub(super) fn workers(hashes: &WorkerHashes, tally: &HashMap<String, String>, now: u64) -> Vec<WorkerView> {
    let WorkerHashes { status, owners, loads, processes, drains, died } = hashes;
    let fresh = died.iter().filter_map(|(name, record)| Some((name, death(record, now)?)));
    let died: HashMap<&String, (Death, Option<u64>)> = fresh.collect();
    let mut names: Vec<&String> =
        status.keys().chain(owners.keys()).chain(drains.keys()).chain(died.keys().copied()).collect();
    names.sort();
    names.dedup();
    let view = |name: &String| {
        let (beat, figures) = status.get(name).map_or(("", ""), |text| text.split_once(':').unwrap_or((text, "")));
        let beat = beat.parse::<f64>().ok().filter(|beat| *beat >= 0.0);
        let age = beat.map(|beat| now.saturating_sub(beat as u64));
        let total = |what: &str| tally.get(&format!("{what}:{name}")).and_then(|n| n.parse().ok()).unwrap_or(0);
        let owner = owners.get(name);
        let mut load = loads.get(name).and_then(|json| WorkerLoad::parse(json));
        let told = load.as_mut().map_or((None, None), |load| (load.traits.take(), load.free.take()));
        let is_idle = load.as_ref().is_some_and(|load| load.wait == Some(WaitReason::Drained));
        let process = processes.get(name).and_then(|json| serde_json::from_str::<WorkerProcess>(json).ok());
        let lease = process.as_ref().and_then(|process| process.dead_after_seconds).filter(|lease| *lease > 0);
        // Another program may have taken the name since.
        let death = died.get(name).filter(|_| owner.is_none() && !status.contains_key(name));
        let state = match owner {
            None if death.is_some() => WorkerState::Dead,
            // It has gone; the drain is of its name.
            None if drains.contains_key(name) && !status.contains_key(name) => WorkerState::Drained,
            None if age.is_some_and(|age| age < PYTHON_DEAD_AFTER_SECONDS) => WorkerState::Python,
            None => WorkerState::Dead,
            Some(owner) if owner.starts_with(DECLARED_DEAD) => WorkerState::Dead,
            Some(_) if age.is_some_and(|age| is_dead(age, lease)) => WorkerState::Dead,
            Some(_) if age.is_none_or(|age| age > SILENT_AFTER_SECONDS) => WorkerState::Silent,
            Some(_) if drains.contains_key(name) && is_idle => WorkerState::Drained,
            Some(_) if drains.contains_key(name) => WorkerState::Draining,
            Some(_) => WorkerState::Live,
        };
        let extras = WorkerExtras {
            died: death.map(|(death, _)| *death),
            is_declared_dead: death.is_some() || owner.is_some_and(|owner| owner.starts_with(DECLARED_DEAD)),
            ..WorkerExtras::of(told.0, told.1)
        };
        WorkerView {
            name: name.clone(),
            state,
            heartbeat_age_seconds: death.map_or(age, |(_, beat)| beat.map(|beat| now.saturating_sub(beat))),
            usage: Usage::of_status(figures),
            is_python: owner.is_none() && death.is_none() && state != WorkerState::Drained,
            finished: total("finished"),
            is_estimate: false,
            failed: total("failed"),
            returned: total("returned"),
            timed_out: total("timed_out"),
            load,
            extras,
            process,
        }
    };
    let mut all: Vec<WorkerView> = names.into_iter().map(view).collect();
    // The sort is stable: by name within a rank.
    all.sort_by_key(|worker| match worker.state {
        WorkerState::Dead => 0,
        WorkerState::Silent => 1,
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Drained
        | WorkerState::Python => 2,
    });
    all
}

/// How the owner of a name begins that was declared dead.
const DECLARED_DEAD: &str = "!dead:";

/// Seconds after the end of its lease within which the living declare a worker dead. Where that has not happened, nobody lives who would do it.
const TIME_TO_DECLARE: u64 = 5;

/// Whether a worker is dead for who only reads, by the age of its heartbeat and its lease, in seconds.
fn is_dead(age: u64, lease: Option<u64>) -> bool {
    lease.is_some_and(|lease| age > lease.saturating_add(TIME_TO_DECLARE))
}

/// A record of a death with the second of the last heartbeat, as `lua/shared/deaths.lua` writes it; `None` for one that is a day old.
fn death(record: &str, now: u64) -> Option<(Death, Option<u64>)> {
    const DAY: u64 = 86_400;
    let mut numbers = record.split('|').map(|number| number.parse::<u64>().ok());
    let (at, beat) = (numbers.next()??, numbers.next()??);
    let death = Death { at, returned: numbers.next()??, failed: numbers.next()?? };
    (now < at.saturating_add(DAY)).then_some((death, Some(beat).filter(|beat| *beat > 0)))
}

/// Notes what speaks against each. One that would take tasks but for that is a suspect.
pub(super) fn note_suspects(workers: &mut [WorkerView], blamed: &HashMap<String, String>) {
    for worker in workers {
        let evidence = blamed.get(&worker.name).and_then(|json| serde_json::from_str::<SuspectEvidence>(json).ok());
        if worker.state == WorkerState::Live && evidence.as_ref().is_some_and(|evidence| evidence.paused) {
            worker.state = WorkerState::Suspect;
        }
        worker.extras.suspect = evidence;
    }
}

pub(super) fn health(info: &str) -> RedisHealth {
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    RedisHealth {
        version: field("redis_version").to_owned(),
        used_memory: field("used_memory").parse().unwrap_or(0),
        max_memory: field("maxmemory").parse().unwrap_or(0),
        eviction_policy: field("maxmemory_policy").to_owned(),
        append_only: field("aof_enabled") == "1",
        clients: field("connected_clients").parse().unwrap_or(0),
        is_replica: matches!(field("role"), "slave" | "replica"),
        cannot_save: field("aof_last_write_status") == "err"
            || (field("aof_enabled") == "1" && field("aof_last_bgrewrite_status") == "err")
            || field("rdb_last_bgsave_status") == "err",
    }
}
