//! Asks other programs of this machine, such as `nvidia-smi` and `squeue`, for what they know.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Where batch systems keep their configuration, on sites that keep it elsewhere.
const PASSED: [&str; 6] = ["SLURM_CONF", "PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT", "PBS_EXEC", "LD_LIBRARY_PATH"];

/// More text than any of them prints.
const MOST_TEXT: u64 = 1 << 20;

/// The first program of this name in directories as in `PATH`.
pub(super) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What a program prints. It is run without our secrets, and not for longer than the patience.
pub(super) fn ask(program: &Path, args: &[&str], path: &OsStr, patience: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", path);
    command.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let stdout = child.stdout.take();
    let (answer, answered) = mpsc::channel();
    let read = move || {
        let mut text = String::new();
        let read = stdout.map(|stdout| stdout.take(MOST_TEXT).read_to_string(&mut text));
        let _ = answer.send(matches!(read, Some(Ok(_))).then_some(text));
    };
    let reader = std::thread::Builder::new().name("ask".to_owned()).spawn(read);
    let text = reader.map_err(|error| error.to_string()).map(|_| answered.recv_timeout(patience));
    if !matches!(text, Ok(Ok(_))) {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match text? {
        Ok(Some(text)) if status.success() => Ok(text),
        Ok(_) => Err(format!("it failed ({status})")),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs_f64())),
    }
}
