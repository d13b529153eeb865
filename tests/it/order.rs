//! Order: the highest priority that fits first, equals in submission order, at any depth.
use distcomp::model::{Belonging, TaskLine};
use distcomp::queue::session::Settlement;
use distcomp::queue::submit::{NewTask, submit};
use serde_json::json;

use crate::queue_model::{ORDER, client, node, request, session, settle};
use crate::support::{Bed, SOON, lines_of};

/// A priority for each task that looks random and is the same in every run.
fn priority(at: usize) -> usize {
    (at * 7919 + at / 13) % 23
}

/// The numbers of the tasks in the order in which they must run.
fn wanted(count: usize) -> Vec<String> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&at| (usize::MAX - priority(at), at));
    order.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn same_order(seen: &[String], wanted: &[String]) {
    let first = seen.iter().zip(wanted).position(|(one, other)| one != other);
    if let Some(at) = first {
        panic!("at place {at} task {} ran and {} should have", seen[at], wanted[at]);
    }
    assert_eq!(seen.len(), wanted.len());
}

#[test]
fn tasks_run_in_exact_order_of_priority_and_submission() {
    let bed = Bed::with(json!({"max_task_per_worker": 1}));
    let out = bed.out("order");
    bed.add((0..2000).map(|at| format!("shell:0:0:{}:echo {at} >> {out}", priority(at))));
    bed.burst("w");
    same_order(&lines_of(&out), &wanted(2000));
}

#[test]
fn order_holds_over_tasks_that_ask_for_different_amounts() {
    // Without look-ahead: what is claimed ahead takes up headroom, and another task may then be the best that fits.
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let out = bed.out("order");
    let mem = |at: usize| ["0", "0.001", "0.002", "0.0005"][at % 4];
    let cpu = |at: usize| ["0", "0.1", "0.5"][at % 3];
    bed.add((0..300).map(|at| format!("shell:{}:{}:{}:echo {at} >> {out}", mem(at), cpu(at), priority(at))));
    bed.burst("w");
    same_order(&lines_of(&out), &wanted(300));
}

#[test]
fn order_holds_over_different_amounts_that_are_claimed_ahead() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 40}));
    let out = bed.out("order");
    let mem = |at: usize| ["0", "0.001", "0.002", "0.0005", "0.003"][at * 31 % 5];
    bed.add((0..600).map(|at| format!("shell:{}:0:{}:echo {at} >> {out}", mem(at), priority(at))));
    bed.burst("w");
    same_order(&lines_of(&out), &wanted(600));
}

#[test]
fn order_holds_over_submissions_and_python_field_order() {
    let bed = Bed::with(json!({
        "max_task_per_worker": 1, "redis_pipeline_batching": false, "task_prefetch": 0, "task_field_order": "prio:mem:cpu",
    }));
    let out = bed.out("order");
    for part in 0..3 {
        bed.add((part * 50..part * 50 + 50).map(|at| format!("shell:{}:0:0:echo {at} >> {out}", priority(at))));
    }
    bed.burst("w");
    same_order(&lines_of(&out), &wanted(150));
}

#[test]
fn a_better_task_submitted_later_goes_before_all_that_wait() {
    let bed = Bed::with(json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let out = bed.out("order");
    let gate = bed.out("gate");
    let first = format!("shell:0:0:1:while ! test -e {gate}; do sleep 0.05; done; echo first >> {out}");
    let _worker = bed.worker("w");
    bed.add([&first]);
    bed.wait_running(&first);
    bed.add((0..50).map(|at| format!("shell:0:0:1:echo low{at} >> {out}")));
    bed.add([format!("shell:0:0:9:echo high >> {out}")]);
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 52, 0]);
    assert_eq!(lines_of(&out)[..3], ["first", "high", "low0"]);
}

