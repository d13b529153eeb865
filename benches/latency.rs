//! What a worker costs when it does nothing, how soon it starts what comes, and how tasks that take their time spread over workers.
//!
//! `cargo bench --bench latency [-- PART...]`; parts: `start`, `idle`, `spread`; by default all.

#[path = "support/client.rs"]
mod client;
#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/parts.rs"]
mod parts;
#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/stats.rs"]
mod stats;

use std::error::Error;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{add, client, connect};
use cpu::cpu_ms;
use daemon::Daemon;
use distcomp::model::{BatchName, Belonging, FieldOrder, TaskLine};
use distcomp::queue::submit::{NewTask, submit_in};
use distcomp::queue::{Connection, batches};
use parts::Parts;
use redis_server::Server;
use serde_json::json;
use stats::{median, percentile};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn wait_finished(server: &Server, count: usize) -> Outcome<()> {
    let mut con = server.con()?;
    let start = Instant::now();
    while redis::cmd("HLEN").arg("finished_tasks").query::<usize>(&mut con)? < count {
        if start.elapsed() > Duration::from_secs(120) {
            return Err("not finished within two minutes".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Waits at a FIFO until somebody opens it to write; the time of that. It waits before this returns, so that it takes no part in what is measured.
fn wait_at(fifo: &Path) -> JoinHandle<std::io::Result<Instant>> {
    let path = fifo.to_owned();
    let opened = std::thread::spawn(move || {
        std::fs::File::open(path).map(|mut file| {
            let at = Instant::now();
            let _ = file.read(&mut [0; 8]);
            at
        })
    });
    std::thread::sleep(Duration::from_millis(5));
    opened
}

fn opened_at(waiting: JoinHandle<std::io::Result<Instant>>) -> Outcome<Instant> {
    Ok(waiting.join().map_err(|_| "the reader panicked")??)
}

/// A task, and one that waits for it: the first ends when something is written to its FIFO, the other opens one that we wait at.
struct Pair {
    ends: PathBuf,
    starts: PathBuf,
}

impl Pair {
    fn new(dir: &Path) -> Outcome<Self> {
        let pair = Self { ends: dir.join("ends"), starts: dir.join("starts") };
        for fifo in [&pair.ends, &pair.starts] {
            nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU)?;
        }
        Ok(pair)
    }

    /// The milliseconds from the end of the first task to the first instruction of the other, which waits for the batch of the first.
    async fn measure(&self, server: &Server, conn: &Connection, at: usize) -> Outcome<f64> {
        let name: BatchName = format!("a{at}").parse()?;
        let parse = |line: String| TaskLine::parse(&line, FieldOrder::MemCpuPrio).map(|task| NewTask::of(&task));
        let mut first = parse(format!("shell:0:0:1:read x < {} # {at}", self.ends.display()))?;
        first.join(Some(Belonging::new(name.clone(), &[])));
        let other = parse(format!("shell,after={name}:0:0:1:: > {} # {at}", self.starts.display()))?;
        batches::begin(conn, "bench", &name, Option::unwrap_or_default).await?;
        submit_in(conn, &[first], false, None, None).await?;
        batches::end(conn, "bench", std::slice::from_ref(&name)).await?;
        submit_in(conn, &[other], false, None, None).await?;
        let mut con = server.con()?;
        while redis::cmd("HLEN").arg("in_progress_tasks").query::<usize>(&mut con)? == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        let waiting = wait_at(&self.starts);
        std::fs::write(&self.ends, "x\n")?;
        let ended = Instant::now();
        Ok(opened_at(waiting)?.duration_since(ended).as_secs_f64() * 1e3)
    }
}

/// From the call that submits to the first thing the task's shell does, which is to open a FIFO that we wait at; in turns with the same shell started
/// by this program itself, and with a task that waits for another one to end.
async fn start(count: usize) -> Outcome<()> {
    let server = Server::start()?;
    let _daemon = Daemon::start(&server, "bench", "", &json!({}), &[])?;
    let conn = connect(&client(&server)?).await?;
    let dir = tempfile::tempdir()?;
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
    let pair = Pair::new(dir.path())?;
    let (mut times, mut bare, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..count {
        // Idle for a moment first: longer than the shortest poll, and not in step with anything.
        tokio::time::sleep(Duration::from_millis(150 + (i as u64 * 37) % 100)).await;
        let waiting = wait_at(&fifo);
        let submitted = Instant::now();
        add(&conn, std::iter::once(format!("shell:0:0:1:: > {} # {i}", fifo.display()))).await?;
        times.push(opened_at(waiting)?.duration_since(submitted).as_secs_f64() * 1e3);

        tokio::time::sleep(Duration::from_millis(50)).await;
        let waiting = wait_at(&fifo);
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &format!(": > {}", fifo.display())]).stdin(Stdio::null());
        let asked = Instant::now();
        let mut shell = shell.spawn()?;
        bare.push(opened_at(waiting)?.duration_since(asked).as_secs_f64() * 1e3);
        shell.wait()?;
        after.push(pair.measure(&server, &conn, i).await?);
    }
    times.drain(..2.min(count / 2));
    println!("submit to the first instruction of the task's shell, idle worker, {} times", times.len());
    let line = |name: &str, times: &[f64]| {
        let of = |share| percentile(&mut times.to_vec(), share);
        println!("{name}p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, most {:.2} ms", of(0.5), of(0.9), of(0.99), of(1.0));
    };
    line("", &times);
    let histogram: Vec<String> =
        (1..20).map(|i| format!("{:.2}", percentile(&mut times.clone(), f64::from(i) / 20.0))).collect();
    println!("every twentieth: {}", histogram.join(" "));
    line("the same shell started by this program itself, in turns: ", &bare);
    line("from the end of a task to the first instruction of one that waits for it, in turns: ", &after);
    println!("that is {:.2} x of a submission (p50)", median(&after) / median(&times));
    println!();
    Ok(())
}

fn pss_kib(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// A worker whose 32 slots have all been used, and that has nothing to do.
async fn idle(seconds: u64) -> Outcome<()> {
    let server = Server::start()?;
    let daemon = Daemon::start(&server, "bench", "", &json!({"max_task_per_worker": 32}), &[])?;
    let conn = connect(&client(&server)?).await?;
    add(&conn, (0..32).map(|i| format!("shell:0:0:1:sleep 1 # {i}"))).await?;
    wait_finished(&server, 32)?;
    tokio::time::sleep(Duration::from_secs(seconds.min(3))).await;
    let pids = daemon.pids();
    let cpu = |pids: &[u32]| pids.iter().map(|pid| cpu_ms(*pid)).sum::<f64>();
    let (before, redis, start) = (cpu(&pids), cpu_ms(server.pid()), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let of_core = |ms: f64| ms / 10.0 / start.elapsed().as_secs_f64();
    let (share, redis) = (of_core(cpu(&pids) - before), of_core(cpu_ms(server.pid()) - redis));
    let pss: Vec<f64> = pids.iter().map(|pid| pss_kib(*pid) / 1024.0).collect();
    println!("an idle worker with 32 slots: {} processes, {:.1} MB PSS in all", pids.len(), pss.iter().sum::<f64>());
    println!(
        "worker {:.1} MB, zygote {:.1} MB, keepers {:.2} MB each; {share:.2} % of a core over {seconds} s, Redis {redis:.2} %\n",
        pss.first().unwrap_or(&0.0),
        pss.get(1).unwrap_or(&0.0),
        median(pss.get(2..).unwrap_or_default()),
    );
    Ok(())
}

/// The same tasks on one slot, and on several workers of one slot each.
async fn spread(tasks: usize) -> Outcome<()> {
    println!("{tasks} tasks of 50 ms, workers of one slot each");
    println!("{:>8} {:>9} {:>8} {:>9}", "workers", "seconds", "times", "of ideal");
    let mut one = None;
    for workers in [1, 2, 4, 8] {
        let server = Server::start()?;
        let daemons: Vec<Daemon> = (0..workers)
            .map(|i| Daemon::start(&server, &format!("bench{i}"), "", &json!({"max_task_per_worker": 1}), &[]))
            .collect::<Result<_, _>>()?;
        let conn = connect(&client(&server)?).await?;
        let start = Instant::now();
        add(&conn, (0..tasks).map(|i| format!("shell:0:0:1:sleep 0.05 # {i}"))).await?;
        wait_finished(&server, tasks)?;
        let took = start.elapsed().as_secs_f64();
        let times = *one.get_or_insert(took) / took;
        println!("{workers:>8} {took:>9.2} {times:>8.2} {:>9.3}", times / f64::from(workers));
        drop(daemons);
    }
    println!();
    Ok(())
}

fn main() -> Outcome<()> {
    let parts = Parts::of_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if parts.wants("start") {
        runtime.block_on(start(parts.size(202, 4)))?;
    }
    if parts.wants("idle") {
        runtime.block_on(idle(parts.size(30, 1)))?;
    }
    if parts.wants("spread") {
        runtime.block_on(spread(parts.size(400, 8)))?;
    }
    Ok(())
}
