//! Where the configuration comes from: the file, the flags and the environment that override it, and the program that reads it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::resource_def::ResourceDef;
use crate::model::Bytes;

/// Set where `DISTCOMP_REDIS_URL` stands for the flag, whose password no argument list is to show.
pub const URL_FROM: &str = "DISTCOMP_REDIS_URL_FROM";

/// The file that counts when none is named, if it is there.
pub const DEFAULT_FILE: &str = "conf.json";

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file that somebody named: not being there is an error.
    Named(PathBuf),
    /// A file that was found when the program started: it must stay, and stay one that only this user and root can change.
    Found(PathBuf),
    /// `./conf.json` if it is there, else the defaults. One that others could have put there is an error.
    Default,
}

impl ConfigSource {
    /// The file to read.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Found(path) => path,
            Self::Default => Path::new(DEFAULT_FILE),
        }
    }
}

/// Who asks; decides which parts of the machine are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A worker: `result_dir` and `state_dir` are created and tried, `task_shell` must be executable.
    Worker,
    /// A worker's check: the same is tried as far as that leaves nothing behind.
    Check,
    /// Any other command: no directory is touched.
    Client,
}

/// The environment as configuration sees it, a copy: tests hand in their own.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, OsString>);

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        // All of it: a path of the file may begin with any variable.
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    /// A variable that is set, and not empty, as text; one that is not UTF-8 counts as not set.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().filter(|text| !text.is_empty())
    }

    /// A variable that is set, and not empty, as a path.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Names only: values may be secret.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What stands above the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--redis-url`: sets aside `redis_host`, `redis_port`, `redis_db`, `redis_url` and, if it holds them, user and
    /// password. `DISTCOMP_REDIS_URL` does the same when this is `None`.
    pub redis_url: Option<SecretString>,
    /// The socket of our own private server (`--local`): every `redis_*` key but the prefix is set aside, and no
    /// password is sent.
    pub private_server: Option<PathBuf>,
    /// `--slots`: in place of `max_task_per_worker`.
    pub slots: Option<u32>,
    /// The time limit of tasks that name none, where the file has no `default_task_timeout_seconds`: none with `--local`.
    pub no_default_timeout: bool,
    /// A default `result_dir` that cannot be used is a warning: a run in a directory that is only read has short outputs as often as not.
    pub may_lack_result_dir: bool,
    /// The memory that a worker may use, where that was asked for or a whole machine is used: a threshold that the file does not set is no more than a part
    /// of it.
    pub node_mem: Option<Bytes>,
    /// `--resource`: in place of the same resource of the file.
    pub resources: Vec<(Arc<str>, ResourceDef)>,
    /// `--label`: besides those of the file, and in place of one of the same key.
    pub labels: Vec<String>,
    /// `--time-limit`: in place of `time_limit_seconds`.
    pub time_limit: Option<Duration>,
    /// How long the job of a batch system that this process is a part of still lives: a time limit where neither flag nor file has one.
    pub job_time_left: Option<Duration>,
    /// `--idle-timeout`: in place of `idle_timeout_seconds`.
    pub idle_timeout: Option<Duration>,
    /// The environment.
    pub environment: Environment,
}

impl Overrides {
    /// The flag, if it was given, and the environment of this process.
    #[must_use]
    pub fn of_process(redis_url: Option<SecretString>) -> Self {
        Self { redis_url, environment: Environment::of_process(), ..Self::default() }
    }

    /// The URL that stands above the file, and what gave it.
    pub(super) fn url(&self) -> Option<(SecretString, &'static str)> {
        match &self.redis_url {
            // The parser of the command line takes the variable for the flag where that is not given.
            Some(url)
                if self.environment.text("DISTCOMP_REDIS_URL") == Some(url.expose_secret())
                    && self.environment.text(URL_FROM).is_none() =>
            {
                Some((url.clone(), "DISTCOMP_REDIS_URL"))
            }
            Some(url) if !url.expose_secret().is_empty() => Some((url.clone(), "--redis-url")),
            Some(_) | None => {
                self.environment.text("DISTCOMP_REDIS_URL").map(|url| (url.to_owned().into(), "DISTCOMP_REDIS_URL"))
            }
        }
    }
}
