//! Who may look at the dashboard, and what an attacker gets.
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Bed, Dashboard, SOON, read_head, send};

const TOKEN: &str = "correct-horse-battery-staple";

fn locked(bed: &Bed) -> Dashboard {
    Dashboard::with(bed, &["--listen", "127.0.0.1:0"], &[("DISTCOMP_DASHBOARD_TOKEN", TOKEN)])
}

#[test]
fn beyond_loopback_without_a_token_is_refused() {
    let bed = Bed::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let output = bed.status(&["serve", "--listen", address]).expect(2);
        assert!(output.stderr.contains("--token-file"), "{output}");
    }
}

#[test]
fn a_token_that_can_be_guessed_is_refused() {
    let bed = Bed::new();
    for weak in ["", "short", "with blanks in it, and long"] {
        let file = bed.file("token", weak);
        bed.status(&["serve", "--listen", "127.0.0.1:0", "--token-file", &file]).expect(2).says(&["token"]);
    }
    bed.status(&["serve", "--token-file", "/nonexistent/token"]).expect(2).says(&["/nonexistent/token"]);
}

#[test]
fn without_redis_it_does_not_start() {
    let bed = Bed::new();
    let url = "redis+unix:///tmp/no-such-socket-at-all";
    bed.status(&["--redis-url", url, "serve", "--listen", "127.0.0.1:0"]).expect(3);
}

#[test]
fn a_name_that_is_not_ours_is_refused_whatever_it_asks_for() {
    let bed = Bed::new();
    let args = ["--listen", "127.0.0.1:0", "--allowed-host", "monitor.lab"];
    let site = Dashboard::with(&bed, &args, &[]);
    let status =
        |host: &str, path: &str| crate::support::request(&site.at, "GET", path, &[("Host", host)], b"", SOON).status;
    let port = site.at.rsplit(':').next().expect("a port").to_owned();
    let output = "/task/0123456789abcdef/output";
    for path in ["/", "/tasks", "/live", output, "/metrics", "/api/v1/history", "/assets/dashboard.js", "/login"] {
        for foreign in ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", "10.1.2.3", ""] {
            assert!(matches!(status(foreign, path), 400 | 403), "{foreign} may ask for {path}");
        }
    }
    for ours in [site.at.clone(), format!("localhost:{port}"), "localhost".to_owned(), "monitor.lab".to_owned()] {
        assert_eq!(status(&ours, "/"), 200, "{ours}");
    }
    let none = crate::support::request(&site.at, "GET", "/", &[], b"", SOON);
    assert_eq!(none.status, 400, "{none:?}");
    let two = crate::support::request(&site.at, "GET", "/", &[("Host", &site.at), ("Host", "evil.example")], b"", SOON);
    assert_eq!(two.status, 400, "{two:?}");
}

#[test]
fn another_origin_is_refused() {
    let bed = Bed::new();
    let site = locked(&bed);
    let own = format!("http://{}", site.at);
    let login = |headers: &[(&str, &str)]| {
        let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        site.send("POST", "/login", &all, format!("token={TOKEN}").as_bytes())
    };
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(login(&[("Origin", foreign)]).status, 403, "{foreign}");
        assert_eq!(site.get("/", &[("Origin", foreign)]).status, 403, "{foreign}");
    }
    assert_eq!(login(&[]).status, 403, "a browser always names its origin here");
    assert_eq!(login(&[("Origin", &own)]).status, 303);
}

