//! Every kind of fault, one at a time, each healed before it returns but for the dead, whom the site restarts.
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::load::Load;
use super::site::{ELDER, Site};
use crate::faults::Dice;
use crate::support::{Mode, Worker};

type Inject = fn(&mut Site, &mut Load, &mut Dice);

pub(super) struct Fault {
    name: &'static str,
    inject: Inject,
}

/// Those that a Python worker in the fleet lives through (it does not survive a lost connection or a poison line).
const MILD: &[Fault] = &[
    Fault { name: "worker killed", inject: |site, _, dice| with(site, dice, Worker::kill9) },
    Fault { name: "worker killed", inject: |site, _, dice| with(site, dice, Worker::kill9) },
    Fault { name: "worker and keepers killed", inject: |site, _, dice| with(site, dice, Worker::kill9_with_keepers) },
    Fault { name: "worker told to end", inject: |site, _, dice| with(site, dice, |worker| worker.sigterm()) },
    Fault {
        name: "worker told to end twice",
        inject: |site, _, dice| {
            with(site, dice, |worker| {
                worker.sigterm();
                thread::sleep(Duration::from_millis(50));
                // It may have ended at the first.
                let _ = kill(worker.pid(), Signal::SIGTERM);
            });
        },
    },
    Fault { name: "worker frozen", inject: frozen },
    Fault { name: "keeper killed", inject: keeper_killed },
    Fault { name: "network silent", inject: |site, _, dice| network(site, dice, Mode::Silent, 4000) },
    Fault { name: "answers lost", inject: |site, _, dice| network(site, dice, Mode::DropAnswers, 2000) },
    Fault { name: "connections reset", inject: |site, _, dice| network(site, dice, Mode::Reset, 500) },
    Fault {
        name: "network slow",
        inject: |site, _, dice| network(site, dice, Mode::Delay(Duration::from_millis(60)), 1500),
    },
    Fault { name: "conf.json broken", inject: conf_broken },
];

const HARSH: &[Fault] = &[
    Fault { name: "Redis killed", inject: |site, _, dice| redis_killed(site, dice) },
    Fault { name: "Redis killed", inject: |site, _, dice| redis_killed(site, dice) },
    Fault { name: "Redis lost data", inject: redis_lost_data },
    Fault { name: "Redis hung", inject: redis_hung },
    Fault { name: "Redis out of memory", inject: redis_full },
    Fault { name: "Redis read-only", inject: redis_read_only },
    Fault { name: "poison lines", inject: poison },
    Fault { name: "lines with needs moved to todo_tasks", inject: moved },
    Fault { name: "live worker declared dead", inject: declared_dead },
    Fault { name: "maker of keepers killed", inject: zygote_killed },
];

impl Fault {
    pub(super) fn random(dice: &mut Dice, has_python: bool) -> &'static Self {
        let at = dice.roll(if has_python { MILD.len() } else { MILD.len() + HARSH.len() });
        if at < MILD.len() { &MILD[at] } else { &HARSH[at - MILD.len()] }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn inject(&self, site: &mut Site, load: &mut Load, dice: &mut Dice) {
        (self.inject)(site, load, dice);
    }
}

/// A living worker other than the elder, if chance finds one.
fn with(site: &mut Site, dice: &mut Dice, act: impl FnOnce(&mut Worker)) {
    let at = dice.roll(ELDER);
    if let Some(worker) = site.workers[at].as_mut().filter_map_running() {
        act(worker);
    }
}

trait Running<'a> {
    fn filter_map_running(self) -> Option<&'a mut Worker>;
}

impl<'a> Running<'a> for Option<&'a mut Worker> {
    fn filter_map_running(self) -> Option<&'a mut Worker> {
        self.and_then(|worker| worker.is_running().then_some(worker))
    }
}

fn nap(dice: &mut Dice, most_ms: usize) {
    thread::sleep(Duration::from_millis(dice.roll(most_ms) as u64));
}

fn frozen(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let at = dice.roll(site.workers.len());
    let Some(worker) = site.workers[at].as_mut().filter_map_running() else { return };
    worker.signal(Signal::SIGSTOP);
    nap(dice, 4000);
    worker.signal(Signal::SIGCONT);
}

