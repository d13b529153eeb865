//! Batches and gates against a model: random submissions, claims, ends, orders, foreign hands and lost keys. No task starts before its gates are open (I9),
//! and counters equal their members (I10), after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distcomp::model::{BatchHold, BatchName, Belonging, FairShare, Outcome, TaskLine};
use distcomp::queue::batch_forget::{Forgotten, forget};
use distcomp::queue::batches::{self, BatchChange, Recount};
use distcomp::queue::control::{Change, change};
use distcomp::queue::edit::{Edited, Replacement, edit};
use distcomp::queue::index::IndexPass;
use distcomp::queue::reconcile::{ReconcileScan, mend, subjects};
use distcomp::queue::session::{Claim, Revoked, Settled, Settlement};
use distcomp::queue::submit::{NewTask, submit_in};
use distcomp::queue::take_over::{ReclaimReason, TakeOver, orphans};
use distcomp::queue::{Connection, Session, share};

use crate::queue_model::{ORDER, Random, beat, client, node, request, session, settle};
use crate::support::Bed;

const MAX_RETRY: u32 = 2;
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];
const SUBMISSIONS: [&str; 2] = ["first", "second"];

fn parse(line: &str) -> TaskLine {
    TaskLine::parse(line, ORDER).expect("a task line")
}

fn name(text: &str) -> BatchName {
    text.parse().expect("a name")
}

/// Every level of a name.
fn levels(text: &str) -> Vec<String> {
    name(text).levels().map(String::from).collect()
}

fn home(line: &str) -> &'static str {
    if parse(line).needs().is_extended() { "distcomp:waiting" } else { "todo_tasks" }
}

/// A line of few: what it waits for is part of it.
fn line(random: &mut Random) -> String {
    let number = random.below(48);
    let gates = match number % 8 {
        0 => ",after=a",
        1 => ",after=a/x,after=b",
        2 => ",afterany=b/x",
        3 => ",after=c,afterany=a",
        4 => ",after=nowhere",
        _ => "",
    };
    format!("shell{gates}:0:0:{}:true # {number}", number % 3)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    flag: char,
    names: Vec<String>,
}

#[derive(Default)]
struct Model {
    waiting: BTreeSet<String>,
    running: BTreeMap<String, Claim>,
    finished: BTreeSet<String>,
    /// Line → failures.
    failed: BTreeMap<String, u32>,
    members: BTreeMap<String, Membership>,
    ordered: BTreeMap<String, Change>,
    /// Names that were ever added to, or declared.
    known: BTreeSet<String>,
    /// Batches that a submission was ever begun to.
    recorded: BTreeSet<String>,
    /// Submissions under way.
    submissions: BTreeSet<(String, &'static str)>,
    waived: BTreeSet<String>,
    held: BTreeSet<String>,
    /// Whether the cores are shared among batches.
    is_shared: bool,
    /// Line in progress that is counted → the batch that it was counted for.
    used: BTreeMap<String, String>,
}

impl Model {
    fn flip(&mut self, line: &str, flag: char) {
        if let Some(member) = self.members.get_mut(line) {
            member.flag = flag;
        }
    }

    fn join(&mut self, line: &str, flag: char, name: &str) {
        let member = self.members.entry(line.to_owned()).or_insert_with(|| Membership { flag, names: Vec::new() });
        if !member.names.iter().any(|known| known == name) {
            member.names.push(name.to_owned());
        }
        member.flag = flag;
        self.known.extend(levels(name));
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = char> + 'a {
        let name = self::name(name);
        let is_of = move |member: &&Membership| member.names.iter().any(|one| self::name(one).is_within(&name));
        self.members.values().filter(is_of).map(|member| member.flag)
    }

    fn is_open(&self, gate: &str, is_any: bool) -> bool {
        let name = self::name(gate);
        if self.waived.contains(gate) {
            return true;
        }
        let top = name.top();
        self.known.contains(gate)
            && self.of(gate).all(|flag| flag != 'o')
            && (is_any || self.of(gate).all(|flag| flag == 'd'))
            && !self.submissions.iter().any(|(of, _)| of == top.as_str())
    }

