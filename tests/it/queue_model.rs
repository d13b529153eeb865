//! The queue against a model: random operations of several clients, foreign writers included, compared after each with what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distcomp::config::{Endpoint, Origin, RedisSettings};
use distcomp::model::{
    Amounts, Bytes, FieldOrder, Limit, MilliCores, Offer, Outcome, Room, Stocks, TaskId, TaskLine, Traits,
};
use distcomp::queue::control::{Change, change};
use distcomp::queue::edit::{Edited, Replacement, edit};
use distcomp::queue::index::IndexPass;
use distcomp::queue::limits;
use distcomp::queue::session::{
    AttachOptions, Claim, ClaimRequest, Heartbeat, MoreMemory, QueueState, Reasserted, Registration, Revoked, Settle,
    Settled, Settlement,
};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::take_over::{ReclaimReason, TakeOver, orphans};
use distcomp::queue::{Client, Connection, Layouts, Session};

use crate::support::{Bed, Redis, ServerOptions, acl_password};

pub(crate) const ORDER: FieldOrder = FieldOrder::MemCpuPrio;
const MAX_RETRY: u32 = 3;

/// A small generator: the same numbers for a seed in every run (Marsaglia's xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

pub(crate) fn client(bed: &Bed) -> Client {
    let endpoint = Endpoint::Unix { path: bed.redis.socket() };
    // One client plays worker, operator and reader at once: the administrator, where there are users.
    let login = bed.redis.has_users().then(|| ("admin".to_owned(), acl_password("admin").into()));
    let (user, password) = login.unzip();
    let settings =
        RedisSettings { endpoint, db: 0, user, password, tls: None, sentinel_login: None, origin: Origin::default() };
    Client::new(&settings, "", Duration::from_secs(10)).expect("a client")
}

pub(crate) fn registration(name: &str) -> Registration {
    Registration {
        instance: format!("instance-{name}"),
        host: "h".to_owned(),
        boot_id: "b".to_owned(),
        pid: 1,
        start_ticks: 1,
        version: String::new(),
        since: 0,
        containment: String::new(),
        layouts: Layouts::of_this_build(),
        dead_after_seconds: 0,
    }
}

pub(crate) async fn session(conn: &Connection, name: &str) -> Session {
    session_of(conn, name, "::").await
}

/// One whose node has these traits.
pub(crate) async fn session_of(conn: &Connection, name: &str, traits: &str) -> Session {
    let registration = registration(name);
    let name = name.parse().expect("a name");
    let traits = Arc::new(traits.parse().expect("traits"));
    let offer = Some(Offer { amounts: node() });
    let standing = AttachOptions { offer, traits: Arc::clone(&traits), ..AttachOptions::default() };
    let session = Session::attach(conn.clone(), name, &registration, None, standing).await.expect("attached");
    session.heartbeat(&Heartbeat { traits, ..beat(vec![]) }).await.expect("alive");
    session
}

pub(crate) fn beat(stopped: Vec<Revoked>) -> Heartbeat {
    Heartbeat {
        status: "0.00:8.00:0.00:8.00".to_owned(),
        load: "{}".to_owned(),
        offer: Some(Offer { amounts: node() }),
        traits: Arc::default(),
        started: vec![],
        stopped,
        suspect_after: 5,
    }
}

pub(crate) fn node() -> Amounts {
    Amounts::NONE.with_mem(Bytes(8 << 30)).with_cpu(MilliCores(8000))
}

pub(crate) fn request(token: String, slots: u32, headroom: Amounts, ahead: u32) -> ClaimRequest {
    ClaimRequest {
        token,
        room: Room { slots, amounts: headroom },
        prefetch: Room { slots: ahead, amounts: node() },
        offer: Some(Offer { amounts: node() }),
        traits: Arc::default(),
        free: Stocks::default(),
        prefer_wait: Duration::ZERO,
        dead_after: Duration::from_secs(3600),
        starve_after: Duration::from_secs(3600),
        wants_leftovers: false,
        wants_signatures: false,
        skip: Vec::new(),
    }
}

/// Where a line waits.
fn home(line: &str) -> &'static str {
    if parse(line).needs().is_extended() { "distcomp:waiting" } else { "todo_tasks" }
}

fn parse(line: &str) -> TaskLine {
    TaskLine::parse(line, ORDER).expect("a task line")
}

