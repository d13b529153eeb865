//! Serves one router on one socket. Everything a client can hold on to is bounded: connections, the time until a request has come, headers, and
//! how long the end may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::host_guard::refuse;
use super::write_deadline::WriteDeadline;

/// What clients may hold on to.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; further ones wait in the kernel's queue, where they take no descriptor of ours.
    pub connections: usize,
    /// How long the head of a request may take, also the first one of an idle connection.
    pub head: Duration,
    /// How long a connection may last in all; `None`: as long as it is of use.
    pub lifetime: Option<Duration>,
}

/// How long a client may leave what it is sent unread.
const UNREAD: Duration = Duration::from_secs(30);

/// How long the body of a request may take, and its answer: only streams take longer, and they answer at once.
const ANSWER: Duration = Duration::from_secs(15);

/// Bytes of one request's head.
const HEAD_BYTES: usize = 64 << 10;

/// How long what is under way may take to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// After the system could not accept: it is out of descriptors, and one may become free.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves `app` until `stop` is true or its sender is gone; then ends what is under way, within a few seconds.
///
/// Streams have to watch `stop` themselves: one that does not end on its own is cut off.
pub async fn serve(listener: TcpListener, app: Router, limits: ServerLimits, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let app = app.layer(middleware::from_fn(in_time));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            (place, stream) = accepted => (place, stream),
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Frames are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(WriteDeadline::new(stream, UNREAD)), TowerToHyperService::new(app.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off or talks nonsense is its own affair.
            match limits.lifetime {
                Some(lifetime) => drop(tokio::time::timeout(lifetime, connection).await),
                None => drop(connection.await),
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
}

/// An answer that does not begin in time, because the body of its request does not come, or for any other reason, is none.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    }
}
