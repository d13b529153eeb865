//! A private Redis (or Valkey) server per test: on a Unix socket in its own directory under /tmp, on request also on a free
//! port of 127.0.0.1; killed on drop.
use std::collections::HashMap;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::clock::Clock;
use super::wait::{SOON, wait_until};

/// What a test may ask of its server.
#[derive(Clone, Copy, Default)]
pub(crate) struct ServerOptions {
    /// Listen on 127.0.0.1 too.
    pub(crate) tcp: bool,
    /// `appendonly yes`, so that `kill9` and `start_again` keep the data.
    pub(crate) durable: bool,
    /// `requirepass`.
    pub(crate) password: Option<&'static str>,
    /// The append-only file is on a disk of its own of so many MiB, seen by the server alone.
    pub(crate) small_disk: Option<u32>,
    /// Its clock can be set: see [`Redis::clock`].
    pub(crate) clock: bool,
    /// With the users of `example/redis/users.acl`, each command as its own; everywhere with `DISTCOMP_TEST_ACL=1`.
    pub(crate) acl: bool,
    /// Without users even with `DISTCOMP_TEST_ACL=1`: for tests that bring servers of their own.
    pub(crate) plain: bool,
    /// Listen with TLS on 127.0.0.1, with the certificates that `example/redis/make-secrets.sh` makes.
    pub(crate) tls: bool,
}

/// The password of a user in a test.
pub(crate) fn acl_password(user: &str) -> String {
    format!("pass-of-{user}")
}

/// The server; dropped means killed.
pub(crate) struct Redis {
    dir: TempDir,
    options: ServerOptions,
    /// Whether any refusal of a user is a fault.
    judges_rights: bool,
    port: u16,
    clock: Option<Clock>,
    tls_port: u16,
    loads_slowly: bool,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start(mut options: ServerOptions) -> Self {
        let is_asked = options.acl;
        options.acl |= options.password.is_none()
            && !options.plain
            && env::var("DISTCOMP_TEST_ACL").is_ok_and(|value| value == "1");
        let judges_rights = options.acl && !is_asked;
        let dir = tempfile::Builder::new().prefix("dc-redis-").tempdir_in("/tmp").expect("a directory in /tmp");
        let clock = options.clock.then(Clock::new);
        let mut redis =
            Self { dir, options, judges_rights, port: 0, tls_port: 0, clock, loads_slowly: false, child: None };
        if options.tls {
            make_secrets(&redis.secrets(), &["127.0.0.1", "localhost"]);
        }
        // Another process may take the free port between the look and the bind: try again then.
        for _ in 0..5 {
            redis.port = if options.tcp { free_port() } else { 0 };
            redis.tls_port = if options.tls { free_port() } else { 0 };
            redis.spawn();
            if redis.answers() {
                return redis;
            }
            redis.kill9();
        }
        panic!("redis-server does not start:\n{}", redis.log());
    }

