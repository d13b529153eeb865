//! Batches in a real browser: all of them, one with its steps, and the ways to their tasks.
use std::env;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Bed, Browser, Dashboard, SOON, holds_for, wait_until};

fn submit(bed: &Bed, args: &[&str]) {
    bed.cli("distcomp-submit").args(args).run().expect(0);
}

/// `s1` with three steps, of which `prep` has failed in part and holds back the others; `report` after `s1`; `done`; `held`.
fn workflow(bed: &Bed) {
    let file = bed.file(
        "flow.tasks",
        "#DC --name s1 --commands --cpus 0\n#DC --name prep\necho unpack w01\n[ -e /nonexistent ] || exit 3 # w02\n\
         #DC --name sim --after prep\n./sim w01\n./sim w02\n#DC --barrier --name report\n./report\n",
    );
    submit(bed, &[&file]);
    submit(bed, &["-n", "report", "--after", "s1", "--max-fails", "5%", "-c", "0", "--", "./mail"]);
    submit(bed, &["-n", "done", "-c", "0", "--", "true {}", ":::", "1", "2", "3"]);
    bed.burst("node-a");
    submit(bed, &["-n", "held", "-c", "0", "--", "sleep {}", ":::", "3001", "3002"]);
    bed.ctl(&["pause", "held", "--yes"]).expect(0);
}

fn cell(browser: &Browser, name: &str, column: u64) -> String {
    browser.text(&format!("tr[data-name=\"{name}\"] :nth-child({column})"))
}

#[test]
fn batches_lead_to_their_steps_failures_and_tasks() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1440, 900);
    browser.open(&site.url("/batches"));
    assert!(browser.text("main").contains("There are no batches"));
    workflow(&bed);
    // The page that is open learns of them.
    browser.wait_text("[data-batches] tbody", "shows all", |text| {
        ["s1", "report", "done", "held", "paused"].iter().all(|part| text.contains(part))
    });
    assert_eq!(browser.text("[data-told]"), "4");
    let row = |name: &str| (2..=8).map(|column| cell(&browser, name, column)).collect::<Vec<_>>();
    assert_eq!(row("s1"), ["blocked", "5", "20 %", "0", "0", "3", "1"]);
    assert_eq!(row("done"), ["finished", "3", "100 %", "0", "0", "0", "0"]);
    assert_eq!(row("held"), ["paused", "2", "0 %", "0", "2", "0", "0"]);
    assert!(cell(&browser, "s1", 12).starts_with("waits for s1/prep: 1 failed; distcomp-ctl requeue --batch s1/prep"));
    assert!(cell(&browser, "held", 12).contains("distcomp-ctl resume held goes on"));
    let names = "return [...document.querySelectorAll('[data-batches] tbody th')].map(e => e.innerText)";
    assert_eq!(browser.run(names), json!(["held", "report", "s1", "done"]), "what has ended is last");
    browser.click("tr[data-name=s1] th a");
    assert_eq!(row("s1/prep"), ["failed", "2", "50 %", "0", "0", "0", "1"]);
    assert_eq!(row("s1/sim"), ["blocked", "2", "0 %", "0", "0", "2", "0"]);
    assert!(cell(&browser, "s1/sim", 12).starts_with("waits for s1/prep: 1 failed"));
    assert!(browser.text(".plain-list").contains("s1/sim: 2 of 2 open"));
    browser.click(".failures tbody th a");
    assert_eq!((browser.count(".tasks tbody tr"), browser.text(".chip").contains("exit 3")), (1, true));
    assert_eq!(browser.run("return document.querySelector('input[name=batch]').value"), json!("s1"));
    browser.click(".tasks tbody th a");
    browser.click(".facts a[href='/batch/s1/prep']");
    assert!(browser.text("h1").contains("a step of s1"), "{}", browser.text("h1"));
    browser.click(".pager a[href*='finished']");
    browser.wait_text("#told", "counts what finished", |text| text == "1 of 4 match");
    for (path, rows) in [("/tasks?state=todo&batch=s1/sim", 2), ("/tasks?state=todo&batch=nothing", 0)] {
        browser.open(&site.url(path));
        assert_eq!(browser.count(".tasks tbody tr"), rows, "{path}");
    }
    browser.open(&site.url("/failures?batch=s1"));
    assert_eq!(browser.count(".failures tbody tr"), 1);
    browser.open(&site.url("/failures?batch=done"));
    assert!(browser.text("main").contains("Nothing has failed."));
    browser.open(&site.url("/"));
    browser.wait_text("[data-text=apart]", "counts what may not run", |text| text == "4 blocked, 2 held");
    browser.open(&site.url("/batch/report"));
    assert!(browser.text(".about").ends_with("at most 5% may fail"), "{}", browser.text(".about"));
    assert_eq!(site.get("/batch/nothing", &[]).status, 404);
    assert_eq!(site.get("/api/v1/batch/nothing", &[]).status, 404);
    assert_eq!(site.get("/tasks?batch=s%201", &[]).status, 400);
    assert_eq!(site.get("/failures?batch=s%201", &[]).status, 400);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn five_hundred_of_many_batches_are_shown_open_ones_first() {
    let bed = Bed::new();
    bed.hset_all("distcomp:batches", (0..700).map(|at| format!("b{at:03}")));
    submit(&bed, &["-n", "zz", "--", "sleep 1"]);
    let site = Dashboard::start(&bed);
    let found: Value = serde_json::from_str(&site.get("/api/v1/batches?texts=1", &[]).body).expect("JSON");
    let rows = found["batches"].as_array().expect("batches");
    assert_eq!((rows.len(), &rows[0]["name"], &rows[1]["name"]), (500, &json!("zz"), &json!("b000")));
    assert!(found["told"].as_str().is_some_and(|told| told.starts_with("500 of 701, ")), "{}", found["told"]);
}

