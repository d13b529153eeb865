//! Each command does its work as its own user, and asks for nothing more: the server's own log of refusals stays empty.
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::guarded;
use crate::support::{
    Bed, Dashboard, Redis, SOON, ServerOptions, free_port, holds_for, read, request, result_of, task_id, wait_until,
};

/// The life of a queue, each command as its own user, and the server's own log of refusals at its end.
#[test]
fn every_command_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({"max_retry_per_task": 2}));
    // Nobody has brought the scripts along yet, and a submitter may not.
    bed.add(["shell:0:0:1:echo one", "shell:0:0:1:exit 3", "shell:0:0:1:echo two"]);
    bed.hset("todo_tasks", "no task", "");
    bed.hset("todo_tasks", b"\xff\xfe", "");
    bed.status(&["--json"]).expect(0);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 2, 2]);
    assert_eq!(result_of(&bed.table("finished_tasks"), "shell:0:0:1:echo one"), ("w".to_owned(), "one".to_owned()));
    for args in [&["failures"][..], &["workers"], &["show", "shell:0:0:1:exit 3"], &["export"], &["explain"]] {
        bed.status(args).expect(0);
    }
    let listed = bed.status(&["tasks", "--state", "finished"]).expect(0);
    assert!(listed.stdout.contains("echo one"), "{listed}");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    // With the scripts there, by the script; a wait reads how each task ended.
    bed.submit(&["--wait", "-"], "shell:0:0:1:echo three\nshell:0:0:1:exit 4\n").expect(1);
    bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.ctl(&["cancel", "--state", "todo", "--yes"]);
    bed.ctl(&["resume", "--yes"]).expect(0);
    bed.ctl(&["purge", "--state", "failed", "--yes"]);
    bed.cli("distcomp-submit").args(["--rerun", "-"]).stdin("shell:0:0:1:echo one\n").run().expect(0);
    let hosts = bed.file("hosts", "w\n");
    bed.ctl(&["up", "--hosts", &hosts, "--yes"]).expect(0).prints(&["1 running already"]);
    bed.ctl(&["down", "--hosts", &hosts, "--yes"]).expect(0).prints(&["1 left"]);
    assert_eq!(worker.wait_exit(SOON), 0);
    bed.ctl(&["reclaim", "--yes"]).expect(0);
    bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert_eq!(bed.redis.refusals(), []);
}