fn keeper_killed(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let at = dice.roll(site.workers.len());
    let Some(worker) = site.workers[at].as_mut().filter_map_running() else { return };
    let zygote = zygote_of(worker);
    let keepers: Vec<i32> = worker.keepers().iter().map(|one| one.pid).filter(|pid| Some(*pid) != zygote).collect();
    if let Some(pid) = keepers.get(dice.roll(keepers.len())) {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

fn zygote_killed(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let at = dice.roll(ELDER);
    let Some(worker) = site.workers[at].as_mut().filter_map_running() else { return };
    if let Some(pid) = zygote_of(worker) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Of its keepers the one whose parent it is.
fn zygote_of(worker: &Worker) -> Option<i32> {
    let parent = |pid: i32| -> Option<i32> {
        let stat = crate::support::read(format!("/proc/{pid}/stat"));
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    worker.keepers().iter().map(|one| one.pid).find(|pid| parent(*pid) == Some(worker.pid().as_raw()))
}

fn network(site: &mut Site, dice: &mut Dice, mode: Mode, most_ms: usize) {
    let proxy = &site.proxies[dice.roll(site.proxies.len())];
    proxy.set(mode);
    nap(dice, most_ms);
    proxy.set(Mode::Pass);
}

fn conf_broken(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let at = dice.roll(site.workers.len());
    let Some(worker) = site.workers[at].as_mut().filter_map_running() else { return };
    worker.write_conf_text("{\"max_task_per_worker\": ");
    let _ = kill(worker.pid(), Signal::SIGHUP);
    nap(dice, 300);
    worker.reconfigure(&json!({}));
}

fn redis_killed(site: &mut Site, dice: &mut Dice) {
    site.bed.redis.kill9();
    nap(dice, 2500);
    site.bed.redis.start_again();
}

fn redis_lost_data(site: &mut Site, load: &mut Load, dice: &mut Dice) {
    // What was acknowledged a moment ago is gone; whoever submits must look, as after any failover, and may submit again.
    site.checker.pause();
    site.bed.redis.kill9();
    site.bed.redis.cut_tail(1 + dice.roll(3000) as u64);
    site.bed.redis.start_again();
    load.submit(site, load.lines.len().saturating_sub(400));
    // The ring of recent reports is sent by every worker that was not dead.
    thread::sleep(Duration::from_secs(3));
    load.submit(site, load.lines.len().saturating_sub(400));
    site.checker.resume();
}

fn redis_hung(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    site.bed.redis.freeze();
    nap(dice, 6000);
    site.bed.redis.thaw();
}

fn redis_full(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    site.bed.redis.set("maxmemory", "1");
    nap(dice, 2500);
    site.bed.redis.set("maxmemory", "0");
}

fn redis_read_only(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let replicate = |host: &str, port: &str| {
        ::redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut site.bed.redis.con()).expect("REPLICAOF");
    };
    replicate("127.0.0.1", "1");
    nap(dice, 2500);
    replicate("NO", "ONE");
}

fn poison(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let at = dice.roll(1 << 30);
    let lines: [Vec<u8>; 4] = [
        format!("\u{fffd}:{at}").into_bytes(),
        [b"\xff\xfe".as_slice(), at.to_string().as_bytes()].concat(),
        format!("shell:-1:0:0:echo {at}").into_bytes(),
        format!("shell:1:0:0:nul\0{at}").into_bytes(),
    ];
    site.bed.hset_all("todo_tasks", lines);
}

/// As another program might, which knows of one hash only; a worker moves them home.
fn moved(site: &mut Site, _: &mut Load, _: &mut Dice) {
    let script = "for _, line in ipairs(redis.call('HRANDFIELD', KEYS[1], 5)) do
        redis.call('HSET', KEYS[2], line, '')
        redis.call('HDEL', KEYS[1], line)
    end";
    let mut command = ::redis::cmd("EVAL");
    command.arg(script).arg(2).arg("distcomp:waiting").arg("todo_tasks");
    command.exec(&mut site.bed.redis.con()).expect("EVAL");
}

fn declared_dead(site: &mut Site, _: &mut Load, dice: &mut Dice) {
    let name = Site::name(dice.roll(site.workers.len()));
    let _ = site.bed.ctl(&["reclaim", "--force", "--yes", name]);
}
