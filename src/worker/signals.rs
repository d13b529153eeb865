//! SIGTERM and SIGINT, and SIGHUP where it means the end of a terminal.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::events::Event;

/// Passes termination signals on until the dispatcher is gone. `with_hangup`: SIGHUP is one of them.
pub async fn run(events: mpsc::Sender<Event>, with_hangup: bool) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    let mut hangup = if with_hangup { signal(SignalKind::hangup()).ok() } else { None };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = async {
                match hangup.as_mut() {
                    Some(hangup) => { hangup.recv().await; }
                    None => std::future::pending().await,
                }
            } => {}
        }
        if events.send(Event::Terminate).await.is_err() {
            return;
        }
    }
}

/// Passes the orders of our own program on, which mean what a signal means.
pub async fn obey(mut orders: mpsc::Receiver<()>, events: mpsc::Sender<Event>) {
    while orders.recv().await.is_some() {
        if events.send(Event::Terminate).await.is_err() {
            return;
        }
    }
}
