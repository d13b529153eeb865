//! What a claim costs at which depth of the queue.

use crate::Outcome;
use crate::client::add;
use crate::simulated::{Filled, line, request, settle};
use crate::stats::median;

/// Microseconds that the server has spent in scripts.
pub(crate) fn script_us(con: &mut redis::Connection) -> Outcome<f64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query(con)?;
    let stat = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")?.split("usec=").nth(1));
    Ok(stat.and_then(|usec| usec.split(',').next()?.parse().ok()).unwrap_or(0.0))
}

/// One claim of 64 at a depth, beside what the hash itself costs there: `HDEL` and `HSET` of each line in a loop in Lua.
pub(crate) async fn depth(depths: &[u64]) -> Outcome<()> {
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
        let Filled { server, sessions } = Filled::start(1, waiting).await?;
        let (session, mut con) = (&sessions[0], server.con()?);
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
            settle(session, &reply.claims).await?;
            add(session.connection(), (next..next + 64).map(line)).await?;
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

/// What stands ahead of the tasks that are claimed.
type Shape = (&'static str, fn(u64) -> String);

/// Demands ahead: by memory, by memory and cores, of two thirds of them what fits, and each for a host of its own that is another.
const SHAPES: [Shape; 4] = [
    ("memory", |at| format!("shell:{}:1:30:true # {at}", 2_000_000 + at)),
    ("both", |at| format!("shell:{}:{}:30:true # {at}", 2_000_000 + at % 71, 2_000_000 + at / 71)),
    ("two thirds fit", |at| match at % 3 {
        0 => format!("shell:{}:1:30:true # {at}", 2_000_000 + at),
        _ => format!("shell:0.{at:05}:1:30:true # {at}"),
    }),
    ("other hosts", |at| format!("shell,constraint=host=n{at}:0:1:30:true # {at}")),
];

/// Claims of one and of 64 small tasks behind demands that no worker can give.
pub(crate) async fn too_large_ahead(demands: &[u64]) -> Outcome<()> {
    const ROUNDS: usize = 100;
    println!(
        "claims behind demands that are too large, server's time of a claim in us; median of {ROUNDS}, the longest"
    );
    println!("{:>10} {:>14} {:>10} {:>10} {:>10} {:>10}", "ahead", "by", "of 1", "longest", "of 64", "longest");
    let rows = demands.iter().flat_map(|ahead| SHAPES.map(|shape| (*ahead, shape)));
    for (ahead, (name, demand)) in rows {
        let Filled { server, sessions } = Filled::start(1, 20_000).await?;
        let (session, mut con) = (&sessions[0], server.con()?);
        add(session.connection(), (0..ahead).map(demand)).await?;
        let mut row = Vec::new();
        for want in [1, 64] {
            let mut times = Vec::new();
            for round in 0..ROUNDS {
                let before = script_us(&mut con)?;
                let reply = session.claim(&request(format!("t{want}-{round}"), want)).await?;
                times.push(script_us(&mut con)? - before);
                settle(session, &reply.claims).await?;
            }
            row.extend([median(&times), times.iter().copied().fold(0.0, f64::max)]);
        }
        println!("{ahead:>10} {name:>14} {:>10.0} {:>10.0} {:>10.0} {:>10.0}", row[0], row[1], row[2], row[3]);
    }
    println!();
    Ok(())
}
