use super::*;
use crate::model::snapshot::{
    Counts, HoldReasons, Overview, TaskState, TaskView, WaitReason, WaitingGroup, WorkerExtras, WorkerLoad,
    WorkerState, WorkerView,
};
use crate::model::{Amounts, Demand, FieldOrder, Outcome, ResourceKind, Usage};

fn amounts(gb: f64, cores: f64) -> Amounts {
    [(ResourceKind::Memory, gb), (ResourceKind::Cores, cores)]
        .into_iter()
        .fold(Amounts::NONE, |all, (kind, units)| all.with(kind, kind.amount(units)))
}

pub(super) fn worker(name: &str, state: WorkerState, mem: f64) -> WorkerView {
    WorkerView {
        name: name.to_owned(),
        state,
        heartbeat_age_seconds: Some(1),
        usage: Usage { used: Amounts::NONE, total: amounts(mem, 8.0) },
        is_python: false,
        is_estimate: false,
        finished: 0,
        failed: 0,
        returned: 0,
        timed_out: 0,
        load: None,
        extras: WorkerExtras::default(),
        process: None,
    }
}

fn waiting(line: &str, failed_on: &[&str]) -> TaskView {
    TaskView {
        batches: Vec::new(),
        tags: Vec::new(),
        id: String::new(),
        line: line.to_owned(),
        states: vec![TaskState::Todo],
        worker: None,
        ordered: None,
        result: None,
        failed_on: failed_on.iter().map(|name| (*name).to_owned()).collect(),
        kind: None,
        reason: None,
        stdout_exact: None,
        lost: 0,
        suspect: false,
        declares_memory_bytes: None,
        learnt: None,
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
fn demands_that_were_not_read_are_not_said_to_wait_their_turn() {
    let mut overview = queue(vec![worker("n1", WorkerState::Live, 16.0)]);
    overview.counts.todo = 100;
    overview.needs_left_out = 50;
    let large = Demand { amounts: amounts(64.0, 1.0) };
    overview.needs = vec![WaitingGroup { demand: large, waiting: 10, ..WaitingGroup::default() }];
    let said = explain_queue(&overview).join("\n");
    assert!(said.contains("90 wait with other demands") && !said.contains("it is running"), "{said}");
    assert!(top_reason(&overview).is_some_and(|top| top.waiting == 90 && top.why.starts_with("with other demands")));
    overview.needs[0].demand.amounts = amounts(1.0, 1.0);
    let said = explain_queue(&overview).join("\n");
    assert!(said.contains("100 wait") && !said.contains("other demands"), "{said}");
}

#[test]
fn each_obstacle_is_named() {
    let small = queue(vec![worker("n1", WorkerState::Live, 16.0)]);
    let task = waiting("shell:64:1:1:x", &[]);
    assert!(why(&small, &task).contains("no live worker can give"));
    assert!(why(&queue(Vec::new()), &task).contains("no worker is running"));
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
    let hold = HoldReasons { failure_group: Some(Outcome::Unsigned.group()), ..HoldReasons::default() };
    let refused = explain_held(&queue(Vec::new()), &task, &hold, FieldOrder::MemCpuPrio).join("\n");
    assert!(refused.contains("was refused (exit 3: tail)"), "by its group, whatever its reason says: {refused}");
    task.states = vec![TaskState::Finished];
    assert!(why(&queue(Vec::new()), &task).contains("has finished"));
    task.states.clear();
    assert!(why(&queue(Vec::new()), &task).contains("no such task"));
}

#[test]
fn explain_separates_impossible_demands_from_waiting_ones() {
    let need = |mem, waiting, failed_on: &[&str]| WaitingGroup {
        needs: String::new(),
        demand: Demand { amounts: amounts(mem, 1.0) },
        failed_on: failed_on.iter().map(|name| (*name).to_owned()).collect(),
        waiting,
    };
    let counts = Counts { todo: 110, ..Counts::default() };
    let workers = vec![worker("n1", WorkerState::Live, 84.0), worker("n2", WorkerState::Live, 16.0)];
    let needs = vec![need(96.0, 7, &[]), need(8.0, 100, &[]), need(8.0, 3, &["n1", "n2"])];
    let overview = Overview { counts, workers, needs, ..Overview::default() };
    let why = explain_queue(&overview).join("\n");
    assert!(why.contains("7 need 96 GB and 1 core; the largest node offers 84 GB and 8 cores"), "{why}");
    assert!(why.contains("103 wait"), "{why}");
    assert_eq!(top_reason(&overview).map(|top| top.waiting), Some(103));
    assert_eq!(why_need(&overview, &overview.needs[2]), "failed on every live worker (n1, n2), waiting for a retry");
    let only_large = Overview { counts: Counts { todo: 7, ..counts }, needs: vec![need(96.0, 7, &[])], ..overview };
    assert!(top_reason(&only_large).unwrap().why.contains("84 GB"));
    assert!(!explain_queue(&only_large)[0].contains("running"), "{:?}", explain_queue(&only_large));
}

#[test]
fn a_task_in_its_backoff_or_claimed_ahead_says_so() {
    let overview = queue(vec![worker("n1", WorkerState::Live, 16.0), worker("n2", WorkerState::Live, 16.0)]);
    let task = waiting("shell:1:1:7:x", &["n1"]);
    let hold = HoldReasons { backoff_seconds: Some(42), left_to_others_seconds: Some(30), ..HoldReasons::default() };
    let why = explain_held(&overview, &task, &hold, FieldOrder::MemCpuPrio).join("\n");
    assert!(why.contains("42 s more") && why.contains("30 s more"), "{why}");
    let ahead = TaskView { states: vec![TaskState::InProgress], worker: Some("n1".to_owned()), ..task };
    let hold = HoldReasons { has_slot: Some(false), ..HoldReasons::default() };
    assert!(explain_held(&overview, &ahead, &hold, FieldOrder::MemCpuPrio)[1].contains("prefetched"));
}

#[test]
fn an_idle_queue_says_so() {
    assert_eq!(explain_queue(&Overview::default()), ["nothing waits and nothing runs"]);
    assert!(explain_queue(&queue(Vec::new()))[0].contains("no worker is running"));
}

#[test]
fn what_is_kept_apart_and_waits_for_the_same_is_one_row() {
    let need = |failed_on: &[&str]| WaitingGroup {
        needs: String::new(),
        demand: Demand { amounts: amounts(8.0, 1.0) },
        failed_on: failed_on.iter().map(|name| (*name).to_owned()).collect(),
        waiting: 20,
    };
    let overview = Overview {
        paused: Some("ann".to_owned()),
        needs: vec![need(&["n1"]), need(&[]), need(&["n2"])],
        ..queue(vec![worker("n1", WorkerState::Live, 16.0)])
    };
    let drawn = needs(&overview, 100);
    assert_eq!(drawn.lines().count(), 2, "{drawn}");
    assert!(drawn.contains(" 60 "), "{drawn}");
}

#[test]
fn lifted_pause_is_no_reason_before_workers_notice() {
    let mut told = worker("n1", WorkerState::Live, 16.0);
    told.load = Some(WorkerLoad { slots: 4, wait: Some(WaitReason::Paused), ..WorkerLoad::default() });
    let overview = queue(vec![told]);
    let top = top_reason(&overview).map(|top| (top.waiting, top.why));
    assert_eq!(top, Some((1, "their turn (0 of 4 slots in use)".to_owned())));
    assert!(!why(&overview, &waiting("shell:1:1:7:x", &[])).contains("paused"));
}

#[test]
fn explain_names_the_shortage_of_the_roomiest_node() {
    let with_room = |name: &str, mem, free, cores| WorkerView {
        load: Some(WorkerLoad { slots: 4, room: Some(amounts(free, cores)), ..WorkerLoad::default() }),
        ..worker(name, WorkerState::Live, mem)
    };
    let overview = queue(vec![with_room("n1", 64.0, 40.0, 0.5), with_room("n2", 16.0, 15.0, 8.0)]);
    let why = |line| why(&overview, &waiting(line, &[]));
    assert!(why("shell:32:1:7:x").contains("at most 0.5 cores left"), "{}", why("shell:32:1:7:x"));
    assert!(why("shell:50:0.1:7:x").contains("at most 40 GB left"), "{}", why("shell:50:0.1:7:x"));
    assert!(!why("shell:8:4:7:x").contains("no room"), "n2 has it");
    // One that does not tell may have it.
    let silent = queue(vec![with_room("n1", 64.0, 40.0, 0.5), worker("old", WorkerState::Live, 64.0)]);
    assert!(
        !explain_task(&silent, &waiting("shell:32:1:7:x", &[]), FieldOrder::MemCpuPrio).join("").contains("no room")
    );
}

#[test]
fn explain_says_what_a_task_declares_after_kills_for_memory() {
    let mut task = waiting("shell:0.1:1:7:x", &[]);
    assert!(!why(&queue(vec![worker("n1", WorkerState::Live, 16.0)]), &task).contains("declares"));
    let attempt = |attempt, declared: Option<&str>| crate::model::snapshot::AttemptView {
        attempt,
        worker: "n1".to_owned(),
        outcome: crate::model::Outcome::Signal(9),
        start: None,
        end: 2.0,
        settled: None,
        stdout_exact: None,
        stdout_stripped: None,
        stdout_bytes: None,
        stdout_file: None,
        stdout_file_error: None,
        peak_memory_bytes: None,
        peak_memory_source: None,
        declared_memory_bytes: declared.map(|gb| crate::model::Bytes::parse_gib(gb).expect("a number").0),
        sequence: None,
        stdout_tail: String::new(),
        stderr_tail: String::new(),
    };
    task.declares_memory_bytes = Some(crate::model::Bytes::parse_gib("0.4").expect("a number").0);
    task.attempts = vec![attempt(1, None), attempt(2, Some("0.2"))];
    let small = queue(vec![worker("n1", WorkerState::Live, 0.3)]);
    let text = why(&small, &task);
    assert!(text.contains("it declares 0.40 GB after 2 kills for memory (its line says 0.10 GB)"), "{text}");
    assert!(text.contains("no live worker can give"), "what it declares now decides: {text}");
}
