//! How much one Redis carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::batches::{CASES, fill};
use crate::cpu::cpu_ms;
use crate::simulated::{Filled, request, settle};
use crate::stats::{median, percentile};

/// What a fleet did.
struct Drive {
    rate: f64,
    server_us: f64,
    waits: Vec<f64>,
}

/// Workers that claim a batch and settle it, again and again, without running anything, until so many tasks are done.
async fn drive(filled: Filled, batch: u32, tasks: u64) -> Outcome<Drive> {
    let Filled { server, sessions } = filled;
    let (cpu, start) = (cpu_ms(server.pid()), Instant::now());
    let done = Arc::new(AtomicU64::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for session in sessions {
        let done = Arc::clone(&done);
        loops.spawn(async move {
            let mut waits = Vec::new();
            for call in 0.. {
                let asked = Instant::now();
                let reply = session.claim(&request(format!("t{call}"), batch)).await?;
                waits.push(asked.elapsed().as_secs_f64() * 1e3);
                settle(&session, &reply.claims).await?;
                let claimed = reply.claims.len() as u64;
                if done.fetch_add(claimed, Ordering::Relaxed) + claimed >= tasks {
                    break;
                }
                // What is blocked comes free when others settle; an idle worker of ours is woken.
                if claimed == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<_, distcomp::queue::QueueError>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = loops.join_next().await {
        waits.extend(done??);
    }
    let rate = tasks as f64 / start.elapsed().as_secs_f64();
    let server_us = (cpu_ms(server.pid()) - cpu) * 1e3 / tasks as f64;
    let mut con = server.con()?;
    for waiting in ["todo_tasks", "distcomp:waiting"] {
        let left: u64 = redis::cmd("HLEN").arg(waiting).query(&mut con)?;
        if left != 0 {
            return Err(format!("{left} tasks are left").into());
        }
    }
    Ok(Drive { rate, server_us, waits })
}

/// Plain tasks, by the size of a claim.
pub(crate) async fn fleet(workers: usize, tasks: u64) -> Outcome<()> {
    println!(
        "claims and settlements by {workers} simulated workers through one Redis, client and server on this machine"
    );
    println!(
        "{:>6} {:>10} {:>16} {:>18} {:>12} {:>12}",
        "batch", "tasks/s", "Redis us/task", "server alone /s", "claim p50 ms", "p99 ms"
    );
    for batch in [8, 16, 32, 64] {
        let Drive { rate, server_us, mut waits } = drive(Filled::start(workers, tasks).await?, batch, tasks).await?;
        let (p50, p99) = (percentile(&mut waits, 0.5), percentile(&mut waits, 0.99));
        println!("{batch:>6} {rate:>10.0} {server_us:>16.1} {:>18.0} {p50:>12.2} {p99:>12.2}", 1e6 / server_us);
    }
    println!();
    Ok(())
}

/// Tasks of batches and dependencies in claims of 16, in turns with plain ones.
pub(crate) async fn members(workers: usize, tasks: u64, rounds: usize) -> Outcome<()> {
    println!("the same of {tasks} tasks in claims of 16, with batches and dependencies; medians of {rounds} in turns");
    println!("{:>14} {:>10} {:>6} {:>16} {:>6}", "", "tasks/s", "x", "Redis us/task", "x");
    let mut rows = CASES.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        for (row, (_, make)) in rows.iter_mut().zip(CASES) {
            let filled = Filled::start(workers, 0).await?;
            fill(filled.sessions[0].connection(), tasks, make).await?;
            let Drive { rate, server_us, .. } = drive(filled, 16, tasks).await?;
            row.0.push(rate);
            row.1.push(server_us);
        }
    }
    let plain = (median(&rows[0].0), median(&rows[0].1));
    for ((name, _), (rates, times)) in CASES.iter().zip(&rows) {
        let (rate, us) = (median(rates), median(times));
        println!("{name:>14} {rate:>10.0} {:>6.2} {us:>16.1} {:>6.2}", rate / plain.0, us / plain.1);
    }
    println!();
    Ok(())
}
