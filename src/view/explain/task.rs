//! Explains why one task is not running.

use super::super::ctl_command::ctl;
use super::fleet::{busy_workers, halted, largest, no_room, no_worker};
use super::needs::{nothing_free, unsuited};
use crate::model::snapshot::{AttemptView, HoldReasons, Overview, TaskState, TaskView, WorkerState, WorkerView};
use crate::model::{Demand, FailureKind, FieldOrder, Outcome, TaskLine};
use crate::view::batches::blocked;
use crate::view::limits;
use crate::view::reason::reason_lines;
use crate::view::safe_text::safe;
use crate::view::text::{count, counted, duration, moment, resource, resources};

/// Why one task is not running, most telling first.
#[must_use]
pub fn explain_task(overview: &Overview, task: &TaskView, order: FieldOrder) -> Vec<String> {
    explain_held(overview, task, &HoldReasons::default(), order)
}

/// As [`explain_task`], with what the queue knows of this task in particular.
#[must_use]
pub fn explain_held(overview: &Overview, task: &TaskView, hold: &HoldReasons, order: FieldOrder) -> Vec<String> {
    let has = |state| task.states.contains(&state);
    if has(TaskState::InProgress) {
        let worker = task.worker.as_deref().unwrap_or_default();
        if let Some(being) = task.being() {
            let name = safe(worker);
            return vec![format!(
                "it is {being}: {name} stops it with its next heartbeat at the latest; if {name} is dead, the order is carried out when its lease expires"
            )];
        }
        let mut why = vec![on_worker(overview, worker)];
        if hold.has_slot == Some(false) {
            why.push("it is prefetched and starts there when a slot is free".to_owned());
        }
        if task.suspect {
            why.push(format!(
                "its worker was lost while it ran: it runs apart; {} starts no other task until it has run longer than it had when the worker was lost",
                safe(worker)
            ));
        }
        let said = TaskLine::parse(&task.line, order).ok().and_then(|line| task.memory_now(line.demand().mem()));
        why.extend(said.map(|said| format!("it {said}")));
        return why;
    }
    if !has(TaskState::Todo) {
        return vec![ended(task, hold)];
    }
    let Ok(line) = TaskLine::parse(&task.line, order) else {
        return vec!["the line is not a valid task: the next worker that finds it moves it to failed_tasks".to_owned()];
    };
    let memory = task.memory_now(line.demand().mem());
    let line = line.declaring(task.declares());
    let mut why = halted(overview);
    why.extend(hold.waits_for.iter().map(|gate| format!("it {}", blocked(gate))));
    if let Some(held) = &hold.held {
        let batch = task.batches.first().map(|name| name.top().to_string()).unwrap_or_default();
        why.push(format!("its batch {batch} is held: {}; {} resume {batch} goes on", safe(&held.to_string()), ctl()));
    }
    why.extend(limits::why(overview, line.needs()));
    why.extend(no_worker(overview));
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    if !able.is_empty() {
        why.extend(unsuited(overview, line.needs()));
        why.extend(too_large(&able, line.demand()));
    }
    why.extend(earlier_attempts(task, hold, &able));
    if let Some(holder) = overview.reservations.iter().find(|reservation| reservation.line == task.line) {
        why.push(format!(
            "{} reserves room for it: it starts when enough running tasks there have ended",
            safe(&holder.worker)
        ));
    }
    if why.is_empty() {
        why.push(format!(
            "it waits for its turn and a slot: {} wait, its priority is {}, {} in progress",
            count(overview.counts.todo),
            line.prio(),
            count(overview.counts.in_progress)
        ));
        why.extend(nothing_free(overview, line.needs()));
        why.extend(no_room(overview, line.demand()));
        why.extend(busy_workers(overview));
    }
    why.extend(memory.map(|said| format!("it {said}")));
    why
}

/// What its attempts so far mean for the next one.
fn earlier_attempts(task: &TaskView, hold: &HoldReasons, able: &[&WorkerView]) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(seconds) = hold.backoff_seconds {
        why.push(format!("it waits {} more for its retry delay", duration(seconds)));
    }
    if !task.failed_on.is_empty() {
        why.push(failed_before(able, &task.failed_on, hold.left_to_others_seconds));
    }
    if task.lost > 0 {
        why.push(format!("its worker was lost {} while running it", counted(task.lost, "time")));
    }
    if task.suspect {
        why.push(
            "it may have killed its worker: it waits to run apart, one such task at a time on a worker".to_owned(),
        );
    }
    why
}

