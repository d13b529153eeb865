//! Tables and properties of how many workers are wanted.

use proptest::prelude::*;

use super::*;
use crate::model::snapshot::{RunnableGroup, WorkerExtras, WorkerLoad};
use crate::model::{Bytes, Demand, MilliCores, Needs, Traits, Usage};

const GIB: u64 = 1 << 30;

fn amounts(mem: u64, cpu: u64) -> Amounts {
    Amounts::NONE.with_mem(Bytes(mem * GIB)).with_cpu(MilliCores(cpu * 1000))
}

/// A node of 16 GB, 4 cores and 8 slots, that lives for an hour.
fn shape() -> Shape {
    let traits: Traits = "gpus@1000/1000:ssd:".parse().expect("traits");
    let (stocks, labels) = (traits.stocks, traits.labels);
    Shape { offer: Some(amounts(16, 4)), slots: 8, stocks, labels, lifetime: Some(3600), usable_life: Some(3540) }
}

fn group(waiting: u64, mem: u64, cpu: u64, needs: &str) -> RunnableGroup {
    let needs = Needs::of_class(needs).expect(needs);
    RunnableGroup { demand: Demand { amounts: amounts(mem, cpu) }, needs, waiting, is_unknown: false }
}

fn queue(groups: &[RunnableGroup]) -> Runnable {
    Runnable { groups: groups.to_vec(), ..Runnable::default() }
}

/// A live worker of the shape that has this much left.
fn worker(slots: u32, room: Amounts) -> WorkerView {
    let traits: Traits = "gpus@1000/1000:host=n1,ssd:4540".parse().expect("traits");
    WorkerView {
        name: "w".to_owned(),
        state: WorkerState::Live,
        heartbeat_age_seconds: Some(0),
        usage: Usage { used: Amounts::NONE, total: amounts(16, 4) },
        is_python: false,
        finished: 0,
        is_estimate: false,
        failed: 0,
        returned: 0,
        timed_out: 0,
        load: Some(WorkerLoad { slots, room: Some(room), offer: Some(amounts(16, 4)), ..WorkerLoad::default() }),
        extras: WorkerExtras::of(Some(traits), None),
        process: None,
    }
}

fn ask(runnable: &Runnable, workers: &[WorkerView], limits: &[LimitView]) -> Wanted {
    wanted(&shape(), runnable, &Fleet { workers, limits, in_progress: 0, now: 1000 }, 0)
}

fn additional(groups: &[RunnableGroup]) -> u64 {
    ask(&queue(groups), &[], &[]).additional
}

#[test]
fn scarcest_resource_says_how_many() {
    assert_eq!(additional(&[]), 0);
    assert_eq!(additional(&[group(1, 1, 1, "")]), 1);
    assert_eq!(additional(&[group(9, 0, 1, "")]), 3, "cores");
    assert_eq!(additional(&[group(9, 16, 1, "")]), 9, "memory");
    assert_eq!(additional(&[group(17, 0, 0, "")]), 3, "slots");
    assert_eq!(additional(&[group(5, 0, 0, "gpus=1000")]), 3, "devices");
    assert_eq!(additional(&[group(5, 0, 0, "gpus=500")]), 2);
    assert_eq!(additional(&[group(4, 2, 1, ""), group(4, 14, 1, "")]), 4, "both together");
    assert_eq!(additional(&[group(u64::MAX, 16, 4, "")]), u64::MAX, "nothing overflows");
}

#[test]
fn what_no_such_worker_could_run_is_not_counted() {
    for (what, left_out) in [
        ("memory", group(9, 17, 1, "")),
        ("cores", group(9, 1, 5, "")),
        ("devices", group(9, 1, 1, "gpus=3000")),
        ("another resource", group(9, 1, 1, "fpga=1000")),
        ("labels", group(9, 1, 1, "constraint=nvme")),
        ("a host", group(9, 1, 1, "constraint=host=n7")),
        ("time", group(9, 1, 1, "time=3541")),
    ] {
        let answer = ask(&queue(std::slice::from_ref(&left_out)), &[], &[]);
        assert_eq!((answer.additional, answer.unfit), (0, 9), "{what}");
        assert_eq!(answer.too_long, if what == "time" { 9 } else { 0 });
        assert_eq!(additional(&[left_out, group(1, 1, 1, "constraint=ssd,time=3540")]), 1, "{what}");
    }
    let halted = Runnable { is_halted: true, unsorted: 5, ..queue(&[group(9, 1, 1, "")]) };
    assert_eq!(ask(&halted, &[], &[]).additional, 0, "paused");
}

