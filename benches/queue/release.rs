//! What the release of blocked lines costs, and what claims wait meanwhile.

use std::time::Instant;

use distcomp::queue::session::Claim;
use distcomp::queue::{Connection, Session, batches};

use crate::Outcome;
use crate::batches::{Case, Made, fill, plain};
use crate::depth::script_us;
use crate::simulated::{Filled, request, settle};
use crate::stats::percentile;

/// What is blocked: all behind one batch, or behind a thousand steps of one task each.
const CASES: [Case; 2] = [
    ("one gate", |at, _| match at {
        0..1000 => (plain("", at), Some("a".to_owned())),
        _ => (plain(",after=a", at), Some("b".to_owned())),
    }),
    ("1,000 gates", |at, _| match at {
        0..1000 => (plain("", at), Some(format!("a/{at}"))),
        _ => (plain(&format!(",after=a/{}", at % 1000), at), Some("b".to_owned())),
    }),
];

/// So many lines, nearly all of them blocked. They are released by steps as a worker takes them, first while nothing else happens, then while another
/// worker claims and settles plain tasks.
pub(crate) async fn release(tasks: u64) -> Outcome<()> {
    println!("release of {tasks} blocked lines, server's time a line; p99 of claims of 16 before, and meanwhile");
    println!(
        "{:>12} {:>10} {:>11} {:>6} {:>10} {:>12} {:>6}",
        "", "submit us", "release us", "x", "p99 ms", "meanwhile", "x"
    );
    for (name, make) in CASES {
        let mut con;
        let (submit, release) = {
            let Filled { server, sessions } = Filled::start(1, 0).await?;
            let session = &sessions[0];
            con = server.con()?;
            let upstream = blocked(session, tasks, make).await?;
            let submit = script_us(&mut con)?;
            end(session, upstream).await?;
            let settled = script_us(&mut con)?;
            all(session.connection()).await?;
            (submit / tasks as f64, (script_us(&mut con)? - settled) / tasks as f64)
        };
        let Filled { server, sessions } = Filled::start(2, 0).await?;
        let upstream = blocked(&sessions[0], tasks, make).await?;
        fill(sessions[0].connection(), tasks, |at, _| (format!("shell:1:1:9:./run first {at}"), None)).await?;
        let mut before = Vec::new();
        for call in 0..1000.min(tasks / 32) {
            before.push(claim(&sessions[1], call).await?);
        }
        end(&sessions[0], upstream).await?;
        let mut meanwhile = Vec::new();
        let claims = async {
            for call in 1000.. {
                meanwhile.push(claim(&sessions[1], call).await?);
            }
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        tokio::select! {
            released = all(sessions[0].connection()) => released?,
            failed = claims => failed?,
        }
        drop(server);
        let (before, meanwhile) = (percentile(&mut before, 0.99), percentile(&mut meanwhile, 0.99));
        println!(
            "{name:>12} {submit:>10.2} {release:>11.2} {:>6.2} {before:>10.2} {meanwhile:>12.2} {:>6.2}",
            release / submit,
            meanwhile / before
        );
    }
    println!();
    Ok(())
}

/// Submits a case, and claims what the rest waits for.
async fn blocked(session: &Session, tasks: u64, make: fn(u64, u64) -> Made) -> Outcome<Vec<Claim>> {
    fill(session.connection(), tasks, make).await?;
    let reply = session.claim(&request("upstream".to_owned(), 1000)).await?;
    if reply.claims.len() != 1000 {
        return Err(format!("{} tasks are not blocked", reply.claims.len()).into());
    }
    Ok(reply.claims)
}

async fn end(session: &Session, upstream: Vec<Claim>) -> Outcome<()> {
    for part in upstream.chunks(50) {
        settle(session, part).await?;
    }
    Ok(())
}

/// Steps of a releaser until there is nothing to do, with a rest after each as long as it took.
async fn all(conn: &Connection) -> Outcome<()> {
    loop {
        let start = Instant::now();
        if !batches::release(conn, None).await?.has_more {
            return Ok(());
        }
        tokio::time::sleep(start.elapsed()).await;
    }
}

/// The milliseconds that a claim of 16 took. What it brought is settled.
async fn claim(session: &Session, call: u64) -> Outcome<f64> {
    let asked = Instant::now();
    let reply = session.claim(&request(format!("t{call}"), 16)).await?;
    let ms = asked.elapsed().as_secs_f64() * 1e3;
    settle(session, &reply.claims).await?;
    Ok(ms)
}
