//! A worker that died stays visible, and a fleet of which nobody lives is told from one at work.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Dashboard, SOON, Worker, holds_for, wait_until};

/// A worker that has begun one long task.
fn with_a_task(bed: &Bed, name: &str, line: &str) -> Worker {
    let worker = bed.worker(name);
    bed.add([line]);
    assert_eq!(bed.wait_running(line), name);
    let claim = || bed.table(&format!("distcomp:claims:{name}")).remove(line).unwrap_or_default();
    wait_until("the start to be told", SOON, || holds_for(claim().split('|').nth(2) == Some("1"), claim()));
    worker
}

fn workers(bed: &Bed) -> Vec<Value> {
    bed.status(&["workers", "--json"]).expect(0).json_lines()
}

fn metric(site: &Dashboard, line: &str) -> Option<f64> {
    let page = site.get("/metrics", &[]).body;
    page.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn dead_worker_is_listed_first_until_its_name_is_back() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1.5, "max_lost_per_task": 3}));
    let mut dead = with_a_task(&bed, "z-died", "shell:0:0:9:sleep 3623; echo 1");
    let site = Dashboard::start(&bed);
    assert_eq!(metric(&site, "distcomp_queue_workers_died_total"), Some(0.0));
    let _alive = bed.worker("a-lives");
    bed.wait_alive("a-lives");
    dead.kill9();
    wait_until("it to be deregistered", SOON, || {
        let owners = bed.table("distcomp:owner");
        holds_for(!owners.contains_key("z-died"), format!("{owners:?}"))
    });
    let first = workers(&bed).remove(0);
    assert_eq!((&first["name"], &first["state"]), (&json!("z-died"), &json!("dead")), "{first}");
    assert_eq!((&first["died"]["returned"], &first["died"]["failed"]), (&json!(1), &json!(0)), "{first}");
    assert!(first["heartbeat_age_seconds"].is_u64() && first["died"]["at"].is_u64(), "{first}");
    for args in [&[][..], &["workers"]] {
        let said = bed.status(args).expect(0).prints(&["z-died died at ", "1 task given back", "reclaim --forget"]);
        let row = |name: &str, state: &str| {
            let text = said.all();
            text.lines().position(|line| line.split_whitespace().take(2).eq([name, state]))
        };
        let (dead, alive) = (row("z-died", "dead"), row("a-lives", "live"));
        assert!(dead < alive && dead.is_some(), "{said}");
    }
    wait_until("the page to name it", SOON, || {
        let pages = site.get("/", &[]).body + &site.get("/workers", &[]).body;
        let is_there = pages.matches("<span class=\"state dead\">dead</span>").count() == 2;
        holds_for(is_there && pages.contains("z-died died at "), pages)
    });
    assert_eq!(metric(&site, "distcomp_queue_workers_died_total"), Some(1.0));
    assert_eq!(metric(&site, "distcomp_queue_workers{state=\"dead\"}"), Some(1.0));
    assert_eq!(metric(&site, "distcomp_queue_worker_slots{worker=\"z-died\"}"), None);
    bed.ctl(&["reclaim", "--dry-run"]).expect(0).prints(&["nothing to reclaim"]);
    let _again = bed.worker("z-died");
    bed.wait_alive("z-died");
    assert!(bed.table("distcomp:died").is_empty());
    assert!(workers(&bed).iter().all(|worker| worker["state"] == "live"), "{:?}", workers(&bed));
    assert_eq!(metric(&site, "distcomp_queue_workers_died_total"), Some(1.0), "it counts deaths");
}

#[test]
fn death_is_forgotten_by_order_and_after_a_day() {
    let bed = Bed::new();
    let mut con = bed.redis.con();
    let (now, _): (u64, u64) = ::redis::cmd("TIME").query(&mut con).expect("TIME");
    bed.hset("distcomp:died", "new", format!("{}|{}|7|1", now - 60, now - 80));
    bed.hset("distcomp:died", "old", format!("{}|{}|7|1", now - 86_401, now - 86_420));
    bed.hset("distcomp:died", "broken", "x");
    let names: Vec<Value> = workers(&bed).into_iter().map(|worker| worker["name"].clone()).collect();
    assert_eq!(names, [json!("new")]);
    bed.status(&["workers"]).expect(0).prints(&["7 tasks given back, 1 failed"]);
    bed.ctl(&["reclaim", "--forget", "nobody"]).expect(2).says(&["nobody", "those are: new"]);
    bed.ctl(&["reclaim", "--forget", "new", "--dry-run"]).expect(0).prints(&["would remove"]);
    assert_eq!(workers(&bed).len(), 1);
    bed.ctl(&["reclaim", "--forget", "new"]).expect(0).prints(&["removed the record of new"]);
    assert_eq!(workers(&bed), Vec::<Value>::new());
    bed.ctl(&["reclaim", "--forget"]).expect(2);
}

