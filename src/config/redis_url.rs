//! The only parser of Redis URLs: `redis://`, `rediss://`, `redis+unix://`, `unix://`, `redis+sentinel://`, `rediss+sentinel://`. Messages
//! never contain the URL, because it may contain the password.

use std::path::PathBuf;

use super::settings::Endpoint;

/// What a URL of a Redis server says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) endpoint: Endpoint,
    pub(super) db: u32,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) is_tls: bool,
    /// User and password for the sentinels, which have their own.
    pub(super) sentinel_user: Option<String>,
    pub(super) sentinel_password: Option<String>,
}

/// What a URL may look like, for messages.
pub(super) const VALID: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, redis+unix:///PATH[?db=N], or redis+sentinel://HOST[:PORT],HOST[:PORT]/MASTER[/DB]";

/// Where a sentinel listens unless its URL says otherwise.
const SENTINEL_PORT: u16 = 26379;

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// What is wrong with it, without any part that could be secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("no scheme before \"://\"".to_owned());
        };
        if rest.contains('#') {
            return Err("a \"#\" must be written %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parsed = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => Self::parse_tcp(rest, false)?,
            "rediss" | "valkeys" => Self::parse_tcp(rest, true)?,
            "redis+sentinel" | "valkey+sentinel" => Self::parse_sentinel(rest, false)?,
            "rediss+sentinel" | "valkeys+sentinel" => Self::parse_sentinel(rest, true)?,
            "redis+unix" | "valkey+unix" | "unix" => Self::parse_unix(rest)?,
            _ => return Err("unknown scheme".to_owned()),
        };
        parsed.apply_query(query)?;
        Ok(parsed)
    }

    fn parse_tcp(rest: &str, is_tls: bool) -> Result<Self, String> {
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password, address) = split_credentials(authority)?;
        let (host, port) = split_port(address, 6379)?;
        let host = if host.is_empty() { "localhost".to_owned() } else { decode(host)? };
        let db = if db.is_empty() { 0 } else { parse_db(db)? };
        Ok(Self { db, user, password, is_tls, ..Self::at(Endpoint::Tcp { host, port }) })
    }

    fn at(endpoint: Endpoint) -> Self {
        let (user, password, sentinel_user, sentinel_password) = (None, None, None, None);
        Self { endpoint, db: 0, user, password, is_tls: false, sentinel_user, sentinel_password }
    }

    /// `[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/MASTER[/DB]`; user and password are the master's.
    fn parse_sentinel(rest: &str, is_tls: bool) -> Result<Self, String> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password, addresses) = split_credentials(authority)?;
        let mut nodes = Vec::new();
        for address in addresses.split(',') {
            let (host, port) = split_port(address, SENTINEL_PORT)?;
            if host.is_empty() {
                return Err("a sentinel has no host name: HOST[:PORT],HOST[:PORT]".to_owned());
            }
            nodes.push((decode(host)?, port));
        }
        let (master, db) = path.split_once('/').unwrap_or((path, ""));
        let master = decode(master)?;
        if master.is_empty() {
            return Err("the name of the master is missing after the sentinels: /MASTER".to_owned());
        }
        let db = if db.is_empty() { 0 } else { parse_db(db)? };
        Ok(Self { db, user, password, is_tls, ..Self::at(Endpoint::Sentinel { nodes, master }) })
    }

    fn parse_unix(rest: &str) -> Result<Self, String> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => return Err("the path of the socket must be absolute: three slashes".to_owned()),
        };
        let (user, password, host) = split_credentials(authority)?;
        if host == "~" || host.starts_with('$') {
            // Of a home directory or a variable; whoever reads the URL replaces it.
            let path = PathBuf::from(decode(&format!("{host}{path}"))?);
            return Ok(Self { user, password, ..Self::at(Endpoint::Unix { path }) });
        }
        if !host.is_empty() {
            return Err("the path of the socket must be absolute: three slashes".to_owned());
        }
        let path = PathBuf::from(decode(path)?);
        Ok(Self { user, password, ..Self::at(Endpoint::Unix { path }) })
    }

    fn apply_query(&mut self, query: &str) -> Result<(), String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "db" => self.db = parse_db(value)?,
                "user" => self.user = non_empty(decode(value)?),
                "pass" | "password" => self.password = non_empty(decode(value)?),
                "sentinel_user" | "sentinel_pass" if !matches!(self.endpoint, Endpoint::Sentinel { .. }) => {
                    return Err("sentinel_user and sentinel_pass can only be used with redis+sentinel://".to_owned());
                }
                "sentinel_user" => self.sentinel_user = non_empty(decode(value)?),
                "sentinel_pass" => self.sentinel_password = non_empty(decode(value)?),
                // Ours to choose; here so that a URL written for another client works.
                "protocol" => {}
                _ => return Err("unknown parameter after \"?\"".to_owned()),
            }
        }
        if self.sentinel_user.is_some() && self.sentinel_password.is_none() {
            return Err("sentinel_user is set without sentinel_pass".to_owned());
        }
        Ok(())
    }
}