#[test]
fn room_of_live_workers_comes_first() {
    let tasks = |count| queue(&[group(count, 4, 1, "")]);
    let idle = [worker(8, amounts(16, 4))];
    let answer = ask(&tasks(4), &idle, &[]);
    assert_eq!((answer.additional, answer.placed, answer.wanted, answer.runnable), (0, 4, 1, 0));
    assert_eq!((ask(&tasks(5), &idle, &[]).additional, ask(&tasks(5), &idle, &[]).wanted), (1, 2));
    assert_eq!(ask(&tasks(1), &[worker(0, amounts(16, 4))], &[]).additional, 1, "no slot");
    let mut gone = worker(8, amounts(16, 4));
    for state in [WorkerState::Dead, WorkerState::Draining, WorkerState::Suspect, WorkerState::Silent] {
        gone.state = state;
        assert_eq!(ask(&tasks(1), &[gone.clone()], &[]).additional, 1, "{state:?}");
    }
    let mut busy = worker(8, amounts(0, 0));
    busy.load.as_mut().expect("a load").running = 3;
    assert_eq!(ask(&queue(&[]), &[busy, worker(8, amounts(16, 4))], &[]).wanted, 1, "one has nothing to do");
    let gpus = queue(&[group(3, 0, 0, "gpus=1000")]);
    assert_eq!(ask(&gpus, &idle, &[]).placed, 2, "a device each");
    let none = ask(&queue(&[group(1, 0, 0, "constraint=nvme")]), &idle, &[]);
    assert_eq!((none.placed, none.additional), (0, 0), "nobody has the label");
}

#[test]
fn what_is_starting_counts_as_room() {
    let fleet = Fleet { workers: &[], limits: &[], in_progress: 0, now: 1000 };
    let starting = |starting| wanted(&shape(), &queue(&[group(9, 0, 1, "")]), &fleet, starting).additional;
    assert_eq!([0, 1, 3, 9].map(starting), [3, 2, 0, 0]);
}

#[test]
fn a_limit_keeps_tasks_back() {
    let limit = |max, in_use, per_node| LimitView {
        limit: "disk".to_owned(),
        max: Some(max),
        per_node,
        in_use,
        ..LimitView::default()
    };
    let tasks = queue(&[group(20, 0, 1, "limit=disk"), group(20, 0, 1, "gpus=100,limit=disk")]);
    let answer = ask(&tasks, &[], &[limit(10, 4, None)]);
    assert_eq!((answer.additional, answer.limited, answer.runnable), (2, 34, 6));
    assert_eq!(ask(&tasks, &[], &[limit(10, 10, None)]).additional, 0);
    assert_eq!(ask(&tasks, &[], &[limit(6, 0, Some(1))]).additional, 6, "one on each node");
    assert_eq!(ask(&tasks, &[], &[limit(6, 0, Some(0))]).additional, 0);
    assert_eq!(ask(&tasks, &[], &[]).additional, 10, "it is not set");
}

#[test]
fn first_worker_shows_what_a_node_has() {
    let unknown = Shape { offer: None, ..shape() };
    let fleet = Fleet { workers: &[], limits: &[], in_progress: 0, now: 1000 };
    let runnable = queue(&[group(1000, 16, 4, "")]);
    let ask = |starting| wanted(&unknown, &runnable, &fleet, starting).additional;
    assert_eq!([0, 1].map(ask), [1, 0]);
}

#[test]
fn memory_that_is_yet_to_be_learnt_asks_for_one_worker() {
    let unknown = RunnableGroup { is_unknown: true, ..group(1000, 0, 1, "learn=sim") };
    assert_eq!(additional(&[unknown]), 1);
}