pub(crate) fn settle(claim: &Claim, settlement: Settlement) -> Settle {
    Settle {
        line: claim.line.clone(),
        id: TaskId::of(&claim.line),
        token: claim.token.clone(),
        class: Some(parse(&claim.line).class().clone()),
        record: None,
        settlement,
    }
}

fn forget_index(bed: &Bed) {
    for key in bed.keys().into_iter().filter(|key| key.starts_with("distcomp:ready:")) {
        let _: i64 = redis::cmd("DEL").arg(key).query(&mut bed.redis.con()).expect("deleted");
    }
}

fn number(bed: &Bed, key: &str) -> i64 {
    redis::cmd("GET").arg(key).query::<Option<i64>>(&mut bed.redis.con()).expect("read").unwrap_or(0)
}

async fn index_all(conn: &Connection) {
    for _ in 0..2 {
        let mut pass = IndexPass::new();
        while !pass.step(conn, ORDER).await.expect("a step").is_done {}
    }
}

/// What the queue must be, in memory.
#[derive(Default)]
struct Model {
    /// Line → rank among equals; `None` for one that a stranger wrote, which may stand anywhere among its equals.
    todo: BTreeMap<String, Option<u64>>,
    running: BTreeMap<String, (usize, Claim)>,
    finished: BTreeSet<String>,
    failed: BTreeMap<String, u32>,
    /// What was ordered for a line that runs, and has yet to be carried out.
    ordered: BTreeMap<String, Change>,
    /// What lines declare after kills for memory, in bytes. One that a stranger removes keeps its entry until records are reconciled.
    grown: BTreeMap<String, u64>,
    limits: BTreeMap<&'static str, Limit>,
    next: u64,
}

impl Model {
    /// A line with what it declares now.
    fn task(&self, line: &str) -> TaskLine {
        parse(line).declaring(self.grown.get(line).copied().map(Bytes))
    }

    /// An order is carried out: what ran is gone.
    fn carry_out(&mut self, line: &str) {
        self.running.remove(line);
        self.grown.remove(line);
        match self.ordered.remove(line) {
            Some(Change::Requeue) => {
                self.failed.remove(line);
                self.todo.insert(line.to_owned(), None);
            }
            Some(Change::Cancel) => drop(self.failed.insert(line.to_owned(), MAX_RETRY)),
            Some(Change::Purge) => drop(self.failed.remove(line)),
            None => panic!("nothing was ordered for {line}"),
        }
    }

    /// The lines in progress that count against a limit, each with its worker.
    fn counted(&self, limit: &str) -> BTreeMap<String, usize> {
        let counts = |line: &&String| parse(line).needs().limits().iter().any(|name| name.as_str() == limit);
        self.running
            .iter()
            .filter(|(line, _)| counts(line))
            .map(|(line, (worker, _))| (line.clone(), *worker))
            .collect()
    }

    /// Whether one more line of a limit may start on the node of a worker.
    fn has_unit(&self, limit: &str, worker: usize) -> bool {
        let Some(Limit { max, per_node }) = self.limits.get(limit) else { return true };
        let counted = self.counted(limit);
        let here = counted.values().filter(|at| **at == worker).count();
        counted.len() < *max as usize && per_node.is_none_or(|most| here < most as usize)
    }

    /// Every line that may be the next to be claimed within `headroom`, by this worker, of whose resources so much is free.
    fn best(&self, headroom: &Amounts, worker: usize, free: &Stocks) -> BTreeSet<String> {
        let traits: Traits = TRAITS[worker].parse().expect("traits");
        let fits = |line: &&String| {
            let task = self.task(line);
            headroom.holds(&task.demand().amounts)
                && traits.suits(task.needs(), 0).is_ok()
                && free.holds(task.needs().resources())
                && task.needs().limits().iter().all(|limit| self.has_unit(limit.as_str(), worker))
        };
        let top = self.todo.keys().filter(fits).map(|line| parse(line).prio()).max();
        let equals: Vec<_> =
            self.todo.iter().filter(|(line, _)| fits(line) && Some(parse(line).prio()) == top).collect();
        let first = equals.iter().filter_map(|(_, rank)| **rank).min();
        equals.into_iter().filter(|(_, rank)| rank.is_none() || **rank == first).map(|(line, _)| line.clone()).collect()
    }
}

