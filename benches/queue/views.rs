//! What it takes to look at a large queue.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::batches::{CASES, fill};
use crate::cpu::cpu_ms;
use crate::simulated::{Filled, request, settle};
use crate::stats::median;

/// The whole command, in turns: the overview, and the list of a thousand batches. Half of the tasks have finished.
pub(crate) async fn views(tasks: u64, rounds: usize) -> Outcome<()> {
    let Filled { server, sessions } = Filled::start(1, 0).await?;
    let (_, make) = CASES[2];
    fill(sessions[0].connection(), tasks, make).await?;
    let mut done = 0;
    for call in 0.. {
        let reply = sessions[0].claim(&request(format!("t{call}"), 250)).await?;
        settle(&sessions[0], &reply.claims).await?;
        done += reply.claims.len() as u64;
        if done >= tasks / 2 {
            break;
        }
    }
    println!("views of {tasks} tasks in 1,000 batches, whole command; medians of {rounds} in turns");
    println!("{:>12} {:>10} {:>6} {:>14}", "", "ms", "x", "server ms");
    let views: [(&str, &[&str]); 3] = [("overview", &[]), ("batches", &["batches"]), ("batch s7", &["batch", "s7"])];
    let mut times = views.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        for (times, (_, args)) in times.iter_mut().zip(views) {
            let (cpu, start) = (cpu_ms(server.pid()), Instant::now());
            let mut command = Command::new(env!("CARGO_BIN_EXE_distcomp-status"));
            command.args(["--redis-url", &server.url()]).args(args).stdout(Stdio::null());
            if !command.status()?.success() {
                return Err(format!("distcomp-status {args:?} has failed").into());
            }
            times.0.push(start.elapsed().as_secs_f64() * 1e3);
            times.1.push(cpu_ms(server.pid()) - cpu);
        }
    }
    let plain = median(&times[0].0);
    for ((name, _), (ms, server)) in views.iter().zip(&times) {
        println!("{name:>12} {:>10.1} {:>6.2} {:>14.1}", median(ms), median(ms) / plain, median(server));
    }
    println!();
    Ok(())
}
