//! How much one Redis carries.

use std::time::Instant;

use crate::Outcome;
use crate::cpu::cpu_ms;
use crate::simulated::{Filled, request, settle};
use crate::stats::percentile;

/// Workers that claim a batch and settle it, again and again, without running anything.
pub(crate) async fn fleet(workers: usize, tasks: u64) -> Outcome<()> {
    println!(
        "claims and settlements by {workers} simulated workers through one Redis, client and server on this machine"
    );
    println!(
        "{:>6} {:>10} {:>16} {:>18} {:>12} {:>12}",
        "batch", "tasks/s", "Redis us/task", "server alone /s", "claim p50 ms", "p99 ms"
    );
    for batch in [8, 16, 32, 64] {
        let Filled { server, sessions } = Filled::start(workers, tasks).await?;
        let (cpu, start) = (cpu_ms(server.pid()), Instant::now());
        let mut loops = tokio::task::JoinSet::new();
        for session in sessions {
            loops.spawn(async move {
                let mut waits = Vec::new();
                for call in 0.. {
                    let asked = Instant::now();
                    let reply = session.claim(&request(format!("t{call}"), batch)).await?;
                    waits.push(asked.elapsed().as_secs_f64() * 1e3);
                    if reply.claims.is_empty() {
                        break;
                    }
                    settle(&session, &reply.claims).await?;
                }
                Ok::<_, distcomp::queue::QueueError>(waits)
            });
        }
        let mut waits = Vec::new();
        while let Some(done) = loops.join_next().await {
            waits.extend(done??);
        }
        let rate = tasks as f64 / start.elapsed().as_secs_f64();
        let us = (cpu_ms(server.pid()) - cpu) * 1e3 / tasks as f64;
        let (p50, p99) = (percentile(&mut waits, 0.5), percentile(&mut waits, 0.99));
        println!("{batch:>6} {rate:>10.0} {us:>16.1} {:>18.0} {p50:>12.2} {p99:>12.2}", 1e6 / us);
        let left: u64 = redis::cmd("HLEN").arg("todo_tasks").query(&mut server.con()?)?;
        if left != 0 {
            return Err(format!("{left} tasks are left").into());
        }
    }
    println!();
    Ok(())
}