#[test]
fn texts_of_others_about_batches_harm_nothing() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let image = "\"><img src=x onerror=\"window.pwned = 2\">\u{1b}[2J\u{202e}";
    submit(&bed, &["-n", "s1", "--tag", "word", "-c", "0", "-p", "1", "--", "exit 4 #"]);
    bed.burst("w");
    let failed = bed.status(&["tasks", "--json"]).expect(0).json();
    let (id, line) = (failed["id"].as_str().expect("an id"), failed["line"].as_str().expect("a line"));
    let member: String =
        redis::cmd("HGET").arg("distcomp:member").arg(line).query(&mut bed.redis.con()).expect("a member");
    let tag = "<img/src=x/onerror=window.pwned=1>";
    bed.hset("distcomp:member", line, member.replace("word", tag));
    bed.hset("distcomp:batch:held", "s1", format!("paused by {image}"));
    bed.hset("distcomp:batches", image, "{}");
    bed.hset("distcomp:batches", "s2", json!({"by": image, "max_fails": image}).to_string());
    bed.hset("distcomp:batches", "s3", "no JSON");
    bed.hset("distcomp:batch:n", "s2", image);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    let tagged = "/tasks?state=failed&tag=%3Cimg/src=x/onerror=window.pwned=1%3E";
    for path in ["/batches", "/batch/s1", "/batch/s2", tagged, &format!("/task/{id}"), "/failures?batch=s1"] {
        browser.open(&site.url(path));
        browser.wait_text("#link-text", "is live", |text| text == "live");
        let harm =
            browser.run("return [window.pwned ?? null, document.querySelectorAll('main img, [onerror]').length]");
        assert_eq!(harm, json!([null, 0]), "{path}");
        let text = browser.run("return document.documentElement.outerHTML");
        let is_bare = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.as_str().expect("text").contains(is_bare), "{path}");
    }
    browser.open(&site.url(tagged));
    assert_eq!(browser.count(".tasks tbody tr"), 1);
    // Rendered a second time, by script.
    browser.open(&site.url("/batches"));
    browser.run("document.querySelector('[data-batches] tbody').replaceChildren()");
    browser.wait_text("[data-batches] tbody", "is there again", |text| text.contains("<img src=x onerror"));
    assert_eq!(browser.run("return window.pwned ?? null"), Value::Null);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn pages_of_batches_fit_a_phone_and_have_names() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    workflow(&bed);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1440, 900);
    let nameless = "return [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter(e => !(e.innerText || e.ariaLabel || e.labels?.length)).length";
    let place = env::var_os("DISTCOMP_PICTURES").map(PathBuf::from);
    for (path, name) in
        [("/batches", "all"), ("/batch/s1", "one"), ("/", "front"), ("/tasks?state=todo&batch=s1", "tasks")]
    {
        for width in [1440, 1024, 400, 360] {
            for scheme in ["light", "dark"] {
                browser.prefer(scheme);
                browser.resize(width, 900, 1.0);
                browser.open(&site.url(path));
                browser.wait_text("#link-text", "is live", |text| text == "live");
                if let Some(place) = &place {
                    browser.screenshot(&place.join(format!("batches-{name}-{width}-{scheme}.png")));
                }
            }
            let wide = browser.run("return document.documentElement.scrollWidth");
            assert!(wide.as_u64().is_some_and(|wide| wide <= u64::from(width)), "{path} is {wide} wide of {width}");
            assert_eq!(browser.run(nameless), json!(0), "{path}");
            assert_eq!(browser.count("h1"), 1, "{path}");
        }
    }
    wait_until("nothing to complain about", SOON, || holds_for(browser.complaints().is_empty(), "complaints"));
}
