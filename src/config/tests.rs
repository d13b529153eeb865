//! What `conf.json` promises, as tables.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::model::{Bytes, FieldOrder, MilliCores};

/// A file in a directory of its own, and an environment that leads nowhere else.
struct Conf {
    dir: tempfile::TempDir,
    overrides: Overrides,
    role: Role,
}

impl Conf {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let environment = Environment::from_iter([("HOME", dir.path())]);
        Self { dir, overrides: Overrides { environment, ..Overrides::default() }, role: Role::Client }
    }

    fn worker() -> Self {
        Self { role: Role::Worker, ..Self::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("conf.json")
    }

    fn write(&self, text: &str) -> Source {
        fs::write(self.path(), text).expect("conf.json is written");
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).expect("chmod");
        Source::Named(self.path())
    }

    fn load_text(&self, text: &str) -> Result<Loaded, ConfigErrors> {
        load(&self.write(text), &self.overrides, self.role)
    }

    fn load(&self, value: &Value) -> Result<Loaded, ConfigErrors> {
        self.load_text(&value.to_string())
    }

    fn set(&mut self, name: &str, value: &str) {
        let home = self.dir.path().as_os_str().to_owned();
        self.overrides.environment = Environment::from_iter([("HOME", home), (name, value.into())]);
    }
}

