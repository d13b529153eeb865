//! Every file under `example/` is used here as a newcomer would use it; a new one without a test fails this file.
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Cli, SOON, bin, holds_for, kill_all, wait_until, with_mark};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example").join(name)
}

fn bin_dir() -> &'static Path {
    Path::new(bin("distcomp-worker")).parent().expect("a directory")
}

fn path_with(first: &[&Path]) -> String {
    let mut path: Vec<_> = first.iter().map(|dir| dir.display().to_string()).collect();
    path.push(env::var("PATH").unwrap_or_default());
    path.join(":")
}

#[test]
fn every_example_has_a_test() {
    let mut seen = Vec::new();
    for place in ["", "monitoring", "redis", "systemd"] {
        for entry in fs::read_dir(example(place)).expect("example/") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("its type").is_file() {
                seen.push(Path::new(place).join(entry.file_name()).display().to_string());
            }
        }
    }
    seen.sort();
    let tested = [
        "cluster.sh",
        "conf.json",
        // In `needs`.
        "gpu.tasks",
        "hosts",
        "install-redis.sh",
        // In `packaging`.
        "install.sh",
        "monitoring/grafana.json",
        "monitoring/prometheus.yml",
        "monitoring/rules.yml",
        "monitoring/rules_test.yml",
        "quickstart.sh",
        // tests/it/secrets.rs, acl.rs and tls.rs
        "redis/make-secrets.sh",
        "redis/redis.conf",
        "redis/users.acl",
        "systemd/distcomp-autoscale.service",
        "systemd/distcomp-worker-hardened.service",
        "systemd/distcomp-worker.service",
        "task",
        "task-shell.sh",
        "task_with_timeout",
        "workflow.tasks",
    ];
    assert_eq!(seen, tested, "add the test of a new example to tests/it/examples.rs");
}

/// Submits the file as it is, runs it, and returns the counts of finished and failed.
fn run_tasks(name: &str) -> (usize, usize) {
    let bed = Bed::new();
    let file = example(name).display().to_string();
    bed.submit(&["--dry-run", &file], "").expect(0);
    bed.submit(&[&file], "").expect(0);
    let tasks = bed.count("todo_tasks");
    bed.burst("w");
    let [todo, in_progress, finished, failed] = bed.counts();
    assert_eq!((todo, in_progress), (0, 0));
    assert_eq!(finished + failed, tasks);
    (finished, failed)
}

#[test]
fn the_plain_task_file_runs() {
    assert_eq!(run_tasks("task"), (8, 0));
}

#[test]
fn example_with_timeouts_runs_and_one_task_times_out() {
    assert_eq!(run_tasks("task_with_timeout"), (12, 1));
}

#[test]
fn the_workflow_runs_in_its_order() {
    let bed = Bed::new();
    let file = example("workflow.tasks").display().to_string();
    let said = "added 7 tasks to s1, 5 of them blocked: s1/prep has 2 open, s1/sim has 4 open";
    bed.submit(&[&file], "").expect(0).prints(&[said]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 8, 0], "seven tasks, and the command for the end");
    assert_eq!(bed.count("distcomp:waiting"), 0);
    let results = bed.table("finished_tasks");
    assert!(results.values().any(|result| result.contains("s1 has finished")), "{results:?}");
    let at = |command: &str| {
        let shown =
            bed.status(&["tasks", "--state", "finished", "--include", command, "--json", "--limit", "0"]).expect(0);
        let tasks = shown.json_lines();
        let starts = tasks.iter().filter_map(|task| task["start"].as_f64()).fold(f64::MAX, f64::min);
        let ends = tasks.iter().filter_map(|task| task["end"].as_f64()).fold(0.0, f64::max);
        (starts, ends)
    };
    let [prep, sim, report] = ["unpack", "simulate", "echo report"].map(at);
    assert!(prep.1 <= sim.0 && sim.1 <= report.0, "{prep:?} {sim:?} {report:?}");
}

