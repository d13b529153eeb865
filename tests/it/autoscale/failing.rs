//! A provider that refuses, hangs, or loses what it has accepted.
use std::time::Duration;

use serde_json::Value;

use super::stand_in::StandIn;
use super::{WHILE, add_tasks, end, record, small};
use crate::support::{Bed, Dashboard, SOON, holds_for, stays, wait_until};

#[test]
fn ten_refused_starts_pause_it_until_somebody_acts() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    pbs.set("refuse", "qsub: Job rejected by all possible destinations\n");
    add_tasks(&bed, 3, "true");
    let scaler = pbs.begin(&bed, &small(&[]));
    wait_until("it to pause", WHILE, || holds_for(record(&bed, "pbs")["paused"] != Value::Null, record(&bed, "pbs")));
    assert_eq!(pbs.submissions().len(), 10);
    stays("it asks for nothing", Duration::from_secs(3), || {
        holds_for(pbs.submissions().len() == 10, pbs.submissions().len().to_string())
    });
    let seen = bed.status(&[]).expect(0).stdout;
    assert!(seen.contains("autoscaler pbs is paused: 10 starts in a row were refused"), "{seen}");
    let events = bed.status(&["events"]).expect(0).stdout;
    assert!(events.contains("autoscale_paused"), "{events}");
    let site = Dashboard::start(&bed);
    wait_until("the metrics to say so", SOON, || {
        let page = site.get("/metrics", &[]).body;
        let lines = [
            "distcomp_autoscale_paused{autoscaler=\"pbs\"} 1",
            "distcomp_autoscale_failures_total{autoscaler=\"pbs\"} 10",
        ];
        holds_for(lines.iter().all(|line| page.contains(line)), page)
    });
    let plan = pbs.run(&bed, &small(&["--once"])).expect(0).stdout;
    assert!(plan.contains("and is paused: 10 starts in a row were refused"), "{plan}");
    pbs.unset("refuse");
    scaler.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the tasks to be done", WHILE, || {
        holds_for(bed.count("finished_tasks") == 3, format!("{:?}\n{}", bed.counts(), pbs.logs()))
    });
    let events = bed.status(&["events"]).expect(0).stdout;
    assert!(events.contains("autoscale_resumed"), "{events}");
    let said = end(scaler, 0);
    for text in
        ["Job rejected by all possible destinations", "autoscaler pbs is PAUSED", "SIGHUP", "autoscaler pbs goes on"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
}

#[test]
fn three_jobs_without_a_worker_pause_it() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    add_tasks(&bed, 3, "true");
    let scaler = pbs.begin(&bed, &small(&["--backlog", "3", "--worker-program", "/bin/false"]));
    wait_until("it to pause", WHILE, || holds_for(record(&bed, "pbs")["paused"] != Value::Null, record(&bed, "pbs")));
    stays("no more than three, and what was on its way", Duration::from_secs(3), || {
        holds_for((3..=5).contains(&pbs.states().len()), format!("{:?}", pbs.states()))
    });
    let said = end(scaler, 1);
    assert!(said.contains("failed: it ended before its worker attached") && said.contains("PAUSED"), "{said}");
}

#[test]
fn job_whose_worker_does_not_attach_is_cancelled() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    let sleeper = bed.file("sleeper", "#!/bin/sh\nexec sleep 600\n");
    std::fs::set_permissions(&sleeper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    add_tasks(&bed, 1, "true");
    let flags = small(&["--start-timeout", "2s", "--max-workers", "1"]);
    let flags: Vec<&str> = flags.into_iter().chain(["--worker-program", &sleeper]).collect();
    let scaler = pbs.begin(&bed, &flags);
    wait_until("it to pause after three", WHILE, || {
        holds_for(record(&bed, "pbs")["paused"] != Value::Null, record(&bed, "pbs"))
    });
    assert_eq!(pbs.states(), ["F", "F", "F"], "one after another, each cancelled");
    let said = end(scaler, 1);
    assert!(said.contains("its worker did not attach within 2 s; it is cancelled"), "{said}");
}

#[test]
fn provider_that_hangs_is_killed_and_the_loop_goes_on() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    pbs.set("hang", "");
    add_tasks(&bed, 2, "true");
    let scaler = pbs.begin(&bed, &small(&["--provider-timeout", "4s"]));
    wait_until("the trouble to be shown", WHILE, || {
        let seen = bed.status(&[]).expect(0).stdout;
        holds_for(
            seen.contains("autoscaler pbs: cannot list the workers of pbs: qstat did not answer within 4 s"),
            seen,
        )
    });
    // It lives meanwhile: its lock of three seconds would have expired.
    let at = record(&bed, "pbs")["at"].as_u64();
    wait_until("its record to be renewed", SOON, || {
        holds_for(record(&bed, "pbs")["at"].as_u64() > at, record(&bed, "pbs"))
    });
    let lock: Option<String> =
        redis::cmd("GET").arg("distcomp:autoscale:lock:pbs").query(&mut bed.redis.con()).expect("GET");
    assert!(lock.is_some(), "the lock is held");
    assert_eq!(pbs.submissions().len(), 0, "nothing is started while nobody knows what there is");
    pbs.unset("hang");
    wait_until("the tasks to be done", WHILE, || {
        holds_for(bed.count("finished_tasks") == 2, format!("{:?}\n{}", bed.counts(), pbs.logs()))
    });
    end(scaler, 0);
}

#[test]
fn list_that_shows_nothing_does_not_lead_to_more_workers() {
    let bed = Bed::new();
    let pbs = StandIn::new(&bed);
    pbs.set("blind", "");
    pbs.set("hold", "");
    add_tasks(&bed, 50, "true");
    let scaler = pbs.begin(&bed, &small(&["--max-workers", "2", "--backlog", "9"]));
    wait_until("two jobs", SOON, || holds_for(pbs.states() == ["Q", "Q"], format!("{:?}", pbs.states())));
    stays("never a third", Duration::from_secs(5), || {
        holds_for(pbs.states() == ["Q", "Q"], format!("{:?}", pbs.states()))
    });
    end(scaler, 0);
}

#[test]
fn outage_of_redis_ends_nothing() {
    let mut bed = Bed::on(
        crate::support::Redis::start(crate::support::ServerOptions { durable: true, ..Default::default() }),
        serde_json::json!({}),
    );
    let pbs = StandIn::new(&bed);
    let scaler = pbs.begin(&bed, &small(&[]));
    wait_until("it to run", SOON, || holds_for(record(&bed, "pbs")["at"] != Value::Null, record(&bed, "pbs")));
    bed.redis.kill9();
    std::thread::sleep(Duration::from_secs(3));
    bed.redis.start_again();
    add_tasks(&bed, 2, "true");
    wait_until("the tasks to be done", WHILE, || {
        holds_for(bed.count("finished_tasks") == 2, format!("{:?}\n{}", bed.counts(), pbs.logs()))
    });
    let said = end(scaler, 0);
    assert!(said.contains("it goes on when Redis answers") && said.contains("answer again"), "{said}");
}
