//! Figures for Prometheus: of a worker, of the queue, and in the examples that use them.
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Bed, Dashboard, SOON, Worker, free_port, holds_for, request, wait_until};

fn get(at: &str, path: &str) -> Answer {
    request(at, "GET", path, &[("Host", at)], b"", SOON)
}

/// What Prometheus itself sends.
const OPEN_METRICS: (&str, &str) = (
    "Accept",
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
);

/// A worker with its pages at an address.
fn measured(bed: &Bed, name: &str) -> (Worker, String) {
    let at = format!("127.0.0.1:{}", free_port());
    let worker = bed.worker_with(name, json!({}), &["--metrics-listen", &at]);
    wait_until("the worker beats and answers", SOON, || {
        let answer = crate::support::try_request(&at, "GET", "/metrics", &[("Host", &at)], b"", SOON);
        let body = answer.map(|answer| answer.body).unwrap_or_else(|error| error.to_string());
        holds_for(body.contains("distcomp_worker_linked"), body)
    });
    (worker, at)
}

/// The value of the line that begins with these words.
#[track_caller]
fn value(page: &str, line: &str) -> f64 {
    let found = page.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no line {line}\n{page}"))
}

#[test]
fn a_worker_counts_what_it_does() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let (_worker, at) = measured(&bed, "n1");
    bed.add((0..5).map(|n| format!("shell:0.01:0.01:1:echo {n}")));
    bed.add(["shell:0.01:0.01:1:exit 3", "shell:0.01:0.01:1:kill -9 $$", "shell:0.01:0.01:1:1:sleep 3623"]);
    bed.hset("todo_tasks", "not a task", "");
    bed.wait_counts(SOON, [0, 0, 5, 4]);
    let page = get(&at, "/metrics").body;
    let outcome =
        |name: &str| value(&page, &format!("distcomp_worker_attempts_total{{worker=\"n1\",outcome=\"{name}\"}}"));
    assert_eq!(["finished", "exit", "signal", "timed_out", "memory"].map(outcome), [5.0, 1.0, 1.0, 1.0, 0.0], "{page}");
    assert_eq!(value(&page, "distcomp_worker_task_duration_seconds_count{worker=\"n1\"}"), 8.0);
    assert!(value(&page, "distcomp_worker_task_duration_seconds_sum{worker=\"n1\"}") >= 1.0, "one ran for a second");
    let claims = value(&page, "distcomp_worker_claims_total{worker=\"n1\"}");
    assert!(claims >= 1.0);
    assert_eq!(value(&page, "distcomp_worker_claim_duration_seconds_count{worker=\"n1\"}"), claims);
    assert!(value(&page, "distcomp_worker_claimed_tasks_total{worker=\"n1\"}") >= 8.0);
    assert!(
        value(&page, "distcomp_node_memory_bytes{worker=\"n1\"}") > 1e8
            && value(&page, "distcomp_node_cores{worker=\"n1\"}") > 0.0
    );
    assert!(!page.contains("sleep 3623") && !page.contains("not a task"), "nothing of a task is in it");
    assert_eq!(get(&at, "/healthz").status, 200);
    assert_eq!(get(&at, "/nothing").status, 404);
}

#[test]
fn worker_without_redis_is_alive_and_reports_the_outage() {
    let mut bed = Bed::new();
    let (_worker, at) = measured(&bed, "n1");
    assert_eq!(value(&get(&at, "/metrics").body, "distcomp_worker_linked{worker=\"n1\"}"), 1.0);
    bed.redis.kill9();
    let linked = |wanted: f64| {
        wait_until("the page tells", SOON, || {
            let page = get(&at, "/metrics").body;
            holds_for(value(&page, "distcomp_worker_linked{worker=\"n1\"}") == wanted, page)
        });
    };
    linked(0.0);
    assert_eq!(get(&at, "/healthz").status, 200, "an outage of Redis is no reason to start it anew");
    bed.redis.start_again();
    linked(1.0);
    assert!(value(&get(&at, "/metrics").body, "distcomp_worker_reconnects_total{worker=\"n1\"}") >= 1.0);
}

