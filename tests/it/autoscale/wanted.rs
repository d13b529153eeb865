//! What counts: tasks that may run now, and could on such a worker.
use std::time::Duration;

use serde_json::{Value, json};

use super::stand_in::StandIn;
use super::{add_tasks, small};
use crate::support::{Bed, Dashboard, SOON, holds_for, wait_until};

fn once(bed: &Bed, pbs: &StandIn, flags: &[&'static str]) -> Value {
    pbs.run(bed, &small(&[&["--once", "--json"], flags].concat())).expect(0).json()
}

/// Has the index of a queue made: only a worker does.
fn index(bed: &Bed) {
    bed.burst("indexer");
}

#[test]
fn once_says_what_it_would_do_and_does_nothing() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    let plan = pbs.run(&bed, &small(&["--once"])).expect(0).stdout;
    assert!(plan.contains("would start 0 workers: no waiting task wants another worker"), "{plan}");
    add_tasks(&bed, 5, "true");
    let plan = pbs.run(&bed, &small(&["--once"])).expect(0).stdout;
    for text in [
        "autoscaler pbs (pbs), workers of cpus=1,mem=0.1,time=3600",
        "5 tasks for new workers",
        "would start 1 worker: 5 more workers wanted, and 1 allocation pending at once (--backlog)",
        "would run: qsub -N distcomp-pbs",
        "--name \"pbs-${PBS_JOBID%%.*}\"",
        "--idle-timeout 1",
    ] {
        assert!(plan.contains(text), "{text}: {plan}");
    }
    let dry = pbs.run(&bed, &small(&["--dry-run"])).expect(0).stdout;
    assert_eq!(dry, plan);
    let plan = once(&bed, &pbs, &["--backlog", "9", "--max-workers", "4"]);
    assert_eq!(
        (&plan["would_start"], &plan["additional"], &plan["runnable"]),
        (&json!(4), &json!(5), &json!(5)),
        "{plan}"
    );
    assert!(pbs.submissions().is_empty() && bed.table("distcomp:autoscale").is_empty());
    pbs.set("hang", "");
    let plan = pbs.run(&bed, &small(&["--once", "--provider-timeout", "1s"])).expect(1).stdout;
    assert!(
        plan.contains("would start 0 workers: pbs does not say what there is: qstat did not answer within 1 s"),
        "{plan}"
    );
}

#[test]
fn tasks_that_may_not_run_ask_for_no_worker() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    let submit = |args: &[&str]| bed.submit(args, "").expect(0);
    let plan = |flags| once(&bed, &pbs, flags);
    // Each of these waits, and a worker would find nothing to do.
    submit(&["-n", "late", "--after", "early", "-c", "1", "--", "true"]);
    submit(&["-c", "2", "--", "echo too many cores"]);
    submit(&["-m", "1", "--", "echo too much memory"]);
    submit(&["-G", "1", "--", "echo no such device"]);
    submit(&["-C", "nvme", "--", "echo no such label"]);
    submit(&["--time-request", "2h", "--", "echo too long"]);
    submit(&["-L", "none=0", "--", "echo over a limit"]);
    submit(&["-b", "+1h", "--", "echo not yet"]);
    submit(&["-n", "held", "--", "echo held"]);
    bed.ctl(&["pause", "held", "--yes"]).expect(0);
    let nothing = plan(&[]);
    assert_eq!((&nothing["additional"], &nothing["would_start"]), (&json!(0), &json!(0)), "{nothing}");
    assert_eq!(
        (&nothing["unfit"], &nothing["too_long"], &nothing["limited"]),
        (&json!(5), &json!(1), &json!(1)),
        "{nothing}"
    );
    // With what they need, they do.
    assert_eq!(plan(&["--label", "nvme"])["additional"], 1);
    assert_eq!(plan(&["--resource", "gpus=1"])["additional"], 1);
    bed.ctl(&["limit", "none", "1", "--yes"]).expect(0);
    assert_eq!(plan(&[])["additional"], 1);
    bed.ctl(&["resume", "held", "--yes"]).expect(0);
    assert_eq!(plan(&[])["runnable"], 2);
    bed.ctl(&["pause", "--yes"]).expect(0);
    assert_eq!(plan(&["--min-workers", "1"])["would_start"], 0, "the queue is paused");
    bed.ctl(&["resume", "--yes"]).expect(0);
    assert_eq!(plan(&["--min-workers", "1"])["would_start"], 1);
}