/// `[[user][:password]@]address`, decoded; the last `@` counts, since hosts have none.
fn split_credentials(authority: &str) -> Result<(Option<String>, Option<String>, &str), String> {
    let Some((credentials, address)) = authority.rsplit_once('@') else {
        return Ok((None, None, authority));
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    Ok((non_empty(decode(user)?), non_empty(decode(password)?), address))
}

fn split_port(address: &str, default: u16) -> Result<(&str, u16), String> {
    let bad_port = || {
        "the port is not an integer from 1 to 65535 (a \"/\" or \"@\" in a password must be written %2F or %40)"
            .to_owned()
    };
    let (host, port) = if let Some(inner) = address.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("a \"[\" has no closing \"]\"")?;
        match after.strip_prefix(':') {
            Some(port) => (host, port),
            None if after.is_empty() => (host, ""),
            None => return Err(bad_port()),
        }
    } else {
        address.rsplit_once(':').unwrap_or((address, ""))
    };
    if host.contains(':') && !address.starts_with('[') {
        return Err("an IPv6 address must be in [brackets]".to_owned());
    }
    if port.is_empty() {
        return Ok((host, default));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((host, number)),
        Ok(_) | Err(_) => Err(bad_port()),
    }
}

fn parse_db(text: &str) -> Result<u32, String> {
    match text.parse::<i32>() {
        Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => u32::try_from(number).map_err(|e| e.to_string()),
        Ok(_) | Err(_) => Err("the database is not an integer, 0 or more".to_owned()),
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let bad = || "a \"%\" must be followed by two hex digits of UTF-8 text".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).map_err(|_| bad())?);
        } else {
            bytes.push(byte);
        }
    }
    if bytes.contains(&0) {
        return Err("it contains a NUL character".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_is_understood() {
        let plain = RedisUrl::at(tcp("h", 6379));
        let some = |text: &str| Some(text.to_owned());
        let unix = Endpoint::Unix { path: "/run/a b.sock".into() };
        let cases = [
            ("redis://h", plain.clone()),
            ("redis://h/", plain.clone()),
            ("REDIS://h:7/2", RedisUrl { endpoint: tcp("h", 7), db: 2, ..plain.clone() }),
            ("redis://:7", RedisUrl { endpoint: tcp("localhost", 7), ..plain.clone() }),
            (
                "rediss://u:p%40%2F%3a@h",
                RedisUrl { user: some("u"), password: some("p@/:"), is_tls: true, ..plain.clone() },
            ),
            ("redis://:p:q@h/1", RedisUrl { password: some("p:q"), db: 1, ..plain.clone() }),
            ("redis://u@h", RedisUrl { user: some("u"), ..plain.clone() }),
            ("redis://[::1]:7/3", RedisUrl { endpoint: tcp("::1", 7), db: 3, ..plain.clone() }),
            ("redis://[::1]", RedisUrl { endpoint: tcp("::1", 6379), ..plain.clone() }),
            ("redis://h?db=4&protocol=resp3", RedisUrl { db: 4, ..plain.clone() }),
            (
                "redis+unix:///run/a%20b.sock?db=2&pass=x&user=y",
                RedisUrl { endpoint: unix.clone(), db: 2, user: some("y"), password: some("x"), ..plain.clone() },
            ),
            ("unix:///run/a b.sock", RedisUrl { endpoint: unix, ..plain.clone() }),
            (
                "redis+sentinel://u:p@h,[::1]:7,i:8/the%20one/3?sentinel_user=s&sentinel_pass=t",
                RedisUrl {
                    db: 3,
                    user: some("u"),
                    password: some("p"),
                    sentinel_user: some("s"),
                    sentinel_password: some("t"),
                    ..RedisUrl::at(Endpoint::Sentinel {
                        nodes: vec![("h".to_owned(), 26379), ("::1".to_owned(), 7), ("i".to_owned(), 8)],
                        master: "the one".to_owned(),
                    })
                },
            ),
            (
                "rediss+sentinel://h/m",
                RedisUrl {
                    is_tls: true,
                    ..RedisUrl::at(Endpoint::Sentinel { nodes: vec![("h".to_owned(), 26379)], master: "m".to_owned() })
                },
            ),
        ];
        for (url, expected) in cases {
            assert!(RedisUrl::parse(url).as_ref() == Ok(&expected), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_the_password() {
        for url in [
            "",
            "h:6379",
            "http://h",
            "redis://hunter2@h:0",
            "redis://:hunter2@h:65536",
            "redis://:hunter2@h:x",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h/-1",
            "redis://:hunter2@h/+1",
            "redis://::1",
            "redis://[::1",
            "redis://:hunter2%zz@h",
            "redis://:hunter2%0@h",
            "redis://:hunter2%00@h",
            "redis://:hunter2%ff@h",
            "redis://:hunter2#x@h",
            "redis://h?hunter2=1",
            "unix://run/hunter2",
            "unix://hunter2",
            "redis://:hunter2/x@h:1",
            "redis://[::1]x",
            "redis://h/2147483648",
            "redis+sentinel://h",
            "redis+sentinel://h/",
            "redis+sentinel:///m",
            "redis+sentinel://h,/m",
            "redis+sentinel://h:0/m",
            "redis+sentinel://:hunter2@h/m/x",
            "redis+sentinel://h/m?sentinel_user=hunter2",
            "redis://h?sentinel_pass=hunter2",
        ] {
            let Err(problem) = RedisUrl::parse(url) else { panic!("{url} is accepted") };
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(url in "(redis|rediss|unix|redis\\+unix|redis\\+sentinel)://\\PC*") {
            let _ = RedisUrl::parse(&url);
        }

        #[test]
        fn any_password_survives_encoding(password in "[^\\x00]{1,20}") {
            let encoded: String = password.bytes().map(|b| format!("%{b:02x}")).collect();
            let parsed = RedisUrl::parse(&format!("redis://u:{encoded}@h:1/2")).ok().and_then(|url| url.password);
            prop_assert_eq!(parsed, Some(password));
        }
    }
}
