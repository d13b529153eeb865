//! What an operator does from the pages, and what everybody else who tries gets.
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Bed, Browser, Dashboard, SOON, Worker, holds_for, request, task_id, wait_until};

const VIEWER: &str = "correct-horse-battery-staple";
const OPERATOR: &str = "another-horse-another-staple";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A server that may act, on loopback and without a token for viewers.
fn acting(bed: &Bed) -> Dashboard {
    serve(bed, &[("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", OPERATOR)])
}

fn serve(bed: &Bed, variables: &[(&str, &str)]) -> Dashboard {
    Dashboard::with(bed, &["--listen", "127.0.0.1:0", "--allow-actions"], variables)
}

fn post(site: &Dashboard, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let own = format!("http://{}", site.at);
    let mut all = vec![("Origin", own.as_str()), FORM];
    all.extend(headers);
    site.send("POST", path, &all, body.as_bytes())
}

/// The cookie of an operator who has logged in.
fn log_in(site: &Dashboard, name: &str) -> String {
    let answer = post(site, "/operate/login", &[], &format!("token={OPERATOR}&name={name}"));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/operate")), "{answer:?}");
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    cookie.split(';').next().expect("a pair").to_owned()
}

/// The address of an order that waits for its confirmation, and the secret of its form.
fn prepare(site: &Dashboard, cookie: &str, order: &str) -> (String, String) {
    let answer = site.get(&format!("/operate/{order}"), &[("Cookie", cookie)]);
    assert_eq!(answer.status, 303, "{answer:?}");
    let address = answer.header("location").expect("its page").to_owned();
    let page = wait_until("the question", SOON, || {
        let page = site.get(&address, &[("Cookie", cookie)]).body;
        if page.contains("name=\"form\"") { Ok(page) } else { Err(page) }
    });
    let secret = page.split("name=\"form\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a secret");
    (address, secret.to_owned())
}

/// A queue with one task that waits for ever.
fn waiting() -> (Bed, &'static str) {
    let (bed, line) = (Bed::new(), "shell:1000000:0:1:never");
    bed.add([line]);
    (bed, line)
}

fn is_there(bed: &Bed, line: &str) -> bool {
    bed.table("todo_tasks").contains_key(line)
}

#[test]
fn actions_need_a_strong_token_that_viewers_do_not_know() {
    let bed = Bed::new();
    let serve = |args: &[&str], variables: &[(&str, &str)]| {
        let all = ["serve", "--listen", "127.0.0.1:0"].iter().chain(args);
        let mut cli = bed.cli("distcomp-status").args(all);
        for (name, value) in variables {
            cli = cli.env(name, value);
        }
        cli.run()
    };
    serve(&["--allow-actions"], &[]).expect(2).says(&["--operator-token-file"]);
    serve(&["--allow-actions"], &[("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", "short")]).expect(2).says(&["token"]);
    let both = [("DISTCOMP_DASHBOARD_TOKEN", VIEWER), ("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", VIEWER)];
    serve(&["--allow-actions"], &both).expect(2).says(&["viewers' token"]);
    let file = bed.file("token", OPERATOR);
    serve(&["--operator-token-file", &file], &[]).expect(2).says(&["--allow-actions"]);
}

#[test]
fn server_without_the_flag_has_no_address_that_acts() {
    let (bed, line) = waiting();
    let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0"], &[("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", OPERATOR)]);
    let id = task_id(line);
    for path in ["/operate", "/operate/login", "/operate/order/0", &format!("/operate/purge?id={id}")] {
        assert_eq!(site.get(path, &[]).status, 404, "{path}");
        let body = format!("token={OPERATOR}&name=ann");
        assert!(matches!(post(&site, path, &[], &body).status, 404 | 405), "{path}");
    }
    let page = site.get(&format!("/task/{id}"), &[]).body;
    assert!(!page.contains("/operate") && page.contains("read only"), "{page}");
    assert!(is_there(&bed, line));
}

