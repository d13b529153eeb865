//! A task that kills its worker is found and fails, whatever runs beside it, and nothing else fails for it.

use std::time::{Duration, Instant};

use distcomp::model::{AttemptRecord, Offer, Outcome, TaskId, TaskLine};
use distcomp::queue::session::{Claim, Heartbeat, Settle, Settlement};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::take_over::{Orphan, ReclaimReason, TakeOver, orphans};
use distcomp::queue::{Connection, Session};
use serde_json::json;

use crate::queue_model::{ORDER, client, node, request, session};
use crate::support::{Bed, Worker, lines_of, reason_of, unique_sleep};

/// What kills the worker of this name and says so; the brackets keep it from finding its own shell.
fn killer(bed: &Bed, name: &str, before: &str) -> String {
    let (first, rest) = name.split_at(1);
    let runs = bed.out("killer");
    format!("shell:0:0:1:{before} echo ran >> {runs}; pkill -9 -f -- '--name [{first}]{rest} '; sleep 600")
}

/// Starts the worker again whenever it has died, as a supervisor does, until nothing waits or runs; says how often.
fn supervise(bed: &Bed, name: &str, all: usize) -> usize {
    let (mut worker, mut restarts): (Worker, usize) = (bed.worker(name), 0);
    let start = Instant::now();
    while bed.counts()[2] + bed.counts()[3] < all || bed.counts()[0] + bed.counts()[1] > 0 {
        let log = worker.log();
        assert!(start.elapsed() < Duration::from_secs(200), "{:?} after {restarts} restarts\n{log}", bed.counts());
        assert!(restarts < 30, "{:?} after {restarts} restarts\n{log}", bed.counts());
        std::thread::sleep(Duration::from_millis(50));
        if !worker.is_running() {
            restarts += 1;
            worker = bed.worker(name);
        }
    }
    restarts
}

fn name() -> String {
    format!("w{}", unique_sleep().to_string().replace('.', ""))
}

#[test]
fn task_that_kills_its_worker_fails_and_twenty_others_finish() {
    let bed = Bed::with(json!({"max_task_per_worker": 6, "max_lost_per_task": 3}));
    let name = name();
    let guilty = killer(&bed, &name, "");
    let others: Vec<String> = (0..20).map(|at| format!("shell:0:0:1:sleep 0.05; echo {at}")).collect();
    bed.add(others[..3].iter().chain([&guilty]).chain(&others[3..]));
    let restarts = supervise(&bed, &name, 21);
    assert_eq!(bed.counts(), [0, 0, 20, 1], "{:?}", bed.table("task_fail_reason"));
    let reason = reason_of(&bed, &guilty);
    assert!(reason.starts_with("worker lost 3 times while running this task"), "{reason}");
    let runs = lines_of(bed.out("killer")).len();
    assert!((3..=4).contains(&runs), "it ran {runs} times in {restarts} restarts");
    assert_eq!(bed.count("distcomp:apart"), 0, "nobody is a suspect any more");
}

#[test]
fn two_late_killers_among_long_tasks_fail_and_nothing_else_does() {
    let bed = Bed::with(json!({"max_task_per_worker": 8, "max_lost_per_task": 3}));
    let name = name();
    let guilty = [killer(&bed, &name, "sleep 0.5;"), killer(&bed, &name, "sleep 0.6;")];
    let others: Vec<String> = (0..4).map(|at| format!("shell:0:0:1:sleep 4; echo {at}")).collect();
    bed.add(others[..2].iter().chain(&guilty).chain(&others[2..]));
    let restarts = supervise(&bed, &name, 6);
    assert_eq!(bed.counts(), [0, 0, 4, 2], "after {restarts}: {:?}", bed.table("task_fail_reason"));
    for line in &guilty {
        assert!(reason_of(&bed, line).starts_with("worker lost"), "{}", reason_of(&bed, line));
    }
}

/// Some tasks, claimed by one worker whose start of them a heartbeat has told.
struct Lost {
    bed: Bed,
    conn: Connection,
    lines: Vec<String>,
}

async fn beat(worker: &Session, started: &[Claim]) {
    let beat = Heartbeat {
        traits: Default::default(),
        status: "0.00:8.00:0.00:8.00".to_owned(),
        load: r#"{"running":0,"slots":64}"#.to_owned(),
        offer: Some(Offer { amounts: node() }),
        started: started.iter().map(|claim| claim.line.clone()).collect(),
        stopped: vec![],
        suspect_after: 5,
    };
    worker.heartbeat(&beat).await.expect("alive");
}