/// Limits: said by a submitter, honoured and mended by workers, changed by an operator, seen by a viewer.
#[test]
fn every_command_of_limits_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({"max_retry_per_task": 1}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.submit(&["-L", "disk=1/1", "-c", "0", "--", "sleep 0.2; echo {}", ":::", "1", "2", "3"], "").expect(0);
    bed.submit(&["-L", "disk=2", "-c", "0", "--", "sleep 60"], "").expect(0).says(&["limit disk is 1/1 already"]);
    bed.ctl(&["limit", "disk", "2/2", "--yes"]).expect(0);
    bed.ctl(&["limit", "disk"]).expect(0);
    for args in [&["limits"][..], &["explain"], &["--json"]] {
        bed.status(args).expect(0);
    }
    bed.wait_counts(SOON, [0, 1, 3, 0]);
    bed.ctl(&["cancel", "shell,limit=disk:0:0:0:sleep 60", "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 3, 1]);
    // Of nobody's task: workers take it away.
    let foreign = "shell,limit=disk:0:0:1:nobody";
    bed.hset("distcomp:limits:at", foreign, "h\tw");
    ::redis::cmd("SADD").arg("distcomp:limits:in:disk").arg(foreign).exec(&mut bed.redis.con()).expect("SADD");
    wait_until("it to be taken away", Duration::from_secs(60), || {
        let left: usize =
            ::redis::cmd("SCARD").arg("distcomp:limits:in:disk").query(&mut bed.redis.con()).expect("SCARD");
        holds_for(left == 0 && bed.table("distcomp:limits:at").is_empty(), format!("{left} left"))
    });
    bed.ctl(&["limit", "disk", "none", "--yes"]).expect(0);
    assert_eq!(bed.redis.refusals(), []);
}

/// An autoscaler, as an operator; a viewer sees how it stands.
#[test]
fn autoscaler_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.submit(&["-L", "disk=2", "-m", "100000", "-c", "1", "--", "echo {}", ":::", "1", "2"], "").expect(0);
    let flags = ["autoscale", "command", "--start", "exit 3", "--stop", "true", "--cpus", "1", "--mem", "100000"];
    bed.cli("distcomp-ctl").args(flags).args(["--once"]).run().expect(0).prints(&["would start 1 worker"]);
    let scaler = bed.cli("distcomp-ctl").args(flags).args(["--interval", "1s"]).start();
    let site = Dashboard::start(&bed);
    let line = "distcomp_autoscale_paused{autoscaler=\"command\"} 1";
    wait_until("it to pause", Duration::from_secs(60), || {
        let page = site.get("/metrics", &[]).body;
        holds_for(page.contains(line), page)
    });
    assert_eq!(site.get("/api/v1/wanted?cpus=1&mem=1", &[]).status, 200);
    scaler.signal(nix::sys::signal::Signal::SIGTERM);
    scaler.finish().expect(1);
    assert_eq!(bed.redis.refusals(), []);
}

/// Batches, what waits for them, and what operators do about them.
#[test]
fn every_command_of_batches_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({"max_retry_per_task": 1}));
    let submit = |args: &[&str]| bed.submit(args, "").expect(0);
    // A worker brings the scripts along, which a submitter may not.
    let worker = bed.worker("w");
    bed.wait_alive("w");
    submit(&["-n", "late", "--after", "a", "--kill-on-invalid-dep", "--", "echo late"]);
    bed.ctl(&["edit", "--batch", "late", "--set", "mem=0.01", "--set", "priority=3", "--yes"])
        .expect(0)
        .prints_line("edited 1 task");
    submit(&["-n", "b", "--after", "a", "--after-any", "a/x", "--max-fails", "50%", "--tag", "t", "--", "echo b"]);
    submit(&["-n", "a/x", "--", "[ {} != 2 ]", ":::", "1", "2"]);
    submit(&["-n", "open", "--open", "--", "true"]);
    let states = || bed.status(&["batches", "--json"]).expect(0).json_lines();
    let is = |name: &str, state: &str| states().iter().any(|batch| batch["name"] == name && batch["state"] == state);
    wait_until("what waits for it to be given up", SOON, || {
        holds_for(is("late", "failed"), format!("{:?}", bed.redis.refusals()))
    });
    bed.ctl(&["share", "user", "--weight", "ann=2", "--yes"]).expect(0);
    bed.ctl(&["pause", "a", "--yes"]).expect(0);
    bed.ctl(&["requeue", "--batch", "a", "--yes"]).expect(0);
    submit(&["-n", "a", "--", "[ {} != 2 ]", ":::", "1", "2"]);
    bed.ctl(&["resume", "a", "--yes"]).expect(0);
    bed.ctl(&["release", "a", "--yes"]).expect(0);
    bed.ctl(&["close", "open", "--yes"]).expect(0);
    bed.status(&["wait", "b", "open", "--timeout", "30s"]).expect(0);
    bed.ctl(&["share", "off", "--yes"]).expect(0);
    for args in [&["batch", "a"][..], &["tasks", "--batch", "b"], &["tasks", "--tag", "t"], &["explain"], &[]] {
        bed.status(args).expect(0);
    }
    let _: i64 = redis::cmd("DEL").arg("distcomp:batch:n").query(&mut bed.redis.con()).expect("deleted");
    let _: i64 = redis::cmd("DEL").arg("distcomp:ready:counts").query(&mut bed.redis.con()).expect("deleted");
    wait_until("the members to be counted anew", SOON, || holds_for(is("b", "finished"), format!("{:?}", states())));
    bed.ctl(&["purge", "--batch", "a", "--yes", "--all"]);
    assert!(worker.log().contains("started"));
    assert_eq!(bed.redis.refusals(), []);
}