fn password(loaded: &Loaded) -> Option<String> {
    loaded.config.redis.password.as_ref().map(|p| p.expose_secret().to_owned())
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn an_empty_file_gives_every_default() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({})).expect("it loads");
    let config = &loaded.config;
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(config.min_dram_accept, Bytes(2 << 30));
    assert_eq!(config.min_dram_trigger, Bytes(1 << 30));
    assert_eq!((config.max_tasks, config.max_retry, config.max_lost), (32, 4, 3));
    assert_eq!(config.default_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(config.timeout_check_interval, Duration::from_secs(30));
    assert_eq!(config.kill_grace, Duration::from_secs(5));
    assert_eq!(config.poll_interval, Duration::from_secs(2));
    assert!(config.auto_sleep && config.pipeline_batching);
    assert_eq!(config.prefetch, Prefetch::Auto);
    assert_eq!(config.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(config.dead_after, Duration::from_secs(40));
    assert_eq!(config.min_free_cores, MilliCores::ZERO);
    assert_eq!(config.drain_timeout, Duration::from_secs(300));
    assert_eq!(config.retry_backoff, Duration::ZERO);
    assert_eq!(config.result_dir, Path::new("./"));
    assert_eq!(config.state_dir, conf.dir.path().join(".local/state/distcomp"));
    assert_eq!(config.task_shell, Path::new("/bin/sh"));
    assert_eq!(config.max_inline_output, 1_048_576);
    assert_eq!(config.confine, Confine { oom_score_adj: 500, ..Confine::default() });
    assert_eq!(config.field_order, None);
    assert_eq!(config.redis.to_string(), "redis://localhost:6379/0");
    assert!(config.redis.password.is_none() && config.redis.user.is_none() && config.redis.tls.is_none());
    assert_eq!(config.key_prefix, "");
    assert!(!config.require_signed_tasks && !config.python_workers);
    assert!(config.task_public_keys.is_empty() && config.task_signing_key.is_none());
}

#[rstest]
#[case("min_dram_gb_accept_new_task", json!(0))]
#[case("min_dram_gb_accept_new_task", json!(1))]
#[case("min_dram_gb_trigger_return", json!("x"))]
#[case("min_dram_gb_trigger_return", json!(-1))]
#[case("min_dram_gb_trigger_return", json!(2))]
#[case("min_dram_gb_trigger_return", json!(1e300))]
#[case("max_task_per_worker", json!(0))]
#[case("max_task_per_worker", json!(1_000_001))]
#[case("max_task_per_worker", json!(null))]
#[case("max_retry_per_task", json!(-1))]
#[case("max_retry_per_task", json!("99999999999999999999"))]
#[case("default_task_timeout_seconds", json!("inf"))]
#[case("task_timeout_check_interval", json!(0))]
#[case("task_kill_grace_seconds", json!([]))]
#[case("sleep_sec_between_accepting_task", json!("NaN"))]
#[case("auto_sleep_sec", json!("maybe"))]
#[case("redis_pipeline_batching", json!(1))]
#[case("task_prefetch", json!("many"))]
#[case("task_prefetch", json!(-1))]
#[case("health_report_interval", json!(0))]
#[case("worker_dead_after_seconds", json!(6))]
#[case("min_free_cpu_cores", json!(-0.1))]
#[case("drain_timeout_seconds", json!(4e9))]
#[case("retry_backoff_seconds", json!({}))]
#[case("result_dir", json!(""))]
#[case("result_dir", json!(7))]
#[case("state_dir", json!("a\0b"))]
#[case("task_shell", json!("sh"))]
#[case("max_inline_output_bytes", json!(1u64 << 40))]
#[case("run_as_user", json!("root"))]
#[case("no_new_privs", json!(1))]
#[case("task_rlimits", json!({"cores": 0}))]
#[case("nice", json!(-1))]
#[case("oom_score_adj", json!(1001))]
#[case("umask", json!(22))]
#[case("enforce_memory", json!("sometimes"))]
#[case("task_field_order", json!("cpu:mem:prio"))]
#[case("task_field_order", json!(1))]
#[case("redis_host", json!("a b"))]
#[case("redis_port", json!(0))]
#[case("redis_port", json!(65_536))]
#[case("redis_db", json!(-1))]
#[case("redis_pass", json!(["hunter2"]))]
#[case("redis_user", json!(5))]
#[case("redis_pass_file", json!("/nowhere/at/all"))]
#[case("redis_url", json!("http://:hunter2@x"))]
#[case("redis_tls", json!("yes"))]
#[case("redis_key_prefix", json!(3))]
#[case("require_signed_tasks", json!("perhaps"))]
#[case("task_public_keys", json!(true))]
#[case("task_signing_key", json!([1]))]
#[case("max_lost_per_task", json!(1.5))]
#[case("python_workers", json!(null))]
fn a_bad_value_is_reported_with_its_key_and_what_is_valid(#[case] key: &str, #[case] value: Value) {
    let conf = Conf::new();
    let errors = conf.load(&json!({ key: value })).expect_err("it is refused");
    assert_eq!(errors.faults.len(), 1, "{errors}");
    let fault = &errors.faults[0];
    assert!(fault.key == key || key == "min_dram_gb_accept_new_task", "{errors}");
    assert!(!fault.found.is_empty() && !fault.problem.is_empty() && !fault.valid.is_empty(), "{errors}");
    let text = errors.to_string();
    assert!(text.starts_with(&format!("{}: {}: found ", conf.path().display(), fault.key)), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn every_key_has_a_bad_value_in_the_table_above() {
    let table = include_str!("tests.rs");
    for key in KEYS {
        assert!(table.contains(&format!("#[case(\"{key}\", ")), "{key}");
    }
}

#[test]
fn every_key_is_in_the_readme() {
    let readme = fs::read_to_string(data("README.md")).expect("it is there");
    let missing: Vec<_> = KEYS.iter().filter(|key| !readme.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn all_faults_of_a_file_are_reported_at_once() {
    let source = Source::Named(data("tests/data/conf/seven-faults.json"));
    let errors = load(&source, &Overrides::default(), Role::Client).expect_err("it is refused");
    let keys: Vec<_> = errors.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "min_dram_gb_accept_new_task",
            "max_task_per_worker",
            "max_retry_per_task",
            "default_task_timeout_seconds",
            "task_timeout_check_interval",
            "task_field_order",
            "redis_port",
        ]
    );
    assert_eq!(errors.to_string().lines().count(), 7, "{errors}");
}

#[rstest]
#[case("conf.json")]
#[case("tests/data/conf/python-2023.json")]
#[case("tests/data/conf/python-timeouts.json")]
#[case("tests/data/conf/python-batching.json")]
#[case("tests/data/conf/python-strings.json")]
fn files_of_python_distcomp_and_our_example_load_without_a_warning(#[case] name: &str) {
    let conf = Conf::worker();
    let text = fs::read_to_string(data(name)).expect("the file is there");
    // In a directory of its own, readable by its owner alone.
    let text = text.replace("\"./\"", &json!(conf.dir.path()).to_string());
    let loaded = conf.load_text(&text).expect("it loads");
    assert_eq!(loaded.warnings, [""; 0]);
    if name.contains("python") {
        assert_eq!(loaded.config.redis.to_string(), "redis://node0:6400/0");
        assert_eq!(loaded.config.field_order, None);
        assert_eq!((loaded.config.max_tasks, loaded.config.max_retry), (32, 4));
    }
}

#[test]
fn unknown_and_repeated_keys_are_warned_of() {
    let conf = Conf::new();
    let loaded = conf
        .load_text(
            r#"{"max_tasks_per_worker": 3, "zzz": {"a": 1}, "redis_port": 1, "redis_port": 2, "e\u001b[2J\u202e": 1}"#,
        )
        .expect("it loads");
    let warnings = loaded.warnings.join("\n");
    assert!(
        warnings.contains("\"max_tasks_per_worker\" is ignored; did you mean \"max_task_per_worker\"?"),
        "{warnings}"
    );
    assert!(warnings.lines().any(|line| line == "unknown key \"zzz\" is ignored"), "{warnings}");
    assert!(warnings.contains("\"redis_port\" is there more than once"), "{warnings}");
    assert!(!warnings.contains(['\u{1b}', '\u{202e}']), "{warnings}");
    assert_eq!(loaded.config.redis.to_string(), "redis://localhost:2/0");
}

#[rstest]
#[case("{\n  \"redis_port\": ,\n}", "line 2 column 17")]
#[case("", "line 1 column 0")]
#[case("[1]", "the file holds a list")]
#[case("null", "the file holds null")]
#[case("{} x", "line 1 column 4")]
#[case("{\"a\": NaN}", "line 1 column 7")]
fn a_file_that_is_no_json_object_gives_one_error(#[case] text: &str, #[case] expected: &str) {
    let errors = Conf::new().load_text(text).expect_err("it is refused");
    assert_eq!(errors.faults.len(), 1);
    assert!(errors.to_string().contains(expected), "{errors}");
}

#[test]
fn a_named_file_must_be_there() {
    let source = Source::Named("/nowhere/conf.json".into());
    let errors = load(&source, &Overrides::default(), Role::Client).expect_err("it is refused");
    assert!(errors.to_string().starts_with("/nowhere/conf.json: cannot be read"), "{errors}");
    let directory = load(&Source::Named("/tmp".into()), &Overrides::default(), Role::Client);
    assert!(directory.is_err());
}

#[test]
fn a_byte_order_mark_is_tolerated() {
    assert!(Conf::new().load_text("\u{feff}{}").is_ok());
}

#[test]
fn zero_means_no_timeout_and_no_prefetch() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({"default_task_timeout_seconds": 0, "task_prefetch": "0"})).expect("it loads");
    assert_eq!(loaded.config.default_timeout, None);
    assert_eq!(loaded.config.prefetch, Prefetch::Fixed(0));
}

#[test]
fn dead_after_follows_the_heartbeat() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({"health_report_interval": 0.5})).expect("it loads");
    assert_eq!(loaded.config.dead_after, Duration::from_secs(10));
    assert!(conf.load(&json!({"health_report_interval": 0.5, "worker_dead_after_seconds": 1.5})).is_err());
    assert!(conf.load(&json!({"health_report_interval": 0.5, "worker_dead_after_seconds": 1.6})).is_ok());
}

