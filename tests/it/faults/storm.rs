//! Many deaths: every task comes to its end, and no copy of a task runs beside its orphan.
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;

use super::{Dice, all_ran, bed, counted, watch};
use crate::support::{Worker, lines_of};

const TASKS: usize = 600;

#[rstest]
#[case::one_slot(1, 0.2, 1, 0.05)]
#[case::four_slots(4, 0.2, 1, 0.1)]
#[case::many_slots_and_a_slow_heartbeat(32, 1.0, 4, 0.8)]
fn six_hundred_tasks_finish_under_a_storm_of_worker_kills(
    #[case] slots: usize,
    #[case] heartbeat: f64,
    #[case] dead_after: u32,
    #[case] nap: f64,
) {
    let bed = bed(json!({
        "max_task_per_worker": slots,
        "health_report_interval": heartbeat,
        "worker_dead_after_seconds": dead_after,
    }));
    let (out, twice) = (bed.out("runs"), bed.out("twice"));
    let locks = bed.out("locks");
    std::fs::create_dir(&locks).expect("a directory");
    // A task locks its number while it runs; the lock dies with it. A second copy beside it finds the lock taken.
    let lines: Vec<String> = counted(&out, 0..TASKS, &format!("sleep {nap};"))
        .into_iter()
        .enumerate()
        .map(|(at, line)| {
            let command = line.strip_prefix("shell:0:0:1:").expect("its fields");
            format!("shell:0:0:1:exec 9>{locks}/{at}; flock -n 9 || echo {at} >> {twice}; {command}")
        })
        .collect();
    bed.add(&lines);
    let checker = watch(&bed, &lines);
    let mut dice = Dice::new(7);
    let start = |at: usize| bed.worker(["a", "b", "c"][at]);
    let mut workers: Vec<Worker> = (0..3).map(start).collect();
    let mut kills = 0;
    let end = Instant::now() + Duration::from_secs(60);
    while bed.count("finished_tasks") < TASKS * 9 / 10 && Instant::now() < end {
        thread::sleep(Duration::from_millis(100 + dice.roll(300) as u64));
        let at = dice.roll(3);
        if dice.roll(4) == 0 {
            workers[at].kill9_with_keepers();
        } else {
            workers[at].kill9();
        }
        kills += 1;
        workers[at] = start(at);
    }
    let repeats = all_ran(&bed, &out, TASKS, Duration::from_secs(40));
    assert!(kills >= 5, "{kills} kills");
    assert!(repeats <= kills * 2 * slots, "{repeats} repeats after {kills} kills");
    assert_eq!(lines_of(&twice), Vec::<String>::new(), "ran beside their own copy");
    checker.finish();
}