#[test]
fn only_the_operators_session_acts() {
    let (bed, line) = waiting();
    let tokens = [("DISTCOMP_DASHBOARD_TOKEN", VIEWER), ("DISTCOMP_DASHBOARD_OPERATOR_TOKEN", OPERATOR)];
    let site = serve(&bed, &tokens);
    let cookie = log_in(&site, "ann");
    let order = format!("purge?id={}", task_id(line));
    let (address, secret) = prepare(&site, &cookie, &order);
    let body = format!("form={secret}&confirm=purge+1");
    let viewer = format!("Bearer {VIEWER}");
    let session = post(&site, "/login", &[], &format!("token={VIEWER}"));
    let session =
        session.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a session").to_owned();
    let operator = format!("Bearer {OPERATOR}");
    for (who, header, status) in [
        ("nobody", ("X-None", ""), 401),
        ("a wrong cookie", ("Cookie", "distcomp_operator_1=x"), 401),
        ("a viewer's token", ("Authorization", viewer.as_str()), 403),
        ("a viewer's session", ("Cookie", session.as_str()), 403),
        ("a program with the operator's token", ("Authorization", operator.as_str()), 403),
    ] {
        assert_eq!(post(&site, &address, &[header], &body).status, status, "{who}");
        assert_eq!(site.get(&address, &[header]).status, status, "{who}");
        assert_eq!(site.get(&format!("/operate/{order}"), &[header]).status, status, "{who}");
    }
    // A session of another operator confirms no order of this one.
    let bob = log_in(&site, "bob");
    assert_eq!(site.get(&address, &[("Cookie", &bob)]).status, 404);
    assert_eq!(post(&site, &address, &[("Cookie", &bob)], &body).status, 403, "and the form is not his");
    let wrong = post(&site, "/operate/login", &[], &format!("token={VIEWER}&name=eve"));
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None), "a viewer's token opens no session");
    assert!(is_there(&bed, line));
    // The operator may look, with a token and with a session.
    assert_eq!(site.get("/", &[("Authorization", &operator)]).status, 200);
    assert_eq!(site.get("/", &[("Cookie", &cookie)]).status, 200);
    assert_eq!(post(&site, "/login", &[], &format!("token={OPERATOR}")).status, 303);
    let end = post(&site, "/operate/logout", &[("Cookie", &cookie)], &format!("form={secret}"));
    assert!(end.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{end:?}");
    assert_eq!(post(&site, &address, &[("Cookie", &cookie)], &body).status, 401, "the session has ended");
    assert!(is_there(&bed, line) && !site.said().contains(OPERATOR));
}

#[test]
fn forged_forms_change_nothing() {
    let (bed, line) = waiting();
    let site = acting(&bed);
    let cookie = log_in(&site, "ann");
    let (address, secret) = prepare(&site, &cookie, &format!("purge?id={}", task_id(line)));
    let session = ("Cookie", cookie.as_str());
    let right = format!("form={secret}&confirm=purge+1");
    for body in ["confirm=purge+1", "form=&confirm=purge+1", &format!("form={}&confirm=purge+1", "0".repeat(64))] {
        assert_eq!(post(&site, &address, &[session], body).status, 403, "{body}");
        assert_eq!(post(&site, "/operate/logout", &[session], body).status, 403, "{body}");
    }
    for body in
        [&format!("form={secret}"), &format!("form={secret}&confirm=purge"), &format!("form={secret}&confirm=purge+2")]
    {
        assert_eq!(post(&site, &address, &[session], body).status, 422, "{body}");
    }
    let own = format!("http://{}", site.at);
    let send = |headers: &[(&str, &str)]| {
        let mut all = vec![session, FORM];
        all.extend(headers);
        site.send("POST", &address, &all, right.as_bytes()).status
    };
    assert_eq!(send(&[]), 403, "a browser names its origin");
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(send(&[("Origin", foreign)]), 403, "{foreign}");
    }
    for from in ["cross-site", "same-site", "none"] {
        assert_eq!(send(&[("Origin", &own), ("Sec-Fetch-Site", from)]), 403, "{from}");
        assert_eq!(
            site.get(&address, &[session, ("Sec-Fetch-Site", from)]).status,
            if from == "none" { 200 } else { 403 },
            "{from}"
        );
    }
    let json =
        site.send("POST", &address, &[session, ("Origin", &own), ("Content-Type", "text/plain")], right.as_bytes());
    assert_eq!(json.status, 415, "a form of another kind is none");
    assert!(is_there(&bed, line));
}

