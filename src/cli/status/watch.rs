//! `distcomp-status watch`: the live view. One task reads Redis ([`WatchReader`]). This one draws, handles keys and does what they ask for, so that a
//! server that hangs does not block them.

use std::io::{self, IsTerminal};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, watch};

use super::args::WatchArgs;
use super::context::StatusContext;
use super::output_stream::output_stream;
use super::watch_orders::{Done, find, perform};
use super::watch_reader::{WatchReader, WatchUpdate};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::is_terminal;
use crate::cli::question::discard_typed;
use crate::process::signals::{SignalRequest, Signals};
use crate::view::output_event::{OutputEvent, OutputStream};
use crate::view::watch::terminal::{Input, Terminal};
use crate::view::watch::{KeyAction, Looked, Wanted, WatchState};

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
    terminal.listen(move |input, read_at| keys.send((input, read_at)).is_ok());
    // What the open task prints, while it runs.
    let mut live = None::<OutputStream>;
    // What was asked for last, while it is being done.
    let mut doing = None::<LocalBoxFuture<'_, Done>>;
    // When the question that is shown was drawn.
    let mut asked_at = None::<Instant>;
    let exit = loop {
        terminal.draw(&mut state).map_err(failed)?;
        asked_at = note_question(&state, asked_at).map_err(failed)?;
        looked.send_if_modified(|last| {
            let now = state.looked();
            let is_new = *last != now;
            *last = now;
            is_new
        });
        tokio::select! {
            input = pressed.recv() => match input {
                // It was typed before the question was seen.
                Some((Input::Key(_), read_at)) if asked_at.is_some_and(|asked| read_at < asked) => {}
                Some((Input::Key(key), _)) => match state.press(key) {
                    KeyAction::Nothing | KeyAction::Open(_) => {}
                    KeyAction::Quit => break Exit::Done,
                    KeyAction::Interrupt => break Exit::Interrupted,
                    KeyAction::Close => live = None,
                    KeyAction::Find(id) => doing = Some(Box::pin(find(session, id))),
                    KeyAction::Do(_) if doing.is_some() => {
                        state.refuse("The change before this one is not done yet. Nothing else was changed.".to_owned());
                    }
                    KeyAction::Do(order) => doing = Some(Box::pin(perform(&session.context, order))),
                },
                Some((Input::Resized, _)) => {}
                Some((Input::Gone, _)) | None => break Exit::Terminated,
            },
            news = heard.recv() => match news {
                Some(news) => {
                    if let Some(line) = take_in(&mut state, news).filter(|_| live.is_none()) {
                        live = Some(output_stream(client.clone(), line));
                    }
                }
                None => break Exit::Redis,
            },
            printed = next_of(&mut live) => {
                if printed.is_none() {
                    live = None;
                }
                state.print(printed);
            }
            done = end_of(&mut doing) => {
                doing = None;
                if let Done::Found(_) = &done {
                    live = None;
                }
                show(&mut state, done);
            }
            asked = signals.next() => break asked.into(),
        }
    };
    reading.abort();
    Ok(exit)
}

/// When the question that is shown was drawn. What was typed before a new one is thrown away.
fn note_question(state: &WatchState, asked_at: Option<Instant>) -> io::Result<Option<Instant>> {
    if !state.is_asking() {
        return Ok(None);
    }
    if asked_at.is_none() {
        discard_typed()?;
    }
    Ok(asked_at.or_else(|| Some(Instant::now())))
}

/// Shows what was read. Answers the line of a task that runs and whose page is open, so that its output can be followed.
fn take_in(state: &mut WatchState, news: WatchUpdate) -> Option<String> {
    match news {
        WatchUpdate::Data(data) => state.update(*data),
        WatchUpdate::Page { wanted, text, open } => {
            state.show(&wanted, text);
            return open.filter(|_| state.opened() == Some(&wanted));
        }
        WatchUpdate::Trouble(text) => state.fail(text),
    }
    None
}

/// Shows how what was asked for has ended.
fn show(state: &mut WatchState, done: Done) {
    match done {
        Done::Told(text) => state.tell(text),
        Done::Refused(text) => state.refuse(text),
        Done::Found(line) => {
            state.open_page(Wanted::Task(line));
        }
    }
}

/// What comes next, `None` at the end; for ever where there is nothing.
async fn next_of(live: &mut Option<OutputStream>) -> Option<OutputEvent> {
    match live {
        Some(printing) => printing.next().await,
        None => std::future::pending().await,
    }
}

/// Its result; for ever where nothing is being done.
async fn end_of(doing: &mut Option<LocalBoxFuture<'_, Done>>) -> Done {
    match doing {
        Some(doing) => doing.await,
        None => std::future::pending().await,
    }
}
