//! The users of `example/redis/users.acl`: each command runs as its own, and whatever else one of them tries is refused, by itself and from inside
//! a script.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, acl_file, holds_for, result_of, wait_until};

const USERS: [&str; 4] = ["worker", "submitter", "operator", "viewer"];

/// What nobody may do.
const NOBODY: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "CONFIG REWRITE",
    "DEBUG SLEEP 0",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "EVAL return_1 0",
    "EVAL_RO return_1 0",
    "FUNCTION LIST",
    "FUNCTION FLUSH",
    "FCALL f 0",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "SHUTDOWN NOSAVE",
    "ACL LIST",
    "ACL SETUSER viewer +@all",
    "ACL WHOAMI",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 1",
    "MONITOR",
    "SAVE",
    "BGREWRITEAOF",
    "REPLICAOF NO ONE",
    "MODULE LIST",
    "SWAPDB 0 1",
    "MEMORY USAGE todo_tasks",
    "OBJECT ENCODING todo_tasks",
    "SLOWLOG GET",
    "LATENCY RESET",
    // The keys of others.
    "GET other",
    "SET other x",
    "SETNX other x",
    "DEL other",
    "INCRBY other 1",
    "HGETALL other_hash",
    "HGET other_hash a",
    "HLEN other_hash",
    "HSCAN other_hash 0",
    "HSET other_hash a b",
    "HDEL other_hash a",
    "EXISTS other",
    "HSET todo_tasks2 a b",
    "HSET distcompx a b",
    "PUBLISH other x",
    "SUBSCRIBE other",
    "PSUBSCRIBE *",
    // Whole hashes of ours.
    "DEL todo_tasks",
    "DEL finished_tasks",
    "UNLINK finished_tasks",
    "SET todo_tasks x",
    "SETNX todo_tasks x",
    "RENAME finished_tasks other",
    "COPY finished_tasks other",
    "DUMP finished_tasks",
    "RESTORE todo_tasks 0 x REPLACE",
    "EXPIRE finished_tasks 1",
    "PEXPIRE todo_tasks 1",
    "MOVE todo_tasks 1",
    "SORT todo_tasks",
    "DEL distcomp:owner",
    // What says how the queue is to be read.
    "SET distcomp:format 9",
    "SET distcomp:field_order prio:mem:cpu",
    "DEL distcomp:field_order",
    "INCRBY distcomp:format 1",
];

const SUBMITTER: &[&str] = &[
    "SCRIPT LOAD return_1",
    "HSET finished_tasks shell:0:0:1:true x",
    "HSET failed_tasks shell:0:0:1:true w,",
    "HSET in_progress_tasks shell:0:0:1:true w",
    "HSET task_fail_reason shell:0:0:1:true x",
    "HSET worker_status w 1:0:0:0:0",
    "HDEL todo_tasks shell:0:0:1:true",
    "HDEL in_progress_tasks shell:0:0:1:true",
    "HDEL finished_tasks shell:0:0:1:true",
    "HDEL failed_tasks shell:0:0:1:true",
    "HSET distcomp:claims:w shell:0:0:1:true t|1|1|0",
    "HGETALL distcomp:claims:w",
    "HSET distcomp:owner w me:1",
    "HSET distcomp:evidence 0 x",
    "HSET distcomp:revoked:w shell:0:0:1:true 1",
    "HSET distcomp:drain w 1",
    "HSET distcomp:ready:held x y",
    "HSET distcomp:ready:reserved x y",
    "SET distcomp:paused me",
    "DEL distcomp:paused",
    "DEL distcomp:ready:heads",
    "ZREM distcomp:ready:heads x",
    "ZADD todo_tasks 1 x",
];

const VIEWER: &[&str] = &[
    "SCRIPT LOAD return_1",
    "HSET todo_tasks shell:0:0:1:true x",
    "HSETNX todo_tasks shell:0:0:1:true x",
    "HDEL todo_tasks shell:0:0:1:true",
    "HINCRBY distcomp:tally finished 1",
    "HSET finished_tasks a b",
    "HSET distcomp:drain w 1",
    "SET distcomp:paused me",
    "SETNX distcomp:format 9",
    "ZADD distcomp:ready:heads 1 x",
    "INCRBY distcomp:ready:count 1",
    "PUBLISH distcomp:wake todo",
    // A token lets its bearer settle.
    "HGETALL distcomp:claims:w",
];

const WORKER: &[&str] = &[
    "SET distcomp:paused me",
    "DEL distcomp:paused",
    "SET distcomp:ready:held x",
    "DEL distcomp:claims:w",
    "SUBSCRIBE distcomp:other",
];

const OPERATOR: &[&str] = &["SET distcomp:ready:count 1", "DEL distcomp:evidence", "SUBSCRIBE distcomp:wake"];

fn own(user: &str) -> &'static [&'static str] {
    match user {
        "worker" => WORKER,
        "submitter" => SUBMITTER,
        "operator" => OPERATOR,
        _ => VIEWER,
    }
}

fn guarded() -> Redis {
    Redis::start(ServerOptions { acl: true, ..Default::default() })
}

