//! Opens connections: the credentials and the TLS files for a server. Certificates are read at every connect, so that the next connection uses
//! renewed ones.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};
use socket2::TcpKeepalive;

use super::error::QueueError;
use super::error::classify;
use crate::config::{Endpoint, Origin, RedisSettings};

/// A half-open connection is noticed within this time by the kernel, should no call time out first.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long reading the TLS files may take.
const FILES_TIMEOUT: Duration = Duration::from_secs(2);

/// Knows how to reach Redis. Holds no connection.
pub(super) struct Dialer {
    settings: RedisSettings,
    at: Arc<str>,
    login: RwLock<Credentials>,
    /// Which sentinel answered last: asked first the next time.
    pub(super) favourite: AtomicUsize,
    /// The TLS files as they were read last.
    pem: Arc<Mutex<TlsFiles>>,
    /// A thread reads them.
    is_reading: Arc<AtomicBool>,
}

/// The content of the TLS files.
#[derive(Clone, Default)]
struct TlsFiles {
    ca: Option<Vec<u8>>,
    /// Certificate and key.
    own: Option<(Vec<u8>, Vec<u8>)>,
}

/// As whom to log in.
#[derive(Clone, Default)]
struct Credentials {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Credentials {
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
        let login = RwLock::new(Credentials::of(settings));
        let at: Arc<str> = settings.to_string().into();
        let pem = settings.tls.as_ref().map(TlsFiles::read).transpose();
        let pem = pem.map_err(|message| QueueError::Mismatch(format!("{at}: {message}")))?;
        let pem = Arc::new(Mutex::new(pem.unwrap_or_default()));
        let is_reading = Arc::default();
        let dialer = Self { settings: settings.clone(), at, login, favourite: AtomicUsize::new(0), pem, is_reading };
        match dialer.sentinels() {
            None => dialer.direct().map(drop)?,
            Some((nodes, _)) => {
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

    /// Takes up another user and password; connections that stand are not touched.
    pub(super) fn log_in_as(&self, settings: &RedisSettings) {
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = Credentials::of(settings);
    }

    /// What named the server and the password.
    pub(super) fn origin(&self) -> Origin {
        self.settings.origin
    }

    /// The server without any login; `None` where sentinels name it.
    pub(super) fn without_login(&self) -> Option<redis::Client> {
        let addr = match &self.settings.endpoint {
            Endpoint::Unix { path } => ConnectionAddr::Unix(path.clone()),
            Endpoint::Tcp { host, port } => self.tcp(host, *port),
            Endpoint::Sentinel { .. } => return None,
        };
        self.open(addr, RedisConnectionInfo::default().set_skip_set_lib_name()).ok()
    }

    /// The sentinels and the name of the master that they watch; `None` for a server at a fixed place.
    pub(super) fn sentinels(&self) -> Option<(&[(String, u16)], &str)> {
        match &self.settings.endpoint {
            Endpoint::Unix { .. } | Endpoint::Tcp { .. } => None,
            Endpoint::Sentinel { nodes, master } => Some((nodes, master)),
        }
    }

    /// Reads the TLS files again, on another thread: where they lie on a server that does not answer, those read before serve on.
    pub(super) async fn read_tls_files(&self) -> Result<(), QueueError> {
        let Some(tls) = self.settings.tls.clone() else { return Ok(()) };
        if self.is_reading.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (pem, is_reading) = (Arc::clone(&self.pem), Arc::clone(&self.is_reading));
        let begun = std::thread::Builder::new().name("tls-files".to_owned()).spawn(move || {
            let read = TlsFiles::read(&tls).map(|new| *pem.lock().unwrap_or_else(PoisonError::into_inner) = new);
            is_reading.store(false, Ordering::Relaxed);
            let _ = answer.send(read);
        });
        if begun.is_err() {
            self.is_reading.store(false, Ordering::Relaxed);
            return Ok(());
        }
        match tokio::time::timeout(FILES_TIMEOUT, answered).await {
            Ok(Ok(read)) => read.map_err(|message| QueueError::Mismatch(format!("{}: {message}", self.at))),
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                tracing::warn!(
                    "the file system does not answer: cannot read the files of redis_tls again; using those read before"
                );
                Ok(())
            }
        }
    }

    /// The server at a fixed place.
    pub(super) fn direct(&self) -> Result<redis::Client, QueueError> {
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
            Some(_) => {
                let pem = self.pem.lock().unwrap_or_else(PoisonError::into_inner).clone();
                open_tls(info, pem).map_err(bad)
            }
            None => redis::Client::open(info).map_err(|error| bad(error.to_string())),
        }
    }

    /// What a failure to connect may mean besides.
    pub(super) fn hint(&self, message: &str, is_timeout: bool) -> Option<String> {
        match &self.settings.endpoint {
            Endpoint::Unix { .. } => None,
            Endpoint::Tcp { .. } | Endpoint::Sentinel { .. } => {
                classify::tls_hint(message, self.settings.tls.as_ref(), is_timeout)
            }
        }
    }

    /// Remembers which sentinel answered.
    pub(super) fn prefer(&self, index: usize) {
        self.favourite.store(index, Ordering::Relaxed);
    }
}

impl TlsFiles {
    #[cfg(feature = "tls")]
    fn read(tls: &crate::config::TlsSettings) -> Result<Self, String> {
        let read = |key: &str, path: &std::path::Path| {
            let said = |what: &str| format!("redis_tls.{key}: {}: {what}", path.display());
            let bytes = std::fs::read(path).map_err(|error| said(&error.to_string()))?;
            // Otherwise an empty file of certificates would be one that trusts nobody.
            let is_pem = bytes.windows(11).any(|part| part == b"-----BEGIN ");
            if is_pem { Ok(bytes) } else { Err(said("contains no PEM text")) }
        };
        let own = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => Some((read("cert", cert)?, read("key", key)?)),
            _ => None,
        };
        Ok(Self { ca: tls.ca.as_deref().map(|ca| read("ca", ca)).transpose()?, own })
    }

    #[cfg(not(feature = "tls"))]
    fn read(_: &crate::config::TlsSettings) -> Result<Self, String> {
        Err("this build has no TLS (cargo feature `tls`)".to_owned())
    }
}

#[cfg(feature = "tls")]
fn open_tls(info: redis::ConnectionInfo, pem: TlsFiles) -> Result<redis::Client, String> {
    // A second installation fails harmlessly: the provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client_tls = pem.own.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert: pem.ca })
        .map_err(|error| format!("redis_tls: {error}"))
}

#[cfg(not(feature = "tls"))]
fn open_tls(_: redis::ConnectionInfo, _: TlsFiles) -> Result<redis::Client, String> {
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
        let settings = RedisSettings {
            endpoint,
            db: 0,
            user: None,
            password: None,
            tls,
            sentinel_login: None,
            origin: Origin::default(),
        };
        let Err(error) = Dialer::new(&settings) else { panic!("it has TLS") };
        assert!(error.to_string().contains("this build has no TLS"), "{error}");
    }
}
