//! The worker's two pages, `/metrics` and `/healthz`, on a thread of their own: looking at a worker takes nothing from its loops but one event, and a
//! loop that is stuck cannot keep the pages from saying so.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::events::Event;
use crate::model::meters::WorkerFigures;
use crate::view::metrics::{HealthProbe, WorkerHealth, pages};
use crate::view::web;

/// A dispatcher that does not answer within this time is stuck: it hears from the sampler several times as often.
const PATIENCE: Duration = Duration::from_secs(5);

/// A few scrapers and probes at once. Descriptors are what Redis, keepers and files need: whoever reaches the port must not be able to take them.
const LIMITS: web::ServerLimits =
    web::ServerLimits { connections: 16, head: Duration::from_secs(5), lifetime: Some(Duration::from_secs(30)) };

/// The pages, from before the worker has its name until it goes.
#[derive(Debug)]
pub struct Metrics {
    address: SocketAddr,
    events: watch::Sender<Option<mpsc::Sender<Event>>>,
    _stop: watch::Sender<bool>,
}

impl Metrics {
    /// Listens, and says that the worker is starting. Dropped, the pages end.
    ///
    /// # Errors
    /// The address is in use or not this machine's, or there are no more threads to be had.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let (events, dispatcher) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ask: HealthProbe = Arc::new(move || {
            let dispatcher: Option<mpsc::Sender<Event>> = dispatcher.borrow().clone();
            Box::pin(async move {
                match dispatcher {
                    None => WorkerHealth::Starting,
                    Some(events) => figures(events)
                        .await
                        .map_or(WorkerHealth::Stuck, |figures| WorkerHealth::Working(Box::new(figures))),
                }
            })
        });
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => web::serve(listener, pages(ask), LIMITS, stopped).await,
                    Err(error) => tracing::error!(error = %error, "failed to serve metrics"),
                }
            });
        })?;
        Ok(Self { address, events, _stop: stop })
    }

    /// Where it listens; the port that was taken where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the dispatcher answers.
    pub(super) fn attach(&self, events: mpsc::Sender<Event>) {
        self.events.send_replace(Some(events));
    }
}

async fn figures(events: mpsc::Sender<Event>) -> Option<WorkerFigures> {
    let (reply, figures) = oneshot::channel();
    let asking = async {
        events.send(Event::FiguresDue(reply)).await.ok()?;
        figures.await.ok()
    };
    tokio::time::timeout(PATIENCE, asking).await.ok().flatten()
}
