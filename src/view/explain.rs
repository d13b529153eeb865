//! Why a task, or the queue, is not running.

use super::safe_text::safe;
use super::table::{number, table, text};
use super::text::{count, duration};
use super::workers::trimmed;
use crate::model::snapshot::{Hold, Need, Overview, TaskState, TaskView, WorkerState, WorkerView};
use crate::model::{Bytes, FailureKind, FieldOrder, MilliCores, TaskLine};

/// Why the queue as a whole does not move, or that it does: most telling first.
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
    let (large, largest) = too_large_in_all(overview);
    let runnable = counts.todo.saturating_sub(large);
    if runnable > 0 {
        let pace = if overview.rate_per_second > 0.0 {
            "it is running".to_owned()
        } else {
            "nothing finished in the last minute".to_owned()
        };
        why.push(format!("{pace}: {} wait, {} in progress", count(runnable), count(counts.in_progress)));
    }
    why.extend(largest);
    if overview.backing_off > 0 {
        why.push(format!("{} wait for the end of their backoff", count(overview.backing_off)));
    }
    if runnable > 0 {
        why.extend(busy_workers(overview));
    }
    for reservation in &overview.reservations {
        why.push(format!("{} keeps room for {}", safe(&reservation.worker), safe(&reservation.line)));
    }
    why
}

/// The one reason that holds most of the work back, with how much that is; `None` when nothing waits.
#[must_use]
pub fn top_reason(overview: &Overview) -> Option<(u64, String)> {
    let todo = overview.counts.todo;
    if todo == 0 {
        return None;
    }
    if let Some(why) = halted(overview).into_iter().next().or_else(|| no_worker(overview)) {
        return Some((todo, why));
    }
    let (large, why) = too_large_in_all(overview);
    let rest = todo.saturating_sub(large).saturating_sub(overview.backing_off);
    let others = [
        (large, why),
        (overview.backing_off, Some("they have failed and wait for the end of their backoff".to_owned())),
        (rest, Some(commonest_wait(overview))),
    ];
    let top = others.into_iter().max_by_key(|(count, _)| *count)?;
    Some((top.0, top.1?))
}

/// What waits, by what it needs, with what stands in its way.
#[must_use]
pub fn needs(overview: &Overview, width: usize) -> String {
    let columns = [number("waiting"), number("mem GB"), number("cores"), text("why")];
    let rows = overview
        .needs
        .iter()
        .map(|need| vec![count(need.waiting), trimmed(need.mem_gb), trimmed(need.cores), why_need(overview, need)]);
    let mut drawn = table(&columns, rows.collect(), width);
    if overview.needs_left_out > 0 {
        drawn.push_str(&format!("and {} more kinds of need\n", count(overview.needs_left_out)));
    }
    drawn
}

/// Why tasks of one need wait.
#[must_use]
pub fn why_need(overview: &Overview, need: &Need) -> String {
    if let Some(why) = halted(overview).into_iter().next().or_else(|| no_worker(overview)) {
        return why;
    }
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    if !able.iter().any(|worker| fits(worker, need.mem_gb, need.cores)) {
        return format!("the largest node offers {}", largest(&able));
    }
    if need.failed_on.is_empty() {
        return commonest_wait(overview);
    }
    let on = safe(&need.failed_on.join(", ")).into_owned();
    let has_failed = |worker: &&WorkerView| need.failed_on.contains(&worker.name);
    if able.iter().all(has_failed) {
        format!("failed on every live worker ({on}), to be tried again")
    } else {
        format!("failed on {on}, left to others for up to a minute")
    }
}

/// How many wait for a node that is not there, and what for.
fn too_large_in_all(overview: &Overview) -> (u64, Option<String>) {
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    let large: Vec<&Need> =
        overview.needs.iter().filter(|need| !able.iter().any(|worker| fits(worker, need.mem_gb, need.cores))).collect();
    let sum = large.iter().map(|need| need.waiting).sum();
    let why = large.iter().max_by_key(|need| need.waiting).map(|need| {
        let others = if large.len() > 1 { " or the like" } else { "" };
        format!(
            "{} need {} GB and {} cores{others}; the largest node offers {}",
            count(sum),
            trimmed(need.mem_gb),
            trimmed(need.cores),
            largest(&able)
        )
    });
    (sum, why)
}

/// What most of the workers that could take something wait for.
fn commonest_wait(overview: &Overview) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for worker in overview.workers.iter().filter(|worker| worker.takes_tasks()) {
        let Some(why) = worker.load.as_ref().and_then(|load| load.waiting.as_deref()) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, times)) => *times += 1,
            None => reasons.push((why, 1)),
        }
    }
    let (running, slots) = overview
        .workers
        .iter()
        .filter(|worker| worker.takes_tasks())
        .filter_map(|worker| worker.load.as_ref())
        .fold((0, 0), |(running, slots), load| (running + load.running, slots + load.slots));
    let why = reasons.iter().max_by_key(|(_, times)| *times).map_or("their turn", |(why, _)| why);
    // Python workers do not tell of theirs.
    let used = if slots == 0 { String::new() } else { format!(" ({running} of {slots} slots in use)") };
    format!("{}{used}", safe(why))
}

fn fits(worker: &WorkerView, mem_gb: f64, cores: f64) -> bool {
    // The totals are written with two decimals; what differs by less than that is not told apart.
    mem_gb <= worker.mem_total_gb + 0.01 && cores <= worker.cores_total + 0.01
}

