//! Depth and crowds: neither costs anything.
use std::io::BufRead;
use std::time::Duration;

use crate::support::{Bed, Browser, Dashboard, SOON, read_head, send, wait_until};

#[test]
fn a_hundred_thousand_tasks_make_no_page_longer() {
    let bed = Bed::new();
    bed.hset_all("todo_tasks", (0..100_000).map(|at| format!("shell:1000000:1:1:./sim --run {at}")));
    bed.hset("todo_tasks", "shell:1000000:1:1:the needle", "");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/"));
    browser.wait_text("[data-text=todo]", "is all of them", |text| text == "100,001");
    browser.open(&site.url("/tasks?state=todo"));
    let rows = browser.count(".tasks tbody tr");
    assert!((100..250).contains(&rows), "{rows} rows on a page");
    let size = site.get("/tasks?state=todo", &[]).body.len();
    assert!(size < 200_000, "{size} bytes");
    // A rare one is found page by page, each of a bounded cost; the page goes on by itself.
    browser.open(&site.url("/tasks?state=todo&include=needle"));
    browser.wait_text(".tasks tbody", "has the needle", |text| text.contains("the needle"));
    assert_eq!(calls(&bed, "keys"), 0, "nothing lists the whole of anything");
    let frames = 3;
    let mut stream = send(&site.at, "GET", "/live", &[("Host", &site.at)], b"", SOON).expect("a connection");
    read_head(&mut stream).expect("a head");
    let mut longest = 0;
    let mut seen = 0;
    while seen < frames {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        if line.starts_with("data:") {
            seen += 1;
            longest = longest.max(line.len());
        }
    }
    assert!(longest < 10_000, "a frame of {longest} bytes");
}

/// Calls of each command since the server began, ours to look at it left out.
fn commands(bed: &Bed) -> Vec<(String, u64)> {
    let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut bed.redis.con()).expect("INFO");
    info.lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        })
        .collect()
}

/// How often a command was called.
fn calls(bed: &Bed, command: &str) -> u64 {
    commands(bed).into_iter().find(|(name, _)| name == command).map_or(0, |(_, calls)| calls)
}

#[test]
fn two_hundred_viewers_cost_redis_no_more_than_one() {
    let bed = Bed::new();
    bed.hset_all("todo_tasks", (0..1000).map(|at| format!("shell:1000000:1:1:./sim --run {at}")));
    let site = Dashboard::start(&bed);
    let watch = || {
        let mut stream = send(&site.at, "GET", "/live", &[("Host", &site.at)], b"", SOON).expect("a connection");
        assert_eq!(read_head(&mut stream).expect("a head").0, 200);
        stream
    };
    // Counted in frames and not in seconds: a busy machine makes both slower alike. Each look is one INFO and one TIME.
    let looks_for = |stream: &mut dyn BufRead, frames: usize| {
        let before = calls(&bed, "time");
        let mut seen = 0;
        while seen < frames {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).expect("a line") > 0, "the stream ends");
            seen += usize::from(line.starts_with("data:"));
        }
        calls(&bed, "time") - before
    };
    let mut first = watch();
    looks_for(&mut first, 2);
    let alone = looks_for(&mut first, 5);
    let mut others: Vec<_> = (0..199).map(|_| watch()).collect();
    wait_until("all of them are counted", SOON, || {
        let page = site.get("/metrics", &[]).body;
        if page.contains("distcomp_dashboard_viewers 200.0") { Ok(()) } else { Err(page) }
    });
    looks_for(&mut first, 2);
    let together = looks_for(&mut first, 5);
    assert!(together <= alone + 1, "{alone} looks for one viewer, {together} for two hundred in as many frames");
    for stream in &mut others {
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        looks_for(stream, 1);
    }
    // A page that all of them load in the same breath is read once or twice, not two hundred times.
    let before = calls(&bed, "hscan");
    let alone = {
        site.get("/tasks?state=todo&include=nothing-like-it", &[]);
        calls(&bed, "hscan") - before
    };
    let start = std::time::Instant::now();
    let before = calls(&bed, "hscan");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let page = site.get("/tasks?state=todo&include=nothing-like-it", &[]);
                    assert_eq!(page.status, 200, "{}", page.body);
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs() + 2;
    let together = calls(&bed, "hscan") - before;
    assert!(together <= alone * seconds, "{alone} steps for one page, {together} for two hundred within {seconds} s");
}

#[test]
fn more_streams_than_there_are_places_are_told_so() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    let mut streams = Vec::new();
    let refused = loop {
        let mut stream = send(&site.at, "GET", "/live", &[("Host", &site.at)], b"", SOON).expect("a connection");
        let (status, head) = read_head(&mut stream).expect("a head");
        if status != 200 {
            break (status, head);
        }
        streams.push(stream);
        assert!(streams.len() < 2000, "there is no bound");
    };
    assert!(streams.len() >= 500, "only {} places", streams.len());
    assert_eq!(refused.0, 503);
    assert!(refused.1.to_ascii_lowercase().contains("retry-after"), "{}", refused.1);
    assert_eq!(site.get("/", &[]).status, 200, "pages still come");
    streams.truncate(10);
    wait_until("a place is free again", SOON, || {
        let mut stream = send(&site.at, "GET", "/live", &[("Host", &site.at)], b"", SOON).expect("a connection");
        let (status, _) = read_head(&mut stream).expect("a head");
        if status == 200 { Ok(()) } else { Err(status) }
    });
}
