//! Tasks a second through everything (Redis, claim, keeper, capture, record, settlement) beside the floor of the same machine, in turns.
//!
//! `cargo bench --bench end_to_end [-- [ROUNDS [TASKS]]]`, by default 5 rounds of 2000 tasks each. With `SPAWN_FLOOR=PATH` another floor program, called
//! `PATH sh spawn pipes 4 2 TASKS`, takes its turn too, to compare the one in here with.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/floor.rs"]
mod floor;
#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/stats.rs"]
mod stats;

use std::error::Error;
use std::time::{Duration, Instant};

use cpu::cpu_ms;
use daemon::Daemon;
use redis_server::Server;
use serde_json::{Value, json};
use stats::{median, percentile};

/// A worker under a prefix of its own, with its measurements.
struct Contender {
    name: &'static str,
    prefix: String,
    daemon: Daemon,
    /// The task of a round and a number.
    task: fn(usize, usize) -> String,
    /// How much of the tasks it gets: the slow ones fewer.
    share: usize,
    rates: Vec<f64>,
    cpu: Vec<f64>,
    redis_cpu: Vec<f64>,
}

impl Contender {
    fn new(
        server: &Server,
        name: &'static str,
        share: usize,
        conf: &Value,
        env: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        let prefix = format!("{}:", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        let daemon = Daemon::start(server, "bench", &prefix, conf, env)?;
        let (rates, cpu, redis_cpu) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { name, prefix, daemon, task: plain, share, rates, cpu, redis_cpu })
    }

    fn with(self, task: fn(usize, usize) -> String) -> Self {
        Self { task, ..self }
    }

    /// All tasks wait before the first starts; the time is from the wake-up to the last result in Redis.
    fn run(&mut self, server: &Server, round: usize, tasks: usize) -> Result<(), Box<dyn Error>> {
        let tasks = (tasks / self.share).max(8);
        let mut con = server.con()?;
        let key = |name: &str| format!("{}{name}", self.prefix);
        redis::cmd("SET").arg(key("distcomp:paused")).arg("bench").exec(&mut con)?;
        submit(server, &self.prefix, &(0..tasks).map(|i| (self.task)(round, i)).collect::<Vec<_>>())?;
        let finished = |con: &mut redis::Connection| -> redis::RedisResult<usize> {
            redis::cmd("HLEN").arg(key("finished_tasks")).query(con)
        };
        let before = finished(&mut con)?;
        let pids = self.daemon.pids();
        let cpu_of = |pids: &[u32]| pids.iter().map(|pid| cpu_ms(*pid)).sum::<f64>();
        let (ours, redis) = (cpu_of(&pids), cpu_ms(server.pid()));
        let start = Instant::now();
        redis::cmd("DEL").arg(key("distcomp:paused")).exec(&mut con)?;
        redis::cmd("PUBLISH").arg(key("distcomp:wake")).arg("todo").exec(&mut con)?;
        while finished(&mut con)? < before + tasks {
            if start.elapsed() > Duration::from_secs(120) {
                return Err(format!("{}: not done within two minutes", self.name).into());
            }
            // Asked more often, the questions would be part of what is measured.
            std::thread::sleep(Duration::from_millis(5));
        }
        self.rates.push(tasks as f64 / start.elapsed().as_secs_f64());
        // Keepers are born with the first tasks: those that were not there before have used next to nothing until then.
        self.cpu.push((cpu_of(&self.daemon.pids()) - ours) / tasks as f64);
        self.redis_cpu.push((cpu_ms(server.pid()) - redis) / tasks as f64);
        Ok(())
    }
}

fn plain(round: usize, i: usize) -> String {
    format!("shell:0:0:1:true # {round}.{i}")
}

/// Demands that differ from task to task in both dimensions: 204 of them.
fn mixed_demands(round: usize, i: usize) -> String {
    let (mem, cpu) = (i * 37 % 51, [0, 1, 2, 5][i * 7 % 4]);
    format!("shell:{:.2}:0.{cpu}:1:true # {round}.{i}", mem as f64 / 100.0)
}

/// The same, and 100 priorities.
fn mixed(round: usize, i: usize) -> String {
    mixed_demands(round, i).replacen(":1:true", &format!(":{}:true", i * 61 % 100), 1)
}

fn submit(server: &Server, prefix: &str, lines: &[String]) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (tasks, conf) = (dir.path().join("tasks"), dir.path().join("conf.json"));
    std::fs::write(&tasks, lines.join("\n"))?;
    std::fs::write(&conf, json!({"redis_url": server.url(), "redis_key_prefix": prefix}).to_string())?;
    let submitted = std::process::Command::new(env!("CARGO_BIN_EXE_distcomp-submit"))
        .args(["--quiet", "--config"])
        .args([&conf, &tasks])
        .stdout(std::process::Stdio::null())
        .status()?;
    if submitted.success() { Ok(()) } else { Err("distcomp-submit failed".into()) }
}

const HEAP: &str = "4 slots, 300 MiB of heap in the worker";

/// `support/heap.c` compiled, in a directory that lives as long; `None` without a C compiler.
fn heap_library() -> Result<Option<(tempfile::TempDir, String)>, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("heap.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/heap.c");
    let compiled =
        std::process::Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&path).arg(source).status();
    Ok(compiled.is_ok_and(|status| status.success()).then(|| (dir, path.display().to_string())))
}

fn resident_mib(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    (pages.unwrap_or(0) * 4096) >> 20
}

