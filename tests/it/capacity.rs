//! What a node could give is what can be free there: a task that asks for more is explained, and stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use distcomp::host::Probe;
use distcomp::model::{Amounts, Bytes, FieldOrder, MilliCores, NodeSample, TaskId, TaskLine};
use distcomp::policy::{Budget, Capacity, Limits, Reservation, admission};
use distcomp::queue::session::{Claim, Settle, Settlement};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::{Connection, Session};
use serde_json::json;

use crate::queue_model::{Random, client, node, request, session};
use crate::support::{Bed, SOON};

const GIB: u64 = 1 << 30;

/// A task for a little less than the machine has in all, and more than is free.
fn nearly_all_of_this_machine() -> String {
    let total = Probe::new().expect("a probe").sample().total.mem();
    let mem = (total.as_gib() * 1000.0 - 1.0).floor() / 1000.0;
    format!("shell:{mem}:0:9:true")
}

#[test]
fn burst_ends_when_a_task_wants_more_than_can_be_free() {
    let bed = Bed::with(json!({"max_task_per_worker": 2}));
    let large = nearly_all_of_this_machine();
    bed.add([large.as_str(), "shell:0:0:1:true # 1", "shell:0:0:1:true # 2"]);
    let mut worker = bed.worker_with("w", json!({}), &["--burst"]);
    worker.wait_exit(SOON);
    assert_eq!(bed.counts(), [1, 0, 2, 0], "{}", worker.log());
    assert!(worker.log().contains("cannot run"), "{}", worker.log());
    let _live = bed.worker("v");
    bed.wait_alive("v");
    let explained = bed.status(&["explain", &large]).expect(0);
    for part in ["which no live worker can give", "the system and other programs hold the rest"] {
        assert!(explained.stdout.contains(part), "{}", explained.all());
    }
}

/// A node of the simulation: what it has, what others hold there, what runs.
struct Node {
    session: Session,
    capacity: Capacity,
    total: u64,
    others: u64,
    running: Vec<(Claim, TaskLine, Instant)>,
    reserved: Option<String>,
    given_up: BTreeMap<String, u32>,
    claims: u32,
}

const LIMITS: Limits = Limits { slots: 3, accept: Amounts::NONE.with_mem(Bytes(2 * GIB)), trigger: Bytes(GIB) };

fn parse(line: &str) -> TaskLine {
    TaskLine::parse(line, FieldOrder::MemCpuPrio).expect("a task line")
}

impl Node {
    fn free(&self) -> u64 {
        let used: u64 = self.running.iter().map(|(_, task, _)| task.demand().mem().0).sum();
        self.total.saturating_sub(self.others + used)
    }

    fn sample(&self) -> NodeSample {
        let total = Amounts::NONE.with_mem(Bytes(self.total)).with_cpu(MilliCores(4000));
        NodeSample { total, free: total.with_mem(Bytes(self.free())) }
    }

    /// Tasks share memory: half of what each holds is counted twice.
    fn budget(&self) -> Budget {
        Budget::of(self.running.iter().map(|(_, task, _)| Reservation {
            demand: *task.demand(),
            touched: Amounts::NONE.with_mem(Bytes(task.demand().mem().0 * 3 / 2)),
        }))
    }

    fn could_run(&self, task: &TaskLine) -> bool {
        let sample = self.sample();
        let empty = NodeSample { free: sample.free.with_mem(Bytes(self.total - self.others)), ..sample };
        admission::headroom(&LIMITS, &empty, &Budget::default()).is_ok_and(|room| room.holds(task.demand()))
    }

