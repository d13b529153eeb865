//! Takes a changed `conf.json` into use, on SIGHUP and when the file changes. A broken one leaves the old settings running.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::events::Event;
use super::trust::Keyring;
use crate::config::{Config, ConfigErrors, Loaded, Reload, Watcher, carry_over, diff};
use crate::queue::Client;

/// Between looks at the file. Polled, so that network file systems work.
const PERIOD: Duration = Duration::from_secs(2);

/// The loop.
pub struct Reloader {
    /// The file.
    pub watcher: Watcher,
    /// Takes up a changed Redis user or password.
    pub client: Client,
    /// The settings in use.
    pub config: watch::Sender<Arc<Config>>,
    /// The dispatcher.
    pub events: mpsc::Sender<Event>,
    /// The keys whose signatures count, where signatures are required.
    pub keyring: Option<Arc<Keyring>>,
    /// Whether SIGHUP asks for a reload here; on a terminal it ends the worker instead.
    pub on_hangup: bool,
}

impl Reloader {
    /// Until the dispatcher is gone.
    pub async fn run(mut self) {
        let mut hangup = if self.on_hangup { signal(SignalKind::hangup()).ok() } else { None };
        while !self.events.is_closed() {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(PERIOD) => false,
                () = received(hangup.as_mut()) => true,
            };
            let reload = if is_asked { Reload::Changed(self.watcher.reload_now()) } else { self.watcher.poll() };
            match reload {
                Reload::Unchanged => {}
                Reload::Changed(loaded) => self.take(loaded).await,
            }
        }
    }

    async fn take(&self, loaded: Result<Loaded, ConfigErrors>) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => {
                tracing::error!(errors = %errors, "the new configuration cannot be used; the old one stays");
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        // Where it no longer requires signatures, this worker does until its restart, by the keys that it has.
        if let Some(keyring) = self.keyring.as_ref().filter(|_| loaded.config.require_signed_tasks) {
            keyring.read_again(&loaded.config.task_public_keys);
        }
        let old = Arc::clone(&self.config.borrow());
        let changes = diff(&old, &loaded.config);
        for change in &changes {
            if change.live {
                tracing::info!(key = change.key, "configuration changed");
            } else {
                tracing::warn!(key = change.key, "changed, but cannot change while the worker runs: restart it");
            }
        }
        let new = Arc::new(carry_over(&old, &loaded.config));
        // First: whoever hears of the change may connect at once.
        self.client.log_in_as(&new.redis);
        self.config.send_replace(Arc::clone(&new));
        let _ = self.events.send(Event::Reconfigured(new)).await;
        if changes.is_empty() {
            tracing::info!("configuration read again: nothing has changed");
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