async fn claim(worker: &Session, token: &str, slots: u32) -> (Vec<Claim>, Option<Duration>) {
    let reply = worker.claim(&request(token.to_owned(), slots, node(), 0)).await.expect("claimed");
    (reply.claims, reply.next_timer)
}

async fn reclaim(conn: &Connection, worker: &Session, max_lost: u32) {
    loop {
        let lines: Vec<Orphan> = orphans(conn, worker.worker(), ORDER).await.expect("read");
        if lines.is_empty() {
            return;
        }
        TakeOver { conn, worker: worker.worker(), reason: ReclaimReason::Operator, max_lost }
            .lines(&lines)
            .await
            .expect("reclaimed");
    }
}

async fn add(conn: &Connection, lines: &[String]) {
    let tasks: Vec<NewTask> =
        lines.iter().map(|line| NewTask::of(&TaskLine::parse(line, ORDER).expect("a task line"))).collect();
    submit(conn, &tasks, false).await.expect("submitted");
}

async fn finish(worker: &Session, claim: &Claim) {
    let entry = Settle {
        line: claim.line.clone(),
        id: TaskId::of(&claim.line),
        token: claim.token.clone(),
        class: Some(TaskLine::parse(&claim.line, ORDER).expect("a task line").class().clone()),
        record: Some(AttemptRecord::bare(claim.attempt, worker.worker().clone(), 1, Outcome::Exit(0))),
        settlement: Settlement::Finish { value: "w: \"\"".to_owned() },
    };
    worker.settle(&[entry], 3, false).await.expect("settled");
}

impl Lost {
    /// Claimed `hours` ago by a worker that was lost since.
    async fn new(count: usize, hours: u64, max_lost: u32) -> Self {
        let bed = Bed::new();
        let conn = client(&bed).connect().await.expect("connected");
        let lines: Vec<String> = (0..count).map(|at| format!("shell:0:0:1:true # {at}")).collect();
        add(&conn, &lines).await;
        let dead = session(&conn, "dead").await;
        let (claims, _) = claim(&dead, "t1", u32::try_from(count).expect("few")).await;
        assert_eq!(claims.len(), count);
        beat(&dead, &claims).await;
        for (line, value) in bed.table("distcomp:claims:dead") {
            let (head, at) = value.rsplit_once('|').expect("when it was claimed");
            let at = at.parse::<u64>().expect("a number") - hours * 3_600_000;
            bed.hset("distcomp:claims:dead", line, format!("{head}|{at}"));
        }
        reclaim(&conn, &dead, max_lost).await;
        Self { bed, conn, lines }
    }
}

#[tokio::test]
async fn suspects_run_one_at_a_time_for_a_bounded_time() {
    let lost = Lost::new(64, 3, 2).await;
    assert_eq!(lost.bed.count("distcomp:apart"), 64);
    let worker = session(&lost.conn, "a").await;
    let (first, wait) = claim(&worker, "a1", 64).await;
    assert_eq!(first.len(), 1);
    assert!(wait.is_some_and(|wait| wait <= Duration::from_secs(10)), "{wait:?}");
    assert_eq!(claim(&worker, "a2", 63).await.0.len(), 0, "nothing starts beside it");
    lost.bed.status(&["explain", &first[0].line]).expect(0).prints_line(
        "its worker was lost while it ran: it runs apart; a starts no other task until it has run longer than it had when the worker was lost",
    );
    // It has outlived that time.
    let by = format!("1|1|{}", first[0].line);
    lost.bed.hset("distcomp:apart:by", "a", by);
    beat(&worker, &first).await;
    let (second, _) = claim(&worker, "a3", 63).await;
    assert_eq!(second.len(), 1, "the next one, beside one that is none any more");
    assert_eq!(lost.bed.count("distcomp:apart"), 63);
    finish(&worker, &second[0]).await;
    assert_eq!(lost.bed.count("distcomp:apart"), 62, "who has finished is none");
}

