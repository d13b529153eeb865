//! Notices that the file has changed, and says what the change means for a running worker.

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::confine::Confine;
use super::fault::{ConfigErrors, Fault};
use super::load::{LoadedConfig, ReadFile, read, resolve_read};
use super::settings::{Config, RedisSettings};
use super::source::{ConfigSource, Overrides, Role};

/// A key whose value has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The key as in `conf.json`.
    pub key: &'static str,
    /// Whether a running worker takes it up; otherwise it takes a restart.
    pub live: bool,
}

/// Declares, once, how each setting is compared and whether it changes live.
macro_rules! settings {
    ($(live $field:ident = $key:literal;)* $(fixed $fixed:ident = $fixed_key:literal;)*) => {
        /// The keys that differ, whether by the file or by what stands above it, in no particular order.
        #[must_use]
        pub fn diff(old: &Config, new: &Config) -> Vec<SettingChange> {
            let mut changes = Vec::new();
            $(if old.$field != new.$field { changes.push(SettingChange { key: $key, live: true }); })*
            $(if old.$fixed != new.$fixed { changes.push(SettingChange { key: $fixed_key, live: false }); })*
            changes.extend(redis_changes(&old.redis, &new.redis));
            changes.extend(confine_changes(&old.confine, &new.confine));
            changes
        }

        /// `new` as far as it can be taken up now: what needs a restart stays as in `old`.
        #[must_use]
        pub fn carry_over(old: &Config, new: &Config) -> Config {
            Config {
                $($field: new.$field.clone(),)*
                $($fixed: old.$fixed.clone(),)*
                redis: carry_login(&old.redis, &new.redis),
                confine: old.confine.clone(),
                is_of_python: new.is_of_python,
            }
        }
    };
}

settings! {
    live min_dram_accept = "min_dram_gb_accept_new_task";
    live min_dram_trigger = "min_dram_gb_trigger_return";
    live max_tasks = "max_task_per_worker";
    live max_retry = "max_retry_per_task";
    live default_timeout = "default_task_timeout_seconds";
    live timeout_check_interval = "task_timeout_check_interval";
    live kill_grace = "task_kill_grace_seconds";
    live poll_interval = "sleep_sec_between_accepting_task";
    live min_between_starts = "min_seconds_between_starts";
    live auto_sleep = "auto_sleep_sec";
    live pipeline_batching = "redis_pipeline_batching";
    live prefetch = "task_prefetch";
    live heartbeat_interval = "health_report_interval";
    live dead_after = "worker_dead_after_seconds";
    live min_free_cores = "min_free_cpu_cores";
    live drain_timeout = "drain_timeout_seconds";
    live retry_backoff = "retry_backoff_seconds";
    live retry_memory_factor = "retry_memory_factor";
    live retry_memory_max = "retry_memory_max_gb";
    live result_dir = "result_dir";
    live task_shell = "task_shell";
    live max_inline_output = "max_inline_output_bytes";
    live task_public_keys = "task_public_keys";
    live resources = "resources";
    live labels = "labels";
    live hide_gpus = "hide_gpus";
    live pin_cpus = "pin_cpus";
    live scratch_dir = "scratch_dir";
    live prefer_wait = "prefer_wait_seconds";
    live max_lost = "max_lost_per_task";
    live suspect_after = "suspect_after";
    live idle_timeout = "idle_timeout_seconds";
    fixed state_dir = "state_dir";
    fixed time_limit = "time_limit_seconds";
    fixed field_order = "task_field_order";
    fixed key_prefix = "redis_key_prefix";
    fixed require_signed_tasks = "require_signed_tasks";
    fixed task_signing_key = "task_signing_key";
    fixed python_workers = "python_workers";
}

fn redis_changes(old: &RedisSettings, new: &RedisSettings) -> Vec<SettingChange> {
    let password = |settings: &RedisSettings| settings.password.as_ref().map(|p| p.expose_secret().to_owned());
    let live = is_same_server(old, new);
    [
        ("redis_host", old.endpoint != new.endpoint, false),
        ("redis_db", old.db != new.db, false),
        ("redis_user", old.user != new.user, live),
        ("redis_pass", password(old) != password(new), live),
        ("redis_tls", old.tls != new.tls, false),
    ]
    .into_iter()
    .filter(|(_, is_changed, _)| *is_changed)
    .map(|(key, _, live)| SettingChange { key, live })
    .collect()
}

