//! A private Redis (or Valkey) server on a unix socket in a directory of its own under /tmp; killed on drop.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The server.
pub(crate) struct Server {
    dir: TempDir,
    child: Child,
}

impl Server {
    /// `$DISTCOMP_REDIS_SERVER`, else `redis-server`, without persistence.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::Builder::new().prefix("dc-bench-").tempdir_in("/tmp")?;
        let program = std::env::var_os("DISTCOMP_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--maxclients", "5000", "--unixsocket"])
            .arg(dir.path().join("sock"))
            .arg("--dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let mut server = Self { dir, child };
        for _ in 0..500 {
            if server.con().is_ok() {
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("redis-server does not start".into())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Its address, as in `redis_url`.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A plain connection, past the code that is measured.
    pub(crate) fn con(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
