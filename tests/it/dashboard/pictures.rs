//! Pictures of the dashboard and of `watch` for the README, from a real run; made by `tests/screenshots.sh DIRECTORY`.
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::terminal::Terminal;
use crate::support::{Bed, Browser, Dashboard, holds_for, wait_until};

/// What people run: simulations of some seconds, a few of which fail.
fn tasks() -> Vec<String> {
    let mut lines = Vec::new();
    for at in 0..3000_u32 {
        let seconds = ["0.4", "1", "2", "3"][(at.wrapping_mul(2_654_435_761) >> 20) as usize % 4];
        let policy = ["lru", "s3fifo", "sieve", "arc"][at as usize % 4];
        let size = 1 << (at % 9);
        lines.push(format!(
            "shell:0.01:0.01:{}:60:sleep {seconds}; echo ./cachesim trace-{:02}.bin --size {size}GB --policy {policy}",
            1 + at % 2,
            at / 36
        ));
    }
    lines.extend((0..60).map(|at| format!("shell:0.01:0.01:9:60:./missing-simulator --trace w{at}.oracleGeneral")));
    let traceback = "echo 'ValueError: block 17 of the trace is cut short' >&2; exit 3";
    lines.extend((0..24).map(|at| format!("shell:0.01:0.01:9:60:{traceback} # w{at}")));
    lines.extend((0..5).map(|at| format!("shell:0.01:0.01:9:1:sleep 30 # warm-up {at}")));
    let training = "for epoch in $(seq 1 300); do echo \"epoch $epoch  loss 0.$((9000 / (epoch + 9)))\"; sleep 1; done";
    lines.extend((1..=3).map(|fold| format!("shell:0.01:0.01:8:900:{training} # fold {fold}")));
    lines
}

#[test]
fn pictures_are_made_where_somebody_wants_them() {
    let Some(place) = env::var_os("DISTCOMP_PICTURES").map(PathBuf::from) else {
        eprintln!("DISTCOMP_PICTURES is not set: no pictures");
        return;
    };
    let bed = Bed::with(json!({"max_retry_per_task": 2, "max_task_per_worker": 12, "health_report_interval": 1}));
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 860);
    browser.resize(1280, 860, 1.0);
    browser.prefer("light");
    browser.open(&site.url("/"));
    bed.add(tasks());
    let _workers = ["node1", "node2", "node3", "node4"].map(|name| bed.worker(name));
    // Long enough for curves.
    let seconds = env::var("DISTCOMP_PICTURES_AFTER").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    wait_until("some history", Duration::from_secs(seconds + 60), || {
        let age = browser.run("return performance.now()").as_f64().unwrap_or(0.0) / 1000.0;
        holds_for(age > seconds as f64, format!("{age:.0} s of {seconds}"))
    });
    let shot = |path: &str, name: &str, scheme: &str, width: u32, height: u32, scale: f64| {
        browser.prefer(scheme);
        browser.resize(width, height, scale);
        browser.open(&site.url(path));
        browser.wait_text("#link-text", "is live", |text| text == "live");
        let charts = if path == "/" { 4 } else { 2 };
        if path == "/" || path == "/workers" {
            wait_until("charts", Duration::from_secs(10), || holds_for(browser.count("canvas") == charts, "none yet"));
            std::thread::sleep(Duration::from_millis(300));
        }
        if path == "/timeline" {
            browser.wait_text("[data-timeline-told]", "tells of attempts", |text| !text.is_empty());
        }
        browser.screenshot(&place.join(name));
    };
    shot("/", "dashboard-light.png", "light", 1280, 860, 1.0);
    shot("/", "dashboard-dark.png", "dark", 1280, 860, 1.0);
    shot("/", "dashboard-phone.png", "light", 360, 760, 2.0);
    shot("/workers", "dashboard-workers.png", "light", 1280, 520, 1.0);
    shot("/timeline", "dashboard-timeline.png", "light", 1280, 700, 1.0);
    shot("/failures", "dashboard-failures.png", "light", 1280, 420, 1.0);
    shot("/tasks?state=failed&worker=node1", "dashboard-tasks.png", "dark", 1280, 620, 1.0);
    let task = browser.run("return document.querySelector('.tasks tbody a').getAttribute('href')");
    shot(task.as_str().expect("a link"), "dashboard-task.png", "light", 1280, 620, 1.0);
    browser.open(&site.url("/tasks?state=in_progress&include=fold"));
    let task = browser.run("return document.querySelector('.tasks tbody a').getAttribute('href')");
    shot(task.as_str().expect("a link"), "dashboard-output.png", "dark", 1280, 620, 1.0);
    browser.wait_text("#live-output", "has something", |text| text.lines().count() > 10);
    browser.screenshot(&place.join("dashboard-output.png"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let terminal = Terminal::start(&bed);
    terminal.shoot(&browser, "failed tasks", &place.join("watch-overview.png"));
    terminal.press("3");
    terminal.shoot(&browser, "for epoch", &place.join("watch-running.png"));
    // What has run longest stands first.
    terminal.press("Enter");
    terminal.shoot(&browser, "loss 0.", &place.join("watch-task.png"));
    terminal.press("q");
}