/// Few demands, and many: close to each other, to what is free, and to powers of two.
fn line(random: &mut Random) -> String {
    let mem = match random.below(3) {
        0 => ["0", "0.5", "1", "2"][random.below(4) as usize].to_owned(),
        1 => format!("0.{:03}", 480 + random.below(40)),
        _ => format!("{}.{}", random.below(4), random.below(10)),
    };
    let cpu = match random.below(3) {
        0 => ["0", "1", "2.5"][random.below(3) as usize].to_owned(),
        1 => format!("0.{:03}", random.below(1000)),
        _ => format!("{}.{}", random.below(4), random.below(10)),
    };
    let needs = match random.below(14) {
        0 => ",gpus=1",
        1 => ",gpus=0.5",
        2 => ",gpus=2,constraint=ssd",
        3 => ",lic=1.5",
        4 => ",constraint=ssd|nvme",
        5 => ",constraint=!ssd,prefer=spot",
        6..9 => ",limit=disk",
        9 => ",limit=disk,limit=net",
        10 => ",gpus=0.5,limit=net",
        _ => "",
    };
    format!("shell{needs}:{mem}:{cpu}:{}:true # {}", random.below(5), random.below(60))
}

/// What each worker's node has: the first has everything that can be asked for but `spot`.
const TRAITS: [&str; 2] = ["gpus@1000/1000,lic=3000:host=a,ssd:", "lic=1000:host=b,spot:"];

/// A heartbeat of such a worker.
fn beat_of(worker: usize, stopped: Vec<Revoked>) -> Heartbeat {
    Heartbeat { traits: Arc::new(TRAITS[worker].parse().expect("traits")), ..beat(stopped) }
}

/// What is free of that.
fn free(random: &mut Random, worker: usize) -> Stocks {
    let of_a_device = |random: &mut Random| [0, 500, 1000, 1000][random.below(4) as usize];
    let text = match worker {
        0 => format!("gpus@{}/{},lic={}", of_a_device(random), of_a_device(random), random.below(4) * 1000),
        _ => format!("lic={}", random.below(2) * 1000),
    };
    text.parse().expect("stocks")
}

