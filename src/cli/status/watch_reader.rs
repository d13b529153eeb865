//! Reads Redis for `watch`, periodically and when something else is looked at.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::batch_page::batch_page;
use super::watch_lists::{finished, long_lines, waiting};
use crate::cli::find::find_running;
use crate::model::snapshot::{Overview, TaskState, TaskView};
use crate::model::{FieldOrder, TaskId};
use crate::queue::{Client, Connection, QueueError, batch_views, inspect};
use crate::sys::wall_clock;
use crate::view;
use crate::view::text::{duration, moment};
use crate::view::watch::{Looked, Screen, Wanted, WatchData};

/// One look at Redis may take this long; then it counts as away.
const PATIENCE: Duration = Duration::from_secs(4);

/// Batches in the list.
const BATCHES: usize = 500;

/// What the reader has found.
pub(super) enum WatchUpdate {
    /// The figures.
    Data(Box<WatchData>),
    /// The task or the batch that was opened.
    Page {
        /// As it was asked for.
        wanted: Wanted,
        /// What is known of it.
        text: String,
        /// Its line, while it waits or runs.
        open: Option<String>,
    },
    /// Redis is away: a text for the banner.
    Trouble(String),
}

/// Reads Redis.
pub(super) struct WatchReader {
    pub(super) client: Client,
    pub(super) order: FieldOrder,
    pub(super) interval: Duration,
    pub(super) looks: watch::Receiver<Looked>,
    pub(super) news: mpsc::Sender<WatchUpdate>,
}

impl WatchReader {
    pub(super) async fn run(mut self, conn: Connection) {
        let mut conn = Some(conn);
        let mut away_since = None::<Instant>;
        loop {
            let looked = tokio::time::timeout(PATIENCE, self.look(&mut conn)).await;
            let trouble = match looked {
                Ok(Ok(news)) => {
                    away_since = None;
                    for news in news {
                        if self.news.send(news).await.is_err() {
                            return;
                        }
                    }
                    None
                }
                Ok(Err(error)) => Some(format!("failed to {error}")),
                Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            if let Some(text) = trouble {
                conn = None;
                let since = *away_since.get_or_insert_with(Instant::now);
                let text =
                    format!(" Redis is away for {}: {text}; the figures are old", duration(since.elapsed().as_secs()));
                if self.news.send(WatchUpdate::Trouble(text)).await.is_err() {
                    return;
                }
            }
            // Whatever ends the wait is a reason to look.
            let _ = tokio::time::timeout(self.interval, self.looks.changed()).await;
        }
    }

    async fn look(&mut self, conn: &mut Option<Connection>) -> Result<Vec<WatchUpdate>, QueueError> {
        let conn = match conn {
            Some(conn) => conn,
            none => none.insert(self.client.connect().await?),
        };
        let overview = inspect::shown_overview(conn).await?;
        let failures = inspect::failure_groups(conn).await?;
        let now = wall_clock::now().unwrap_or_default().as_secs_f64();
        let clock = moment(now).split(' ').nth(1).unwrap_or_default().to_owned();
        let Looked { opened, list, is_raw } = self.looks.borrow_and_update().clone();
        let mut news = Vec::new();
        if let Some(wanted) = opened {
            let page = match &wanted {
                Wanted::Task(task) => Some(self.task_page(conn, &overview, task, is_raw).await?),
                Wanted::Batch(name) => Some((batch_page(conn, name).await?, None)),
                // Everything about it is read always.
                Wanted::Worker(_) => None,
            };
            news.extend(page.map(|(text, open)| WatchUpdate::Page { wanted, text, open }));
        }
        let mut data = WatchData { overview, failures, clock, ..WatchData::default() };
        match list {
            Some(Screen::Batches) => data.batches = Some(batch_views::first(conn, BATCHES).await?),
            Some(Screen::Waiting) => data.waiting = Some(waiting(conn, self.order).await?),
            Some(Screen::Finished) => data.finished = Some(finished(conn).await?),
            Some(Screen::Running) => data.lines = long_lines(conn, &data.overview).await?,
            Some(Screen::Overview | Screen::Workers | Screen::Failures) | None => {}
        }
        news.push(WatchUpdate::Data(Box::new(data)));
        Ok(news)
    }

    /// What is known of a task, and its line while it waits or runs.
    async fn task_page(
        &self,
        conn: &Connection,
        overview: &Overview,
        wanted: &str,
        is_raw: bool,
    ) -> Result<(String, Option<String>), QueueError> {
        let Some(task) = self.task(conn, wanted).await? else {
            let gone = "the task is no longer in progress; its line was too long to be shown completely\n";
            return Ok((gone.to_owned(), None));
        };
        let hold = inspect::hold(conn, &task).await?;
        let why = view::explain::explain_held(overview, &task, &hold, self.order).join("\n");
        let text = format!("{}\n{why}\n", view::task::task(&task, self.order, is_raw));
        let is_open = task.states.iter().any(|state| matches!(state, TaskState::Todo | TaskState::InProgress));
        Ok((text, is_open.then_some(task.line)))
    }

    /// The task by its line, or by the id of one in progress: those are few.
    async fn task(&self, conn: &Connection, wanted: &str) -> Result<Option<TaskView>, QueueError> {
        let is_id = wanted.len() == 16 && TaskId::is_prefix_like(wanted);
        let line = if is_id { find_running(conn, wanted).await? } else { Some(wanted.to_owned()) };
        let Some(line) = line else { return Ok(None) };
        Ok(inspect::tasks(conn, &[line]).await?.into_iter().next())
    }
}
