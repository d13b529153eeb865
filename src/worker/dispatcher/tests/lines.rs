//! Keepers that work at any pace, against a dispatcher that hands them lines of tasks: whatever the order of messages, none is lost, no line grows, and
//! what runs at once never needs more than the node has.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::bench::{Bench, GIB};
use crate::model::{Bytes, Demand, MilliCores};
use crate::process::{Ended, ExitStatus, Stdout};
use crate::queue::session::Settlement;
use crate::worker::events::{Action, Event, TaskKey};

const SLOTS: usize = 3;
const TASKS: usize = 120;

/// Of a node with 32 GiB free and 16 cores.
const DEMANDS: [(u64, u64); 5] = [(1, 1), (1, 0), (14, 1), (20, 2), (2, 9)];

/// What one keeper is told and says, in order, and what it does.
#[derive(Default)]
struct Keeper {
    inbox: VecDeque<Order>,
    line: VecDeque<TaskKey>,
    running: Option<TaskKey>,
    outbox: VecDeque<Event>,
    /// How many tasks it has, as far as has been heard.
    tasks: u32,
}

enum Order {
    Run(TaskKey),
    Withdraw(TaskKey),
}

impl Keeper {
    /// Reads one message.
    fn read(&mut self) {
        match self.inbox.pop_front() {
            Some(Order::Run(key)) => self.line.push_back(key),
            Some(Order::Withdraw(key)) => {
                if let Some(at) = self.line.iter().position(|waiting| *waiting == key) {
                    self.line.remove(at);
                    self.outbox.push_back(Event::Withdrawn { key });
                }
            }
            None => {}
        }
        self.start();
    }

    fn start(&mut self) {
        if self.running.is_none()
            && let Some(key) = self.line.pop_front()
        {
            self.running = Some(key);
            self.outbox.push_back(Event::Started { key, keeper: 1 });
        }
    }

    fn end(&mut self) {
        if let Some(key) = self.running.take() {
            self.outbox.push_back(Event::Ended { key, ended: Box::new(ended(key)) });
            self.start();
        }
    }
}

fn ended(key: TaskKey) -> Ended {
    Ended {
        seq: key,
        status: ExitStatus::Exited(0),
        start_ms: 1,
        end_ms: 2,
        duration: Duration::ZERO,
        peak_bytes: 0,
        group_peak_bytes: None,
        oom_kills: 0,
        is_oom_likely: false,
        cpu_user: Duration::ZERO,
        cpu_system: Duration::ZERO,
        stdout: Stdout::Whole(Vec::new()),
        stdout_file: None,
        stderr_tail: Vec::new(),
        stderr_total: 0,
        leftovers_killed: 0,
        unkillable: false,
        forced_kill: false,
    }
}

/// The dispatcher, the keepers, and where each task is.
struct World {
    bench: Bench,
    keepers: Vec<Keeper>,
    at: HashMap<TaskKey, usize>,
    waiting: VecDeque<String>,
    /// What started, in order.
    started: Vec<TaskKey>,
    finished: usize,
}

