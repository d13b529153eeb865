//! The streams of server-sent events: the figures that a page shows, a frame a second, made once for all who show the same; and the output of
//! one task.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::app_state::{AppState, STREAMS};
use super::feed::{Feed, Frame, TooManyFeeds, View};
use super::gzip::{self, Gzip};
use super::live_state::Follower;
use super::output_followers::{OutputViewer, TASKS};
use super::source::is_id;
use crate::view::web::refuse;

/// When a browser should try again after a break.
const RETRY: Duration = Duration::from_secs(2);

/// Silence after which something is said: a page takes a longer one for a dashboard that does not answer, and what lies between may cut the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

static FIRST: LazyLock<Frame> = LazyLock::new(|| Frame::verbatim(format!("retry: {}\n\n", RETRY.as_millis())));
static STILL: LazyLock<Frame> = LazyLock::new(|| Frame::new(&json!({ "waits": true })));

/// The query of `/live`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LiveQuery {
    #[serde(default)]
    view: String,
    #[serde(default)]
    filter: String,
}

/// Somebody who follows the figures.
struct LiveViewer {
    follower: Follower,
    feed: Arc<Feed>,
    seen: Option<u64>,
    /// Where the stream is compressed.
    gzip: Option<Gzip>,
    step: Step,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy)]
enum Step {
    Head,
    First,
    Next,
    Over,
}

impl LiveViewer {
    fn send(&mut self, frame: &Frame) -> Bytes {
        match &mut self.gzip {
            Some(gzip) => gzip.send(frame.packed()),
            None => frame.text.clone(),
        }
    }

    fn frame(&mut self) -> Bytes {
        let snapshot = Arc::clone(&self.follower.snapshots.borrow_and_update());
        let (seen, frame) = self.feed.frame(&snapshot, self.seen);
        self.seen = seen;
        self.send(&frame)
    }

    fn is_outage(&self) -> bool {
        self.follower.snapshots.borrow().outage().is_some()
    }

    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.step {
            Step::Head => {
                self.step = Step::First;
                let retry = self.send(&FIRST);
                Some(if self.gzip.is_some() { [gzip::HEADER, &retry].concat().into() } else { retry })
            }
            Step::First => {
                self.step = Step::Next;
                Some(self.frame())
            }
            Step::Next => {
                // An open stream would keep the server from ending.
                let told = tokio::select! {
                    biased;
                    changed = tokio::time::timeout(KEEP_ALIVE, self.follower.snapshots.changed()) => changed.map(|changed| changed.is_ok()),
                    _ = self.stop.wait_for(|stop| *stop) => Ok(false),
                };
                match told {
                    Ok(true) => return Some(self.frame()),
                    Ok(false) => {}
                    // Nothing new was read: in an outage, for how long is told.
                    Err(_) if self.is_outage() => return Some(self.frame()),
                    Err(_) => return Some(self.send(&STILL)),
                }
                self.step = Step::Over;
                Some(self.gzip.as_ref().map_or_else(Bytes::new, Gzip::end))
            }
            Step::Over => None,
        }
    }
}

/// `GET /live`: the figures of a page.
pub(super) async fn live(
    State(app): State<Arc<AppState>>,
    headers: HeaderMap,
    asked: Result<Query<LiveQuery>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else { return refuse(StatusCode::BAD_REQUEST, "this is no view of /live") };
    let Some(place) = place(&app) else { return full(&format!("{STREAMS} viewers are connected already")) };
    let feed = match app.feeds.open(View::of(&asked.view, &asked.filter)) {
        Ok(feed) => feed,
        Err(TooManyFeeds) => return full("too many different filters are followed already"),
    };
    let viewer = LiveViewer {
        follower: app.live.follow(),
        feed,
        seen: None,
        gzip: gzip::is_taken(&headers).then(Gzip::default),
        step: Step::Head,
        stop: app.stop.clone(),
        _place: place,
    };
    let is_packed = viewer.gzip.is_some();
    let frames = stream::unfold(viewer, async |mut viewer| {
        viewer.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), viewer))
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // A proxy that collects answers would show nothing.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Somebody who follows the output of a task.
struct OutputStreamViewer {
    shown: OutputViewer,
    stop: watch::Receiver<bool>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// A place among the streams, if there is one.
fn place(app: &AppState) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&app.streams).try_acquire_owned().ok()
}

fn full(why: &str) -> Response {
    let mut full = refuse(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}; try again later"));
    full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    full
}

/// `GET /task/{id}/output`: what it prints while it runs.
pub(super) async fn output(
    State(app): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(asked): Query<super::task_routes::TaskQuery>,
) -> Response {
    let Some(place) = place(&app) else { return full(&format!("{STREAMS} viewers are connected already")) };
    if !is_id(&id) {
        return refuse(StatusCode::NOT_FOUND, "no such task");
    }
    let line = match app.source.line_of(&id).await {
        Ok(Some(line)) => line,
        Ok(None) => return refuse(StatusCode::NOT_FOUND, "no such task"),
        Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    match app.tails.follow((&id, asked.is_raw()), || Arc::clone(&app.source).output(line)) {
        Ok(tail) => respond(&app, tail.viewer(), place),
        Err(super::output_followers::TooManyFollowed) => full(&format!("{TASKS} tasks are followed already")),
    }
}

fn respond(app: &AppState, shown: OutputViewer, place: OwnedSemaphorePermit) -> Response {
    let viewer = OutputStreamViewer { shown, stop: app.stop.clone(), is_first: true, _place: place };
    let events = stream::unfold(viewer, async |mut viewer| {
        let json = tokio::select! {
            biased;
            next = viewer.shown.next() => next?,
            _ = viewer.stop.wait_for(|stop| *stop) => return None,
        };
        let event = Event::default().data(&*json);
        let event = if viewer.is_first { event.retry(RETRY) } else { event };
        viewer.is_first = false;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
