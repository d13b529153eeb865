//! `distcomp-ctl up` and `down`: workers on the hosts of a file, by real ssh to real hosts where the wire matters, by a stand-in where the number of hosts does.
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use self::site::Site;
use crate::support::{
    Bed, Cli, Redis, SOON, ServerOptions, holds_for, kill_all, lines_of, read, result_of, unique_sleep, wait_until,
    with_argv, with_mark,
};

/// In place of `ssh`: does on this machine what it is told to, whatever the host.
const HERE: &str = "#!/bin/sh\nexec sh\n";

/// A bed whose workers keep their state in it, and a server with a password.
fn bed() -> Bed {
    let redis = Redis::start(ServerOptions { password: Some("s3cret-of-redis"), ..ServerOptions::default() });
    let mut bed = Bed::on(redis, json!({}));
    let state = bed.path().join("state");
    bed.configure(json!({"state_dir": state}));
    fs::set_permissions(bed.conf_path(), fs::Permissions::from_mode(0o600)).expect("chmod");
    bed
}

/// A stand-in for `ssh`, and the workers that it has started, which end with it.
struct Fake<'a> {
    bed: &'a Bed,
    program: String,
    mark: String,
}

impl<'a> Fake<'a> {
    fn new(bed: &'a Bed, script: &str) -> Self {
        let program = bed.file("fake-ssh", script);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let mark = format!("up-down.{}", bed.path().display());
        Self { bed, program, mark }
    }

    fn ctl(&self, args: &[&str]) -> Cli {
        let cli = self.bed.cli("distcomp-ctl").args(args).env("DISTCOMP_SSH", &self.program);
        cli.env("IT_MARK", &self.mark)
    }
}

impl Drop for Fake<'_> {
    fn drop(&mut self) {
        kill_all(&with_mark(&format!("IT_MARK={}", self.mark)));
    }
}

/// Those of every process, as any user sees them.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.map(|one| read(one.path().join("cmdline")).replace('\0', " ") + "\n").collect()
}

fn logs(bed: &Bed) -> String {
    let files = fs::read_dir(bed.path()).expect("the directory").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("distcomp-worker."));
    logs.map(|log| format!("{}:\n{}", log.path().display(), read(log.path()))).collect()
}

