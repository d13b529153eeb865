//! Where the dashboard is, where a login leads, what can be taken along, and its colours.
use serde_json::json;

use crate::support::{Bed, Browser, Dashboard, SOON, holds_for, task_id, wait_until};

const TOKEN: &str = "correct-horse-battery-staple";

#[test]
fn a_dashboard_under_a_path_keeps_every_link_below_it() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add(["shell:0.01:0.01:1:echo hello", "shell:0.01:0.01:1:exit 3"]);
    bed.burst("w");
    let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0", "--base-path", "/lab/distcomp/"], &[]);
    let at = format!("http://{}/lab/distcomp/", site.at);
    wait_until("it to say where it is", SOON, || holds_for(site.said().contains(&at), site.said()));
    assert_eq!(site.get("/lab/distcomp", &[]).header("location"), Some("/lab/distcomp/"));
    // A proxy may have taken the path off, and a scraper may come past it.
    assert_eq!((site.get("/metrics", &[]).status, site.get("/lab/distcomp/metrics", &[]).status), (200, 200));
    let browser = Browser::start(1280, 900);
    let task = format!("/lab/distcomp/task/{}", task_id("shell:0.01:0.01:1:echo hello"));
    for path in [
        "/lab/distcomp/",
        "/lab/distcomp/workers",
        "/lab/distcomp/timeline",
        "/lab/distcomp/batches",
        "/lab/distcomp/tasks",
        "/lab/distcomp/failures",
        &task,
    ] {
        browser.open(&site.url(path));
        browser.wait_text("#link-text", "is live", |text| text == "live" || text == "no worker is alive");
        let outside = "return [...document.querySelectorAll('a, form, script, link')].map(e => e.getAttribute('href') ?? e.getAttribute('action') ?? e.getAttribute('src')).filter(to => to?.startsWith('/') && !to.startsWith('/lab/distcomp/'))";
        assert_eq!(browser.run(outside), json!([]), "{path}");
    }
    browser.open(&site.url("/lab/distcomp/"));
    browser.wait_text("[data-failures]", "has the failure", |text| text.contains("exit 3"));
    browser.click("[data-failures] a");
    assert!(browser.text("main").contains("exit 3"), "{}", browser.text("main"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    for bad in ["distcomp", "//evil", "/a b", "/../x"] {
        bed.status(&["serve", "--listen", "127.0.0.1:0", "--base-path", bad]).expect(2).says(&["--base-path"]);
    }
}

#[test]
fn a_login_leads_back_to_the_page_and_nowhere_else() {
    let bed = Bed::new();
    for base in ["", "/d"] {
        let args = ["--listen", "127.0.0.1:0", "--base-path", if base.is_empty() { "/" } else { base }];
        let site = Dashboard::with(&bed, &args, &[("DISTCOMP_DASHBOARD_TOKEN", TOKEN)]);
        let page = site.get(&format!("{base}/tasks?state=failed&include=a%20b"), &[("Accept", "text/html")]);
        let form = page.header("location").expect("a form").to_owned();
        assert_eq!(form, format!("{base}/login?next=%2Ftasks%3Fstate%3Dfailed%26include%3Da%2520b"));
        let page = site.get(&form, &[]).body;
        assert!(page.contains(r#"name="next" value="/tasks?state=failed&#38;include=a%20b""#), "{page}");
        let origin = format!("http://{}", site.at);
        let login = |next: &str| {
            let headers = [("Origin", origin.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
            let answer =
                site.send("POST", &format!("{base}/login"), &headers, format!("token={TOKEN}&next={next}").as_bytes());
            assert!(
                answer.header("set-cookie").is_some_and(|cookie| cookie.contains(&format!("Path={base}/;"))),
                "{answer:?}"
            );
            answer.header("location").map(str::to_owned)
        };
        assert_eq!(login("%2Ftasks%3Fstate%3Dfailed"), Some(format!("{base}/tasks?state=failed")));
        // As an address bar has it, with the path of the dashboard before it.
        assert_eq!(login(&format!("{base}/tasks%3Fstate%3Dfailed")), Some(format!("{base}/tasks?state=failed")));
        for foreign in [
            "https://evil.example",
            "//evil.example",
            "/%5Cevil.example",
            "/%09/evil.example",
            "%5C%5Cevil.example",
            "/%0d%0aX:y",
        ] {
            assert_eq!(login(foreign), Some(format!("{base}/")), "{foreign}");
            let asked = site.get(&format!("{base}/login?next={foreign}"), &[]).body;
            assert!(!asked.contains("evil"), "{asked}");
        }
    }
}

#[test]
fn output_is_downloaded_byte_for_byte_and_never_opened() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    let good = "shell:0.01:0.01:1:printf '\\n <script>alert(1)</script> \\n'";
    let bad = "shell:0.01:0.01:1:echo half; echo '<b>broken</b>' >&2; exit 3";
    bed.add([good, bad]);
    bed.burst("w");
    let site = Dashboard::start(&bed);
    let file = site.get(&format!("/task/{}/download", task_id(good)), &[]);
    assert_eq!((file.status, file.body.as_str()), (200, "\n <script>alert(1)</script> \n"));
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        file.header("content-disposition"),
        Some(format!("attachment; filename=\"{}.txt\"", task_id(good)).as_str())
    );
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    let failed = |stream: &str| site.get(&format!("/task/{}/download?stream={stream}", task_id(bad)), &[]).body;
    assert_eq!((failed("stdout"), failed("stderr")), ("half\n".to_owned(), "<b>broken</b>\n".to_owned()));
    for path in [
        "/task/0123456789abcdef/download",
        "/task/x/download",
        &format!("/task/{}/download?stream=../x", task_id(good)),
    ] {
        assert_eq!(site.get(path, &[]).status, 404, "{path}");
    }
}

#[test]
fn the_colours_can_be_switched_and_stay() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.prefer("light");
    browser.open(&site.url("/"));
    let ground = || browser.run("return getComputedStyle(document.body).backgroundColor");
    let light = ground();
    assert_eq!(browser.run("return document.getElementById('theme').ariaLabel"), json!("Colours: system"));
    browser.click("#theme");
    assert_eq!(ground(), light);
    browser.click("#theme");
    let dark = ground();
    assert_ne!(dark, light);
    browser.open(&site.url("/workers"));
    assert_eq!((ground(), browser.run("return document.documentElement.dataset.theme")), (dark, json!("dark")));
    browser.click("#theme");
    assert_eq!(ground(), light, "as the system has it again");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
