//! Why a task, or the queue, is not running.

use super::safe_text::safe;
use super::text::{count, duration};
use super::workers::takes_tasks;
use crate::model::snapshot::{Overview, TaskState, TaskView, WorkerState, WorkerView};
use crate::model::{Bytes, FailureKind, FieldOrder, MilliCores, TaskLine};

/// Why the queue as a whole does not move, or that it does.
#[must_use]
pub fn explain_queue(overview: &Overview) -> Vec<String> {
    let counts = &overview.counts;
    let mut why = halted(overview);
    if counts.todo == 0 {
        why.push(match counts.in_progress {
            0 => "nothing waits and nothing runs".to_owned(),
            running => format!("nothing waits; {} in progress", count(running)),
        });
        return why;
    }
    why.extend(no_worker(overview));
    if !why.is_empty() {
        return why;
    }
    why.push(if overview.rate_per_second > 0.0 {
        format!("it is running: {} wait, {} in progress", count(counts.todo), count(counts.in_progress))
    } else {
        format!(
            "{} wait, {} in progress, nothing finished in the last minute",
            count(counts.todo),
            count(counts.in_progress)
        )
    });
    why.extend(busy_workers(overview));
    for reservation in &overview.reservations {
        why.push(format!("{} keeps room for {}", safe(&reservation.worker), safe(&reservation.line)));
    }
    why
}

/// Why one task is not running, most telling first.
#[must_use]
pub fn explain_task(overview: &Overview, task: &TaskView, order: FieldOrder) -> Vec<String> {
    let has = |state| task.states.contains(&state);
    if has(TaskState::InProgress) {
        let worker = task.worker.as_deref().unwrap_or_default();
        return vec![on_worker(overview, worker)];
    }
    if !has(TaskState::Todo) {
        return vec![ended(task)];
    }
    let Ok(line) = TaskLine::parse(&task.line, order) else {
        return vec!["the line is not a task: the next worker that meets it moves it to failed_tasks".to_owned()];
    };
    let mut why = halted(overview);
    why.extend(no_worker(overview));
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| takes_tasks(worker)).collect();
    if !able.is_empty() {
        why.extend(too_large(&able, line.mem(), line.cpu()));
    }
    if !task.failed_on.is_empty() {
        why.push(failed_before(&able, &task.failed_on));
    }
    if task.lost > 0 {
        why.push(format!("its worker was lost {} times while running it", task.lost));
    }
    if let Some(holder) = overview.reservations.iter().find(|reservation| reservation.line == task.line) {
        why.push(format!(
            "{} keeps room for it: it starts when enough of what runs there has ended",
            safe(&holder.worker)
        ));
    }
    if why.is_empty() {
        why.push(format!(
            "it waits for its turn and a slot: {} wait in all, its priority is {}, {} in progress",
            count(overview.counts.todo),
            line.prio(),
            count(overview.counts.in_progress)
        ));
        why.extend(busy_workers(overview));
    }
    why
}

/// What an operator asked for.
fn halted(overview: &Overview) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(who) = &overview.paused {
        why.push(format!("the queue is paused by {}; distcomp-ctl resume goes on", safe(who)));
    }
    if overview.stopping {
        why.push(
            "the stop command is in the queue: workers take nothing more and exit; distcomp-ctl resume lifts it"
                .to_owned(),
        );
    }
    why
}

fn no_worker(overview: &Overview) -> Option<String> {
    if overview.workers.iter().any(takes_tasks) {
        return None;
    }
    let number = |state| overview.workers.iter().filter(|worker| worker.state == state).count();
    let (draining, silent, dead) =
        (number(WorkerState::Draining), number(WorkerState::Silent), number(WorkerState::Dead));
    Some(match overview.workers.len() {
        0 => "no worker is there: start distcomp-worker on a node".to_owned(),
        _ => format!("no worker is there to take it: {draining} draining, {silent} silent, {dead} dead"),
    })
}

/// Why workers say they take nothing.
fn busy_workers(overview: &Overview) -> Vec<String> {
    const SHOWN: usize = 5;
    overview
        .workers
        .iter()
        .filter(|worker| takes_tasks(worker))
        .filter_map(|worker| {
            let load = worker.load.as_ref()?;
            let slots = format!("{} of {} slots in use", load.running, load.slots);
            let why = load.waiting.as_deref().map_or_else(String::new, |why| format!(": {}", safe(why)));
            (load.waiting.is_some() || load.running >= load.slots)
                .then(|| format!("{}: {slots}{why}", safe(&worker.name)))
        })
        .take(SHOWN)
        .collect()
}

fn too_large(able: &[&WorkerView], mem: Bytes, cpu: MilliCores) -> Option<String> {
    let fits = |worker: &&WorkerView| {
        // The totals are written with two decimals; what differs by less than that is not told apart.
        mem.as_gib() <= worker.mem_total_gb + 0.01 && cpu.as_cores() <= worker.cores_total + 0.01
    };
    if able.iter().any(fits) {
        return None;
    }
    let most = |figure: fn(&WorkerView) -> f64| able.iter().map(|worker| figure(worker)).fold(0.0, f64::max);
    Some(format!(
        "it needs {mem} and {cpu} cores, which no live worker has: the largest have {:.2} GB and {:.2} cores",
        most(|worker| worker.mem_total_gb),
        most(|worker| worker.cores_total)
    ))
}