/// Clients of one queue, and the model beside it.
struct Run {
    random: Random,
    bed: Bed,
    conn: Connection,
    workers: [Session; 2],
    model: Model,
    calls: u32,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let bed = Bed::new();
        let conn = client(&bed).connect().await.expect("connected");
        let workers = [session_of(&conn, "a", TRAITS[0]).await, session_of(&conn, "b", TRAITS[1]).await];
        Self { random: Random(seed), bed, conn, workers, model: Model::default(), calls: 0 }
    }

    async fn submit(&mut self, at: &str) {
        let lines: Vec<String> = (0..self.random.below(6)).map(|_| line(&mut self.random)).collect();
        let tasks: Vec<NewTask> = lines.iter().map(|line| NewTask::of(&parse(line))).collect();
        let done = submit(&self.conn, &tasks, false).await.expect("submitted");
        let mut added = 0;
        for line in lines {
            self.model.next += 1;
            let is_new = !self.model.todo.contains_key(&line)
                && !self.model.running.contains_key(&line)
                && !self.model.finished.contains(&line)
                && !self.model.failed.contains_key(&line);
            if is_new {
                self.model.todo.insert(line, Some(self.model.next));
                added += 1;
            } else if self.model.ordered.get(&line) == Some(&Change::Purge) {
                // It would be nowhere in a moment.
                self.model.ordered.insert(line, Change::Requeue);
                added += 1;
            }
        }
        assert_eq!(done.added, added, "{at}");
    }

    /// A stranger adds, and another removes.
    async fn write_behind(&mut self) {
        let new = line(&mut self.random);
        if !self.model.running.contains_key(&new)
            && !self.model.finished.contains(&new)
            && !self.model.failed.contains_key(&new)
        {
            // A line with needs that a stranger puts among the plain ones moves to its place.
            self.bed.hset("todo_tasks", &new, "");
            self.model.todo.entry(new).or_insert(None);
        }
        let gone = self.model.todo.keys().nth(self.random.below(60) as usize).cloned();
        if let Some(gone) = gone {
            self.bed.hdel(home(&gone), &gone);
            self.bed.hdel("todo_tasks", &gone);
            self.model.todo.remove(&gone);
            self.model.failed.remove(&gone);
            self.bed.hdel("failed_tasks", &gone);
        }
        index_all(&self.conn).await;
    }

    async fn rebuild_index(&mut self) {
        forget_index(&self.bed);
        index_all(&self.conn).await;
        for rank in self.model.todo.values_mut() {
            *rank = None;
        }
    }

    /// What lines declare after kills for memory is lost: they declare what they say.
    async fn lose_grown(&mut self) {
        let _: i64 = redis::cmd("DEL").arg("distcomp:grown").query(&mut self.bed.redis.con()).expect("deleted");
        self.model.grown.clear();
        self.rebuild_index().await;
    }

    async fn claim(&mut self, at: &str) {
        let worker = self.random.below(2) as usize;
        let headroom = Amounts::NONE
            .with_mem(Bytes(self.random.below(40) << 26))
            .with_cpu(MilliCores(self.random.below(40) * 100));
        self.calls += 1;
        let (traits, free) = (TRAITS[worker].parse::<Traits>().expect("traits"), free(&mut self.random, worker));
        let asked = request(format!("t{}", self.calls), 1, headroom, 0);
        let asked = ClaimRequest { traits: Arc::new(traits.clone()), free: free.clone(), ..asked };
        let reply = self.workers[worker].claim(&asked).await.expect("claimed");
        assert_eq!(reply.state, QueueState::Open, "{at}");
        // What this worker failed is left to the other for a while.
        let mut allowed = self.model.best(&headroom, worker, &free);
        let (running, limits) = (self.model.running.clone(), self.model.limits.clone());
        let (todo, grown) = (self.model.todo.clone(), self.model.grown.clone());
        let mut rest = Model { todo, grown, running, limits, ..Model::default() };
        while !allowed.is_empty() && allowed.iter().all(|line| self.model.failed.contains_key(line)) {
            for line in &allowed {
                rest.todo.remove(line);
            }
            let more = rest.best(&headroom, worker, &free);
            if more.is_empty() {
                break;
            }
            allowed.extend(more);
        }
        match reply.claims.first() {
            Some(claim) => {
                let line = claim.line.to_string();
                assert!(allowed.contains(&line), "{at}: {line} was claimed, allowed were {allowed:?}");
                assert_eq!(claim.mem, Some(self.model.task(&line).demand().mem()), "{at}: what {line} declares");
                self.model.todo.remove(&line);
                self.model.running.insert(line, (worker, claim.clone()));
            }
            None => assert!(
                allowed.iter().all(|line| self.model.failed.contains_key(line)),
                "{at}: nothing was claimed of {allowed:?}"
            ),
        }
    }

    /// Refused with a stale token and from another worker; recorded from the one that has the claim.
    async fn settle(&mut self, at: &str) {
        let Some(line) = self.model.running.keys().nth(self.random.below(8) as usize).cloned() else { return };
        let (worker, claim) = self.model.running[&line].clone();
        let declared = self.model.task(&line).demand().mem();
        let wanted = Bytes(declared.0 * 2);
        let more_memory = (self.random.below(2) == 0).then_some(MoreMemory { wanted, node: None });
        let settlement = match self.random.below(3) {
            0 => Settlement::Finish { value: "a: \"\"".to_owned() },
            1 => Settlement::Return,
            _ => Settlement::Fail {
                outcome: Outcome::Exit(1),
                reason: "\"exit 1\"".to_owned(),
                delay: Duration::ZERO,
                is_final: false,
                more_memory,
            },
        };
        let entry = settle(&claim, settlement.clone());
        let stale = Settle { token: "stale".to_owned(), ..entry.clone() };
        let refused = self.workers[worker].settle(&[stale], MAX_RETRY, false).await.expect("answered");
        assert_eq!(refused, [Settled::Lost], "{at}: a stale token cannot settle");
        let other =
            self.workers[1 - worker].settle(std::slice::from_ref(&entry), MAX_RETRY, false).await.expect("answered");
        assert_eq!(other, [Settled::Lost], "{at}: another worker cannot settle");
        let done = self.workers[worker].settle(&[entry], MAX_RETRY, false).await.expect("settled");
        if self.model.ordered.contains_key(&line) {
            assert_eq!(done, [Settled::Ordered], "{at}: nothing of what was ordered away is recorded");
            return self.model.carry_out(&line);
        }
        self.model.running.remove(&line);
        match settlement {
            Settlement::Finish { .. } => {
                assert_eq!(done, [Settled::Recorded], "{at}");
                self.model.failed.remove(&line);
                self.model.grown.remove(&line);
                self.model.finished.insert(line);
            }
            Settlement::Return => {
                self.model.todo.insert(line, None);
            }
            Settlement::Fail { .. } => {
                let failures = self.model.failed.entry(line.clone()).or_insert(0);
                *failures += 1;
                if *failures < MAX_RETRY {
                    if more_memory.is_some() && wanted > declared {
                        assert_eq!(done, [Settled::WillRetryLarger], "{at}");
                        self.model.grown.insert(line.clone(), wanted.0);
                    } else {
                        assert_eq!(done, [Settled::WillRetry], "{at}");
                    }
                    self.model.todo.insert(line, None);
                } else {
                    assert_eq!(done, [Settled::OutOfRetries], "{at}");
                    self.model.grown.remove(&line);
                }
            }
        }
    }
}

