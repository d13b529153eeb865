//! Watches the private server, and restarts it when it ends, because nothing else does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::run_context::RunContext;
use crate::local::{LocalServer, refusal_of_disk};
use crate::queue::guard::try_write;
use crate::queue::{Client, Connection, QueueError};

/// Between looks at the process and its socket.
const LOOK: Duration = Duration::from_millis(200);
/// Between questions whether it takes writes.
const WRITES: Duration = Duration::from_secs(1);
/// How long one such question may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long it may refuse writes until the run ends: time to make room, and no more, since what ends meanwhile cannot be recorded.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that does not answer for so long is mentioned.
const SILENCE: Duration = Duration::from_secs(10);

/// What has been seen, and said.
#[derive(Default)]
struct ServerWatch {
    conn: Option<Connection>,
    refused: Option<Instant>,
    silent: Option<Instant>,
    has_said_silent: bool,
    has_said_removed: bool,
}

/// Starts the server again whenever it has ended, and says why; ends with the reason that the run cannot go on. `refuses`: whether it takes no writes now.
pub(super) async fn watch_server(run: &RunContext<'_>, server: &mut LocalServer, refuses: &AtomicBool) -> String {
    let client = Client::new(&run.config.redis, &run.config.key_prefix, ANSWER);
    let mut watch = ServerWatch::default();
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(trouble) = server.trouble() {
            run.context.say(&format!("{trouble}; restarting it with its data"));
            if let Err(error) = server.restart().await {
                return format!("cannot {error}");
            }
            run.context.say("the private server is available again; the run continues");
            watch = ServerWatch { has_said_removed: watch.has_said_removed, ..ServerWatch::default() };
        }
        if !watch.has_said_removed && !server.has_its_directory() {
            watch.has_said_removed = true;
            run.context.warn(&format!(
                "{} was removed: the run continues, but its queue is only in memory and is lost when the server ends",
                server.dir().display()
            ));
        }
        if let Ok(client) = &client
            && asked.elapsed() >= WRITES
        {
            asked = Instant::now();
            let fatal = watch.ask(run, client, server).await;
            refuses.store(watch.refused.is_some(), Ordering::Relaxed);
            if let Some(fatal) = fatal {
                return fatal;
            }
        }
    }
}

impl ServerWatch {
    /// Asks whether the server takes writes; the reason to end when it has not for too long.
    async fn ask(&mut self, run: &RunContext<'_>, client: &Client, server: &LocalServer) -> Option<String> {
        match self.try_write(client).await {
            Ok(()) => {
                if self.refused.take().is_some() {
                    run.context.say("the private server accepts writes again");
                }
                self.silent = None;
                None
            }
            Err(QueueError::Busy { is_loading: false, message }) => {
                let since = *self.refused.get_or_insert_with(|| {
                    run.context.say(&format!(
                        "the private server refuses writes ({message}){}; no new task starts, and the run ends in {} s unless this changes",
                        refusal_of_disk(server.dir(), &message),
                        PATIENCE.as_secs()
                    ));
                    Instant::now()
                });
                (since.elapsed() >= PATIENCE).then(|| {
                    let full = refusal_of_disk(server.dir(), &message);
                    format!("ending the run: the private server refuses writes ({message}){full}")
                })
            }
            Err(_) => {
                self.conn = None;
                let since = *self.silent.get_or_insert_with(Instant::now);
                if since.elapsed() >= SILENCE && !self.has_said_silent {
                    self.has_said_silent = true;
                    run.context.warn("the private server is running but does not answer; the run waits for it");
                }
                None
            }
        }
    }

    async fn try_write(&mut self, client: &Client) -> Result<(), QueueError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => client.connect().await?,
        };
        let answer = try_write(&conn).await;
        self.conn = Some(conn);
        answer
    }
}
