//! A private Redis (or Valkey) server per test: on a Unix socket in its own directory under /tmp, on request also on a free
//! port of 127.0.0.1; killed on drop.
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

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
}

/// The server; dropped means killed.
pub(crate) struct Redis {
    dir: TempDir,
    options: ServerOptions,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start(options: ServerOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("dc-redis-").tempdir_in("/tmp").expect("a directory in /tmp");
        let mut redis = Self { dir, options, port: 0, child: None };
        // Another process may take the free port between the look and the bind: try again then.
        for _ in 0..5 {
            redis.port = if options.tcp { free_port() } else { 0 };
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
        let mut command = Command::new(&program);
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "notice", "--appendfsync", "everysec"])
            .args(["--appendonly", if self.options.durable { "yes" } else { "no" }])
            .arg("--port")
            .arg(self.port.to_string())
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log);
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

    /// The address on the Unix socket, with the password where there is one.
    pub(crate) fn url(&self) -> String {
        let pass = self.options.password.map(|pass| format!("?pass={pass}")).unwrap_or_default();
        format!("redis+unix://{}{pass}", self.socket().display())
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

    /// Cuts this many bytes off the append-only file: the stand-in for a power failure. Stop it first.
    pub(crate) fn cut_tail(&self, bytes: u64) {
        assert!(self.child.is_none(), "stop it first");
        let dir = self.dir.path().join("appendonlydir");
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir).expect("an append-only file").flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
        files.sort();
        let file = fs::OpenOptions::new().write(true).open(files.last().expect("an increment")).expect("it opens");
        let length = file.metadata().expect("its length").len();
        file.set_len(length.saturating_sub(bytes)).expect("it is cut");
    }

    /// The length of the append-only file.
    pub(crate) fn log_length(&self) -> u64 {
        let dir = fs::read_dir(self.dir.path().join("appendonlydir")).expect("an append-only file");
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

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9();
    }
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

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
