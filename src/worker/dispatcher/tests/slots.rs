//! Keepers that work at any pace, against a dispatcher that hands them tasks to run next: whatever the order of messages, none is lost, no slot is given
//! more than one to wait, and what runs at once never needs more than the node has.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::bench::{Bench, GIB};
use crate::model::{Bytes, Demand, MilliCores};
use crate::process::{Ended, ExitStatus, Stdout};
use crate::queue::session::Settlement;
use crate::worker::events::{Action, Event, TaskKey};

const SLOTS: usize = 3;
const TASKS: usize = 60;

/// Of a node with 32 GiB free and 16 cores.
const DEMANDS: [(u64, u64); 5] = [(1, 1), (1, 0), (14, 1), (20, 2), (2, 9)];

/// What one keeper is told and says, in order, and what it does.
#[derive(Default)]
struct Keeper {
    inbox: VecDeque<Order>,
    queue: VecDeque<TaskKey>,
    running: Option<TaskKey>,
    outbox: VecDeque<Event>,
}

enum Order {
    Run(TaskKey),
    Recall(TaskKey),
}

impl Keeper {
    /// Reads one message.
    fn read(&mut self) {
        match self.inbox.pop_front() {
            Some(Order::Run(key)) => self.queue.push_back(key),
            Some(Order::Recall(key)) => {
                if let Some(at) = self.queue.iter().position(|waiting| *waiting == key) {
                    self.queue.remove(at);
                    self.outbox.push_back(Event::Recalled { key });
                }
            }
            None => {}
        }
        self.start();
    }

    fn start(&mut self) {
        if self.running.is_none()
            && let Some(key) = self.queue.pop_front()
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
        key,
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
        scratch_left: None,
    }
}

/// The dispatcher, and the keeper of each slot.
struct World {
    bench: Bench,
    keepers: Vec<Keeper>,
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
            bench.dispatcher.completion_rate.ended(bench.now, Duration::ZERO);
            bench.now += Duration::from_micros(333);
        }
        bench.node(32);
        let line = |(i, demand): (usize, &usize)| {
            let (mem, cpu) = DEMANDS[*demand];
            format!("shell:{mem}:{cpu}:0:true # {i}")
        };
        let waiting = demands.iter().enumerate().map(line).collect();
        let mut world = Self { bench, keepers: Vec::new(), waiting, started: Vec::new(), finished: 0 };
        world.perform();
        world
    }

    /// Has done what the dispatcher wants, as slots do it.
    fn perform(&mut self) {
        while let Some(action) = self.bench.actions.pop_front() {
            match action {
                Action::Claim(request) => {
                    let most = (request.room.slots + request.prefetch.slots) as usize;
                    let lines: Vec<String> = self.waiting.drain(..most.min(self.waiting.len())).collect();
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    self.bench.answer(lines.len(), &lines);
                }
                Action::Start { slot, key, .. } => {
                    if slot == self.keepers.len() {
                        self.keepers.push(Keeper::default());
                    }
                    self.keepers[slot].inbox.push_back(Order::Run(key));
                }
                Action::Recall { slot, key } => self.keepers[slot].inbox.push_back(Order::Recall(key)),
                Action::Settle(key, settle) => {
                    match settle.settlement {
                        // It fitted nowhere for a while.
                        Settlement::Return => self.waiting.push_back(settle.line.to_string()),
                        Settlement::Finish { .. } | Settlement::Fail { .. } => self.finished += 1,
                    }
                    self.bench.event(Event::Settled(vec![(key, crate::queue::session::Settled::Recorded)]));
                }
                Action::Arm { .. } | Action::Disarm(_) | Action::Heartbeat => {}
                Action::Move { .. }
                | Action::Terminate { .. }
                | Action::Kill { .. }
                | Action::ShowOutput { .. }
                | Action::Exit { .. } => {
                    panic!("unexpected: {action:?}")
                }
            }
        }
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
        for keeper in &self.keepers {
            // What is on the way there counts too; and while the end of what ran has not been heard of, one more waits behind what has started since.
            let runs = |order: &&Order| matches!(order, Order::Run(_));
            let queued = keeper.queue.len() + keeper.inbox.iter().filter(runs).count();
            let unheard = keeper.outbox.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
            assert!(
                queued <= most + usize::from(keeper.running.is_none() && unheard == 0),
                "{queued} wait in one slot"
            );
        }
    }
}

/// Each case is hundreds of events, and all invariants are looked at after each: what goes wrong shows in a few.
const CASES: u32 = 48;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn slots_fit_the_node_and_run_every_task_in_any_message_order(
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
}

proptest! {
    #[test]
    fn one_slot_starts_tasks_in_order_in_any_message_order(
        steps in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 2, 2, 3, 4]), 0..600),
    ) {
        let mut world = World::new(1, &[0; TASKS]);
        for what in steps {
            world.step(what, 0);
            prop_assert!(world.started.is_sorted(), "{:?}", world.started);
        }
    }
}
