//! Servers of cloud services forbid commands of administrators. Nothing here needs them, and a command that is needed and missing is named.
use serde_json::json;

use crate::support::{Bed, Redis, SOON, ServerOptions, result_of};

/// What ElastiCache, MemoryDB, Memorystore, Azure and Redis Cloud forbid, each some of it.
const FORBIDDEN: &str = "-acl -bgrewriteaof -bgsave -client -cluster -command|docs -config -debug -failover -flushall -flushdb -function -keys -lastsave \
     -latency -memory -migrate -module -monitor -move -object -psync -replconf -replicaof -restore -save -script|flush -script|kill -shutdown \
     -slaveof -slowlog -swapdb -sync -wait -eval";

/// A queue on such a server.
fn managed(forbidden: &str, changes: serde_json::Value) -> Bed {
    let redis = Redis::start(ServerOptions { tcp: true, plain: true, ..ServerOptions::default() });
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "tenant", "on", ">pass-of-tenant", "~*", "&*", "+@all"]);
    user.arg(forbidden.split_whitespace().collect::<Vec<_>>());
    user.exec(&mut redis.con()).expect("ACL SETUSER");
    let port = redis.port();
    let mut bed = Bed::on(redis, changes);
    bed.configure(json!({"redis_url": format!("redis://tenant:pass-of-tenant@127.0.0.1:{port}/0")}));
    bed
}

fn refusals(bed: &Bed) -> Vec<String> {
    let log: Vec<std::collections::HashMap<String, redis::Value>> =
        redis::cmd("ACL").arg("LOG").query(&mut bed.redis.con()).expect("ACL LOG");
    let object = |entry: &std::collections::HashMap<String, redis::Value>| {
        redis::from_redis_value::<String>(entry["object"].clone()).expect("text")
    };
    let mut all: Vec<String> = log.iter().map(object).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn whole_queue_works_where_administration_is_forbidden() {
    let bed = managed(FORBIDDEN, json!({"max_retry_per_task": 1}));
    bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    bed.submit(&["-n", "s1", "-L", "disk=1", "-"], "shell:0:0:1:echo one\nshell:0:0:1:exit 3\n").expect(0);
    bed.submit(&["--wait", "-n", "s2", "--after-any", "s1", "--", "echo two"], "").expect(0);
    bed.wait_counts(SOON, [0, 0, 2, 1]);
    assert_eq!(result_of(&bed.table("finished_tasks"), "shell,limit=disk:0:0:1:echo one").1, "one");
    for args in
        [&["--json"][..], &["tasks"], &["failures"], &["explain"], &["batches"], &["limits"], &["events"], &["export"]]
    {
        bed.status(args).expect(0);
    }
    for args in
        [&["requeue", "--yes"][..], &["pause", "--yes"], &["resume", "--yes"], &["cancel", "--state", "todo", "--yes"]]
    {
        bed.ctl(args);
    }
    bed.ctl(&["purge", "--state", "finished", "--yes"]).expect(0);
    bed.ctl(&["drain", "w", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    // The driver of Redis introduces itself, and the event log is measured; both do without.
    let refused = refusals(&bed);
    let known = ["client|setinfo", "memory|usage"];
    assert!(refused.iter().all(|one| known.contains(&one.as_str())), "{refused:?}");
}

#[test]
fn missing_right_is_named_with_exit_code_3() {
    for (forbidden, named) in
        [("-info", "INFO"), ("-evalsha", "EVALSHA"), ("-hset", "check.lua"), ("-publish", "PUBLISH")]
    {
        let bed = managed(forbidden, json!({}));
        let output = bed.cli("distcomp-worker").args(["--check"]).run().expect(3);
        let told = output.all().to_lowercase();
        assert!(told.contains(&named.to_lowercase()) && told.contains("\"tenant\""), "{forbidden}: {output}");
    }
}
