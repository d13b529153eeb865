//! Finds the server to connect to. A server at a fixed address is simply opened. Behind sentinels, the master is looked up at every connect:
//! from each sentinel in turn, and then from the server itself, since a sentinel that was cut off may name a former master.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult, Value};

use super::dialer::Dialer;
use super::error::QueueError;
use super::error::classify;
use crate::config::address;

/// How long one sentinel, or the server it names, may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What asking one sentinel led to.
enum SentinelReply {
    Master(String, u16),
    /// It answers, and watches no master of that name.
    Unknown,
    /// Why it is of no use now.
    Useless(String),
}

/// Whom to connect to now. Asks the sentinels, where there are some; bounded by a second for each.
///
/// # Errors
/// [`QueueError::Unavailable`] when no sentinel answers with a master that says so itself.
pub(super) async fn server(dialer: &Dialer) -> Result<redis::Client, QueueError> {
    dialer.read_tls_files().await?;
    match dialer.sentinels() {
        None => dialer.direct(),
        Some((nodes, name)) => {
            let (host, port) = master(dialer, nodes, name).await?;
            dialer.master(&host, port)
        }
    }
}

/// Host and port of the server that calls itself the master.
///
/// # Errors
/// [`QueueError::Unavailable`] when none is found, with what each sentinel said; [`QueueError::Mismatch`] when all of them answer and none has
/// heard of the name; [`QueueError::Refused`] when one refuses the password.
pub(super) async fn master(dialer: &Dialer, nodes: &[(String, u16)], name: &str) -> Result<(String, u16), QueueError> {
    let first = dialer.favourite.load(Ordering::Relaxed);
    let (mut said, mut unknown) = (Vec::new(), 0);
    for index in (0..nodes.len()).map(|n| (first + n) % nodes.len()) {
        let (host, port) = &nodes[index];
        let place = address(host, *port);
        match ask(dialer, host, *port, name).await? {
            SentinelReply::Master(master, port) => match role(dialer, &master, port).await? {
                Ok(()) => {
                    dialer.prefer(index);
                    return Ok((master, port));
                }
                Err(problem) => {
                    said.push(format!("{place} names {}, which {problem}", address(&master, port)));
                }
            },
            SentinelReply::Unknown => {
                unknown += 1;
                said.push(format!("{place} knows no master with that name"));
            }
            SentinelReply::Useless(problem) => said.push(format!("{place}: {problem}")),
        }
    }
    let at = dialer.at().to_string();
    if unknown == nodes.len() {
        return Err(QueueError::Mismatch(format!("{at}: no sentinel watches a master named {name:?}")));
    }
    Err(QueueError::Unavailable { at, message: format!("no sentinel leads to a master: {}", said.join("; ")) })
}

async fn ask(dialer: &Dialer, host: &str, port: u16, name: &str) -> Result<SentinelReply, QueueError> {
    let client = dialer.sentinel(host, port)?;
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let asking = async { cmd.query_async::<Option<(String, String)>>(&mut connect(&client).await?).await };
    Ok(match tokio::time::timeout(PATIENCE, asking).await {
        Err(_) => SentinelReply::Useless("no answer".to_owned()),
        Ok(Err(error)) => match judge(dialer, &error) {
            Ok(problem) => SentinelReply::Useless(problem),
            Err(QueueError::Refused { at, message }) => {
                let message = format!("sentinel {}: {message} (sentinel_pass)", address(host, port));
                return Err(QueueError::Refused { at, message });
            }
            Err(error) => return Err(error),
        },
        Ok(Ok(None)) => SentinelReply::Unknown,
        Ok(Ok(Some((master, port)))) => match port.parse() {
            Ok(port) => SentinelReply::Master(master, port),
            Err(_) => SentinelReply::Useless("answers with no port".to_owned()),
        },
    })
}

/// Whether the server at an address is a master in its own eyes; why not, fit for "which ...".
async fn role(dialer: &Dialer, host: &str, port: u16) -> Result<Result<(), String>, QueueError> {
    let client = dialer.master(host, port)?;
    let asking = async { redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connect(&client).await?).await };
    Ok(match tokio::time::timeout(PATIENCE, asking).await {
        Err(_) => Err("does not answer".to_owned()),
        Ok(Err(error)) => Err(format!("cannot be asked for its role: {}", judge(dialer, &error)?)),
        Ok(Ok(answer)) => match answer.first().map(redis::from_redis_value_ref::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            Some(Ok(role)) => Err(format!("says that it is a {role}")),
            Some(Err(_)) | None => Err("does not say its role".to_owned()),
        },
    })
}

/// What is worth asking the next sentinel, as text; a wrong password, user or certificate is not.
fn judge(dialer: &Dialer, error: &redis::RedisError) -> Result<String, QueueError> {
    if classify::is_denied(error) {
        let (at, user) = (dialer.at().to_string(), dialer.user());
        let (what, message) = ("find the master".to_owned(), classify::server_message(error));
        return Err(QueueError::Denied { at, user, what, message });
    }
    let sorted = QueueError::from_redis(error, dialer.at(), PATIENCE);
    if matches!(sorted, QueueError::Refused { .. } | QueueError::Mismatch(_)) {
        return Err(sorted);
    }
    Ok(error.to_string())
}

async fn connect(client: &redis::Client) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}
