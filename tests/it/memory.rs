//! More memory after a kill for want of it: what the next attempt declares, where that counts, and when it is forgotten.

use distcomp::model::learnt::Peaks;
use distcomp::model::{Amounts, AttemptRecord, Bytes, MilliCores, Outcome, WorkerName};
use distcomp::queue::control::{Change, change};
use distcomp::queue::index::IndexPass;
use distcomp::queue::session::{Claim, ClaimRequest, MoreMemory, Settle, Settled, Settlement};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::{Connection, Session, learnt};
use serde_json::{Value, json};

use crate::queue_model::{ORDER, Random, client, request, session, session_of, settle};
use crate::support::{Bed, SOON, free_port, holds_for, reason_of, result_of, try_request, wait_until};

const GROWN: &str = "distcomp:grown";

fn gb(text: &str) -> Bytes {
    Bytes::parse_gib(text).expect("a number")
}

/// Writes to this much memory, in MiB, and says so.
fn hog(mib: u32) -> String {
    format!("python3 -c 'x = bytearray({mib} << 20); print(\"had it\")'")
}

/// A bed where limits are enforced; `None` where this machine gives us no cgroup for it.
fn enforcing(changes: Value) -> Option<Bed> {
    let mut bed = Bed::with(json!({"enforce_memory": true, "max_retry_per_task": 4}));
    bed.configure(changes);
    let checked = bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    let here =
        checked.lines().any(|line| line.starts_with("containment") && line.contains("memory and process limits"));
    if !here {
        eprintln!("no cgroup to limit memory here: {checked}");
    }
    here.then_some(bed)
}

/// What each attempt of a task declared, in bytes; `None` where that is what its line says.
fn declared(bed: &Bed, line: &str) -> Vec<Option<u64>> {
    let shown = bed.status(&["show", "--json", line]).expect(0).json();
    let attempts = shown["attempts"].as_array().cloned().unwrap_or_default();
    attempts.iter().map(|attempt| attempt["declared_memory_bytes"].as_u64()).collect()
}

#[test]
fn killed_task_declares_more_until_it_fits() {
    let Some(bed) = enforcing(json!({})) else { return };
    let line = format!("shell:0.1:0:3:{}", hog(358));
    bed.add([&line]);
    let at = format!("127.0.0.1:{}", free_port());
    let _worker = bed.worker_with("w", json!({}), &["--metrics-listen", &at]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert_eq!(declared(&bed, &line), [None, Some(gb("0.2").0), Some(gb("0.4").0)]);
    assert_eq!(bed.count(GROWN), 0, "what has ended declares nothing");
    let page = bed.status(&["show", &line]).expect(0).all();
    for said in ["declared 0.10 GB", "declared 0.20 GB", "declared 0.40 GB"] {
        assert!(page.contains(said), "{said}:\n{page}");
    }
    let events = bed.status(&["events", "--limit", "0"]).expect(0).all();
    for said in ["\"next_mem_gb\":0.2", "\"next_mem_gb\":0.4"] {
        assert!(events.contains(said), "{said}:\n{events}");
    }
    let metrics = try_request(&at, "GET", "/metrics", &[("Host", &at)], b"", SOON).expect("answered").body;
    assert!(metrics.contains("distcomp_worker_memory_retries_total{worker=\"w\"} 2"), "{metrics}");
}

#[test]
fn kill_that_the_command_hides_is_a_failure_too() {
    let Some(bed) = enforcing(json!({})) else { return };
    let [pipe, goes_on] =
        [format!("shell:0.1:0:3:{} | cat", hog(160)), format!("shell:0.1:0:3:{}; echo and on", hog(160))];
    bed.add([&pipe, &goes_on]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    for (line, text) in [(&pipe, "had it"), (&goes_on, "had it\nand on")] {
        assert_eq!(declared(&bed, line), [None, Some(gb("0.2").0)]);
        assert_eq!(result_of(&bed.table("finished_tasks"), line).1, text);
    }
    let events = bed.status(&["events", "--limit", "0"]).expect(0).all();
    assert!(events.contains("\"kind\":\"signal 9 (SIGKILL)\""), "{events}");
}

#[test]
fn guess_that_was_far_too_low_grows_fast() {
    let Some(bed) = enforcing(json!({})) else { return };
    let line = format!("shell,learn=mixed:0:0:1:{}", hog(300));
    bed.add((0..6).map(|at| format!("shell,learn=mixed:0:0:9:true # {at}")));
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 6, 0]);
    bed.add([&line]);
    bed.wait_counts(SOON, [0, 0, 7, 0]);
    let declared = declared(&bed, &line);
    assert!((2..=3).contains(&declared.len()), "{declared:?}");
}