#[test]
fn records_of_deaths_are_bounded() {
    let bed = Bed::new();
    let mut con = bed.redis.con();
    let (now, _): (u64, u64) = ::redis::cmd("TIME").query(&mut con).expect("TIME");
    let mut pipe = ::redis::pipe();
    for n in 0..1200_u64 {
        pipe.hset("distcomp:died", format!("w{n:04}"), format!("{}|0|0|0", now - 2000 + n));
    }
    pipe.hset("distcomp:died", "old", format!("{}|0|0|0", now - 90_000));
    pipe.exec(&mut con).expect("records");
    // One more dies, and an operator takes over from it.
    let mut dead = with_a_task(&bed, "dead", "shell:0:0:9:sleep 3623");
    dead.kill9();
    bed.ctl(&["reclaim", "dead", "--force", "--yes"]).expect(0);
    let left = bed.table("distcomp:died");
    assert_eq!(left.len(), 1000);
    assert!(left.contains_key("dead") && left.contains_key("w1199"), "the newest stay");
    assert!(!left.contains_key("old") && !left.contains_key("w0000"), "the oldest go");
    assert!(left["dead"].ends_with("|1|0"), "{}", left["dead"]);
}

#[test]
fn fleet_that_died_is_said_to_hold_its_tasks() {
    let bed = Bed::with(json!({"worker_dead_after_seconds": 1.5}));
    let mut killed = with_a_task(&bed, "n1", "shell:0:0:9:sleep 3623");
    let site = Dashboard::start(&bed);
    wait_until("its slots to be there", SOON, || {
        let slots = metric(&site, "distcomp_queue_worker_slots{worker=\"n1\"}");
        holds_for(slots.is_some(), format!("{slots:?}"))
    });
    killed.kill9();
    // Nobody declares it dead: who reads finds that out.
    let wanted = "no worker is alive (1 silent since ";
    wait_until("the overview to say so", Duration::from_secs(30), || {
        let said = bed.status(&[]).expect(0).all();
        holds_for(said.contains(wanted) && said.contains("1 task is held by them"), said)
    });
    let row = workers(&bed).remove(0);
    assert_eq!(row["state"], "dead", "{row}");
    assert!(bed.table("distcomp:owner")["n1"].ends_with(":1") && row["died"].is_null(), "nobody has declared it");
    bed.status(&["workers"]).expect(0).prints(&[wanted]);
    wait_until("the page to say so", SOON, || {
        let page = site.get("/", &[]).body;
        holds_for(page.contains(wanted) && page.contains("held by workers that are silent"), page)
    });
    // Nothing is said to go on: no time left, no sum of nobody's cores.
    let line = "shell:0:0:9:sleep 3623";
    let list = site.get("/tasks?state=in_progress", &[]).body;
    assert!(list.contains("worker dead since <time") && !list.contains("no limit</td>"), "{list}");
    let page = site.get(&format!("/task/{}", crate::support::task_id(line)), &[]).body;
    assert!(page.contains("<dt>Worker dead since</dt>") && !page.contains("<dt>Time left</dt>"), "{page}");
    let all = site.get("/workers", &[]).body;
    assert!(!all.contains("-0.0") && all.contains("data-total=\"running\">-</td>"), "{all}");
    bed.status(&["show", line]).expect(0).prints(&["n1, dead since "]);
    let names = ["slots", "running_tasks", "cores_used", "memory_used_bytes"];
    for name in names {
        assert_eq!(metric(&site, &format!("distcomp_queue_worker_{name}{{worker=\"n1\"}}")), None, "{name}");
    }
    assert!(metric(&site, "distcomp_queue_worker_heartbeat_age_seconds{worker=\"n1\"}").is_some());
    let _heir = bed.worker("n2");
    bed.wait_running("shell:0:0:9:sleep 3623");
    wait_until("the alarm to end", SOON, || {
        let said = bed.status(&[]).expect(0).all();
        holds_for(!said.contains("no worker is alive"), said)
    });
}
