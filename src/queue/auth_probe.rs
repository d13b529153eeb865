//! Probes whether a server on the network allows anonymous access, so that anybody there could put tasks into the queue.

use std::time::Duration;

use super::client::Client;
use super::dialer::Dialer;
use super::error::QueueError;
use super::keys::Key;
use super::sentinel;
use crate::config::{Endpoint, RedisSettings, TlsSettings};

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whether the server can only be reached from this machine: by a Unix socket, or at an address that leads nowhere else. A tunnel that ends here
/// counts as local too: who may use it is its maker's to say.
///
/// # Errors
/// [`QueueError::Unavailable`] when the name of the host cannot be resolved.
pub async fn is_on_this_machine(settings: &RedisSettings) -> Result<bool, QueueError> {
    let (host, port) = match &settings.endpoint {
        Endpoint::Unix { .. } => return Ok(true),
        Endpoint::Tcp { host, port } => (host.clone(), *port),
        // What counts is where the tasks come from: sentinels of this machine may name a master elsewhere.
        Endpoint::Sentinel { nodes, master } => sentinel::master(&Dialer::new(settings)?, nodes, master).await?,
    };
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    let unavailable = |message: String| QueueError::Unavailable { at: settings.to_string(), message };
    let addresses = found
        .map_err(|_| unavailable("its name is not resolved in time".to_owned()))?
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(addresses.into_iter().all(|address| address.ip().to_canonical().is_loopback()))
}

/// Whether somebody without our password and without our client certificate may look into the queue. To be asked after we have been let in.
///
/// # Errors
/// Those of any call, when there is no telling.
pub async fn allows_anonymous(settings: &RedisSettings, prefix: &str) -> Result<bool, QueueError> {
    let has_certificate = settings.tls.as_ref().is_some_and(|tls| tls.cert.is_some());
    let tls = settings.tls.as_ref().map(|tls| TlsSettings { cert: None, key: None, ..tls.clone() });
    let stranger = RedisSettings { user: None, password: None, tls, ..settings.clone() };
    let client = Client::new(&stranger, prefix, PATIENCE)?;
    let look = async {
        let conn = client.connect().await?;
        conn.cmd::<u64>(redis::cmd("HLEN").arg(conn.name(Key::Todo))).await
    };
    match look.await {
        // An answer that makes no sense is an answer all the same.
        Ok(_) | Err(QueueError::Protocol(_)) => Ok(true),
        // A server that wants a certificate ends the connection in the handshake, or with the first answer.
        Err(QueueError::Unavailable { .. }) if has_certificate => Ok(false),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(false),
    }
}