    fn may_run(&self, line: &str) -> bool {
        use distcomp::model::Gate;
        parse(line).needs().gates().iter().all(|gate| match gate {
            Gate::After(name) => self.is_open(name.as_str(), false),
            Gate::AfterAny(name) => self.is_open(name.as_str(), true),
            Gate::Begin(_) => true,
        })
    }

    fn is_held(&self, line: &str) -> bool {
        self.members.get(line).is_some_and(|member| self.held.contains(name(&member.names[0]).top().as_str()))
    }

    /// The batch that decides the place of a line among its equals; empty for none.
    fn batch_of(&self, line: &str) -> String {
        self.members.get(line).map(|member| name(&member.names[0]).top().to_string()).unwrap_or_default()
    }

    /// How much of its share the owner of a line uses: a task of no cores counts as a thousandth, and `a` may use twice as much as others.
    fn standing(&self, line: &str) -> f64 {
        let batch = self.batch_of(line);
        let used =
            self.used.iter().filter(|(running, of)| self.running.contains_key(*running) && **of == batch).count();
        used as f64 / if batch == "a" { 2.0 } else { 1.0 }
    }

    fn forget(&mut self, of: &BatchName) {
        let into = of.as_str().rsplit_once('/').map(|(into, _)| into.to_owned());
        for member in self.members.values_mut() {
            let mut names: Vec<String> = Vec::new();
            for one in member.names.drain(..) {
                let to = if name(&one).is_within(of) { into.clone() } else { Some(one) };
                names.extend(to.filter(|to| !names.contains(to)));
            }
            member.names = names;
        }
        self.members.retain(|_, member| !member.names.is_empty());
        for names in [&mut self.known, &mut self.recorded, &mut self.held, &mut self.waived] {
            names.retain(|one| !name(one).is_within(of));
        }
    }

    fn requeued(&mut self, line: &str) {
        self.finished.remove(line);
        self.failed.remove(line);
        self.waiting.insert(line.to_owned());
        self.flip(line, 'o');
    }

    fn carry_out(&mut self, line: &str) {
        self.running.remove(line);
        let order = self.ordered.remove(line).expect("ordered");
        self.apply(order, line);
    }

    fn apply(&mut self, order: Change, line: &str) {
        match order {
            Change::Requeue => self.requeued(line),
            Change::Cancel => {
                self.waiting.remove(line);
                self.failed.entry(line.to_owned()).or_insert(0);
                self.flip(line, 'x');
            }
            Change::Purge => {
                self.waiting.remove(line);
                self.finished.remove(line);
                self.failed.remove(line);
                match self.members.get(line).map(|member| member.flag) {
                    Some('d') => drop(self.members.remove(line)),
                    Some(_) => self.flip(line, 'g'),
                    None => {}
                }
            }
        }
    }
}

struct Run {
    random: Random,
    bed: Bed,
    conn: Connection,
    worker: Session,
    model: Model,
    calls: u32,
    at: String,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let bed = Bed::new();
        let conn = client(&bed).connect().await.expect("connected");
        conn.load_scripts().await.expect("loaded");
        let worker = session(&conn, "w").await;
        let (random, model) = (Random(seed), Model::default());
        Self { random, bed, conn, worker, model, calls: 0, at: String::new() }
    }

    fn pick<T: Clone>(&mut self, from: impl Iterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.collect();
        if all.is_empty() { None } else { Some(all[self.random.below(all.len() as u64) as usize].clone()) }
    }

    async fn begin(&mut self) {
        let batch = ["a", "b", "c"][self.random.below(3) as usize];
        let id = SUBMISSIONS[self.random.below(2) as usize];
        for _ in 0..=self.random.below(2) {
            batches::begin(&self.conn, id, &name(batch), Option::unwrap_or_default).await.expect("begun");
        }
        self.model.known.insert(batch.to_owned());
        self.model.recorded.insert(batch.to_owned());
        self.model.submissions.insert((batch.to_owned(), id));
    }