#[test]
fn looking_and_other_methods_change_nothing() {
    let (bed, line) = waiting();
    let site = acting(&bed);
    let cookie = log_in(&site, "ann");
    let session = ("Cookie", cookie.as_str());
    let order = format!("/operate/purge?id={}", task_id(line));
    let (address, secret) = prepare(&site, &cookie, order.trim_start_matches("/operate/"));
    let before = bed.keys();
    let asking = format!("{address}?form={secret}&confirm=purge+1");
    for path in [asking.as_str(), &order, "/operate", "/operate/resume", "/operate/pause"] {
        let answer = site.get(path, &[session]);
        assert!(matches!(answer.status, 200 | 303), "{path}: {answer:?}");
    }
    let own = format!("http://{}", site.at);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let body = format!("form={secret}&confirm=purge+1");
        let status = site.send(method, &address, &[session, ("Origin", &own), FORM], body.as_bytes()).status;
        assert!(matches!(status, 403..=405), "{method}: {status}");
    }
    assert_eq!(
        post(&site, &order, &[session], &format!("form={secret}")).status,
        405,
        "an order is prepared by looking"
    );
    assert_eq!((bed.keys(), is_there(&bed, line)), (before, true));
}

#[test]
fn rebound_names_and_large_bodies_are_refused() {
    let (bed, line) = waiting();
    let site = acting(&bed);
    let cookie = log_in(&site, "ann");
    let (address, secret) = prepare(&site, &cookie, &format!("purge?id={}", task_id(line)));
    let body = format!("form={secret}&confirm=purge+1");
    for foreign in ["evil.example", "localhost.evil.example", "10.1.2.3"] {
        let origin = format!("http://{foreign}");
        let headers = [("Host", foreign), ("Origin", origin.as_str()), ("Cookie", cookie.as_str()), FORM];
        assert_eq!(request(&site.at, "POST", &address, &headers, body.as_bytes(), SOON).status, 403, "{foreign}");
        assert_eq!(request(&site.at, "GET", "/operate", &headers[..1], b"", SOON).status, 403, "{foreign}");
    }
    let large = format!("{body}&more={}", "x".repeat(100_000));
    assert_eq!(post(&site, &address, &[("Cookie", &cookie)], &large).status, 413);
    assert!(is_there(&bed, line));
    assert_eq!(site.get("/", &[]).status, 200, "and it goes on");
}

#[test]
fn confirmed_order_is_carried_out_once() {
    let (bed, line) = waiting();
    let site = acting(&bed);
    let cookie = log_in(&site, "ann");
    let (address, secret) = prepare(&site, &cookie, &format!("purge?id={}", task_id(line)));
    let send = || post(&site, &address, &[("Cookie", &cookie)], &format!("form={secret}&confirm=purge+1"));
    assert_eq!(send().status, 303);
    wait_until("it to be gone", SOON, || holds_for(!is_there(&bed, line), "it is there"));
    bed.add([line]);
    let again = send();
    assert_eq!(again.status, 409, "{again:?}");
    assert!(is_there(&bed, line), "a form that is sent again finds nothing to confirm");
    let purged = events(&bed).into_iter().find(|event| event["event"] == "purged").expect("an event");
    assert_eq!(purged["by"], json!("dashboard.ann"), "{purged}");
}

#[test]
fn pages_of_actions_cannot_be_framed_or_scripted() {
    let bed = Bed::new();
    let line = "shell:1000000:0:1:<img src=x onerror=alert(1)>\u{1b}[2J\u{202e} purge 0";
    bed.hset("todo_tasks", line, "");
    let site = acting(&bed);
    let cookie = log_in(&site, "ann");
    let (address, _) = prepare(&site, &cookie, &format!("purge?id={}", task_id(line)));
    for path in ["/operate", address.as_str()] {
        for headers in [&[][..], &[("Cookie", cookie.as_str()), ("Accept", "text/html")]] {
            let answer = site.get(path, headers);
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(
                policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"),
                "{path}: {policy}"
            );
            assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
        }
    }
    let page = site.get(&address, &[("Cookie", &cookie)]).body;
    assert!(page.contains("&#60;img src=x onerror=") && page.contains("\\x1b[2J"), "{page}");
    assert!(!page.contains("<img") && !page.contains(['\u{1b}', '\u{202e}']), "{page}");
    assert!(page.contains("<code>purge 1</code>"), "what is to be typed comes from the count alone: {page}");
    for next in
        ["//evil.example", "https://evil.example/", "/\\evil.example", "/operate/%0d%0aX:1", "javascript:alert(1)"]
    {
        let answer = post(&site, "/operate/login", &[], &format!("token={OPERATOR}&name=ann&next={next}"));
        let to = answer.header("location").expect("an address");
        assert!(to.starts_with("/operate") && answer.header("x").is_none(), "{next}: {to}");
    }
}