#[test]
fn workers_start_and_leave_on_two_hosts_by_ssh() {
    let bed = bed();
    let site = Site::start(&bed);
    let all = format!("# nodes\n{}@10.77.1.2:2222\n10.77.2.2:2222 # no user\n10.77.1.9\n", site.user);
    let (all, two) = (bed.file("all", &all), bed.file("two", all.replace("10.77.1.9\n", "")));
    let dir = bed.path().display().to_string();

    let output = site.ctl(&bed, &["up", "--hosts", &all, "--dir", &dir, "--yes", "--", "-j", "2"]).run().expect(1);
    let output =
        output.says(&["will start 3 workers by ssh", "all:4: 10.77.1.9: ssh: connect to host 10.77.1.9 port 22"]);
    output.prints(&["3 hosts: 2 started, 1 failed"]);
    // The sessions have ended, and the workers go on.
    let names = || bed.table("worker_status").into_keys().collect::<Vec<_>>();
    assert_eq!(names(), ["10.77.1.2", "10.77.2.2"], "{}", logs(&bed));
    for name in names() {
        assert!(read(bed.path().join(format!("distcomp-worker.{name}.log"))).contains("started"), "{}", logs(&bed));
    }
    let told = command_lines();
    assert!(told.contains("--name=10.77.1.2"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");

    // Each takes two at a time: both have to run some.
    let lines: Vec<String> =
        (0..4).map(|n| format!("shell:0:0:1:cat /proc/sys/kernel/hostname; pwd; sleep 1.{n}")).collect();
    bed.add(&lines);
    bed.wait_running(&lines[3]);
    site.ctl(&bed, &["up", "--hosts", &two, "--yes"]).run().expect(0).prints(&["2 hosts: 2 running already"]);
    let output = site.ctl(&bed, &["down", "--hosts", &all, "--yes"]).run().expect(0);
    output.says(&["drain 2 workers", "1 not running: 10.77.1.9"]).prints(&["3 hosts: 2 left, 1 not running"]);
    assert_eq!(names(), Vec::<String>::new());
    // Nothing was cut short.
    assert_eq!(bed.counts(), [0, 0, 4, 0]);
    let table = bed.table("finished_tasks");
    let results: BTreeSet<(String, String)> = lines.iter().map(|line| result_of(&table, line)).collect();
    let expected = [("10.77.1.2", "node1"), ("10.77.2.2", "node2")];
    assert_eq!(results, expected.map(|(name, host)| (name.to_owned(), format!("{host}\n{dir}"))).into());

    site.ctl(&bed, &["down", "--hosts", &two, "--yes"]).run().expect(0).prints(&["2 hosts: 2 not running"]);
    site.ctl(&bed, &["up", "--hosts", &two, "--yes"]).run().expect(0).prints(&["2 hosts: 2 started"]);
}

#[test]
fn key_that_is_not_known_is_told_in_the_words_of_ssh() {
    let bed = bed();
    let site = Site::start(&bed);
    fs::write(bed.path().join("ssh/known_hosts"), "").expect("emptied");
    let hosts = bed.file("hosts", "10.77.1.2:2222\n");
    let output = site.ctl(&bed, &["up", "--hosts", &hosts, "--yes"]).run().expect(1);
    output.says(&["hosts:1: 10.77.1.2:2222: ", "Host key verification failed"]).prints(&["1 host: 1 failed"]);
}

#[test]
fn forty_hosts_are_reached_twenty_at_a_time() {
    let bed = bed();
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit\nmkdir -p now\ntouch now/$$\nls now | wc -l >>seen\n\
                  echo \"$*\" >>words\nsleep 0.5\nrm now/$$\necho 'no such host here' >&2\nexit 255\n";
    let fake = Fake::new(&bed, script);
    let hosts = bed.file("hosts", (1..41).map(|n| format!("node{n}\n")).collect::<String>());
    let output = fake.ctl(&["up", "--hosts", &hosts, "--yes", "--json"]).run().expect(1);
    let json = output.json();
    assert_eq!((&json["counts"]["failed"], &json["counts"]["started"]), (&json!(40), &json!(0)), "{output}");
    let lines: Vec<u64> =
        json["hosts"].as_array().expect("hosts").iter().filter_map(|host| host["line"].as_u64()).collect();
    assert_eq!(lines, (1..41).collect::<Vec<_>>(), "in the order of the file");
    assert_eq!(json["hosts"][39]["note"], "no such host here");
    let most = lines_of(bed.path().join("seen")).iter().filter_map(|line| line.trim().parse().ok()).max();
    assert!((2..=20).contains(&most.unwrap_or(0)), "{most:?} at once");
    // Nothing but the host is among the words of ssh.
    let words = lines_of(bed.path().join("words"));
    assert!(words.contains(&"-T -o BatchMode=yes -o ConnectTimeout=10 node7 sh".to_owned()), "{words:?}");
}

#[test]
fn session_that_hangs_is_ended_by_the_limit() {
    let bed = bed();
    let sleep = unique_sleep();
    let fake = Fake::new(&bed, &format!("#!/bin/sh\n[ \"$6\" = node1 ] || exec sh\nsleep {sleep}\n"));
    let hosts = bed.file("hosts", "node1\nnode2\n");
    let output = fake.ctl(&["up", "--hosts", &hosts, "--timeout", "3s", "--yes"]).run().expect(1);
    let output = output.says(&["hosts:1: node1: no answer within 3 s (--timeout)"]);
    output.prints(&["2 hosts: 1 started, 1 failed"]);
    wait_until("the session to be gone", SOON, || holds_for(with_argv(&sleep).is_empty(), "it lives"));
}

#[test]
fn worker_that_cannot_run_is_told_with_its_reason() {
    let bed = bed();
    let fake = Fake::new(&bed, HERE);
    let hosts = bed.file("hosts", "node1\n");
    let up = |dir: &str, flags: &[&str]| {
        let dir = bed.path().join(dir).display().to_string();
        let args = ["up", "--hosts", &hosts, "--dir", &dir, "--timeout", "5s", "--yes"];
        fake.ctl(&[&args, flags].concat()).run()
    };
    up("none", &[])
        .expect(1)
        .says(&["node1: cannot enter the directory", "/none: make it, or name another with --dir"]);
    fs::create_dir(bed.path().join("empty")).expect("a directory");
    up("empty", &[]).expect(1).says(&["node1: there is no conf.json in", "-- --config PATH"]);
    bed.file("bad.json", "{\"max_task_per_worker\": 0}");
    let output = up("", &["--", "--config", "bad.json"]).expect(1);
    output.says(&[
        "node1: its worker ended with exit code 2; from",
        "distcomp-worker.node1.log",
        "max_task_per_worker",
    ]);
    assert!(bed.table("worker_status").is_empty());
    bed.ctl(&["stop", "--yes"]).expect(0);
    up("", &[]).expect(2).says(&["the queue is stopping", "distcomp-ctl resume"]);
    bed.ctl(&["resume", "--yes"]).expect(0);
    // It waits for a Redis that is not there.
    bed.file("away.json", json!({"redis_port": 1, "state_dir": bed.path().join("state")}).to_string());
    let output = up("", &["--", "--config", "away.json"]).expect(1);
    output.says(&["has not registered in Redis within 5 s (--timeout)", "waiting for Redis"]);
}

#[test]
fn faults_of_flags_and_hosts_are_told_before_anything_starts() {
    let bed = bed();
    let fake = Fake::new(&bed, "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n");
    let bad = bed.file("bad", "node1\nnode2:ssh\n-oProxyCommand=x\n");
    let output = fake.ctl(&["up", "--hosts", &bad, "--yes"]).run().expect(2);
    output.says(&[
        "bad:2: the port is \"ssh\"; valid: 1 to 65535",
        "bad:3: the host is \"-oProxyCommand=x\"",
        "2 faults",
    ]);
    fake.ctl(&["down", "--hosts", &bad, "--yes"]).run().expect(2).says(&["2 faults"]);
    let none = bed.file("none", "# nothing\n");
    fake.ctl(&["up", "--hosts", &none, "--yes"]).run().expect(2).says(&["names no host"]);
    let good = bed.file("good", "node1\nnode1\n");
    for (args, text) in [
        (&["--", "--slotz", "1"][..], "--slotz"),
        (&["--", "--name", "x"], "--name cannot be used"),
        (&["--", "--redis-url", "redis://:s3cret@node0"], "may hold a password"),
        (&["--ssh", "ssh 'x"], "--ssh"),
        (&[], "--yes is required"),
    ] {
        let output = fake.ctl(&[&["up", "--hosts", &good], args].concat()).run().expect(2).says(&[text]);
        assert!(!output.all().contains("s3cret"), "{output}");
    }
    let output = fake.ctl(&["up", "--hosts", &good, "--dry-run"]).run().expect(0);
    output.says(&["good:2: this host is there already"]).prints(&[
        "would start 1 worker by ssh in",
        ": node1",
        "1 host: 1 to start",
    ]);
    assert!(!bed.path().join("ran").exists(), "nothing was started");
}

#[test]
fn drained_name_is_free_again_after_down() {
    let bed = bed();
    let fake = Fake::new(&bed, HERE);
    let hosts = bed.file("hosts", "node1\n");
    fake.ctl(&["up", "--hosts", &hosts, "--yes"]).run().expect(0).prints(&["1 started"]);
    let line = "shell:0:0:1:until test -e gate; do sleep 0.05; done";
    bed.add([line]);
    bed.wait_running(line);
    fake.ctl(&["down", "--hosts", &hosts, "--dry-run"])
        .run()
        .expect(0)
        .prints(&["would drain 1 worker: node1", "1 host: 1 to drain"]);
    let output = fake.ctl(&["down", "--hosts", &hosts, "--yes", "--timeout", "1s"]).run().expect(1);
    output.says(&["node1: it still runs 1 task (--timeout); the drain goes on"]);
    fake.ctl(&["up", "--hosts", &hosts, "--yes"]).run().expect(1).says(&["node1 is draining, and holds its name"]);
    bed.file("gate", "");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    wait_until("the worker to leave", SOON, || {
        holds_for(bed.table("worker_status").is_empty(), format!("{:?}", bed.table("worker_status")))
    });
    // The drain that was not waited for is lifted by the next start.
    fake.ctl(&["up", "--hosts", &hosts, "--yes"]).run().expect(0).prints(&["1 started"]);
    fake.ctl(&["down", "--hosts", &hosts, "--yes"]).run().expect(0).prints(&["1 left"]);
    assert!(bed.table("distcomp:drain").is_empty());
    // One that is started by hand under the name works at once.
    bed.add(["shell:0:0:1:true"]);
    bed.burst("node1");
    assert_eq!(bed.counts(), [0, 0, 2, 0]);
}

#[test]
fn supervised_worker_that_stays_is_told_apart() {
    let bed = bed();
    let hosts = bed.file("hosts", "node1\n");
    let mut worker = bed.worker_through(&["env", "INVOCATION_ID=1"], "node1", json!({}), &[]);
    bed.wait_alive("node1");
    let output = bed.ctl(&["down", "--hosts", &hosts, "--yes"]).expect(1);
    output.says(&["node1: it is drained and idle, and stays: a supervisor"]);
    assert!(worker.is_running());
}

#[test]
fn interrupted_start_ends_its_sessions() {
    let bed = bed();
    let sleep = unique_sleep();
    let fake = Fake::new(&bed, &format!("#!/bin/sh\nsleep {sleep}\n"));
    let hosts = bed.file("hosts", "node1\n");
    let started = fake.ctl(&["up", "--hosts", &hosts, "--yes"]).start();
    wait_until("the session", SOON, || holds_for(!with_argv(&sleep).is_empty(), "not yet"));
    started.signal(nix::sys::signal::Signal::SIGINT);
    started.finish().expect(130).says(&["the command can be repeated"]);
    wait_until("the session to be gone", Duration::from_secs(5), || {
        holds_for(with_argv(&sleep).is_empty(), "it lives")
    });
}