#[test]
fn only_the_token_opens_and_it_opens_everything() {
    let bed = Bed::new();
    let site = locked(&bed);
    let paths = [
        "/",
        "/workers",
        "/tasks",
        "/failures",
        "/task/0123456789abcdef",
        "/task/0123456789abcdef/output",
        "/task/0123456789abcdef/download",
        "/timeline",
        "/api/v1/timeline",
        "/live?view=workers",
        "/live",
        "/metrics",
        "/api/v1/history",
    ];
    for path in paths {
        let refused = site.get(path, &[]);
        assert_eq!(refused.status, 401, "{path}: {refused:?}");
        for wrong in
            ["Bearer wrong", "Bearer correct-horse-battery-stapl", "Basic correct-horse-battery-staple", "Bearer"]
        {
            assert_eq!(site.get(path, &[("Authorization", wrong)]).status, 401, "{wrong} {path}");
        }
        let in_address = format!("{path}{}token={TOKEN}", if path.contains('?') { '&' } else { '?' });
        assert_eq!(site.get(&in_address, &[]).status, 401, "never in an address: {path}");
        assert_eq!(site.get(path, &[("Cookie", "distcomp_1=x")]).status, 401, "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/", "/workers", "/tasks", "/failures", "/metrics", "/api/v1/history"] {
        assert_eq!(site.get(path, &[("Authorization", &bearer)]).status, 200, "{path}");
    }
    let page = site.get("/", &[("Accept", "text/html")]);
    assert_eq!((page.status, page.header("location")), (303, Some("/login")));
    assert!(!site.said().contains(TOKEN));
}

#[test]
fn a_session_comes_from_the_form_and_ends_with_the_server() {
    let bed = Bed::new();
    let site = locked(&bed);
    let own = format!("http://{}", site.at);
    let post = |site: &Dashboard, token: &str| {
        let headers = [("Origin", own.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        site.send("POST", "/login", &headers, format!("token={token}").as_bytes())
    };
    let wrong = post(&site, "wrong");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    let right = post(&site, TOKEN);
    let cookie = right.header("set-cookie").expect("a cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN));
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    assert_eq!(site.get("/", &[("Cookie", &pair)]).status, 200);
    let end = site.send("POST", "/logout", &[("Origin", &own), ("Cookie", &pair)], b"");
    assert!(end.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{end:?}");
    drop(site);
    assert_eq!(locked(&bed).get("/", &[("Cookie", &pair)]).status, 401, "a new server, a new secret");
}

#[test]
fn nothing_can_be_changed() {
    let bed = Bed::new();
    bed.hset_all("todo_tasks", ["shell:1:1:1:x"]);
    let site = Dashboard::start(&bed);
    let own = format!("http://{}", site.at);
    let task = "/task/0123456789abcdef";
    let output = format!("{task}/output");
    for path in
        ["/", "/workers", "/timeline", "/tasks", "/failures", "/live", "/metrics", task, &output, "/api/v1/history"]
    {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let status = site.send(method, path, &[("Origin", &own)], b"").status;
            assert!(matches!(status, 403..=405), "{method} {path}: {status}");
        }
    }
    let before: Vec<String> = bed.keys();
    for path in [
        "/",
        "/workers",
        "/timeline",
        "/api/v1/timeline",
        "/api/v1/history?range=7d",
        "/tasks?state=todo",
        "/failures",
        "/metrics",
    ] {
        assert_eq!(site.get(path, &[]).status, 200);
    }
    assert_eq!(bed.keys(), before, "looking writes nothing to Redis");
}

#[test]
fn every_answer_forbids_what_a_page_of_ours_never_does() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    for path in ["/", "/tasks", "/assets/dashboard.js", "/metrics", "/nothing/here", "/tasks?state=nonsense"] {
        let answer = site.get(path, &[]);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for part in [
            "default-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "object-src 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert!(
            !answer.body.contains("<script>") && !answer.body.contains(" style=") && !answer.body.contains(" onclick="),
            "{path}"
        );
        assert!(!answer.body.contains("https://") || path.ends_with(".js"), "{path} names another place");
    }
}

#[test]
fn a_body_or_a_head_that_is_too_large_is_refused() {
    let bed = Bed::new();
    let site = locked(&bed);
    let own = format!("http://{}", site.at);
    let headers = [("Origin", own.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let large = format!("token={}", "x".repeat(100_000));
    assert_eq!(site.send("POST", "/login", &headers, large.as_bytes()).status, 413);
    // The server may close before all of it is sent: no answer is an answer too.
    let head = "x".repeat(200_000);
    let refused =
        crate::support::try_request(&site.at, "GET", "/", &[("Host", &site.at), ("X-Long", &head)], b"", SOON);
    assert!(refused.as_ref().map_or(true, |answer| answer.status == 431), "{refused:?}");
    assert_eq!(site.get("/login", &[]).status, 200, "and it goes on");
}

#[test]
fn who_opens_a_connection_and_says_nothing_is_cut_off() {
    let bed = Bed::new();
    let site = Dashboard::start(&bed);
    let mut mute = TcpStream::connect(&site.at).expect("a connection");
    mute.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let mut all = Vec::new();
    // Either a refusal or nothing, and then the end.
    let ended = mute.read_to_end(&mut all);
    assert!(ended.is_ok(), "{ended:?}");
}

#[test]
fn open_streams_do_not_keep_it_from_ending() {
    let bed = Bed::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut site = Dashboard::start(&bed);
        let mut streams: Vec<_> = (0..5)
            .map(|_| send(&site.at, "GET", "/live", &[("Host", &site.at)], b"", SOON).expect("a connection"))
            .collect();
        for stream in &mut streams {
            assert_eq!(read_head(stream).expect("a head").0, 200);
        }
        site.signal(signal);
        assert_eq!(site.wait_exit().code(), Some(0), "{signal}");
        for mut stream in streams {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
