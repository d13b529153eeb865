//! The stream of frames: server-sent events, one a second, the same text for everybody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::board::Follower;
use super::routes::Site;
use crate::view::web::refuse;

/// Streams at once.
pub(super) const STREAMS: usize = 1000;

/// When a browser should try again after a break.
const RETRY: Duration = Duration::from_secs(2);

struct Viewer {
    follower: Follower,
    stop: watch::Receiver<bool>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// `GET /live`.
pub(super) async fn live(State(site): State<Arc<Site>>) -> Response {
    let Ok(place) = Arc::clone(&site.streams).try_acquire_owned() else {
        let mut full = refuse(StatusCode::SERVICE_UNAVAILABLE, &format!("{STREAMS} look already; try again later"));
        full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        return full;
    };
    let viewer = Viewer { follower: site.board.follow(), stop: site.stop.clone(), is_first: true, _place: place };
    let events = stream::unfold(viewer, async |mut viewer| {
        if !viewer.is_first {
            // An open stream would keep the server from ending.
            tokio::select! {
                changed = viewer.follower.frames.changed() => changed.ok()?,
                _ = viewer.stop.wait_for(|stop| *stop) => return None,
            }
        }
        let frame = Arc::clone(&viewer.follower.frames.borrow_and_update());
        let event = Event::default().data(&*frame.json);
        let event = if viewer.is_first { event.retry(RETRY) } else { event };
        viewer.is_first = false;
        Some((Ok::<_, Infallible>(event), viewer))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
