use proptest::prelude::*;

use super::*;
use crate::model::Usage;
use crate::model::snapshot::{Counts, RunningTask, WorkerExtras, WorkerLoad, WorkerState};

/// How long after the start each task of some slots ends: they take the tasks in order.
fn ends(slots: usize, took: &[f64]) -> Vec<(f64, f64)> {
    let mut free = vec![0.0_f64; slots];
    took.iter()
        .map(|took| {
            let slot = (0..slots).min_by(|a, b| free[*a].total_cmp(&free[*b])).expect("a slot");
            let start = free[slot];
            free[slot] += took;
            (start, free[slot])
        })
        .collect()
}

fn seen_at(tasks: &[(f64, f64)], at: f64, earlier: u64) -> TaskCounts {
    let ended = tasks.iter().filter(|(_, end)| *end <= at).count() as u64;
    let running = tasks.iter().filter(|(start, end)| *start <= at && at < *end).count() as u64;
    TaskCounts { ended: ended + earlier, running, waiting: tasks.len() as u64 - ended - running }
}

/// Looks every `step` seconds until all is done; what was estimated at each look, and what was true.
fn follow(tasks: &[(f64, f64)], step: f64, earlier: u64) -> Vec<(f64, Option<u64>, f64)> {
    let start = Instant::now();
    let last = tasks.iter().map(|(_, end)| *end).fold(0.0, f64::max);
    let mut estimator = Estimator::default();
    estimator.observe(start, TaskCounts { ended: earlier, running: 0, waiting: tasks.len() as u64 });
    (0..)
        .map(|look| f64::from(look) * step)
        .take_while(|at| *at < last)
        .map(|at| {
            estimator.observe(start + Duration::from_secs_f64(at), seen_at(tasks, at, earlier));
            (at, estimator.seconds_left(), last - at)
        })
        .collect()
}

proptest! {
    #[test]
    fn equal_tasks_are_estimated_right(slots in 1_usize..20, waves in 2_usize..8, took in 1.0_f64..200.0, earlier in 0_u64..100_000) {
        let tasks = ends(slots, &vec![took; slots * waves]);
        for (at, estimate, left) in follow(&tasks, took / 20.0, earlier) {
            if at > took * 1.06 {
                let estimate = estimate.expect("tasks ended") as f64;
                let slack = took * 0.3 + 1.0;
                prop_assert!((estimate - left).abs() <= slack, "at {at}: {estimate}, true {left}, took {took}");
            } else if at < took {
                prop_assert_eq!(estimate, None, "nothing has ended at {}", at);
            }
        }
    }

    #[test]
    fn varied_tasks_are_estimated_roughly(slots in 1_usize..20, took in prop::collection::vec(5.0_f64..15.0, 100..200)) {
        let tasks = ends(slots, &took);
        for (at, estimate, left) in follow(&tasks, 0.5, 0) {
            if at > 31.0 {
                let estimate = estimate.expect("tasks ended") as f64;
                prop_assert!(estimate >= left / 2.0 - 8.0 && estimate <= left * 2.0 + 8.0, "at {at}: {estimate}, true {left}");
            }
        }
    }

    #[test]
    fn what_was_done_before_changes_nothing(earlier in 0_u64..1_000_000, slots in 1_usize..8, took in prop::collection::vec(0.1_f64..9.0, 1..60)) {
        let tasks = ends(slots, &took);
        prop_assert_eq!(follow(&tasks, 0.2, earlier), follow(&tasks, 0.2, 0));
    }

    #[test]
    fn something_left_is_never_no_time(slots in 1_usize..8, took in prop::collection::vec(0.01_f64..5.0, 1..100), step in 0.05_f64..2.0) {
        let tasks = ends(slots, &took);
        for (at, estimate, _) in follow(&tasks, step, 7) {
            prop_assert_ne!(estimate, Some(0), "at {}", at);
            prop_assert_eq!(estimate.is_some(), seen_at(&tasks, at, 0).ended > 0 && at > 0.0, "at {}", at);
        }
    }

    #[test]
    fn more_that_waits_takes_no_less(waiting in 0_u64..1_000_000, more in 0_u64..1000, running in 0_u64..100, age in 0.0_f64..100.0, rate in 0.001_f64..1000.0, typical in 0.0_f64..100.0) {
        let going = Workload { waiting, running, ages: vec![(age, running / 2)], rate, typical, longest: typical };
        let longer = Workload { waiting: waiting + more, ..going.clone() };
        prop_assert!(longer.seconds_left() >= going.seconds_left());
    }

    #[test]
    fn any_sequence_of_looks_is_survived(looks in prop::collection::vec((0_u64..5000, 0_u64..100, 0_u64..100, 0_u64..100), 0..200)) {
        let start = Instant::now();
        let mut estimator = Estimator::default();
        let mut at = Duration::ZERO;
        for (passed, ended, running, waiting) in looks {
            at += Duration::from_millis(passed);
            estimator.observe(start + at, TaskCounts { ended, running, waiting });
            prop_assert!(estimator.rate().is_none_or(|rate| rate.is_finite() && rate > 0.0), "{estimator:?}");
            prop_assert_ne!(estimator.seconds_left(), Some(0));
            prop_assert!(estimator.marks.len() < 200 && estimator.took.len() <= REMEMBERED);
        }
    }
}