#[test]
fn a_worker_whose_main_loop_is_stuck_is_not_called_alive() {
    let bed = Bed::new();
    let at = format!("127.0.0.1:{}", free_port());
    let mut worker = bed.worker_with("n1", json!({}), &["--metrics-listen", &at]);
    let health = || crate::support::try_request(&at, "GET", "/healthz", &[("Host", &at)], b"", Duration::from_secs(30));
    // One that starts may take as long as Redis does: only of a main loop that has begun is it known that it is stuck.
    wait_until("it is at work", SOON, || match health() {
        Ok(answer) if answer.status == 200 && !answer.body.contains("starting") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Stuck for good: a tracer holds its first thread, and no other.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/hold_thread.py");
    let mut holder = std::process::Command::new("python3");
    holder.arg(script).arg(worker.pid().to_string()).stdout(Stdio::null());
    let holder = Ended(holder.spawn().expect("python3"));
    let last = wait_until("it is stuck", Duration::from_secs(60), || match health() {
        Ok(answer) if answer.status == 503 => Ok(answer),
        other => Err(format!("{other:?}")),
    });
    assert!(last.body.contains("main loop"), "{last:?}");
    drop(holder);
    worker.kill9();
}

/// A tracer, which must end before what it traces: it is the one to whom that one's end is told.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_oldest_that_waits_grows_older_until_it_runs() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    let age = || value(&site.get("/metrics", &[]).body, "distcomp_queue_oldest_waiting_seconds");
    assert_eq!(age(), 0.0);
    // The older one is behind the younger in the order of claiming.
    bed.add(["shell:0.01:0.01:1:echo older"]);
    wait_until("two seconds of waiting", SOON, || holds_for(age() >= 2.0, age()));
    bed.add(["shell:0.01:0.01:9:echo younger and first"]);
    assert!(age() >= 2.0, "a higher priority does not hide it");
    bed.burst("w");
    wait_until("nothing waits", SOON, || holds_for(age() == 0.0, age()));
}

#[test]
fn an_address_that_is_taken_is_said_at_once() {
    let bed = Bed::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("its address").to_string();
    bed.cli("distcomp-worker").args(["--metrics-listen", &at]).run().expect(2).says(&[&at]);
    bed.status(&["serve", "--listen", &at]).expect(2).says(&[&at]);
}

/// The names of all metrics on a page.
fn names(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned()).collect()
}

/// Every name of ours in a text.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("distcomp_") {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !text[..at].ends_with(is_word) {
            found.insert(text[at..].chars().take_while(|c| is_word(*c)).collect());
        }
    }
    found
}

#[test]
fn every_metric_that_the_examples_name_is_there() {
    let bed = Bed::new();
    let (_worker, at) = measured(&bed, "n1");
    bed.add(["shell:0.01:0.01:1:echo a"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    // A batch that stays.
    bed.cli("distcomp-submit").args(["-n", "b1", "--after", "b0", "--", "echo b"]).run().expect(0);
    bed.ctl(&["limit", "disk", "3", "--yes"]).expect(0);
    let site = Dashboard::start(&bed);
    let page = site.get("/metrics", &[]).body;
    assert_eq!(value(&page, "distcomp_queue_batch_tasks{batch=\"b1\",state=\"blocked\"}"), 1.0);
    let mut there = names(&get(&at, "/metrics").body);
    wait_until("the dashboard has read of the worker", SOON, || {
        let page = site.get("/metrics", &[]).body;
        let is_there = page.contains("distcomp_queue_worker_running_tasks{worker=\"n1\"}");
        there.extend(names(&page));
        holds_for(is_there, page)
    });
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/monitoring");
    let mut used = BTreeSet::new();
    for entry in fs::read_dir(&example).expect("example/monitoring") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        if path.extension().is_some_and(|end| end == "json") {
            assert!(serde_json::from_str::<Value>(&text).is_ok_and(|dashboard| dashboard["panels"].is_array()));
        }
        used.extend(named(&text));
    }
    assert!(used.len() > 15, "{used:?}");
    let missing: Vec<_> = used.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?} are named and are not among {there:#?}");
    assert!(!named("distcomp_no_such_thing").is_subset(&there), "this test can fail");
}

#[test]
fn queue_tells_kinds_retries_times_and_memory() {
    let bed = Bed::with(json!({"max_retry_per_task": 2, "retry_backoff_seconds": 0}));
    bed.add((0..3).map(|n| format!("shell:0.5:0.01:1:sleep 0.6; echo {n}")));
    bed.add(["shell:0:0.01:1:exit 3"]);
    bed.burst("w");
    let site = Dashboard::start(&bed);
    let page = site.get("/metrics", &[]).body;
    assert_eq!(value(&page, "distcomp_queue_failed_tasks{kind=\"exit 3\"}"), 1.0);
    assert_eq!(value(&page, "distcomp_queue_failed_tasks{kind=\"other\"}"), 0.0);
    assert_eq!(value(&page, "distcomp_queue_retries_total"), 1.0);
    assert_eq!(value(&page, "distcomp_queue_failures_total"), 1.0);
    assert_eq!(value(&page, "distcomp_queue_task_duration_seconds_count"), 5.0, "each attempt");
    assert!(value(&page, "distcomp_queue_task_duration_seconds_sum") >= 1.8, "{page}");
    assert_eq!(value(&page, "distcomp_queue_task_duration_seconds_bucket{le=\"0.5\"}"), 2.0, "{page}");
    assert_eq!(value(&page, "distcomp_queue_task_wait_seconds_count"), 4.0, "each task once");
    let measured = value(&page, "distcomp_queue_task_memory_ratio_count");
    assert!((1.0..=3.0).contains(&measured), "of those that declare memory: {page}");
    assert_eq!(value(&page, "distcomp_queue_task_memory_ratio_bucket{le=\"0.5\"}"), measured, "{page}");
    assert!(value(&page, "process_resident_memory_bytes") > 1e6 && value(&page, "process_open_fds") > 3.0);
    // It is of the queue, and not of the process that tells it.
    drop(site);
    let again = Dashboard::start(&bed).get("/metrics", &[]).body;
    assert_eq!(value(&again, "distcomp_queue_task_wait_seconds_count"), 4.0);
}

#[test]
fn names_follow_the_conventions() {
    let bed = Bed::new();
    let (_worker, at) = measured(&bed, "n1");
    let site = Dashboard::start(&bed);
    let scraped = request(&at, "GET", "/metrics", &[("Host", &at), OPEN_METRICS], b"", SOON);
    for page in [scraped, site.get("/metrics", &[OPEN_METRICS])] {
        assert!(
            page.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")),
            "{page:?}"
        );
        assert!(page.body.ends_with("# EOF\n"), "{page:?}");
        for line in page.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            let is_ours = name.starts_with("distcomp_") || name.starts_with("process_");
            assert!(is_ours && !name.ends_with("_total"), "{line}");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            let has_total = names(&page.body).contains(&format!("{name}_total"));
            assert_eq!(has_total, kind == "counter", "{line}: _total is for counters alone");
        }
    }
}

