//! The queue alone, by the real client code and no task run: what a claim costs at which depth, how much one Redis carries, submission, memory.
//!
//! `cargo bench --bench queue [-- PART...]`; parts: `depth [DEPTH...]`, `fleet`, `submit [LINES]`, `memory [LINES]`, `suite`; by default all of them.

#[path = "support/client.rs"]
mod client;
#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/stats.rs"]
mod stats;

use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use client::{add, client, finished, line, request, session};
use cpu::cpu_ms;
use distcomp::queue::session::Settle;
use redis_server::Server;
use stats::{median, percentile};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Microseconds that the server has spent in scripts.
fn script_us(con: &mut redis::Connection) -> Outcome<f64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query(con)?;
    let stat = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")?.split("usec=").nth(1));
    Ok(stat.and_then(|usec| usec.split(',').next()?.parse().ok()).unwrap_or(0.0))
}

fn used_memory(con: &mut redis::Connection) -> Outcome<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query(con)?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.ok_or("INFO memory has no used_memory")?.trim().parse()?)
}

/// One claim of 64 at a depth, beside what the hash itself costs there: `HDEL` and `HSET` of each line in a loop in Lua.
async fn depth(depths: &[u64]) -> Outcome<()> {
    const PLAIN: &str = "for _, line in ipairs(ARGV) do redis.call('HDEL', KEYS[1], line) redis.call('HSET', KEYS[2], line, 'node1') end";
    const ROUNDS: usize = 100;
    println!("claim of 64 at a depth, server's time; medians of {ROUNDS}, claims and plain moves in turns");
    println!(
        "{:>10} {:>8} {:>14} {:>16} {:>9} {:>9} {:>10}",
        "waiting", "failed", "claim us/task", "plain us/task", "claim x", "plain x", "beyond"
    );
    let mut base = None;
    let mut cases: Vec<(u64, u64)> = depths.iter().map(|depth| (*depth, 0)).collect();
    cases.insert(1.min(cases.len()), (depths.first().copied().unwrap_or(10_000), 100_000));
    for (waiting, failed) in cases {
        let server = Server::start()?;
        let mut con = server.con()?;
        let session = session(&client(&server)?, 1).await?;
        let conn = session.connection().clone();
        conn.load_scripts().await?;
        add(&conn, (0..waiting).map(line)).await?;
        let hash = |con: &mut redis::Connection, key: &str, from: u64, count: u64, value: &str| -> Outcome<()> {
            let all: Vec<u64> = (from..from + count).collect();
            for part in all.chunks(1000) {
                let mut cmd = redis::cmd("HSET");
                cmd.arg(key);
                for i in part {
                    cmd.arg(line(*i)).arg(value);
                }
                cmd.exec(con)?;
            }
            Ok(())
        };
        hash(&mut con, "plain_todo", 0, waiting, "")?;
        hash(&mut con, "failed_tasks", 1 << 40, failed, "node7,")?;
        let plain = redis::Script::new(PLAIN);
        let (mut claims, mut plains, mut next) = (Vec::new(), Vec::new(), waiting);
        for round in 0..ROUNDS {
            let before = script_us(&mut con)?;
            let reply = session.claim(&request(format!("t{round}"), 64)).await?;
            claims.push((script_us(&mut con)? - before) / 64.0);
            if reply.claims.len() != 64 {
                return Err(format!("a claim brought {}", reply.claims.len()).into());
            }
            let batch: Vec<Settle> = reply.claims.iter().map(|claim| finished(&session, claim)).collect();
            session.settle(&batch, 4, false).await?;
            add(&conn, (next..next + 64).map(line)).await?;
            // Lines from all over the hash, as the claimed ones are.
            let mut call = plain.key("plain_todo");
            call.key("plain_in_progress");
            for i in 0..64 {
                call.arg(line((round as u64 * 64 + i).wrapping_mul(0x9e37_79b9) % waiting));
            }
            let before = script_us(&mut con)?;
            let () = call.invoke(&mut con)?;
            plains.push((script_us(&mut con)? - before) / 64.0);
            hash(&mut con, "plain_todo", next, 64, "")?;
            next += 64;
        }
        let (claim, plain) = (median(&claims), median(&plains));
        let (claim_base, plain_base) = *base.get_or_insert((claim, plain));
        let (claim_x, plain_x) = (claim / claim_base, plain / plain_base);
        println!(
            "{waiting:>10} {failed:>8} {claim:>14.2} {plain:>16.2} {claim_x:>9.2} {plain_x:>9.2} {:>10.2}",
            claim_x / plain_x
        );
    }
    println!("beyond: growth of the claim over growth of the plain move, both since the first row.\n");
    Ok(())
}

