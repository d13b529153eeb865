//! Workers come as the waiting tasks want them, and go by themselves; a provider that hangs, refuses or loses jobs, and an autoscaler that is killed, lose nothing
//! and never start too many. Slurm itself is in `tests/slurm.sh`.
mod command;
mod failing;
mod ssh;
mod stand_in;
mod wanted;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use self::stand_in::StandIn;
use crate::support::{Bed, SOON, Started, holds_for, stays, wait_until};

/// Long enough for some workers to start, run tasks and end.
const WHILE: Duration = Duration::from_secs(60);

/// A shape that every test machine has room for.
const SMALL: [&str; 4] = ["--cpus", "1", "--mem", "0.1"];

fn small(flags: &[&'static str]) -> Vec<&'static str> {
    SMALL.iter().chain(flags).copied().collect()
}

/// Tasks of one core each.
fn add_tasks(bed: &Bed, count: usize, command: &str) {
    bed.add((0..count).map(|at| format!("shell:0:1:0:{command} # {at}")));
}

/// The record of the only autoscaler.
fn record(bed: &Bed, name: &str) -> Value {
    bed.table("distcomp:autoscale").get(name).map_or(Value::Null, |json| serde_json::from_str(json).expect("JSON"))
}

fn end(scaler: Started, code: i32) -> String {
    scaler.signal(Signal::SIGTERM);
    scaler.finish().expect(code).stderr
}

#[test]
fn workers_come_with_the_tasks_and_go_without_them() {
    for format in ["json", "text"] {
        let bed = Bed::new();
        let pbs = StandIn::new(&bed);
        pbs.set(format, "");
        let scaler = pbs.begin(&bed, &small(&["--max-workers", "2", "--", "-q", "work"]));
        add_tasks(&bed, 12, "sleep 0.3");
        let mut most = 0;
        wait_until("all tasks to finish, and all jobs to end", WHILE, || {
            let states = pbs.states();
            most = most.max(states.iter().filter(|state| *state != "F").count());
            let is_over = bed.count("finished_tasks") == 12 && states.iter().all(|state| state == "F");
            holds_for(is_over, format!("{states:?} {:?}\n{}", bed.counts(), pbs.logs()))
        });
        assert!(most == 1 || most == 2, "{most} jobs at once");
        let asked = pbs.submissions();
        assert!(
            asked[0]
                .starts_with("-N distcomp-pbs -l walltime=01:00:00 -j oe -r n -l select=1:ncpus=1:mem=103mb -q work"),
            "{asked:?}"
        );
        stays("nothing is asked for afterwards", Duration::from_secs(4), || {
            holds_for(pbs.submissions().len() == asked.len(), format!("{:?}", pbs.submissions()))
        });
        let said = end(scaler, 0);
        assert!(said.contains("started pbs 1: ") && said.contains("pbs 1 attached: worker pbs-1"), "{said}");
        assert_eq!(
            (record(&bed, "pbs")["is_stopped"].clone(), record(&bed, "pbs")["failures"].clone()),
            (json!(true), json!(0))
        );
    }
}

#[test]
fn restart_with_a_pending_allocation_starts_no_other() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    pbs.set("hold", "");
    add_tasks(&bed, 1, "true");
    let first = pbs.begin(&bed, &small(&["--max-workers", "3", "--backlog", "3"]));
    wait_until("a job", SOON, || holds_for(pbs.states() == ["Q"], format!("{:?}", pbs.states())));
    first.signal(Signal::SIGKILL);
    let gone = first.finish();
    assert_eq!(gone.code, None, "{gone}");
    let second = pbs.begin(&bed, &small(&["--max-workers", "3", "--backlog", "3"]));
    wait_until("the second to have the lock", SOON, || {
        let holder = record(&bed, "pbs")["holder"].clone();
        let is_second = holder.as_str().is_some_and(|holder| holder.ends_with(&format!(":{}", second.pid())));
        holds_for(is_second && record(&bed, "pbs")["pending"] == 1, record(&bed, "pbs"))
    });
    stays("no other job is asked for", Duration::from_secs(3), || {
        holds_for(pbs.states() == ["Q"], format!("{:?}", pbs.states()))
    });
    pbs.unset("hold");
    pbs.start(&bed, 1);
    wait_until("the task to be done by it", WHILE, || {
        holds_for(bed.count("finished_tasks") == 1, format!("{:?}\n{}", bed.counts(), pbs.logs()))
    });
    end(second, 0);
}

#[test]
fn term_leaves_allocations_alone_and_cancel_on_exit_does_not() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    pbs.set("hold", "");
    add_tasks(&bed, 5, "true");
    let first = pbs.begin(&bed, &small(&["--backlog", "2"]));
    wait_until("two jobs", SOON, || holds_for(record(&bed, "pbs")["pending"] == 2, record(&bed, "pbs")));
    let said = end(first, 0);
    assert!(said.contains("2 allocations of autoscaler pbs go on by themselves"), "{said}");
    assert_eq!(pbs.states(), ["Q", "Q"]);
    let second = pbs.begin(&bed, &small(&["--backlog", "2", "--cancel-on-exit"]));
    wait_until("it to know both", SOON, || {
        let record = record(&bed, "pbs");
        holds_for(record["pending"] == 2 && record["is_stopped"] == false, record)
    });
    let said = end(second, 0);
    assert!(said.contains("pbs 1 cancelled") && said.contains("pbs 2 cancelled"), "{said}");
    assert_eq!(pbs.states(), ["F", "F"]);
}

