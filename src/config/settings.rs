//! The configuration in its final form: typed, checked and immutable.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::confine::Confine;
use super::resource_def::ResourceDefs;
use crate::model::{Bytes, FieldOrder, MilliCores};

/// How many tasks a worker claims ahead of free slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// The worker decides from how fast tasks end.
    Auto,
    /// At most this many; 0 switches off every look-ahead.
    Fixed(u32),
}

/// Where the Redis server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A server at a host and a port.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix socket.
    Unix {
        /// Path of the socket.
        path: PathBuf,
    },
    /// Whichever server the sentinels say is the master, asked anew at each connect.
    Sentinel {
        /// Host and port of each; at least one.
        nodes: Vec<(String, u16)>,
        /// The name under which they watch the master.
        master: String,
    },
}

/// How to log in to the sentinels.
#[derive(Clone, Debug)]
pub struct SentinelLogin {
    /// ACL user; `None` is the default user.
    pub user: Option<String>,
    /// Password, never empty.
    pub password: SecretString,
}

/// TLS to Redis. All absent: the certificates the system trusts, and no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// File of certificates to trust instead of the system's (PEM).
    pub ca: Option<PathBuf>,
    /// File of our certificate (PEM); there exactly when `key` is.
    pub cert: Option<PathBuf>,
    /// File of our private key (PEM).
    pub key: Option<PathBuf>,
}

/// How to reach Redis. `Debug` hides the password, `Display` leaves it out.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Number of the database, 0 or more.
    pub db: u32,
    /// ACL user; `None` is the server's default user.
    pub user: Option<String>,
    /// Password; `None` when there is none, never empty.
    pub password: Option<SecretString>,
    /// TLS; `None` is plain text.
    pub tls: Option<TlsSettings>,
    /// Login of the sentinels, where they ask for one.
    pub sentinel_login: Option<SentinelLogin>,
    /// What named all this, for messages.
    pub origin: Origin,
}

/// The flag, variable or key that the server and the password came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Of the server; `None` for the default and for a private server.
    pub server: Option<&'static str>,
    /// Of the password; `None` without one.
    pub password: Option<&'static str>,
    /// Whether it is the private server of a `--local` directory.
    pub is_local: bool,
}

/// `redis://host:port/db`: which server this is, with no password in it.
impl fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        match &self.endpoint {
            Endpoint::Tcp { host, port } => write!(f, "{scheme}://{}/{}", address(host, *port), self.db),
            Endpoint::Unix { path } => write!(f, "redis+unix://{}?db={}", path.display(), self.db),
            Endpoint::Sentinel { nodes, master } => {
                let nodes: Vec<String> = nodes.iter().map(|(host, port)| address(host, *port)).collect();
                write!(f, "{scheme}+sentinel://{}/{master}/{}", nodes.join(","), self.db)
            }
        }
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Everything `conf.json`, the environment and the flags decide. Made by [`super::load()`], shared by `Arc`.
#[derive(Clone, Debug)]
pub struct Config {
    /// A worker takes a task only while at least this much DRAM is free; more than zero.
    pub min_dram_accept: Bytes,
    /// Below this much free DRAM the newest task is returned; more than zero, less than `min_dram_accept`.
    pub min_dram_trigger: Bytes,
    /// Tasks that run at one time on a worker; 1 or more.
    pub max_tasks: u32,
    /// Failed attempts after which a task is out of retries. Zero is as one: no attempt is repeated.
    pub max_retry: u32,
    /// Run-time limit of a task that states none; `None` (0 in the file) is no limit. Whole seconds.
    pub default_timeout: Option<Duration>,
    /// The most a deadline may be noticed late should its timer be late; more than zero.
    pub timeout_check_interval: Duration,
    /// From SIGTERM to SIGKILL; zero kills at once.
    pub kill_grace: Duration,
    /// How long to wait before asking again when there is nothing to do; zero asks again at once.
    pub poll_interval: Duration,
    /// The least time between two starts of tasks on a worker; zero starts as many at once as there is room for.
    pub min_between_starts: Duration,
    /// Whether the poll interval adapts to the load; false keeps it at `poll_interval`.
    pub auto_sleep: bool,
    /// Whether calls to Redis are batched; false is batches of one.
    pub pipeline_batching: bool,
    /// Tasks claimed ahead of free slots.
    pub prefetch: Prefetch,
    /// Time between heartbeats; more than zero.
    pub heartbeat_interval: Duration,
    /// Silence after which a worker counts as dead; more than three heartbeats.
    pub dead_after: Duration,
    /// A task starts only while at least this much of the processors is measured to be idle; zero does not ask.
    pub min_free_cores: MilliCores,
    /// How long a worker told to end lets its tasks run; zero returns them at once.
    pub drain_timeout: Duration,
    /// Delay before the first retry of a task, growing with each; zero retries at once.
    pub retry_backoff: Duration,
    /// What a retry declares after a kill for want of memory, in thousandths of what the attempt had; 1000 is as much.
    pub retry_memory_factor: u64,
    /// The most memory that such a retry declares; `None` is what the largest live node has.
    pub retry_memory_max: Option<Bytes>,
    /// Where output too long for Redis goes; for a worker it exists and can be written.
    pub result_dir: PathBuf,
    /// Where spool and records are kept, on a local disk; for a worker it exists with mode 0700.
    pub state_dir: PathBuf,
    /// The program that gets `-c CMD` for a shell task.
    pub task_shell: PathBuf,
    /// Stdout kept in Redis up to this many bytes; zero keeps only head and tail of any.
    pub max_inline_output: usize,
    /// The limits of tasks.
    pub confine: Confine,
    /// What the node has besides memory and cores.
    pub resources: ResourceDefs,
    /// What tasks may ask of the node, sorted: `ssd`, `region=eu`. The worker adds `host=NAME`.
    pub labels: Vec<String>,
    /// Whether a task that asks for no GPU sees none.
    pub hide_gpus: bool,
    /// Whether a task of whole cores has them for itself.
    pub pin_cpus: bool,
    /// Where each attempt gets a directory of its own, an absolute path; `None`: it gets none.
    pub scratch_dir: Option<PathBuf>,
    /// How long workers leave alone what prefers a label that they lack; zero: not at all.
    pub prefer_wait: Duration,
    /// How long the worker lives, counted from its start; `None` (0 in the file) is for ever.
    pub time_limit: Option<Duration>,
    /// How long the worker stays with nothing to run; `None` (0 in the file) is for ever.
    pub idle_timeout: Option<Duration>,
    /// Order of the numbers in a task line; `None` when the file does not say (the default order, unless Redis
    /// shows that a Python fleet is at work).
    pub field_order: Option<FieldOrder>,
    /// How to reach Redis.
    pub redis: RedisSettings,
    /// Put before every Redis key; empty by default.
    pub key_prefix: String,
    /// Whether only signed tasks are run.
    pub require_signed_tasks: bool,
    /// Files of the public keys whose signatures count.
    pub task_public_keys: Vec<PathBuf>,
    /// File of the key a submitter signs with; `None` does not sign.
    pub task_signing_key: Option<PathBuf>,
    /// Workers lost under a task until it fails. Zero: it fails at the first, as with one.
    pub max_lost: u32,
    /// Tasks that fail here and then finish elsewhere, with nothing finished here in between, after which the worker pauses itself. Zero: never.
    pub suspect_after: u32,
    /// Whether Python workers share the queue.
    pub python_workers: bool,
    /// Whether the file has the keys of Python DistComp and none of ours: nobody has looked yet at what differs.
    pub is_of_python: bool,
}
