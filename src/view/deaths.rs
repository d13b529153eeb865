//! Workers that died, and a fleet of which nobody lives.

use super::safe_text::safe;
use super::text::{count, counted, tasks};
use crate::model::snapshot::{Overview, WorkerState, WorkerView};
use crate::sys::wall_clock;

/// Deaths that are told one by one.
const SHOWN: usize = 3;

/// What must be seen first: that no worker is alive, and which workers have died.
#[must_use]
pub fn alarms(overview: &Overview) -> Vec<String> {
    let deregistered: Vec<&WorkerView> =
        overview.workers.iter().filter(|worker| worker.extras.died.is_some()).collect();
    let mut all: Vec<String> = nobody_lives(overview).into_iter().collect();
    all.extend(deregistered.iter().take(SHOWN).filter_map(|worker| one(worker)));
    if deregistered.len() > SHOWN {
        let more = deregistered.len() - SHOWN;
        all.push(format!(
            "{} more died in the last day; distcomp-status workers names them",
            counted(more as u64, "worker")
        ));
    }
    all
}

/// A line for each worker that died, with the command that removes it from the lists.
#[must_use]
pub fn deaths(workers: &[WorkerView]) -> String {
    workers.iter().filter_map(one).map(|line| format!("{line}\n")).collect()
}

/// What became of the tasks of a worker that died, for a table; `None` of one that has not.
#[must_use]
pub fn lost(worker: &WorkerView) -> Option<String> {
    let death = worker.extras.died?;
    let failed = if death.failed > 0 { format!(", {} failed", count(death.failed)) } else { String::new() };
    Some(format!("died at {}: {} given back{failed}", clock(death.at), tasks(death.returned)))
}

/// `silent since 22:40 UTC` or `dead since 22:40 UTC`, by its last heartbeat; `None` of a worker that is heard of.
#[must_use]
pub fn silent_since(worker: &WorkerView, now: u64) -> Option<String> {
    if worker.is_alive() || worker.state == WorkerState::Drained {
        return None;
    }
    let since = worker.heartbeat_age_seconds.map(|age| format!(" since {}", clock(now.saturating_sub(age))));
    Some(format!("{}{}", worker.state.as_str(), since.unwrap_or_default()))
}

fn one(worker: &WorkerView) -> Option<String> {
    let name = safe(&worker.name);
    Some(format!("{name} {}; distcomp-ctl reclaim --forget {name} hides it", lost(worker)?))
}

/// `no worker is alive (5 silent since 22:22 UTC): 44 tasks are held by them`; `None` while one lives, and where there is nothing for one to do.
#[must_use]
pub fn nobody_lives(overview: &Overview) -> Option<String> {
    if overview.workers.is_empty() || overview.workers.iter().any(WorkerView::is_alive) {
        return None;
    }
    let counts = &overview.counts;
    let is_silent = |worker: &&WorkerView| match worker.state {
        WorkerState::Silent | WorkerState::Dead => worker.extras.died.is_none(),
        WorkerState::Live
        | WorkerState::Suspect
        | WorkerState::Draining
        | WorkerState::Drained
        | WorkerState::Python => false,
    };
    let silent: Vec<&WorkerView> = overview.workers.iter().filter(is_silent).collect();
    let died = overview.workers.iter().filter_map(|worker| worker.extras.died);
    let last_death = died.map(|death| death.at).max();
    let held = match counts.in_progress {
        0 => String::new(),
        1 => ": 1 task is held by them".to_owned(),
        many => format!(": {} are held by them", tasks(many)),
    };
    if silent.is_empty() {
        let at = last_death.filter(|_| counts.todo > 0)?;
        return Some(format!("no worker is alive (the last died at {}): {} wait", clock(at), tasks(counts.todo)));
    }
    let youngest = silent.iter().filter_map(|worker| worker.heartbeat_age_seconds).min();
    let since = youngest.map_or_else(String::new, |age| format!(" since {}", clock(overview.now.saturating_sub(age))));
    Some(format!("no worker is alive ({} silent{since}){held}", count(silent.len() as u64)))
}

/// The time of day with the name of the zone, and the day where that is not today.
fn clock(seconds: u64) -> String {
    let now = wall_clock::local();
    let Ok(timestamp) = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)) else {
        return "?".to_owned();
    };
    let then = timestamp.to_zoned(now.time_zone().clone());
    let form = if then.date() == now.date() { "%H:%M %Z" } else { "%Y-%m-%d %H:%M %Z" };
    then.strftime(form).to_string()
}