/// Commands that scripts can never run, whoever calls: nothing is learnt from their refusal there.
fn is_no_script_command(command: &str) -> bool {
    let name = command.split(' ').next().unwrap_or_default();
    let never = [
        "EVAL",
        "EVAL_RO",
        "FCALL",
        "FUNCTION",
        "SCRIPT",
        "SHUTDOWN",
        "ACL",
        "CLIENT",
        "MONITOR",
        "SAVE",
        "CONFIG",
        "DEBUG",
        "BGREWRITEAOF",
        "REPLICAOF",
        "MODULE",
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SLOWLOG",
        "LATENCY",
    ];
    never.contains(&name)
}

fn run(con: &mut ::redis::Connection, words: &[&str]) -> Result<::redis::Value, String> {
    let mut command = ::redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(con).map_err(|error| error.to_string())
}

fn is_denied(error: &str) -> bool {
    error.contains("NOPERM") || error.contains("NoPerm") || error.contains("The user executing the script")
        // Off whoever asks, unless the server is configured otherwise.
        || error.contains("DEBUG command not allowed")
}

#[test]
fn what_a_user_has_no_right_to_is_refused() {
    let redis = guarded();
    for user in USERS {
        let mut con = redis.con_as(user);
        for command in NOBODY.iter().chain(own(user)) {
            let words: Vec<&str> = command.split(' ').collect();
            let answer = run(&mut con, &words);
            assert!(answer.as_ref().is_err_and(|error| is_denied(error)), "{user}: {command}: {answer:?}");
        }
    }
    assert_eq!(run(&mut redis.con(), &["KEYS", "*"]), Ok(::redis::Value::Array(Vec::new())), "and nothing is written");
}

#[test]
fn what_a_user_has_no_right_to_is_refused_inside_a_script_too() {
    let redis = guarded();
    let load =
        ::redis::cmd("SCRIPT").arg("LOAD").arg("return redis.call(unpack(ARGV))").query::<String>(&mut redis.con());
    let sha = load.expect("the administrator loads a script that runs anything");
    let mut tried = 0;
    for user in USERS {
        let mut con = redis.con_as(user);
        for command in NOBODY.iter().chain(own(user)).filter(|command| !is_no_script_command(command)) {
            let words: Vec<&str> = ["EVALSHA", &sha, "0"].into_iter().chain(command.split(' ')).collect();
            let answer = run(&mut con, &words);
            assert!(answer.as_ref().is_err_and(|error| is_denied(error)), "{user}: {command}: {answer:?}");
            tried += 1;
        }
        // Naming the key beforehand changes nothing.
        let answer = run(&mut con, &["EVALSHA", &sha, "1", "other", "SET", "other", "x"]);
        assert!(answer.as_ref().is_err_and(|error| is_denied(error)), "{user}: {answer:?}");
    }
    assert!(tried > 150, "{tried}");
    assert_eq!(run(&mut redis.con(), &["KEYS", "*"]), Ok(::redis::Value::Array(Vec::new())), "and nothing is written");
}

/// The two tests above fail where a right is granted: an administrator's is.
#[test]
fn an_administrator_is_not_refused() {
    let redis = guarded();
    for command in ["KEYS *", "HSET finished_tasks a b", "SET other x", "CONFIG GET port", "SCRIPT LOAD return_1"] {
        let words: Vec<&str> = command.split(' ').collect();
        let answer = run(&mut redis.con(), &words);
        assert!(!answer.as_ref().is_err_and(|error| is_denied(error)), "{command}: {answer:?}");
    }
}

#[test]
fn nobody_gets_in_without_a_password_or_with_one_of_another() {
    let redis = guarded();
    let open = |url: String| ::redis::Client::open(url).expect("a URL").get_connection().err().map(|e| e.to_string());
    let at = format!("redis+unix://{}", redis.socket().display());
    let mut con = ::redis::Client::open(at.clone()).expect("a URL").get_connection().expect("a socket");
    assert!(run(&mut con, &["PING"]).is_err_and(|error| error.contains("NOAUTH")));
    for user in USERS {
        assert!(
            open(format!("{at}?user={user}&pass=")).is_none() || open(format!("{at}?user={user}&pass=x")).is_some()
        );
        assert!(open(format!("{at}?user={user}&pass=pass-of-admin")).is_some(), "{user}");
    }
}

/// The example as it is lets nobody in: it has no passwords yet.
#[test]
fn the_example_file_has_no_password_and_no_open_user() {
    let text = acl_file("").replace("pass-of-", "");
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], "user", "{line}");
        let has_all = words.contains(&"~*") || words.contains(&"+@all") || words.contains(&"nopass");
        assert!(!has_all || ["admin", "default"].contains(&words[1]), "{line}");
    }
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/example/redis/users.acl")).expect("it");
    assert!(example.contains("user default off") && example.contains("user admin off"), "{example}");
    assert!(!example.contains(" >") && !example.contains(" #") && !example.contains("nopass"), "{example}");
}

