//! Takes a changed `conf.json` into use, on SIGHUP and when the file changes. A broken one leaves the old settings running.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::events::Event;
use super::file_thread::FileThread;
use super::trust::Keyring;
use crate::config::{Config, ConfigErrors, LoadedConfig, Reload, Watcher, carry_over, diff};
use crate::process::signals::{SignalRequest, Signals};
use crate::queue::Client;

/// Between looks at the file. Polled, so that network file systems work.
const PERIOD: Duration = Duration::from_secs(2);

/// How long a look at files may take before the loop goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a look at the files came to: the watcher comes back with it.
type Looked = (Watcher, Reload);

/// Looks at the file after a signal and at each interval, and hands new settings on.
pub struct Reloader {
    /// The file; away while a look at it is under way.
    pub watcher: Option<Watcher>,
    /// Looks at it, and at all files and directories that it names.
    pub files: FileThread<Looked>,
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
        let mut hangup = if self.on_hangup { Signals::of(&[SignalRequest::Hangup]).ok() } else { None };
        let mut is_asked = false;
        while !self.events.is_closed() {
            is_asked |= tokio::select! {
                () = tokio::time::sleep(PERIOD) => false,
                () = received(hangup.as_mut()) => true,
            };
            if let Some(watcher) = self.watcher.take() {
                self.look(watcher, std::mem::take(&mut is_asked));
            }
            let Some((watcher, reload)) = self.files.wait(PATIENCE).await else { continue };
            self.watcher = Some(watcher);
            match reload {
                Reload::Unchanged => {}
                Reload::Changed(loaded) => self.take(loaded).await,
            }
        }
    }

    /// Begins a look at the file. Any of the files may be on a server that does not answer.
    fn look(&mut self, mut watcher: Watcher, is_asked: bool) {
        let keyring = self.keyring.clone();
        let begun = self.files.begin(move || {
            let reload = if is_asked { Reload::Changed(watcher.reload_now()) } else { watcher.poll() };
            // Where it no longer requires signatures, this worker does until its restart, by the keys that it has.
            if let Reload::Changed(Ok(loaded)) = &reload
                && let Some(keyring) = keyring.filter(|_| loaded.config.require_signed_tasks)
            {
                keyring.read_again(&loaded.config.task_public_keys);
            }
            (watcher, reload)
        });
        if let Err(error) = begun {
            // With the thread its work is gone, and the watcher with it.
            tracing::error!(error = %error, "cannot watch conf.json any more: cannot start a thread; restart the worker");
        }
    }

    async fn take(&self, loaded: Result<LoadedConfig, ConfigErrors>) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => {
                tracing::error!(errors = %errors, "the new configuration is invalid; the old one stays in force");
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let old = Arc::clone(&self.config.borrow());
        let changes = diff(&old, &loaded.config);
        for change in &changes {
            if change.live {
                tracing::info!(key = change.key, "configuration changed");
            } else {
                tracing::warn!(key = change.key, "changed, but a change requires a restart of the worker");
            }
        }
        let new = Arc::new(carry_over(&old, &loaded.config));
        // First: whoever hears of the change may connect at once.
        self.client.log_in_as(&new.redis);
        self.config.send_replace(Arc::clone(&new));
        let _ = self.events.send(Event::Reconfigured(new)).await;
        if changes.is_empty() {
            tracing::info!("configuration reloaded: nothing has changed");
        }
    }
}

async fn received(signals: Option<&mut Signals>) {
    match signals {
        Some(signals) => {
            signals.next().await;
        }
        None => std::future::pending().await,
    }
}
