//! The page of one worker: all that its last heartbeat tells.

use super::command::{command, short_id};
use crate::model::ResourceKind;
use crate::model::snapshot::{Overview, WorkerView};
use crate::view::deaths::{lost, silent_since};
use crate::view::safe_text::safe;
use crate::view::style::{BOLD, DIM, paint};
use crate::view::text::{bytes, count, duration, resource};
use crate::view::waits::waits;
use crate::view::workers::{containment, extras, suspects};

/// What is known of the worker with this name.
pub(super) fn worker_page(overview: &Overview, name: &str) -> String {
    let Some(worker) = overview.workers.iter().find(|worker| worker.name == name) else {
        return format!("there is no worker {} any more\n", safe(name));
    };
    let mut lines = facts(worker, overview.now);
    let alone = std::slice::from_ref(worker);
    let more = [extras(alone, overview.now), suspects(alone, overview.now), containment(alone)].concat();
    lines.extend(more.lines().map(str::to_owned));
    // Of one that was declared dead the tasks went back; of one that is silent nobody knows whether they run.
    let load = worker.load.as_ref().filter(|_| worker.extras.died.is_none());
    let tasks = load.map_or(&[][..], |load| &load.tasks);
    if !tasks.is_empty() {
        lines.push(String::new());
        lines.push(paint(BOLD, if worker.is_alive() { "runs" } else { "held, as it last said" }));
    }
    let age = worker.heartbeat_age_seconds.filter(|_| worker.is_alive()).unwrap_or(0);
    for task in tasks {
        let memory = if task.mem_bytes == 0 { String::new() } else { format!(", {}", bytes(task.mem_bytes)) };
        lines.push(format!(
            "{}  {}  {}",
            paint(DIM, &short_id(&task.id)),
            safe(command(&task.line)),
            paint(DIM, &format!("{}{memory}", duration(task.seconds + age)))
        ));
    }
    lines.join("\n") + "\n"
}

fn facts(worker: &WorkerView, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(format!("{} {value}", paint(BOLD, &format!("{name:<9}"))));
    let beat =
        worker.heartbeat_age_seconds.map_or_else(String::new, |age| format!(", heartbeat {} ago", duration(age)));
    row("state", format!("{}{beat}", worker.state.as_str()));
    if let Some(lost) = lost(worker) {
        row("tasks", lost);
    } else if let Some(silent) = silent_since(worker, now) {
        row("tasks", format!("{silent}: what it held waits to be taken over"));
    }
    if let Some(process) = &worker.process {
        let since = if process.since == 0 {
            String::new()
        } else {
            format!(", for {}", duration(now.saturating_sub(process.since)))
        };
        row(
            "process",
            format!("{} on {}, version {}{since}", process.pid, safe(&process.host), safe(&process.version)),
        );
    }
    if let Some(load) = worker.present_load() {
        let held = if load.held == 0 { String::new() } else { format!(", {} claimed ahead", count(load.held.into())) };
        row("tasks", format!("{} in {} slots{held}", count(load.running.into()), count(load.slots.into())));
    }
    for kind in ResourceKind::OF_WORKERS.into_iter().filter(|_| worker.is_alive()) {
        let [used, total] = [worker.usage.used, worker.usage.total].map(|amounts| resource(kind, amounts.get(kind)));
        row(kind.noun(), format!("{used} of {total} in use"));
    }
    let about = if worker.is_estimate { "~" } else { "" };
    row(
        "done",
        format!(
            "{about}{} finished, {} failed ({} at the time limit), {} given back",
            count(worker.finished),
            count(worker.failed),
            count(worker.timed_out),
            count(worker.returned)
        ),
    );
    if let Some(why) = worker.present_load().and_then(waits) {
        row("waits for", why);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(state: &str, died: serde_json::Value) -> String {
        let worker = serde_json::json!({
            "name": "n1", "state": state, "heartbeat_age_seconds": 90, "finished": 1, "failed": 0, "returned": 0, "timed_out": 0,
            "cores_used": 2.0, "cores_total": 8.0, "mem_used_gb": 1.0, "mem_total_gb": 4.0, "died": died,
            "load": { "running": 4, "slots": 8, "tasks": [
                { "id": "0123456789abcdef", "line": "shell:1:1:1:./sim", "attempt": 1, "seconds": 7, "limit": 0, "mem_bytes": 0 }
            ] },
        });
        let workers = vec![serde_json::from_value(worker).expect("a worker")];
        let overview = Overview { workers, now: 1_800_000_000, ..Overview::default() };
        anstream::adapter::strip_str(&worker_page(&overview, "n1")).to_string()
    }

    #[test]
    fn a_dead_worker_says_when_it_died_and_what_went_back() {
        let died = page("dead", serde_json::json!({ "at": 1_799_999_950_u64, "returned": 4, "failed": 0 }));
        assert!(died.contains("died at ") && died.contains("4 tasks given back"), "{died}");
        assert!(!died.contains("in use") && !died.contains("./sim") && !died.contains("4 in 8"), "{died}");
        let silent = page("silent", serde_json::Value::Null);
        assert!(silent.contains("silent since ") && silent.contains("held, as it last said"), "{silent}");
        assert!(page("live", serde_json::Value::Null).contains("4 in 8 slots"));
    }
}