fn too_large(able: &[&WorkerView], demand: &Demand) -> Option<String> {
    if able.iter().any(|worker| worker.could_hold(demand)) {
        return None;
    }
    let needs = resources(&demand.amounts, resource);
    Some(format!("it needs {needs}, which no live worker can give: the largest node offers {}", largest(able)))
}

fn failed_before(able: &[&WorkerView], failed_on: &[String], left_to_others: Option<u64>) -> String {
    let mut names: Vec<&str> = failed_on.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let on = safe(&names.join(", ")).into_owned();
    if !able.is_empty() && able.iter().all(|worker| names.contains(&worker.name.as_str())) {
        format!("it has failed on every live worker ({on}) and waits for its retry")
    } else {
        let long =
            left_to_others.map_or_else(|| "up to a minute".to_owned(), |seconds| format!("{} more", duration(seconds)));
        format!("it has failed on {on}: it waits for its retry, and for {long} for a worker on which it has not failed")
    }
}

fn on_worker(overview: &Overview, name: &str) -> String {
    let worker = overview.workers.iter().find(|worker| worker.name == name);
    let name = safe(name);
    match worker.map(|worker| (worker.state, worker.heartbeat_age_seconds.unwrap_or_default())) {
        Some((WorkerState::Live | WorkerState::Suspect | WorkerState::Draining | WorkerState::Drained, _)) => {
            format!("it is in progress on {name}")
        }
        Some((WorkerState::Python, age)) => {
            format!("it is in progress on {name}, a Python worker that reported {} ago", duration(age))
        }
        Some((WorkerState::Silent, age)) => format!(
            "it is in progress on {name}, which has been silent for {}; when the worker counts as dead, the task returns to todo",
            duration(age)
        ),
        Some((WorkerState::Dead, age)) if worker.is_some_and(|worker| worker.is_python) => format!(
            "it was in progress on {name}, a Python worker that last reported {} ago; distcomp-ctl reclaim {name} returns it to todo",
            duration(age)
        ),
        Some((WorkerState::Dead, age)) if worker.is_some_and(|worker| !worker.extras.is_declared_dead) => format!(
            "it was in progress on {name}, which has been silent for {} and is dead; the next worker that starts returns it to todo, and so does distcomp-ctl reclaim {name}",
            duration(age)
        ),
        Some((WorkerState::Dead, _)) => {
            format!("it was in progress on {name}, which is dead; it is about to return to todo")
        }
        None => {
            format!("it is in progress on {name}, an unknown worker; distcomp-ctl reclaim {name} returns it to todo")
        }
    }
}

fn ended(task: &TaskView, hold: &HoldReasons) -> String {
    let has = |state| task.states.contains(&state);
    let reason = task.reason.as_deref().and_then(|reason| reason_lines(reason).into_iter().next());
    let reason = reason.unwrap_or_else(|| "no reason is recorded".to_owned());
    if has(TaskState::Finished) {
        "it has finished; distcomp-submit --rerun runs it again".to_owned()
    } else if has(TaskState::Failed) && hold.failure_kind() == Some(FailureKind::Ended(Outcome::Unsigned)) {
        format!("it was refused ({reason}); distcomp-submit --rerun with a task_signing_key signs it")
    } else if has(TaskState::Cancelled) {
        let record = task.attempts.iter().rev().find(|attempt| attempt.outcome == Outcome::Cancelled);
        let by = record.map_or_else(String::new, cancelled_by);
        format!("it was cancelled{by}; {} requeue {} runs it after all", ctl(), task.id)
    } else if has(TaskState::Failed) {
        format!("it is out of retries ({reason}); {} requeue runs it again", ctl())
    } else {
        "no such task is in the queue".to_owned()
    }
}

/// By whom, where that is known: of one that was running only the moment is recorded.
fn cancelled_by(record: &AttemptView) -> String {
    let by = if record.attempt == 0 { format!(" by {}", safe(&record.worker)) } else { String::new() };
    format!("{by} at {}", moment(record.end))
}
