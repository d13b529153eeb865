//! The real client code, as a bench uses it.

use std::time::Duration;

use distcomp::config::{Endpoint, Origin, RedisSettings};
use distcomp::model::{FieldOrder, TaskLine};
use distcomp::queue::submit::{BATCH, NewTask};
use distcomp::queue::{Client, Connection, submit};

use crate::Outcome;
use crate::redis_server::Server;

pub(crate) fn client(server: &Server) -> Outcome<Client> {
    let endpoint = Endpoint::Unix { path: server.socket() };
    let settings = RedisSettings {
        endpoint,
        db: 0,
        user: None,
        password: None,
        tls: None,
        sentinel_login: None,
        origin: Origin::default(),
    };
    Ok(Client::new(&settings, "", Duration::from_secs(30))?)
}

/// A connection, with the scripts loaded.
pub(crate) async fn connect(client: &Client) -> Outcome<Connection> {
    let conn = client.connect().await?;
    conn.load_scripts().await?;
    Ok(conn)
}

/// Submits lines.
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
