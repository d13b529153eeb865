//! Lists of tasks: their order, their columns, searches that go on by themselves, and the search box.
use serde_json::json;

use crate::support::{Bed, Browser, Dashboard, SOON, holds_for, task_id, wait_until};

/// The texts of a column of the list.
fn column(browser: &Browser, at: usize) -> Vec<String> {
    let cells = browser.run(&format!(
        "return [...document.querySelectorAll('.tasks tbody tr')].map(row => row.cells[{at}].innerText)"
    ));
    cells.as_array().expect("cells").iter().map(|cell| cell.as_str().expect("text").to_owned()).collect()
}

#[test]
fn waiting_tasks_are_listed_in_the_order_of_their_claims() {
    let bed = Bed::new();
    // Priorities and sizes mixed, so that they stand in several lanes.
    bed.add((0..150).map(|at| format!("shell:{}:1:{}:./sim {at}", at % 3, at % 5)));
    bed.add(["shell,after=nothing:1:1:9:./later"]);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks?state=todo"));
    let mut listed = column(&browser, 1);
    assert!(
        browser.text("#as-of").starts_with("in the order in which they will be claimed"),
        "{}",
        browser.text("#as-of")
    );
    browser.click("a[rel=next]");
    let waits = column(&browser, 4);
    listed.extend(column(&browser, 1));
    let mut expected: Vec<(i32, usize)> = (0..150_usize).map(|at| (-((at % 5) as i32), at)).collect();
    expected.sort_unstable();
    let mut expected: Vec<String> =
        expected.into_iter().map(|(_, at)| format!("shell:{}:1:{}:./sim {at}", at % 3, at % 5)).collect();
    expected.push("shell,after=nothing:1:1:9:./later".to_owned());
    assert_eq!(listed, expected);
    assert_eq!(waits.last().map(String::as_str), Some("batch nothing"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_has_ended_is_listed_newest_first() {
    let bed = Bed::with(json!({"max_retry_per_task": 1, "max_task_per_worker": 1}));
    bed.add((0..4).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.add((0..4).map(|at| format!("shell:0:0:1:exit {}", at + 3)));
    bed.burst("w");
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks?state=finished"));
    let newest: Vec<String> = (0..4).rev().map(|at| format!("shell:0:0:1:echo {at}")).collect();
    assert_eq!(column(&browser, 1), newest);
    assert!(browser.text("#as-of").starts_with("newest first, as of"), "{}", browser.text("#as-of"));
    assert!(column(&browser, 2).iter().all(|ended| ended.contains("ago")), "{:?}", column(&browser, 2));
    assert_eq!(column(&browser, 4), ["exit 0"; 4]);
    browser.open(&site.url("/tasks?state=failed"));
    let newest: Vec<String> = (0..4).rev().map(|at| format!("shell:0:0:1:exit {}", at + 3)).collect();
    assert_eq!(column(&browser, 1), newest);
    browser.open(&site.url("/tasks?state=failed&kind=exit+4"));
    assert_eq!(column(&browser, 1), ["shell:0:0:1:exit 4"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn tasks_cancelled_at_one_moment_are_listed_once_each() {
    let bed = Bed::new();
    let lines: Vec<String> = (0..250).map(|at| format!("shell:0:0:1:echo {at}")).collect();
    bed.add(&lines);
    bed.ctl(&["cancel", "--all", "--yes"]).expect(0);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks?state=cancelled"));
    let mut listed = column(&browser, 1);
    while browser.count("a[rel=next]") > 0 && listed.len() < 1000 {
        browser.click("a[rel=next]");
        listed.extend(column(&browser, 1));
    }
    let (mut expected, mut found) = (lines, listed.clone());
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn running_tasks_show_how_they_stand_and_are_sorted() {
    let bed = Bed::with(json!({"health_report_interval": 0.2}));
    let go = bed.out("go");
    let lines =
        [100, 50].map(|limit| format!("shell:1:0:1:{limit}:while [ ! -e {go} ]; do sleep 0.05; done # {limit}"));
    bed.add(&lines);
    let _worker = bed.worker("w");
    for line in &lines {
        bed.wait_running(line);
    }
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks?state=in_progress&sort=left"));
    assert_eq!(column(&browser, 1), [lines[1].clone(), lines[0].clone()]);
    assert_eq!(browser.run("return document.querySelector('[aria-sort]').innerText"), json!("Time left"));
    browser.click("[aria-sort] a");
    assert_eq!(column(&browser, 1), lines);
    wait_until("it is live", SOON, || {
        let (age, left) = (column(&browser, 3), column(&browser, 4));
        holds_for(
            age.iter().all(|age| age != "0 s") && left[0] != "1 m 40 s" && !left[0].is_empty(),
            format!("{age:?} {left:?}"),
        )
    });
    assert!(column(&browser, 5).iter().all(|memory| memory.ends_with("of 1.0 GiB")), "{:?}", column(&browser, 5));
    bed.file("go", "");
    wait_until("they leave the list", SOON, || {
        holds_for(browser.count(".tasks tbody tr") == 0, column(&browser, 1).join("; "))
    });
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_search_goes_on_until_it_has_found_what_is_rare() {
    let bed = Bed::new();
    for part in 0..10 {
        bed.hset_all("finished_tasks", (0..10_000).map(|at| format!("shell:1:1:1:./sim --run {part} {at}")));
    }
    bed.hset_all("finished_tasks", ["shell:1:1:1:./sim NEEDLE".to_owned()]);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/tasks?state=finished&include=needle"));
    browser.wait_text("#told", "has found it", |text| text == "1 of 100,001 match");
    assert_eq!(column(&browser, 1), ["shell:1:1:1:./sim NEEDLE"]);
    browser.open(&site.url("/find?q=needle"));
    browser.wait_text("main", "has found it by itself", |text| text.contains("NEEDLE"));
    browser.wait_text("#searching-told", "says how much it looked at", |text| text.starts_with("100,001 of 100,001"));
    assert_eq!(browser.count("main section:not([hidden])"), 1, "{}", browser.text("main"));
    browser.open(&site.url("/find?q=re:no+such%24"));
    browser.wait_text("#nothing", "says that there is none", |text| text.starts_with("No task has this text"));
    browser.open(&site.url("/tasks?state=finished&include=re:no+such%24"));
    browser.wait_text("#told", "ends without one", |text| text.starts_with("0 of 100,001 match"));
    assert!(site.get("/tasks?state=finished&include=re:(", &[]).status == 400);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_search_box_opens_ids_and_finds_text_in_every_state() {
    let bed = Bed::with(json!({"max_retry_per_task": 1}));
    bed.add(["shell:0:0:1:echo Alpha one", "shell:0:0:1:exit 3 # alpha two"]);
    bed.burst("w");
    bed.add(["shell:0:0:1:echo alpha three"]);
    let site = Dashboard::start(&bed);
    let browser = Browser::start(1280, 900);
    browser.open(&site.url("/"));
    browser.press("/");
    assert_eq!(browser.run("return document.activeElement.id"), json!("search"));
    let id = task_id("shell:0:0:1:echo Alpha one");
    browser.type_into("#search", &format!("{}\u{e007}", &id[..10]));
    browser.wait_text("h1", "is of the task", |text| text.contains(&id));
    browser.type_into("#search", "ALPHA\u{e007}");
    let found = browser.wait_text("main", "lists them", |text| text.contains("three"));
    for part in ["Failed", "alpha two", "Waiting", "Finished", "Alpha one"] {
        assert!(found.contains(part), "{part} is missing: {found}");
    }
    browser.type_into("#search", "re:alpha (one|two)$\u{e007}");
    let found = browser.wait_text("main", "lists two", |text| text.contains("(one|two)"));
    assert!(found.contains("Alpha one") && !found.contains("three"), "{found}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