    fn spawn(&mut self) {
        let program = server_program();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let mut command = match self.options.small_disk {
            Some(mib) => {
                let mut command = Command::new("unshare");
                command.args(super::disk::on_small_disk(&self.data(), mib)).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        // With `everysec` a write may wait for a sync that is under way, and its answer does not: a server killed on a busy disk has then forgotten what it
        // confirmed. Without a sync it is with the kernel, which is not killed.
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "notice", "--appendfsync", "no"])
            .args(["--appendonly", if self.options.durable { "yes" } else { "no" }])
            .arg("--port")
            .arg(self.port.to_string())
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.data())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log);
        if self.options.tls {
            let file = |name: &str| self.secrets().join(name);
            command.args(["--tls-auth-clients", "yes", "--tls-port", &self.tls_port.to_string()]);
            command.arg("--tls-cert-file").arg(file("server.crt")).arg("--tls-key-file").arg(file("server.key"));
            command.arg("--tls-ca-cert-file").arg(file("ca.crt"));
        }
        if self.options.acl {
            let file = self.dir.path().join("users.acl");
            if !file.exists() {
                fs::write(&file, acl_file("")).expect("users.acl");
            }
            command.arg("--aclfile").arg(file);
        }
        if self.loads_slowly {
            command.args(["--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024"]);
        }
        if let Some(password) = self.options.password {
            command.args(["--requirepass", password]);
        }
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display())));
    }

    fn answers(&mut self) -> bool {
        for _ in 0..500 {
            let child = self.child.as_mut().expect("it was spawned");
            if child.try_wait().expect("its status").is_some() {
                return false;
            }
            if self.try_con().is_some_and(|mut con| ::redis::cmd("PING").query::<String>(&mut con).is_ok()) {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// The TCP port; 0 without one.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port with TLS; 0 without one.
    pub(crate) fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Where the certificates are.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.dir.path().join("secrets")
    }

    /// Whether each command has a user of its own.
    pub(crate) fn has_users(&self) -> bool {
        self.options.acl
    }

    /// The address on the Unix socket, with the password where there is one: all rights, for the test itself.
    pub(crate) fn url(&self) -> String {
        if self.options.acl {
            return self.url_as("admin");
        }
        let pass = self.options.password.map(|pass| format!("?pass={pass}")).unwrap_or_default();
        format!("redis+unix://{}{pass}", self.socket().display())
    }

    /// The same for a user of `users.acl`.
    pub(crate) fn url_as(&self, user: &str) -> String {
        format!("redis+unix://{}?user={user}&pass={}", self.socket().display(), acl_password(user))
    }

    /// Lets the users see only what is below `prefix`.
    pub(crate) fn keep_users_below(&self, prefix: &str) {
        fs::write(self.dir.path().join("users.acl"), acl_file(prefix)).expect("users.acl");
        ::redis::cmd("ACL").arg("LOAD").exec(&mut self.con()).expect("ACL LOAD");
    }

    /// A connection as one of the users.
    pub(crate) fn con_as(&self, user: &str) -> ::redis::Connection {
        let client = ::redis::Client::open(self.url_as(user)).expect("a URL");
        client.get_connection().unwrap_or_else(|error| panic!("{user}: {error}\n{}", self.log()))
    }

    pub(crate) fn try_con(&self) -> Option<::redis::Connection> {
        ::redis::Client::open(self.url()).ok()?.get_connection().ok()
    }

    /// A plain connection of our own, past every line of the code under test.
    pub(crate) fn con(&self) -> ::redis::Connection {
        self.try_con().unwrap_or_else(|| panic!("no connection to the test's redis-server:\n{}", self.log()))
    }

    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The same server, data directory and addresses again.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        self.spawn();
        assert!(self.answers(), "redis-server does not come back:\n{}", self.log());
    }

    /// The same, but it takes minutes to load its snapshot, and answers `LOADING` meanwhile; `CONFIG SET key-load-delay 0` hurries it.
    pub(crate) fn load_slowly(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        self.loads_slowly = true;
        self.spawn();
        self.loads_slowly = false;
        wait_until("redis-server to say that it loads", SOON, || {
            let answer = self.try_con().map(|mut con| ::redis::cmd("DBSIZE").query::<u64>(&mut con));
            match answer {
                Some(Err(error)) if error.to_string().contains("is loading the dataset") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// SIGTERM, as a service manager stops it: it writes what it has, and goes.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut child = self.child.take().expect("the server runs");
        let status = child.wait().expect("its status");
        assert!(status.success(), "redis-server ended badly:\n{}", self.log());
    }

    /// Cuts this many bytes, and what is left of the step they end in, off the append-only file: the stand-in for a power failure. Stop it first.
    pub(crate) fn cut_tail(&self, bytes: u64) {
        assert!(self.child.is_none(), "stop it first");
        let dir = self.data().join("appendonlydir");
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir).expect("an append-only file").flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
        // appendonly.aof.NUMBER.incr.aof
        files.sort_by_key(|path| path.to_string_lossy().split('.').rev().nth(2).and_then(|n| n.parse::<u64>().ok()));
        let path = files.last().expect("an increment");
        let whole = fs::read(path).expect("it can be read");
        let kept = &whole[..whole.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX))];
        // Redis 7.0 drops a half-written step at the next start, but leaves its beginning in the file, where a later start takes it for whole.
        const END: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
        let end = kept.windows(END.len()).rposition(|window| window == END).map_or(0, |at| at + END.len());
        let file = fs::OpenOptions::new().write(true).open(path).expect("it opens");
        file.set_len(end as u64).expect("it is cut");
    }

    /// The length of the append-only file.
    pub(crate) fn log_length(&self) -> u64 {
        let dir = fs::read_dir(self.data().join("appendonlydir")).expect("an append-only file");
        dir.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// `CONFIG SET`.
    pub(crate) fn set(&self, key: &str, value: &str) {
        ::redis::cmd("CONFIG").arg("SET").arg(key).arg(value).exec(&mut self.con()).expect("CONFIG SET");
    }

    /// SIGSTOP: connections are still accepted by the kernel, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
        wait_until("redis-server to answer again", SOON, || {
            self.try_con().and_then(|mut con| ::redis::cmd("PING").query::<String>(&mut con).ok()).ok_or("no answer")
        });
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the server takes a signal");
    }

    /// The clock that was asked for.
    pub(crate) fn clock(&self) -> &Clock {
        self.clock.as_ref().expect("a server with a clock")
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Where its data is: where the small disk is, if there is one. Socket and log are beside it.
    pub(crate) fn data(&self) -> PathBuf {
        if self.options.small_disk.is_some() { self.dir.path().join("data") } else { self.dir.path().to_owned() }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Redis {
    /// What its users were refused so far, as the server's own log has it: user, and command or key. Empty without users.
    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Some(child) = self.child.as_ref().filter(|_| self.options.acl) else { return Vec::new() };
        // A test may have frozen it.
        let _ = kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGCONT);
        let client = ::redis::Client::open(self.url()).expect("a URL");
        let mut con = client.get_connection_with_timeout(PATIENCE).expect("a connection of the administrator");
        let mut ask = ::redis::cmd("ACL");
        let log: Vec<HashMap<String, ::redis::Value>> = ask.arg("LOG").arg(128).query(&mut con).expect("ACL LOG");
        let text = |entry: &HashMap<String, ::redis::Value>, field: &str| {
            ::redis::from_redis_value::<String>(entry[field].clone()).expect("text")
        };
        let mut refused: Vec<_> = log.iter().map(|entry| (text(entry, "username"), text(entry, "object"))).collect();
        // A submitter asks for this where nobody has brought the scripts along yet, and does without.
        refused.retain(|entry| *entry != ("submitter".to_owned(), "script|load".to_owned()));
        refused
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A right that is missing may have been done without, and nobody noticed. Tests that ask for the users themselves judge by themselves.
        let refused = if self.judges_rights && !thread::panicking() { self.refusals() } else { Vec::new() };
        self.kill9();
        assert!(refused.is_empty(), "users of example/redis/users.acl lack rights: {refused:?}");
    }
}

/// The example's users with passwords, all keys below `prefix`, and an administrator for the test itself.
pub(crate) fn acl_file(prefix: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/redis/users.acl");
    let text = fs::read_to_string(path).expect("example/redis/users.acl");
    let line = |line: &str| {
        let user = line.split_whitespace().nth(1).expect("user NAME");
        let line = match user {
            "default" => return line.to_owned(),
            "admin" => line.replace(" off ", " on "),
            _ => line.replace('~', &format!("~{prefix}")).replace(" &", &format!(" &{prefix}")),
        };
        line.replace(" resetpass ", &format!(" resetpass >{} ", acl_password(user)))
    };
    text.lines().map(|one| line(one) + "\n").collect()
}

/// `$DISTCOMP_REDIS_SERVER`, else `redis-server` or `valkey-server` on PATH; none is a loud failure, never a skipped test.
pub(crate) fn server_program() -> PathBuf {
    if let Some(program) = env::var_os("DISTCOMP_REDIS_SERVER") {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    for name in ["redis-server", "valkey-server"] {
        if let Some(found) = env::split_paths(&path).map(|dir| dir.join(name)).find(|file| Path::is_file(file)) {
            return found;
        }
    }
    panic!("the tests need redis-server or valkey-server on PATH: run tests/run.sh, which installs it");
}

/// Runs `example/redis/make-secrets.sh` for these names.
pub(crate) fn make_secrets(dir: &Path, names: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/redis/make-secrets.sh");
    let made = Command::new(script).arg(dir).args(names).output().expect("make-secrets.sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A port that nobody listens on, below those that the kernel gives to whoever wants any (every connection to a server, too): it is still free when its
/// user comes to bind it, and when a server that was killed comes back to it. Tests that run at one time begin at different places.
pub(crate) fn free_port() -> u16 {
    const LOWEST: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let above = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    assert!(above > LOWEST, "no port below {above} for servers of tests");
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id().wrapping_mul(37).wrapping_add(step) % (above - LOWEST);
        let port = u16::try_from(LOWEST + place).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {LOWEST} to {above}");
}
