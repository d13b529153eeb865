//! Signed tasks: with `require_signed_tasks` nothing runs but what the holder of a key has signed, for this queue, until it expires. Each attack here is
//! one that somebody who can write to Redis, and read all of it, can make.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, holds_for, read, reason_of, run_times, wait_until};

const SIGNATURES: &str = "distcomp:signatures";
const QUEUE_ID: &str = "distcomp:queue_id";

/// A bed whose submitter signs with a key and whose workers require it.
struct Signed {
    bed: Bed,
}

impl Signed {
    fn new() -> Self {
        Self::on(Bed::new())
    }

    fn on(mut bed: Bed) -> Self {
        let key = keygen(&bed, "key");
        bed.configure(json!({
            "task_signing_key": key, "task_public_keys": [format!("{key}.pub")], "require_signed_tasks": true
        }));
        Self { bed }
    }

    /// Puts a line into the queue past all code of ours, with whatever beside it.
    fn forge(&self, line: &str, signature: Option<&str>) {
        if let Some(signature) = signature {
            self.bed.hset(SIGNATURES, line, signature);
        }
        self.bed.hset("todo_tasks", line, "");
    }

    fn signature(&self, line: &str) -> String {
        let table = self.bed.table(SIGNATURES);
        table.get(line).unwrap_or_else(|| panic!("no signature of {line}: {table:#?}")).clone()
    }

    /// Runs a worker until nothing is left; the line must have failed for ever, unrun, for a reason that holds this.
    #[track_caller]
    fn is_refused(&self, line: &str, why: &str) {
        self.bed.burst("w");
        self.was_refused(line, why);
    }

    #[track_caller]
    fn was_refused(&self, line: &str, why: &str) {
        assert!(self.bed.table("failed_tasks").contains_key(line), "{line} is not in failed_tasks");
        assert!(!self.bed.table("todo_tasks").contains_key(line), "{line} would be tried again");
        assert!(!self.bed.table("finished_tasks").contains_key(line), "{line} was run");
        let reason = reason_of(&self.bed, line);
        assert!(reason.starts_with("not signed: ") && reason.contains(why), "{reason}");
    }

    /// A line that leaves a trace when it runs.
    fn line(&self, name: &str) -> String {
        format!("shell:0:0:1:echo {name} >> {}", self.bed.out("ran"))
    }

    fn ran(&self) -> Vec<String> {
        run_times(self.bed.out("ran")).into_keys().collect()
    }
}

fn keygen(bed: &Bed, name: &str) -> String {
    let path = bed.out(name);
    bed.ctl(&["keygen", "--out", &path]).expect(0);
    path
}

fn command<T: redis::FromRedisValue>(bed: &Bed, args: &[&str]) -> T {
    let mut command = redis::cmd(args[0]);
    command.arg(&args[1..]);
    command.query(&mut bed.redis.con()).expect("the command")
}

#[test]
fn what_is_signed_runs_and_the_queue_stays_readable_to_python() {
    let signed = Signed::new();
    let line = signed.line("good");
    signed.bed.add([&line]);
    assert_eq!(signed.bed.table("todo_tasks").get(&line).map(String::as_str), Some(""), "Python writes \"\" there");
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["good"]);
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn a_line_that_a_stranger_adds_is_refused_counted_and_never_retried() {
    let signed = Signed::on(Bed::with(json!({"max_retry_per_task": 5})));
    let line = signed.line("forged");
    signed.forge(&line, None);
    signed.is_refused(&line, "no signature");
    signed.bed.burst("w2");
    signed.was_refused(&line, "no signature");
    assert!(signed.ran().is_empty());
    let overview = signed.bed.status(&["--json"]).expect(0).json();
    let groups = overview["failures"].as_array().expect("groups");
    assert!(groups.iter().any(|group| group["kind"] == "not signed" && group["count"] == 1), "{overview}");
    signed.bed.ctl(&["requeue", "--state", "failed", "--yes"]).expect(0);
    signed.is_refused(&line, "no signature");
    assert!(signed.ran().is_empty(), "an operator's requeue signs nothing");
}