/// Fixed when the process that starts tasks is: a user that could be changed under a running worker would be no wall.
fn confine_changes(old: &Confine, new: &Confine) -> Vec<SettingChange> {
    [
        ("run_as_user", old.run_as_user != new.run_as_user),
        ("no_new_privs", old.no_new_privs != new.no_new_privs),
        ("task_rlimits", old.rlimits != new.rlimits),
        ("nice", old.nice != new.nice),
        ("oom_score_adj", old.oom_score_adj != new.oom_score_adj),
        ("umask", old.umask != new.umask),
        ("enforce_memory", old.enforce_memory != new.enforce_memory),
    ]
    .into_iter()
    .filter(|(_, is_changed)| *is_changed)
    .map(|(key, _)| SettingChange { key, live: false })
    .collect()
}

fn is_same_server(old: &RedisSettings, new: &RedisSettings) -> bool {
    old.endpoint == new.endpoint && old.db == new.db && old.tls == new.tls
}

/// Another user or password counts from the next connection on, but never one that is meant for another server.
fn carry_login(old: &RedisSettings, new: &RedisSettings) -> RedisSettings {
    if !is_same_server(old, new) {
        return old.clone();
    }
    RedisSettings { user: new.user.clone(), password: new.password.clone(), ..old.clone() }
}

/// What a file looked like when it was last read. The content counts and not the time: network file systems keep
/// coarse times, and editors put files back unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// There is no file, and none is needed.
    Absent,
    /// It could not be read, for this reason.
    Unreadable(String),
    /// The SHA-256 of its content, and its permission bits.
    Content([u8; 32], u32),
}

impl Fingerprint {
    fn of(file: &ReadFile) -> Self {
        match file {
            Ok(None) => Self::Absent,
            Ok(Some((bytes, mode))) => Self::Content(Sha256::digest(bytes).into(), *mode),
            Err(fault) => Self::Unreadable(fault.to_string()),
        }
    }
}

/// What a look at the file showed.
#[derive(Debug)]
pub enum Reload {
    /// As it was the last time.
    Unchanged,
    /// It has changed: the new configuration, or why it cannot be used. A broken content is reported once.
    Changed(Result<LoadedConfig, ConfigErrors>),
}

/// Looks at the file whenever it is told to; holds what it saw the last time. Blocking, but for one small file.
#[derive(Debug)]
pub struct Watcher {
    source: ConfigSource,
    overrides: Overrides,
    role: Role,
    seen: Fingerprint,
    /// A pipe (`--config <(…)`) gives its content once.
    is_pipe: bool,
}

impl Watcher {
    /// Loads the configuration and remembers the file as it was then.
    ///
    /// # Errors
    /// As [`super::load()`].
    pub fn start(source: ConfigSource, overrides: Overrides, role: Role) -> Result<(Self, LoadedConfig), ConfigErrors> {
        let is_pipe = std::fs::metadata(source.path()).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        let file = read(&source);
        let seen = Fingerprint::of(&file);
        let loaded = resolve_read(&source, file, &overrides, role)?;
        let mut watcher = Self { source, overrides, role, seen, is_pipe };
        watcher.pin(&loaded);
        Ok((watcher, loaded))
    }

    /// Looks whether the file has changed since it was last looked at, and if so loads it.
    pub fn poll(&mut self) -> Reload {
        if self.is_pipe {
            return Reload::Unchanged;
        }
        let file = self.read();
        let now = Fingerprint::of(&file);
        if now == self.seen {
            return Reload::Unchanged;
        }
        self.seen = now;
        Reload::Changed(self.resolve(file))
    }

    /// Loads the file whether it has changed or not, as SIGHUP asks: a password file or a directory may have.
    ///
    /// # Errors
    /// As [`super::load()`].
    pub fn reload_now(&mut self) -> Result<LoadedConfig, ConfigErrors> {
        if self.is_pipe {
            let fault = Fault::of_file("cannot be read again: not a regular file", "");
            return Err(ConfigErrors::new(self.source.path(), vec![fault]));
        }
        let file = self.read();
        self.seen = Fingerprint::of(&file);
        self.resolve(file)
    }

    fn read(&self) -> ReadFile {
        // Opening a pipe that somebody put there would wait for a writer, perhaps for ever.
        match std::fs::metadata(self.source.path()) {
            Ok(metadata) if !metadata.is_file() => Err(Fault::of_file("not a regular file", "")),
            Ok(_) | Err(_) => read(&self.source),
        }
    }

    fn resolve(&mut self, file: ReadFile) -> Result<LoadedConfig, ConfigErrors> {
        let loaded = resolve_read(&self.source, file, &self.overrides, self.role)?;
        self.pin(&loaded);
        Ok(loaded)
    }

    /// A file that was there once must stay: its loss is an error, and not a silent return to the defaults.
    fn pin(&mut self, loaded: &LoadedConfig) {
        if let Some(path) = loaded.file.as_ref().filter(|_| self.source == ConfigSource::Default) {
            self.source = ConfigSource::Found(path.clone());
        }
    }
}
