//! What the soak runs on: a durable server, four workers (two of them behind a network of their own), a Python one where it is given.
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::Load;
use crate::faults::Dice;
use crate::python_interop::{Fleet, PythonWorker};
use crate::support::{Bed, Checker, Mode, Proxy, Redis, ServerOptions, Worker};

/// Index of the worker that is never killed: it shows what a long life leaves behind.
pub(super) const ELDER: usize = 3;
const NAMES: [&str; 4] = ["a", "b", "c", "elder"];
pub(super) const SLOTS: usize = 4;

/// How many tasks of the limit `disk` may be in progress.
const SOAK_LIMIT: &str = "3";

/// The workers with the label `ssd`; those that may die are among them and among the others.
pub(super) const WITH_SSD: [&str; 2] = ["b", "elder"];

/// What the names of the devices begin with: locks of devices are of the whole node, and another run may be under way.
fn own_devices() -> String {
    format!("soak-{}-", std::process::id())
}

pub(super) struct Site {
    pub(super) workers: Vec<Option<Worker>>,
    python: Option<PythonWorker>,
    pub(super) proxies: Vec<Proxy>,
    pub(super) checker: Checker,
    pub(super) bed: Bed,
}

impl Site {
    pub(super) fn new() -> Self {
        let devices = [0, 1, 2].map(|at| format!("{}{at}", own_devices()));
        let conf = json!({
            "task_field_order": "prio:mem:cpu",
            "worker_dead_after_seconds": 1.5,
            "max_task_per_worker": SLOTS,
            "max_lost_per_task": 10_000,
            "max_retry_per_task": 6,
            "drain_timeout_seconds": 2,
            "task_kill_grace_seconds": 0.3,
            "resources": {"gpus": devices, "lic": 3},
        });
        let server = || Redis::start(ServerOptions { tcp: true, durable: true, ..Default::default() });
        let (bed, python) = match Fleet::on(server(), conf.clone()) {
            Some(fleet) => {
                let python = fleet.worker();
                (fleet.into_bed(), Some(python))
            }
            None => (Bed::on(server(), conf), None),
        };
        bed.hset("distcomp:limits", "disk", SOAK_LIMIT);
        let proxies = (0..2).map(|_| Proxy::start(&bed.redis.socket())).collect();
        let checker = Checker::start(bed.redis.url(), [""; 0]);
        checker.watch_devices(&own_devices());
        if let Some(python) = &python {
            // A second or so between two of its commands, on a busy machine. What is lost stays lost.
            checker.know_python(python.name(), 25);
        }
        let mut site = Self { workers: Vec::new(), python, proxies, checker, bed };
        site.workers = (0..NAMES.len()).map(|at| Some(site.start(at, &[]))).collect();
        site
    }

    pub(super) fn has_python(&self) -> bool {
        self.python.is_some()
    }

    /// The last two are behind proxies.
    pub(super) fn start(&self, at: usize, through: &[&str]) -> Worker {
        let changes = match at.checked_sub(2) {
            Some(behind) => json!({"redis_url": self.proxies[behind].url()}),
            None => json!({}),
        };
        let labels: &[&str] = if WITH_SSD.contains(&NAMES[at]) { &["--label", "ssd"] } else { &[] };
        self.bed.worker_through(through, NAMES[at], changes, labels)
    }

    pub(super) fn name(at: usize) -> &'static str {
        NAMES[at]
    }

    /// Starts what is dead, at once or after a while, so that now the restart and now another worker takes up its tasks.
    pub(super) fn heal(&mut self, dice: &mut Dice) {
        thread::sleep(Duration::from_millis(dice.roll(500) as u64));
        for at in 0..self.workers.len() {
            let is_down = self.workers[at].as_mut().is_none_or(|worker| !worker.is_running());
            if is_down && dice.roll(2) == 0 {
                let through: &[&str] = if dice.roll(4) == 0 { &["prlimit", "--nofile=74:74"] } else { &[] };
                self.workers[at] = Some(self.start(at, through));
            }
        }
    }

    /// All there, nothing in the way.
    pub(super) fn calm(&mut self) {
        for proxy in &self.proxies {
            proxy.set(Mode::Pass);
        }
        for at in 0..self.workers.len() {
            if self.workers[at].as_mut().is_none_or(|worker| !worker.is_running()) {
                self.workers[at] = Some(self.start(at, &[]));
            }
        }
    }

    /// Runs some tasks; memory and descriptors of the elder afterwards are what it has to come back to.
    pub(super) fn warm_up(&mut self, load: &mut Load, dice: &mut Dice) -> (u64, usize) {
        for _ in 0..4 {
            load.add(self, dice, 100);
            load.wait_over(self, Duration::from_secs(60));
        }
        self.elder().footprint()
    }

    pub(super) fn elder(&self) -> &Worker {
        self.workers[ELDER].as_ref().expect("nobody takes the elder away")
    }

    /// Ends all; answers how long it took.
    pub(super) fn stop(&mut self) -> Duration {
        let start = Instant::now();
        let running: Vec<&mut Worker> = self.workers.iter_mut().flatten().collect();
        for worker in &running {
            worker.sigterm();
        }
        for worker in running {
            let code = worker.wait_exit(Duration::from_secs(20));
            assert_eq!(code, 0, "{} ended with {code}\n{}", worker.name(), worker.log());
        }
        self.python = None;
        start.elapsed()
    }
}
