//! The alert rules fire when they should: checked by `promtool`.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example/monitoring").join(name)
}

/// Runs promtool, and answers what it said; its absence is a failure, since nothing else checks what these files promise.
#[track_caller]
fn promtool(args: &[&str], file: &Path) -> Result<String, String> {
    let run = Command::new("promtool").args(args).arg(file).output();
    let run = run.unwrap_or_else(|error| {
        panic!("promtool is needed to check example/monitoring ({error}): apt-get install prometheus")
    });
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if run.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    promtool(&["check", "rules"], &example("rules.yml")).expect("rules");
    promtool(&["test", "rules"], &example("rules_test.yml")).expect("alerts");
    // Every alert is seen to fire, and seen to be quiet.
    let rules = fs::read_to_string(example("rules.yml")).expect("rules");
    let tests = fs::read_to_string(example("rules_test.yml")).expect("tests");
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "{name} is never seen to be quiet");
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels"));
        assert!(fires, "{name} is never seen to fire");
    }
    // These tests can fail.
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rules.yml"), rules.replace("> 86400", "> 86400000")).expect("a copy");
    fs::write(dir.path().join("rules_test.yml"), tests).expect("a copy");
    let said = promtool(&["test", "rules"], &dir.path().join("rules_test.yml")).expect_err("a wrong rule passes");
    assert!(said.contains("DistCompOldestWaiting"), "{said}");
}

#[test]
fn prometheus_takes_the_scrape_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["prometheus.yml", "rules.yml"] {
        fs::copy(example(name), dir.path().join(name)).expect("a copy");
    }
    fs::write(dir.path().join("dashboard-token"), "x").expect("a token");
    promtool(&["check", "config"], &dir.path().join("prometheus.yml")).expect("configuration");
}