fn events(bed: &Bed) -> Vec<Value> {
    bed.status(&["events", "--json", "--limit", "0"]).expect(0).json_lines()
}

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Goes on with Tab until the focus is on what this script finds, and presses a key there.
fn tab_to(browser: &Browser, what: &str, key: &str) {
    let is_there = format!("const e = document.activeElement; return Boolean({what})");
    for _ in 0..120 {
        if browser.run(&is_there) == json!(true) {
            let ring = browser.run("const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' || s.boxShadow !== 'none'");
            assert_eq!(ring, json!(true), "the focus can be seen on {what}");
            key.chars().for_each(|key| browser.press(&key.to_string()));
            return;
        }
        browser.press(TAB);
    }
    panic!("no Tab leads to {what}: {}", browser.text("body"));
}

fn carried_out(browser: &Browser, what: &str, button: &str) -> String {
    browser.wait_text("main", what, |text| text.contains("This will "));
    if browser.count("#confirm") == 1 {
        tab_to(browser, "e.id === 'confirm'", "");
        let words = browser.text(".confirm code");
        words.chars().for_each(|key| browser.press(&key.to_string()));
    }
    tab_to(browser, &format!("e.closest('.confirm') && e.innerText === '{button}'"), ENTER);
    browser.wait_text(".done", "says what was done", |text| text.starts_with("Done: "))
}

fn busy(bed: &Bed) -> (Worker, String) {
    bed.submit(&["-n", "s1", "-c", "0", "--", "exit 3 # {}", ":::", "1", "2", "3"], "").expect(0);
    let slow = "shell:0:0:1:exec sleep 3626".to_owned();
    bed.add([&slow, "shell:0:0:1:echo fine"]);
    let worker = bed.worker("node1");
    bed.wait_counts(SOON, [0, 1, 1, 3]);
    bed.add(["shell:1000000:0:1:never 1", "shell:1000000:0:1:never 2"]);
    (worker, slow)
}