#[test]
fn the_configuration_is_valid() {
    let bed = Bed::new();
    let text = fs::read_to_string(example("conf.json")).expect("example/conf.json");
    assert!(serde_json::from_str::<Value>(&text).is_ok_and(|conf| conf.is_object()));
    let url = bed.redis.url();
    let output = Cli::new(bin("distcomp-worker"))
        .args(["--check".as_ref(), "--config".as_ref(), example("conf.json").as_os_str()])
        .args(["--redis-url", &url])
        .dir(bed.path())
        .env("XDG_STATE_HOME", bed.path())
        .run()
        .expect(0);
    assert!(!output.all().contains("unknown"), "{output}");
}

#[test]
fn the_host_list_is_one_of_distcomp_ctl() {
    let bed = Bed::new();
    let hosts = example("hosts").display().to_string();
    bed.ctl(&["up", "--hosts", &hosts, "--dry-run"]).expect(0).prints(&["5 hosts: 5 to start"]);
}

#[test]
fn the_systemd_unit_is_valid_and_has_no_sandbox() {
    let text = fs::read_to_string(example("systemd/distcomp-worker.service")).expect("the unit");
    for needed in [
        "User=",
        "WorkingDirectory=",
        "EnvironmentFile=-",
        "Restart=always",
        "RestartPreventExitStatus=2",
        "KillMode=mixed",
        "TimeoutStopSec=",
        "Delegate=yes",
        "OOMPolicy=continue",
        "TasksMax=infinity",
        "LimitNOFILE=",
    ] {
        assert!(text.contains(needed), "no {needed}");
    }
    for sandbox in ["NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "RestrictNamespaces"] {
        assert!(!text.contains(sandbox), "{sandbox} changes what a task may do");
    }
    verify(&text, "distcomp-worker");
}

/// Its command is one that the program takes, but for the partition of the site.
#[test]
fn unit_of_the_autoscaler_is_valid_and_its_command_is_taken() {
    let text = fs::read_to_string(example("systemd/distcomp-autoscale.service")).expect("the unit");
    for needed in
        ["Restart=on-failure", "RestartPreventExitStatus=2", "SuccessExitStatus=1", "ExecReload=/bin/kill -HUP"]
    {
        assert!(text.contains(needed), "no {needed}");
    }
    verify(&text, "distcomp-ctl");
    let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let bed = Bed::new();
    // A stand-in for a site without a job of ours.
    let squeue = bed.file("squeue", "#!/bin/sh\n");
    fs::set_permissions(squeue, fs::Permissions::from_mode(0o755)).expect("chmod");
    let command = command.replace("/srv/distcomp/conf.json", &bed.conf_path().display().to_string());
    let words = command.split_whitespace().skip(1).map(|word| if word == "--" { "--once --" } else { word });
    let words: Vec<&str> = words.flat_map(|word| word.split(' ')).collect();
    let plan = Cli::new(bin("distcomp-ctl")).env("PATH", path_with(&[bed.path()])).args(words).run().expect(0);
    assert!(plan.stdout.contains("would start 0 workers"), "{plan}");
}

