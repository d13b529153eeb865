//! The streams of server-sent events: the snapshots, one a second, with the same text for all viewers; and the output of one task.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::app_state::{AppState, STREAMS};
use super::live_state::Follower;
use super::output_followers::{OutputViewer, TASKS};
use super::source::is_id;
use crate::view::web::refuse;

/// When a browser should try again after a break.
const RETRY: Duration = Duration::from_secs(2);

/// What a stream shows.
enum StreamEvents {
    Frames(Follower),
    Task(OutputViewer),
}

impl StreamEvents {
    /// What is new; `None` at the end. Cancel safe.
    async fn next(&mut self, is_first: bool) -> Option<Arc<str>> {
        match self {
            Self::Frames(follower) => {
                if !is_first {
                    follower.snapshots.changed().await.ok()?;
                }
                Some(Arc::clone(&follower.snapshots.borrow_and_update().json))
            }
            Self::Task(viewer) => viewer.next().await,
        }
    }
}

struct Viewer {
    shown: StreamEvents,
    stop: watch::Receiver<bool>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// A place among the streams, if there is one.
fn place(site: &AppState) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&site.streams).try_acquire_owned().ok()
}

fn full(why: &str) -> Response {
    let mut full = refuse(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}; try again later"));
    full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    full
}

fn respond(site: &AppState, shown: StreamEvents, place: OwnedSemaphorePermit) -> Response {
    let viewer = Viewer { shown, stop: site.stop.clone(), is_first: true, _place: place };
    let events = stream::unfold(viewer, async |mut viewer| {
        // An open stream would keep the server from ending.
        let json = tokio::select! {
            biased;
            next = viewer.shown.next(viewer.is_first) => next?,
            _ = viewer.stop.wait_for(|stop| *stop) => return None,
        };
        let event = Event::default().data(&*json);
        let event = if viewer.is_first { event.retry(RETRY) } else { event };
        viewer.is_first = false;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// `GET /live`.
pub(super) async fn live(State(site): State<Arc<AppState>>) -> Response {
    match place(&site) {
        Some(place) => respond(&site, StreamEvents::Frames(site.board.follow()), place),
        None => full(&format!("{STREAMS} viewers are connected already")),
    }
}

/// `GET /task/{id}/output`: what it prints while it runs.
pub(super) async fn output(
    State(site): State<Arc<AppState>>,
    Path(id): Path<String>,
    Query(asked): Query<super::task_routes::TaskQuery>,
) -> Response {
    let Some(place) = place(&site) else { return full(&format!("{STREAMS} viewers are connected already")) };
    if !is_id(&id) {
        return refuse(StatusCode::NOT_FOUND, "no such task");
    }
    let line = match site.source.line_of(&id).await {
        Ok(Some(line)) => line,
        Ok(None) => return refuse(StatusCode::NOT_FOUND, "no such task"),
        Err(error) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    match site.tails.follow((&id, asked.is_raw()), || Arc::clone(&site.source).output(line)) {
        Ok(tail) => respond(&site, StreamEvents::Task(tail.viewer()), place),
        Err(super::output_followers::TooManyFollowed) => full(&format!("{TASKS} tasks are followed already")),
    }
}
