//! Counters of batches that others delete at the worst moment: no gate opens on what is left of them.
use distcomp::model::{Belonging, TaskLine};
use distcomp::queue::Connection;
use distcomp::queue::batches::{self, Recount};
use distcomp::queue::index::IndexPass;
use distcomp::queue::session::Settlement;
use distcomp::queue::submit::{NewTask, submit};

use crate::queue_model::{ORDER, client, node, request, session, settle};
use crate::support::Bed;

fn delete_counters(bed: &Bed) {
    let _: i64 = redis::cmd("DEL").arg("distcomp:batch:n").query(&mut bed.redis.con()).expect("deleted");
}

async fn add(conn: &Connection, numbers: std::ops::Range<usize>) {
    let task = |at: usize| {
        let mut task = NewTask::of(&TaskLine::parse(&format!("shell:0:0:9:p {at}"), ORDER).expect("a task line"));
        task.join(Some(Belonging::new("p".parse().expect("a name"), &[])));
        task
    };
    for part in numbers.map(task).collect::<Vec<_>>().chunks(250) {
        submit(conn, part, false).await.expect("submitted");
    }
}

async fn deleted_while_counted(bed: &Bed) {
    let conn = client(bed).connect().await.expect("connected");
    add(&conn, 0..1500).await;
    delete_counters(bed);
    let mut recount = Recount::default();
    for _ in 0..3 {
        assert!(!recount.step(&conn).await.expect("counted"), "it takes many steps");
    }
    delete_counters(bed);
    while !recount.step(&conn).await.expect("counted") {}
    assert_eq!(bed.table("distcomp:batch:n")["p"], "1500");
}

async fn deleted_before_a_change(bed: &Bed) {
    let conn = client(bed).connect().await.expect("connected");
    let worker = session(&conn, "w").await;
    add(&conn, 0..2).await;
    let after = TaskLine::parse("shell,after=p:0:0:1:q", ORDER).expect("a task line");
    submit(&conn, &[NewTask::of(&after)], false).await.expect("submitted");
    let first = worker.claim(&request("first".to_owned(), 10, node(), 0)).await.expect("claimed").claims;
    assert_eq!(first.len(), 2, "the third is blocked");
    delete_counters(bed);
    add(&conn, 2..3).await;
    let added = worker.claim(&request("second".to_owned(), 10, node(), 0)).await.expect("claimed").claims;
    let end = |claim| settle(claim, Settlement::Finish { value: "w: \"\"".to_owned() });
    worker.settle(&added.iter().map(end).collect::<Vec<_>>(), 1, false).await.expect("settled");
    let early = worker.claim(&request("third".to_owned(), 10, node(), 0)).await.expect("claimed").claims;
    assert_eq!(early.len(), 0, "two of what it waits for run");
    let mut recount = Recount::default();
    while !recount.step(&conn).await.expect("counted") {}
    worker.settle(&first.iter().map(end).collect::<Vec<_>>(), 1, false).await.expect("settled");
    let last = worker.claim(&request("last".to_owned(), 10, node(), 0)).await.expect("claimed").claims;
    assert_eq!(last.len(), 1, "all of it has finished");
}

#[test]
fn counters_deleted_while_they_are_counted_are_counted_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(deleted_while_counted(&Bed::new()));
}

#[test]
fn gate_stays_closed_when_counters_are_deleted_before_a_change() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(deleted_before_a_change(&Bed::new()));
}

/// Everything that says which gates there are, and which of them open: each alone, and some together.
const OF_GATES: [&[&str]; 8] = [
    &["gates"],
    &["gated"],
    &["opening"],
    &["chores"],
    &["times"],
    &["gates", "gated"],
    &["gates", "opening", "chores"],
    &["gates", "gated", "times", "count"],
];

async fn lost_in_part(bed: &Bed) {
    let conn = client(bed).connect().await.expect("connected");
    let worker = session(&conn, "w").await;
    for (at, keys) in OF_GATES.iter().enumerate() {
        for is_late in [false, true] {
            let name = format!("p{at}.{is_late}");
            let task = |line: &str, batch: Option<&str>| {
                let mut task = NewTask::of(&TaskLine::parse(line, ORDER).expect("a task line"));
                task.join(batch.map(|batch| Belonging::new(batch.parse().expect("a name"), &[])));
                task
            };
            let tasks = [
                task(&format!("shell:0:0:9:{name}"), Some(&name)),
                task(&format!("shell,after={name}:0:0:1:{name} q"), Some("q")),
                task(&format!("shell,afterany={name}:0:0:1:{name} r"), None),
                task(&format!("shell,after={name},begin=1000:0:0:1:{name} s"), None),
            ];
            submit(&conn, &tasks, false).await.expect("submitted");
            let first = worker.claim(&request(format!("{name} first"), 10, node(), 0)).await.expect("claimed").claims;
            assert_eq!(first.len(), 1, "{keys:?}: the others are blocked");
            let end = |claim| settle(claim, Settlement::Finish { value: "w: \"\"".to_owned() });
            let lose = || {
                for key in *keys {
                    let key = format!("distcomp:ready:{key}");
                    let _: i64 = redis::cmd("DEL").arg(key).query(&mut bed.redis.con()).expect("deleted");
                }
            };
            if !is_late {
                lose();
            }
            worker.settle(&first.iter().map(end).collect::<Vec<_>>(), 1, false).await.expect("settled");
            if is_late {
                lose();
            }
            for _ in 0..2 {
                let mut pass = IndexPass::new();
                while !pass.step(&conn, ORDER).await.expect("a step").is_done {}
            }
            while batches::release(&conn, None).await.expect("released").has_more {}
            let last = worker.claim(&request(format!("{name} last"), 10, node(), 0)).await.expect("claimed").claims;
            assert_eq!(last.len(), 3, "{keys:?}, late: {is_late}: all of them may run");
            worker.settle(&last.iter().map(end).collect::<Vec<_>>(), 1, false).await.expect("settled");
        }
    }
}

#[test]
fn gates_of_which_a_part_is_deleted_still_open() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(lost_in_part(&Bed::new()));
}

#[test]
fn burst_counts_anew_what_others_deleted_and_goes_on() {
    let bed = Bed::new();
    for args in [&["-n", "a", "--", "echo a"][..], &["-n", "b", "--after", "a", "--", "echo b"]] {
        bed.cli("distcomp-submit").args(args).run().expect(0);
    }
    delete_counters(&bed);
    bed.status(&["wait", "b", "--timeout", "0"]).expect(124).prints(&["a worker counts its tasks anew"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 2, 0]);
    delete_counters(&bed);
    bed.burst("w");
    assert_eq!(bed.table("distcomp:batch:n")["a="], "1");
}
