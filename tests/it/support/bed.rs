//! The test bed: one server, one directory, one configuration, and short words for what most tests do.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::cli::{Cli, Output, bin};
use super::proxy::Proxy;
use super::redis::{Redis, ServerOptions, acl_password};
use super::wait::wait_until;
use super::worker::Worker;

/// A Redis hash, as text; a byte that is not UTF-8 shows as U+FFFD.
pub(crate) type Table = BTreeMap<String, String>;

/// See the module.
pub(crate) struct Bed {
    // Dropped in this order: the server dies before its directory goes.
    pub(crate) redis: Redis,
    dir: TempDir,
    conf: Map<String, Value>,
    /// Below which the users of the server may do anything.
    prefix: String,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// With changes to the short intervals that every test has.
    pub(crate) fn with(conf: Value) -> Self {
        Self::on(Redis::start(ServerOptions::default()), conf)
    }

    pub(crate) fn on(redis: Redis, changes: Value) -> Self {
        let dir = tempfile::Builder::new().prefix("dc-").tempdir_in("/tmp").expect("a directory in /tmp");
        let conf = json!({
            "min_dram_gb_accept_new_task": 0.02,
            "min_dram_gb_trigger_return": 0.01,
            "max_task_per_worker": 8,
            "max_retry_per_task": 1,
            "sleep_sec_between_accepting_task": 0.1,
            "health_report_interval": 0.2,
            "worker_dead_after_seconds": 10,
            "task_timeout_check_interval": 1,
            "task_kill_grace_seconds": 0.5,
            "drain_timeout_seconds": 20,
            "task_field_order": "mem:cpu:prio",
            "result_dir": dir.path().join("results"),
            "redis_url": redis.url(),
        });
        let Value::Object(conf) = conf else { unreachable!("it is an object") };
        let mut bed = Self { redis, dir, conf, prefix: String::new() };
        bed.configure(changes);
        bed
    }

    /// Changes the configuration of commands and of workers started from now on; `null` removes a key.
    pub(crate) fn configure(&mut self, changes: Value) {
        let Value::Object(changes) = changes else { panic!("an object, please") };
        for (key, value) in changes {
            if value.is_null() {
                self.conf.remove(&key);
            } else {
                self.conf.insert(key, value);
            }
        }
        self.write_conf(self.conf_path(), self.conf.clone());
        if self.redis.has_users() {
            let prefix = self.conf.get("redis_key_prefix").and_then(Value::as_str).unwrap_or_default();
            if prefix != self.prefix {
                self.redis.keep_users_below(prefix);
                self.prefix = prefix.to_owned();
            }
            for user in ["submitter", "operator", "viewer", "worker", "dashboard"] {
                self.write_conf(self.conf_path_of(user), as_user(self.conf.clone(), user));
                // It holds a password.
                fs::set_permissions(self.conf_path_of(user), fs::Permissions::from_mode(0o600)).expect("chmod");
            }
        }
    }

    fn write_conf(&self, path: PathBuf, conf: Map<String, Value>) {
        fs::write(path, serde_json::to_string_pretty(&conf).expect("JSON")).expect("conf.json");
    }

