//! The questions of the original's own benchmark.

use std::time::Instant;

use crate::Outcome;
use crate::client::add;
use crate::simulated::{Filled, line, request, settle};
use crate::stats::{median, percentile};

/// Single operations against batches.
pub(crate) async fn batches() -> Outcome<()> {
    const N: u64 = 1000;
    let Filled { server, sessions } = Filled::start(1, 0).await?;
    let (session, mut con) = (&sessions[0], server.con()?);
    let conn = session.connection();
    let (mut single_ops, mut piped_ops, mut one_adds, mut adds, mut one_claims, mut claims) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let timed = |times: &mut Vec<f64>, start: Instant| times.push(start.elapsed().as_secs_f64() * 1e3);
    for round in 0..5 {
        let from = round * 10 * N;
        let start = Instant::now();
        for i in 0..N {
            redis::cmd("HSET").arg("ops").arg(i).arg("x").exec(&mut con)?;
        }
        timed(&mut single_ops, start);
        let start = Instant::now();
        let mut pipe = redis::pipe();
        for i in 0..N {
            pipe.cmd("HSET").arg("ops").arg(i).arg("y").ignore();
        }
        pipe.exec(&mut con)?;
        timed(&mut piped_ops, start);

        let start = Instant::now();
        for i in 0..N {
            add(conn, std::iter::once(line(from + i))).await?;
        }
        timed(&mut one_adds, start);
        let start = Instant::now();
        add(conn, (from + N..from + 2 * N).map(line)).await?;
        timed(&mut adds, start);

        let mut held = Vec::new();
        let start = Instant::now();
        for i in 0..N {
            held.extend(session.claim(&request(format!("a{round}.{i}"), 1)).await?.claims);
        }
        timed(&mut one_claims, start);
        let start = Instant::now();
        for i in 0..N.div_ceil(250) {
            held.extend(session.claim(&request(format!("b{round}.{i}"), 250)).await?.claims);
        }
        timed(&mut claims, start);
        if held.len() as u64 != 2 * N {
            return Err(format!("claimed {}", held.len()).into());
        }
        for part in held.chunks(250) {
            settle(session, part).await?;
        }
    }
    println!("1,000 operations: one by one, and together; ms, medians of 5");
    println!("{:<34} {:>10} {:>10} {:>8}", "", "one by one", "together", "times");
    for (name, single, together) in [
        ("HSET, pipelined", &single_ops, &piped_ops),
        ("submit a task, in batches of 250", &one_adds, &adds),
        ("fetch a task, in claims of 250", &one_claims, &claims),
    ] {
        let (single, together) = (median(single), median(together));
        println!("{name:<34} {single:>10.1} {together:>10.1} {:>8.1}", single / together);
    }
    Ok(())
}

/// Twenty workers at once.
pub(crate) async fn twenty() -> Outcome<()> {
    let Filled { server: _server, sessions } = Filled::start(20, 20 * 200 * 4).await?;
    let mut loops = tokio::task::JoinSet::new();
    for session in sessions {
        loops.spawn(async move {
            let mut times = Vec::new();
            for call in 0..200 {
                let start = Instant::now();
                let reply = session.claim(&request(format!("t{call}"), 4)).await?;
                settle(&session, &reply.claims).await?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, distcomp::queue::QueueError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = loops.join_next().await {
        times.extend(done??);
    }
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let (p95, p99) = (percentile(&mut times, 0.95), percentile(&mut times, 0.99));
    println!(
        "20 workers at once, claim of 4 and settlement: mean {mean:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms = {:.2} x mean\n",
        p99 / mean
    );
    Ok(())
}