#[test]
fn one_autoscaler_of_a_name_runs_at_a_time() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    let first = pbs.begin(&bed, &SMALL);
    wait_until("the first", SOON, || holds_for(record(&bed, "pbs")["at"] != Value::Null, record(&bed, "pbs")));
    let holder = record(&bed, "pbs")["holder"].as_str().expect("a holder").to_owned();
    pbs.run(&bed, &SMALL).expect(2).says(&["an autoscaler named pbs runs already", &holder, "--name"]);
    let other = pbs.begin(&bed, &small(&["--name", "other"]));
    wait_until("one of another name", SOON, || {
        holds_for(record(&bed, "other")["at"] != Value::Null, record(&bed, "other"))
    });
    end(other, 0);
    // Taken away by hand: it must not go on beside another.
    redis::cmd("SET").arg("distcomp:autoscale:lock:pbs").arg("elsewhere:1").exec(&mut bed.redis.con()).expect("SET");
    first.finish().expect(2).says(&["the lock of autoscaler pbs was lost"]);
}

#[test]
fn lost_job_is_taken_over_by_another() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 2}));
    let pbs = StandIn::new(&bed);
    let scaler = pbs.begin(&bed, &small(&["--max-workers", "1"]));
    let go = bed.out("go");
    bed.add([format!("shell:0:1:0:while [ ! -e {go} ]; do sleep 0.1; done")]);
    wait_until("it to run", WHILE, || holds_for(bed.count("in_progress_tasks") == 1, pbs.logs()));
    wait_until("its worker to be known", SOON, || holds_for(record(&bed, "pbs")["workers"] == 1, record(&bed, "pbs")));
    // It takes longer to find out that its worker is dead than a worker stays without work.
    pbs.kill(1);
    std::fs::write(&go, "").expect("a file");
    wait_until("another worker to run it", WHILE, || {
        holds_for(bed.count("finished_tasks") == 1, format!("{:?} {:?}\n{}", bed.counts(), pbs.states(), pbs.logs()))
    });
    assert_eq!(pbs.states().len(), 2, "one for one");
    end(scaler, 0);
}

#[test]
fn clock_of_the_submit_node_does_not_matter() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    let clock = crate::support::Clock::new();
    clock.set(-40 * 86_400);
    let mut cli = pbs.cli(&bed, &small(&["--max-workers", "2"]));
    for (name, value) in clock.environment() {
        cli = cli.env(name, value);
    }
    let scaler = cli.limit(Duration::from_secs(180)).start();
    add_tasks(&bed, 4, "true");
    let state = || format!("{:?} {:?}\n{}", bed.counts(), pbs.states(), pbs.logs());
    wait_until("the tasks to finish", WHILE, || holds_for(bed.count("finished_tasks") == 4, state()));
    clock.set(40 * 86_400);
    wait_until("the jobs to end", WHILE, || holds_for(pbs.states().iter().all(|state| state == "F"), state()));
    bed.add(["shell:0:1:0:echo again"]);
    wait_until("one more to finish", WHILE, || holds_for(bed.count("finished_tasks") == 5, state()));
    assert_eq!(record(&bed, "pbs")["failures"], 0, "{}", state());
    let (now, _): (u64, u64) = redis::cmd("TIME").query(&mut bed.redis.con()).expect("TIME");
    let at = record(&bed, "pbs")["at"].as_u64().expect("a time");
    assert!(now.abs_diff(at) < 60, "{at} is not about {now}");
    end(scaler, 0);
}