/// Redis 7.0 reads the transactions of its append-only file, and so what scripts wrote, as the default user: one that is off and has no rights
/// either would lose them at the next start.
#[test]
fn script_writes_survive_a_restart_of_the_server() {
    let redis = Redis::start(ServerOptions { acl: true, durable: true, ..Default::default() });
    let mut bed = Bed::on(redis, json!({}));
    bed.add(["shell:0:0:1:echo one", "shell:0:0:1:exit 3"]);
    bed.burst("w");
    bed.add(["shell:0:0:2:echo two"]);
    let before = (bed.counts(), bed.keys().len());
    assert_eq!(before.0, [1, 0, 1, 1]);
    bed.redis.kill9();
    bed.redis.start_again();
    assert_eq!((bed.counts(), bed.keys().len()), before);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 2, 1]);
}

#[test]
fn a_submitter_alone_keeps_the_order_of_its_file() {
    let bed = Bed::on(guarded(), json!({"max_task_per_worker": 1, "task_prefetch": 0}));
    let out = bed.out("order");
    let lines: Vec<String> = (0..300).map(|n| format!("shell:0:0:{}:echo {n} >> {out}", n % 2)).collect();
    let again = [&lines[..], &lines[..2]].concat();
    let told = bed.submit(&["--json", "-"], again.join("\n")).expect(0).json();
    assert_eq!((told["added"].as_u64(), told["already_queued"].as_u64()), (Some(300), Some(2)), "{told}");
    bed.submit(&["-"], lines.join("\n")).expect(0);
    // Counted, so that no pass over the hash is needed before the first claim.
    let indexed: u64 = ::redis::cmd("GET").arg("distcomp:ready:count").query(&mut bed.redis.con()).expect("GET");
    assert_eq!(indexed, 300);
    bed.burst("w");
    let ran: Vec<u32> = crate::support::lines_of(&out).iter().map(|n| n.parse().expect("a number")).collect();
    let expected: Vec<u32> = (0..300).filter(|n| n % 2 == 1).chain((0..300).filter(|n| n % 2 == 0)).collect();
    assert_eq!(ran, expected);
    bed.submit(&["-"], lines.join("\n")).expect(0);
}

