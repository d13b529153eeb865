//! A file that changes while a worker runs.

use std::fs;

use super::fixture::Conf;
use crate::config::{Reload, Role, SettingChange, Watcher, carry_over, diff};

#[test]
fn watcher_reports_each_content_once_and_requires_the_file() {
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
    let expected =
        [SettingChange { key: "max_task_per_worker", live: true }, SettingChange { key: "redis_db", live: false }];
    assert_eq!(changes, expected);
    let taken = carry_over(&first.config, &second.config);
    assert_eq!((taken.max_tasks, taken.redis.db), (2, 0));
    assert!(watcher.reload_now().is_ok());
}

#[test]
fn pipe_or_directory_in_place_of_file_does_not_block_watcher() {
    let conf = Conf::new();
    let (mut watcher, _) = Watcher::start(conf.write("{}"), conf.overrides.clone(), Role::Client).expect("it loads");
    fs::remove_file(conf.path()).expect("removed");
    assert!(std::process::Command::new("mkfifo").arg(conf.path()).status().expect("mkfifo").success());
    assert!(matches!(watcher.poll(), Reload::Changed(Err(_))));
    assert!(matches!(watcher.poll(), Reload::Unchanged));
}
