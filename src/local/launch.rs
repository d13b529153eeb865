//! Starts the process of the private server.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::error::LocalError;

/// Runs the server in place of the shell, with a guard beside it: when the pipe on its standard input closes, because
/// we have ended in whatever way, the guard ends the server. It does so only while the server is still its parent, so
/// that a process that got the server's number later is safe.
const GUARD: &str = r#"exec 3<&0
{
    read -r _ <&3
    read -r _ _ _ parent _ </proc/self/stat
    if [ "$parent" = "$$" ]; then kill -TERM "$$"; fi
} &
exec "$@" 3<&- </dev/null"#;

/// Starts the server on the data in `dir`. It is a child like any of ours, not a task: what is done to tasks (their OOM score, limits, another user) is
/// not done to it.
pub(super) fn spawn(program: &Path, dir: &Path, socket: &Path) -> Result<Child, LocalError> {
    // What the server says before it has read its options (one it does not know, a missing library) goes there too.
    let log_path = dir.join("redis.log");
    let log = File::options().create(true).append(true).open(&log_path).map_err(LocalError::io("open", &log_path))?;
    let log_again = log.try_clone().map_err(LocalError::io("open", &log_path))?;
    Command::new("/bin/sh")
        .args(["-c", GUARD, "distcomp-local"])
        .arg(program)
        .args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"])
        .arg(socket)
        // Relative to the directory it is started in, whatever characters the path of that has.
        .args(["--dir", "./", "--logfile", "redis.log", "--daemonize", "no"])
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .args(["--maxmemory-policy", "noeviction"])
        .current_dir(dir)
        .env_remove("DISTCOMP_REDIS_URL")
        .env_remove("DISTCOMP_REDIS_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_again)
        .process_group(0)
        .spawn()
        .map_err(LocalError::io("run", program))
}