#[test]
fn factor_of_one_and_the_bound_switch_growth_off() {
    let Some(bed) = enforcing(json!({"max_retry_per_task": 2, "retry_memory_max_gb": 0.15})) else { return };
    let line = format!("shell:0.1:0:3:{}", hog(400));
    bed.add([&line]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert_eq!(declared(&bed, &line), [None, Some(gb("0.15").0)]);
    let events = bed.status(&["events", "--limit", "0"]).expect(0).all();
    assert!(events.contains("\"next_mem_gb\":0.15"), "{events}");
    let reason = reason_of(&bed, &line);
    assert!(reason.contains("the 0.15 GB that it declares") && !reason.contains("next attempt"), "{reason}");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
    let other = "shell:0.1:0:3:python3 -c 'import sys; sys.stderr.write(\"x\" * 3000); x = bytearray(400 << 20)'";
    bed.add([other]);
    let _again = bed.worker_with("w", json!({"retry_memory_factor": 1}), &[]);
    bed.wait_counts(SOON, [0, 0, 0, 2]);
    assert_eq!(declared(&bed, other), [None, None]);
    let reason = reason_of(&bed, other);
    assert!(reason.contains("out of memory (oom)") && reason.ends_with("Killed"), "a long stderr hides it: {reason}");
}

/// Scripts against Redis, without a worker.
struct Queue {
    bed: Bed,
    conn: Connection,
    worker: Session,
    calls: u32,
}

impl Queue {
    async fn new() -> Self {
        let bed = Bed::new();
        let conn = client(&bed).connect().await.expect("connected");
        let worker = session(&conn, "a").await;
        Self { bed, conn, worker, calls: 0 }
    }

    async fn submit(&self, line: &str) {
        let task = distcomp::model::TaskLine::parse(line, ORDER).expect("a task line");
        submit(&self.conn, &[NewTask::of(&task)], false).await.expect("submitted");
    }

    async fn claim(&mut self, room: Bytes) -> Option<Claim> {
        self.calls += 1;
        let room = Amounts::NONE.with_mem(room).with_cpu(MilliCores(8000));
        let asked: ClaimRequest = request(format!("t{}", self.calls), 1, room, 0);
        self.worker.claim(&asked).await.expect("claimed").claims.pop()
    }

    /// Claims up to so many for room of 8 GB, and so many ahead.
    async fn claims(&mut self, slots: u32, ahead: u32) -> Vec<Claim> {
        self.calls += 1;
        let room = Amounts::NONE.with_mem(gb("8")).with_cpu(MilliCores(8000));
        self.worker.claim(&request(format!("t{}", self.calls), slots, room, ahead)).await.expect("claimed").claims
    }

    /// A task finishes with this peak.
    async fn finish(&self, claim: &Claim, peak: Bytes) -> Settle {
        let bare = AttemptRecord::bare(claim.attempt, "a".parse().expect("a name"), 1, Outcome::Exit(0));
        let record = AttemptRecord { peak_bytes: Some(peak.0), token: claim.token.clone(), ..bare };
        let entry =
            Settle { record: Some(record), ..settle(claim, Settlement::Finish { value: "a: \"\"".to_owned() }) };
        let done = self.worker.settle(std::slice::from_ref(&entry), 9, false).await.expect("settled");
        assert_eq!(done, [Settled::Recorded]);
        entry
    }

    async fn fail(&self, claim: &Claim, more_memory: Option<MoreMemory>) -> (Settle, Settled) {
        let (outcome, reason) = (Outcome::Signal(9), "\"signal 9 (SIGKILL)\\u0001: Killed\"".to_owned());
        let settlement =
            Settlement::Fail { outcome, reason, delay: std::time::Duration::ZERO, is_final: false, more_memory };
        let entry = settle(claim, settlement);
        let done = self.worker.settle(std::slice::from_ref(&entry), 9, false).await.expect("settled");
        (entry, done[0])
    }

    fn grown(&self, line: &str) -> Option<Bytes> {
        self.bed.table(GROWN).get(line).map(|bytes| Bytes(bytes.parse().expect("a number")))
    }

    async fn index(&self) {
        for _ in 0..2 {
            let mut pass = IndexPass::new();
            while !pass.step(&self.conn, ORDER).await.expect("a step").is_done {}
        }
    }

    fn forget(&self, prefix: &str) {
        for key in self.bed.keys().into_iter().filter(|key| key.starts_with(prefix)) {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.bed.redis.con()).expect("deleted");
        }
    }
}