/// Orders and what becomes of them.
impl Run {
    /// A line becomes another one: it waits in its place, or stays as it is. Told twice, it is done once.
    async fn edit(&mut self, at: &str) {
        let all: Vec<String> = self.model.todo.keys().chain(self.model.running.keys()).cloned().collect();
        let Some(old) = all.get(self.random.below(all.len().max(1) as u64) as usize).cloned() else { return };
        let new = match self.random.below(3) {
            0 => line(&mut self.random),
            _ => {
                // The same at another priority.
                let fields: Vec<&str> = old.splitn(5, ':').collect();
                let prio = self.random.below(5).to_string();
                [fields[0], fields[1], fields[2], &prio, fields[4]].join(":")
            }
        };
        if new == old {
            return;
        }
        let is_there = |line: &String| {
            let model = &self.model;
            model.todo.contains_key(line)
                || model.running.contains_key(line)
                || model.finished.contains(line)
                || model.failed.contains_key(line)
        };
        let expected = match (self.model.todo.contains_key(&old), is_there(&new)) {
            (false, _) => Edited::Gone,
            (true, true) => Edited::Taken,
            (true, false) => Edited::Done,
        };
        let replacement = Replacement { old: parse(&old), new: parse(&new), signature: None };
        for _ in 0..=self.random.below(2) {
            let done = edit(&self.conn, std::slice::from_ref(&replacement)).await.expect("edited");
            assert_eq!(done, [expected], "{at}: {old} to {new}");
        }
        if expected == Edited::Done {
            let rank = self.model.todo.remove(&old).expect("it waits");
            self.model.todo.insert(new.clone(), rank);
            if let Some(failures) = self.model.failed.remove(&old) {
                self.model.failed.insert(new, failures);
            }
        }
    }

    /// An operator sets a limit, or lifts it.
    async fn limit(&mut self) {
        let name = ["disk", "net"][self.random.below(2) as usize];
        let text = ["0", "1", "3", "2/1", "none"][self.random.below(5) as usize];
        let limit = text.parse().ok();
        limits::set(&self.conn, &name.parse().expect("a name"), limit, "ann").await.expect("set");
        match limit {
            Some(limit) => drop(self.model.limits.insert(name, limit)),
            None => drop(self.model.limits.remove(name)),
        }
    }

    /// A running task is ordered away, or the order changed: it stays in progress.
    async fn order(&mut self, at: &str) {
        let Some(line) = self.model.running.keys().nth(self.random.below(8) as usize).cloned() else { return };
        let op = [Change::Requeue, Change::Cancel, Change::Purge][self.random.below(3) as usize];
        let by = "operator".parse().expect("a name");
        let lines = [line.clone()];
        let changed = change(&self.conn, op, None, &lines, ORDER, &by).await.expect("ordered");
        let is_too_late = self.model.ordered.get(&line) == Some(&Change::Purge) && op != Change::Purge;
        assert_eq!(changed.stopping, u64::from(!is_too_late), "{at}: {op:?} of {line}");
        assert_eq!((changed.changed, changed.freed), (changed.stopping, 0), "{at}");
        if !is_too_late {
            self.model.ordered.insert(line, op);
        }
    }

