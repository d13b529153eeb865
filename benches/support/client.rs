//! Simulated workers: the real client code, and no task run.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use distcomp::config::{Endpoint, RedisSettings};
use distcomp::model::{AttemptEnd, AttemptRecord, Bytes, FieldOrder, MilliCores, TaskId, TaskLine};
use distcomp::queue::session::{Claim, ClaimRequest, Demand, Registration, STARVE, Settle, Settlement};
use distcomp::queue::submit::{BATCH, NewTask};
use distcomp::queue::{Client, Connection, Session, submit};

use crate::redis_server::Server;

type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) const CAPACITY: Demand = Demand { mem: Bytes(1 << 50), cpu: MilliCores(1_000_000) };

/// Line `i`: five classes, twenty priorities, in no order that a hash or an index would like.
pub(crate) fn line(i: u64) -> String {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let mem = ["0", "1", "2", "0.5", "8"][(mixed % 5) as usize];
    format!("shell:{mem}:1:{}:./run {i}", mixed / 5 % 20)
}

pub(crate) fn client(server: &Server) -> Outcome<Client> {
    let endpoint = Endpoint::Unix { path: server.socket() };
    let settings = RedisSettings { endpoint, db: 0, user: None, password: None, tls: None, sentinel_login: None };
    Ok(Client::new(&settings, "", Duration::from_secs(30))?)
}

pub(crate) async fn session(client: &Client, number: usize) -> Outcome<Session> {
    let registration = Registration {
        instance: format!("bench{number}"),
        host: "bench".to_owned(),
        boot_id: String::new(),
        pid: 1,
        start_ticks: 1,
        version: String::new(),
        since: 0,
        containment: String::new(),
    };
    let conn = client.connect().await?;
    Ok(Session::attach(conn, format!("node{number}").parse()?, &registration, None, Some(CAPACITY)).await?)
}

pub(crate) async fn add(conn: &Connection, lines: impl Iterator<Item = String>) -> Outcome<()> {
    let mut lines = lines.peekable();
    while lines.peek().is_some() {
        let batch: Vec<NewTask> = lines
            .by_ref()
            .take(BATCH)
            .map(|line| TaskLine::parse(&line, FieldOrder::MemCpuPrio).map(|task| NewTask::of(&task)))
            .collect::<Result<_, _>>()?;
        submit::submit(conn, &batch, false).await?;
    }
    Ok(())
}

pub(crate) fn request(token: String, slots: u32) -> ClaimRequest {
    ClaimRequest {
        token,
        slots,
        headroom: CAPACITY,
        ahead: 0,
        ahead_demand: CAPACITY,
        capacity: CAPACITY,
        dead_after: Duration::from_secs(40),
        starve_after: STARVE,
        wants_leftovers: false,
        wants_signatures: false,
        skip: Vec::new(),
    }
}

pub(crate) fn finished(session: &Session, claim: &Claim) -> Settle {
    let record = AttemptRecord {
        attempt: claim.attempt,
        worker: session.worker().clone(),
        start_ms: Some(1_795_000_000_000),
        end_ms: 1_795_000_000_002,
        end: AttemptEnd::Exit(0),
        peak_bytes: Some(3 << 20),
        peak_source: None,
        stdout_tail: String::new(),
        stderr_tail: String::new(),
        token: claim.token.clone(),
    };
    Settle {
        line: Arc::clone(&claim.line),
        id: TaskId::of(&claim.line),
        token: claim.token.clone(),
        demand: Some(Demand { mem: Bytes(1 << 30), cpu: MilliCores(1000) }),
        record: Some(record),
        settlement: Settlement::Finish { value: format!("{}: \"\"", session.worker()) },
    }
}