#[test]
fn a_signature_is_good_for_its_own_line_alone() {
    let signed = Signed::new();
    let (good, other) = (signed.line("good"), signed.line("other"));
    signed.bed.add([&good]);
    let signature = signed.signature(&good);
    signed.forge(&other, Some(&signature));
    let longer = format!("{good}; echo more >> {}", signed.bed.out("ran"));
    signed.forge(&longer, Some(&signature));
    let dearer = good.replacen(":1:", ":2:", 1);
    signed.forge(&dearer, Some(&signature));
    for line in [&other, &longer, &dearer] {
        signed.is_refused(line, "not of this line");
    }
    assert_eq!(signed.ran(), ["good"]);
}

#[test]
fn what_is_cut_or_garbage_or_deleted_is_no_signature() {
    let signed = Signed::new();
    let names: Vec<String> = (0..9).map(|n| signed.line(&format!("bad{n}"))).collect();
    signed.bed.add(&names);
    let good = signed.signature(&names[0]);
    let mut parts: Vec<&str> = good.split('.').collect();
    let later = (parts[1].parse::<u64>().expect("a time") + 1).to_string();
    parts[1] = &later;
    let later = parts.join(".");
    let half = &good[..good.len() / 2];
    let long = "v1.".repeat(100_000);
    for (line, bad) in
        names.iter().zip([half, &good[..good.len() - 1], "garbage", "", &later, "v1....", &long, "\u{1b}[31m"])
    {
        signed.bed.hset(SIGNATURES, line, bad);
    }
    assert!(signed.bed.hdel(SIGNATURES, &names[8]));
    signed.bed.burst("w");
    for line in &names {
        signed.was_refused(line, "");
    }
    assert!(signed.ran().is_empty());
}

#[test]
fn bytes_that_are_no_text_beside_a_line_stop_no_worker() {
    let signed = Signed::new();
    let (bad, good) = (signed.line("bad"), signed.line("good"));
    signed.bed.add([&bad, &good]);
    signed.bed.hset(SIGNATURES, &bad, b"\xff\xfe\0v1");
    signed.is_refused(&bad, "cannot be read");
    assert_eq!(signed.ran(), ["good"]);
}

#[test]
fn an_expired_signature_is_refused_and_submitting_again_renews_it() {
    let signed = Signed::new();
    let line = signed.line("late");
    signed.bed.submit(&["--expires", "1s", "-"], format!("{line}\n")).expect(0);
    let expires: u64 = signed.signature(&line).split('.').nth(1).and_then(|text| text.parse().ok()).expect("a time");
    wait_until("its time to pass", SOON, || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
        holds_for(now > expires, now)
    });
    signed.is_refused(&line, "expired");
    signed.bed.submit(&["--rerun", "-"], format!("{line}\n")).expect(0);
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["late"]);
}

#[test]
fn expiry_wants_a_key_and_a_duration() {
    let signed = Signed::new();
    for bad in ["0s", "soon", "-1h"] {
        signed.bed.submit(&[&format!("--expires={bad}"), "-"], "shell:0:0:1:true\n").expect(2).says(&["--expires"]);
    }
    let plain = Bed::new();
    plain.submit(&["--expires", "1h", "-"], "shell:0:0:1:true\n").expect(2).says(&["task_signing_key"]);
    assert_eq!(plain.counts(), [0, 0, 0, 0]);
}

#[test]
fn a_signature_of_a_key_the_worker_does_not_know_is_refused() {
    let mut signed = Signed::new();
    let stranger = keygen(&signed.bed, "stranger");
    let line = signed.line("strange");
    let public = signed.bed.out("key.pub");
    signed.bed.configure(json!({"task_signing_key": stranger}));
    signed.bed.add([&line]);
    signed.is_refused(&line, "does not know");
    // The same, with the name of a known key in it.
    let known =
        read(&public).split_whitespace().find_map(|word| word.strip_suffix('.').map(str::to_owned)).expect("its id");
    let lying = signed.line("lying");
    signed.bed.add([&lying]);
    let mut parts: Vec<String> = signed.signature(&lying).split('.').map(str::to_owned).collect();
    parts[2] = known;
    signed.bed.hset(SIGNATURES, &lying, parts.join("."));
    signed.is_refused(&lying, "not of this line");
    assert!(signed.ran().is_empty());
}