#[test]
fn every_action_is_done_with_the_keyboard_alone() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let (_worker, slow) = busy(&bed);
    let site = acting(&bed);
    let browser = Browser::start(1280, 900);
    let link = |text: &str| format!("e.tagName === 'A' && e.innerText === '{text}'");
    browser.open(&site.url("/"));
    tab_to(&browser, &link("Operate"), ENTER);
    browser.wait_text("h1", "is the form", |text| text == "DistComp");
    tab_to(&browser, "e.id === 'name'", "ann");
    tab_to(&browser, "e.id === 'token'", &format!("{OPERATOR}{ENTER}"));
    browser.wait_text("h1", "is the operator's page", |text| text.starts_with("Operate"));
    // The queue.
    tab_to(&browser, &link("Pause the queue"), ENTER);
    assert!(carried_out(&browser, "pause", "Pause").contains("paused"));
    assert!(
        bed.status(&["--json"]).expect(0).json()["paused"]
            .as_str()
            .is_some_and(|who| who.starts_with("dashboard.ann since"))
    );
    tab_to(&browser, &link("Operate"), ENTER);
    tab_to(&browser, &link("Resume the queue"), ENTER);
    carried_out(&browser, "resume", "Resume");
    // A worker.
    tab_to(&browser, &link("Operate"), ENTER);
    tab_to(&browser, "e.ariaLabel === 'Drain node1'", ENTER);
    assert!(carried_out(&browser, "drain", "Drain").contains("draining node1"));
    tab_to(&browser, &link("Operate"), ENTER);
    tab_to(&browser, "e.ariaLabel === 'Resume node1'", ENTER);
    carried_out(&browser, "resume", "Resume");
    // A batch.
    browser.open(&site.url("/batch/s1"));
    tab_to(&browser, "e.closest('.acts') && e.innerText === 'Pause'", ENTER);
    carried_out(&browser, "pause", "Pause");
    // A failure group: it waits now, since its batch is held.
    browser.open(&site.url("/failures"));
    tab_to(&browser, "e.closest('.acts') && e.innerText === 'Requeue'", ENTER);
    assert!(carried_out(&browser, "requeue", "Requeue").contains("requeued 3 tasks"));
    bed.wait_counts(SOON, [5, 1, 1, 0]);
    // A running task.
    browser.open(&site.url(&format!("/task/{}", task_id(&slow))));
    tab_to(&browser, "e.closest('.acts') && e.innerText === 'Cancel'", ENTER);
    assert!(carried_out(&browser, "cancel", "Cancel").contains("1 was running"));
    bed.wait_counts(SOON, [5, 0, 1, 1]);
    // A selection: all but the first.
    browser.open(&site.url("/tasks?state=todo&include=never"));
    assert_eq!(browser.run("return document.querySelector('#selection button').disabled"), json!(true));
    tab_to(&browser, "'chooseAll' in e.dataset", " ");
    assert_eq!(browser.text("[data-chosen-count]"), "2 chosen");
    tab_to(&browser, "e.name === 'id'", " ");
    assert_eq!(browser.text("[data-chosen-count]"), "1 chosen");
    browser.run("document.querySelector('a.skip').focus()");
    tab_to(&browser, "e.closest('#selection') && e.innerText === 'Purge'", ENTER);
    browser.wait_text("main", "asks", |text| text.contains("purge 1 task"));
    // The wrong words change nothing.
    tab_to(&browser, "e.id === 'confirm'", &format!("purge 2{ENTER}"));
    browser.wait_text(".confirm", "refuses", |text| text.contains("Nothing was changed"));
    assert!(carried_out(&browser, "purge", "Purge").contains("purged 1 task"));
    bed.wait_counts(SOON, [4, 0, 1, 1]);
    let hers: Vec<Value> = events(&bed).into_iter().filter(|event| event["by"] == "dashboard.ann").collect();
    for event in ["paused", "resumed", "draining", "requeued", "cancelled", "purged"] {
        assert!(hers.iter().any(|one| one["event"] == event), "{event} is in no event of hers: {hers:?}");
    }
    // The wrong words were refused, which a browser notes.
    let others: Vec<String> = browser.complaints().into_iter().filter(|one| !one.contains("status of 422")).collect();
    assert_eq!(others, Vec::<String>::new());
}

#[test]
fn pages_of_actions_fit_a_phone_and_have_names() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let (_worker, slow) = busy(&bed);
    let site = acting(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/operate"));
    browser.type_into("#name", "ann");
    browser.type_into("#token", &format!("{OPERATOR}{ENTER}"));
    browser.wait_text("h1", "is the operator's page", |text| text.starts_with("Operate"));
    let nameless = "return [...document.querySelectorAll('a, button, input:not([type=hidden])')].filter(e => !(e.innerText || e.ariaLabel || e.labels?.length)).length";
    let (order, task) = (format!("/operate/purge?id={}", task_id(&slow)), format!("/task/{}", task_id(&slow)));
    let places = ["/operate", "/tasks?state=todo", "/failures", "/batch/s1", &task, &order];
    let pictures = std::env::var_os("DISTCOMP_PICTURES").map(std::path::PathBuf::from);
    for (at, path) in places.into_iter().enumerate() {
        for width in [1440, 1024, 400, 360] {
            browser.resize(width, 900, 1.0);
            browser.open(&site.url(path));
            wait_until("the page", Duration::from_secs(10), || {
                holds_for(browser.count("meta[http-equiv=refresh]") == 0, browser.text("main"))
            });
            if let Some(place) = &pictures {
                browser.screenshot(&place.join(format!("act-{at}-{width}.png")));
            }
            let wide = browser.run("return document.documentElement.scrollWidth");
            assert!(wide.as_u64().is_some_and(|wide| wide <= u64::from(width)), "{path} is {wide} wide of {width}");
            assert_eq!((browser.run(nameless), browser.count("h1")), (json!(0), 1), "{path}");
        }
    }
}
