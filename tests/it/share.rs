//! Fair share as users meet it: who runs how much while several wait, and what switches it off.
use serde_json::json;

use crate::support::{Bed, SOON, holds_for, wait_until};

/// Submits tasks of one core as some user.
fn submit_as(bed: &Bed, user: &str, flags: &[&str], count: usize) {
    let values: Vec<String> = (0..count).map(|at| at.to_string()).collect();
    let line = format!("sleep 0.3 # {user} {{}}");
    let args = flags.iter().copied().chain(["--", &line, ":::"]).chain(values.iter().map(String::as_str));
    bed.cli("distcomp-submit").env("USER", user).args(args).run().expect(0);
}

/// How many tasks of ann and of bob are in progress, in one atomic picture, and how many of bob wait.
fn picture(bed: &Bed) -> (usize, usize, usize) {
    let script = "return { redis.call('HKEYS', 'in_progress_tasks'), redis.call('HKEYS', 'todo_tasks') }";
    let (runs, waits): (Vec<String>, Vec<String>) =
        redis::cmd("EVAL").arg(script).arg(0).query(&mut bed.redis.con()).expect("read");
    let of = |lines: &[String], user: &str| lines.iter().filter(|line| line.contains(&format!("# {user} "))).count();
    (of(&runs, "ann"), of(&runs, "bob"), of(&waits, "bob"))
}

fn shows(bed: &Bed, is: fn(usize, usize, usize) -> bool) -> Result<(), String> {
    let (ann, bob, waits) = picture(bed);
    holds_for(is(ann, bob, waits), format!("ann runs {ann}, bob {bob}, of whom {waits} wait"))
}

fn worker_of_eight() -> serde_json::Value {
    json!({"max_task_per_worker": 8, "task_prefetch": 0})
}

#[test]
fn users_share_the_slots_until_the_share_is_off() {
    let bed = Bed::with(worker_of_eight());
    submit_as(&bed, "ann", &["-n", "first", "-c", "0.1"], 2000);
    let _worker = bed.worker("w");
    wait_until("ann to have all slots", SOON, || shows(&bed, |ann, _, _| ann == 8));
    bed.ctl(&["share", "user", "--yes"]).expect(0);
    submit_as(&bed, "bob", &["-n", "second", "-c", "0.1"], 150);
    wait_until("bob to have half of them", SOON, || shows(&bed, |_, bob, _| bob >= 4));
    // A slot may be free between a task and the next.
    for _ in 0..40 {
        let (ann, bob, waits) = picture(&bed);
        if waits == 0 {
            break;
        }
        assert!(ann <= 5 && bob <= 5, "ann has {ann}, bob {bob}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let screen = bed.status(&[]).expect(0).stdout;
    assert!(screen.contains("fair share by user") && screen.contains("bob 0."), "{screen}");
    // Priority comes before any share: ann's few urgent tasks take what comes free, though she uses more.
    submit_as(&bed, "ann", &["-n", "urgent", "-c", "0.1", "-p", "9"], 16);
    wait_until("the urgent to be done", SOON, || {
        let urgent = bed.status(&["batch", "urgent", "--json"]).expect(0).json();
        holds_for(urgent["done"] == 16 || urgent["state"] == "finished", urgent)
    });
    bed.ctl(&["share", "off", "--yes"]).expect(0);
    wait_until("the order of submission", SOON, || shows(&bed, |ann, _, waits| ann == 8 && waits > 0));
    assert_eq!(bed.table("distcomp:ready:using").len(), 0);
}

#[test]
fn a_weight_and_batches_as_owners() {
    let bed = Bed::with(worker_of_eight());
    bed.ctl(&["share", "batch", "--weight", "big=3", "--yes"]).expect(0);
    let says = bed.ctl(&["share"]).expect(0).stdout;
    assert!(says.contains("fair share by batch") && says.contains("big 0 (weight 3)"), "{says}");
    for batch in ["small", "big"] {
        submit_as(&bed, batch, &["-n", batch, "-c", "0.1"], 300);
    }
    let _worker = bed.worker("w");
    let using = || {
        let table = bed.table("distcomp:ready:using");
        let of = |batch: &str| table.get(batch).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        (of("big"), of("small"))
    };
    wait_until("six of one and two of the other", SOON, || holds_for(using() == (600, 200), format!("{:?}", using())));
    for (word, expected) in [("ann", "OWNER=N"), ("ann=0", "above 0"), ("ann=x", "valid")] {
        let refused = bed.ctl(&["share", "--weight", word, "--yes"]).expect(2);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
}