/// Workers that claim a batch and settle it, again and again, without running anything.
async fn fleet(workers: usize, tasks: u64) -> Outcome<()> {
    println!(
        "claims and settlements by {workers} simulated workers through one Redis, client and server on this machine"
    );
    println!(
        "{:>6} {:>10} {:>16} {:>18} {:>12} {:>12}",
        "batch", "tasks/s", "Redis us/task", "server alone /s", "claim p50 ms", "p99 ms"
    );
    for batch in [8, 16, 32, 64] {
        let server = Server::start()?;
        let client = client(&server)?;
        let mut sessions = Vec::new();
        for number in 0..workers {
            sessions.push(session(&client, number).await?);
        }
        let conn = client.connect().await?;
        conn.load_scripts().await?;
        add(&conn, (0..tasks).map(line)).await?;
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
                    let all: Vec<Settle> = reply.claims.iter().map(|claim| finished(&session, claim)).collect();
                    session.settle(&all, 4, false).await?;
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

/// The command as people use it, with a file of so many lines.
fn submit_file(lines: u64) -> Outcome<()> {
    println!("distcomp-submit of a file, whole command");
    println!("{:>9} {:>10} {:>13} {:>14}", "lines", "lines/s", "submitter MB", "Redis us/line");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("tasks");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for i in 0..lines {
        writeln!(file, "{}", line(i))?;
    }
    file.flush()?;
    let (mut rates, mut peaks, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let server = Server::start()?;
        let conf = dir.path().join("conf.json");
        std::fs::write(&conf, serde_json::json!({"redis_url": server.url()}).to_string())?;
        let cpu = cpu_ms(server.pid());
        let start = Instant::now();
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_distcomp-submit"))
            .args(["--quiet", "--config"])
            .args([&conf, &path])
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let mut peak = 0.0_f64;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
            peak = peak.max(kib.unwrap_or(0.0));
            std::thread::sleep(Duration::from_millis(5));
        };
        rates.push(lines as f64 / start.elapsed().as_secs_f64());
        peaks.push(peak / 1024.0);
        costs.push((cpu_ms(server.pid()) - cpu) * 1e3 / lines as f64);
        let there: u64 = redis::cmd("HLEN").arg("todo_tasks").query(&mut server.con()?)?;
        if !status.success() || there != lines {
            return Err(format!("{there} of {lines} lines are there").into());
        }
    }
    println!("{lines:>9} {:>10.0} {:>13.1} {:>14.2}  (median of 3)\n", median(&rates), median(&peaks), median(&costs));
    Ok(())
}

/// Bytes of the server for each waiting task, beside the hash that Python DistComp would have.
async fn memory(lines: u64) -> Outcome<()> {
    let mut used = Vec::new();
    for with_index in [false, true] {
        let server = Server::start()?;
        let mut con = server.con()?;
        let conn = client(&server)?.connect().await?;
        conn.load_scripts().await?;
        let before = used_memory(&mut con)?;
        if with_index {
            add(&conn, (0..lines).map(line)).await?;
        } else {
            for i in 0..lines / 1000 {
                let mut cmd = redis::cmd("HSET");
                cmd.arg("todo_tasks");
                for i in i * 1000..i * 1000 + 1000 {
                    cmd.arg(line(i)).arg("");
                }
                cmd.exec(&mut con)?;
            }
        }
        used.push((used_memory(&mut con)? - before) / lines as f64);
    }
    println!("memory of the server for each of {lines} waiting tasks");
    println!("bare hash {:.1} B, with the index {:.1} B: {:.2} x\n", used[0], used[1], used[1] / used[0]);
    Ok(())
}

/// What the original's own benchmark asks: single operations against batches, and twenty workers at once.
async fn suite() -> Outcome<()> {
    const N: u64 = 1000;
    let server = Server::start()?;
    let session = session(&client(&server)?, 1).await?;
    let conn = session.connection().clone();
    conn.load_scripts().await?;
    let mut con = server.con()?;
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
            add(&conn, std::iter::once(line(from + i))).await?;
        }
        timed(&mut one_adds, start);
        let start = Instant::now();
        add(&conn, (from + N..from + 2 * N).map(line)).await?;
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
            session.settle(&part.iter().map(|claim| finished(&session, claim)).collect::<Vec<_>>(), 4, false).await?;
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

    add(&conn, (0..20 * 200 * 4).map(|i| line((1 << 41) + i))).await?;
    let mut loops = tokio::task::JoinSet::new();
    for number in 0..20 {
        let session = self::session(&client(&server)?, 100 + number).await?;
        loops.spawn(async move {
            let mut times = Vec::new();
            for call in 0..200 {
                let start = Instant::now();
                let reply = session.claim(&request(format!("t{call}"), 4)).await?;
                let all: Vec<Settle> = reply.claims.iter().map(|claim| finished(&session, claim)).collect();
                session.settle(&all, 4, false).await?;
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

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let parts: Vec<&str> = args.iter().map(String::as_str).filter(|arg| arg.chars().all(char::is_lowercase)).collect();
    let numbers: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    // The server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let number = |default: u64| numbers.first().copied().unwrap_or(if is_bench { default } else { default / 1000 });
    if wants("depth") {
        let usual = if is_bench { vec![10_000, 100_000, 1_000_000] } else { vec![8_000, 9_000] };
        runtime.block_on(depth(if numbers.is_empty() { &usual } else { &numbers }))?;
    }
    if wants("fleet") {
        runtime.block_on(fleet(100, if is_bench { 200_000 } else { 2000 }))?;
    }
    if wants("submit") {
        submit_file(number(1_000_000))?;
    }
    if wants("memory") {
        runtime.block_on(memory(number(1_000_000)))?;
    }
    if wants("suite") {
        runtime.block_on(suite())?;
    }
    Ok(())
}