/// What systemd itself says of a unit; nothing where there is none.
fn verify(text: &str, program: &str) {
    let bed = Bed::new();
    let installed = format!("/usr/local/bin/{program}");
    let unit = bed.file("distcomp-worker.service", text.replace(&installed, bin(program)));
    let verify = match Command::new("systemd-analyze").args(["verify", &unit]).output() {
        Ok(verify) => verify,
        Err(error) => {
            eprintln!("NOT VERIFIED: a unit of example/systemd, since systemd-analyze: {error}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&verify.stderr);
    // Other units of the machine may be at fault; ours may not be named.
    assert!(!said.contains("distcomp-worker.service"), "{said}");
}

#[test]
fn hardened_unit_is_valid_and_differs_only_in_its_sandbox() {
    let text = fs::read_to_string(example("systemd/distcomp-worker-hardened.service")).expect("the unit");
    let settings = |text: &str| -> Vec<String> {
        let is_setting = |line: &&str| line.contains('=') && !line.starts_with('#');
        text.lines().filter(is_setting).map(str::to_owned).collect()
    };
    let hardened = settings(&text);
    let plain = fs::read_to_string(example("systemd/distcomp-worker.service")).expect("the plain unit");
    let differs = ["Description", "TasksMax"];
    for setting in settings(&plain) {
        let (key, _) = setting.split_once('=').expect("a setting");
        assert!(hardened.contains(&setting) || differs.contains(&key), "{setting} differs");
    }
    // What the worker needs and a stricter unit would take away.
    for broken in ["ProtectControlGroups=", "ProcSubset=", "PrivateNetwork=", "MemoryDenyWriteExecute="] {
        assert!(!hardened.iter().any(|setting| setting.starts_with(broken)), "{broken}");
    }
    verify(&text, "distcomp-worker");
    let bed = Bed::new();
    let unit =
        bed.file("distcomp-worker.service", text.replace("/usr/local/bin/distcomp-worker", bin("distcomp-worker")));
    let rated = Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=30", &unit]).output();
    match rated {
        Ok(rated) => assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout)),
        Err(error) => eprintln!("NOT RATED: the hardened unit, since systemd-analyze: {error}"),
    }
}

/// No systemd of ours runs in a test: what its sandbox takes away that can be taken away by other means.
#[test]
fn quickstart_passes_unprivileged_on_a_read_only_system() {
    let bed = Bed::new();
    let file = example("task_with_timeout").display().to_string();
    bed.submit(&[&file], "").expect(0);
    let tasks = bed.count("todo_tasks");
    let place = bed.path().display().to_string();
    let sandbox = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro / && mount -t tmpfs none /var/tmp && \
                   exec setpriv --no-new-privs --bounding-set -all --inh-caps -all --ambient-caps -all \"$@\"";
    let unshare = ["unshare", "-m", "sh", "-c", sandbox, place.as_str()];
    let through: &[&str] =
        if nix::unistd::Uid::effective().is_root() { &unshare } else { &["setpriv", "--no-new-privs"] };
    let mut worker = bed.worker_through(through, "w", serde_json::json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(Duration::from_secs(60)), 0, "{}", worker.log());
    // The one that is meant to.
    assert_eq!(bed.counts(), [0, 0, tasks - 1, 1], "{:?}", bed.table("task_fail_reason"));
}

#[test]
fn the_quickstart_runs_and_ends_with_0() {
    let bed = Bed::new();
    let output = Cli::new("bash")
        .args([example("quickstart.sh")])
        .dir(bed.path())
        .env("DISTCOMP_BIN_DIR", bin_dir())
        .env("HOME", bed.path())
        .env("XDG_STATE_HOME", bed.path().join("state"))
        .limit(Duration::from_secs(90))
        .run()
        .expect(0);
    assert!(output.all().contains("12 tasks finished, 1 failed"), "{output}");
    let explained = output.stdout.find("deliberate").expect("the failure is explained");
    assert!(output.stdout[..explained].contains("timed out"), "{output}");
}

#[test]
fn memory_of_a_task_is_measured_in_each_state() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/redis-memory.sh");
    let output = Cli::new("bash").args([script.as_os_str(), "300".as_ref()]).env("DISTCOMP_BIN_DIR", bin_dir());
    let output = output.limit(Duration::from_secs(90)).run().expect(0);
    let bytes = |state: &str| -> u64 {
        let line = output.stdout.lines().find(|line| line.starts_with(state)).unwrap_or_else(|| panic!("{output}"));
        line.split_whitespace().nth(1).and_then(|bytes| bytes.parse().ok()).expect("a number")
    };
    // The line alone has 50 bytes; evidence of a failure has more than that of a success.
    assert!(bytes("waiting") > 50 && bytes("failed") > bytes("finished"), "{output}");
}

