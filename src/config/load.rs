//! Reads the file, resolves it into a [`Config`], and collects the warnings.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{ConfigErrors, Fault};
use super::file_trust;
use super::python;
use super::raw::{self, RawConfig};
use super::resolve::resolve;
use super::settings::Config;
use super::source::{ConfigSource, Overrides, Role};

/// A configuration larger than this is refused unread.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A configuration that holds, and what is odd about it.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
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
pub fn load(source: &ConfigSource, overrides: &Overrides, role: Role) -> Result<LoadedConfig, ConfigErrors> {
    resolve_read(source, read(source), overrides, role)
}

/// The text of a file and its permission bits; `None` when the defaults hold.
pub(super) type ReadFile = Result<Option<(Vec<u8>, u32)>, Fault>;

/// Reads the file, and nothing more.
pub(super) fn read(source: &ConfigSource) -> ReadFile {
    const VALID: &str = "the path of a readable JSON file";
    let unreadable = |error: io::Error| Fault::of_file(format!("cannot be read: {error}"), VALID);
    let file = match File::open(source.path()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && *source == ConfigSource::Default => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !matches!(source, ConfigSource::Named(_)) {
        file_trust::check(&file, source.path())?;
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
    source: &ConfigSource,
    file: ReadFile,
    overrides: &Overrides,
    role: Role,
) -> Result<LoadedConfig, ConfigErrors> {
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
            "{} contains a password, and others can read it (mode {:03o}): run chmod 600, or use redis_pass_file",
            path.display(),
            mode & 0o777
        ));
    }
    if let Some(mode) = mode.filter(|mode| mode & 0o002 != 0) {
        warnings.push(format!(
            "{}: every user of this machine can change it (mode {:03o}), and thereby what runs and as which user: run chmod 644",
            path.display(),
            mode & 0o777
        ));
    }
    let python_notes = python::notes(&raw, &config);
    Ok(LoadedConfig { config: Arc::new(config), warnings, file: mode.map(|_| path.to_owned()), python_notes })
}

fn holds_password(raw: &RawConfig) -> bool {
    let text = |value: &Option<serde_json::Value>| value.as_ref().and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let url = text(&raw.redis_url);
    !text(&raw.redis_pass).is_empty() || super::redis_url::RedisUrl::parse(&url).is_ok_and(|url| url.password.is_some())
}