    async fn end(&mut self) {
        let under_way = self.model.submissions.clone();
        let Some((batch, id)) = self.pick(under_way.into_iter()) else { return };
        for _ in 0..=self.random.below(2) {
            batches::end(&self.conn, id, &[name(&batch)]).await.expect("ended");
        }
        self.model.submissions.remove(&(batch, id));
    }

    async fn submit(&mut self) {
        let to = NAMES[self.random.below(NAMES.len() as u64) as usize];
        let is_named = self.random.below(6) > 0;
        let rerun = self.random.below(4) == 0;
        let lines: BTreeSet<String> = (0..=self.random.below(5)).map(|_| line(&mut self.random)).collect();
        let belonging = is_named.then(|| Belonging::new(name(to), &["t".to_owned()]));
        let task = |line: &String| {
            let mut task = NewTask::of(&parse(line));
            task.join(belonging.clone());
            task
        };
        let tasks: Vec<NewTask> = lines.iter().map(task).collect();
        for _ in 0..=self.random.below(2) {
            submit_in(&self.conn, &tasks, rerun, None, None).await.expect("submitted");
            for line in &lines {
                let model = &mut self.model;
                let flag = if model.running.contains_key(line) {
                    match model.ordered.get(line) {
                        Some(Change::Purge) => drop(model.ordered.insert(line.clone(), Change::Requeue)),
                        Some(Change::Cancel) if rerun => drop(model.ordered.insert(line.clone(), Change::Requeue)),
                        _ => {}
                    }
                    'o'
                } else if model.waiting.contains(line) {
                    'o'
                } else if !rerun && model.finished.contains(line) {
                    'd'
                } else if !rerun && model.failed.contains_key(line) {
                    'x'
                } else {
                    model.requeued(line);
                    'o'
                };
                if is_named {
                    model.join(line, flag, to);
                }
            }
        }
        if !self.model.held.is_empty() {
            self.release().await;
        }
    }

    async fn claim(&mut self, most: u32) -> usize {
        if self.model.is_shared {
            // What may run stands in its lane: gates are emptied in the order of submission.
            self.release().await;
        }
        self.calls += 1;
        let asked = request(format!("t{}", self.calls), most, node(), 0);
        let reply = self.worker.claim(&asked).await.expect("claimed");
        let held_before: BTreeSet<String> = self.model.waiting.clone();
        for claim in &reply.claims {
            let line = claim.line.to_string();
            assert!(held_before.contains(&line), "{}: {line} was claimed and did not wait", self.at);
            assert!(self.model.may_run(&line), "{}: {line} was claimed behind a closed gate", self.at);
            assert!(!self.model.is_held(&line), "{}: {line} of a held batch was claimed", self.at);
            let first = self.model.members.get(&line).map(|member| member.names[0].clone());
            assert_eq!(claim.batch.as_deref(), first.as_deref(), "{}: {line}", self.at);
            assert_eq!(claim.upstream.is_some(), line.contains("after"), "{}: {line}", self.at);
        }
        // Backed off, avoided and unreleased ones aside, nothing better is left: only where all may run at once.
        let least = reply.claims.iter().map(|claim| parse(&claim.line).prio()).min();
        let claimed: BTreeSet<String> = reply.claims.iter().map(|claim| claim.line.to_string()).collect();
        for line in held_before.difference(&claimed) {
            let is_ready =
                self.model.may_run(line) && !self.model.is_held(line) && !self.model.failed.contains_key(line);
            if is_ready && let Some(least) = least {
                assert!(
                    parse(line).prio() <= least,
                    "{}: {line} was passed over for {claimed:?}: {}",
                    self.at,
                    self.dump()
                );
            }
        }
        for claim in reply.claims.iter().cloned() {
            let line = claim.line.to_string();
            self.model.waiting.remove(&line);
            if self.model.is_shared {
                self.check_share(&line);
                self.model.used.insert(line.clone(), self.model.batch_of(&line));
            }
            self.model.running.insert(line, claim);
        }
        reply.claims.len()
    }

