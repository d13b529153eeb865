//! A thousand workers on one Redis, simulated beside it by the real client code: what a fleet costs the server while it works, and what a submission
//! wakes while it does not.
//!
//! `cargo bench --bench fleet [-- PART...]`; parts: `wake`, `thousand`; by default both.

#[path = "support/client.rs"]
mod client;
#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/parts.rs"]
mod parts;
#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/simulated.rs"]
mod simulated;
#[path = "support/stats.rs"]
mod stats;

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::{add, client, connect};
use cpu::cpu_ms;
use distcomp::queue::session::Heartbeat;
use distcomp::queue::wakeups::Wakeups;
use distcomp::queue::{Key, Session};
use parts::Parts;
use redis_server::Server;
use simulated::{Filled, OFFER, line, request, session, settle};
use stats::{median, percentile};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A thousand workers of 32 slots on one Redis: heartbeats, claims and settlements at the pace of tasks that take some time, nothing run.
async fn thousand(workers: usize, slots: u32, task: Duration, length: Duration) -> Outcome<()> {
    let wanted = workers as f64 * f64::from(slots) / task.as_secs_f64();
    let total = (wanted * length.as_secs_f64() * 1.2) as u64 + 32_000;
    let Filled { server, sessions } = Filled::start(workers, total).await?;
    let (cpu, start) = (cpu_ms(server.pid()), Instant::now());
    let end = start + length;
    let mut loops = tokio::task::JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let beats = session.clone();
        loops.spawn(async move {
            let phase = (number as f64 / workers as f64) * 2.0;
            tokio::time::sleep(Duration::from_secs_f64(phase)).await;
            let beat = Heartbeat {
                status: "1.00:32.00:4.00:64.00".to_owned(),
                load: format!(r#"{{"running":{slots},"slots":{slots},"held":0}}"#),
                offer: Some(OFFER),
                traits: Default::default(),
                started: Vec::new(),
                stopped: Vec::new(),
                suspect_after: 5,
            };
            while Instant::now() < end {
                beats.heartbeat(&beat).await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok::<_, distcomp::queue::QueueError>((Vec::new(), 0))
        });
        loops.spawn(async move {
            // What is to end within 60 ms is claimed together, as the worker does; at least two.
            let batch = ((f64::from(slots) / task.as_secs_f64() * 0.06).ceil() as u32).clamp(2, slots);
            let (mut waits, mut done) = (Vec::new(), 0);
            let interval = task.mul_f64(f64::from(batch) / f64::from(slots));
            let mut due = start + interval.mul_f64(number as f64 / workers as f64);
            tokio::time::sleep_until(due.into()).await;
            for call in 0.. {
                let asked = Instant::now();
                let reply = session.claim(&request(format!("t{call}"), batch)).await?;
                waits.push(asked.elapsed().as_secs_f64() * 1e3);
                settle(&session, &reply.claims).await?;
                done += reply.claims.len();
                due += interval;
                if Instant::now() >= end {
                    break;
                }
                // One that is late goes on at once.
                tokio::time::sleep_until(due.into()).await;
            }
            Ok((waits, done))
        });
    }
    let (mut waits, mut done) = (Vec::new(), 0);
    while let Some(ended) = loops.join_next().await {
        let (more, count) = ended??;
        waits.extend(more);
        done += count;
    }
    let took = start.elapsed().as_secs_f64();
    let busy = (cpu_ms(server.pid()) - cpu) / 10.0 / took;
    let (p50, p99) = (percentile(&mut waits, 0.5), percentile(&mut waits, 0.99));
    println!(
        "{workers:>7} {slots:>5} {:>7.1} {wanted:>9.0} {:>9.0} {busy:>9.0} {p50:>10.2} {p99:>9.2}",
        task.as_secs_f64(),
        done as f64 / took
    );
    Ok(())
}

/// What a fleet with nothing to do has done.
#[derive(Default)]
struct Fleet {
    claims: Cell<u64>,
    done: Cell<u64>,
}

/// One of it: claims when it is woken, until nothing is left for it.
async fn idler(session: Session, mut wakeups: Wakeups, fleet: Rc<Fleet>) -> Outcome<()> {
    while wakeups.next().await.is_some() {
        loop {
            let call = fleet.claims.get() + 1;
            fleet.claims.set(call);
            let reply = session.claim(&request(format!("t{call}"), 4)).await?;
            if reply.claims.is_empty() {
                break;
            }
            settle(&session, &reply.claims).await?;
            fleet.done.set(fleet.done.get() + reply.claims.len() as u64);
            if reply.claims.len() < 4 {
                break;
            }
        }
    }
    Ok(())
}

/// What a submission costs a fleet that has nothing to do. "everybody" adds the message to all that was sent before each worker had a channel of its own.
async fn wake(workers: usize, times: u64) -> Outcome<()> {
    let server = Server::start()?;
    let client = client(&server)?;
    let (fleet, local) = (Rc::new(Fleet::default()), tokio::task::LocalSet::new());
    let conn = connect(&client).await?;
    for number in 0..workers {
        let session = session(&client, number).await?;
        let wakeups = Wakeups::subscribe(&client, session.worker()).await?;
        // As a worker does when it starts: it asks, finds nothing, and is known to be idle from then on.
        session.claim(&request("first".to_owned(), 4)).await?;
        local.spawn_local(idler(session, wakeups, Rc::clone(&fleet)));
    }
    let measured = async {
        println!("a submission to {workers} idle workers of 4 slots, simulated; medians of {times}, in turns");
        println!("{:>7} {:>10} {:>12} {:>14} {:>18}", "tasks", "woken", "claims", "Redis ms", "all claimed, ms");
        let (mut con, mut serial) = (server.con()?, 0);
        for tasks in [1_u64, 10, 100] {
            let mut rows = [const { [const { Vec::new() }; 3] }; 2];
            for turn in 0..2 * times {
                let is_everybody = turn % 2 == 1;
                let (before, had, cpu) = (fleet.claims.get(), fleet.done.get(), cpu_ms(server.pid()));
                let start = Instant::now();
                add(&conn, (serial..serial + tasks).map(line)).await?;
                serial += tasks;
                if is_everybody {
                    redis::cmd("PUBLISH").arg(client.keys().name(Key::Wake)).arg("todo").exec(&mut con)?;
                }
                while fleet.done.get() < had + tasks {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                let took = start.elapsed().as_secs_f64() * 1e3;
                // Until nobody asks any more.
                let mut seen = 0;
                while seen != fleet.claims.get() {
                    seen = fleet.claims.get();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let row = &mut rows[usize::from(is_everybody)];
                row[0].push((fleet.claims.get() - before) as f64);
                row[1].push(cpu_ms(server.pid()) - cpu);
                row[2].push(took);
            }
            for (who, row) in ["needed", "everybody"].iter().zip(&rows) {
                let [claims, cpu, took] = row.each_ref().map(|values| median(values));
                println!("{tasks:>7} {who:>10} {claims:>12.0} {cpu:>14.2} {took:>18.2}");
            }
        }
        println!();
        Outcome::Ok(())
    };
    local.run_until(measured).await
}

fn main() -> Outcome<()> {
    let parts = Parts::of_args();
    simulated::raise_open_files()?;
    // The server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if parts.wants("wake") {
        runtime.block_on(wake(parts.size(1000, 20), parts.size(15, 1)))?;
    }
    if parts.wants("thousand") {
        println!("a thousand workers on one Redis, simulated on this machine beside it; tasks of so many seconds");
        println!(
            "{:>7} {:>5} {:>7} {:>9} {:>9} {:>9} {:>10} {:>9}",
            "workers", "slots", "seconds", "wanted/s", "tasks/s", "Redis %", "claim p50", "p99 ms"
        );
        let (workers, length) = parts.size((1000, 10), (10, 1));
        for task in [60.0, 10.0, 3.0, 1.5] {
            runtime.block_on(thousand(workers, 32, Duration::from_secs_f64(task), Duration::from_secs(length)))?;
        }
        println!();
    }
    Ok(())
}
