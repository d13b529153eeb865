//! What a person sees, in a real browser.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bed, Browser, Dashboard, Redis, SOON, ServerOptions, holds_for, task_id, wait_until};

/// A number as pages show it.
fn number(text: &str) -> u64 {
    text.replace(',', "").trim().parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

#[test]
fn figures_update_while_tasks_run_without_page_errors() {
    let bed = Bed::with(json!({"max_task_per_worker": 2, "max_retry_per_task": 1}));
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/"));
    browser.wait_text("#link-text", "is live", |text| text == "live");
    assert_eq!(browser.text("[data-text=todo]"), "0");
    // Half of them wait until the first figure was read.
    let gate = bed.out("gate");
    bed.add((0..20).map(|at| format!("shell:0.01:0.01:2:sleep 0.2; echo {at}")));
    bed.add((20..40).map(|at| format!("shell:0.01:0.01:1:until test -e {gate}; do sleep 0.1; done; echo {at}")));
    bed.add(["shell:0.01:0.01:9:echo broken >&2; exit 7"]);
    browser.wait_text("[data-text=todo]", "shows what waits", |text| text == "41");
    let _worker = bed.worker("node-a");
    let first = browser.wait_text("[data-text=finished]", "grows", |text| number(text) >= 2);
    bed.file("gate", "");
    browser.wait_text("[data-text=finished]", "goes on", |text| number(text) >= number(&first) + 4);
    browser
        .wait_text("[data-workers] tbody", "shows the worker", |text| text.contains("node-a") && text.contains("live"));
    browser.wait_text("[data-failures]", "shows the failure", |text| text.contains("exit 7"));
    browser.wait_text("[data-text=finished]", "comes to its end", |text| number(text) == 40);
    browser.wait_text("[data-text=percent]", "counts what failed", |text| text == "97.5 %");
    assert_eq!(browser.count("canvas"), 4, "a chart on each card");
    let drawn = "return [...document.querySelectorAll('canvas')].every(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))";
    assert_eq!(browser.run(drawn), json!(true), "and something on each");
    browser.click("[data-range='1h']");
    assert_eq!(
        browser.run("return document.querySelector(\"[data-range='1h']\").getAttribute('aria-pressed')"),
        json!("true")
    );
    for path in ["/workers", "/tasks", "/tasks?state=finished", "/failures"] {
        browser.open(&site.url(path));
        browser.wait_text("#link-text", "is live", |text| text == "live");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    browser.open(&site.url("/nothing/here"));
    assert!(browser.text("main").contains("No such page"));
}

#[test]
fn worker_charts_are_chosen_by_mouse_or_keyboard() {
    let bed = Bed::new();
    let names = ["node-a", "node-b", "node-c"];
    let _workers = names.map(|name| bed.worker(name));
    // The first that the page hears of is the one it shows, and goes on showing.
    names.into_iter().for_each(|name| bed.wait_alive(name));
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/workers"));
    browser.wait_text("#chosen-name", "is the first", |text| text == "node-a");
    let drawn = || {
        let marks = browser.run("return [...document.querySelectorAll('[data-chosen] canvas')].map(c => c.toDataURL() !== Object.assign(document.createElement('canvas'), {width: c.width, height: c.height}).toDataURL())");
        holds_for(marks == json!([true, true]), marks)
    };
    wait_until("both charts", SOON, drawn);
    browser.click("tr[data-name=node-c] .pick");
    browser.wait_text("#chosen-name", "is the one that was clicked", |text| text == "node-c");
    browser.run("document.querySelector('tr[data-name=node-b] .pick').focus()");
    browser.press("\u{e007}");
    browser.wait_text("#chosen-name", "is the one that had the focus", |text| text == "node-b");
    let pressed = "return [...document.querySelectorAll('.pick[aria-pressed=true]')].map(e => e.ariaLabel)";
    assert_eq!(browser.run(pressed), json!(["Charts of node-b"]));
    assert!(browser.text("[data-of=cores]").contains(" / "), "{}", browser.text("[data-chosen]"));
    wait_until("both charts", SOON, drawn);
    // The address keeps the choice.
    browser.run("location.reload()");
    browser.wait_text("#chosen-name", "is still the one", |text| text == "node-b");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What the elements of a page say of what a hostile text has made of it.
fn harm(browser: &Browser) -> Value {
    browser.run(
        "return [window.pwned ?? null, document.querySelectorAll('main img, main script, main iframe, [onerror], [onclick], [style*=expression]').length, document.title]",
    )
}

#[test]
fn markup_and_escapes_of_tasks_harm_nothing() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let script = "<script>window.pwned = 1; alert(1)</script>";
    let image = "\"><img src=x onerror=\"window.pwned = 2; alert(2)\">";
    let escapes = "printf '\\033[2J\\033]0;owned\\007\\302\\233 \\342\\200\\256txt.exe\\n'";
    let good = format!("shell:0.01:0.01:1:echo '{script}{image}'; {escapes} # {script}{image}\u{202e}");
    let bad = format!("shell:0.01:0.01:1:echo '{script}{image}' >&2; {escapes} >&2; exit 4 # {image}{{{{ 7*7 }}}}");
    bed.add([&good, &bad]);
    bed.burst("w");
    // Names and reasons of others, past all our code.
    let evil = format!("evil\u{1b}[2J{script}{image}");
    bed.hset("worker_status", &evil, "1:1:2:1:4");
    let python = format!("shell:1:1:1:python {image}");
    bed.hset("failed_tasks", &python, format!("{evil},"));
    bed.hset("task_fail_reason", &python, format!("not JSON {script}"));
    bed.hset("in_progress_tasks", "shell:1:1:1:held", &evil);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    let paths = [
        "/".to_owned(),
        "/workers".to_owned(),
        "/tasks?state=failed".to_owned(),
        "/tasks?state=finished".to_owned(),
        "/tasks?state=in_progress".to_owned(),
        "/tasks?state=todo&include=%22%3E%3Cimg+src%3Dx+onerror%3Dwindow.pwned%3D3%3E".to_owned(),
        "/tasks?state=failed&kind=%22%3E%3Cimg+src%3Dx+onerror%3Dwindow.pwned%3D4%3E".to_owned(),
        "/failures".to_owned(),
        format!("/task/{}", task_id(&good)),
        format!("/task/{}", task_id(&bad)),
        format!("/task/{}", task_id(&python)),
    ];
    for path in &paths {
        browser.open(&site.url(path));
        // The stream renders it a second time, by script.
        browser.wait_text("#link-text", "is live", |text| text == "live");
        let seen = harm(&browser);
        assert_eq!((&seen[0], &seen[1]), (&Value::Null, &json!(0)), "{path}: {seen}");
        assert!(seen[2].as_str().is_some_and(|title| title.ends_with("DistComp")), "{path}: {seen}");
        let text = browser.run("return document.documentElement.outerHTML");
        let is_bare = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.as_str().expect("text").contains(is_bare), "{path}");
    }
    browser.open(&site.url(&format!("/task/{}", task_id(&bad))));
    assert!(browser.text("main").contains(image), "it is there, as text");
    assert!(browser.text("main").contains("\\x1b[2J"), "and so are the escapes");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_list_is_filtered_and_paged_until_every_task_was_seen_once() {
    let bed = Bed::new();
    bed.hset_all(
        "finished_tasks",
        (0..1000).map(|at| format!("shell:1:1:1:./sim --run {at} {}", if at % 100 == 7 { "rare" } else { "common" })),
    );
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks"));
    browser.click(".tabs a[href*=finished]");
    let mut seen: Vec<String> = Vec::new();
    let mut pages = 0;
    loop {
        pages += 1;
        let rows =
            browser.run("return [...document.querySelectorAll('.tasks tbody tr')].map(row => row.cells[1].innerText)");
        seen.extend(rows.as_array().expect("rows").iter().map(|row| row.as_str().expect("text").to_owned()));
        assert!(pages < 30, "{} rows after {pages} pages", seen.len());
        if browser.count("a[rel=next]") == 0 {
            break;
        }
        browser.click("a[rel=next]");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    assert!(pages >= 5, "{pages}");
    browser.open(&site.url("/tasks?state=finished"));
    browser.type_into("input[name=include]", "rare\u{e007}");
    browser.wait_text("#told", "counts the rare", |text| text == "10 of 1,000 match");
    assert_eq!(browser.count(".tasks tbody tr"), 10);
    browser.type_into("input[name=exclude]", "07 \u{e007}");
    // All but run 7 end in 07.
    browser.wait_text("#told", "leaves some out", |text| text == "1 of 1,000 match");
    browser.click(".filter .plain");
    browser.wait_text("#told", "is of all again", |text| text.starts_with("showing "));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn failures_lead_to_their_tasks_and_a_task_tells_its_story() {
    let bed = Bed::with(json!({"max_retry_per_task": 2}));
    bed.add((0..3).map(|at| format!("shell:0.01:0.01:1:echo 'no trace {at}' >&2; exit 3")));
    bed.add(["shell:0.01:0.01:1:1:sleep 3622", "shell:0.01:0.01:1:printf 'one\\ntwo'"]);
    bed.burst("w");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/failures"));
    assert!(browser.text(".failures tbody tr").starts_with('3'), "{}", browser.text(".failures"));
    browser.click(".failures tbody th a");
    assert_eq!((browser.count(".tasks tbody tr"), browser.text(".chip").contains("exit 3")), (3, true));
    browser.click(".tasks tbody th a");
    let story = browser.text("main");
    for part in ["failed, out of retries", "no trace", "#1", "#2", "exit 3", "last of its stderr"] {
        assert!(story.contains(part), "{part} is missing:\n{story}");
    }
    let finished = "shell:0.01:0.01:1:printf 'one\\ntwo'";
    browser.open(&site.url(&format!("/task/{}", task_id(finished))));
    assert_eq!(browser.text("pre.output"), "one\ntwo");
    browser.open(&site.url("/task/0000000000000000"));
    assert!(browser.text("main").contains("No such task"));
}

#[test]
fn number_of_a_cause_leads_to_its_tasks() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add((0..7).map(|at| format!("shell:0:0:1:echo 'disk full {at}' >&2; exit 9")));
    bed.add(["shell:0:0:1:echo 'other' >&2; exit 9"]);
    let bar = "shell:0:0:1:printf '10 %%\\r\\033[31mnew\\033[0m' >&2; exit 8";
    bed.add([bar]);
    bed.burst("w");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/failures"));
    browser.click(".causes a");
    assert_eq!(browser.count(".tasks tbody tr"), 7, "{}", browser.text("main"));
    assert!(browser.text("form.filter").contains("disk full N"), "{}", browser.text("form.filter"));
    browser.open(&site.url(&format!("/task/{}", task_id(bar))));
    assert_eq!(browser.text("pre.bad"), "exit 8: new");
    for path in ["/failures", "/tasks?state=failed"] {
        let page = site.get(path, &[]).body;
        assert!(!page.contains("x1b[31m") && page.contains("new"), "{path}: {page}");
    }
    let said = bed.status(&["failures"]).expect(0).prints(&["new"]).all();
    assert!(!said.contains("x1b"), "{said}");
    bed.status(&["show", bar]).expect(0).prints(&["exit 8: new"]);
}

#[test]
fn regions_of_a_page_have_names_of_their_own() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add((0..3).map(|at| format!("shell:0:0:1:echo find me {at} >&2; exit 3")));
    bed.burst("w");
    for n in 0..60 {
        bed.hset("worker_status", format!("node-{n:02}"), "1:1:2:1:4");
    }
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    let twice = "const named = [...document.querySelectorAll('section[aria-labelledby], [role=region], nav, form[role=search]')].filter(e => e.checkVisibility()).map(e => `${e.tagName === 'NAV' ? 'nav' : e.role || 'region'} ${e.ariaLabel || document.getElementById(e.getAttribute('aria-labelledby'))?.innerText}`); return named.filter((name, at) => named.indexOf(name) !== at)";
    for path in ["/", "/find?q=find", "/workers", "/failures", "/timeline", "/tasks?state=failed"] {
        browser.open(&site.url(path));
        browser.wait_text("#link-text", "is live", |text| text == "live");
        assert_eq!(browser.run(twice), json!([]), "{path}");
    }
    // Links within text are told from it by more than a colour, and what an outage says is in a region.
    browser.open(&site.url("/failures"));
    let plain = "return [...document.querySelectorAll('main p a, main li a')].filter(a => getComputedStyle(a).textDecorationLine !== 'underline').length";
    assert_eq!((browser.run(plain), browser.count("main li a") > 0), (json!(0), true));
    assert_eq!(browser.count("#banner[role=region][aria-label]"), 1);
}

#[test]
fn failures_page_names_workers_and_how_many_were_examined() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add((0..20).map(|at| format!("shell:0:0:1:exit 9 # {at}")));
    bed.burst("first");
    bed.add((20..40).map(|at| format!("shell:0:0:1:exit 9 # {at}")));
    bed.burst("second");
    let site = Dashboard::start(&bed);
    let page = site.get("/failures", &[]).body;
    assert!(page.contains(">first, second</td>") && !page.contains("The workers are those of"), "{page}");
    for at in 0..12 {
        let line = format!("shell:0:0:1:exit 9 # {at}");
        bed.hset("failed_tasks", &line, format!("node{at},"));
    }
    bed.hset_all("failed_tasks", (0..1000).map(|at| format!("shell:1:1:1:of python {at}")));
    wait_until("the page of now", SOON, || {
        let page = site.get("/failures", &[]).body;
        holds_for(page.contains("The workers are those of about 500 of the failures"), page)
    });
}

#[test]
fn it_can_be_used_by_keyboard_and_on_a_phone() {
    let bed = Bed::new();
    bed.add(["shell:0.01:0.01:1:echo a"]);
    bed.hset("worker_status", "node-with-quite-a-long-name-0123456789", "1:1:2:1:4");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/"));
    browser.press("\u{e004}");
    assert_eq!(browser.run("return document.activeElement.className"), json!("skip"));
    browser.press("\u{e007}");
    assert_eq!(browser.run("return document.activeElement.id"), json!("main"));
    // Every control has a name, every table heads, and the focus can be seen.
    let nameless = "return [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter(e => !(e.innerText || e.ariaLabel || e.labels?.length)).length";
    for path in ["/", "/workers", "/timeline", "/tasks?state=failed", "/failures"] {
        browser.open(&site.url(path));
        assert_eq!(browser.run(nameless), json!(0), "{path}");
        assert_eq!(browser.run("return [...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th[scope=col]')).length"), json!(0), "{path}");
        assert_eq!(browser.count("h1"), 1, "{path}");
    }
    let narrow = |path: &str| {
        browser.resize(360, 740, 1.0);
        browser.open(&site.url(path));
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().is_some_and(|wide| wide <= 360), "{path} is {wide} points wide on a phone");
    };
    for path in [
        "/",
        "/workers",
        "/timeline",
        "/tasks?state=failed",
        "/failures",
        &format!("/task/{}", task_id("shell:0.01:0.01:1:echo a")),
    ] {
        narrow(path);
    }
    // Rows of tasks and of failures are cards there, and nothing stands beside the screen.
    bed.add(["shell:0.01:0.01:1:exit 3"]);
    bed.burst("w");
    let outside = "return [...document.querySelectorAll('table.stack')].flatMap(t => [...t.querySelectorAll('tbody td, tbody th')]).filter(e => e.getBoundingClientRect().right > innerWidth + 1).length";
    for path in ["/tasks?state=finished", "/tasks?state=failed", "/failures", "/workers"] {
        browser.resize(400, 740, 1.0);
        browser.open(&site.url(path));
        assert_eq!((browser.run(outside), browser.count("table.stack") > 0), (json!(0), true), "{path}");
    }
    // Lines and reasons have room, and what a worker waits for is not beside the screen.
    for width in [1024, 1440] {
        browser.resize(width, 900, 1.0);
        browser.open(&site.url("/tasks?state=failed"));
        let room = "const cell = document.querySelector('td.line'); return [cell.clientWidth, document.querySelector('.scroll:not([hidden])').scrollWidth - document.querySelector('.scroll:not([hidden])').clientWidth]";
        let room = browser.run(room);
        assert!(room[0].as_u64() > Some(150) && room[1].as_i64() <= Some(0), "{room} at {width}");
        browser.open(&site.url("/workers"));
        let right =
            browser.run("return document.querySelector('td.waits').getBoundingClientRect().right <= innerWidth");
        assert_eq!(right, json!(true), "at {width}");
    }
    browser.prefer("dark");
    browser.open(&site.url("/"));
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.prefer("light");
    assert_ne!(dark, browser.run("return getComputedStyle(document.body).backgroundColor"));
}