#[test]
fn a_tail_of_fifteen_seconds_is_not_one_second() {
    let mut took = vec![0.2; 200];
    took[150] = 15.0;
    let tasks = ends(4, &took);
    let tail: Vec<_> = follow(&tasks, 0.2, 0).into_iter().filter(|(_, _, left)| *left < 10.0).collect();
    let short = tail.iter().filter(|(_, estimate, _)| estimate.is_some_and(|seconds| seconds <= 1)).count();
    assert!(short * 10 < tail.len(), "{tail:?}");
    assert!(tail.iter().all(|(_, estimate, left)| estimate.is_some_and(|seconds| seconds as f64 <= left + 15.0)));
}

#[test]
fn a_resumed_run_has_the_rate_of_now() {
    // 1,000 done earlier; from here on 33 tasks a second on 4 slots.
    let tasks = ends(4, &vec![4.0 / 33.0; 2310]);
    let looks = follow(&tasks, 0.2, 1000);
    for (at, estimate, left) in looks.into_iter().filter(|(at, ..)| *at > 2.0) {
        let estimate = estimate.expect("tasks ended") as f64;
        assert!((estimate - left).abs() <= left * 0.15 + 2.0, "at {at}: {estimate}, true {left}");
    }
}

#[test]
fn a_queue_that_was_joined_half_way_is_not_taken_for_a_fast_one() {
    // Tasks of 100 s that end every 10 s; the first look falls into the middle.
    let tasks = ends(10, &(0..200).map(|n| if n < 10 { f64::from(n + 1) * 10.0 } else { 100.0 }).collect::<Vec<_>>());
    let start = Instant::now();
    let last = tasks.iter().map(|(_, end)| *end).fold(0.0, f64::max);
    let mut estimator = Estimator::default();
    for at in (505..1800).map(f64::from) {
        estimator.observe(start + Duration::from_secs_f64(at), seen_at(&tasks, at, 0));
        let left = last - at;
        if let Some(estimate) = estimator.seconds_left().filter(|_| at > 540.0) {
            assert!(
                (estimate as f64) > left * 0.5 && (estimate as f64) < left * 2.0,
                "at {at}: {estimate}, true {left}"
            );
        }
    }
}

#[test]
fn a_queue_that_stands_still_has_no_time() {
    let start = Instant::now();
    let mut estimator = Estimator::default();
    estimator.observe(start, TaskCounts { ended: 0, running: 2, waiting: 10 });
    estimator.observe(start + Duration::from_secs(1), TaskCounts { ended: 2, running: 0, waiting: 10 });
    assert!(estimator.seconds_left().is_some());
    estimator.observe(start + Duration::from_secs(7), TaskCounts { ended: 2, running: 0, waiting: 10 });
    assert_eq!((estimator.rate(), estimator.seconds_left()), (None, None));
}

#[test]
fn an_overview_counts_what_runs_for_what_it_has_run() {
    let task = |seconds| RunningTask { seconds, ..RunningTask::default() };
    let load = WorkerLoad { running: 1, tasks: vec![task(14)], ..WorkerLoad::default() };
    let worker = |load: &WorkerLoad| WorkerView {
        name: "w".to_owned(),
        state: WorkerState::Live,
        heartbeat_age_seconds: Some(0),
        usage: Usage::default(),
        finished: 0,
        failed: 0,
        returned: 0,
        timed_out: 0,
        load: Some(load.clone()),
        extras: WorkerExtras::default(),
        process: None,
        is_estimate: false,
        is_python: false,
    };
    let counts = Counts { in_progress: 1, ..Counts::default() };
    let overview = Overview { counts, rate_per_second: 10.0, workers: vec![worker(&load)], ..Overview::default() };
    assert_eq!(of_overview(&overview), Some(14), "a straggler among brief tasks");
    let long = WorkerLoad { mean_seconds: Some(100.0), ..load };
    let overview = Overview { rate_per_second: 0.0, workers: vec![worker(&long)], ..overview };
    assert_eq!(of_overview(&overview), Some(86), "the run times of its worker tell, where nothing ended lately");
    let nobody = Overview { workers: Vec::new(), ..overview };
    assert_eq!(of_overview(&nobody), None);
}