fn block_on(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run);
}

const LINE: &str = "shell:1:0:3:x";

fn to(gib: &str) -> Option<MoreMemory> {
    Some(MoreMemory { wanted: gb(gib), node: None })
}

#[test]
fn what_is_declared_now_decides_claim_and_lane() {
    block_on(async {
        let mut queue = Queue::new().await;
        queue.submit(LINE).await;
        let claim = queue.claim(gb("1")).await.expect("it fits");
        assert_eq!(claim.mem, Some(gb("1")));
        let (entry, done) = queue.fail(&claim, to("2")).await;
        assert_eq!((done, queue.grown(LINE)), (Settled::WillRetryLarger, Some(gb("2"))));
        let reason = reason_of(&queue.bed, LINE);
        assert_eq!(reason, "signal 9 (SIGKILL); the next attempt declares 2.00 GB: Killed");
        let again = queue.worker.settle(&[entry], 9, false).await.expect("answered");
        assert!(matches!(again[0], Settled::Gone | Settled::Duplicate), "{again:?}");
        assert_eq!(queue.grown(LINE), Some(gb("2")), "a repeated call does not grow it again");
        assert!(queue.claim(gb("1.9")).await.is_none(), "it is larger now");
        // The index is made anew, and comes to the same lane.
        queue.forget("distcomp:ready:");
        queue.index().await;
        assert!(queue.claim(gb("1.9")).await.is_none());
        let claim = queue.claim(gb("2")).await.expect("it fits");
        assert_eq!((claim.attempt, claim.mem), (2, Some(gb("2"))));
        let finished = settle(&claim, Settlement::Finish { value: "a: \"\"".to_owned() });
        let done = queue.worker.settle(&[finished], 9, false).await.expect("settled");
        assert_eq!(done, [Settled::Recorded]);
        assert_eq!(queue.grown(LINE), None);
    });
}

#[test]
fn lost_figure_only_declares_less() {
    block_on(async {
        let mut queue = Queue::new().await;
        queue.submit(LINE).await;
        let claim = queue.claim(gb("1")).await.expect("it fits");
        queue.fail(&claim, to("4")).await;
        queue.forget(GROWN);
        // The index still has it by what it declared, and a pass adds it where its line puts it.
        queue.index().await;
        let claim = queue.claim(gb("8")).await.expect("it waits");
        assert!(queue.claim(gb("8")).await.is_none(), "in two lanes it is claimed once");
        assert_eq!(queue.bed.counts(), [0, 1, 0, 1]);
        let done = queue.fail(&claim, to("2")).await.1;
        assert_eq!(done, Settled::WillRetryLarger);
        // Server restarted with neither: as if nothing had been.
        queue.forget(GROWN);
        queue.forget("distcomp:ready:");
        queue.index().await;
        assert_eq!(queue.claim(gb("1")).await.expect("it fits").mem, Some(gb("1")));
    });
}

#[test]
fn no_more_is_declared_than_the_largest_fitting_node_has() {
    block_on(async {
        let mut queue = Queue::new().await;
        let _large = session_of(&queue.conn, "large", ":big:").await;
        queue.bed.hset("distcomp:capacity", "large", format!("{}:8000::big:", gb("61.7").0));
        let on_big = "shell,constraint=!big:1:0:2:y";
        queue.submit(LINE).await;
        queue.submit(on_big).await;
        let wanted = |node: &str| Some(MoreMemory { wanted: gb("100"), node: Some(gb(node)) });
        let claim = queue.claim(gb("8")).await.expect("it fits");
        queue.fail(&claim, wanted("4")).await;
        assert_eq!(queue.grown(LINE), Some(Bytes(61 << 30)), "rounded down");
        let claim = queue.claim(gb("8")).await.expect("the other");
        queue.fail(&claim, wanted("4")).await;
        assert_eq!(queue.grown(on_big), Some(Bytes(8 << 30)), "the large node is not for it");
        let claim = queue.claim(gb("8")).await.expect("the other again");
        assert_eq!(queue.fail(&claim, wanted("4")).await.1, Settled::WillRetry, "no more than now");
    });
}