    /// Of its equals that may run, none has an owner that uses less. What failed before may be left to others for a while.
    fn check_share(&self, line: &str) {
        let model = &self.model;
        if model.failed.contains_key(line) {
            return;
        }
        let standing = model.standing(line);
        for other in model.waiting.iter().filter(|other| parse(other).prio() == parse(line).prio()) {
            let is_ready = model.may_run(other) && !model.is_held(other) && !model.failed.contains_key(other);
            let (at, dump) = (&self.at, || self.dump());
            assert!(!is_ready || model.standing(other) >= standing, "{at}: {line} came before {other}: {}", dump());
        }
    }

    async fn share(&mut self) {
        let is_on = !self.model.is_shared;
        share::set(&self.conn, is_on.then_some(FairShare::Batch), ORDER, "ann").await.expect("set");
        share::set_weight(&self.conn, "a", "2".parse().expect("a weight"), "ann").await.expect("set");
        self.model.is_shared = is_on;
        self.count_used();
    }

    /// All that is in progress is counted anew.
    fn count_used(&mut self) {
        let model = &mut self.model;
        model.used = if model.is_shared {
            model.running.keys().map(|line| (line.clone(), model.batch_of(line))).collect()
        } else {
            BTreeMap::new()
        };
    }

    /// What is in the index and the counters, for whoever looks at a failure.
    fn dump(&self) -> String {
        let script = "local out = {} for _, key in ipairs(redis.call('KEYS', 'distcomp:*')) do
            local kind, values = redis.call('TYPE', key).ok, nil
            if kind == 'zset' then values = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') elseif kind == 'hash' then values = redis.call('HGETALL', key)
            elseif kind == 'set' then values = redis.call('SMEMBERS', key) elseif kind == 'string' then values = { redis.call('GET', key) } else values = {} end
            out[#out + 1] = key .. ' ' .. table.concat(values, ' | ') end return table.concat(out, string.char(10))";
        redis::cmd("EVAL").arg(script).arg(0).query(&mut self.bed.redis.con()).expect("read")
    }

    async fn settle(&mut self) {
        let running: Vec<Claim> = self.model.running.values().cloned().collect();
        let Some(claim) = self.pick(running.into_iter()) else { return };
        let line = claim.line.to_string();
        let settlement = match self.random.below(6) {
            0..3 => Settlement::Finish { value: "w: \"\"".to_owned() },
            3 => Settlement::Return,
            kind => Settlement::Fail {
                outcome: Outcome::Exit(1),
                reason: "\"exit 1\"".to_owned(),
                delay: Duration::ZERO,
                is_final: kind == 4,
                more_memory: None,
            },
        };
        let entry = settle(&claim, settlement.clone());
        let done = self.worker.settle(std::slice::from_ref(&entry), MAX_RETRY, false).await.expect("settled");
        if self.random.below(2) == 0 {
            self.worker.settle(&[entry], MAX_RETRY, false).await.expect("settled again");
        }
        if self.model.ordered.contains_key(&line) {
            assert_eq!(done, [Settled::Ordered], "{}", self.at);
            return self.model.carry_out(&line);
        }
        self.model.running.remove(&line);
        match settlement {
            Settlement::Finish { .. } => {
                self.model.failed.remove(&line);
                self.model.finished.insert(line.clone());
                self.model.flip(&line, 'd');
            }
            Settlement::Return => drop(self.model.waiting.insert(line)),
            Settlement::Fail { is_final, .. } => {
                let failures = self.model.failed.entry(line.clone()).or_insert(0);
                *failures += 1;
                if is_final || *failures >= MAX_RETRY {
                    self.model.flip(&line, 'x');
                } else {
                    self.model.waiting.insert(line);
                }
            }
        }
    }

    async fn order(&mut self) {
        let line = line(&mut self.random);
        let op = [Change::Requeue, Change::Cancel, Change::Purge][self.random.below(3) as usize];
        let by = "operator".parse().expect("a name");
        change(&self.conn, op, None, std::slice::from_ref(&line), ORDER, &by).await.expect("changed");
        let model = &mut self.model;
        if model.running.contains_key(&line) {
            if model.ordered.get(&line) != Some(&Change::Purge) || op == Change::Purge {
                model.ordered.insert(line, op);
            }
            return;
        }
        let (waits, ended) =
            (model.waiting.contains(&line), model.finished.contains(&line) || model.failed.contains_key(&line));
        match op {
            Change::Requeue if ended => model.apply(op, &line),
            Change::Cancel if waits => model.apply(op, &line),
            // A purge of what is nowhere: a member that is gone stays gone.
            Change::Purge if waits || ended || model.members.contains_key(&line) => model.apply(op, &line),
            Change::Requeue | Change::Cancel | Change::Purge => {}
        }
    }

    /// A waiting line becomes another one, which belongs to the same batches.
    async fn edit(&mut self) {
        let waiting = self.model.waiting.clone();
        let Some(old) = self.pick(waiting.into_iter()) else { return };
        let new = line(&mut self.random);
        if new == old {
            return;
        }
        let model = &self.model;
        let is_there = model.waiting.contains(&new)
            || model.running.contains_key(&new)
            || model.finished.contains(&new)
            || model.failed.contains_key(&new);
        let expected = if is_there { Edited::Taken } else { Edited::Done };
        let replacement = Replacement { old: parse(&old), new: parse(&new), signature: None };
        for _ in 0..=self.random.below(2) {
            let done = edit(&self.conn, std::slice::from_ref(&replacement)).await.expect("edited");
            assert_eq!(done, [expected], "{}: {old} to {new}", self.at);
        }
        if is_there {
            return;
        }
        let model = &mut self.model;
        model.waiting.remove(&old);
        model.waiting.insert(new.clone());
        if let Some(failures) = model.failed.remove(&old) {
            model.failed.insert(new.clone(), failures);
        }
        // What the new line belonged to before it was purged comes last.
        let past = model.members.remove(&new).map_or_else(Vec::new, |member| member.names);
        let old = model.members.remove(&old).map_or_else(Vec::new, |member| member.names);
        let names: Vec<String> = old.iter().chain(past.iter().filter(|name| !old.contains(name))).cloned().collect();
        if !names.is_empty() {
            model.members.insert(new, Membership { flag: 'o', names });
        }
    }

    /// A name of which every task was purged, unfinished, is forgotten where nothing waits for it.
    async fn forget(&mut self) {
        let of = name(NAMES[self.random.below(NAMES.len() as u64) as usize]);
        // Its other members are purged first, where that is told.
        if self.random.below(2) == 0 {
            let is_of = |member: &Membership| member.names.iter().any(|one| name(one).is_within(&of));
            let model = &self.model;
            let idle = model.members.iter().filter(|(line, _)| !model.running.contains_key(*line));
            let lines: Vec<String> = idle.filter(|(_, member)| is_of(member)).map(|(line, _)| line.clone()).collect();
            for line in lines {
                let by = "operator".parse().expect("a name");
                change(&self.conn, Change::Purge, None, std::slice::from_ref(&line), ORDER, &by).await.expect("purged");
                self.model.apply(Change::Purge, &line);
            }
        }
        self.release().await;
        let answer = forget(&self.conn, &of).await.expect("answered");
        let top = of.top();
        let flags: Vec<char> = self.model.of(of.as_str()).collect();
        let is_gone = !flags.is_empty() && flags.iter().all(|flag| *flag == 'g');
        let is_added_to = self.model.submissions.iter().any(|(name, _)| name == top.as_str());
        let awaits = |line: &String| {
            parse(line).needs().gates().iter().any(|gate| gate.name().is_some_and(|name| name.is_within(&of)))
        };
        let is_awaited = self.model.waiting.iter().any(awaits);
        let at = &self.at;
        match answer {
            Forgotten::No => assert!(!is_gone || is_added_to, "{at}: {of} is {flags:?}: {}", self.dump()),
            // Of lines that a gate has let go, it is not known which.
            Forgotten::WaitedFor => {
                let may_await = self.model.waiting.iter().any(|line| line.contains("after"));
                assert!(is_gone && !is_added_to && may_await, "{at}: {of}: {}", self.dump());
            }
            Forgotten::Yes => {
                assert!(is_gone && !is_added_to && !is_awaited, "{at}: {of} is {flags:?}: {}", self.dump());
                self.model.forget(&of);
            }
        }
    }

    /// What was ordered for tasks that run is carried out.
    async fn obey(&mut self) {
        let told = self.worker.heartbeat(&beat(vec![])).await.expect("answered").revoked;
        let stopped: Vec<Revoked> = told.into_iter().filter(|_| self.random.below(2) == 0).collect();
        self.worker.heartbeat(&beat(stopped.clone())).await.expect("answered");
        for order in stopped {
            self.model.carry_out(&order.line);
        }
    }

    /// Others write to the hashes, and the index and the members follow.
    async fn write_behind(&mut self) {
        let waiting = self.model.waiting.clone();
        if let Some(line) = self.pick(waiting.into_iter()) {
            self.bed.hdel(home(&line), &line);
            self.model.waiting.remove(&line);
            match self.random.below(3) {
                0 => {
                    self.bed.hset("finished_tasks", &line, "py: \"\"");
                    self.model.finished.insert(line.clone());
                    self.model.flip(&line, 'd');
                }
                1 => {
                    self.bed.hset("failed_tasks", &line, "py,");
                    self.model.failed.entry(line.clone()).or_insert(0);
                    self.model.flip(&line, 'x');
                }
                _ if self.model.failed.contains_key(&line) => self.model.flip(&line, 'x'),
                _ => self.model.flip(&line, 'g'),
            }
        }
        let ended: Vec<String> = self.model.finished.iter().chain(self.model.failed.keys()).cloned().collect();
        if let Some(line) = self.pick(ended.into_iter()).filter(|line| !self.model.running.contains_key(line)) {
            // As a Python manager puts a task back.
            self.bed.hset("todo_tasks", &line, "");
            self.bed.hdel("finished_tasks", &line);
            self.bed.hdel("failed_tasks", &line);
            self.model.requeued(&line);
        }
        self.index_all().await;
        self.reconcile().await;
    }

    async fn index_all(&self) {
        for _ in 0..2 {
            let mut pass = IndexPass::new();
            while !pass.step(&self.conn, ORDER).await.expect("a step").is_done {}
        }
    }

    async fn reconcile(&self) {
        for subject in subjects(&self.conn).await.expect("subjects").iter().filter(|one| one.kind == "members") {
            let mut look = ReconcileScan::default();
            while !look.step(&self.conn, subject).await.expect("a look") {}
            mend(&self.conn, subject, &look.suspects).await.expect("mended");
        }
    }

    /// Keys that can be derived are lost, and made again.
    async fn lose_keys(&mut self) {
        let is_all = self.random.below(2) == 0;
        let lost: Vec<String> = self
            .bed
            .keys()
            .into_iter()
            .filter(|key| key == "distcomp:batch:n" || (is_all && key.starts_with("distcomp:ready:")))
            .collect();
        for key in lost {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.bed.redis.con()).expect("deleted");
        }
        // Somebody claims before they are there again.
        let known = std::mem::take(&mut self.model.known);
        if !is_all {
            self.claim(3).await;
        }
        self.model.known = known;
        self.recount().await;
        self.index_all().await;
        self.release().await;
        self.reconcile().await;
        share::count(&self.conn, ORDER).await.expect("counted");
        if is_all {
            self.count_used();
        }
    }

