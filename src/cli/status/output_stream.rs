//! The output of a running task as a stream of events, for the dashboard and `watch`. It outlives outages of Redis, and ends when the outcome
//! of the task is known.

use std::time::Duration;

use futures_util::stream;
use tokio::time::Instant;

use crate::model::snapshot::TaskState;
use crate::queue::follow::{FollowEvent, OutputSubscription, Stream};
use crate::queue::{Client, QueueError, inspect};
use crate::view::output_event::{OutputEvent, OutputStream};

/// Time between two attempts to reach a server that went away.
const RECONNECT: Duration = Duration::from_secs(2);

/// After a task's last words, how long its outcome is waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// What the task with this line prints, from the beginning of its attempt or of the one it waits for.
pub(super) fn output_stream(client: Client, line: String) -> OutputStream {
    let following = Following { client, line, follow: None, broke: None };
    Box::pin(stream::unfold(following, async |mut following| {
        let printed = following.next().await?;
        Some((printed, following))
    }))
}

struct Following {
    client: Client,
    line: String,
    follow: Option<OutputSubscription>,
    /// When it broke last, and has not been mended yet.
    broke: Option<Instant>,
}

impl Following {
    async fn next(&mut self) -> Option<OutputEvent> {
        if let Some(broke) = self.broke {
            tokio::time::sleep_until(broke + RECONNECT).await;
            if let Err(error) = self.mend().await {
                return self.away(&error);
            }
            self.broke = None;
        }
        let follow = match &mut self.follow {
            Some(follow) => follow,
            none => match OutputSubscription::start(&self.client, &self.line, [Some(0), Some(0)]).await {
                Ok(follow) => none.insert(follow),
                Err(error) => return self.away(&error),
            },
        };
        match follow.next().await {
            Ok(Some(said)) => Some(told(said)),
            Ok(None) => {
                self.settled().await;
                None
            }
            Err(error) => self.away(&error),
        }
    }

    async fn mend(&mut self) -> Result<(), QueueError> {
        match &mut self.follow {
            Some(follow) => follow.reconnect().await,
            None => Ok(()),
        }
    }

    fn away(&mut self, error: &QueueError) -> Option<OutputEvent> {
        self.broke = Some(Instant::now());
        Some(OutputEvent::Away(format!("failed to {error}")))
    }

    /// Until its worker has told Redis how it ended, so that a page read then shows that.
    async fn settled(&self) {
        let waiting = async {
            let conn = self.client.connect().await?;
            while inspect::states(&conn, std::slice::from_ref(&self.line))
                .await?
                .iter()
                .any(|states| states.contains(&TaskState::InProgress))
            {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, QueueError>(())
        };
        // The page tells what is known, whatever comes of this.
        let _ = tokio::time::timeout(SETTLED_WITHIN, waiting).await;
    }
}

fn told(said: FollowEvent) -> OutputEvent {
    match said {
        FollowEvent::Waits => OutputEvent::Waits,
        FollowEvent::RunsOn(worker) => OutputEvent::RunsOn(worker),
        FollowEvent::Output { stream, skipped, bytes } => {
            OutputEvent::Output { is_stderr: stream == Stream::Stderr, skipped, bytes }
        }
        FollowEvent::CaughtUp => OutputEvent::Mended,
        FollowEvent::NoAnswer(worker) => OutputEvent::Silent(worker),
    }
}