fn largest(able: &[&WorkerView]) -> String {
    let most = |figure: fn(&WorkerView) -> f64| able.iter().map(|worker| figure(worker)).fold(0.0, f64::max);
    format!(
        "{} GB and {} cores",
        trimmed(most(|worker| worker.mem_total_gb)),
        trimmed(most(|worker| worker.cores_total))
    )
}

/// Why one task is not running, most telling first.
#[must_use]
pub fn explain_task(overview: &Overview, task: &TaskView, order: FieldOrder) -> Vec<String> {
    explain_held(overview, task, &Hold::default(), order)
}

/// As [`explain_task`], with what the queue knows of this task in particular.
#[must_use]
pub fn explain_held(overview: &Overview, task: &TaskView, hold: &Hold, order: FieldOrder) -> Vec<String> {
    let has = |state| task.states.contains(&state);
    if has(TaskState::InProgress) {
        let worker = task.worker.as_deref().unwrap_or_default();
        let mut why = vec![on_worker(overview, worker)];
        if hold.has_slot == Some(false) {
            why.push("it was claimed ahead and starts there when a slot is free".to_owned());
        }
        return why;
    }
    if !has(TaskState::Todo) {
        return vec![ended(task)];
    }
    let Ok(line) = TaskLine::parse(&task.line, order) else {
        return vec!["the line is not a task: the next worker that meets it moves it to failed_tasks".to_owned()];
    };
    let mut why = halted(overview);
    why.extend(no_worker(overview));
    let able: Vec<&WorkerView> = overview.workers.iter().filter(|worker| worker.takes_tasks()).collect();
    if !able.is_empty() {
        why.extend(too_large(&able, line.mem(), line.cpu()));
    }
    if let Some(seconds) = hold.backoff_seconds {
        why.push(format!("it waits {} more for the end of its backoff", duration(seconds)));
    }
    if !task.failed_on.is_empty() {
        why.push(failed_before(&able, &task.failed_on, hold.left_to_others_seconds));
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
    if overview.workers.iter().any(WorkerView::takes_tasks) {
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
        .filter(|worker| worker.takes_tasks())
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
    if able.iter().any(|worker| fits(worker, mem.as_gib(), cpu.as_cores())) {
        return None;
    }
    let needs = format!("{} GB and {} cores", trimmed(mem.as_gib()), trimmed(cpu.as_cores()));
    Some(format!("it needs {needs}, which no live worker has: the largest node offers {}", largest(able)))
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
        format!("it has failed on {on}: it waits for its retry, and for {long} for a worker that it has not failed on")
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
    fn needs_that_no_node_meets_are_told_from_those_that_wait_for_their_turn() {
        let need = |mem_gb, waiting, failed_on: &[&str]| Need {
            mem_gb,
            cores: 1.0,
            failed_on: failed_on.iter().map(|name| (*name).to_owned()).collect(),
            waiting,
        };
        let counts = Counts { todo: 110, ..Counts::default() };
        let workers = vec![worker("n1", WorkerState::Live, 84.0), worker("n2", WorkerState::Live, 16.0)];
        let needs = vec![need(96.0, 7, &[]), need(8.0, 100, &[]), need(8.0, 3, &["n1", "n2"])];
        let overview = Overview { counts, workers, needs, ..Overview::default() };
        let why = explain_queue(&overview).join("\n");
        assert!(why.contains("7 need 96 GB and 1 cores; the largest node offers 84 GB and 8 cores"), "{why}");
        assert!(why.contains("103 wait"), "{why}");
        assert_eq!(top_reason(&overview).map(|(count, _)| count), Some(103));
        assert_eq!(why_need(&overview, &overview.needs[2]), "failed on every live worker (n1, n2), to be tried again");
        let only_large = Overview { counts: Counts { todo: 7, ..counts }, needs: vec![need(96.0, 7, &[])], ..overview };
        assert!(top_reason(&only_large).unwrap().1.contains("84 GB"));
        assert!(!explain_queue(&only_large)[0].contains("running"), "{:?}", explain_queue(&only_large));
    }

    #[test]
    fn a_task_in_its_backoff_or_claimed_ahead_says_so() {
        let overview = queue(vec![worker("n1", WorkerState::Live, 16.0), worker("n2", WorkerState::Live, 16.0)]);
        let task = waiting("shell:1:1:7:x", &["n1"]);
        let hold = Hold { backoff_seconds: Some(42), left_to_others_seconds: Some(30), has_slot: None };
        let why = explain_held(&overview, &task, &hold, FieldOrder::MemCpuPrio).join("\n");
        assert!(why.contains("42 s more") && why.contains("30 s more"), "{why}");
        let ahead = TaskView { states: vec![TaskState::InProgress], worker: Some("n1".to_owned()), ..task };
        let hold = Hold { has_slot: Some(false), ..Hold::default() };
        assert!(explain_held(&overview, &ahead, &hold, FieldOrder::MemCpuPrio)[1].contains("claimed ahead"));
    }

    #[test]
    fn an_idle_queue_says_so() {
        assert_eq!(explain_queue(&Overview::default()), ["nothing waits and nothing runs"]);
        assert!(explain_queue(&queue(Vec::new()))[0].contains("no worker is there"));
    }
}