#[test]
fn keys_are_changed_by_naming_the_old_and_the_new() {
    let mut signed = Signed::new();
    let (old, new) = (signed.line("old"), signed.line("new"));
    signed.bed.add([&old]);
    let next = keygen(&signed.bed, "next");
    let publics = [signed.bed.out("key.pub"), format!("{next}.pub")];
    signed.bed.configure(json!({"task_signing_key": next, "task_public_keys": publics}));
    signed.bed.add([&new]);
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["new", "old"]);
    // The old key is dropped: what it signed is as good as unsigned.
    signed.bed.configure(json!({"task_signing_key": signed.bed.out("key"), "task_public_keys": publics[1..]}));
    let late = signed.line("late");
    signed.bed.add([&late]);
    signed.is_refused(&late, "does not know");
}

#[test]
fn a_task_signed_for_another_queue_is_refused_by_prefix_database_and_server() {
    let mut from = Signed::on(Bed::on(Redis::start(ServerOptions { tcp: true, ..Default::default() }), json!({})));
    let line = from.line("replayed");
    let url = format!("redis://127.0.0.1:{}/3", from.bed.redis.port());
    let here = from.bed.redis.url();
    let keys = json!({
        "task_signing_key": from.bed.out("key"), "task_public_keys": [from.bed.out("key.pub")], "require_signed_tasks": true
    });
    // Another prefix of the same database, and another database of the same server, even with its identity copied.
    for (name, change) in [("prefix", json!({"redis_key_prefix": "other:"})), ("db", json!({"redis_url": url}))] {
        from.bed.configure(change.clone());
        from.bed.add([&line]);
        let prefix = change["redis_key_prefix"].as_str().unwrap_or_default();
        let mut con = match prefix {
            "" => redis::Client::open(url.as_str()).and_then(|client| client.get_connection()).expect("a connection"),
            _ => from.bed.redis.con(),
        };
        let mut ask = |args: &[&str]| -> String { redis::cmd(args[0]).arg(&args[1..]).query(&mut con).expect("there") };
        let signature = ask(&["HGET", &format!("{prefix}{SIGNATURES}"), &line]);
        let id = ask(&["GET", &format!("{prefix}{QUEUE_ID}")]);
        from.bed.configure(json!({"redis_key_prefix": null, "redis_url": here}));
        command::<String>(&from.bed, &["SET", QUEUE_ID, &id]);
        from.forge(&line, Some(&signature));
        // A worker that has never seen this queue: one that has is not even fooled by its identity.
        from.bed.burst(name);
        from.was_refused(&line, "not of this line and this queue");
    }
    // Another server of the same database and prefix.
    let other = Signed { bed: Bed::with(keys) };
    let signed = from.line("elsewhere");
    from.bed.add([&signed]);
    other.forge(&signed, Some(&from.signature(&signed)));
    other.is_refused(&signed, "not of this line and this queue");
    assert!(from.ran().is_empty(), "{:?}", from.ran());
}