#[test]
fn one_worker_is_wanted_where_nothing_goes_on_without_one() {
    let ask = |unsorted, in_progress, workers: &[WorkerView], starting| {
        let runnable = Runnable { unsorted, ..Runnable::default() };
        let fleet = Fleet { workers, limits: &[], in_progress, now: 1000 };
        let answer = wanted(&shape(), &runnable, &fleet, starting);
        assert_eq!(answer.is_for_chores, answer.additional > 0);
        answer.additional
    };
    let mut dead = worker(8, amounts(16, 4));
    dead.state = WorkerState::Dead;
    assert_eq!([ask(7, 0, &[], 0), ask(0, 1, std::slice::from_ref(&dead), 0)], [1, 1]);
    assert_eq!([ask(0, 0, &[], 0), ask(7, 0, &[], 1), ask(7, 3, &[worker(8, amounts(16, 4))], 0)], [0; 3]);
    dead.state = WorkerState::Silent;
    assert_eq!(ask(0, 1, &[dead], 0), 0, "it may come back");
}

#[test]
fn bounds_hold_back_what_is_wanted() {
    let bounds = Bounds { min: 1, max: 4, backlog: 2 };
    let ask = |additional, pending, starting, attached| {
        let wanted = Wanted { additional, ..Wanted::default() };
        starts(&wanted, &Own { pending, starting, attached, given_up: 0 }, &bounds, false)
    };
    assert_eq!(ask(0, 0, 0, 0), (1, None), "the least");
    assert_eq!(ask(9, 0, 0, 0), (2, Some(Held::Backlog)));
    assert_eq!(ask(9, 2, 0, 1), (0, Some(Held::Backlog)));
    assert_eq!(ask(9, 1, 0, 2), (1, Some(Held::MaxWorkers)));
    assert_eq!(ask(9, 0, 1, 7), (0, Some(Held::MaxWorkers)));
    let own = Own::default();
    assert_eq!(starts(&Wanted::default(), &own, &bounds, true), (0, None), "nothing while the queue is paused");
    assert_eq!(starts(&Wanted::default(), &own, &Bounds { max: 0, ..bounds }, false), (0, None));
}

#[test]
fn a_short_life_leaves_less_to_count_on() {
    let of = |limit, grace| {
        usable_life(Duration::from_secs(limit), Duration::from_secs(300), Duration::from_secs(grace)).as_secs()
    };
    assert_eq!([of(3600, 5), of(20, 5), of(0, 5)], [3530, 14, 0]);
}

fn any_group() -> impl Strategy<Value = RunnableGroup> {
    let needs = prop_oneof![
        4 => Just(""), 1 => Just("gpus=1000"), 1 => Just("gpus=500"), 1 => Just("constraint=ssd"), 1 => Just("constraint=nvme"),
        1 => Just("time=60"), 1 => Just("time=9999"), 1 => Just("limit=disk"),
    ];
    (0..40_u64, 0..20_u64, 0..6_u64, needs).prop_map(|(waiting, mem, cpu, needs)| group(waiting, mem, cpu, needs))
}

fn any_worker() -> impl Strategy<Value = WorkerView> {
    (0..9_u32, 0..=16_u64, 0..=4_u64).prop_map(|(slots, mem, cpu)| worker(slots, amounts(mem, cpu)))
}

/// Nodes of the shape that hold the tasks of these groups, one after another, each where it fits first. Every node is an empty worker.
fn first_fit(groups: &[RunnableGroup]) -> u64 {
    let empty = worker(8, amounts(16, 4));
    let mut nodes: Vec<WorkerRoom<'_>> = Vec::new();
    for group in groups.iter().filter(|group| shape().suits(&group.demand, &group.needs).is_ok()) {
        for _ in 0..group.waiting {
            if !nodes.iter_mut().any(|node| node.place(group, 1, &[], 1000) == 1) {
                let mut node = WorkerRoom::of(&empty).expect("room");
                assert_eq!(node.place(group, 1, &[], 1000), 1, "it suits an empty node: {group:?}");
                nodes.push(node);
            }
        }
    }
    nodes.len() as u64
}

