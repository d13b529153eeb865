//! Rows "poison line" and "broken conf.json": what others may put in our way.
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use super::{all_ran, bed, counted, watch};
use crate::support::{SOON, holds_for, wait_until};

#[test]
fn poison_of_every_kind_stops_nobody_and_every_good_task_runs() {
    let bed = bed(json!({"max_task_per_worker": 4}));
    let out = bed.out("runs");
    let good = counted(&out, 0..100, "");
    bed.add(&good);
    let long = format!("shell:0:0:9:{}", "x".repeat(200_000));
    let huge = format!("shell:0:0:9:{}", "y".repeat(5_000_000));
    let poison: [&[u8]; 12] = [
        b"\xff\xfe not text",
        b"shell:0:0:9:nul\0inside",
        long.as_bytes(),
        huge.as_bytes(),
        b"shell:-1:0:9:true",
        b"shell:9223372036854775808:0:9:true",
        b"shell:0:0:99999999999999999999:true",
        b"unknown:0:0:9:true",
        b"",
        b":::::",
        b"shell:0:0:9:",
        b"\x1b]0;title\x07:0:0:9:true",
    ];
    bed.hset_all("todo_tasks", poison);
    let checker = watch(&bed, &good);
    let mut workers = [bed.worker("a"), bed.worker("b")];
    wait_until("every good task to run", Duration::from_secs(40), || {
        let seen = bed.counts();
        holds_for(seen[2] >= 100 && seen[0] == 0 && seen[1] == 0, format!("{seen:?}"))
    });
    assert_eq!(bed.count("failed_tasks"), 11, "{:?}", bed.table("task_fail_reason"));
    assert_eq!(bed.count("distcomp:quarantine"), 1, "what is not UTF-8");
    assert_eq!(crate::support::run_times(&out).len(), 100);
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
    }
    // Nobody's terminal is written to.
    let shown = bed.status(&["failures", "--all"]);
    shown.expect(0);
    checker.finish();
}

#[test]
fn keys_of_a_wrong_type_stop_no_worker() {
    let bed = bed(json!({}));
    let out = bed.out("runs");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    let mut con = bed.redis.con();
    for key in ["task_fail_reason", "distcomp:lost"] {
        ::redis::cmd("SET").arg(key).arg("nonsense").exec(&mut con).expect("SET");
    }
    let lines = counted(&out, 0..5, "");
    bed.add(&lines);
    assert_eq!(all_ran(&bed, &out, 5, SOON), 0);
    // Some failures cannot be written down now; they are kept and written later.
    bed.add(["shell:0:0:1:exit 3"]);
    wait_until("a complaint", SOON, || {
        let log = worker.log();
        holds_for(log.contains("WRONGTYPE"), log)
    });
    assert!(worker.is_running());
    ::redis::cmd("DEL").arg("task_fail_reason").arg("distcomp:lost").exec(&mut con).expect("DEL");
    bed.wait_counts(SOON, [0, 0, 5, 1]);
}

#[test]
fn a_key_of_a_wrong_type_is_named_to_whoever_meets_it() {
    let bed = bed(json!({}));
    ::redis::cmd("SET").arg("todo_tasks").arg("x").exec(&mut bed.redis.con()).expect("SET");
    let says = ["HLEN on todo_tasks", "WRONGTYPE", "RENAME or DEL"];
    for args in [&[][..], &["tasks", "--state", "todo"], &["explain"]] {
        let said = bed.status(args).expect(3).says(&["todo_tasks", "WRONGTYPE", "RENAME or DEL"]);
        assert!(!said.all().contains("Pipeline failures"), "{said}");
    }
    bed.cli("distcomp-submit").args(["-"]).stdin("shell:0:0:1:true\n").run().expect(3).says(&says);
    bed.cli("distcomp-worker").args(["--check"]).run().expect(3).says(&says);
    ::redis::cmd("DEL").arg("todo_tasks").exec(&mut bed.redis.con()).expect("DEL");
    bed.status(&[]).expect(0);
}

#[test]
fn broken_conf_json_keeps_last_values_and_logs_one_line() {
    let bed = bed(json!({"max_task_per_worker": 1}));
    let out = bed.out("runs");
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    let broken = ["{broken", "", "{\"max_task_per_worker\": -1}", "[1, 2]", "{\"max_task_per_worker\": 99999999999}"];
    for (at, text) in broken.iter().enumerate() {
        worker.write_conf_text(text);
        let complaints = || worker.log().matches("the new configuration is invalid").count();
        wait_until("a complaint", SOON, || holds_for(complaints() == at + 1, worker.log()));
    }
    let path = bed.path().join("worker-w/conf.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("chmod");
    std::fs::remove_file(&path).expect("it is there");
    std::fs::create_dir(&path).expect("a directory in its place");
    bed.add(counted(&out, 0..3, "sleep 0.3;"));
    assert_eq!(all_ran(&bed, &out, 3, SOON), 0);
    std::fs::remove_dir(&path).expect("it is empty");
    worker.reconfigure(&json!({"max_task_per_worker": 3}));
    wait_until("the mended file to be taken", SOON, || {
        let log = worker.log();
        holds_for(log.contains("configuration changed"), log)
    });
    assert!(worker.is_running());
}
