//! A server that somebody empties (`FLUSHALL` of a Python manager) while workers run: what only a start would write is there again, and lines of another
//! field order are nobody's to run.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, SOON, holds_for, stays, wait_until};

fn flush(bed: &Bed) {
    ::redis::cmd("FLUSHALL").exec(&mut bed.redis.con()).expect("FLUSHALL");
}

fn get(bed: &Bed, key: &str) -> Option<String> {
    ::redis::cmd("GET").arg(key).query(&mut bed.redis.con()).expect("GET")
}

#[test]
fn field_order_and_layout_are_recorded_again_by_workers() {
    let bed = Bed::with(json!({"task_field_order": "prio:mem:cpu"}));
    let _worker = bed.worker("w");
    bed.wait_alive("w");
    flush(&bed);
    wait_until("the field order", SOON, || {
        let seen = get(&bed, "distcomp:field_order");
        holds_for(seen.as_deref() == Some("prio:mem:cpu"), format!("{seen:?}"))
    });
    assert_eq!(get(&bed, "distcomp:format").as_deref(), Some("2"));
    let mut other = Bed::with(json!({}));
    other.configure(json!({"task_field_order": "mem:cpu:prio", "redis_url": bed.redis.url()}));
    other.submit(&["-"], "shell:1:1:1:true\n").expect(2).says(&["prio:mem:cpu", "mem:cpu:prio"]);
    // The order alone is gone: a heartbeat records it.
    ::redis::cmd("DEL").arg("distcomp:field_order").exec(&mut bed.redis.con()).expect("DEL");
    wait_until("the field order again", SOON, || holds_for(get(&bed, "distcomp:field_order").is_some(), "not yet"));
}

#[test]
fn worker_takes_nothing_of_a_queue_with_another_field_order() {
    let bed = Bed::with(json!({"task_field_order": "mem:cpu:prio"}));
    let worker = bed.worker("w");
    bed.wait_alive("w");
    // In one step, so that the worker cannot be quicker: emptied, another order recorded, and lines of it.
    ::redis::pipe()
        .atomic()
        .cmd("FLUSHALL")
        .cmd("SET")
        .arg("distcomp:field_order")
        .arg("prio:mem:cpu")
        .cmd("HSET")
        .arg("todo_tasks")
        .arg("shell:7:0:0:true")
        .arg("")
        .cmd("HSET")
        .arg("todo_tasks")
        .arg("shell:7:0:0.5:echo not a priority in the other order")
        .arg("")
        .exec(&mut bed.redis.con())
        .expect("emptied");
    wait_until("the worker to say so", SOON, || {
        let log = worker.log();
        holds_for(log.contains("another field order") && log.contains("ERROR"), log)
    });
    stays("nothing is taken, nor moved as no task", Duration::from_secs(7), || {
        let seen = bed.counts();
        holds_for(seen == [2, 0, 0, 0], format!("{seen:?}"))
    });
    ::redis::cmd("SET").arg("distcomp:field_order").arg("mem:cpu:prio").exec(&mut bed.redis.con()).expect("SET");
    wait_until("it to go on", SOON, || {
        let seen = bed.counts();
        holds_for(seen[2] == 1, format!("{seen:?} {}", worker.log()))
    });
}

#[test]
fn drain_of_a_running_worker_outlives_the_emptying() {
    let bed = Bed::new();
    let _worker = bed.worker_through(&["env", "INVOCATION_ID=1"], "w", json!({}), &[]);
    bed.wait_alive("w");
    bed.ctl(&["drain", "w", "--yes"]).expect(0);
    wait_until("the drain", SOON, || {
        let seen = bed.status(&["workers"]).expect(0).stdout;
        holds_for(seen.contains("drained"), seen)
    });
    flush(&bed);
    wait_until("the drain again", SOON, || {
        let seen = bed.table("distcomp:drain");
        holds_for(seen.contains_key("w"), format!("{seen:?}"))
    });
}
