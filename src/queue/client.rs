//! Where Redis is, and one connection to it.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, ServerErrorKind,
};
use secrecy::ExposeSecret;
use socket2::TcpKeepalive;

use super::error::QueueError;
use super::keys::{Key, Keys};
use super::scripts::{self, ScriptDef};
use crate::config::{Endpoint, RedisSettings};
use crate::model::WorkerName;

/// How long a connection attempt may take, handshake included: a server that accepts and then hangs is a failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A half-open connection is noticed within this time by the kernel, should no call time out first.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Redis is and under which prefix the queue lives. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Client {
    client: redis::Client,
    at: Arc<str>,
    keys: Arc<Keys>,
    db: i64,
    response_timeout: Duration,
}

impl Client {
    /// A client for the server and database of `settings`. No connection is made yet.
    ///
    /// `response_timeout` bounds each call, a whole pipeline included.
    ///
    /// # Errors
    /// [`QueueError::Mismatch`] when TLS files cannot be read or used.
    pub fn new(settings: &RedisSettings, prefix: &str, response_timeout: Duration) -> Result<Self, QueueError> {
        let mut redis = RedisConnectionInfo::default().set_db(i64::from(settings.db)).set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &settings.password {
            redis = redis.set_password(password.expose_secret());
        }
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(
                TcpKeepalive::new()
                    .with_time(Duration::from_secs(5))
                    .with_interval(Duration::from_secs(2))
                    .with_retries(2),
            )
            .set_user_timeout(TCP_USER_TIMEOUT);
        let at: Arc<str> = settings.to_string().into();
        let bad = |error: redis::RedisError| QueueError::Mismatch(format!("{at}: {error}"));
        let addr = match (&settings.endpoint, &settings.tls) {
            (Endpoint::Unix { path }, _) => ConnectionAddr::Unix(path.clone()),
            (Endpoint::Tcp { host, port }, None) => ConnectionAddr::Tcp(host.clone(), *port),
            (Endpoint::Tcp { host, port }, Some(_)) => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
        };
        let info = addr.into_connection_info().map_err(&bad)?.set_redis_settings(redis).set_tcp_settings(tcp);
        let client = match &settings.tls {
            Some(tls) => open_tls(info, tls).map_err(|message| QueueError::Mismatch(format!("{at}: {message}")))?,
            None => redis::Client::open(info).map_err(&bad)?,
        };
        Ok(Self { client, keys: Arc::new(Keys::new(prefix)), db: i64::from(settings.db), at, response_timeout })
    }

    /// Where the server is, without credentials, for messages.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The names of the queue's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Connects, authenticates and selects the database.
    ///
    /// # Errors
    /// [`QueueError::Refused`] for a wrong password at once; [`QueueError::Mismatch`] for a database that the server does not have;
    /// otherwise a transient error. Bounded by a few seconds.
    pub async fn connect(&self) -> Result<Connection, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(256);
        // A hung server still accepts connections: only an answer shows that it is there.
        let connecting = async {
            let mut inner = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let _: redis::Value = redis::cmd("PING").query_async(&mut inner).await?;
            Ok(inner)
        };
        let inner = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| QueueError::Unavailable {
                at: self.at.to_string(),
                message: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            })?
            .map_err(|error: redis::RedisError| self.sort(&error))?;
        Ok(Connection { inner, keys: Arc::clone(&self.keys), at: Arc::clone(&self.at), timeout: self.response_timeout })
    }

    pub(super) fn sort(&self, error: &redis::RedisError) -> QueueError {
        let message = error.to_string();
        if message.contains("DB index is out of range") || message.contains("database number") {
            return QueueError::Mismatch(format!(
                "redis_db: found {}: the server at {} has no such database; valid: 0 up to one less than its `databases` (usually 16)",
                self.db, self.at
            ));
        }
        if error.is_timeout() {
            return QueueError::Unavailable { at: self.at.to_string(), message: "no answer in time".to_owned() };
        }
        QueueError::from_redis(error, &self.at, self.response_timeout)
    }

    pub(super) fn raw(&self) -> &redis::Client {
        &self.client
    }
}