impl World {
    fn new(slots: usize, demands: &[usize]) -> Self {
        let mut bench = Bench::new(&format!(r#"{{"max_task_per_worker": {slots}, "task_prefetch": 24}}"#));
        // Tasks that end every third of a millisecond.
        for _ in 0..300 {
            bench.dispatcher.pace.ended(bench.now, Duration::ZERO);
            bench.now += Duration::from_micros(333);
        }
        bench.node(32);
        let line = |(i, demand): (usize, &usize)| {
            let (mem, cpu) = DEMANDS[*demand];
            format!("shell:{mem}:{cpu}:0:true # {i}")
        };
        let waiting = demands.iter().enumerate().map(line).collect();
        let mut world =
            Self { bench, keepers: Vec::new(), at: HashMap::new(), waiting, started: Vec::new(), finished: 0 };
        world.perform();
        world
    }

    /// Has done what the dispatcher wants, as slots do it: to an idle keeper, a new one, or the one that has the task before.
    fn perform(&mut self) {
        while let Some(action) = self.bench.actions.pop_front() {
            match action {
                Action::Claim(request) => {
                    let most = (request.room.slots + request.ahead.slots) as usize;
                    let lines: Vec<String> = self.waiting.drain(..most.min(self.waiting.len())).collect();
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    self.bench.answer(lines.len(), &lines);
                }
                Action::Start { key, .. } => {
                    let idle = self.keepers.iter().position(|keeper| keeper.tasks == 0);
                    let at = idle.unwrap_or_else(|| {
                        self.keepers.push(Keeper::default());
                        self.keepers.len() - 1
                    });
                    self.tell(at, key);
                }
                Action::Queue { key, behind, .. } => self.tell(self.at[&behind], key),
                Action::Withdraw(key) => self.keepers[self.at[&key]].inbox.push_back(Order::Withdraw(key)),
                Action::Settle(key, settle) => {
                    match settle.settlement {
                        // It fitted nowhere for a while.
                        Settlement::Return => self.waiting.push_back(settle.line.to_string()),
                        Settlement::Finish { .. } | Settlement::Fail { .. } => self.finished += 1,
                    }
                    self.bench.event(Event::Settled(vec![(key, crate::queue::session::Settled::Recorded)]));
                }
                Action::Arm { .. } | Action::Disarm(_) | Action::Beat => {}
                Action::Terminate(_) | Action::Kill(_) | Action::ShowOutput { .. } | Action::Exit => {
                    panic!("unexpected: {action:?}")
                }
            }
        }
    }

    fn tell(&mut self, at: usize, key: TaskKey) {
        self.at.insert(key, at);
        self.keepers[at].tasks += 1;
        self.keepers[at].inbox.push_back(Order::Run(key));
    }

    fn step(&mut self, what: u8, which: usize) {
        let which = which % self.keepers.len();
        match what {
            0 | 1 => {
                let before = self.keepers[which].running;
                if what == 0 {
                    self.keepers[which].read();
                } else {
                    self.keepers[which].end();
                }
                let now = self.keepers[which].running;
                self.started.extend(now.filter(|_| now != before));
            }
            2 => {
                if let Some(event) = self.keepers[which].outbox.pop_front() {
                    self.keepers[which].tasks -= u32::from(!matches!(event, Event::Started { .. }));
                    self.bench.event(event);
                }
            }
            3 => self.bench.pass(0.001),
            // Longer than anything may wait in a keeper.
            _ => self.bench.pass(0.025),
        }
        self.perform();
    }

    fn check(&self) {
        assert!(self.keepers.len() <= SLOTS, "{} keepers for {SLOTS} slots", self.keepers.len());
        let running = self.keepers.iter().filter(|keeper| keeper.running.is_some()).count();
        assert!(running <= SLOTS);
        let of_running = |key| self.bench.dispatcher.ledger.get(key).map(|entry| *entry.task.demand());
        let demands: Vec<Demand> = self.keepers.iter().filter_map(|keeper| of_running(keeper.running?)).collect();
        let sum = demands.iter().fold(Demand::NONE, |sum, demand| sum.plus(demand));
        assert!(sum.mem() <= Bytes(32 * GIB) && sum.cpu() <= MilliCores(16_000), "{demands:?}");
        let most = crate::policy::prefetch::pipeline_depth(f64::MAX) as usize;
        for at in 0..self.keepers.len() {
            let has = |key: &TaskKey| self.at.get(key) == Some(&at);
            let known = self.bench.dispatcher.ledger.queued().filter(|(key, _)| has(key)).count();
            assert!(known <= most, "{known} wait in one keeper");
            // What is on the way there counts too, and what ran when the last of the line was added.
            let runs = |order: &&Order| matches!(order, Order::Run(_));
            let line = self.keepers[at].line.len() + self.keepers[at].inbox.iter().filter(runs).count();
            assert!(line <= most + 1, "a line of {line}");
        }
    }
}

proptest! {
    #[test]
    fn pipelines_stay_bounded_for_any_order_of_messages(
        demands in prop::collection::vec(0..DEMANDS.len(), TASKS),
        steps in prop::collection::vec((prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 2, 2, 3, 4]), 0_usize..SLOTS), 0..600),
    ) {
        let mut world = World::new(SLOTS, &demands);
        for (what, which) in steps {
            world.step(what, which);
            world.check();
        }
        // And now everything in turns, until all is done.
        for round in 0..4000 {
            if world.finished == TASKS {
                break;
            }
            world.step([0, 1, 2, 3][round % 4], round / 4);
            world.check();
        }
        prop_assert_eq!(world.finished, TASKS);
        prop_assert!(world.bench.dispatcher.ledger.is_empty());
    }

    #[test]
    fn one_slot_starts_tasks_in_order_for_any_message_order(
        steps in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 2, 2, 3, 4]), 0..600),
    ) {
        let mut world = World::new(1, &[0; TASKS]);
        for what in steps {
            world.step(what, 0);
            prop_assert!(world.started.is_sorted(), "{:?}", world.started);
        }
    }
}
