//! A configuration to load in a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::{ConfigErrors, ConfigSource, Environment, LoadedConfig, Overrides, Role, load};

/// A file in a directory of its own, and an environment that leads nowhere else.
pub(super) struct Conf {
    pub(super) dir: tempfile::TempDir,
    pub(super) overrides: Overrides,
    pub(super) role: Role,
}

impl Conf {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let environment = Environment::from_iter([("HOME", dir.path())]);
        Self { dir, overrides: Overrides { environment, ..Overrides::default() }, role: Role::Client }
    }

    pub(super) fn worker() -> Self {
        Self { role: Role::Worker, ..Self::new() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("conf.json")
    }

    pub(super) fn write(&self, text: &str) -> ConfigSource {
        fs::write(self.path(), text).expect("conf.json is written");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).expect("chmod");
        ConfigSource::Named(self.path())
    }

    pub(super) fn load_text(&self, text: &str) -> Result<LoadedConfig, ConfigErrors> {
        load(&self.write(text), &self.overrides, self.role)
    }

    pub(super) fn load(&self, value: &Value) -> Result<LoadedConfig, ConfigErrors> {
        self.load_text(&value.to_string())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        let home = self.dir.path().as_os_str().to_owned();
        self.overrides.environment = Environment::from_iter([("HOME", home), (name, value.into())]);
    }
}

pub(super) fn password(loaded: &LoadedConfig) -> Option<String> {
    loaded.config.redis.password.as_ref().map(|p| p.expose_secret().to_owned())
}

pub(super) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
