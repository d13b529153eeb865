//! `distcomp-status show` says who signed a task, and what that is worth, as far as it can be told from there.
use serde_json::{Value, json};

use super::{SIGNATURES, Signed, keygen};
use crate::support::{Bed, SOON, holds_for, wait_until};

/// The row of the page, and the object in the JSON.
#[track_caller]
fn shown(bed: &Bed, line: &str) -> (Option<String>, Value) {
    let page = bed.status(&["show", line]).expect(0).stdout;
    let row = page.lines().find_map(|row| row.strip_prefix("signed")).map(|row| row.trim().to_owned());
    (row, bed.status(&["show", line, "--json"]).expect(0).json()["signature"].clone())
}

#[test]
fn show_says_who_signed_and_what_it_is_worth() {
    let mut signed = Signed::new();
    let public = signed.bed.out("key.pub");
    // Somebody who only looks: no secret key here.
    signed.bed.configure(json!({"task_signing_key": null, "require_signed_tasks": false}));
    let [good, unsigned, altered, garbage, strange, late] =
        ["good", "unsigned", "altered", "garbage", "strange", "late"].map(|name| signed.line(name));
    let sign_with = |signed: &mut Signed, key: &str, args: &[&str], line: &str| {
        signed.bed.configure(json!({"task_signing_key": key}));
        signed.bed.submit(&[args, &["-"]].concat(), format!("{line}\n")).expect(0);
        signed.bed.configure(json!({"task_signing_key": null}));
    };
    let key = signed.bed.out("key");
    sign_with(&mut signed, &key, &[], &good);
    let (row, object) = shown(&signed.bed, &good);
    let row = row.expect("a row");
    let id = object["key"].as_str().expect("a key").to_owned();
    assert!(row.starts_with(&format!("by {id} ({public}), good until 2")), "{row}");
    assert_eq!((&object["verdict"], &object["file"]), (&json!("good"), &json!(public)), "{object}");
    assert!(object["expires"].as_u64().is_some_and(|at| at > 1_700_000_000), "{object}");

    signed.forge(&unsigned, None);
    assert_eq!(shown(&signed.bed, &unsigned), (Some("by nobody".to_owned()), json!({"verdict": "missing"})));
    signed.forge(&altered, Some(&signed.signature(&good)));
    let (row, object) = shown(&signed.bed, &altered);
    assert!(row.is_some_and(|row| row.starts_with("NO:") && row.contains("not of this line")), "{object}");
    assert_eq!(object["verdict"], "wrong");
    signed.forge(&garbage, Some("v1.\u{1b}[2J"));
    let (row, object) = shown(&signed.bed, &garbage);
    assert_eq!((row.as_deref(), &object["verdict"]), (Some("NO: its signature cannot be read"), &json!("unreadable")));

    let stranger = keygen(&signed.bed, "stranger");
    sign_with(&mut signed, &stranger, &[], &strange);
    let (row, object) = shown(&signed.bed, &strange);
    assert!(row.is_some_and(|row| row.contains("not checked")) && object["verdict"] == "unknown_key", "{object}");
    sign_with(&mut signed, &key, &["--expires", "1s"], &late);
    wait_until("it to expire", SOON, || {
        let (row, object) = shown(&signed.bed, &late);
        holds_for(object["verdict"] == "expired" && row.is_some_and(|row| row.contains("expired 2")), object)
    });
    // Another queue's identity: what was good is not any more.
    redis::cmd("SET").arg(super::QUEUE_ID).arg("another").exec(&mut signed.bed.redis.con()).expect("SET");
    assert_eq!(shown(&signed.bed, &good).1["verdict"], "wrong");
}

#[test]
fn signatures_are_shown_only_where_keys_are_set() {
    let mut signed = Signed::new();
    let line = signed.line("own");
    signed.bed.configure(json!({"task_public_keys": null, "require_signed_tasks": false}));
    signed.bed.add([&line]);
    let (row, object) = shown(&signed.bed, &line);
    assert!(row.is_some_and(|row| row.contains(&format!("({})", signed.bed.out("key")))), "{object}");
    assert_eq!(object["verdict"], "good");
    let plain = Bed::new();
    plain.add(["shell:1000000:0:1:never"]);
    assert_eq!(shown(&plain, "shell:1000000:0:1:never"), (None, Value::Null));
    assert!(plain.table(SIGNATURES).is_empty());
}