#[tokio::test]
async fn losses_of_several_together_fail_nobody_and_one_alone_does() {
    let lost = Lost::new(3, 0, 2).await;
    for round in 0..3 {
        // All that a worker held beside each other, three times over.
        for line in &lost.lines {
            lost.bed.hdel("distcomp:apart", line);
            lost.bed.hdel("distcomp:ready:held", line);
        }
        for key in lost.bed.keys().into_iter().filter(|key| key.starts_with("distcomp:ready:")) {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut lost.bed.redis.con()).expect("deleted");
        }
        let mut pass = distcomp::queue::index::IndexPass::new();
        while !pass.step(&lost.conn, ORDER).await.expect("a step").is_done {}
        let worker = session(&lost.conn, &format!("w{round}")).await;
        assert_eq!(claim(&worker, "t", 3).await.0.len(), 3);
        reclaim(&lost.conn, &worker, 2).await;
        assert_eq!(lost.bed.counts(), [3, 0, 0, 0]);
    }
    let worker = session(&lost.conn, "alone").await;
    assert_eq!(claim(&worker, "t", 3).await.0.len(), 1);
    reclaim(&lost.conn, &worker, 2).await;
    assert_eq!(lost.bed.counts(), [2, 0, 0, 1]);
    assert_eq!(lost.bed.count("distcomp:apart"), 2);
}

#[tokio::test]
async fn one_worker_makes_room_for_suspects_and_the_others_go_on() {
    let lost = Lost::new(2, 0, 2).await;
    let mut busy = Vec::new();
    for name in ["a", "b"] {
        let worker = session(&lost.conn, name).await;
        add(&lost.conn, &[format!("shell:0:0:9:true # {name}")]).await;
        assert_eq!(claim(&worker, "t1", 1).await.0.len(), 1);
        busy.push(worker);
    }
    let others: Vec<String> = (0..4).map(|at| format!("shell:0:0:0:true # {at}")).collect();
    add(&lost.conn, &others).await;
    assert_eq!(claim(&busy[0], "t2", 8).await.0.len(), 0, "this one waits until what runs there is known");
    let (taken, _) = claim(&busy[1], "t2", 8).await;
    assert_eq!(taken.len(), 4, "the other one takes what is no suspect");
    assert!(taken.iter().all(|claim| others.contains(&claim.line.to_string())));
    let running = busy[0].claims().await.expect("read");
    beat(&busy[0], &running).await;
    assert_eq!(claim(&busy[0], "t3", 8).await.0.len(), 1);
}

#[tokio::test]
async fn tasks_of_a_lost_node_restart_at_once_before_last_loss() {
    let lost = Lost::new(64, 3, 3).await;
    let (worker, other) = (session(&lost.conn, "a").await, session(&lost.conn, "b").await);
    let ahead = worker.claim(&request("a1".to_owned(), 8, node(), 8)).await.expect("claimed").claims;
    assert_eq!(ahead.len(), 8, "none is claimed ahead of a slot: its next loss is to be counted");
    assert_eq!(claim(&other, "b1", 64).await.0.len(), 56);
    let shown = lost.bed.status(&["show", &lost.lines[0]]).expect(0);
    assert!(!shown.all().contains("suspect"), "{shown}");
    reclaim(&lost.conn, &worker, 3).await;
    assert_eq!(claim(&other, "b2", 64).await.0.len(), 0, "of these the next loss may be the last");
    assert_eq!(lost.bed.counts(), [8, 56, 0, 0]);
    assert_eq!(claim(&session(&lost.conn, "c").await, "c1", 64).await.0.len(), 1, "one at a time");
}

#[tokio::test]
async fn purge_and_requeue_end_the_suspicion() {
    let lost = Lost::new(3, 0, 3).await;
    lost.bed.ctl(&["purge", &lost.lines[0], "--yes"]).expect(0);
    lost.bed.ctl(&["cancel", &lost.lines[1], "--yes"]).expect(0);
    assert_eq!(lost.bed.count("distcomp:apart"), 1);
    lost.bed.ctl(&["requeue", &lost.lines[1], "--yes"]).expect(0);
    lost.bed.hdel("todo_tasks", &lost.lines[2]);
    let worker = session(&lost.conn, "a").await;
    assert_eq!(claim(&worker, "t1", 8).await.0.len(), 1, "the one that was requeued");
    assert_eq!(lost.bed.count("distcomp:apart"), 0, "what somebody took away is forgotten");
}