#[test]
fn orders_forget_what_a_task_declares() {
    block_on(async {
        let mut queue = Queue::new().await;
        let by: WorkerName = "ann".parse().expect("a name");
        for op in [Change::Requeue, Change::Cancel, Change::Purge] {
            let line = format!("shell:1:0:3:{op:?}");
            queue.submit(&line).await;
            let claim = queue.claim(gb("8")).await.expect("it fits");
            assert_eq!(*claim.line, *line);
            queue.fail(&claim, to("4")).await;
            let changed =
                change(&queue.conn, op, None, std::slice::from_ref(&line), ORDER, &by).await.expect("changed");
            assert_eq!((changed.changed, queue.grown(&line)), (1, None), "{op:?}");
            let claim = queue.claim(gb("1")).await;
            assert_eq!(claim.is_some(), op == Change::Requeue, "{op:?}: at its own figure, or not at all");
            if let Some(claim) = claim {
                let value = "a: \"\"".to_owned();
                queue.worker.settle(&[settle(&claim, Settlement::Finish { value })], 9, false).await.expect("settled");
            }
        }
        let count: Option<i64> =
            redis::cmd("GET").arg("distcomp:ready:count").query(&mut queue.bed.redis.con()).expect("read");
        assert_eq!(count, Some(0), "no lane keeps a line that waits no more");
    });
}

#[test]
fn reclaimed_task_declares_what_it_did() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1, "health_report_interval": 0.2}));
    let line = "shell:0.1:0:3:sleep 60";
    bed.add([line]);
    bed.hset(GROWN, line, gb("0.3").0.to_string());
    let mut first = bed.worker("w");
    bed.wait_counts(SOON, [0, 1, 0, 0]);
    let said = bed.status(&["explain", line]).expect(0).all();
    assert!(said.contains("declares 0.30 GB") && said.contains("its line says 0.10 GB"), "{said}");
    first.kill9();
    let _second = bed.worker("v");
    wait_until("its second attempt", SOON * 2, || {
        let table = bed.table("in_progress_tasks");
        holds_for(table.get(line).is_some_and(|worker| worker == "v"), format!("{table:?}"))
    });
    assert_eq!(bed.table(GROWN).get(line), Some(&gb("0.3").0.to_string()));
    assert_eq!(declared(&bed, line), [Some(gb("0.3").0)], "the lost attempt declared it");
}

const LEARNT: &str = "distcomp:learnt";

#[test]
fn unknown_family_runs_one_at_a_time_until_five_finished() {
    block_on(async {
        let mut queue = Queue::new().await;
        let other = session(&queue.conn, "b").await;
        for number in 0..20 {
            queue.submit(&format!("shell,learn=sim:0:0:3:./sim {number}")).await;
        }
        for peak in ["1.0", "1.1", "1.2", "1.3"] {
            let claims = queue.claims(4, 4).await;
            assert_eq!((claims.len(), claims[0].mem), (1, Some(Bytes::ZERO)));
            assert!(queue.claims(4, 4).await.is_empty(), "one at a time, and none ahead");
            queue.finish(&claims[0], gb(peak)).await;
        }
        let room = Amounts::NONE.with_mem(gb("8")).with_cpu(MilliCores(8000));
        let theirs = other.claim(&request("b1".to_owned(), 4, room, 4)).await.expect("claimed").claims;
        let ours = queue.claims(4, 4).await;
        assert_eq!((theirs.len(), ours.len()), (1, 1), "one on each node");
        let entry = queue.finish(&ours[0], gb("1.0")).await;
        let again = queue.worker.settle(&[entry], 9, false).await.expect("answered");
        assert_eq!(again, [Settled::Duplicate]);
        let families = learnt::families(&queue.conn).await.expect("read");
        assert_eq!((families[0].name.as_str(), families[0].peaks.tasks), ("sim", 5), "a repeated call adds nothing");
        let known = families[0].peaks.suggested().expect("five have finished");
        assert_eq!(known, gb("1.6"), "1.3 and a fifth more");
        let claims = queue.claims(8, 0).await;
        assert_eq!(claims.len(), 4, "as many as 8 GB hold: five are some bytes more");
        assert!(claims.iter().all(|claim| claim.mem == Some(known)));
        // A kill for memory outranks what is learnt.
        queue.fail(&claims[0], to("5")).await;
        for claim in &claims[1..] {
            queue.finish(claim, gb("1")).await;
        }
        queue.forget(LEARNT);
        let claim = queue.claim(gb("4")).await.expect("another, of which nothing is known");
        assert_eq!(claim.mem, Some(Bytes::ZERO));
        let theirs = other.claim(&request("b2".to_owned(), 4, room, 4)).await.expect("claimed").claims;
        let grown: Vec<_> = theirs.iter().map(|claim| (claim.attempt, claim.mem)).collect();
        assert_eq!(grown, [(2, Some(gb("5")))], "one of the family runs there, and this one is known");
    });
}

