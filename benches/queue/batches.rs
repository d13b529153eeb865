//! What batches, dependencies and a share of the cores cost the server.

use std::collections::BTreeMap;

use distcomp::model::{BatchName, Belonging, FairShare, FieldOrder, Limit, LimitName, TaskLine};
use distcomp::queue::batches::{self, BatchRecord};
use distcomp::queue::submit::{BATCH, NewTask, submit_in};
use distcomp::queue::{Connection, limits, share};

use crate::Outcome;
use crate::depth::script_us;
use crate::memory::used_memory;
use crate::simulated::{Filled, request, settle};
use crate::stats::{median, percentile};

/// A line and the name of what it belongs to.
pub(crate) type Made = (String, Option<String>);

/// What is submitted: its name, and task number so of so many.
pub(crate) type Case = (&'static str, fn(u64, u64) -> Made);

pub(crate) const CASES: [Case; 5] = [
    ("plain", |at, _| (plain("", at), None)),
    ("one batch", |at, _| (plain("", at), Some("s1".to_owned()))),
    ("1,000 batches", |at, all| (plain("", at), Some(format!("s{}", at * 1000 / all)))),
    ("one to one", |at, all| match at.checked_sub(all / 2) {
        None => (plain("", at), Some(format!("a/{at}"))),
        Some(of) => (plain(&format!(",after=a/{of}"), at), Some("b".to_owned())),
    }),
    ("all after one", |at, _| match at {
        0 => (plain("", at), Some("a".to_owned())),
        _ => (plain(",after=a", at), Some("b".to_owned())),
    }),
];

pub(crate) fn plain(needs: &str, at: u64) -> String {
    format!("shell{needs}:1:1:5:./run {at}")
}

/// Submits in the order in which users would, under submissions that begin before and end after it.
async fn submit(conn: &Connection, made: impl Iterator<Item = Made>, tops: &[BatchName]) -> Outcome<()> {
    for top in tops {
        batches::begin(conn, "bench", top, |known| known.unwrap_or_else(|| made_by(top))).await?;
    }
    let mut made = made.peekable();
    while made.peek().is_some() {
        let part: Vec<NewTask> = made.by_ref().take(BATCH).map(task).collect::<Outcome<_>>()?;
        submit_in(conn, &part, false, None, None).await?;
    }
    batches::end(conn, "bench", tops).await?;
    Ok(())
}

/// Submits all of a case.
pub(crate) async fn fill(conn: &Connection, tasks: u64, make: fn(u64, u64) -> Made) -> Outcome<()> {
    let mut tops: Vec<BatchName> = Vec::new();
    for name in (0..tasks).filter_map(|at| make(at, tasks).1) {
        tops.push(name.parse::<BatchName>()?.top());
    }
    tops.sort();
    tops.dedup();
    submit(conn, (0..tasks).map(|at| make(at, tasks)), &tops).await
}

/// Each batch has a user of its own.
fn made_by(top: &BatchName) -> BatchRecord {
    BatchRecord { by: format!("user-of-{top}"), ..BatchRecord::default() }
}

fn task((line, name): Made) -> Outcome<NewTask> {
    let mut task = NewTask::of(&TaskLine::parse(&line, FieldOrder::MemCpuPrio)?);
    let name: Option<BatchName> = name.map(|name| name.parse()).transpose()?;
    task.join(name.map(|name| Belonging::new(name, &[])));
    Ok(task)
}

/// Submission, claims of 16 and settlements of each case, beside those of plain tasks.
pub(crate) async fn batches(tasks: u64, rounds: usize) -> Outcome<()> {
    println!(
        "batches and dependencies, server's time a task of {tasks}; x: of plain tasks; medians of {rounds} in turns"
    );
    println!(
        "{:>14} {:>10} {:>6} {:>10} {:>6} {:>10} {:>6} {:>10} {:>10} {:>12}",
        "", "submit us", "x", "memory B", "x", "run us", "x", "claim p50", "p99 us", "release us"
    );
    let mut rows: [Vec<Row>; CASES.len()] = Default::default();
    for _ in 0..rounds {
        for (rows, (_, make)) in rows.iter_mut().zip(CASES) {
            rows.push(case(tasks, make).await?);
        }
    }
    let mut base: Option<[f64; 3]> = None;
    for ((name, _), rows) in CASES.iter().zip(&rows) {
        let of = |what: fn(&Row) -> f64| median(&rows.iter().map(what).collect::<Vec<_>>());
        let row = Row {
            submit: of(|row| row.submit),
            memory: of(|row| row.memory),
            run: of(|row| row.run),
            claim: [of(|row| row.claim[0]), of(|row| row.claim[1])],
            release: of(|row| row.release),
        };
        let plain = *base.get_or_insert([row.submit, row.memory, row.run]);
        println!(
            "{name:>14} {:>10.2} {:>6.2} {:>10.0} {:>6.2} {:>10.2} {:>6.2} {:>10.0} {:>10.0} {:>12.2}",
            row.submit,
            row.submit / plain[0],
            row.memory,
            row.memory / plain[1],
            row.run,
            row.run / plain[2],
            row.claim[0],
            row.claim[1],
            row.release
        );
    }
    println!("run: claims, settlements and releases. release: the releases that no claim did, a task.\n");
    Ok(())
}

struct Row {
    submit: f64,
    memory: f64,
    run: f64,
    claim: [f64; 2],
    release: f64,
}

async fn case(tasks: u64, make: fn(u64, u64) -> Made) -> Outcome<Row> {
    let Filled { server, sessions } = Filled::start(1, 0).await?;
    let (session, mut con) = (&sessions[0], server.con()?);
    let conn = session.connection();
    let (before, used) = (script_us(&mut con)?, used_memory(&mut con)?);
    fill(conn, tasks, make).await?;
    let submitted = script_us(&mut con)?;
    let memory = (used_memory(&mut con)? - used) / tasks as f64;
    let (mut claims, mut released, mut done) = (Vec::new(), 0.0, 0);
    for call in 0.. {
        let start = script_us(&mut con)?;
        let reply = session.claim(&request(format!("t{call}"), 16)).await?;
        claims.push(script_us(&mut con)? - start);
        done += reply.claims.len() as u64;
        if reply.claims.is_empty() {
            let start = script_us(&mut con)?;
            let left = batches::release(conn, None).await?;
            released += script_us(&mut con)? - start;
            if done == tasks || (!left.has_more && call > tasks * 4) {
                break;
            }
        }
        settle(session, &reply.claims).await?;
    }
    if done != tasks {
        return Err(format!("{done} of {tasks} tasks were claimed").into());
    }
    let each = |us: f64| us / tasks as f64;
    Ok(Row {
        submit: each(submitted - before),
        memory,
        run: each(script_us(&mut con)? - submitted),
        claim: [median(&claims), percentile(&mut claims, 0.99)],
        release: each(released),
    })
}

/// Claims among the tasks of so many owners, in turns without and with a share among them.
pub(crate) async fn owners(owners: u64) -> Outcome<()> {
    const ROUNDS: u64 = 200;
    println!("a claim of 1 and of 16 with {owners} owners, server's time in us, medians of {ROUNDS} in turns");
    for slots in [1, 16] {
        let Filled { server, sessions } = Filled::start(1, 0).await?;
        let (session, mut con) = (&sessions[0], server.con()?);
        let conn = session.connection();
        let tops: Vec<BatchName> = (0..owners).map(|at| format!("s{at}").parse()).collect::<Result<_, _>>()?;
        submit(conn, (0..20_000).map(|at| (plain("", at), Some(format!("s{}", at % owners)))), &tops).await?;
        let modes = [("without", None), ("by user", Some(FairShare::User)), ("by batch", Some(FairShare::Batch))];
        let mut times = modes.map(|_| Vec::new());
        for round in 0..ROUNDS {
            for (mode, (_, by)) in modes.iter().enumerate() {
                share::set(conn, *by, FieldOrder::MemCpuPrio, "bench").await?;
                let start = script_us(&mut con)?;
                let reply = session.claim(&request(format!("t{mode}-{round}"), slots)).await?;
                times[mode].push(script_us(&mut con)? - start);
                settle(session, &reply.claims).await?;
            }
        }
        let plain = median(&times[0]);
        for ((name, _), times) in modes.iter().zip(&times) {
            println!("{slots:>4} {name:>10} {:>8.0} {:>6.2} x", median(times), median(times) / plain);
        }
    }
    println!();
    Ok(())
}

/// Claims of 16 tasks that count against a limit, in turns where it is the only one and where there are so many.
pub(crate) async fn limits(defined: u64) -> Outcome<()> {
    const ROUNDS: u64 = 200;
    let Filled { server, sessions } = Filled::start(1, 0).await?;
    let (session, mut con) = (&sessions[0], server.con()?);
    let conn = session.connection();
    submit(conn, (0..20_000).map(|at| (plain(",limit=l0", at), None)), &[]).await?;
    let all = (0..defined).map(|at| Ok((format!("l{at}").parse()?, "100000".parse()?)));
    let all: BTreeMap<LimitName, Limit> = all.collect::<Outcome<_>>()?;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (mode, times) in times.iter_mut().enumerate() {
            redis::cmd("DEL").arg("distcomp:limits").exec(&mut con)?;
            let some = all.iter().take(if mode == 0 { 1 } else { all.len() });
            limits::set_where_none(conn, &some.map(|(name, limit)| (name.clone(), *limit)).collect()).await?;
            let start = script_us(&mut con)?;
            let reply = session.claim(&request(format!("t{mode}-{round}"), 16)).await?;
            times.push(script_us(&mut con)? - start);
            settle(session, &reply.claims).await?;
        }
    }
    let one = median(&times[0]);
    println!(
        "a claim of 16 that count against one of so many limits, server's time in us, medians of {ROUNDS} in turns"
    );
    for (number, times) in [1, defined].iter().zip(&times) {
        println!("{number:>14} {:>8.0} {:>6.2} x", median(times), median(times) / one);
    }
    println!();
    Ok(())
}