#[test]
fn python_workers_need_their_order_and_no_prefix() {
    let conf = Conf::new();
    let errors = conf.load(&json!({"python_workers": true, "redis_key_prefix": "a:"})).expect_err("it is refused");
    let keys: Vec<_> = errors.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["task_field_order", "redis_key_prefix"]);
    let loaded = conf.load(&json!({"python_workers": true, "task_field_order": "prio:mem:cpu"})).expect("it loads");
    assert_eq!(loaded.config.field_order, Some(FieldOrder::PrioMemCpu));
}

#[test]
fn required_signatures_need_a_key() {
    let conf = Conf::new();
    assert!(conf.load(&json!({"require_signed_tasks": true})).is_err());
    let key = conf.dir.path().join("k.pub");
    fs::write(&key, "k").expect("written");
    let loaded = conf.load(&json!({"require_signed_tasks": true, "task_public_keys": [key]})).expect("it loads");
    assert_eq!(loaded.config.task_public_keys, std::slice::from_ref(&key));
    let mixed = json!({"require_signed_tasks": true, "task_public_keys": [key], "python_workers": true, "task_field_order": "prio:mem:cpu"});
    let warnings = conf.load(&mixed).expect("it loads").warnings;
    assert!(warnings.iter().any(|warning| warning.contains("Python workers")), "{warnings:?}");
}

