//! What each user has no right to is refused, by itself and from inside a script, in words that name the user and the right.
use serde_json::json;

use super::{USERS, guarded, run};
use crate::support::Bed;

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
    "EVALSHA_RO 0000000000000000000000000000000000000000 0",
    "MULTI",
    "WATCH todo_tasks",
    "PSYNC ? -1",
    "REPLCONF capa eof",
    "MIGRATE 127.0.0.1 1 todo_tasks 0 1",
    "CLUSTER RESET",
    "FAILOVER ABORT",
    "COMMAND",
    "WAIT 0 1",
    "PUBSUB CHANNELS",
    "CLIENT TRACKING ON",
    "CLIENT NO-EVICT ON",
    "CLIENT SETNAME x",
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
    "XADD other * e x",
    "XADD todo_tasks * e x",
    "XREAD STREAMS other 0",
    "XGROUP CREATE distcomp:events g 0",
    "XDEL distcomp:events 0-1",
    "DEL distcomp:events",
    "LPUSH other x",
    "SADD other x",
    "PFADD other x",
    "SETRANGE other 0 x",
    "SORT_RO todo_tasks",
    "OBJECT FREQ todo_tasks",
    "SUBSCRIBE __keyspace@0__:todo_tasks",
    "SSUBSCRIBE other",
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
    "DEL distcomp:ready:cells",
    "ZREM distcomp:ready:cells x",
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
    "ZADD distcomp:ready:cells 1 x",
    "INCRBY distcomp:ready:count 1",
    "PUBLISH distcomp:wake todo",
    // A token lets its bearer settle.
    "HGETALL distcomp:claims:w",
    "HGETALL distcomp:marks",
];

const WORKER: &[&str] = &[
    "SET distcomp:paused me",
    "DEL distcomp:paused",
    "SET distcomp:ready:held x",
    "DEL distcomp:claims:w",
    "HSET distcomp:signatures shell:0:0:1:true x",
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

/// Commands that scripts can never run, whoever calls: nothing is learnt from their refusal there.
fn is_no_script_command(command: &str) -> bool {
    let name = command.split(' ').next().unwrap_or_default();
    let never = [
        "EVAL",
        "EVAL_RO",
        "EVALSHA_RO",
        "MULTI",
        "WATCH",
        "PSYNC",
        "REPLCONF",
        "MIGRATE",
        "CLUSTER",
        "FAILOVER",
        "PUBSUB",
        "SSUBSCRIBE",
        "WAIT",
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

/// A function that an administrator has loaded runs anything for whoever may call it: nobody may.
#[test]
fn nobody_may_call_functions_or_run_scripts_by_their_text() {
    let redis = guarded();
    let code =
        "#!lua name=any\nredis.register_function('any', function(keys, args) return redis.call(unpack(args)) end)";
    run(&mut redis.con(), &["FUNCTION", "LOAD", code]).expect("the administrator loads a function");
    assert!(run(&mut redis.con(), &["FCALL", "any", "0", "PING"]).is_ok(), "and may call it");
    for user in USERS {
        let mut con = redis.con_as(user);
        for call in ["FCALL", "FCALL_RO"] {
            let answer = run(&mut con, &[call, "any", "0", "HSET", "todo_tasks", "shell:0:0:1:true", ""]);
            assert!(answer.as_ref().is_err_and(|error| is_denied(error)), "{user}: {call}: {answer:?}");
        }
        for call in ["EVAL", "EVAL_RO"] {
            let answer = run(&mut con, &[call, "return redis.call('PING')", "0"]);
            assert!(answer.as_ref().is_err_and(|error| is_denied(error)), "{user}: {call}: {answer:?}");
        }
    }
    assert_eq!(run(&mut redis.con(), &["HLEN", "todo_tasks"]), Ok(::redis::Value::Int(0)));
}
