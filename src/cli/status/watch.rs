//! `distcomp-status watch`: the live view. One task reads Redis, periodically and when a page is opened. This one draws and handles keys, so
//! that a server that hangs does not block them.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use super::args::WatchArgs;
use super::batch_page::batch_page;
use super::context::StatusContext;
use super::output_stream::output_stream;
use super::watch_lists::{finished, waiting};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::is_terminal;
use crate::model::snapshot::{Overview, TaskState, TaskView};
use crate::model::{FieldOrder, TaskId};
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::select::StateScan;
use crate::queue::{Client, Connection, QueueError, batch_views, inspect};
use crate::sys::wall_clock;
use crate::view;
use crate::view::output_event::{OutputEvent, OutputStream};
use crate::view::text::{duration, moment};
use crate::view::watch::terminal::{Input, Terminal};
use crate::view::watch::{KeyAction, Looked, Screen, Wanted, WatchData, WatchState};

/// One look at Redis may take this long; then it counts as away.
const PATIENCE: Duration = Duration::from_secs(4);

/// Batches in the list.
const BATCHES: usize = 500;

/// Until it is left.
pub(super) async fn watch(session: &StatusContext, args: &WatchArgs) -> Result<Exit, CliError> {
    if !is_terminal() || !std::io::stdin().is_terminal() {
        return Err(CliError::Usage("watch needs a terminal; for programs use distcomp-status --json".to_owned()));
    }
    let failed = |error| CliError::io("use the terminal", error);
    let mut signals =
        Signals::of(&[SignalRequest::Interrupt, SignalRequest::Terminate, SignalRequest::Hangup]).map_err(failed)?;
    let (looked, looks) = watch::channel(Looked::default());
    let (news, mut heard) = mpsc::channel(4);
    let client = session.context.client()?;
    let reader = WatchReader { client: client.clone(), order: session.order, interval: args.interval, looks, news };
    session.context.begin_to_follow();
    let reading = tokio::spawn(reader.run(session.conn.clone()));
    let (keys, mut pressed) = mpsc::unbounded_channel();
    let mut state = WatchState::default();
    let mut terminal = Terminal::open().map_err(failed)?;
    terminal.listen(move |input| keys.send(input).is_ok());
    // What the open task prints, while it runs.
    let mut live = None::<OutputStream>;
    let exit = loop {
        terminal.draw(&mut state).map_err(failed)?;
        looked.send_if_modified(|last| {
            let now = state.looked();
            let is_new = *last != now;
            *last = now;
            is_new
        });
        tokio::select! {
            input = pressed.recv() => match input {
                Some(Input::Key(key)) => match state.press(key) {
                    KeyAction::Nothing => {}
                    KeyAction::Quit => break Exit::Done,
                    KeyAction::Interrupt => break Exit::Interrupted,
                    KeyAction::Open(_) => {}
                    KeyAction::Close => live = None,
                },
                Some(Input::Resized) => {}
                Some(Input::Gone) | None => break Exit::Terminated,
            },
            news = heard.recv() => match news {
                Some(WatchUpdate::Data(data)) => state.update(*data),
                Some(WatchUpdate::Page { wanted, text, open }) => {
                    state.show(&wanted, text);
                    if let Some(line) = open.filter(|_| live.is_none() && state.opened() == Some(&wanted)) {
                        live = Some(output_stream(client.clone(), line));
                    }
                }
                Some(WatchUpdate::Trouble(text)) => state.fail(text),
                None => break Exit::Redis,
            },
            printed = next_of(&mut live) => {
                if printed.is_none() {
                    live = None;
                }
                state.print(printed);
            }
            asked = signals.next() => break asked.into(),
        }
    };
    reading.abort();
    Ok(exit)
}

/// What comes next, `None` at the end; for ever where there is nothing.
async fn next_of(live: &mut Option<OutputStream>) -> Option<OutputEvent> {
    match live {
        Some(printing) => printing.next().await,
        None => std::future::pending().await,
    }
}

/// What the reader has found.
enum WatchUpdate {
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
struct WatchReader {
    client: Client,
    order: FieldOrder,
    interval: Duration,
    looks: watch::Receiver<Looked>,
    news: mpsc::Sender<WatchUpdate>,
}

impl WatchReader {
    async fn run(mut self, conn: Connection) {
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
        let clock = moment(now).split(' ').next_back().unwrap_or_default().to_owned();
        let Looked { opened, list } = self.looks.borrow_and_update().clone();
        let mut news = Vec::new();
        if let Some(wanted) = opened {
            let page = match &wanted {
                Wanted::Task(task) => Some(self.task_page(conn, &overview, task).await?),
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
            Some(Screen::Overview | Screen::Workers | Screen::Running | Screen::Failures) | None => {}
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
    ) -> Result<(String, Option<String>), QueueError> {
        let Some(task) = self.task(conn, wanted).await? else {
            let gone = "the task is no longer in progress; its line was too long to be shown completely\n";
            return Ok((gone.to_owned(), None));
        };
        let hold = inspect::hold(conn, &task).await?;
        let why = view::explain::explain_held(overview, &task, &hold, self.order).join("\n");
        let text = format!("{}\n{why}\n", view::task::task(&task, self.order));
        let is_open = task.states.iter().any(|state| matches!(state, TaskState::Todo | TaskState::InProgress));
        Ok((text, is_open.then_some(task.line)))
    }

    /// The task by its line, or by the id of one in progress: those are few.
    async fn task(&self, conn: &Connection, wanted: &str) -> Result<Option<TaskView>, QueueError> {
        let mut line = wanted.to_owned();
        if wanted.len() == 16 && TaskId::is_prefix_like(wanted) {
            let mut scan = StateScan::new(TaskState::InProgress);
            let found = loop {
                let Some(page) = scan.next(conn).await? else { break None };
                let found = page.into_iter().find(|entry| TaskId::of(&entry.line).to_string() == wanted);
                if found.is_some() {
                    break found;
                }
            };
            match found {
                Some(entry) => line = entry.line,
                None => return Ok(None),
            }
        }
        Ok(inspect::tasks(conn, &[line]).await?.into_iter().next())
    }
}