    /// A worker says that it has stopped what it was told to; what it says of another claim moves nothing.
    async fn obey(&mut self, at: &str) {
        let worker = self.random.below(2) as usize;
        let told = self.workers[worker].heartbeat(&beat_of(worker, vec![])).await.expect("answered").revoked;
        let ordered: BTreeSet<&String> = self.model.ordered.keys().collect();
        let mine: BTreeSet<&String> =
            ordered.into_iter().filter(|line| self.model.running[*line].0 == worker).collect();
        assert_eq!(told.iter().map(|order| &order.line).collect::<BTreeSet<_>>(), mine, "{at}");
        let stale = told.iter().map(|order| Revoked { token: "stale".to_owned(), ..order.clone() }).collect();
        let still = self.workers[worker].heartbeat(&beat_of(worker, stale)).await.expect("answered").revoked;
        assert_eq!(still.len(), told.len(), "{at}: what is said of another claim moves nothing");
        let some: Vec<Revoked> = told.into_iter().filter(|_| self.random.below(2) == 0).collect();
        for _ in 0..2 {
            self.workers[worker].heartbeat(&beat_of(worker, some.clone())).await.expect("answered");
        }
        some.iter().for_each(|order| self.model.carry_out(&order.line));
    }

    /// A worker is declared dead with all it has, and comes back: what was ordered is done, all else waits again, and no outcome of before counts.
    async fn die(&mut self, at: &str) {
        let worker = self.random.below(2) as usize;
        let name = self.workers[worker].worker().clone();
        let lines = orphans(&self.conn, &name, ORDER).await.expect("its lines");
        // An edited line keeps its losses, and no line is to be given up for them here.
        let (reason, max_lost) = (ReclaimReason::Operator, 1000);
        TakeOver { conn: &self.conn, worker: &name, reason, max_lost }.lines(&lines).await.expect("taken over");
        self.workers[worker] = session_of(&self.conn, name.as_str(), TRAITS[worker]).await;
        // What it had are suspects, which wait to run apart: suspects.rs looks at those.
        for key in ["distcomp:apart", "distcomp:apart:by"] {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.bed.redis.con()).expect("deleted");
        }
        self.rebuild_index().await;
        for orphan in lines {
            let (_, claim) = self.model.running[&orphan.line].clone();
            let Some(op) = self.model.ordered.get(&orphan.line).copied() else {
                self.model.running.remove(&orphan.line);
                self.model.todo.insert(orphan.line, None);
                continue;
            };
            self.model.carry_out(&orphan.line);
            let late = settle(&claim, Settlement::Finish { value: "a: \"\"".to_owned() });
            let done = self.workers[worker].settle(&[late], MAX_RETRY, false).await.expect("answered");
            assert_eq!(done, [Settled::Gone], "{at}: a late result after {op:?}");
            let (demand, claim_token) = (parse(&claim.line).class().clone(), claim.token.clone());
            let ours = self.workers[worker].reassert(&[(claim, demand)], false).await.expect("answered");
            assert_eq!(ours, [Reasserted::NotOurs], "{at}: an attempt that was ordered away does not go on");
            // What counts against a limit is to be stopped first.
            let stopped = Revoked { line: orphan.line, token: claim_token };
            self.workers[worker].heartbeat(&beat_of(worker, vec![stopped])).await.expect("answered");
        }
    }
}

async fn run(seed: u64) {
    let mut run = Run::new(seed).await;
    for step in 0..150 {
        let op = run.random.below(20);
        let at = format!("seed {seed}, step {step}, operation {op}");
        match op {
            0..3 => run.submit(&at).await,
            3 => run.write_behind().await,
            4 if run.random.below(4) == 0 => run.rebuild_index().await,
            5 if run.random.below(4) == 0 => run.lose_grown().await,
            4..8 => run.claim(&at).await,
            8..11 => run.settle(&at).await,
            11..13 => run.order(&at).await,
            13..15 => run.obey(&at).await,
            15 if run.random.below(4) == 0 => run.die(&at).await,
            16 => run.limit().await,
            17.. => run.edit(&at).await,
            _ => {}
        }
        check(&run.bed, &run.model, &at);
    }
    drain(&run.bed, &run.conn, &run.workers, &mut run.model, seed).await;
}