#[test]
fn a_task_that_fits_nowhere_waits_and_holds_up_nobody() {
    let bed = Bed::new();
    let too_much_memory = "shell:1000000:0:9:true";
    let too_many_cores = "shell:0:100000:9:true";
    bed.add([too_much_memory, too_many_cores]);
    bed.add((0..100).map(|at| format!("shell:0:0:1:true {at}")));
    bed.burst("w");
    assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), [too_many_cores, too_much_memory]);
    assert_eq!(bed.count("finished_tasks"), 100);
}

#[test]
fn cores_that_are_reserved_are_not_given_twice() {
    let bed = Bed::with(json!({"task_prefetch": 0}));
    let cores = std::thread::available_parallelism().expect("a count").get();
    let out = bed.out("order");
    // Each of the two needs all cores: they must not overlap.
    bed.add((0..2).map(|at| format!("shell:0:{cores}:1:echo start >> {out}; sleep 0.5; echo end >> {out} # {at}")));
    bed.burst("w");
    assert_eq!(lines_of(&out), ["start", "end", "start", "end"]);
}

#[test]
fn prefetch_takes_the_next_task_whatever_it_asks_for() {
    let bed = Bed::with(json!({"max_task_per_worker": 2, "task_prefetch": 1}));
    let task = |prio: usize, mem: &str| format!("shell:{mem}:0:{prio}:sleep 60");
    let next = task(70, "0.003");
    bed.add([task(100, "0.001"), task(50, "0.001"), task(99, "0.002"), task(20, "0.002"), next.clone()]);
    let _worker = bed.worker("w");
    bed.wait_running(&next);
    let mut wanted = [task(100, "0.001"), task(99, "0.002"), next];
    wanted.sort();
    assert_eq!(bed.table("in_progress_tasks").into_keys().collect::<Vec<_>>(), wanted);
}

/// Claims of seven, after one settlement has opened forty gates: some hold one task, one holds many that follow each other, the rest hold tasks of every priority.
async fn claims_behind_many_gates() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    let worker = session(&conn, "w").await;
    let parse = |line: String| NewTask::of(&TaskLine::parse(&line, ORDER).expect("a task line"));
    let steps = (0..40).map(|step| {
        let mut task = parse(format!("shell:0:0:1:true # {step}"));
        task.join(Some(Belonging::new(format!("a/{step}").parse().expect("a name"), &[])));
        task
    });
    submit(&conn, &steps.collect::<Vec<_>>(), false).await.expect("submitted");
    let priority = |at: usize| if (20..120).contains(&at) { 11 } else { priority(at) };
    let step = |at: usize| match at {
        0..20 => at,
        20..120 => 20,
        _ => 21 + at * 31 % 19,
    };
    let tasks: Vec<NewTask> =
        (0..600).map(|at| parse(format!("shell,after=a/{}:0:0:{}:{at}", step(at), priority(at)))).collect();
    for part in tasks.chunks(250) {
        submit(&conn, part, false).await.expect("submitted");
    }
    let upstream = worker.claim(&request("up".to_owned(), 100, node(), 0)).await.expect("claimed").claims;
    assert_eq!(upstream.len(), 40, "the rest is blocked");
    let ends: Vec<_> =
        upstream.iter().map(|one| settle(one, Settlement::Finish { value: "w: \"\"".to_owned() })).collect();
    worker.settle(&ends, 1, false).await.expect("settled");
    let mut seen = Vec::new();
    while seen.len() < 600 {
        let reply = worker.claim(&request(format!("t{}", seen.len()), 7, node(), 0)).await.expect("claimed");
        assert!(!reply.claims.is_empty(), "{} of 600 came", seen.len());
        seen.extend(reply.claims.iter().map(|claim| claim.line.rsplit(':').next().unwrap_or_default().to_owned()));
    }
    let mut order: Vec<usize> = (0..600).collect();
    order.sort_by_key(|&at| (usize::MAX - priority(at), at));
    same_order(&seen, &order.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn order_holds_over_what_many_gates_let_go_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(claims_behind_many_gates());
}