#[test]
fn a_worker_makes_its_directories_and_a_client_touches_none() {
    let (client, worker) = (Conf::new(), Conf::worker());
    for conf in [&client, &worker] {
        let (results, state) = (conf.dir.path().join("a/results"), conf.dir.path().join("b/state"));
        let loaded = conf.load(&json!({"result_dir": results, "state_dir": state})).expect("it loads");
        assert_eq!(results.is_dir(), conf.role == Role::Worker);
        assert_eq!(loaded.config.state_dir.is_dir(), conf.role == Role::Worker);
    }
    let state = worker.dir.path().join("b/state");
    assert_eq!(fs::metadata(&state).expect("it is there").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(worker.dir.path().join("a/results")).expect("it is there").count(), 0, "the probe is gone");
}

#[test]
fn a_worker_refuses_directories_and_shells_it_cannot_use() {
    let conf = Conf::worker();
    let file = conf.dir.path().join("file");
    fs::write(&file, "").expect("written");
    let errors = conf
        .load(&json!({"result_dir": file.join("x"), "state_dir": "/proc/self/nope", "task_shell": file}))
        .expect_err("it is refused");
    let keys: Vec<_> = errors.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["result_dir", "state_dir", "task_shell"]);
}

#[test]
fn a_state_directory_of_another_user_is_refused() {
    let conf = Conf::worker();
    let state = conf.dir.path().join("state");
    fs::create_dir(&state).expect("made");
    if std::os::unix::fs::chown(&state, Some(12_345), None).is_err() {
        return; // Only root can give a directory away.
    }
    let errors = conf.load(&json!({"state_dir": state})).expect_err("it is refused");
    assert!(errors.to_string().contains("belongs to another user"), "{errors}");
}

#[test]
fn the_password_comes_from_the_first_that_gives_one() {
    let mut conf = Conf::new();
    let file = conf.dir.path().join("pass");
    fs::write(&file, "from file\r\n").expect("written");
    conf.set("DISTCOMP_REDIS_PASSWORD", "from env");
    let load = |conf: &Conf, value: Value| password(&conf.load(&value).expect("it loads"));
    assert_eq!(load(&conf, json!({"redis_pass": "p", "redis_pass_file": file})).as_deref(), Some("p"));
    assert_eq!(load(&conf, json!({"redis_pass": "", "redis_pass_file": file})).as_deref(), Some("from file"));
    assert_eq!(load(&conf, json!({"redis_pass": ""})).as_deref(), Some("from env"));
    let directory = conf.dir.path().join("credentials");
    fs::create_dir(&directory).expect("made");
    fs::write(directory.join("redis_pass"), "from systemd\n").expect("written");
    conf.set("CREDENTIALS_DIRECTORY", directory.to_str().expect("UTF-8"));
    assert_eq!(load(&conf, json!({})).as_deref(), Some("from systemd"));
}

#[test]
fn a_url_from_outside_sets_the_files_server_aside() {
    let mut conf = Conf::new();
    let file = json!({"redis_host": "a.example", "redis_port": 1, "redis_db": 7, "redis_user": "u", "redis_pass": "p"});
    conf.set("DISTCOMP_REDIS_URL", "redis://other:7/2");
    let wrong =
        conf.load(&json!({"redis_host": "a b", "redis_port": 0})).expect_err("checked even where it does not count");
    assert_eq!(wrong.faults.len(), 2);
    let loaded = conf.load(&file).expect("it loads");
    assert_eq!(loaded.config.redis.to_string(), "redis://other:7/2");
    assert_eq!(password(&loaded).as_deref(), Some("p"), "kept, since the URL has none");
    assert_eq!(loaded.config.redis.user.as_deref(), Some("u"));
    conf.overrides.redis_url = Some("rediss://me:secret@flag".into());
    let loaded = conf.load(&file).expect("it loads");
    assert_eq!(loaded.config.redis.to_string(), "rediss://flag:6379/0");
    assert_eq!(password(&loaded).as_deref(), Some("secret"));
    assert_eq!(loaded.config.redis.user.as_deref(), Some("me"));
    conf.overrides.private_server = Some("/run/x.sock".into());
    let loaded = conf.load(&file).expect("it loads");
    assert_eq!(loaded.config.redis.to_string(), "redis+unix:///run/x.sock?db=0");
    assert_eq!(password(&loaded), None, "a private server has no password");
}