fn failed_before(able: &[&WorkerView], failed_on: &[String]) -> String {
    let mut names: Vec<&str> = failed_on.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let on = safe(&names.join(", ")).into_owned();
    if !able.is_empty() && able.iter().all(|worker| names.contains(&worker.name.as_str())) {
        format!("it has failed on every live worker ({on}) and waits for its retry")
    } else {
        format!(
            "it has failed on {on}: it waits for its retry, and for up to a minute for a worker that it has not failed on"
        )
    }
}

fn on_worker(overview: &Overview, name: &str) -> String {
    let worker = overview.workers.iter().find(|worker| worker.name == name);
    let name = safe(name);
    match worker.map(|worker| (worker.state, worker.heartbeat_age_seconds.unwrap_or_default())) {
        Some((WorkerState::Live | WorkerState::Draining, _)) => format!("it is in progress on {name}"),
        Some((WorkerState::Python, age)) => {
            format!("it is in progress on {name}, a Python worker that reported {} ago", duration(age))
        }
        Some((WorkerState::Silent, age)) => format!(
            "it is in progress on {name}, which is silent for {}; when it counts as dead, the task goes back to todo",
            duration(age)
        ),
        Some((WorkerState::Dead, _)) => {
            format!("it was in progress on {name}, which is dead; it is about to go back to todo")
        }
        None => {
            format!("it is in progress on {name}, of which nothing is known; distcomp-ctl reclaim {name} puts it back")
        }
    }
}

fn ended(task: &TaskView) -> String {
    let has = |state| task.states.contains(&state);
    let reason = task.reason.as_deref().and_then(|reason| reason.lines().next()).unwrap_or("no reason is recorded");
    if has(TaskState::Finished) {
        "it has finished; distcomp-submit --rerun runs it again".to_owned()
    } else if has(TaskState::Failed) && reason.starts_with(&FailureKind::Unsigned.to_string()) {
        format!("it was refused ({}); distcomp-submit --rerun signs it, where a task_signing_key is set", safe(reason))
    } else if has(TaskState::Failed) {
        format!("it is out of retries ({}); distcomp-ctl requeue tries again", safe(reason))
    } else {
        "no such task is in the queue".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::Counts;

    fn worker(name: &str, state: WorkerState, mem: f64) -> WorkerView {
        WorkerView {
            name: name.to_owned(),
            state,
            heartbeat_age_seconds: Some(1),
            cores_used: 0.0,
            cores_total: 8.0,
            mem_used_gb: 0.0,
            mem_total_gb: mem,
            finished: 0,
            failed: 0,
            returned: 0,
            timed_out: 0,
            load: None,
            process: None,
        }
    }

    fn waiting(line: &str, failed_on: &[&str]) -> TaskView {
        TaskView {
            id: String::new(),
            line: line.to_owned(),
            states: vec![TaskState::Todo],
            worker: None,
            result: None,
            failed_on: failed_on.iter().map(|name| (*name).to_owned()).collect(),
            reason: None,
            lost: 0,
            attempts: Vec::new(),
        }
    }

    fn queue(workers: Vec<WorkerView>) -> Overview {
        Overview { counts: Counts { todo: 1, ..Counts::default() }, workers, ..Overview::default() }
    }

    fn why(overview: &Overview, task: &TaskView) -> String {
        explain_task(overview, task, FieldOrder::MemCpuPrio).join("\n")
    }

    #[test]
    fn each_obstacle_is_named() {
        let small = queue(vec![worker("n1", WorkerState::Live, 16.0)]);
        let task = waiting("shell:64:1:1:x", &[]);
        assert!(why(&small, &task).contains("no live worker has"));
        assert!(why(&queue(Vec::new()), &task).contains("no worker is there"));
        let dead = queue(vec![worker("n1", WorkerState::Dead, 64.0)]);
        assert!(why(&dead, &task).contains("1 dead"));
        let fits = waiting("shell:1:1:7:x", &[]);
        assert!(why(&small, &fits).contains("its priority is 7"));
        let paused = Overview { paused: Some("ann".to_owned()), ..small.clone() };
        assert!(why(&paused, &fits).contains("paused by ann"));
        let stopped = Overview { stopping: true, ..small.clone() };
        assert!(why(&stopped, &fits).contains("stop command"));
        assert!(why(&small, &waiting("shell:1:1:7:x", &["n1", "n1"])).contains("every live worker (n1)"));
        assert!(why(&small, &waiting("shell:1:1:7:x", &["n10"])).contains("it has failed on n10"));
    }

    #[test]
    fn what_has_ended_says_how() {
        let mut task = waiting("shell:1:1:1:x", &[]);
        task.states = vec![TaskState::Failed];
        task.reason = Some("exit 3: tail".to_owned());
        assert!(why(&queue(Vec::new()), &task).contains("out of retries (exit 3: tail)"));
        task.states = vec![TaskState::Finished];
        assert!(why(&queue(Vec::new()), &task).contains("has finished"));
        task.states.clear();
        assert!(why(&queue(Vec::new()), &task).contains("no such task"));
    }

    #[test]
    fn an_idle_queue_says_so() {
        assert_eq!(explain_queue(&Overview::default()), ["nothing waits and nothing runs"]);
        assert!(explain_queue(&queue(Vec::new()))[0].contains("no worker is there"));
    }
}