proptest! {
    /// Never more nodes than first-fit fills, and enough that no resource is asked for more than there is.
    #[test]
    fn no_more_than_a_packing_needs_and_no_less_than_the_sums(groups in proptest::collection::vec(any_group(), 0..6)) {
        let answer = ask(&queue(&groups), &[], &[]);
        prop_assert!(answer.additional <= first_fit(&groups), "{answer:?}");
        prop_assert_eq!(answer.additional == 0, answer.runnable == 0);
        let fitting = || groups.iter().filter(|group| shape().suits(&group.demand, &group.needs).is_ok());
        let sum = |of: &dyn Fn(&RunnableGroup) -> u64| fitting().map(|group| of(group) * group.waiting).sum::<u64>();
        prop_assert!(sum(&|group| group.demand.mem().0) <= answer.additional * 16 * GIB);
        prop_assert!(sum(&|group| group.demand.cpu().0) <= answer.additional * 4000);
        prop_assert!(sum(&|_| 1) <= answer.additional * 8);
    }

    /// Every task is placed, runnable, unfit or limited.
    #[test]
    fn every_task_is_accounted_for(
        groups in proptest::collection::vec(any_group(), 0..6),
        workers in proptest::collection::vec(any_worker(), 0..4),
        max in 0..30_u32,
        per_node in proptest::option::of(0..4_u32),
    ) {
        let limit = LimitView { limit: "disk".to_owned(), max: Some(max), per_node, ..LimitView::default() };
        let answer = ask(&queue(&groups), &workers, &[limit]);
        let all: u64 = groups.iter().map(|group| group.waiting).sum();
        prop_assert!(answer.placed + answer.runnable + answer.unfit + answer.limited >= all, "{answer:?} of {all}");
        prop_assert!(answer.placed + answer.runnable + answer.limited <= all, "{answer:?} of {all}");
    }

    /// Another worker, or room in one, never makes more wanted; more tasks never make less.
    #[test]
    fn more_room_never_wants_more_and_more_tasks_never_less(
        groups in proptest::collection::vec(any_group(), 1..6),
        workers in proptest::collection::vec(any_worker(), 0..4),
    ) {
        let answer = ask(&queue(&groups), &workers, &[]);
        let (first, fewer) = (workers.get(1..).unwrap_or_default(), &groups[1..]);
        prop_assert!(answer.runnable <= ask(&queue(&groups), first, &[]).runnable);
        prop_assert!(ask(&queue(fewer), &[], &[]).additional <= ask(&queue(&groups), &[], &[]).additional);
    }

    /// Starting what is wanted, a look after another, ends: with everything placed, and never beyond the bounds.
    #[test]
    fn a_loop_ends_with_everything_placed(groups in proptest::collection::vec(any_group(), 0..5), max in 1..200_u64, backlog in 1..5_u64) {
        let bounds = Bounds { min: 0, max, backlog };
        let (mut own, mut workers) = (Own::default(), Vec::new());
        for _ in 0..400 {
            let fleet = Fleet { workers: &workers, limits: &[], in_progress: 0, now: 1000 };
            let answer = wanted(&shape(), &queue(&groups), &fleet, own.pending);
            let (start, held) = starts(&answer, &own, &bounds, false);
            own.pending += start;
            prop_assert!(own.all() <= max && own.pending <= backlog, "{own:?}");
            if start == 0 {
                prop_assert!(own.pending == 0 || held.is_some() || answer.additional == 0);
                if own.pending == 0 && held != Some(Held::Backlog) {
                    prop_assert!(answer.additional == 0 || own.all() == max, "{answer:?} {own:?}");
                    break;
                }
            }
            // One comes up.
            if own.pending > 0 {
                own.pending -= 1;
                own.attached += 1;
                workers.push(worker(8, amounts(16, 4)));
            }
        }
        prop_assert!(own.attached <= first_fit(&groups), "{own:?}");
    }
}
