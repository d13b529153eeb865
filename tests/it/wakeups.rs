//! Waking: what is added starts at once on workers that have room for it, and on no more of them than it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use distcomp::model::{Amounts, Bytes, MilliCores, TaskLine};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::wakeups::{Wakeup, Wakeups};
use distcomp::queue::{Connection, Key};
use serde_json::json;

use crate::queue_model::{ORDER, client, node, request, session};
use crate::support::{Bed, SOON};

/// A connection, after the scripts are there.
async fn connect(bed: &Bed) -> Connection {
    let conn = client(bed).connect().await.expect("connected");
    conn.load_scripts().await.expect("loaded");
    conn
}

/// A worker that has asked for as many tasks as it has slots and found nothing; it listens where `is_there`.
async fn idle(bed: &Bed, conn: &Connection, name: &str, slots: u32, room: Amounts, is_there: bool) -> Option<Wakeups> {
    let session = session(conn, name).await;
    let wakeups = if is_there {
        Some(Wakeups::subscribe(&client(bed), session.worker()).await.expect("subscribed"))
    } else {
        None
    };
    let reply = session.claim(&request("first".to_owned(), slots, room, 0)).await.expect("claimed");
    assert!(reply.claims.is_empty());
    wakeups
}

fn tasks(lines: impl IntoIterator<Item = String>) -> Vec<NewTask> {
    lines.into_iter().map(|line| NewTask::of(&TaskLine::parse(&line, ORDER).expect("a task"))).collect()
}

/// Who is put down as idle.
fn listed(bed: &Bed, conn: &Connection) -> BTreeSet<String> {
    bed.table(&conn.keys().name(Key::Idle)).into_keys().collect()
}

/// Waits for the message that one was sent; fails the test where none comes.
async fn heard(wakeups: &mut Option<Wakeups>) {
    let wakeups = wakeups.as_mut().expect("it listens");
    let heard = tokio::time::timeout(SOON, wakeups.next()).await.expect("a message");
    assert_eq!(heard, Some(Wakeup::Todo));
}

#[tokio::test]
async fn submission_wakes_the_idle_workers_it_needs_and_one_more() {
    let bed = Bed::new();
    let conn = connect(&bed).await;
    let mut all = Vec::new();
    for number in 0..40 {
        let name = format!("w{number}");
        all.push((name.clone(), idle(&bed, &conn, &name, 4, node(), true).await));
    }
    let mut serial = 0;
    for (count, woken) in [(1, 2), (4, 2), (9, 4)] {
        let before = listed(&bed, &conn);
        let lines = (0..count).map(|i| format!("shell:0:0:1:true # {}", serial + i));
        submit(&conn, &tasks(lines), false).await.expect("submitted");
        serial += count;
        let after = listed(&bed, &conn);
        let chosen: BTreeSet<&String> = before.difference(&after).collect();
        assert_eq!(chosen.len(), woken, "{count} tasks: {chosen:?}");
        for (_, wakeups) in all.iter_mut().filter(|(name, _)| chosen.contains(name)) {
            heard(wakeups).await;
        }
    }
    // Nobody else heard anything: the next message of theirs is the one that all get.
    let last = listed(&bed, &conn);
    redis::cmd("PUBLISH").arg(conn.keys().name(Key::Wake)).arg("beat:nobody").exec(&mut bed.redis.con()).expect("sent");
    for (name, wakeups) in all.iter_mut().filter(|(name, _)| last.contains(name)) {
        let heard = tokio::time::timeout(Duration::from_millis(20), wakeups.as_mut().expect("it listens").next()).await;
        assert!(heard.is_err(), "{name} was woken for nothing");
    }
}