    /// A step without members is forgotten with its counter; a batch is known by its record.
    async fn recount(&mut self) {
        let of_members = self.model.members.values().flat_map(|member| member.names.iter().flat_map(|one| levels(one)));
        let still: BTreeSet<String> = of_members.chain(self.model.recorded.iter().cloned()).collect();
        self.model.known = self.model.known.intersection(&still).cloned().collect();
        let mut recount = Recount::default();
        for _ in 0..10_000 {
            if recount.step(&self.conn).await.expect("counted") {
                return;
            }
        }
        panic!("{}: the count does not end", self.at);
    }

    async fn release(&self) {
        for _ in 0..10_000 {
            if !batches::release(&self.conn, None).await.expect("released").has_more {
                return;
            }
        }
        panic!("{}: the release does not end", self.at);
    }

    /// The worker is declared dead with all it has, and comes back.
    async fn die(&mut self) {
        let worker = self.worker.worker().clone();
        let lines = orphans(&self.conn, &worker, ORDER).await.expect("its lines");
        let (reason, max_lost) = (ReclaimReason::Operator, 1000);
        TakeOver { conn: &self.conn, worker: &worker, reason, max_lost }.lines(&lines).await.expect("taken over");
        self.worker = session(&self.conn, worker.as_str()).await;
        for key in ["distcomp:apart", "distcomp:apart:by"] {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.bed.redis.con()).expect("deleted");
        }
        for orphan in lines {
            if self.model.ordered.contains_key(&orphan.line) {
                self.model.carry_out(&orphan.line);
            } else {
                self.model.running.remove(&orphan.line);
                self.model.waiting.insert(orphan.line);
            }
        }
        // What waits apart is indexed anew, as it does not stand apart any more.
        for key in self.bed.keys().into_iter().filter(|key| key.starts_with("distcomp:ready:")) {
            let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.bed.redis.con()).expect("deleted");
        }
        self.recount().await;
        self.index_all().await;
        self.release().await;
    }

    async fn hold(&mut self) {
        let batch = ["a", "b", "c"][self.random.below(3) as usize];
        // Lines that joined it while they waited are moved to where it has them.
        self.release().await;
        let is_held = self.model.held.contains(batch);
        let paused = BatchHold::Paused("ann".to_owned());
        let what = if is_held { BatchChange::GoOn } else { BatchChange::Hold(&paused) };
        batches::change(&self.conn, what, &[name(batch)]).await.expect("changed");
        if !self.model.held.remove(batch) {
            self.model.held.insert(batch.to_owned());
        }
    }

    async fn step(&mut self) {
        match self.random.below(28) {
            0..5 => self.submit().await,
            5 => self.begin().await,
            6..8 => self.end().await,
            8..12 => {
                let most = 1 + self.random.below(6) as u32;
                self.claim(most).await;
            }
            12..17 => self.settle().await,
            17..19 => self.order().await,
            19 => self.obey().await,
            20 => self.write_behind().await,
            21 => self.hold().await,
            22 if self.random.below(3) == 0 => self.lose_keys().await,
            22 if self.random.below(2) == 0 => self.die().await,
            23 if self.random.below(8) == 0 => {
                let waived = NAMES[self.random.below(NAMES.len() as u64) as usize];
                batches::change(&self.conn, BatchChange::Waive("ann"), &[name(waived)]).await.expect("waived");
                self.model.waived.insert(waived.to_owned());
            }
            26 if self.random.below(4) == 0 => self.share().await,
            24..26 => self.edit().await,
            27 => self.forget().await,
            _ => self.release().await,
        }
    }

    /// The hashes are what the model says, each flag too, and the counters are those of the flags.
    fn check(&self) {
        let at = &self.at;
        let keys = |name: &str| self.bed.table(name).into_keys().collect::<BTreeSet<String>>();
        for key in ["todo_tasks", "distcomp:waiting"] {
            let mine: BTreeSet<String> = self.model.waiting.iter().filter(|line| home(line) == key).cloned().collect();
            assert_eq!(keys(key), mine, "{at}: {key}");
        }
        assert_eq!(keys("in_progress_tasks"), self.model.running.keys().cloned().collect(), "{at}");
        assert_eq!(keys("finished_tasks"), self.model.finished, "{at}");
        assert_eq!(keys("failed_tasks"), self.model.failed.keys().cloned().collect(), "{at}");
        let members: BTreeMap<String, Membership> = self
            .bed
            .table("distcomp:member")
            .into_iter()
            .map(|(line, value)| {
                let (flag, rest) = value.split_once(' ').expect("a flag and names");
                let names = rest.split(' ').next().expect("names").split(',').map(str::to_owned).collect();
                (line, Membership { flag: flag.chars().next().expect("a flag"), names })
            })
            .collect();
        assert_eq!(members, self.model.members, "{at}");
        let counters = self.bed.table("distcomp:batch:n");
        for name in &self.model.known {
            let count = |is: fn(char) -> bool| self.model.of(name).filter(|flag| is(*flag)).count().to_string();
            let of = |suffix: &str| counters.get(&format!("{name}{suffix}")).cloned().unwrap_or_else(|| "0".to_owned());
            assert_eq!(of(""), count(|flag| flag == 'o'), "{at}: open members of {name}");
            assert_eq!(of("!"), count(|flag| matches!(flag, 'x' | 'g')), "{at}: given up of {name}");
            assert_eq!(of("~"), count(|flag| flag == 'g'), "{at}: gone of {name}");
        }
        let counted: i64 = redis::cmd("GET")
            .arg("distcomp:ready:count")
            .query::<Option<i64>>(&mut self.bed.redis.con())
            .expect("read")
            .unwrap_or(0);
        assert_eq!(counted, self.model.waiting.len() as i64, "{at}: the index counts what waits, blocked or not");
        let mut used: BTreeMap<String, String> = BTreeMap::new();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (line, batch) in self.model.used.iter().filter(|(line, _)| self.model.running.contains_key(*line)) {
            used.insert(line.clone(), format!("{batch}|1"));
            *sums.entry(batch.clone()).or_default() += 1;
        }
        assert_eq!(self.bed.table("distcomp:ready:using:of"), used, "{at}: what a share counts");
        let sums = sums.into_iter().map(|(batch, sum)| (batch, sum.to_string())).collect();
        assert_eq!(self.bed.table("distcomp:ready:using"), sums, "{at}: what a share adds up");
    }

    /// All that may run is claimed in the end, and what is left may not.
    async fn drain(&mut self) {
        for batch in std::mem::take(&mut self.model.held) {
            batches::change(&self.conn, BatchChange::GoOn, &[name(&batch)]).await.expect("changed");
        }
        for (batch, id) in std::mem::take(&mut self.model.submissions) {
            batches::end(&self.conn, id, &[name(&batch)]).await.expect("ended");
        }
        for line in self.model.ordered.keys().cloned().collect::<Vec<_>>() {
            self.model.carry_out(&line);
        }
        let told = self.worker.heartbeat(&beat(vec![])).await.expect("answered").revoked;
        self.worker.heartbeat(&beat(told)).await.expect("answered");
        self.reconcile().await;
        for _ in 0..200 {
            self.release().await;
            self.claim(50).await;
            let claims: Vec<Claim> = self.model.running.values().cloned().collect();
            if claims.is_empty() {
                break;
            }
            for claim in claims {
                let line = claim.line.to_string();
                let entry = settle(&claim, Settlement::Finish { value: "w: \"\"".to_owned() });
                self.worker.settle(&[entry], MAX_RETRY, false).await.expect("settled");
                self.model.running.remove(&line);
                self.model.failed.remove(&line);
                self.model.finished.insert(line.clone());
                self.model.flip(&line, 'd');
            }
            self.check();
        }
        let stuck: Vec<&String> = self.model.waiting.iter().filter(|line| self.model.may_run(line)).collect();
        assert!(stuck.is_empty(), "{}: {stuck:?} may run and are not claimed", self.at);
    }
}

#[test]
fn batches_agree_with_a_model_under_random_operations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in 1..=10_u64 {
        runtime.block_on(async {
            let mut run = Run::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).await;
            for step in 0..160 {
                run.at = format!("seed {seed}, step {step}");
                run.step().await;
                run.check();
            }
            run.at = format!("seed {seed}, at the end");
            run.drain().await;
        });
    }
}