#[test]
fn a_worker_knows_its_queue_again_and_takes_no_other_in_its_place() {
    let (signed, other) = (Signed::new(), Signed::new());
    signed.bed.burst("w");
    let mine: String = command(&signed.bed, &["GET", QUEUE_ID]);
    // Somebody who can write here has the queue pass for another, and brings what was signed there.
    let line = other.line("replayed");
    other.bed.add([&line]);
    let theirs: String = command(&other.bed, &["GET", QUEUE_ID]);
    assert_ne!(mine, theirs);
    command::<String>(&signed.bed, &["SET", QUEUE_ID, &theirs]);
    signed.forge(&line, Some(&other.signature(&line)));
    let mut worker = signed.bed.worker_with("w", json!({"task_public_keys": [other.bed.out("key.pub")]}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 2, "{}", worker.log());
    assert!(worker.log().contains(QUEUE_ID), "{}", worker.log());
    let changes = json!({"task_public_keys": [other.bed.out("key.pub")]});
    let mut check = signed.bed.worker_with("w", changes, &["--check"]);
    assert_eq!(check.wait_exit(SOON), 2, "--check knows it too\n{}", check.log());
    assert!(other.ran().is_empty());
    // A queue that lost its identity with its data gets it back.
    command::<String>(&signed.bed, &["FLUSHALL"]);
    signed.bed.burst("w");
    assert_eq!(command::<String>(&signed.bed, &["GET", QUEUE_ID]), mine);
}

#[test]
fn a_running_worker_gives_a_flushed_queue_its_identity_back() {
    let signed = Signed::new();
    let _worker = signed.bed.worker("w");
    signed.bed.wait_alive("w");
    let mine: String = command(&signed.bed, &["GET", QUEUE_ID]);
    command::<String>(&signed.bed, &["FLUSHALL"]);
    wait_until("the identity to be back", SOON, || {
        let seen: Option<String> = command(&signed.bed, &["GET", QUEUE_ID]);
        holds_for(seen.as_deref() == Some(mine.as_str()), format!("{seen:?}"))
    });
    let line = signed.line("after");
    signed.bed.add([&line]);
    wait_until("the task to run", SOON, || holds_for(signed.ran() == ["after"], format!("{:?}", signed.bed.counts())));
}

#[test]
fn a_signature_stays_across_retry_return_reclaim_and_requeue_and_goes_with_purge() {
    let signed = Signed::on(Bed::with(json!({"max_retry_per_task": 3})));
    let line = format!("shell:0:0:1:echo x >> {}; test $(wc -l < {0}) -ge 3", signed.bed.out("ran"));
    let slow = "shell:0:0:1:sleep 600".to_owned();
    signed.bed.add([&line]);
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0], "it succeeds at its third attempt");
    signed.bed.ctl(&["requeue", "--state", "finished", "--yes"]).expect(0);
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 1, 0], "a requeued task keeps its signature");
    // Returned by a shutdown, taken back from a worker that was killed.
    signed.bed.add([&slow]);
    let mut worker = signed.bed.worker_with("v", json!({"drain_timeout_seconds": 0}), &[]);
    signed.bed.wait_running(&slow);
    worker.sigterm();
    worker.wait_exit(SOON);
    assert!(signed.bed.table("todo_tasks").contains_key(&slow));
    let mut worker = signed.bed.worker("v");
    signed.bed.wait_running(&slow);
    worker.kill9();
    drop(worker);
    let mut worker = signed.bed.worker("v");
    wait_until("it to run again", SOON, || {
        let failed = signed.bed.table("failed_tasks");
        assert!(failed.is_empty(), "{failed:?}");
        let log = worker.log();
        holds_for(log.matches("took back").count() == 1 && signed.bed.count("in_progress_tasks") == 1, log)
    });
    worker.kill9();
    signed.bed.ctl(&["reclaim", "v", "--force", "--yes"]).expect(0);
    signed.bed.ctl(&["purge", &slow, "--yes"]).expect(0);
    assert!(!signed.bed.table(SIGNATURES).contains_key(&slow), "nothing of a purged task stays");
}

#[test]
fn a_line_queued_unsigned_gets_its_signature_when_it_is_submitted_signed() {
    let signed = Signed::new();
    let line = signed.line("late");
    signed.forge(&line, None);
    let output = signed.bed.submit(&["-"], format!("{line}\n")).expect(0);
    output.prints_line("added 0 tasks; skipped 1 already queued, 0 running, 0 finished, 0 failed");
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["late"]);
}

#[test]
fn a_worker_cannot_sign_and_what_it_puts_back_is_not_signed_by_that() {
    let mut signed = Signed::new();
    // All that a worker has: its configuration, its state, its public key, and Redis.
    signed.bed.configure(json!({"task_signing_key": null}));
    let line = signed.line("stolen");
    signed.bed.submit(&["-"], format!("{line}\n")).expect(0).says(&["task_signing_key"]);
    signed.is_refused(&line, "no signature");
    // With the public key in place of the secret one.
    signed.bed.configure(json!({"task_signing_key": signed.bed.out("key.pub")}));
    let says = ["task_signing_key", "key.pub", "public key, which cannot sign"];
    signed.bed.submit(&["-"], format!("{line}\n")).expect(2).says(&says);
    assert!(signed.ran().is_empty());
}

