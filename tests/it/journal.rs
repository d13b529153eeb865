//! What the worker writes where its standard error is the journal of systemd, which says so by `JOURNAL_STREAM`.
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Bed, bin};

/// Runs a worker until nothing is left, its standard error being this file, and the journal as far as it knows; answers exit code and text.
fn burst(bed: &Bed, log: &Path, configuration: &Path) -> (Option<i32>, String) {
    let file = File::create(log).expect("a file");
    let it = file.metadata().expect("its inode");
    let status = Command::new(bin("distcomp-worker"))
        .args(["--burst", "--name", "w", "--config"])
        .arg(configuration)
        .current_dir(bed.path())
        .env("XDG_STATE_HOME", bed.path().join("state-home"))
        .env("JOURNAL_STREAM", format!("{}:{}", it.dev(), it.ino()))
        .env_remove("RUST_LOG")
        .stderr(file)
        .status()
        .expect("a worker");
    (status.code(), fs::read_to_string(log).expect("its log"))
}

#[test]
fn journal_lines_have_a_priority_and_no_time() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:echo one; echo two >&2; exit 3"]);
    let (code, log) = burst(&bed, &bed.path().join("log"), &bed.conf_path());
    assert_eq!(code, Some(0), "{log}");
    for (line, level) in log.lines().map(|line| (line, line.get(3..8))) {
        let priority = ["<6> INFO", "<4> WARN", "<3>ERROR"].iter().any(|lead| line.starts_with(lead));
        assert!(priority, "{level:?} in {line}");
    }
    assert!(log.lines().any(|line| line.starts_with("<6> INFO") && line.contains(" started ")), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<4> WARN") && line.contains("out of retries")), "{log}");
}

#[test]
fn journal_gives_fatal_messages_the_priority_of_errors() {
    let bed = Bed::new();
    let broken = bed.file("broken.json", "{\"max_task_per_worker\": 0, \"max_retry_per_task\": -1}");
    let (code, log) = burst(&bed, &bed.path().join("log"), Path::new(&broken));
    assert_eq!(code, Some(2), "{log}");
    assert!(log.lines().count() >= 2 && log.lines().all(|line| line.starts_with("<3>")), "{log}");
}
