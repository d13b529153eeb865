//! The address of Redis (`Client`) and one connection to it (`Connection`).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, ServerErrorKind};

use super::args::Args;
use super::dialer::Dialer;
use super::error::QueueError;
use super::error::classify;
use super::keys::{Key, Keys};
use super::scripts::{self, ScriptDef};
use super::sentinel;
use crate::config::RedisSettings;
use crate::model::WorkerName;

/// How long a connection attempt may take, handshake included: a server that accepts and then hangs is a failure.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Where Redis is and under which prefix the queue lives. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Client {
    dialer: Arc<Dialer>,
    keys: Arc<Keys>,
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
        Ok(Self { dialer: Arc::new(Dialer::new(settings)?), keys: Arc::new(Keys::new(prefix)), response_timeout })
    }

    /// Where the server is, without credentials, for messages.
    #[must_use]
    pub fn at(&self) -> &str {
        self.dialer.at()
    }

    /// The names of the queue's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes up the user and password of `settings` from the next connection on; what else differs is ignored.
    pub fn log_in_as(&self, settings: &RedisSettings) {
        self.dialer.log_in_as(settings);
    }

    /// Connects, authenticates and selects the database.
    ///
    /// # Errors
    /// [`QueueError::Refused`] for a wrong password at once; [`QueueError::Mismatch`] for a database that the server does not have;
    /// otherwise a transient error. Bounded by a few seconds.
    pub async fn connect(&self) -> Result<Connection, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Ours, which goes by what is on its way: see `Connection::timed`.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(256);
        let client = sentinel::server(&self.dialer).await?;
        // A hung server still accepts connections: only an answer shows that it is there.
        let connecting = async {
            let mut inner = client.get_multiplexed_async_connection_with_config(&config).await?;
            let _: redis::Value = redis::cmd("PING").query_async(&mut inner).await?;
            Ok(inner)
        };
        let inner = match self.in_time(connecting).await {
            Ok(inner) => inner,
            Err(error) => return Err(self.explained(error).await),
        };
        let at = Arc::clone(self.dialer.at());
        let (user, follows) = (self.dialer.user().into(), self.dialer.sentinels().is_some());
        let (timeout, under_way) = (self.response_timeout, Arc::default());
        let is_local = self.dialer.origin().is_local;
        Ok(Connection { inner, keys: Arc::clone(&self.keys), at, user, follows, timeout, is_local, under_way })
    }

    /// A connection of its own for messages on these channels.
    pub(super) async fn subscribe(&self, channels: &[String]) -> Result<PubSub, QueueError> {
        let client = sentinel::server(&self.dialer).await?;
        let connecting = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(channels).await?;
            Ok(pubsub)
        };
        self.in_time(connecting).await
    }

    /// A refusal with what the password came from; a server that wants none is told from one that wants another.
    async fn explained(&self, error: QueueError) -> QueueError {
        let QueueError::Refused { at, message } = error else { return error };
        let message = match self.dialer.origin().password {
            None => message,
            Some(origin) if self.wants_no_password().await => format!(
                "the server has no password and refuses the one that is set: remove it ({origin}), or set one on the server (requirepass)"
            ),
            Some(origin) => format!("{message} (the password in use is from {origin})"),
        };
        QueueError::Refused { at, message }
    }

    /// Whether the server answers without any login.
    async fn wants_no_password(&self) -> bool {
        let Some(client) = self.dialer.without_login() else { return false };
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT));
        let asking = async {
            let mut inner = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").query_async::<redis::Value>(&mut inner).await
        };
        self.in_time(asking).await.is_ok()
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = redis::RedisResult<T>>) -> Result<T, QueueError> {
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| self.unavailable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()), true))?
            .map_err(|error: redis::RedisError| self.classify(&error))
    }

    fn classify(&self, error: &redis::RedisError) -> QueueError {
        let (message, at) = (error.to_string(), self.at().to_owned());
        if message.contains("DB index is out of range") || message.contains("database number") {
            let db = self.dialer.db();
            return QueueError::Mismatch(format!(
                "redis_db is {db}, but the server at {at} has no such database; valid: 0 to one less than its `databases` (usually 16)"
            ));
        }
        if error.is_timeout() {
            return self.unavailable("no answer in time".to_owned(), true);
        }
        if classify::is_denied(error) {
            let (user, what) = (self.dialer.user(), "connect".to_owned());
            return QueueError::Denied { at, user, what, message: classify::server_message(error) };
        }
        let error = QueueError::from_redis(error, &at, self.response_timeout);
        if let QueueError::Unavailable { message, .. } = error {
            return self.unavailable(message, false);
        }
        error
    }

    fn unavailable(&self, message: String, is_timeout: bool) -> QueueError {
        let at = self.at().to_owned();
        // Which of flag, variable and file is wrong is not plain where several could name the server.
        let message = match self.dialer.origin().server {
            Some(origin) => format!("{message} (the server is named by {origin})"),
            None => message,
        };
        match self.dialer.hint(&message, is_timeout) {
            Some(hint) => QueueError::Unavailable { at, message: format!("{message}; {hint}") },
            None => QueueError::Unavailable { at, message },
        }
    }
}