    /// The configuration for one of the users, where the server has users.
    pub(crate) fn conf_path_of(&self, user: &str) -> PathBuf {
        self.dir.path().join(format!("conf.{user}.json"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn conf_path(&self) -> PathBuf {
        self.dir.path().join("conf.json")
    }

    /// Writes a file in the bed's directory.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file of the test");
        path.display().to_string()
    }

    /// A path in the bed's directory for tasks to write to.
    pub(crate) fn out(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The server through a proxy, as the submitter where there are users.
    pub(crate) fn url_through(&self, proxy: &Proxy) -> String {
        let login = format!("://submitter:{}@", acl_password("submitter"));
        if self.redis.has_users() { proxy.url().replace("://", &login) } else { proxy.url() }
    }

    // Commands

    /// One of the four with `--config` set to this bed's file.
    pub(crate) fn cli(&self, name: &str) -> Cli {
        let cli = Cli::new(bin(name)).dir(self.path()).env("XDG_STATE_HOME", self.path().join("state-home"));
        if !self.redis.has_users() {
            return cli.args(["--config".as_ref(), self.conf_path().as_os_str()]);
        }
        let user = match name {
            "distcomp-worker" => "worker",
            "distcomp-submit" => "submitter",
            "distcomp-status" => "viewer",
            _ => "operator",
        };
        // Taking results away is the operator's right, and so is acting from a page.
        let (flag, other) = match user {
            "viewer" => ("--allow-actions", "dashboard"),
            _ => ("--rerun", "operator"),
        };
        cli.env("DISTCOMP_CONFIG", self.conf_path_of(user)).config_for(flag, self.conf_path_of(other))
    }

    #[track_caller]
    pub(crate) fn submit(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
        self.cli("distcomp-submit").args(args).stdin(stdin).run()
    }

    /// Submits these lines, which must be good.
    #[track_caller]
    pub(crate) fn add<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        let mut text = String::new();
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
        }
        self.submit(&["-"], text).expect(0);
    }

    #[track_caller]
    pub(crate) fn status(&self, args: &[&str]) -> Output {
        self.cli("distcomp-status").args(args).run()
    }

    #[track_caller]
    pub(crate) fn ctl(&self, args: &[&str]) -> Output {
        self.cli("distcomp-ctl").args(args).run()
    }

    pub(crate) fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, json!({}), &[])
    }

    pub(crate) fn worker_with(&self, name: &str, changes: Value, args: &[&str]) -> Worker {
        self.worker_through(&[], name, changes, args)
    }

    /// As executed by another command, such as `prlimit`.
    pub(crate) fn worker_through(&self, through: &[&str], name: &str, changes: Value, args: &[&str]) -> Worker {
        let mut conf = self.conf.clone();
        conf.extend(changes.as_object().expect("an object").clone());
        if self.redis.has_users() {
            conf = as_user(conf, "worker");
        }
        Worker::spawn(self.path(), name, conf, args, through)
    }

    /// A worker that runs until nothing is left, and must end well.
    #[track_caller]
    pub(crate) fn burst(&self, name: &str) {
        let mut worker = self.worker_with(name, json!({}), &["--burst"]);
        let code = worker.wait_exit(Duration::from_secs(120));
        assert_eq!(code, 0, "--burst ended with {code}\n{}", worker.log());
    }

    // The data, past all code of ours

    pub(crate) fn hset(&self, key: &str, field: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let mut command = ::redis::cmd("HSET");
        command.arg(key).arg(field.as_ref()).arg(value.as_ref());
        command.exec(&mut self.redis.con()).expect("HSET");
    }

    pub(crate) fn hset_all<L: AsRef<[u8]>>(&self, key: &str, fields: impl IntoIterator<Item = L>) {
        let mut pipe = ::redis::pipe();
        for field in fields {
            pipe.cmd("HSET").arg(key).arg(field.as_ref()).arg("").ignore();
        }
        pipe.exec(&mut self.redis.con()).expect("HSET");
    }

    pub(crate) fn hdel(&self, key: &str, field: impl AsRef<[u8]>) -> bool {
        let mut command = ::redis::cmd("HDEL");
        command.arg(key).arg(field.as_ref());
        command.query::<u32>(&mut self.redis.con()).expect("HDEL") == 1
    }

    pub(crate) fn table(&self, key: &str) -> Table {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            ::redis::cmd("HGETALL").arg(key).query(&mut self.redis.con()).expect("HGETALL");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        rows.into_iter().map(|(field, value)| (text(field), text(value))).collect()
    }

    pub(crate) fn count(&self, key: &str) -> usize {
        ::redis::cmd("HLEN").arg(key).query(&mut self.redis.con()).expect("HLEN")
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        ::redis::cmd("KEYS").arg("*").query(&mut self.redis.con()).expect("KEYS")
    }

    /// `count`, where the server lets us.
    pub(crate) fn try_count(&self, key: &str) -> Option<usize> {
        let mut con = self.redis.try_con()?;
        con.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        ::redis::cmd("HLEN").arg(key).query(&mut con).ok()
    }

    /// todo, in progress, finished, failed, at one moment: a task on its way from one to the other is always in one.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let mut pipe = ::redis::pipe();
        for key in ["todo_tasks", "distcomp:waiting", "in_progress_tasks", "finished_tasks", "failed_tasks"] {
            pipe.cmd("HLEN").arg(key);
        }
        let [plain, apart, rest @ ..]: [usize; 5] = pipe.atomic().query(&mut self.redis.con()).expect("HLEN");
        [plain + apart, rest[0], rest[1], rest[2]]
    }

    /// Waits for these four counts.
    #[track_caller]
    pub(crate) fn wait_counts(&self, timeout: Duration, wanted: [usize; 4]) {
        wait_until(&format!("todo, in progress, finished, failed = {wanted:?}"), timeout, || {
            let seen = self.counts();
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }

    /// Waits until a worker of this name beats.
    #[track_caller]
    pub(crate) fn wait_alive(&self, name: &str) {
        wait_until(&format!("a heartbeat of {name}"), Duration::from_secs(20), || {
            let seen = self.table("worker_status");
            if seen.contains_key(name) { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }

    /// Waits until the task is in progress, and returns by whom.
    #[track_caller]
    pub(crate) fn wait_running(&self, line: &str) -> String {
        wait_until(&format!("{line} in progress"), Duration::from_secs(20), || {
            self.table("in_progress_tasks").remove(line).ok_or_else(|| format!("{:?}", self.counts()))
        })
    }
}

/// The same configuration for one of the users of `users.acl`, unless it names one itself.
fn as_user(mut conf: Map<String, Value>, user: &str) -> Map<String, Value> {
    match conf.get("redis_url").and_then(Value::as_str).map(str::to_owned) {
        Some(url) if url.contains('@') => {}
        Some(url) => {
            let plain = url.split('?').next().unwrap_or_default();
            conf.insert("redis_url".to_owned(), format!("{plain}?user={user}&pass={}", acl_password(user)).into());
        }
        None => {
            conf.entry("redis_user").or_insert_with(|| user.into());
            conf.entry("redis_pass").or_insert_with(|| acl_password(user).into());
        }
    }
    conf
}

/// A file's text; a missing one is empty.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The lines of a file.
pub(crate) fn lines_of(path: impl AsRef<Path>) -> Vec<String> {
    read(path).lines().map(str::to_owned).collect()
}

/// How often each line occurs in a file that tasks append to.
pub(crate) fn run_times(path: impl AsRef<Path>) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for line in lines_of(path) {
        *times.entry(line).or_default() += 1;
    }
    times
}

/// The JSON string that a hash value is.
#[track_caller]
pub(crate) fn decode(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("not one JSON string: {error}: {json}"))
}

/// The worker and the output of a `finished_tasks` value.
#[track_caller]
pub(crate) fn result_of(table: &Table, line: &str) -> (String, String) {
    let value = table.get(line).unwrap_or_else(|| panic!("not finished: {line}\nfinished: {table:#?}"));
    let (worker, json) = value.split_once(": ").unwrap_or_else(|| panic!("no `WORKER: JSON`: {value}"));
    (worker.to_owned(), decode(json))
}

/// The reason that a task failed for.
#[track_caller]
pub(crate) fn reason_of(bed: &Bed, line: &str) -> String {
    let table = bed.table("task_fail_reason");
    decode(table.get(line).unwrap_or_else(|| panic!("no reason for {line}\nreasons: {table:#?}")))
}

/// The id of a task: the first 16 hex digits of its line's SHA-256.
pub(crate) fn task_id(line: &str) -> String {
    let mut id = String::new();
    for byte in Sha256::digest(line.as_bytes()).iter().take(8) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}
