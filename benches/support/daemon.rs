//! A real worker in a directory of its own; ended on drop.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::redis_server::Server;

/// The worker.
pub(crate) struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    /// Starts one with these changes to a configuration that takes any task and these variables besides, and waits until it beats.
    pub(crate) fn start(
        server: &Server,
        name: &str,
        prefix: &str,
        changes: &Value,
        env: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::Builder::new().prefix("dc-bench-worker-").tempdir_in("/tmp")?;
        let mut conf = json!({
            "min_dram_gb_accept_new_task": 0.02,
            "min_dram_gb_trigger_return": 0.01,
            "result_dir": dir.path().join("results"),
            "state_dir": dir.path().join("state"),
            "redis_url": server.url(),
            "redis_key_prefix": prefix,
        });
        for (key, value) in changes.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        let path = dir.path().join("conf.json");
        fs::write(&path, serde_json::to_string_pretty(&conf)?)?;
        let log = fs::File::create(dir.path().join("log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_distcomp-worker"))
            .args(["--name", name, "--config"])
            .arg(&path)
            .current_dir(dir.path())
            // What a worker logs of each task is written by default, and is measured with the rest.
            .env("RUST_LOG", "info")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let daemon = Self { child, dir };
        let mut con = server.con()?;
        let start = Instant::now();
        loop {
            let key = format!("{prefix}worker_status");
            if redis::cmd("HEXISTS").arg(&key).arg(name).query::<bool>(&mut con)? {
                return Ok(daemon);
            }
            if start.elapsed() > Duration::from_secs(20) {
                let log = fs::read_to_string(daemon.dir().join("log")).unwrap_or_default();
                return Err(format!("worker {name} does not come up:\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The worker, its zygote and its keepers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            // Tasks are not asked for: when this is called, none runs.
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            pids.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            at += 1;
        }
        pids
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