#[test]
fn a_bad_key_file_is_exit_2_and_names_key_file_and_remedy() {
    let mut signed = Signed::new();
    let key = signed.bed.out("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    signed.bed.submit(&["-"], "shell:0:0:1:true\n").expect(2).says(&["task_signing_key", &key, "644", "chmod 600"]);
    signed.bed.submit(&["--dry-run", "-"], "shell:0:0:1:true\n").expect(2);
    signed.bed.status(&[]).expect(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    let bad = signed.bed.file("bad.pub", "not a key");
    let gone = signed.bed.out("gone.pub");
    signed.bed.configure(json!({"task_public_keys": [bad, gone, key]}));
    for args in [&["--check"][..], &["--name", "w"], &["--burst"]] {
        let output = signed.bed.cli("distcomp-worker").args(args).run().expect(2);
        output.says(&[
            "task_public_keys[0]",
            &bad,
            "task_public_keys[1]",
            &gone,
            "task_public_keys[2]",
            "secret",
            "keygen",
        ]);
    }
    signed.bed.configure(json!({"task_public_keys": []}));
    signed.bed.cli("distcomp-worker").args(["--check"]).run().expect(2).says(&["task_public_keys"]);
    assert_eq!(signed.bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn keygen_writes_no_key_over_another_and_lets_nobody_read_it() {
    let bed = Bed::new();
    let path = bed.out("k");
    let output = bed.ctl(&["keygen", "--out", &path]).expect(0).says(&["task_signing_key", "task_public_keys"]);
    let mode = fs::metadata(&path).expect("the key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let secret = read(&path).lines().last().and_then(|line| line.rsplit(':').next()).expect("a key").to_owned();
    assert!(!output.all().contains(&secret) && !read(format!("{path}.pub")).contains(&secret));
    bed.ctl(&["keygen", "--out", &path]).expect(2).says(&[&path]);
    let link = bed.out("link");
    std::os::unix::fs::symlink(bed.out("elsewhere"), &link).expect("a link");
    bed.ctl(&["keygen", "--out", &link]).expect(2);
    assert!(!Path::new(&bed.out("elsewhere")).exists(), "no link is followed");
    assert!(bed.keys().is_empty(), "no Redis is needed");
}

#[test]
fn check_says_whose_tasks_would_run() {
    let signed = Signed::new();
    let id = read(signed.bed.out("key.pub"))
        .split_whitespace()
        .find_map(|w| w.strip_suffix('.').map(str::to_owned))
        .expect("its id");
    let output = signed.bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(output.stdout.contains("required, of") && output.stdout.contains(&id), "{output}");
    output.says(&["task_signing_key", "can sign"]);
    let plain = Bed::new().cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(plain.stdout.contains("not required"), "{plain}");
}

#[test]
fn a_queue_that_nobody_signs_for_holds_nothing_of_signatures() {
    let bed = Bed::new();
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    let keys = bed.keys();
    assert!(!keys.iter().any(|key| key == SIGNATURES || key == QUEUE_ID), "{keys:?}");
}

#[test]
fn one_machine_with_nothing_set_up_runs_with_signing_configured() {
    let signed = Signed::new();
    let line = signed.line("local");
    let file = signed.bed.file("tasks", format!("{line}\n"));
    let run = signed.bed.cli("distcomp-worker").args(["--local", &file]).limit(Duration::from_secs(60)).run();
    run.expect(0);
    assert_eq!(signed.ran(), ["local"]);
}

#[test]
fn a_queue_of_many_signed_tasks_runs_whole_beside_forged_ones() {
    let signed = Signed::new();
    let good: Vec<String> =
        (0..300).map(|n| format!("shell:0:0:1:echo good{n} >> {}", signed.bed.out("ran"))).collect();
    signed.bed.add(&good);
    for (n, line) in good.iter().take(30).enumerate() {
        signed.forge(&signed.line(&format!("forged{n}")), Some(&signed.signature(line)));
    }
    signed.bed.burst("w");
    assert_eq!(signed.bed.counts(), [0, 0, 300, 30]);
    let ran = signed.ran();
    assert!(ran.len() == 300 && ran.iter().all(|name| name.starts_with("good")), "{ran:?}");
}