#[test]
fn installing_redis_where_it_is_does_nothing() {
    let script = example("install-redis.sh");
    let output =
        Cli::new("bash").args(["-euo", "pipefail", "-c", ". \"$0\"; install_redis"]).args([script]).run().expect(0);
    assert_eq!(output.all(), "");
}

#[test]
fn where_redis_cannot_be_installed_the_message_names_the_ways() {
    let bed = Bed::new();
    let empty = bed.path().join("bin");
    fs::create_dir(&empty).expect("a directory");
    std::os::unix::fs::symlink("/bin/cat", empty.join("cat")).expect("a link");
    let output = Cli::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", ". \"$0\"; install_redis"])
        .args([example("install-redis.sh")])
        .env("PATH", &empty)
        .run()
        .expect(1);
    output.says(&["apt-get install redis-server", "conda install", "DISTCOMP_REDIS_SERVER"]);
}

#[test]
fn the_cluster_script_starts_and_stops_workers() {
    let bed = Bed::new();
    // It runs the command here, whatever the host.
    let ssh = bed.file("ssh", "#!/bin/sh\nexec sh\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("its mode");
    let hosts = bed.file("hosts", "localhost\n");
    let mark = format!("cluster.{}", bed.path().display());
    let run = |args: &[&str]| {
        Cli::new("bash")
            .args([example("cluster.sh")])
            .args(args)
            .dir(bed.path())
            .env("PATH", path_with(&[bin_dir()]))
            .env("DISTCOMP_SSH", &ssh)
            .env("XDG_STATE_HOME", bed.path().join("state"))
            .env("IT_MARK", &mark)
            .run()
    };
    let place = bed.path().display().to_string();
    run(&["up", &hosts, &place]).expect(0).prints(&["1 host: 1 started"]);
    bed.add(["shell:0:0:1:pwd"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let result = bed.table("finished_tasks").into_values().next().expect("a result");
    assert!(result.contains(&place), "tasks start in DIRECTORY: {result}");
    run(&["up", &hosts]).expect(0).prints(&["1 host: 1 running already"]);
    run(&["down", &hosts]).expect(0).prints(&["1 host: 1 left"]);
    wait_until("the worker of the cluster to exit", SOON, || {
        let left = with_mark(&mark);
        holds_for(left.is_empty(), format!("{left:?}"))
    });
    kill_all(&with_mark(&mark));
    run(&["pause", &hosts]).expect(2);
    run(&[]).expect(1).says(&["up or down"]);
}

#[test]
fn the_task_shell_understands_bash_and_fails_with_a_pipe() {
    let bed = Bed::with(json!({"task_shell": example("task-shell.sh"), "max_retry_per_task": 1}));
    let out = bed.out("out");
    let good = format!("shell:0:0:1:echo {{a,b}} > {out}");
    let output = bed.submit(&["-"], format!("{good}\nshell:0:0:1:false | true\n")).expect(0);
    assert!(!output.stderr.contains("warning"), "{output}");
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 1]);
    assert_eq!(crate::support::read(&out), "a b\n");
}

#[test]
fn every_script_prints_its_help_and_does_nothing_else() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for place in ["example", "example/redis", "tests", "benches", ".ci"] {
        for entry in fs::read_dir(top.join(place)).expect("a directory") {
            let path = entry.expect("an entry").path();
            let is_wrapper = path.file_name().is_some_and(|name| name == "task-shell.sh");
            if is_wrapper || path.extension().is_none_or(|end| end != "sh") {
                continue;
            }
            let output = Cli::new("bash").args([path.as_os_str(), "--help".as_ref()]).run().expect(0);
            assert!(output.stdout.lines().count() >= 2 && output.stderr.is_empty(), "{}: {output}", path.display());
            assert!(!output.stdout.contains("set -"), "{}: {output}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} scripts");
}