/// Each line of the older text form, as its documentation has it: a family has one help, then one type, and then its lines.
fn is_classic(page: &Answer) {
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"), "{page:?}");
    let mut lines = page.body.lines().peekable();
    let mut seen = BTreeSet::new();
    while let Some(help) = lines.next() {
        let (name, text) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect(help);
        assert!(!text.is_empty() && seen.insert(name), "{help}");
        let (named, kind) =
            lines.next().and_then(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).expect("a type follows a help");
        assert_eq!(named, name);
        assert_eq!(kind == "counter", name.ends_with("_total"), "{help}");
        let mut count = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let of = line.split(['{', ' ']).next().unwrap_or_default();
            let part = of.strip_prefix(name).expect(line);
            assert!(
                part.is_empty() || (kind == "histogram" && ["_sum", "_count", "_bucket"].contains(&part)),
                "{line}"
            );
            assert!(line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()), "{line}");
            count += 1;
        }
        assert!(count > 0, "{help}: nothing follows");
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn metrics_fall_back_to_the_classic_format() {
    let bed = Bed::new();
    let (_worker, at) = measured(&bed, "n1");
    bed.add(["shell:0:0:1:true"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let site = Dashboard::start(&bed);
    for accept in ["*/*", "text/plain;version=0.0.4"] {
        let accept = ("Accept", accept);
        is_classic(&request(&at, "GET", "/metrics", &[("Host", &at), accept], b"", SOON));
        is_classic(&site.get("/metrics", &[accept]));
    }
    let page = get(&at, "/metrics");
    is_classic(&page);
    assert_eq!(value(&page.body, "distcomp_worker_attempts_total{worker=\"n1\",outcome=\"finished\"}"), 1.0);
}

#[test]
fn no_line_is_there_twice_however_strangers_call_themselves() {
    let bed = Bed::new();
    for name in [&b"a\x1b"[..], b"a\\x1b", b"b\xff", b"b\xfe", b"q\"}\n# TYPE evil gauge\nevil 1"] {
        bed.hset("worker_status", name, "1000000000:1.00:8.00:2.00:16.00");
    }
    let site = Dashboard::start(&bed);
    let page = site.get("/metrics", &[]);
    is_classic(&page);
    let mut seen = BTreeSet::new();
    for line in page.body.lines().filter_map(|line| line.rsplit_once(' ')) {
        assert!(line.0.starts_with("# ") || seen.insert(line.0), "{} is there twice\n{}", line.0, page.body);
    }
    assert!(seen.contains("distcomp_queue_worker_heartbeat_age_seconds{worker=\"a\\\\x1b\"}"), "{}", page.body);
}