/// One multiplexed connection. Clones share it; calls of clones are sent in order.
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    keys: Arc<Keys>,
    at: Arc<str>,
    user: Arc<str>,
    /// Whether another server may have become the master: then a refusal to write means that it has.
    follows: bool,
    timeout: Duration,
    /// Of the private server of a `--local` directory.
    is_local: bool,
    /// Bytes of calls that have not been answered.
    under_way: Arc<AtomicUsize>,
}

/// The slowest link that is given time to carry what was sent, bytes a second.
const SLOWEST: f64 = 64.0 * 1024.0;

/// Bytes that are under way while this lives.
struct BytesInFlight<'a>(&'a AtomicUsize, usize);

impl Drop for BytesInFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Connection {
    /// Whether this is the private server of a `--local` directory.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

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

    /// The time by the server's clock, since the epoch.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn time(&self) -> Result<Duration, QueueError> {
        let (seconds, micros): (u64, u64) = self.cmd(&redis::cmd("TIME")).await?;
        Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
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
        let asked = async {
            match call.query_async(&mut inner).await {
                // Nothing ran: the server was restarted, or its scripts were flushed.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    match redis::cmd("SCRIPT").arg("LOAD").arg(&def.text).exec_async(&mut inner).await {
                        Ok(()) => call.query_async(&mut inner).await,
                        Err(error) => Err(error),
                    }
                }
                answer => answer,
            }
        };
        let answer = self.timed(args.size(), asked).await?;
        match answer.map_err(|error| self.classify(&error, || format!("run the script {}", def.name))) {
            Err(error @ QueueError::WrongType { .. }) => Err(self.name_wrong_type(def).await.unwrap_or(error)),
            answer => answer,
        }
    }

    /// Which of the hashes that a script uses is none: the server's answer to a script does not say. Only those that others write to are asked about.
    async fn name_wrong_type(&self, def: &ScriptDef) -> Option<QueueError> {
        for key in Key::SHARED.into_iter().filter(|key| def.keys.contains(key)) {
            let asked = self.cmd::<u64>(redis::cmd("HLEN").arg(self.name(key))).await;
            if let Err(error @ QueueError::WrongType { .. }) = asked {
                return Some(error);
            }
        }
        None
    }

    fn evalsha(&self, def: &ScriptDef, worker: Option<&WorkerName>, args: &Args) -> Cmd {
        let count = def.keys.len();
        let mut cmd = Cmd::with_capacity(3 + count + args.len(), 64 + 40 * count + args.size());
        cmd.arg("EVALSHA").arg(def.script.get_hash()).arg(count);
        let mut name = String::new();
        for key in def.keys {
            name.clear();
            self.keys.write_for(*key, worker, &mut name);
            cmd.arg(&name);
        }
        for arg in args.iter() {
            cmd.arg(arg);
        }
        cmd
    }

    pub(super) async fn cmd<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, QueueError> {
        let answer = self.timed(size(cmd), cmd.query_async(&mut self.inner.clone())).await?;
        answer.map_err(|error| self.classify(&error, || classify::command_and_key(cmd)))
    }

    /// Bounds the wait for an answer: a slow link is given the time that it takes to carry what is under way, this call included.
    async fn timed<T>(&self, bytes: usize, call: impl Future<Output = T>) -> Result<T, QueueError> {
        let before = self.under_way.fetch_add(bytes, Ordering::Relaxed);
        let _mine = BytesInFlight(&self.under_way, bytes);
        let patience = self.timeout + Duration::from_secs_f64((before + bytes) as f64 / SLOWEST);
        tokio::time::timeout(patience, call).await.map_err(|_| QueueError::TimedOut(patience))
    }

    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, QueueError> {
        let bytes = pipe.cmd_iter().map(size).sum();
        self.timed(bytes, pipe.query_async(&mut self.inner.clone())).await?.map_err(|error| {
            self.classify(&error, || {
                pipe.cmd_iter()
                    .nth(classify::failed_command_index(&error))
                    .map(classify::command_and_key)
                    .unwrap_or_default()
            })
        })
    }

    /// A refusal that a script has met and answered.
    pub(super) fn denied(&self, what: String, said: &str) -> QueueError {
        let message = classify::without_script(said).to_owned();
        QueueError::Denied { at: self.at.to_string(), user: self.user.to_string(), what, message }
    }

    pub(super) fn name(&self, key: Key) -> String {
        self.keys.name(key)
    }

    fn classify(&self, error: &redis::RedisError, what: impl FnOnce() -> String) -> QueueError {
        let at = self.at.to_string();
        if classify::is_denied(error) {
            let user = self.user.to_string();
            return QueueError::Denied { at, user, what: what(), message: classify::server_message(error) };
        }
        if classify::is_wrong_type(error) {
            return QueueError::WrongType { at, what: what() };
        }
        if self.follows && matches!(error.code(), Some("READONLY" | "MASTERDOWN")) {
            return QueueError::Unavailable { at, message: "the server is no longer the master".to_owned() };
        }
        QueueError::from_redis(error, &at, self.timeout)
    }
}

/// Bytes of a command's arguments.
fn size(cmd: &Cmd) -> usize {
    cmd.args_iter().map(|arg| if let redis::Arg::Simple(bytes) = arg { bytes.len() } else { 0 }).sum()
}

/// One page of `HSCAN`: the next cursor, then fields and values.
pub(super) type ScanPage = (u64, Vec<(Vec<u8>, Vec<u8>)>);
