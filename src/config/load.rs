//! From a path to a [`Config`]: reads the file, resolves it, gathers the warnings.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::fault::{ConfigErrors, Fault};
use super::found;
use super::python;
use super::raw::{self, RawConfig};
use super::resolve::resolve;
use super::settings::Config;

/// Set where `DISTCOMP_REDIS_URL` stands for the flag, whose password no argument list is to show.
pub const URL_FROM: &str = "DISTCOMP_REDIS_URL_FROM";

/// The file that counts when none is named, if it is there.
pub const DEFAULT_FILE: &str = "conf.json";

/// A configuration larger than this is refused unread.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that somebody named: not being there is an error.
    Named(PathBuf),
    /// A file that was found when the program started: it must stay, and stay one that only this user and root can change.
    Found(PathBuf),
    /// `./conf.json` if it is there, else the defaults. One that others could have put there is an error.
    Default,
}

impl Source {
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

/// A configuration that holds, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Arc<Config>,
    /// One line each, safe to print: unknown keys, open permissions, settings that do not count.
    pub warnings: Vec<String>,
    /// The file that was read; `None` when the defaults hold.
    pub file: Option<PathBuf>,
    /// What a worker does otherwise than Python DistComp, where the file has only keys of that: one line each.
    pub python_notes: Vec<String>,
}

/// Reads, checks and resolves the configuration.
///
/// # Errors
/// Every fault of the file, or the one that kept it from being read.
pub fn load(source: &Source, overrides: &Overrides, role: Role) -> Result<Loaded, ConfigErrors> {
    resolve_read(source, read(source), overrides, role)
}

/// The text of a file and its permission bits; `None` when the defaults hold.
pub(super) type ReadFile = Result<Option<(Vec<u8>, u32)>, Fault>;

/// Reads the file, and nothing more.
pub(super) fn read(source: &Source) -> ReadFile {
    const VALID: &str = "the path of a JSON file that can be read";
    let unreadable = |error: io::Error| Fault::of_file(format!("cannot be read: {error}"), VALID);
    let file = match File::open(source.path()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && *source == Source::Default => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !matches!(source, Source::Named(_)) {
        found::check(&file, source.path())?;
    }
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Fault::of_file("more than 4 MiB long", VALID));
    }
    Ok(Some((bytes, mode)))
}

/// Resolves what [`read`] gave.
pub(super) fn resolve_read(
    source: &Source,
    file: ReadFile,
    overrides: &Overrides,
    role: Role,
) -> Result<Loaded, ConfigErrors> {
    let path = source.path();
    let fail = |fault: Fault| ConfigErrors::new(path, vec![fault]);
    let mut warnings = Vec::new();
    let (raw, mode) = match file.map_err(fail)? {
        None => (RawConfig::default(), None),
        Some((bytes, mode)) => {
            let text = String::from_utf8(bytes).map_err(|_| fail(Fault::of_file("not UTF-8 text", "")))?;
            (raw::parse(&text, &mut warnings).map_err(fail)?, Some(mode))
        }
    };
    let config = resolve(&raw, overrides, role, &mut warnings).map_err(|faults| {
        let path = if mode.is_some() { path } else { Path::new("(defaults)") };
        ConfigErrors::new(path, faults).with_warnings(std::mem::take(&mut warnings))
    })?;
    if let Some(mode) = mode
        && mode & 0o077 != 0
        && holds_password(&raw)
    {
        warnings.push(format!(
            "{} holds a password and others can read it (mode {:03o}); chmod 600, or use redis_pass_file",
            path.display(),
            mode & 0o777
        ));
    }
    if let Some(mode) = mode.filter(|mode| mode & 0o002 != 0) {
        warnings.push(format!(
            "{}: every user of this machine can change it (mode {:03o}), and what is run, as whom; chmod 644",
            path.display(),
            mode & 0o777
        ));
    }
    let python_notes = python::notes(&raw, &config);
    Ok(Loaded { config: Arc::new(config), warnings, file: mode.map(|_| path.to_owned()), python_notes })
}

fn holds_password(raw: &RawConfig) -> bool {
    let text = |value: &Option<serde_json::Value>| value.as_ref().and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let url = text(&raw.redis_url);
    !text(&raw.redis_pass).is_empty() || super::redis_url::RedisUrl::parse(&url).is_ok_and(|url| url.password.is_some())
}