/// Everything that looks, as the viewer: once, following, on a screen, in a browser; and what a worker tells of itself.
#[test]
fn every_view_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({"max_retry_per_task": 1}));
    let go = bed.out("go");
    let line = format!("shell:0:0:1:echo begun; while [ ! -e {go} ]; do sleep 0.05; done; echo ended");
    let at = format!("127.0.0.1:{}", free_port());
    let worker = bed.worker_with("w", json!({}), &["--metrics-listen", &at]);
    bed.wait_alive("w");
    bed.add([&line, "shell:0:0:1:exit 3", "shell:1000000:0:1:never"]);
    bed.wait_running(&line);
    let ran = bed.out("events");
    let mut follower = Screen::start(&bed, &["events", "--follow", "--limit", "0"], &ran);
    let seen = bed.out("seen");
    let mut reader = Screen::start(&bed, &["logs", &line, "--follow"], &seen);
    wait_until("the follower of a task to see it speak", SOON, || {
        holds_for(read(&seen).contains("begun"), format!("{}\n{}", read(&seen), worker.log()))
    });
    let views: [&[&str]; 22] = [
        &[],
        &["--json"],
        &["workers"],
        &["tasks", "--state", "todo"],
        &["tasks", "--state", "in_progress"],
        &["tasks", "--state", "finished"],
        &["tasks", "--state", "failed", "--include", "exit", "--worker", "w"],
        &["show", "shell:0:0:1:exit 3"],
        &["show", &line],
        &["show", &line, "--json"],
        &["failures"],
        &["failures", "--all"],
        &["explain"],
        &["explain", "shell:1000000:0:1:never"],
        &["explain", &line],
        &["export"],
        &["export", "--format", "csv"],
        &["export", "--state", "failed", "--format", "joblog"],
        &["logs", "shell:1000000:0:1:never"],
        &["logs", &line],
        &["events"],
        &["events", "--limit", "0"],
    ];
    for view in views {
        bed.status(view).expect(0);
    }
    bed.status(&["logs", "shell:0:0:1:exit 3"]).expect(0);
    // On a screen: each of its pages, and a task.
    let shown = bed.cli("distcomp-status").args(["watch", "--interval", "0.2"]).into_command();
    let mut watching = std::process::Command::new("sh");
    watching.args(["-c", "stty rows 24 cols 120; exec \"$0\" \"$@\""]).arg(shown.get_program()).args(shown.get_args());
    watching.envs(shown.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm-256color");
    let mut session = rexpect::session::spawn_command(watching, Some(30_000)).expect("a terminal");
    session.exp_string("in_progress").expect("counts");
    // What the page of tasks, of one of them and of failures shows.
    for (key, shown) in [("2", "live"), ("3", "begun"), ("\r", "priority"), ("\u{1b}", "begun"), ("4", "exit")] {
        session.send(key).and_then(|_| session.flush()).expect("a key");
        session.exp_string(shown).unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    session.send("q").and_then(|_| session.flush()).expect("a key");
    session.exp_eof().expect("its end");
    // In a browser, by its pages.
    let site = Dashboard::start(&bed);
    let id = task_id(&line);
    let pages = ["/", "/workers", "/tasks?state=failed", "/failures", "/metrics", "/api/v1/history"].map(str::to_owned);
    let api = ["overview", "workers", "tasks?state=failed", "failures", "batches", "limits", "events"];
    let api = api.into_iter().chain([&*format!("task/{id}")]).map(|path| format!("/api/v1/{path}")).collect::<Vec<_>>();
    for path in pages.into_iter().chain(api).chain([format!("/task/{id}")]) {
        let answer = site.get(&path, &[]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for path in ["/metrics", "/healthz"] {
        assert_eq!(request(&at, "GET", path, &[("Host", &at)], b"", SOON).status, 200, "{path}");
    }
    fs::write(&go, "").expect("a file");
    bed.wait_counts(SOON, [1, 0, 1, 1]);
    assert_eq!(reader.wait(), Some(0), "{}", read(&seen));
    assert!(read(&seen).ends_with("ended\n"), "{}", read(&seen));
    wait_until("the follower of events to see the end", SOON, || {
        holds_for(read(&ran).contains("\"finished\""), read(&ran))
    });
    follower.kill();
    assert_eq!(bed.redis.refusals(), []);
}

/// What has just joined a batch is taken where the batch has it.
#[test]
fn operator_may_pause_a_batch_that_was_just_submitted() {
    let bed = Bed::on(guarded(), json!({}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.submit(&["-n", "s1", "-c", "0", "-m", "1000000", "--", "echo b"], "").expect(0);
    bed.ctl(&["pause", "s1", "--yes"]).expect(0);
    bed.ctl(&["resume", "s1", "--yes"]).expect(0);
    assert_eq!(bed.redis.refusals(), []);
}

/// What an operator does from the pages, by a user that may read and change; one that may only read is refused at the start.
#[test]
fn every_action_of_a_page_has_the_rights_it_needs() {
    let bed = Bed::on(guarded(), json!({"max_retry_per_task": 1}));
    let line = "shell:1000000:0:1:never";
    // It brings the scripts along, which a submitter may not.
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    bed.add([line, "shell:0:0:1:exit 3"]);
    bed.submit(&["-n", "s1", "-c", "0", "-m", "1000000", "--", "echo b"], "").expect(0);
    bed.wait_counts(SOON, [2, 0, 0, 1]);
    let token = ("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", "another-horse-another-staple");
    let args = ["serve", "--listen", "127.0.0.1:0", "--allow-actions"];
    let site = Dashboard::with(&bed, &args[1..], &[token]);
    let own = format!("http://{}", site.at);
    let post = |path: &str, cookie: &str, body: &str| {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        site.send("POST", path, &[("Origin", &own), ("Cookie", cookie), kind], body.as_bytes())
    };
    let session = post("/operate/login", "", &format!("token={}&name=ann", token.1));
    let cookie = session.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let headers = [("Cookie", cookie.as_str())];
    for order in [
        "pause",
        "resume",
        "pause?batch=s1",
        "resume?batch=s1",
        "drain?worker=w",
        "resume?worker=w",
        "requeue?state=failed&kind=exit+3",
        "cancel?batch=s1",
        &format!("purge?id={}", task_id(line)),
        "purge?batch=s1",
    ] {
        let prepared = site.get(&format!("/operate/{order}"), &headers);
        let address = prepared.header("location").unwrap_or_else(|| panic!("{order}: {prepared:?}")).to_owned();
        let look = |what: &str, part: &str| {
            wait_until(&format!("{order} {what}"), SOON, || {
                let page = site.get(&address, &headers).body;
                if page.contains(part) { Ok(page) } else { Err(page) }
            })
        };
        let page = look("to ask", "name=\"form\"");
        let between =
            |from: &str, to: &str| page.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or("");
        let (secret, words) = (between("name=\"form\" value=\"", "\""), between("Type <code>", "</code>"));
        let body = format!("form={secret}&confirm={}", words.replace(' ', "+"));
        assert_eq!(post(&address, &cookie, &body).status, 303, "{order}");
        look("to be done", "Done: ");
    }
    for path in
        ["/", "/workers", "/tasks?state=failed", "/failures", "/batches", "/metrics", "/api/v1/events", "/operate"]
    {
        assert_eq!(site.get(path, &headers).status, 200, "{path}");
    }
    assert_eq!(bed.redis.refusals(), []);
    let viewer = bed.conf_path_of("viewer");
    let refused = bed.cli("distcomp-status").args(args).env("DISTCOMP_CONFIG", viewer).env(token.0, token.1).run();
    refused.expect(3).says(&["\"viewer\""]);
}

/// Everything that changes, as the operator, and what submits and runs signed tasks.
#[test]
fn every_change_has_the_rights_it_needs() {
    let mut bed = Bed::on(guarded(), json!({"max_retry_per_task": 1, "worker_dead_after_seconds": 2}));
    let key = bed.out("key");
    bed.ctl(&["keygen", "--out", &key]).expect(0);
    bed.configure(json!({
        "task_signing_key": key, "task_public_keys": [format!("{key}.pub")], "require_signed_tasks": true
    }));
    let slow = "shell:0:0:1:sleep 3624";
    let lines = ["shell:0:0:1:exit 3", "shell:0:0:1:echo one", "shell:1000000:0:1:never", slow];
    bed.submit(&["--expires", "1h", "-"], lines.join("\n")).expect(0);
    let mut worker = bed.worker("w");
    bed.wait_running(slow);
    bed.wait_counts(SOON, [1, 1, 1, 1]);
    bed.hset("todo_tasks", "shell:0:0:1:echo forged", "");
    bed.wait_counts(SOON, [1, 1, 1, 2]);
    assert!(bed.status(&["show", lines[0]]).expect(0).stdout.contains("signed"));
    for dry in
        ["requeue --state failed", "cancel --state todo", "purge --state failed", "reclaim", "drain --all", "stop"]
    {
        bed.ctl(&dry.split(' ').chain(["--dry-run"]).collect::<Vec<_>>()).expect(0);
    }
    bed.ctl(&["requeue", lines[0], "--yes"]).expect(0);
    bed.ctl(&["requeue", "--state", "failed", "--include", "forged", "--yes"]).expect(0);
    bed.wait_counts(SOON, [1, 1, 1, 2]);
    bed.ctl(&["requeue", "--state", "finished", "--yes", "--json"]).expect(0);
    bed.wait_counts(SOON, [1, 1, 1, 2]);
    bed.cli("distcomp-submit").args(["--rerun", "-"]).stdin(lines[..2].join("\n")).run().expect(0);
    bed.wait_counts(SOON, [1, 1, 1, 2]);
    bed.ctl(&["cancel", "--state", "in_progress", "--yes"]).expect(0);
    bed.ctl(&["cancel", lines[2], "--yes"]).expect(0);
    bed.wait_counts(SOON, [0, 0, 1, 4]);
    bed.ctl(&["purge", "--state", "failed", "--older-than", "1h", "--yes"]).expect(0);
    bed.ctl(&["purge", "--worker", "w", "--state", "finished", "--yes"]).expect(0);
    bed.ctl(&["pause", "--yes"]).expect(0);
    bed.ctl(&["resume", "--yes"]).expect(0);
    // A dead worker's, by another worker and by hand.
    bed.submit(&["--rerun", "-"], slow).expect(0);
    bed.wait_running(slow);
    worker.kill9();
    let mut other = bed.worker("x");
    wait_until("another to have it", Duration::from_secs(40), || {
        let has = bed.table("in_progress_tasks").get(slow).cloned();
        holds_for(has.as_deref() == Some("x"), format!("{has:?}\n{}", other.log()))
    });
    other.kill9();
    bed.ctl(&["reclaim", "x", "--force", "--yes"]).expect(0);
    bed.ctl(&["purge", "--state", "failed", "--yes"]).expect(0);
    bed.ctl(&["requeue", "--kind", "cancelled", "--dry-run"]).expect(0);
    bed.ctl(&["purge", "--state", "cancelled", "--yes"]).expect(0);
    bed.ctl(&["purge", slow, "--yes"]).expect(0);
    bed.ctl(&["stop", "--yes"]).expect(0);
    bed.burst("y");
    bed.ctl(&["resume", "--yes"]).expect(0);
    assert_eq!(bed.counts(), [0, 0, 0, 0]);
    assert_eq!(bed.redis.refusals(), []);
}

/// A command that goes on until it is killed; its output in a file.
struct Screen(std::process::Child);

impl Screen {
    fn start(bed: &Bed, args: &[&str], out: &str) -> Self {
        let mut command = bed.cli("distcomp-status").args(args).into_command();
        let out = fs::File::create(out).expect("a file");
        Self(command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    fn wait(&mut self) -> Option<i32> {
        wait_until("it to end", SOON, || self.0.try_wait().expect("its status").ok_or("it still runs")).code()
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A lock that a server's clock, set back, would keep for ever: found by the one worker that is there, as its own user.
#[test]
fn a_worker_may_take_away_a_lock_that_would_never_end() {
    let bed = Bed::on(guarded(), json!({}));
    let mut con = bed.redis.con();
    for lock in ["distcomp:reclaim_lock", "distcomp:ready:scan_lock"] {
        let mut set = ::redis::cmd("SET");
        set.arg(lock).arg("somebody").arg("PX").arg(1_000_000_000).exec(&mut con).expect("SET");
    }
    // Written past us, so that somebody has to look for it.
    bed.hset_all("todo_tasks", (0..20).map(|n| format!("shell:0:0:1:true {n}")));
    let worker = bed.worker("w");
    bed.wait_counts(Duration::from_secs(60), [0, 0, 20, 0]);
    wait_until("both locks to be gone, or of somebody who lives", Duration::from_secs(60), || {
        let held = |lock: &str| {
            let holder: Option<String> = ::redis::cmd("GET").arg(lock).query(&mut bed.redis.con()).expect("GET");
            holder.as_deref() == Some("somebody")
        };
        let seen = (held("distcomp:reclaim_lock"), held("distcomp:ready:scan_lock"));
        holds_for(seen == (false, false), format!("{seen:?}\n{}", worker.log()))
    });
    assert_eq!(bed.redis.refusals(), []);
}
