//! Simulated workers: the real client code, and no task run.

use std::sync::Arc;
use std::time::Duration;

use distcomp::model::{Amounts, AttemptRecord, Bytes, Class, Demand, MilliCores, Offer, Room, Stocks, TaskId};
use distcomp::queue::session::{AttachOptions, Claim, ClaimRequest, Registration, STARVE, Settle, Settlement};
use distcomp::queue::{Client, Layouts, QueueError, Session};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Outcome;
use crate::client::{add, client, connect};
use crate::redis_server::Server;

pub(crate) const OFFER: Offer =
    Offer { amounts: Amounts::NONE.with_mem(Bytes(1 << 50)).with_cpu(MilliCores(1_000_000)) };

/// Line `i`: five classes, twenty priorities, in no order that a hash or an index would like.
pub(crate) fn line(i: u64) -> String {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let mem = ["0", "1", "2", "0.5", "8"][(mixed % 5) as usize];
    format!("shell:{mem}:1:{}:./run {i}", mixed / 5 % 20)
}

/// A server, workers attached to it, and tasks that wait there.
pub(crate) struct Filled {
    pub(crate) server: Server,
    pub(crate) sessions: Vec<Session>,
}

impl Filled {
    pub(crate) async fn start(workers: usize, tasks: u64) -> Outcome<Self> {
        let server = Server::start()?;
        let client = client(&server)?;
        let mut sessions = Vec::with_capacity(workers);
        for number in 0..workers {
            sessions.push(session(&client, number).await?);
        }
        add(&connect(&client).await?, (0..tasks).map(line)).await?;
        Ok(Self { server, sessions })
    }
}

/// As many open files as this process may have: each worker has connections of its own.
pub(crate) fn raise_open_files() -> Outcome<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

pub(crate) async fn session(client: &Client, number: usize) -> Outcome<Session> {
    let registration = Registration {
        dead_after_seconds: 15,
        instance: format!("bench{number}"),
        host: "bench".to_owned(),
        boot_id: String::new(),
        pid: 1,
        start_ticks: 1,
        version: String::new(),
        since: 0,
        containment: String::new(),
        layouts: Layouts::of_this_build(),
    };
    let conn = client.connect().await?;
    let standing = AttachOptions { offer: Some(OFFER), ..AttachOptions::default() };
    Ok(Session::attach(conn, format!("node{number}").parse()?, &registration, None, standing).await?)
}

pub(crate) fn request(token: String, slots: u32) -> ClaimRequest {
    ClaimRequest {
        token,
        room: Room { slots, amounts: OFFER.amounts },
        prefetch: Room::default(),
        offer: Some(OFFER),
        traits: Arc::default(),
        free: Stocks::default(),
        prefer_wait: Duration::ZERO,
        dead_after: Duration::from_secs(40),
        starve_after: STARVE,
        wants_leftovers: false,
        wants_signatures: false,
        skip: Vec::new(),
    }
}

fn finished(session: &Session, claim: &Claim) -> Settle {
    let record = AttemptRecord {
        start_ms: Some(1_795_000_000_000),
        peak_bytes: Some(3 << 20),
        token: claim.token.clone(),
        ..AttemptRecord::bare(
            claim.attempt,
            session.worker().clone(),
            1_795_000_000_002,
            distcomp::model::Outcome::Exit(0),
        )
    };
    Settle {
        line: Arc::clone(&claim.line),
        id: TaskId::of(&claim.line),
        token: claim.token.clone(),
        class: Some(Class { demand: Demand::NONE.with_mem(Bytes::GIB).with_cpu(MilliCores::CORE), ..Class::default() }),
        record: Some(record),
        settlement: Settlement::Finish { value: format!("{}: \"\"", session.worker()) },
    }
}

/// Settles claims as finished, together.
pub(crate) async fn settle(session: &Session, claims: &[Claim]) -> Result<(), QueueError> {
    if claims.is_empty() {
        return Ok(());
    }
    let all: Vec<Settle> = claims.iter().map(|claim| finished(session, claim)).collect();
    session.settle(&all, 4, false).await?;
    Ok(())
}