#[test]
fn tasks_of_other_programs_get_a_worker_that_sorts_them() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    add_tasks(&bed, 1, "true");
    index(&bed);
    bed.hset("todo_tasks", "shell:0:1:0:echo foreign", "");
    let plan = once(&bed, &pbs, &[]);
    assert_eq!((&plan["would_start"], &plan["runnable"]), (&json!(1), &json!(0)), "{plan}");
    assert!(plan["why"].as_str().expect("a reason").contains("only a worker can sort or take over"), "{plan}");
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(once(&bed, &pbs, &[])["would_start"], 0);
}

/// Time that Redis spends on a command, in microseconds.
fn redis_time(bed: &Bed, act: impl Fn()) -> u64 {
    let least = (0..5).map(|_| {
        redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut bed.redis.con()).expect("RESETSTAT");
        act();
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut bed.redis.con()).expect("INFO");
        let times = stats.lines().filter_map(|line| line.split("usec=").nth(1)?.split(',').next()?.parse::<u64>().ok());
        times.sum()
    });
    least.min().expect("five looks")
}

#[test]
fn a_thousand_lanes_cost_about_an_overview_more() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    bed.add((0..1000).map(|at| format!("shell:{}:1:0:true", 1 + at)));
    let overview = redis_time(&bed, || drop(bed.status(&["--json"]).expect(0)));
    // It reads an overview, too.
    let wanted = redis_time(&bed, || drop(once(&bed, &pbs, &[])));
    println!("an overview of 1,000 lanes takes {overview} us of Redis, and what is wanted {wanted} us");
    assert!(wanted <= 3 * overview, "an overview takes {overview} us, both {wanted} us");
    assert_eq!(once(&bed, &pbs, &[])["unfit"], 1000);
}

#[test]
fn api_and_metrics_say_how_many_are_wanted() {
    let bed = Bed::new();
    let site = Dashboard::with(&bed, &["--shape", "cpus=4&mem=16"], &[]);
    let ask = |query: &str| site.get(&format!("/api/v1/wanted?{query}"), &[]);
    add_tasks(&bed, 10, "true");
    bed.submit(&["-G", "1", "-c", "1", "--", "echo gpu"], "").expect(0);
    let answer = |query: &str| -> Value { serde_json::from_str(&ask(query).body).expect("JSON") };
    wait_until("the tasks to be seen", Duration::from_secs(10), || {
        let found = answer("cpus=4&mem=16");
        holds_for(found == json!({"wanted": 3, "additional": 3, "runnable": 10}), found)
    });
    assert_eq!(answer("cpus=1&mem=1"), json!({"wanted": 10, "additional": 10, "runnable": 10}));
    assert_eq!(answer("cpus=4&mem=16&slots=1")["wanted"], 10);
    assert_eq!(
        answer("cpus=4&mem=16&resource=gpus=1&time=1h&label=ssd"),
        json!({"wanted": 3, "additional": 3, "runnable": 11})
    );
    let refused = ask("cpus=x&gpus=1");
    assert_eq!(refused.status, 400);
    for text in ["cpus is \\\"x\\\"", "\\\"gpus\\\" is no part of a shape", "mem is missing"] {
        assert!(refused.body.contains(text), "{text}: {}", refused.body);
    }
    wait_until("the metrics to say so", SOON, || {
        let page = site.get("/metrics", &[]).body;
        let lines = [
            "distcomp_queue_wanted_workers{shape=\"cpus=4,mem=16\"} 3",
            "distcomp_queue_runnable_tasks 11",
            "distcomp_queue_runnable_cores 11",
            "distcomp_queue_runnable_resource{resource=\"gpus\"} 1",
        ];
        holds_for(lines.iter().all(|line| page.contains(line)), page)
    });
}