/// What the server's log of refusals holds: user and object of each.
fn refusals(redis: &Redis) -> Vec<(String, String)> {
    let log: Vec<std::collections::HashMap<String, ::redis::Value>> =
        ::redis::cmd("ACL").arg("LOG").arg(128).query(&mut redis.con()).expect("ACL LOG");
    let text = |entry: &std::collections::HashMap<String, ::redis::Value>, field: &str| {
        ::redis::from_redis_value::<String>(entry[field].clone()).expect("text")
    };
    log.iter().map(|entry| (text(entry, "username"), text(entry, "object"))).collect()
}

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
    bed.ctl(&["drain", "w", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0);
    bed.ctl(&["reclaim", "--yes"]).expect(0);
    bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    let mut refused = refusals(&bed.redis);
    refused.retain(|entry| *entry != ("submitter".to_owned(), "script|load".to_owned()));
    assert_eq!(refused, []);
}

/// Redis 7.0 reads the transactions of its append-only file, and so what scripts wrote, as the default user: one that is off and has no rights
/// either would lose them at the next start.
#[test]
fn what_scripts_wrote_is_still_there_after_a_restart_of_the_server() {
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

#[test]
fn a_refusal_names_the_user_and_what_is_missing() {
    let bed = Bed::on(guarded(), json!({}));
    let take = |user: &str, right: &str| {
        ::redis::cmd("ACL").arg("SETUSER").arg(user).arg(right).exec(&mut bed.redis.con()).expect("ACL SETUSER");
    };
    bed.add(["shell:0:0:1:true"]);
    bed.burst("w");
    // A right of an operator.
    let output = bed.submit(&["-"], "").expect(0);
    assert!(!output.all().contains("may not"), "{output}");
    let rerun = bed.cli("distcomp-submit").args(["--rerun", "-"]).env("DISTCOMP_CONFIG", bed.conf_path_of("submitter"));
    let output = rerun.stdin("shell:0:0:1:true\n").run().expect(3);
    output.says(&["\"submitter\"", "HDEL on finished_tasks"]);
    assert_eq!(bed.counts(), [0, 0, 1, 0], "nothing is half done");
    take("viewer", "-hgetall");
    bed.status(&[]).expect(3).says(&["\"viewer\"", "HGETALL on worker_status"]);
    take("viewer", "resetkeys");
    bed.status(&["tasks", "--state", "todo"]).expect(3).says(&["\"viewer\"", "distcomp:format"]);
    take("operator", "-publish");
    bed.ctl(&["stop", "--yes"]).expect(3).says(&["\"operator\"", "PUBLISH on distcomp:wake"]);
    take("worker", "-script");
    let worker = bed.cli("distcomp-worker").args(["--name", "w", "--burst"]).run().expect(3);
    worker.says(&["\"worker\"", "script"]);
}

#[test]
fn a_wrong_password_of_a_user_is_exit_3_at_once_everywhere() {
    let mut bed = Bed::on(guarded(), json!({}));
    let url = format!("redis+unix://worker:Wr0ng-s3cret@{}", bed.redis.socket().display());
    bed.configure(json!({"redis_url": url}));
    for (name, args) in [
        ("distcomp-worker", &["--name", "w"][..]),
        ("distcomp-worker", &["--check"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-status", &[][..]),
        ("distcomp-ctl", &["pause", "--yes"][..]),
    ] {
        let output = bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(3);
        assert!(!output.all().contains("s3cret"), "{output}");
        assert!(output.took < Duration::from_secs(10), "{output}");
    }
}

#[test]
fn a_prefix_before_every_pattern_shuts_out_all_other_queues() {
    let mut bed = Bed::on(guarded(), json!({"redis_key_prefix": "{site-a}:"}));
    bed.add(["shell:0:0:1:echo one"]);
    let mut worker = bed.worker("w");
    wait_until("the task to finish", SOON, || {
        let done = bed.count("{site-a}:finished_tasks");
        holds_for(done == 1, done)
    });
    bed.status(&[]).expect(0);
    bed.ctl(&["drain", "--all", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0);
    bed.configure(json!({"redis_key_prefix": ""}));
    bed.redis.keep_users_below("{site-a}:");
    bed.submit(&["-"], "shell:0:0:1:true\n").expect(3).says(&["submitter"]);
    bed.status(&[]).expect(3).says(&["viewer"]);
}

#[test]
fn a_changed_password_is_taken_up_from_its_file_on_sighup() {
    let mut bed = Bed::on(guarded(), json!({}));
    let url = format!("redis+unix://worker@{}", bed.redis.socket().display());
    let file = bed.file("pass", "pass-of-worker\n");
    let mut worker = bed.worker_with("w", json!({"redis_url": url, "redis_pass_file": file}), &[]);
    bed.wait_alive("w");
    bed.file("pass", "the-new-one\n");
    let admin = |words: &[&str]| run(&mut bed.redis.con(), words).expect("ACL");
    admin(&["ACL", "SETUSER", "worker", "resetpass", ">the-new-one"]);
    worker.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the worker to read the file again", SOON, || {
        holds_for(worker.log().contains("redis_pass"), worker.log())
    });
    admin(&["CLIENT", "KILL", "USER", "worker"]);
    bed.add(["shell:0:0:1:echo after"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(worker.is_running());
    bed.configure(json!({}));
}