/// The six hashes are what the model says, and the index counts what waits.
fn check(bed: &Bed, model: &Model, at: &str) {
    let keys = |name: &str| bed.table(name).into_keys().collect::<BTreeSet<String>>();
    for key in ["todo_tasks", "distcomp:waiting"] {
        let mine = model.todo.keys().filter(|line| home(line) == key).cloned().collect();
        assert_eq!(keys(key), mine, "{at}: {key}");
    }
    assert_eq!(keys("in_progress_tasks"), model.running.keys().cloned().collect(), "{at}");
    assert_eq!(keys("finished_tasks"), model.finished, "{at}");
    assert_eq!(keys("failed_tasks"), model.failed.keys().cloned().collect(), "{at}");
    ordered_by_end(bed, model, at);
    let goes_on = |line: &&String| model.todo.contains_key(*line) || model.running.contains_key(*line);
    let retrying = model.failed.keys().filter(goes_on).cloned().collect();
    assert_eq!(keys("distcomp:failures:retrying"), retrying, "{at}: what has failed and goes on");
    let grown = model.grown.iter().map(|(line, bytes)| (line.clone(), bytes.to_string())).collect();
    assert_eq!(bed.table("distcomp:grown"), grown, "{at}: what lines declare");
    assert_eq!(keys("distcomp:marks"), model.ordered.keys().cloned().collect(), "{at}");
    let mut places = BTreeMap::new();
    for name in ["disk", "net"] {
        let counted = model.counted(name);
        let set: BTreeSet<String> = redis::cmd("SMEMBERS")
            .arg(format!("distcomp:limits:in:{name}"))
            .query(&mut bed.redis.con())
            .expect("a set");
        assert_eq!(set, counted.keys().cloned().collect(), "{at}: what counts against {name}");
        places.extend(counted.into_iter().map(|(line, worker)| (line, ["a\ta", "b\tb"][worker].to_owned())));
    }
    assert_eq!(
        bed.table("distcomp:limits:at").into_iter().collect::<BTreeMap<_, _>>(),
        places,
        "{at}: where it counts"
    );
    assert_eq!(number(bed, "distcomp:ready:count"), model.todo.len() as i64, "{at}: the index counts what waits");
}

/// The sets of failures are the table of their groups, and the stream of what finished names all that has.
fn ordered_by_end(bed: &Bed, model: &Model, at: &str) {
    let mut grouped = BTreeMap::new();
    for group in bed.table("distcomp:failures:groups").into_keys() {
        let lines: Vec<String> = redis::cmd("ZRANGE")
            .arg(format!("distcomp:failures:of:{group}"))
            .arg(0)
            .arg(-1)
            .query(&mut bed.redis.con())
            .expect("a sorted set");
        grouped.extend(lines.into_iter().map(|line| (line, group.clone())));
    }
    let kinds = bed.table("distcomp:failures:kinds").into_iter().collect::<BTreeMap<_, _>>();
    assert_eq!(grouped, kinds, "{at}: the lines of each group of failures");
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("distcomp:ended").arg("-").arg("+").query(&mut bed.redis.con()).expect("a stream");
    let ended: BTreeSet<String> = entries.into_iter().flat_map(|(_, lines)| lines).collect();
    assert!(model.finished.is_subset(&ended), "{at}: {:?} are not among {ended:?}", model.finished);
}

/// Nothing starves: with room for everything, all that waits is claimed, best first.
async fn drain(bed: &Bed, conn: &Connection, workers: &[Session; 2], model: &mut Model, seed: u64) {
    index_all(conn).await;
    for name in std::mem::take(&mut model.limits).into_keys() {
        limits::set(conn, &name.parse().expect("a name"), None, "ann").await.expect("lifted");
    }
    for (number, worker) in workers.iter().enumerate() {
        let all = Amounts::NONE.with_mem(Bytes(u64::MAX >> 11)).with_cpu(MilliCores(1 << 30));
        let plenty = "lic=9000000".to_owned()
            + &format!(",gpus@{}:host={},{}:", ["1000"; 200].join("/"), ["a", "b"][number], ["ssd", "spot"][number]);
        let traits: Traits = plenty.parse().expect("traits");
        let asked = request(format!("end{number}"), 100, all, 0);
        let free = traits.stocks.clone();
        let asked = ClaimRequest { traits: Arc::new(traits), free, ..asked };
        let reply = worker.claim(&asked).await.expect("claimed");
        let priorities: Vec<u16> = reply.claims.iter().map(|claim| parse(&claim.line).prio()).collect();
        assert!(priorities.is_sorted_by(|a, b| a >= b), "seed {seed}: {priorities:?}");
        for claim in reply.claims {
            model.todo.remove(&*claim.line);
            model.running.insert(claim.line.to_string(), (number, claim));
        }
    }
    check(bed, model, &format!("seed {seed}, at the end"));
    assert!(model.todo.is_empty(), "seed {seed}: starved: {:?}", model.todo);
}

