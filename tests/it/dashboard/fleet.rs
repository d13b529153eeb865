//! A thousand workers and more: what a page of them shows, and what its stream sends.
use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Bed, Browser, Dashboard, SOON, holds_for, send, wait_until};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// Reports of so many workers of other makes, as of now, with figures that depend on `turn`.
fn report(bed: &Bed, workers: impl Iterator<Item = usize>, turn: usize) {
    let mut pipe = ::redis::pipe();
    for at in workers {
        let cores = (at * 7 + turn * 13) % 64;
        let memory = (at * 11 + turn * 3) % 256;
        let status = format!("{}:{cores}.00:64.00:{memory}.50:256.00", now());
        pipe.hset("worker_status", format!("node-{at:04}"), status).ignore();
    }
    pipe.query::<()>(&mut bed.redis.con()).expect("the reports are written");
}

/// Bytes of `/live` for a while in which a quarter of the workers report each second, after the first frame.
fn bytes_a_second(bed: &Bed, site: &Dashboard, address: &str, encoding: &str) -> f64 {
    let headers = [("Host", site.at.as_str()), ("Accept-Encoding", encoding)];
    let mut stream = send(&site.at, "GET", address, &headers, b"", SOON).expect("a connection");
    stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    let mut buffer = [0; 65536];
    let mut read_for = |time: Duration, turns: &mut dyn FnMut()| {
        let (start, mut bytes) = (Instant::now(), 0);
        while start.elapsed() < time {
            turns();
            bytes += stream.read(&mut buffer).unwrap_or(0);
        }
        bytes as f64 / start.elapsed().as_secs_f64()
    };
    read_for(Duration::from_secs(2), &mut || ());
    let (start, mut turn) = (Instant::now(), 0);
    read_for(Duration::from_secs(8), &mut || {
        while start.elapsed() >= Duration::from_millis(250) * turn {
            report(bed, (0..1200).skip(turn as usize % 16).step_by(16), turn as usize);
            turn += 1;
        }
    })
}

#[test]
fn a_page_of_1200_workers_is_sent_what_changes() {
    let bed = Bed::new();
    report(&bed, 0..1200, 0);
    let site = Dashboard::start(&bed);
    for (address, encoding, most) in [
        ("/live", "identity", 10_000.0),
        ("/live?view=texts", "identity", 2000.0),
        ("/live?view=workers", "gzip", 10_000.0),
        ("/live?view=workers&filter=node-11", "gzip", 5000.0),
    ] {
        let rate = bytes_a_second(&bed, &site, address, encoding);
        println!("{address} {encoding}: {rate:.0} bytes a second");
        assert!(rate < most, "{address} as {encoding}: {rate:.0} bytes a second, of {most} at most");
        assert!(rate > 20.0, "{address} sends nothing: {rate:.0} bytes a second");
    }
}

#[test]
fn many_workers_have_totals_a_filter_and_a_map() {
    let bed = Bed::new();
    report(&bed, 0..1200, 0);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1440, 900);
    let page = site.get("/workers", &[]).body;
    assert!(
        page.contains("500 of 1,200 workers, those that are not live first") && page.contains("1,200 python"),
        "{page:.3000}"
    );
    browser.open(&site.url("/workers"));
    browser.wait_text("#link-text", "is live", |text| text == "live");
    wait_until("the map", SOON, || {
        let cells = browser.count("[data-map] .cell");
        holds_for(cells == 1200, cells)
    });
    assert_eq!(browser.text("[data-told]"), "500 of 1,200 workers, those that are not live first");
    assert_eq!(browser.count("[data-workers] tbody tr"), 500);
    browser.type_into("[data-worker-filter]", "node-1190");
    browser.wait_text("[data-told]", "counts what the filter leaves", |text| text == "1 of 1,200 workers match");
    assert_eq!(browser.count("[data-workers] tbody tr"), 1);
    assert_eq!(browser.text("[data-total=name]"), "1 worker");
    // The address keeps the filter, without a script as well.
    let query = browser.run("return location.search");
    assert_eq!(query, json!("?filter=node-1190"));
    let page = site.get(&format!("/workers{}", query.as_str().expect("a query")), &[]).body;
    assert!(page.contains("1 of 1,200 workers match") && !page.contains("node-1191"), "{page:.3000}");
    // One cell is in the order of the keyboard; the arrows go on from there.
    browser.open(&site.url("/workers"));
    wait_until("the map", SOON, || holds_for(browser.count("[data-map] .cell") == 1200, "no map"));
    assert_eq!(browser.count("[data-map] .cell[tabindex='0']"), 1);
    browser.run("document.querySelector('[data-map] .cell').focus()");
    browser.press("\u{e014}");
    browser.press("\u{e007}");
    browser.wait_text("[data-told]", "is of the second", |text| text == "1 of 1,200 workers match");
    assert_eq!(browser.run("return document.querySelector('[data-worker-filter]').value"), json!("node-0001"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
