//! Where the next connection goes, as whom, and with which certificates. A server at a fixed place is simply opened; behind sentinels the master is
//! looked up at every connect. TLS files are read at every connect too, so that renewed certificates are taken up by the next one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};
use socket2::TcpKeepalive;

use super::error::QueueError;
use super::{sentinel, tls_hint};
use crate::config::{Endpoint, RedisSettings};

/// A half-open connection is noticed within this time by the kernel, should no call time out first.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Knows how to reach Redis. Holds no connection.
pub(super) struct Dialer {
    settings: RedisSettings,
    at: Arc<str>,
    login: RwLock<Login>,
    /// Which sentinel answered last: asked first the next time.
    pub(super) favourite: AtomicUsize,
}

/// As whom to log in.
#[derive(Clone, Default)]
struct Login {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Login {
    fn of(settings: &RedisSettings) -> Self {
        Self { user: settings.user.clone(), password: settings.password.clone() }
    }
}

impl Dialer {
    /// For the server of `settings`; reads the TLS files once, to find faults at the start.
    ///
    /// # Errors
    /// [`QueueError::Mismatch`] when TLS files cannot be read or used.
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, QueueError> {
        let login = RwLock::new(Login::of(settings));
        let at = settings.to_string().into();
        let dialer = Self { settings: settings.clone(), at, login, favourite: AtomicUsize::new(0) };
        match &settings.endpoint {
            Endpoint::Unix { .. } | Endpoint::Tcp { .. } => dialer.direct().map(drop)?,
            Endpoint::Sentinel { nodes, .. } => {
                for (host, port) in nodes {
                    dialer.sentinel(host, *port)?;
                }
            }
        }
        Ok(dialer)
    }

    /// The server as configured, without credentials.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// The number of the database.
    pub(super) fn db(&self) -> u32 {
        self.settings.db
    }

    /// The user's name; the server's default user has the name `default`.
    pub(super) fn user(&self) -> String {
        let login = self.login.read().unwrap_or_else(PoisonError::into_inner);
        login.user.clone().unwrap_or_else(|| "default".to_owned())
    }

    /// Whether the master is looked up anew at each connect.
    pub(super) fn asks_sentinels(&self) -> bool {
        matches!(self.settings.endpoint, Endpoint::Sentinel { .. })
    }

    /// Takes up another user and password; connections that stand are not touched.
    pub(super) fn log_in_as(&self, settings: &RedisSettings) {
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = Login::of(settings);
    }

    /// Whom to connect to now. Asks the sentinels, where there are some; bounded by a second for each.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] when no sentinel answers with a master that says so itself.
    pub(super) async fn server(&self) -> Result<redis::Client, QueueError> {
        match &self.settings.endpoint {
            Endpoint::Unix { .. } | Endpoint::Tcp { .. } => self.direct(),
            Endpoint::Sentinel { nodes, master } => {
                let (host, port) = sentinel::master(self, nodes, master).await?;
                self.master(&host, port)
            }
        }
    }

    fn direct(&self) -> Result<redis::Client, QueueError> {
        let addr = match &self.settings.endpoint {
            Endpoint::Unix { path } => ConnectionAddr::Unix(path.clone()),
            Endpoint::Tcp { host, port } => self.tcp(host, *port),
            Endpoint::Sentinel { .. } => return Err(QueueError::Protocol("the master is not known".to_owned())),
        };
        self.open(addr, self.login())
    }

    /// The server that a sentinel named.
    pub(super) fn master(&self, host: &str, port: u16) -> Result<redis::Client, QueueError> {
        self.open(self.tcp(host, port), self.login())
    }

    /// One of the sentinels.
    pub(super) fn sentinel(&self, host: &str, port: u16) -> Result<redis::Client, QueueError> {
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(login) = &self.settings.sentinel_login {
            info = info.set_password(login.password.expose_secret());
            if let Some(user) = &login.user {
                info = info.set_username(user);
            }
        }
        self.open(self.tcp(host, port), info)
    }

    fn login(&self) -> RedisConnectionInfo {
        let login = self.login.read().unwrap_or_else(PoisonError::into_inner);
        let mut info = RedisConnectionInfo::default().set_db(i64::from(self.settings.db)).set_skip_set_lib_name();
        if let Some(user) = &login.user {
            info = info.set_username(user);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password.expose_secret());
        }
        info
    }

    fn tcp(&self, host: &str, port: u16) -> ConnectionAddr {
        let host = host.to_owned();
        match &self.settings.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        }
    }

    fn open(&self, addr: ConnectionAddr, login: RedisConnectionInfo) -> Result<redis::Client, QueueError> {
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(
                TcpKeepalive::new()
                    .with_time(Duration::from_secs(5))
                    .with_interval(Duration::from_secs(2))
                    .with_retries(2),
            )
            .set_user_timeout(TCP_USER_TIMEOUT);
        let bad = |message: String| QueueError::Mismatch(format!("{}: {message}", self.at));
        let info = addr.into_connection_info().map_err(|error| bad(error.to_string()))?;
        let info = info.set_redis_settings(login).set_tcp_settings(tcp);
        match &self.settings.tls {
            Some(tls) => open_tls(info, tls).map_err(bad),
            None => redis::Client::open(info).map_err(|error| bad(error.to_string())),
        }
    }

    /// What a failure to connect may mean besides.
    pub(super) fn hint(&self, message: &str, is_timeout: bool) -> Option<String> {
        match &self.settings.endpoint {
            Endpoint::Unix { .. } => None,
            Endpoint::Tcp { .. } | Endpoint::Sentinel { .. } => {
                tls_hint::hint(message, self.settings.tls.as_ref(), is_timeout)
            }
        }
    }

    /// Remembers which sentinel answered.
    pub(super) fn prefer(&self, index: usize) {
        self.favourite.store(index, Ordering::Relaxed);
    }
}

#[cfg(feature = "tls")]
fn open_tls(info: redis::ConnectionInfo, tls: &crate::config::TlsSettings) -> Result<redis::Client, String> {
    // A second installation fails harmlessly: the provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |key: &str, path: &std::path::Path| {
        let said = |what: &str| format!("redis_tls.{key}: {}: {what}", path.display());
        let bytes = std::fs::read(path).map_err(|error| said(&error.to_string()))?;
        // Otherwise an empty file of certificates would be one that trusts nobody.
        let is_pem = bytes.windows(11).any(|part| part == b"-----BEGIN ");
        if is_pem { Ok(bytes) } else { Err(said("holds no PEM text")) }
    };
    let client_tls = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            Some(redis::ClientTlsConfig { client_cert: read("cert", cert)?, client_key: read("key", key)? })
        }
        _ => None,
    };
    let root_cert = tls.ca.as_deref().map(|ca| read("ca", ca)).transpose()?;
    redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert })
        .map_err(|error| format!("redis_tls: {error}"))
}

#[cfg(not(feature = "tls"))]
fn open_tls(_: redis::ConnectionInfo, _: &crate::config::TlsSettings) -> Result<redis::Client, String> {
    Err("this build has no TLS (cargo feature `tls`)".to_owned())
}

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    use super::*;
    use crate::config::TlsSettings;

    #[test]
    fn a_build_without_tls_says_so() {
        let endpoint = Endpoint::Tcp { host: "h".to_owned(), port: 1 };
        let tls = Some(TlsSettings::default());
        let settings = RedisSettings { endpoint, db: 0, user: None, password: None, tls, sentinel_login: None };
        let Err(error) = Dialer::new(&settings) else { panic!("it has TLS") };
        assert!(error.to_string().contains("this build has no TLS"), "{error}");
    }
}