#[test]
fn the_queue_agrees_with_a_model_under_random_operations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in 1..=12_u64 {
        runtime.block_on(run(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    }
}

/// Claims and hands back until Redis has no more: answers how many came.
async fn claim_all(worker: &Session, mut settlement: impl FnMut(&Claim) -> Option<Settle>) -> usize {
    let mut count = 0;
    // A call moves a few dozen of those whose time has come; it is asked again as a worker asks that is told so.
    for turn in 0..4000 {
        let reply = worker.claim(&request(format!("t{turn}.{count}"), 200, Amounts::NONE, 0)).await.expect("claimed");
        count += reply.claims.len();
        let batch: Vec<Settle> = reply.claims.iter().filter_map(&mut settlement).collect();
        for part in batch.chunks(64) {
            worker.settle(part, MAX_RETRY, false).await.expect("settled");
        }
        if reply.claims.is_empty() && reply.next_timer.is_none_or(|wait| wait > Duration::ZERO) {
            break;
        }
    }
    count
}

async fn very_many_retries() {
    const MANY: usize = 12_000;
    const HOUR: i64 = 3600;
    let bed = Bed::on(Redis::start(ServerOptions { clock: true, ..Default::default() }), serde_json::json!({}));
    let conn = client(&bed).connect().await.expect("connected");
    conn.load_scripts().await.expect("loaded");
    let worker = session(&conn, "a").await;
    let tasks: Vec<NewTask> = (0..MANY).map(|at| NewTask::of(&parse(&format!("shell:0:0:1:{at}")))).collect();
    for batch in tasks.chunks(250) {
        submit(&conn, batch, false).await.expect("submitted");
    }
    let fail = |claim: &Claim| {
        let (outcome, reason) = (Outcome::Exit(1), "\"exit 1\"".to_owned());
        Some(settle(
            claim,
            Settlement::Fail { outcome, reason, delay: Duration::from_secs(50), is_final: false, more_memory: None },
        ))
    };
    assert_eq!(claim_all(&worker, fail).await, MANY, "each failed once, and waits for its time");
    bed.redis.clock().set(-HOUR);
    assert_eq!(claim_all(&worker, |_| None).await, 0, "its time has not come");
    // As if a minute had passed since.
    bed.redis.clock().set(60 - HOUR);
    assert_eq!(claim_all(&worker, |_| None).await, MANY, "none waits an hour longer");
}

#[test]
fn many_retries_keep_their_delay_when_server_clock_goes_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(very_many_retries());
}

async fn a_repeated_settlement_after_a_requeue() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    let worker = session(&conn, "a").await;
    let line = "shell:0:0:1:true";
    submit(&conn, &[NewTask::of(&parse(line))], false).await.expect("submitted");
    let reply = worker.claim(&request("t".to_owned(), 1, node(), 0)).await.expect("claimed");
    let by = "operator".parse().expect("a name");
    change(&conn, Change::Requeue, None, &[line.to_owned()], ORDER, &by).await.expect("ordered");
    let entry = settle(&reply.claims[0], Settlement::Finish { value: "a: \"\"".to_owned() });
    for expected in [Settled::Ordered, Settled::Gone] {
        let done = worker.settle(std::slice::from_ref(&entry), MAX_RETRY, false).await.expect("answered");
        assert_eq!(done, [expected]);
        assert_eq!(bed.counts(), [1, 0, 0, 0], "it runs again");
    }
}

#[test]
fn settlement_repeated_after_a_requeue_records_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(a_repeated_settlement_after_a_requeue());
}
