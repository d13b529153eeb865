//! The file as a whole, and what overrides it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::{Value, json};

use super::fixture::{Conf, data, password};
use crate::config::{ConfigSource, Endpoint, Overrides, Role, load, node_warnings};
use crate::model::{Amounts, Bytes, MilliCores};

#[test]
fn all_faults_of_a_file_are_reported_at_once() {
    let source = ConfigSource::Named(data("tests/data/conf/seven-faults.json"));
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
fn files_of_python_and_our_example_load_without_warning(#[case] name: &str) {
    let conf = Conf::worker();
    let text = fs::read_to_string(data(name)).expect("the file is there");
    // In a directory of its own, readable by its owner alone.
    let text = text.replace("\"./\"", &json!(conf.dir.path()).to_string());
    let loaded = conf.load_text(&text).expect("it loads");
    assert_eq!(loaded.warnings, [""; 0]);
    let noted = |key: &str| loaded.python_notes.iter().any(|note| note.starts_with(&format!("{key} is not set")));
    assert_eq!(loaded.config.is_of_python, name.contains("python"));
    assert_eq!(noted("min_seconds_between_starts") && noted("min_free_cpu_cores"), name.contains("python"));
    assert_eq!(noted("default_task_timeout_seconds"), name.contains("2023") || name.contains("strings"));
    if name.contains("python") {
        assert_eq!(loaded.config.redis.to_string(), "redis://node0:6400/0");
        assert_eq!(loaded.config.field_order, None);
        assert_eq!((loaded.config.max_tasks, loaded.config.max_retry), (32, 4));
    }
}

#[test]
fn a_note_names_key_and_value_and_goes_with_the_key() {
    let mut file: Value =
        serde_json::from_str(&fs::read_to_string(data("tests/data/conf/python-2023.json")).expect("read"))
            .expect("JSON");
    let conf = Conf::new();
    let notes = conf.load(&file).expect("it loads").python_notes.join("\n");
    for told in [
        "default_task_timeout_seconds is not set, so it is 3600",
        "killed after 3600 s",
        "cores",
        "sleep_sec_between_accepting_task (2 s)",
    ] {
        assert!(notes.contains(told), "{notes}");
    }
    file["default_task_timeout_seconds"] = json!(0);
    file["min_seconds_between_starts"] = json!(2);
    let loaded = conf.load(&file).expect("it loads");
    assert_eq!(loaded.python_notes.len(), 1, "{:?}", loaded.python_notes);
    assert_eq!(loaded.config.min_between_starts, std::time::Duration::from_secs(2));
    file["task_kill_grace_seconds"] = json!(5);
    assert_eq!(conf.load(&file).expect("it loads").python_notes, [""; 0], "somebody has looked at our keys");
}

#[test]
fn thresholds_the_wrong_way_round_say_what_python_did_with_them() {
    let errors = Conf::new()
        .load(&json!({"min_dram_gb_accept_new_task": 40, "min_dram_gb_trigger_return": 80}))
        .expect_err("it is refused");
    assert!(
        errors
            .to_string()
            .contains("which is 40 (with free memory between the two, a Python worker starts tasks and kills"),
        "{errors}"
    );
    let equal = Conf::new()
        .load(&json!({"min_dram_gb_accept_new_task": 40, "min_dram_gb_trigger_return": 40}))
        .expect_err("it is refused");
    assert!(!equal.to_string().contains("Python"), "{equal}");
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
    assert!(warnings.contains("\"redis_port\" is given more than once"), "{warnings}");
    assert!(!warnings.contains(['\u{1b}', '\u{202e}']), "{warnings}");
    assert_eq!(loaded.config.redis.to_string(), "redis://localhost:2/0");
}

#[rstest]
#[case("{\n  \"redis_port\": ,\n}", "line 2 column 17")]
#[case("", "line 1 column 0")]
#[case("[1]", "the file contains a list")]
#[case("null", "the file contains null")]
#[case("{} x", "line 1 column 4")]
#[case("{\"a\": NaN}", "line 1 column 7")]
fn a_file_that_is_no_json_object_gives_one_error(#[case] text: &str, #[case] expected: &str) {
    let errors = Conf::new().load_text(text).expect_err("it is refused");
    assert_eq!(errors.faults.len(), 1);
    assert!(errors.to_string().contains(expected), "{errors}");
}

#[test]
fn a_named_file_must_be_there() {
    let source = ConfigSource::Named("/nowhere/conf.json".into());
    let errors = load(&source, &Overrides::default(), Role::Client).expect_err("it is refused");
    assert!(errors.to_string().starts_with("/nowhere/conf.json: cannot be read"), "{errors}");
    let directory = load(&ConfigSource::Named("/tmp".into()), &Overrides::default(), Role::Client);
    assert!(directory.is_err());
}

#[test]
fn a_byte_order_mark_is_tolerated() {
    assert!(Conf::new().load_text("\u{feff}{}").is_ok());
}

#[test]
fn a_worker_makes_its_state_dir_alone_and_a_client_nothing() {
    let (client, worker) = (Conf::new(), Conf::worker());
    for conf in [&client, &worker] {
        let (results, state) = (conf.dir.path().join("a/results"), conf.dir.path().join("b/state"));
        let loaded = conf.load(&json!({"result_dir": results, "state_dir": state})).expect("it loads");
        assert!(!results.exists() && !conf.dir.path().join("a").exists(), "it is made when it is needed");
        assert_eq!(loaded.config.state_dir.is_dir(), conf.role == Role::Worker);
    }
    let state = worker.dir.path().join("b/state");
    assert_eq!(fs::metadata(&state).expect("it is there").permissions().mode() & 0o777, 0o700);
    let mut left = fs::read_dir(worker.dir.path()).expect("it is there").flatten();
    assert!(left.all(|entry| entry.file_name() == "b" || entry.file_name() == "conf.json"), "the probe is gone");
}

#[test]
fn home_and_variables_begin_every_path_key() {
    let mut conf = Conf::new();
    let place = conf.dir.path().to_owned();
    for name in ["ca", "cert", "key", "pass"] {
        fs::write(place.join(name), "p\n").expect("written");
    }
    conf.set("PLACE", place.to_str().expect("UTF-8"));
    let file = json!({
        "result_dir": "~/results", "state_dir": "${PLACE}/state", "task_shell": "$PLACE/sh", "redis_pass_file": "~/pass",
        "redis_tls": {"ca": "~/ca", "cert": "$PLACE/cert", "key": "${PLACE}/key"},
        "task_public_keys": ["~/k.pub", "$PLACE/l.pub"], "task_signing_key": "~/k",
    });
    let config = conf.load(&file).expect("it loads").config;
    assert_eq!(config.result_dir, place.join("results"));
    assert_eq!(config.state_dir, place.join("state"));
    assert_eq!(config.task_shell, place.join("sh"));
    assert_eq!(password(&conf.load(&file).expect("it loads")).as_deref(), Some("p"));
    let tls = config.redis.tls.clone().expect("it is there");
    assert_eq!([tls.ca, tls.cert, tls.key], ["ca", "cert", "key"].map(|name| Some(place.join(name))));
    assert_eq!(config.task_public_keys, [place.join("k.pub"), place.join("l.pub")]);
    assert_eq!(config.task_signing_key, Some(place.join("k")));
    for (url, path) in [
        ("redis+unix://~/r.sock?db=1", "r.sock"),
        ("unix://$PLACE/r.sock", "r.sock"),
        ("unix://:p@${PLACE}/a%20b", "a b"),
    ] {
        let redis = conf.load(&json!({"redis_url": url})).expect("it loads").config.redis.clone();
        assert_eq!(redis.endpoint, Endpoint::Unix { path: place.join(path) }, "{url}");
    }
}

#[rstest]
#[case("result_dir", json!("$NOPE/x"))]
#[case("result_dir", json!("~bob/x"))]
#[case("state_dir", json!("${NOPE}"))]
#[case("task_shell", json!("$NOPE/sh"))]
#[case("redis_pass_file", json!("$NOPE"))]
#[case("task_public_keys[0]", json!(["${NOPE}/k.pub"]))]
#[case("task_signing_key", json!("~bob/k"))]
#[case("redis_tls.ca", json!({"ca": "$NOPE/ca"}))]
#[case("redis_url", json!("unix://$NOPE/s"))]
fn a_variable_that_is_not_set_is_a_fault_of_its_key(#[case] key: &str, #[case] value: Value) {
    let conf = Conf::worker();
    let name = key.split(['[', '.']).next().expect("a name");
    let results = conf.dir.path().join("r");
    let mut file = json!({"result_dir": results});
    file[name] = value;
    let errors = conf.load(&file).expect_err("it is refused");
    let [fault] = errors.faults.as_slice() else { panic!("{errors}") };
    assert_eq!(fault.key, key, "{errors}");
    assert!(!fault.found.is_empty() && fault.valid.contains("${NAME}"), "{errors}");
    assert!(!std::path::Path::new("$NOPE").exists() && !std::path::Path::new("~bob").exists());
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
fn shared_state_directory_is_refused_and_not_changed() {
    let conf = Conf::worker();
    let state = conf.dir.path().join("state");
    let mode = || fs::metadata(&state).expect("it is there").permissions().mode() & 0o7777;
    for (bits, name) in [(0o1777, "x11"), (0o755, "project"), (0o750, "workers-not-ours"), (0o777, "workers")] {
        let _ = fs::remove_dir_all(&state);
        fs::create_dir(&state).expect("made");
        fs::create_dir(state.join(name)).expect("made");
        if name == "workers" && std::os::unix::fs::chown(state.join(name), Some(12_345), None).is_err() {
            continue; // Only root can give a directory away.
        }
        fs::set_permissions(&state, fs::Permissions::from_mode(bits)).expect("chmod");
        let errors = conf.load(&json!({"state_dir": state})).expect_err("it is refused");
        let said = format!("(mode {:03o}) and contains \"{name}\", which is not a file of DistComp", bits & 0o777);
        assert!(errors.to_string().contains(&said), "{errors}");
        assert_eq!(mode(), bits, "it was changed all the same");
    }
}

#[test]
fn a_state_directory_of_ours_that_is_open_is_closed() {
    let conf = Conf::worker();
    let state = conf.dir.path().join("state");
    for inside in [&[][..], &["workers", "local", "lost+found"]] {
        let _ = fs::remove_dir_all(&state);
        fs::create_dir(&state).expect("made");
        inside.iter().for_each(|name| fs::create_dir(state.join(name)).expect("made"));
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("chmod");
        conf.load(&json!({"state_dir": state})).expect("it loads");
        assert_eq!(fs::metadata(&state).expect("it is there").permissions().mode() & 0o7777, 0o700);
    }
}

#[test]
fn a_node_smaller_than_the_threshold_is_warned_of() {
    let config = Conf::new().load(&json!({"min_dram_gb_accept_new_task": 80})).expect("it loads").config;
    let node = Amounts::NONE.with_mem(Bytes(64 << 30)).with_cpu(MilliCores(4000));
    assert!(node_warnings(&config, &node)[0].contains("will never accept a task"));
    assert_eq!(node_warnings(&config, &node.with_mem(Bytes(128 << 30))), [""; 0]);
}