#[tokio::test]
async fn one_that_is_dead_or_has_no_room_is_not_counted_on() {
    let bed = Bed::new();
    let conn = connect(&bed).await;
    for number in 0..10 {
        idle(&bed, &conn, &format!("dead{number}"), 4, node(), false).await;
    }
    let small = Amounts::NONE.with_mem(Bytes(1 << 20)).with_cpu(MilliCores(100));
    let mut narrow = idle(&bed, &conn, "narrow", 4, small, true).await;
    let mut wide = idle(&bed, &conn, "wide", 4, node(), true).await;
    submit(&conn, &tasks(["shell:1:1:1:true # large".to_owned()]), false).await.expect("submitted");
    heard(&mut wide).await;
    assert!(listed(&bed, &conn).contains("narrow"), "no use for it");
    submit(&conn, &tasks(["shell:0:0:1:true # small".to_owned()]), false).await.expect("submitted");
    heard(&mut narrow).await;
    assert_eq!(listed(&bed, &conn), BTreeSet::new(), "the dead are forgotten, the others woken");
}

#[tokio::test]
async fn what_is_taken_back_or_failed_wakes_another_than_its_worker() {
    let bed = Bed::new();
    let conn = connect(&bed).await;
    let mut other = idle(&bed, &conn, "other", 4, node(), true).await;
    let me = session(&conn, "me").await;
    submit(&conn, &tasks(["shell:0:0:1:true".to_owned()]), false).await.expect("submitted");
    heard(&mut other).await;
    // Too late: the line was taken by another, who has room for more.
    let mut mine = Some(Wakeups::subscribe(&client(&bed), me.worker()).await.expect("subscribed"));
    let reply = me.claim(&request("t1".to_owned(), 4, node(), 0)).await.expect("claimed");
    assert_eq!(reply.claims.len(), 1);
    idle_again(&bed, &conn).await;
    let task = TaskLine::parse(&reply.claims[0].line, ORDER).expect("a task");
    let returned = distcomp::queue::session::Settle {
        line: reply.claims[0].line.clone(),
        id: task.id(),
        token: reply.claims[0].token.clone(),
        class: Some(task.class().clone()),
        record: None,
        settlement: distcomp::queue::session::Settlement::Return,
    };
    me.settle(&[returned], 4, false).await.expect("settled");
    heard(&mut other).await;
    assert_eq!(listed(&bed, &conn), BTreeSet::from(["me".to_owned()]), "it has just given it back");
    let heard = tokio::time::timeout(Duration::from_millis(20), mine.as_mut().expect("it listens").next()).await;
    assert!(heard.is_err(), "it was woken for its own");
}

/// `other` asks again and finds nothing.
async fn idle_again(bed: &Bed, conn: &Connection) {
    let fence = bed.table(&conn.keys().name(Key::Owner));
    assert!(fence.contains_key("other"));
    let again = session(conn, "other").await;
    let reply = again.claim(&request("again".to_owned(), 4, node(), 0)).await.expect("claimed");
    assert!(reply.claims.is_empty());
}

#[test]
fn workers_that_never_poll_start_whatever_is_submitted() {
    // An hour between polls: whatever starts was woken for.
    let bed =
        Bed::with(json!({"max_task_per_worker": 2, "auto_sleep_sec": false, "sleep_sec_between_accepting_task": 3600}));
    let _workers: Vec<_> = ["w1", "w2", "w3"].iter().map(|name| bed.worker(name)).collect();
    for name in ["w1", "w2", "w3"] {
        bed.wait_alive(name);
    }
    let mut all = 0;
    for (round, count) in [1, 2, 7, 1, 30, 1, 3, 120, 5, 1].into_iter().enumerate() {
        bed.add((0..count).map(|i| format!("shell:0:0:1:true # {round}.{i}")));
        all += count;
        bed.wait_counts(SOON, [0, 0, all, 0]);
    }
}

#[test]
fn what_comes_while_the_slots_are_full_starts_when_one_is_free() {
    let bed =
        Bed::with(json!({"max_task_per_worker": 1, "auto_sleep_sec": false, "sleep_sec_between_accepting_task": 3600}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    for round in 0..5 {
        let gate = bed.out(&format!("gate{round}"));
        let first = format!("shell:0:0:1:until [ -e {gate} ]; do sleep 0.01; done # {round}");
        bed.add([&first]);
        bed.wait_running(&first);
        bed.add([format!("shell:0:0:1:true # {round}")]);
        std::fs::write(&gate, "").expect("written");
        bed.wait_counts(SOON, [0, 0, 2 * (round + 1), 0]);
    }
}
