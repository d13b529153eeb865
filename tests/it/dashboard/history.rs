//! What the charts know of earlier times, and the timeline of attempts.
use std::time::{SystemTime, UNIX_EPOCH};

use distcomp::queue::history;
use serde_json::{Value, json};

use crate::queue_model::client;
use crate::support::{Bed, Browser, Dashboard, SOON, holds_for, task_id, wait_until};

/// Rows of the last `minutes`, but for those between 60 and 90 minutes ago, when nobody was there.
fn write_rows(bed: &Bed, minutes: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() / 60;
    let mut pipe = ::redis::pipe();
    for ago in (1..=minutes).rev().filter(|ago| !(60..90).contains(ago)) {
        pipe.cmd("XADD").arg("distcomp:history").arg(format!("{}-0", (now - ago) * 60_000));
        for (name, value) in [("todo", ago), ("running", 3), ("slots", 4), ("failed", 0), ("workers", 1)] {
            pipe.arg(name).arg(value);
        }
        pipe.arg("finished")
            .arg((minutes - ago) * 120)
            .arg("failures")
            .arg((minutes - ago) * 6)
            .arg("sequence")
            .arg(0)
            .ignore();
    }
    pipe.query::<()>(&mut bed.redis.con()).expect("the rows are written");
}

fn column(site: &Dashboard, range: &str, name: &str) -> Vec<Option<f64>> {
    let told: Value =
        serde_json::from_str(&site.get(&format!("/api/v1/history?range={range}"), &[]).body).expect("JSON");
    told[name].as_array().expect("a column").iter().map(Value::as_f64).collect()
}

#[test]
fn charts_go_back_beyond_the_start_of_the_dashboard() {
    let bed = Bed::new();
    write_rows(&bed, 20_000);
    for _ in 0..2 {
        let site = Dashboard::start(&bed);
        wait_until("all rows", SOON, || {
            let known = column(&site, "7d", "todo").len();
            holds_for(known > 650, known)
        });
        let rates = column(&site, "24h", "finished_rate");
        let known: Vec<f64> = rates.iter().flatten().copied().collect();
        assert!((680..730).contains(&known.len()), "{} points", known.len());
        assert!(known.iter().filter(|rate| (**rate - 2.0).abs() < 0.01).count() > 670, "{known:?}");
        assert!(
            rates.iter().filter(|rate| rate.is_none()).count() <= 2,
            "the half hour, and that the dashboard was not there"
        );
        assert!(column(&site, "24h", "failed_rate").iter().flatten().any(|rate| (rate - 0.1).abs() < 0.01));
        assert!(column(&site, "1h", "todo").len() > 50, "rows fill the hour before it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_a_minute_is_written_however_many_try() {
    let bed = Bed::new();
    bed.hset_all("todo_tasks", (0..7).map(|at| format!("shell:1:1:1:{at}")));
    let conn = client(&bed).connect().await.expect("connected");
    let rows = || -> usize { ::redis::cmd("XLEN").arg("distcomp:history").query(&mut bed.redis.con()).expect("XLEN") };
    let mut written = 0;
    for _ in 0..20 {
        written += usize::from(history::write(&conn).await.expect("written"));
    }
    // The minute may have ended in between.
    assert!((1..=2).contains(&written) && rows() == written, "{written} written, {} rows", rows());
    let row = history::after(&conn, 0).await.expect("rows")[0];
    assert_eq!((row.todo, row.at % 60), (7, 0));
    // A clock that was an hour ahead leaves a row behind that must not keep others out.
    let ahead = (row.at + 3600) * 1000;
    ::redis::cmd("XADD")
        .arg(&["distcomp:history", &format!("{ahead}-0"), "todo", "1"])
        .exec(&mut bed.redis.con())
        .expect("XADD");
    assert!(history::write(&conn).await.expect("written"));
    assert_eq!(rows(), 1);
}

#[test]
fn ranges_are_kept_in_the_address() {
    let bed = Bed::new();
    write_rows(&bed, 3000);
    let site = Dashboard::start(&bed);
    wait_until("rows", SOON, || {
        let known = column(&site, "24h", "todo").len();
        holds_for(known > 600, known)
    });
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/?range=24h"));
    let pressed = || {
        browser
            .run("return [...document.querySelectorAll('[data-range][aria-pressed=true]')].map(e => e.dataset.range)")
    };
    assert_eq!(pressed(), json!(["24h"]));
    wait_until("charts", SOON, || holds_for(browser.count("canvas") == 4, browser.count("canvas")));
    browser.click("[data-range='7d']");
    assert_eq!((pressed(), browser.run("return location.search")), (json!(["7d"]), json!("?range=7d")));
    browser.run("location.reload()");
    wait_until("the range", SOON, || holds_for(pressed() == json!(["7d"]), pressed()));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_timeline_has_each_attempt_with_how_it_ended() {
    let bed = Bed::with(json!({"max_retry_per_task": 1, "max_task_per_worker": 2}));
    bed.add(["shell:0.01:0.01:1:sleep 0.3", "shell:0.01:0.01:1:sleep 0.2; exit 3", "shell:0.5:0.01:1:echo c"]);
    bed.burst("w1");
    let site = Dashboard::start(&bed);
    let told: Value = serde_json::from_str(&site.get("/api/v1/timeline", &[]).body).expect("JSON");
    let attempts = told["lanes"][0]["attempts"].as_array().expect("attempts");
    let how = |id: String| attempts.iter().find(|one| one[3] == json!(id)).map(|one| one[2].clone());
    assert_eq!((told["lanes"][0]["worker"].clone(), attempts.len()), (json!("w1"), 3), "{told}");
    assert_eq!(how(task_id("shell:0.01:0.01:1:sleep 0.2; exit 3")), Some(json!("failed")));
    assert_eq!(how(task_id("shell:0.01:0.01:1:sleep 0.3")), Some(json!("finished")));
    let ran: u64 = told["histograms"][0]["counts"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
    let used: u64 = told["histograms"][2]["counts"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
    assert_eq!((ran, used), (3, 3), "{told}");
    // The wait is that of the metric, from before this server was there too.
    let waits = &told["histograms"][1];
    let waited: u64 = waits["counts"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
    let metric = site.get("/metrics", &[]).body;
    assert_eq!(waited, 3, "{told}");
    assert!(metric.contains("\ndistcomp_queue_task_wait_seconds_count 3"), "{metric}");
    assert!(waits["told"].as_str().is_some_and(|text| text.ends_with("of 3 tasks since the queue began")), "{told}");
    let browser = Browser::start(1440, 900);
    browser.open(&site.url("/timeline"));
    wait_until("the bars", SOON, || holds_for(browser.count("[data-lanes] rect") == 3, browser.text("main")));
    assert_eq!(browser.count("[data-lanes] rect.failed"), 1);
    browser.run(
        "document.querySelector('[data-lanes] rect.failed').dispatchEvent(new MouseEvent('click', { bubbles: true }))",
    );
    browser.wait_text("h1", "is the task", |text| text.contains("Task"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(site.get("/api/v1/timeline?worker=nobody", &[]).body.matches("\"lanes\":[]").count(), 1);
}
