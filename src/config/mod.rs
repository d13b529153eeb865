//! Configuration.
use secrecy::SecretString;
use std::path::PathBuf;
pub enum RedisEndpoint {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf },
}
pub struct TlsSettings {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}
pub struct RedisSettings {
    pub endpoint: RedisEndpoint,
    pub db: u32,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    pub tls: Option<TlsSettings>,
}
impl RedisSettings {
    pub fn describe(&self) -> String {
        String::new()
    }
}