    async fn step(&mut self, now: Instant, random: &mut Random, done: &mut BTreeSet<String>) {
        let (over, still) = std::mem::take(&mut self.running).into_iter().partition(|(_, _, end)| *end <= now);
        self.running = still;
        for (claim, task, _) in over {
            let settle = Settle {
                line: claim.line.clone(),
                id: TaskId::of(&claim.line),
                token: claim.token,
                class: Some(task.class().clone()),
                record: None,
                settlement: Settlement::Finish { value: "w: \"\"".to_owned() },
            };
            self.session.settle(&[settle], 3, false).await.expect("settled");
            done.insert(claim.line.to_string());
        }
        let wanted = self.reserved.as_deref().map(parse);
        let (sample, budget) = (self.sample(), self.budget());
        if self.capacity.observe(now, &LIMITS, &sample, &budget, wanted.as_ref().map(TaskLine::demand)) {
            *self.given_up.entry(self.reserved.take().unwrap_or_default()).or_default() += 1;
        }
        let Ok(room) = admission::headroom(&LIMITS, &sample, &budget) else { return };
        self.claims += 1;
        let mut request = request(format!("t{}", self.claims), room.slots, room.amounts, 0);
        request.offer = self.capacity.offer(now);
        request.starve_after = Duration::ZERO;
        let reply = self.session.claim(&request).await.expect("claimed");
        self.reserved = reply.reserved;
        for claim in reply.claims {
            let task = parse(&claim.line);
            self.running.push((claim, task, now + Duration::from_secs(random.below(40))));
        }
    }
}

/// Small tasks, large ones, and some that no node could ever run although it has as much.
fn line(random: &mut Random, number: u64) -> String {
    let mem = match random.below(4) {
        0 => 12 + random.below(4),
        _ => random.below(6),
    };
    format!("shell:{mem}:{}:{}:true # {number}", random.below(5), random.below(3))
}

async fn simulate(seed: u64) {
    let mut random = Random(seed);
    let bed = Bed::new();
    let conn: Connection = client(&bed).connect().await.expect("connected");
    assert!(node().mem() < Bytes(16 * GIB));
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let others = 1 + random.below(4);
        nodes.push(Node {
            session: session(&conn, name).await,
            capacity: Capacity::default(),
            total: 16 * GIB,
            others: others * GIB,
            running: Vec::new(),
            reserved: None,
            given_up: BTreeMap::new(),
            claims: 0,
        });
    }
    let mut lines: Vec<String> = (0..60).map(|number| line(&mut random, number)).collect();
    // Each node has as much; on none is it ever free.
    lines.extend((0..3).map(|number| format!("shell:15.{}:1:{number}:true # too large", 5 + number)));
    let tasks: Vec<NewTask> = lines.iter().map(|line| NewTask::of(&parse(line))).collect();
    submit(&conn, &tasks, false).await.expect("submitted");
    let mut waiting: BTreeSet<String> =
        lines.iter().filter(|line| nodes.iter().any(|node| node.could_run(&parse(line)))).cloned().collect();
    assert!(waiting.len() < lines.len(), "seed {seed}: some fit nowhere, else this shows nothing");
    let (mut now, mut idle_since) = (Instant::now(), None);
    let start = now;
    while !waiting.is_empty() {
        now += Duration::from_millis(500 + random.below(4000));
        let mut done = BTreeSet::new();
        for node in &mut nodes {
            node.step(now, &mut random, &mut done).await;
        }
        waiting.retain(|line| !done.contains(line));
        let is_idle = nodes.iter().all(|node| node.running.is_empty());
        idle_since = if is_idle { idle_since.or(Some(now)) } else { None };
        let idle = idle_since.map_or(Duration::ZERO, |since| now - since);
        assert!(idle < Duration::from_secs(60), "seed {seed}: nothing runs, of what fits wait {waiting:?}");
        assert!(now - start < Duration::from_secs(7200), "seed {seed}: starved: {waiting:?}");
    }
    for node in &nodes {
        let most = node.given_up.values().max().copied().unwrap_or(0);
        assert!(most <= 1, "seed {seed}: room was kept again for what had been given up: {:?}", node.given_up);
    }
}

#[test]
fn something_runs_while_any_waiting_task_fits_a_live_node() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in 1..=4_u64 {
        runtime.block_on(simulate(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    }
}
