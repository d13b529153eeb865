//! The keys that say where Redis is, and as which user to connect.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::fixture::{Conf, password};
use crate::config::{Role, load, withheld_variables};

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
fn variables_with_redis_or_sentinel_passwords_are_withheld() {
    let url = "redis+sentinel://u:p%40ss-word@h/m/0?sentinel_user=s&sentinel_pass=sentry%2Fword";
    let config = Conf::new().load(&json!({"redis_url": url})).expect("it loads").config;
    let environment = [
        ("A", url),
        ("B", "sentry/word"),
        ("C", "amqp://x:%73entry%2fword@h"),
        ("D", "p%40ss%2Dword"),
        ("E", "--auth=p@ss-word"),
        ("KEPT", "redis://h/1?note=100%"),
        ("KEPT_TOO", "sentry%252Fword"),
        ("KEPT_WORD", "100% of p@ss-words"),
    ];
    let gone = withheld_variables(&config.redis, environment.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(gone, ["A", "B", "C", "D", "E"]);
}
