//! The JSON API: the shapes of `--json` at documented addresses, for programs that have the token.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Bed, Dashboard, Redis, SOON, ServerOptions, holds_for, task_id, wait_until};

const TOKEN: &str = "correct-horse-battery-staple";

const ADDRESSES: [&str; 9] = [
    "/api/v1/overview",
    "/api/v1/workers",
    "/api/v1/tasks?state=failed",
    "/api/v1/task/0123456789abcdef",
    "/api/v1/failures",
    "/api/v1/batches",
    "/api/v1/batch/s1",
    "/api/v1/limits",
    "/api/v1/events",
];

#[track_caller]
fn json_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[track_caller]
fn refused(answer: &Answer, status: u16) -> (String, String) {
    let json = json_of(answer, status);
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{json}");
    let text = |name: &str| json["error"][name].as_str().unwrap_or_else(|| panic!("{json}")).to_owned();
    (text("code"), text("message"))
}

fn fields(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

/// A queue in which every state has a task.
fn busy() -> (Bed, impl Drop) {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.submit(&["-n", "s1/prep", "--tag", "word", "-L", "disk=2", "-c", "0", "--", "echo fine"], "").expect(0);
    bed.submit(&["-n", "s1/sim", "-c", "0", "--", "echo lost >&2; exit 3 # {}", ":::", "1", "2"], "").expect(0);
    bed.add(["shell:0:0:1:exec sleep 3625", "shell:1000000:0:1:\u{202e}never"]);
    let worker = bed.worker("node1");
    bed.wait_counts(SOON, [1, 1, 1, 2]);
    (bed, worker)
}

#[test]
fn api_answers_have_the_shapes_of_the_commands() {
    let (bed, _worker) = busy();
    let site = Dashboard::start(&bed);
    let get = |path: &str| json_of(&site.get(path, &[]), 200);
    let command = |args: &[&str]| bed.status(args).expect(0).json_lines();
    let overview = wait_until("a heartbeat", SOON, || {
        let overview = get("/api/v1/overview");
        let is_told = overview["counts"]["in_progress"] == 1 && overview["workers"][0]["load"].is_object();
        if is_told { Ok(overview) } else { Err(overview) }
    });
    assert_eq!(fields(&overview), fields(&command(&["--json"])[0]));
    let tasks = |state: &str| get(&format!("/api/v1/tasks?state={state}"));
    for (state, number) in [("todo", 1), ("in_progress", 1), ("finished", 1), ("failed", 2), ("cancelled", 0)] {
        let found = tasks(state);
        let listed = command(&["tasks", "--json", "--state", state]);
        let rows = found["tasks"].as_array().expect("tasks");
        assert_eq!((rows.len(), listed.len(), &found["next"]), (number, number, &Value::Null), "{found}");
        let mut extra = BTreeSet::new();
        for (row, listed) in rows.iter().zip(&listed) {
            assert!(fields(listed).is_subset(&fields(row)), "{row} {listed}");
            extra.extend(fields(row).difference(&fields(listed)).cloned());
        }
        let expected: &[&str] = if state == "failed" { &["kind", "reason", "will_retry"] } else { &[] };
        assert_eq!(extra, expected.iter().map(|name| (*name).to_owned()).collect());
    }
    let filtered = |query: &str| get(&format!("/api/v1/tasks?{query}"))["tasks"].as_array().expect("tasks").len();
    assert_eq!(filtered("state=failed&batch=s1/sim&include=%23%201"), 1);
    assert_eq!(filtered("state=failed&kind=exit+3&worker=node1&exclude=%23%201"), 1);
    assert_eq!(filtered("state=finished&tag=word"), 1);
    assert_eq!(filtered("state=finished&tag=other"), 0);
    let done = tasks("finished")["tasks"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(get(&format!("/api/v1/task/{done}")), command(&["show", &done, "--json"])[0]);
    let failures = get("/api/v1/failures");
    assert_eq!(
        (failures["failures"].clone(), &failures["is_complete"]),
        (json!(command(&["failures", "--json"])), &json!(true))
    );
    assert_eq!(get("/api/v1/failures?batch=s1/prep")["failures"], json!([]));
    // Rates change from second to second.
    wait_until("batches of the same second", SOON, || {
        let (told, listed) = (get("/api/v1/batches"), json!({"batches": command(&["batches", "--json"]), "known": 1}));
        holds_for(told == listed, format!("{told} {listed}"))
    });
    wait_until("the batch of the same second", SOON, || {
        let mut listed = command(&["batch", "s1", "--json"]).remove(0);
        listed["is_complete"] = json!(true);
        let told = get("/api/v1/batch/s1");
        holds_for(told == listed, format!("{told} {listed}"))
    });
    assert_eq!(get("/api/v1/batch/s1/prep")["name"], "s1/prep");
    let texts = get("/api/v1/batch/s1?texts=1");
    assert_eq!((&texts["texts"]["href"], &texts["steps"][1]["texts"]["failed"]), (&json!("/batch/s1"), &json!("2")));
    assert_eq!(get("/api/v1/limits")["limits"], json!(command(&["limits", "--json"])));
    let workers = get("/api/v1/workers");
    assert_eq!(fields(&workers["workers"][0]), fields(&command(&["workers", "--json"])[0]));
    let text = site.get("/api/v1/tasks?state=todo", &[]);
    assert!(text.body.contains("\\u202e") && !text.body.contains('\u{202e}'), "{text:?}");
    assert_eq!(text.header("cache-control"), Some("no-store"), "{text:?}");
}

#[test]
fn api_pages_and_events_go_on_where_they_stopped() {
    let bed = Bed::new();
    bed.hset_all("finished_tasks", (0..1000).map(|at| format!("shell:1:1:1:./sim --run {at}")));
    let site = Dashboard::start(&bed);
    let get = |path: &str| json_of(&site.get(path, &[]), 200);
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let found = get(&format!("/api/v1/tasks?state=finished&cursor={cursor}"));
        let ids = found["tasks"].as_array().expect("tasks").iter().map(|task| task["id"].to_string());
        seen.extend(ids);
        pages += 1;
        match found["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages > 3), (1000, true), "{pages} pages");
    assert_eq!(get("/api/v1/events"), json!({"events": [], "next": "0-0"}));
    bed.add(["shell:1000000:0:1:first"]);
    // An answer is shared for a second.
    let first = wait_until("the event", SOON, || {
        let found = get("/api/v1/events?limit=9");
        if found["events"][0]["event"] == "submitted" { Ok(found) } else { Err(found) }
    });
    let next = first["next"].as_str().expect("an entry");
    assert_eq!(get(&format!("/api/v1/events?after={next}")), json!({"events": [], "next": next}));
    bed.add(["shell:1000000:0:1:second"]);
    wait_until("the next event, and no other", SOON, || {
        let found = get(&format!("/api/v1/events?after={next}"));
        let lines: Vec<&Value> =
            found["events"].as_array().expect("events").iter().map(|event| &event["line"]).collect();
        holds_for(lines == [&json!("shell:1000000:0:1:second")], format!("{found}"))
    });
}

#[test]
fn api_errors_are_json_with_their_status() {
    let bed = Bed::new();
    let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0"], &[("DISTCOMP_DASHBOARD_TOKEN", TOKEN)]);
    let bearer = format!("Bearer {TOKEN}");
    for path in ADDRESSES {
        for accept in ["*/*", "text/html"] {
            let answer = site.get(path, &[("Accept", accept)]);
            assert_eq!(refused(&answer, 401).0, "unauthorized", "{path}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
            assert!(answer.header("content-security-policy").is_some(), "{path}");
        }
    }
    let get = |path: &str| site.get(path, &[("Authorization", &bearer)]);
    for (path, status, code, message) in [
        ("/api/v1/tasks", 400, "usage", "state is \"\"; valid: todo, in_progress, finished, failed, cancelled"),
        ("/api/v1/tasks?state=failed&kinds=x", 400, "usage", "unknown field `kinds`"),
        ("/api/v1/tasks?state=todo&batch=a%20b", 400, "usage", "batch: valid"),
        ("/api/v1/tasks?state=todo&cursor=-1", 400, "usage", "cursor: valid"),
        ("/api/v1/tasks?state=todo&state=failed", 400, "usage", "duplicate field"),
        ("/api/v1/task/ABC", 400, "usage", "16 hex digits"),
        ("/api/v1/task/0123456789abcdef", 404, "not_found", "no task 0123456789abcdef"),
        ("/api/v1/batch/nothing", 404, "not_found", "no batch nothing"),
        ("/api/v1/events?after=x", 400, "usage", "after: valid"),
        ("/api/v1/events?limit=0", 400, "usage", "limit is \"0\"; valid: 1 to 1000"),
        ("/api/v1/batches?texts=yes", 400, "usage", "texts is"),
        ("/api/v1/nothing", 404, "not_found", "docs/api.md"),
        ("/api/v2/overview", 404, "not_found", "docs/api.md"),
    ] {
        let (found, text) = refused(&get(path), status);
        assert!(found == code && text.contains(message), "{path}: {found}: {text}");
    }
    let own = format!("http://{}", site.at);
    let post = site.send("POST", "/api/v1/overview", &[("Authorization", &bearer), ("Origin", &own)], b"");
    assert_eq!(refused(&post, 405), ("method_not_allowed".to_owned(), "the API only reads: use GET".to_owned()));
    let foreign = site.get("/api/v1/overview", &[("Authorization", &bearer), ("Origin", "http://evil.example")]);
    assert_eq!(refused(&foreign, 403).0, "forbidden");
    let zipped = site.get("/api/v1/nothing", &[("Accept-Encoding", "gzip"), ("Authorization", &bearer)]);
    assert_eq!(refused(&zipped, 404).0, "not_found");
}

#[test]
fn api_says_503_and_not_old_figures_without_redis() {
    let mut bed = Bed::on(Redis::start(ServerOptions { durable: true, ..ServerOptions::default() }), json!({}));
    let line = "shell:1000000:1:1:waits";
    bed.add([line]);
    let site = Dashboard::start(&bed);
    let task = format!("/api/v1/task/{}", task_id(line));
    json_of(&site.get(&task, &[]), 200);
    bed.redis.kill9();
    for path in ["/api/v1/overview", "/api/v1/workers", "/api/v1/tasks?state=todo", &task, "/api/v1/limits"] {
        wait_until("503", SOON, || {
            let answer = site.get(path, &[]);
            holds_for(answer.status == 503, answer.body)
        });
        let answer = site.get(path, &[]);
        assert_eq!((refused(&answer, 503).0.as_str(), answer.header("retry-after")), ("redis_unavailable", Some("5")));
    }
    bed.redis.start_again();
    wait_until("200 again", SOON, || holds_for(site.get("/api/v1/overview", &[]).status == 200, "not yet"));
}