fn other_floor(program: &std::ffi::OsStr, tasks: usize) -> Result<f64, Box<dyn Error>> {
    let output =
        std::process::Command::new(program).args(["sh", "spawn", "pipes", "4", "2", &tasks.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.split_ascii_whitespace().find_map(|word| word.strip_prefix("tasks_per_s="));
    Ok(rate.ok_or("the other floor printed no tasks_per_s")?.parse()?)
}

/// The worker as it is set up by default, with more slots, with tasks of many kinds, with a heap, and with each optimisation switched off. The library must live as long as they run.
fn contenders(server: &Server, library: Option<&str>) -> Result<Vec<Contender>, Box<dyn Error>> {
    let new = |name, share, conf: Value| Contender::new(server, name, share, &conf, &[]);
    let mut contenders = vec![
        new("4 slots", 1, json!({"max_task_per_worker": 4}))?,
        new("32 slots", 1, json!({"max_task_per_worker": 32}))?,
        new("4 slots, mixed demands", 1, json!({"max_task_per_worker": 4}))?.with(mixed_demands),
        new("4 slots, mixed demands and priorities", 1, json!({"max_task_per_worker": 4}))?.with(mixed),
        new(
            "4 slots, redis_pipeline_batching false",
            4,
            json!({"max_task_per_worker": 4, "redis_pipeline_batching": false}),
        )?,
        new("4 slots, task_prefetch 0", 2, json!({"max_task_per_worker": 4, "task_prefetch": 0}))?,
        new("4 slots, auto_sleep_sec false (2 s)", 2, json!({"max_task_per_worker": 4, "auto_sleep_sec": false}))?,
        new(
            "4 slots, all three off",
            4,
            json!({"max_task_per_worker": 4, "redis_pipeline_batching": false, "task_prefetch": 0, "auto_sleep_sec": false}),
        )?,
    ];
    match library {
        Some(path) => {
            let env = [("LD_PRELOAD", path), ("HEAP_MIB", "300")];
            let heap = Contender::new(server, HEAP, 1, &json!({"max_task_per_worker": 4}), &env)?;
            let held = resident_mib(heap.daemon.pids()[0]);
            if held < 300 {
                return Err(format!("the worker that is to hold 300 MiB holds {held}").into());
            }
            contenders.insert(1, heap);
        }
        None => eprintln!("no C compiler: no worker with a large heap"),
    }
    Ok(contenders)
}

/// Tasks a second of the floors.
#[derive(Default)]
struct Floors {
    four: Vec<f64>,
    thirty_two: Vec<f64>,
    other: Vec<f64>,
}

fn report(floors: &Floors, contenders: &[Contender]) {
    let floor = median(&floors.four);
    println!("{:<42} {:>24} {:>9} {:>16} {:>13}", "", "tasks/s", "of floor", "ours ms/task", "Redis ms/task");
    let line = |name: &str, rates: &[f64], of: f64, cpu: &[f64], redis: &[f64]| {
        let mut sorted = rates.to_vec();
        let spread = format!(
            "{:.0} [{:.0} .. {:.0}]",
            median(rates),
            percentile(&mut sorted, 0.0),
            percentile(&mut sorted, 1.0)
        );
        print!("{name:<42} {spread:>24} {:>9.2}", median(rates) / of);
        if cpu.is_empty() { println!() } else { println!(" {:>16.3} {:>13.3}", median(cpu), median(redis)) }
    };
    line("floor, 4 in flight", &floors.four, floor, &[], &[]);
    if !floors.other.is_empty() {
        line("other floor, 4 in flight", &floors.other, floor, &[], &[]);
    }
    line("floor, 32 in flight", &floors.thirty_two, floor, &[], &[]);
    for contender in contenders {
        let of = if contender.name.starts_with("32") { median(&floors.thirty_two) } else { floor };
        line(contender.name, &contender.rates, of, &contender.cpu, &contender.redis_cpu);
    }
    println!("ours: worker, zygote and keepers. 32 slots are compared with the floor at 32 in flight.");
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` passes `--bench`, and `cargo test --benches` nothing: then a short run shows that it works.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let rounds = numbers.first().copied().unwrap_or(if is_bench { 5 } else { 1 });
    let tasks = numbers.get(1).copied().unwrap_or(if is_bench { 2000 } else { 40 });
    let other = std::env::var_os("SPAWN_FLOOR");

    let server = Server::start()?;
    let library = heap_library()?;
    let mut contenders = contenders(&server, library.as_ref().map(|(_, path)| path.as_str()))?;
    // Single ones by name; the floor is always there.
    let only: Vec<&String> = args
        .iter()
        .filter(|arg| contenders.iter().any(|one| one.name.starts_with(arg.as_str())) && arg.parse::<usize>().is_err())
        .collect();
    if !only.is_empty() {
        contenders.retain(|one| only.iter().any(|name| one.name == name.as_str()));
    }
    for contender in &mut contenders {
        contender.run(&server, 0, tasks.min(64))?;
        contender.rates.clear();
        contender.cpu.clear();
        contender.redis_cpu.clear();
    }
    let mut floors = Floors::default();
    for round in 1..=rounds {
        floors.four.push(tasks as f64 / floor::run(4, tasks).map_err(|error| error.to_string())?.as_secs_f64());
        for (index, contender) in contenders.iter_mut().enumerate() {
            contender.run(&server, round, tasks)?;
            if index == 0 {
                floors
                    .thirty_two
                    .push(tasks as f64 / floor::run(32, tasks).map_err(|error| error.to_string())?.as_secs_f64());
                if let Some(program) = &other {
                    floors.other.push(other_floor(program, tasks)?);
                }
            }
        }
    }

    println!("sh -c true, both outputs captured; {rounds} rounds of {tasks} tasks in turns; median [least .. most]");
    report(&floors, &contenders);
    Ok(())
}