#[cfg(feature = "tls")]
fn open_tls(info: redis::ConnectionInfo, tls: &crate::config::TlsSettings) -> Result<redis::Client, String> {
    // A second installation fails harmlessly: the provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read =
        |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()));
    let client_tls = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(redis::ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        _ => None,
    };
    let root_cert = tls.ca.as_deref().map(read).transpose()?;
    redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert })
        .map_err(|error| error.to_string())
}

#[cfg(not(feature = "tls"))]
fn open_tls(_: redis::ConnectionInfo, _: &crate::config::TlsSettings) -> Result<redis::Client, String> {
    Err("this build has no TLS (cargo feature `tls`)".to_owned())
}

/// One multiplexed connection. Clones share it; calls of clones are sent in order.
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    keys: Arc<Keys>,
    at: Arc<str>,
    timeout: Duration,
}

impl Connection {
    /// The names of the queue's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where the server is, without credentials.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Loads every script, so that the first claims need no second round trip. May be repeated.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn load_scripts(&self) -> Result<(), QueueError> {
        let mut pipe = redis::pipe();
        for (_, def) in scripts::all() {
            pipe.cmd("SCRIPT").arg("LOAD").arg(&def.text).ignore();
        }
        self.pipe(&pipe).await
    }

    /// Identity of the server process: a new one after each start.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn run_id(&self) -> Result<String, QueueError> {
        let info: String = self.cmd(redis::cmd("INFO").arg("server")).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        Ok(line.unwrap_or_default().trim().to_owned())
    }

    /// Runs a script: one atomic step on the server. A lost answer leaves open whether it ran.
    pub(super) async fn script<T: FromRedisValue>(
        &self,
        def: &ScriptDef,
        worker: Option<&WorkerName>,
        args: &Args,
    ) -> Result<T, QueueError> {
        let call = self.evalsha(def, worker, args);
        let mut inner = self.inner.clone();
        let answer = match call.query_async(&mut inner).await {
            // Nothing ran: the server was restarted, or its scripts were flushed.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                match redis::cmd("SCRIPT").arg("LOAD").arg(&def.text).exec_async(&mut inner).await {
                    Ok(()) => call.query_async(&mut inner).await,
                    Err(error) => Err(error),
                }
            }
            answer => answer,
        };
        answer.map_err(|error| self.sort(&error))
    }

    fn evalsha(&self, def: &ScriptDef, worker: Option<&WorkerName>, args: &Args) -> Cmd {
        let count = def.keys.len();
        let mut cmd = Cmd::with_capacity(3 + count + args.ends.len(), 64 + 40 * count + args.bytes.len());
        cmd.arg("EVALSHA").arg(def.script.get_hash()).arg(count);
        let mut name = String::new();
        for key in def.keys {
            name.clear();
            self.keys.write_for(*key, worker, &mut name);
            cmd.arg(&name);
        }
        let mut start = 0;
        for &end in &args.ends {
            cmd.arg(&args.bytes[start..end]);
            start = end;
        }
        cmd
    }

    pub(super) async fn cmd<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, QueueError> {
        cmd.query_async(&mut self.inner.clone()).await.map_err(|error| self.sort(&error))
    }

    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, QueueError> {
        pipe.query_async(&mut self.inner.clone()).await.map_err(|error| self.sort(&error))
    }

    pub(super) fn name(&self, key: Key) -> String {
        self.keys.name(key)
    }

    fn sort(&self, error: &redis::RedisError) -> QueueError {
        QueueError::from_redis(error, &self.at, self.timeout)
    }
}

/// One page of `HSCAN`: the next cursor, then fields and values.
pub(super) type Page = (u64, Vec<(Vec<u8>, Vec<u8>)>);

/// Arguments of a script: bytes in a row, and where each ends.
#[derive(Default)]
pub(super) struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.bytes.extend_from_slice(text.as_ref());
        self.ends.push(self.bytes.len());
        self
    }

    /// What is displayed, without a string of its own.
    pub(super) fn shown(&mut self, shown: impl fmt::Display) -> &mut Self {
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{shown}");
        self.ends.push(self.bytes.len());
        self
    }

    pub(super) fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        self.shown(number.into())
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.text(if flag { "1" } else { "0" })
    }
}
