//! What a running task prints, on its page: as it comes, as text and nothing else, and by one follower for all who look.
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{
    Bed, Browser, Dashboard, Redis, SOON, ServerOptions, holds_for, read_head, send, task_id, wait_until,
};

/// Ends by itself when the file is there.
fn until(file: &str) -> String {
    format!("while [ ! -e {file} ]; do sleep 0.05; done")
}

/// The channels that followers have.
fn channels(bed: &Bed) -> usize {
    let all: Vec<String> =
        ::redis::cmd("PUBSUB").arg("CHANNELS").arg("distcomp:output:*").query(&mut bed.redis.con()).expect("PUBSUB");
    all.len()
}

#[track_caller]
fn wait_channels(bed: &Bed, wanted: usize) {
    wait_until(&format!("{wanted} followers"), SOON, || {
        let now = channels(bed);
        holds_for(now == wanted, now)
    });
}

#[test]
fn output_page_is_live_and_closing_it_ends_the_follower() {
    let bed = Bed::new();
    let (next, go) = (bed.out("next"), bed.out("go"));
    let line =
        format!("shell:0:0:1:echo begun; {}; echo next; echo aside >&2; {}; echo done", until(&next), until(&go));
    bed.add([&line]);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url(&format!("/task/{}", task_id(&line))));
    browser.wait_text("#output-status", "waits with the task", |text| text.starts_with("the task waits"));
    let _worker = bed.worker("node-a");
    // The page tells by itself that it has started.
    browser.wait_text("h1 .badge", "is of a running task", |text| text == "running");
    browser.wait_text("#live-output", "shows the beginning", |text| text == "begun\n");
    browser.wait_text("#output-status", "names the worker", |text| text == "live from node-a");
    fs::write(&next, "").expect("a file");
    browser.wait_text("#live-output", "goes on", |text| text.contains("next\n") && text.contains("aside\n"));
    assert_eq!(browser.text("#live-output .err"), "aside\n", "what is of stderr can be told from the rest");
    assert_eq!(bed.counts(), [0, 1, 0, 0], "it still runs");
    assert_eq!(channels(&bed), 1);
    browser.open(&site.url("/workers"));
    wait_channels(&bed, 0);
    // Back on the page everything is there again; when it has ended, that stays, and what was stored is a step away.
    browser.open(&site.url(&format!("/task/{}", task_id(&line))));
    browser.wait_text("#live-output", "begins at the beginning", |text| text.starts_with("begun\nnext\n"));
    browser.wait_text("#facts", "says how it stands", |text| text.contains("Running for") && text.contains("1 of 1"));
    fs::write(&go, "").expect("a file");
    browser.wait_text("h1 .badge", "is of a finished task", |text| text == "finished");
    assert!(browser.run("return document.title").as_str().is_some_and(|title| title.contains("finished")));
    browser.wait_text("#live-output", "stays", |text| text.contains("aside\n") && text.ends_with("done\n"));
    browser.wait_text("#output-status", "says that it is over", |text| text.contains("has ended"));
    wait_channels(&bed, 0);
    browser.click("#output-status a");
    browser.wait_text("#stored pre.output", "is what was stored", |text| text == "begun\nnext\ndone");
    assert_eq!((browser.text("pre.stderr").trim_end(), browser.count("#live-output")), ("aside", 0));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn markup_and_escapes_that_a_running_task_prints_harm_nothing() {
    let bed = Bed::new();
    let go = bed.out("go");
    let script = "<script>window.pwned = 1; alert(1)</script>";
    let image = "\"><img src=x onerror=\"window.pwned = 2; alert(2)\">";
    let escapes = "printf '\\033[2J\\033]0;owned\\007\\302\\233 \\342\\200\\256txt.exe \\377\\000\\n'";
    let said = format!("echo '{script}{image}'; {escapes}");
    let line = format!("shell:0:0:1:{said}; {{ {said}; }} >&2; echo ready; {}", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    bed.wait_running(&line);
    browser.open(&site.url(&format!("/task/{}", task_id(&line))));
    let text = browser.wait_text("#live-output", "shows all of it", |text| {
        text.contains("ready") && text.matches("</script>").count() == 2
    });
    for part in [script, image, "\\x1b[2J", "\\x1b]0;owned\\x07\\x9b \\u{202e}txt.exe \u{fffd}\\x00"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let seen = browser.run("return [window.pwned ?? null, document.querySelectorAll('main img, main script').length]");
    assert_eq!(seen, json!([null, 0]));
    let page = browser.run("return document.documentElement.outerHTML");
    let is_bare = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!page.as_str().expect("text").contains(is_bare));
    fs::write(&go, "").expect("a file");
    browser.wait_text("h1 .badge", "is of a finished task", |text| text == "finished");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn colours_and_progress_bars_look_as_on_a_terminal() {
    let bed = Bed::new();
    let (next, go) = (bed.out("next"), bed.out("go"));
    let bar = "printf '10 %%\\r20 %%'";
    let rest = "printf '\\r\\033[1;31m100 %%\\033[0m\\n\\033[2Jend\\n'; printf '\\033[33mcare\\033[0m\\n' >&2";
    let line = format!("shell:0:0:1:echo begun; {bar}; {}; {rest}; {}", until(&next), until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_running(&line);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    let page = site.url(&format!("/task/{}", task_id(&line)));
    browser.open(&page);
    browser.wait_text("#live-output", "has the last of the bar", |text| text == "begun\n20 %");
    fs::write(&next, "").expect("a file");
    browser.wait_text("#live-output .out", "replaces the line", |text| text == "begun\n");
    browser.wait_text("#live-output", "has it all", |text| text.contains("care") && text.contains("\\x1b[2Jend"));
    let red = "return [...document.querySelectorAll('pre .t-f1.t-bold')].map(span => span.innerText)";
    assert_eq!(browser.run(red), json!(["100 %"]));
    browser.open(&format!("{page}?raw=1"));
    browser.wait_text("#live-output", "shows every escape", |text| text.contains("10 %\\r20 %\\r\\x1b[1;31m100 %"));
    fs::write(&go, "").expect("a file");
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    wait_until("what is stored", SOON, || {
        browser.open(&page);
        holds_for(browser.count("#stored pre.output") == 1, browser.text("main"))
    });
    assert_eq!(browser.text("#stored pre.output"), "begun\n100 %\n\\x1b[2Jend");
    assert_eq!((browser.run(red), browser.text("pre.stderr .t-f3")), (json!(["100 %"]), "care".to_owned()));
    browser.open(&format!("{page}?raw=1"));
    assert!(browser.text("#stored pre.output").contains("\\r20 %"), "{}", browser.text("main"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A viewer of a task without a browser.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    fn come(site: &Dashboard, line: &str) -> Self {
        let path = format!("/task/{}/output", task_id(line));
        let mut stream = send(&site.at, "GET", &path, &[("Host", &site.at)], b"", SOON).expect("a connection");
        assert_eq!(read_head(&mut stream).expect("a head").0, 200);
        Self(stream)
    }

    fn event(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            if let Some(json) = line.strip_prefix("data:") {
                return Some(serde_json::from_str(json).expect("JSON"));
            }
        }
    }

    /// The text up to where it ends with this, or the stream does.
    fn text_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let Some(event) = self.event() else { break };
            for piece in event["pieces"].as_array().into_iter().flatten() {
                text.push_str(piece[1].as_str().expect("text"));
            }
        }
        text
    }
}

#[test]
fn many_viewers_of_a_task_share_one_follower() {
    let bed = Bed::new();
    let go = bed.out("go");
    let line = format!("shell:0:0:1:seq 2000; {}; seq 2001 3000", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_running(&line);
    let site = Dashboard::start(&bed);
    let numbers = |from: u32, to: u32| (from..=to).map(|number| format!("{number}\n")).collect::<String>();
    let mut viewers: Vec<Viewer> = (0..40).map(|_| Viewer::come(&site, &line)).collect();
    for viewer in &mut viewers {
        assert_eq!(viewer.text_to("\n2000\n"), numbers(1, 2000));
    }
    assert_eq!(channels(&bed), 1, "one follower for all of them");
    wait_until("it is told", SOON, || {
        let page = site.get("/metrics", &[]).body;
        holds_for(page.contains("distcomp_dashboard_followed_tasks 1.0"), page)
    });
    let mut last = viewers.pop().expect("one of them");
    drop(viewers);
    fs::write(&go, "").expect("a file");
    assert_eq!(last.text_to("\n3000\n"), numbers(2001, 3000), "the others' leaving ends nothing");
    while let Some(event) = last.event() {
        assert!(matches!(event["phase"].as_str(), Some("runs" | "over")), "{event}");
    }
    assert_eq!(bed.counts(), [0, 0, 1, 0], "the stream ends when the outcome is known");
    wait_channels(&bed, 0);
}

#[test]
fn endless_output_takes_bounded_memory_and_delays_no_page() {
    let bed = Bed::new();
    let line = "shell:0:0:1:yes 'a line of some length, again and again and again' # 3631";
    bed.add([line]);
    let _worker = bed.worker("w");
    bed.wait_running(line);
    let site = Dashboard::start(&bed);
    // One that reads, one that does not.
    let mut quick = Viewer::come(&site, line);
    let stuck = Viewer::come(&site, line);
    let before = site.resident();
    let mut heard = 0;
    while heard < 6_000_000 {
        heard += quick.event().expect("it goes on").to_string().len();
    }
    let grown = site.resident().saturating_sub(before);
    eprintln!("{grown} bytes more of memory");
    assert!(grown < 6 << 20, "{grown} bytes more after {heard} bytes of output");
    assert_eq!(site.get("/tasks", &[]).status, 200);
    drop((quick, stuck));
    wait_channels(&bed, 0);
}

#[test]
fn a_page_goes_on_after_an_outage_of_redis() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    let go = bed.out("go");
    let line = format!("shell:0:0:1:echo begun; {}; echo done", until(&go));
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_running(&line);
    let site = Dashboard::start(&bed);
    let mut viewer = Viewer::come(&site, &line);
    assert_eq!(viewer.text_to("begun\n"), "begun\n");
    let mut wait_phase =
        |phase: &str| while viewer.event().expect("the stream stays while Redis is away")["phase"] != phase {};
    bed.redis.kill9();
    wait_phase("away");
    bed.redis.start_again();
    wait_phase("runs");
    fs::write(&go, "").expect("a file");
    assert_eq!(viewer.text_to("done\n"), "done\n", "nothing twice");
    while let Some(event) = viewer.event() {
        assert!(event["pieces"].is_null(), "{event}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_or_ends_at_once() {
    let bed = Bed::new();
    let line = "shell:0:0:1:echo fine";
    bed.add([line]);
    bed.burst("w");
    let site = Dashboard::start(&bed);
    for id in ["0000000000000000", "nothing", "0000"] {
        assert_eq!(site.get(&format!("/task/{id}/output"), &[]).status, 404, "{id}");
    }
    let mut viewer = Viewer::come(&site, line);
    let mut phase = Value::Null;
    while let Some(event) = viewer.event() {
        phase = event["phase"].clone();
    }
    assert_eq!(phase, "over");
    wait_channels(&bed, 0);
}
