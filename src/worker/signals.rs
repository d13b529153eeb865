//! SIGTERM and SIGINT, and SIGHUP where it means the end of a terminal.

use tokio::sync::mpsc;

use super::events::Event;
use crate::process::signals::{SignalRequest, Signals};

/// Passes termination signals on until the dispatcher is gone. `with_hangup`: SIGHUP is one of them.
pub async fn run(events: mpsc::Sender<Event>, with_hangup: bool) {
    let wanted = [SignalRequest::Terminate, SignalRequest::Interrupt, SignalRequest::Hangup];
    let mut signals = match Signals::of(if with_hangup { &wanted } else { &wanted[..2] }) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(error = %error, "cannot listen for signals");
            return;
        }
    };
    loop {
        signals.next().await;
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