#[test]
fn redis_outage_is_shown_with_its_age_and_passes() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    bed.add(["shell:1000000:1:1:waits"]);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/"));
    browser.wait_text("#link-text", "is live", |text| text == "live");
    assert_eq!(browser.run("return document.getElementById('banner').hidden"), json!(true));
    bed.redis.kill9();
    browser.wait_text("#banner", "tells of the outage", |text| {
        text.contains("Redis does not answer") && text.contains(" ago")
    });
    assert_eq!(browser.text("[data-text=todo]"), "1", "what was known stays");
    assert_eq!(site.get("/tasks?state=todo", &[]).status, 503);
    let up = |wanted: &str| {
        let page = site.get("/metrics", &[]).body;
        holds_for(page.contains(&format!("distcomp_redis_up {wanted}")), page)
    };
    wait_until("metrics tell too", SOON, || up("0.0"));
    bed.redis.start_again();
    browser.wait_text("#link-text", "is live again", |text| text == "live");
    wait_until("the banner is gone", SOON, || {
        holds_for(browser.run("return document.getElementById('banner').hidden") == json!(true), "it is there")
    });
    wait_until("metrics are back", SOON, || up("1.0"));
    wait_until("lists are back", SOON, || {
        let status = site.get("/tasks?state=todo", &[]).status;
        holds_for(status == 200, status)
    });
}

#[test]
fn the_form_lets_a_browser_in_and_out() {
    let bed = Bed::new();
    let file = bed.file("token", "0123456789abcdef0123456789abcdef\n");
    let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0", "--token-file", &file], &[]);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks"));
    assert!(browser.text("main").contains("Token"), "{}", browser.text("main"));
    browser.type_into("#token", "wrong\u{e007}");
    browser.wait_text("main", "refuses", |text| text.contains("Wrong token"));
    browser.type_into("#token", "0123456789abcdef0123456789abcdef\u{e007}");
    browser.wait_text("#link-text", "is live", |text| text == "live");
    let visible = browser.run("return document.cookie + localStorage.length + sessionStorage.length + location.href");
    assert!(!visible.as_str().expect("text").contains("0123456789abcdef"), "{visible}");
    browser.click(".out button");
    wait_until("the form is back", Duration::from_secs(10), || {
        holds_for(browser.count("#token") == 1, browser.text("body"))
    });
}