#[test]
fn encryption_is_never_dropped_in_silence() {
    let mut conf = Conf::new();
    assert!(conf.load(&json!({"redis_url": "redis://h", "redis_tls": {}})).is_err());
    let loaded = conf.load(&json!({"redis_host": "h", "redis_tls": {"caa": 1}})).expect("it loads");
    assert_eq!(loaded.config.redis.to_string(), "rediss://h:6379/0");
    assert!(loaded.warnings[0].contains("did you mean \"ca\""), "{:?}", loaded.warnings);
    assert!(conf.load(&json!({"redis_tls": {"cert": conf.path()}})).is_err(), "a certificate without its key");
    conf.overrides.redis_url = Some("redis://other".into());
    let loaded = conf.load(&json!({"redis_tls": {}})).expect("it loads");
    assert!(loaded.warnings[0].contains("not encrypted"), "{:?}", loaded.warnings);
}

#[test]
fn secrets_show_in_no_text() {
    let mut conf = Conf::new();
    conf.overrides.redis_url = Some("redis://:hunter2@h".into());
    let loaded = conf.load(&json!({"redis_pass": "hunter2"})).expect("it loads");
    let text = format!("{loaded:?} {:?} {}", conf.overrides, loaded.config.redis);
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_password_that_others_can_read_is_warned_of() {
    let conf = Conf::new();
    let source = conf.write(r#"{"redis_pass": "p"}"#);
    fs::set_permissions(conf.path(), fs::Permissions::from_mode(0o640)).expect("chmod");
    let loaded = load(&source, &conf.overrides, Role::Client).expect("it loads");
    assert!(loaded.warnings[0].contains("mode 640"), "{:?}", loaded.warnings);
}

#[test]
fn a_node_smaller_than_the_threshold_is_warned_of() {
    let config = Conf::new().load(&json!({"min_dram_gb_accept_new_task": 80})).expect("it loads").config;
    let node = NodeCapacity { mem: Bytes(64 << 30), cores: MilliCores(4000) };
    assert!(node_warnings(&config, &node)[0].contains("will never accept a task"));
    assert_eq!(node_warnings(&config, &NodeCapacity { mem: Bytes(128 << 30), ..node }), [""; 0]);
}

#[test]
fn the_watcher_tells_each_content_once_and_keeps_to_a_file_once_seen() {
    let conf = Conf::new();
    let source = conf.write(r#"{"max_task_per_worker": 1}"#);
    let (mut watcher, first) = Watcher::start(source, conf.overrides.clone(), Role::Client).expect("it loads");
    assert!(matches!(watcher.poll(), Reload::Unchanged));
    conf.write("{broken");
    assert!(matches!(watcher.poll(), Reload::Changed(Err(_))));
    assert!(matches!(watcher.poll(), Reload::Unchanged), "told once");
    fs::remove_file(conf.path()).expect("removed");
    assert!(matches!(watcher.poll(), Reload::Changed(Err(_))), "not back to the defaults");
    conf.write(r#"{"max_task_per_worker": 2, "redis_db": 5}"#);
    let Reload::Changed(Ok(second)) = watcher.poll() else { panic!("the new file is not seen") };
    let mut changes = diff(&first.config, &second.config);
    changes.sort_by_key(|change| change.key);
    let expected = [Change { key: "max_task_per_worker", live: true }, Change { key: "redis_db", live: false }];
    assert_eq!(changes, expected);
    let taken = carry_over(&first.config, &second.config);
    assert_eq!((taken.max_tasks, taken.redis.db), (2, 0));
    assert!(watcher.reload_now().is_ok());
}

#[test]
fn a_pipe_or_directory_in_place_of_the_file_does_not_hang_the_watcher() {
    let conf = Conf::new();
    let (mut watcher, _) = Watcher::start(conf.write("{}"), conf.overrides.clone(), Role::Client).expect("it loads");
    fs::remove_file(conf.path()).expect("removed");
    assert!(std::process::Command::new("mkfifo").arg(conf.path()).status().expect("mkfifo").success());
    assert!(matches!(watcher.poll(), Reload::Changed(Err(_))));
    assert!(matches!(watcher.poll(), Reload::Unchanged));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[-+0-9.eE]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,4}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_of_any_key_makes_it_panic(
        values in prop::collection::hash_map(prop::sample::select(KEYS), any_json(), 0..8),
    ) {
        let conf = Conf::new();
        match conf.load(&Value::from_iter(values)) {
            Ok(loaded) => prop_assert!(loaded.config.min_dram_trigger < loaded.config.min_dram_accept),
            Err(errors) => {
                let text = errors.to_string();
                prop_assert_eq!(text.lines().count(), errors.faults.len() + errors.warnings.len());
                prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = Conf::new().load_text(&text);
    }
}
