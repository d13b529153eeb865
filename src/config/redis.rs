//! The keys that say how to reach Redis, and what overrides them: the flag, then the environment, then `redis_url`, then `redis_host` and the
//! rest.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::expand::expand;
use super::fault::{FaultSource, quote, show};
use super::paths::{check_readable, warning_of_open_secret};
use super::raw::{RawConfig, unknown_key};
use super::redis_url::{RedisUrl, VALID};
use super::settings::{Endpoint, Origin, RedisSettings, SentinelLogin, TlsSettings};
use super::source::Overrides;
use super::values::{ValueReader, read};

/// No password is longer; a larger file is not a password file.
const MAX_PASSWORD_FILE: u64 = 64 * 1024;

/// Works out how to reach Redis, noting faults in `reader`.
pub(super) fn resolve_redis(
    reader: &mut ValueReader,
    raw: &RawConfig,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> RedisSettings {
    if let Some(path) = &overrides.private_server {
        let origin = Origin { is_local: true, ..Origin::default() };
        return RedisSettings { endpoint: Endpoint::Unix { path: path.clone() }, origin, ..default_settings() };
    }
    let file_password = read!(reader.secret(raw.redis_pass, "text, or \"\" for none"));
    let (url, source) = match overrides.url() {
        Some((url, source)) => (parse_url(reader, (FaultSource::Override, source), url.expose_secret()), Some(source)),
        None => {
            let text = read!(reader.secret(raw.redis_url, VALID));
            (text.and_then(|text| parse_url(reader, (FaultSource::File, "redis_url"), &text)), None)
        }
    };
    let is_overridden = source.is_some();
    // The keys of the file are checked even where they do not count: it will be used without the override one day.
    let keys = resolve_keys(reader, raw);
    let mut settings = match url {
        Some(url) => {
            if !is_overridden && (raw.redis_host.is_some() || raw.redis_port.is_some() || raw.redis_db.is_some()) {
                warnings.push("redis_host, redis_port and redis_db are ignored: redis_url is set".to_owned());
            }
            let tls = url_tls(reader, raw, url.is_tls, source, warnings);
            let password = url.password.map(SecretString::from);
            let user = url.sentinel_user;
            let sentinel_login = url.sentinel_password.map(|text| SentinelLogin { user, password: text.into() });
            let origin = Origin::default();
            RedisSettings { endpoint: url.endpoint, db: url.db, user: url.user, password, tls, sentinel_login, origin }
        }
        // A wrong URL has been noted; nothing of the file may stand in for it.
        None if is_overridden => default_settings(),
        None => {
            let mut settings = keys;
            settings.tls = resolve_tls(reader, raw.redis_tls.as_ref(), warnings);
            settings
        }
    };
    settings.origin.server = source.or_else(|| server_key(raw));
    settings.origin.password = settings.password.as_ref().and(settings.origin.server);
    // The user and password of the file go together: never one of the URL's with one of the file's.
    if settings.password.is_none() {
        let origin = password_origin(file_password.as_deref(), raw, overrides);
        settings.password = resolve_password(reader, raw, file_password, overrides, warnings);
        settings.origin.password = settings.password.as_ref().map(|_| origin);
        if settings.user.is_none() && (!is_overridden || settings.password.is_some()) {
            settings.user = read!(reader.text(raw.redis_user, "text"));
        }
    }
    settings
}

/// The key of the file that names the server.
fn server_key(raw: &RawConfig) -> Option<&'static str> {
    let keys = [("redis_url", &raw.redis_url), ("redis_host", &raw.redis_host), ("redis_port", &raw.redis_port)];
    keys.into_iter().find(|(_, value)| value.is_some()).map(|(key, _)| key)
}

/// What a password comes from that no URL holds, in the order of [`resolve_password`].
fn password_origin(file_password: Option<&str>, raw: &RawConfig, overrides: &Overrides) -> &'static str {
    if file_password.is_some() {
        "redis_pass"
    } else if raw.redis_pass_file.is_some() {
        "redis_pass_file"
    } else if overrides.environment.text("DISTCOMP_REDIS_PASSWORD").is_some() {
        "DISTCOMP_REDIS_PASSWORD"
    } else {
        "the systemd credential redis_pass"
    }
}

fn default_settings() -> RedisSettings {
    let endpoint = Endpoint::Tcp { host: "localhost".to_owned(), port: 6379 };
    RedisSettings {
        endpoint,
        db: 0,
        user: None,
        password: None,
        tls: None,
        sentinel_login: None,
        origin: Origin::default(),
    }
}

/// Reads a URL; `from` is what gave it.
fn parse_url(reader: &mut ValueReader, from: (FaultSource, &str), text: &str) -> Option<RedisUrl> {
    let (source, key) = from;
    let mut url =
        RedisUrl::parse(text).map_err(|problem| reader.fault_of(source, key, "(hidden)", problem, VALID)).ok()?;
    if let Endpoint::Unix { path } = &mut url.endpoint {
        match expand(path.as_os_str(), &reader.environment) {
            Ok(expanded) => *path = expanded,
            Err((problem, valid)) => reader.fault_of(source, key, "(hidden)", problem, valid),
        }
    }
    Some(url)
}