#[test]
fn claims_and_the_table_come_to_the_same_figure() {
    block_on(async {
        let mut queue = Queue::new().await;
        let mut random = Random(7);
        for family in 0..12 {
            for number in 0..30 {
                queue.submit(&format!("shell:0:0:3:./f{family} {number}")).await;
            }
            for claim in queue.claims(30, 0).await {
                queue
                    .finish(&claim, Bytes(1 << 18 << random.below(12 + family)).max(Bytes(random.below(1 << 31))))
                    .await;
            }
            queue.submit(&format!("shell,learn=f{family}:0:0:9:./f{family}")).await;
            let claim = queue.claims(1, 0).await.pop();
            let text = queue.bed.table(LEARNT)[&format!("f{family}")].clone();
            let suggested = Peaks::parse(&text).as_ref().and_then(Peaks::suggested);
            let fits = suggested.is_some_and(|mem| mem <= gb("8"));
            assert_eq!(claim.as_ref().and_then(|claim| claim.mem), suggested.filter(|_| fits), "{text}");
            let waits = queue.bed.table("distcomp:waiting").into_keys();
            for line in waits {
                queue.bed.hdel("distcomp:waiting", &line);
            }
        }
    });
}

#[test]
fn families_are_bounded_and_the_batch_is_the_family() {
    block_on(async {
        let mut queue = Queue::new().await;
        for number in 0..1000 {
            queue.bed.hset(LEARNT, format!("old{number}"), "7 1 1 0:7");
        }
        queue.submit("shell:2:0:3:./new a").await;
        let claim = queue.claim(gb("8")).await.expect("it fits");
        queue.finish(&claim, gb("1")).await;
        let table = queue.bed.table(LEARNT);
        assert_eq!(table.len(), 1000);
        assert_eq!(table["new"], format!("1 {} {} 30:1", 1 << 30, 2_u64 << 30));
    });
    let bed = Bed::new();
    bed.submit(&["--name", "s1/prep", "-m", "auto", "--", "true", "{}", ":::", "1", "2"], "").expect(0);
    bed.submit(&["-m", "auto:mine", "--", "true", "3"], "").expect(0);
    let own = "shell,learn=mine:0:1:0:true 3";
    assert!(bed.table("distcomp:waiting").contains_key("shell,learn=s1.prep:0:1:0:true 1"));
    let said = bed.status(&["explain", own]).expect(0).all();
    assert!(said.contains("learns how much memory tasks of mine use: 0 of 5 have finished"), "{said}");
    bed.add(["shell:0.5:0:1:true 4"]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    let shown = bed.status(&["learnt"]).expect(0).all();
    for family in ["s1.prep", "mine", "true"] {
        assert!(shown.lines().any(|line| line.split_whitespace().next() == Some(family)), "{family}:\n{shown}");
    }
    let json = bed.status(&["learnt", "--json"]).expect(0).all();
    assert!(json.contains("\"family\":\"s1.prep\"") && json.contains("\"tasks\":2"), "{json}");
}