/// `redis_host`, `redis_port` and `redis_db`.
fn resolve_keys(reader: &mut ValueReader, raw: &RawConfig) -> RedisSettings {
    let valid = "a host name or address";
    let host = read!(reader.text(raw.redis_host, valid)).map(|host| host.trim().to_owned());
    let host = match host {
        Some(host) if host.contains('@') || host.contains("://") => {
            reader.fault("redis_host", quote(&host), "this is a URL, which belongs in redis_url", valid);
            None
        }
        Some(host) if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') => {
            reader.fault("redis_host", quote(&host), "not a host name", valid);
            None
        }
        Some(host) => Some(host.trim_start_matches('[').trim_end_matches(']').to_owned()),
        None => None,
    };
    let port = read!(reader.integer(raw.redis_port, 6379, 1, 65_535));
    let db = read!(reader.integer(raw.redis_db, 0, 0, 2_147_483_647));
    let endpoint = Endpoint::Tcp {
        host: host.unwrap_or_else(|| "localhost".to_owned()),
        port: u16::try_from(port).unwrap_or(6379),
    };
    RedisSettings { endpoint, db: u32::try_from(db).unwrap_or(0), ..default_settings() }
}

/// Whether a URL's connection is encrypted is the URL's to say; which certificates count only `redis_tls` can.
fn url_tls(
    reader: &mut ValueReader,
    raw: &RawConfig,
    is_tls: bool,
    source: Option<&str>,
    warnings: &mut Vec<String>,
) -> Option<TlsSettings> {
    let tls = resolve_tls(reader, raw.redis_tls.as_ref(), warnings);
    match (is_tls, tls) {
        (true, tls) => Some(tls.unwrap_or_default()),
        (false, None) => None,
        (false, Some(_)) => {
            match source {
                Some(source) => {
                    warnings.push(format!(
                        "the connection is not encrypted: {source} is not rediss://, so redis_tls is ignored"
                    ));
                }
                None => reader.fault(
                    "redis_url",
                    "(hidden)",
                    "redis_tls is set, but the URL is not encrypted",
                    "rediss://…",
                ),
            }
            None
        }
    }
}

/// `redis_tls`: `{}` is TLS with the certificates that the system trusts.
fn resolve_tls(reader: &mut ValueReader, value: Option<&Value>, warnings: &mut Vec<String>) -> Option<TlsSettings> {
    const VALID_TLS: &str = "{\"ca\": FILE, \"cert\": FILE, \"key\": FILE}, each optional";
    let object = match value {
        None | Some(Value::Null) => return None,
        Some(Value::Object(object)) => object,
        Some(other) => {
            reader.fault("redis_tls", show(other), "not an object", VALID_TLS);
            return None;
        }
    };
    for key in object.keys().filter(|key| !["ca", "cert", "key"].contains(&key.as_str())) {
        warnings.push(format!("redis_tls: {}", unknown_key(key, &["ca", "cert", "key"])));
    }
    let mut file = |name: &str| {
        let key = format!("redis_tls.{name}");
        readable_file(reader, &key, object.get(name))
    };
    let (ca, cert, key) = (file("ca"), file("cert"), file("key"));
    if cert.is_some() != key.is_some() {
        reader.fault("redis_tls", "", "cert and key must both be set: one of them is missing", VALID_TLS);
    }
    warnings.extend(key.as_deref().and_then(|key| warning_of_open_secret("redis_tls.key", key)));
    Some(TlsSettings { ca, cert, key })
}

/// The path of a file that can be read.
fn readable_file(reader: &mut ValueReader, key: &str, value: Option<&Value>) -> Option<PathBuf> {
    let valid = "the path of a file that can be read";
    let path = reader.path(key, value, valid)?;
    if let Err(problem) = check_readable(&path) {
        reader.fault(key, quote(&path.to_string_lossy()), problem, valid);
    }
    Some(path)
}

/// `redis_pass`, else `redis_pass_file`, else the environment, else the systemd credential.
fn resolve_password(
    reader: &mut ValueReader,
    raw: &RawConfig,
    file_password: Option<String>,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> Option<SecretString> {
    if let Some(password) = file_password {
        return Some(password.into());
    }
    let faults_before = reader.faults.len();
    if let Some(path) = read!(reader.path(raw.redis_pass_file, PASS_FILE_VALID)) {
        warnings.extend(warning_of_open_secret("redis_pass_file", &path));
        return read_password(reader, (FaultSource::File, "redis_pass_file"), &path);
    }
    if reader.faults.len() > faults_before {
        return None;
    }
    if let Some(password) = overrides.environment.text("DISTCOMP_REDIS_PASSWORD").filter(|text| !text.is_empty()) {
        return Some(password.into());
    }
    let credential = overrides.environment.path("CREDENTIALS_DIRECTORY")?.join("redis_pass");
    if !credential.exists() {
        return None;
    }
    read_password(reader, (FaultSource::Override, "$CREDENTIALS_DIRECTORY/redis_pass"), &credential)
}

const PASS_FILE_VALID: &str = "the path of a file that contains only the password";

/// Reads a password from a file; `from` is what named it.
fn read_password(reader: &mut ValueReader, from: (FaultSource, &str), path: &Path) -> Option<SecretString> {
    let found = quote(&path.to_string_lossy());
    let read = || -> Result<String, String> {
        let length = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
        if length > MAX_PASSWORD_FILE {
            return Err("too large for a password".to_owned());
        }
        let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
    };
    match read() {
        Ok(text) => {
            let password = text.strip_suffix('\n').unwrap_or(&text);
            let password = password.strip_suffix('\r').unwrap_or(password);
            (!password.is_empty()).then(|| password.into())
        }
        Err(problem) => {
            reader.fault_of(from.0, from.1, found, problem, PASS_FILE_VALID);
            None
        }
    }
}
