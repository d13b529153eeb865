//! A signature counts in the queue that it was made for, and a worker knows which one that is.
use serde_json::json;

use super::{QUEUE_ID, SIGNATURES, Signed, command};
use crate::support::{Bed, Redis, SOON, ServerOptions, holds_for, wait_until};

#[test]
fn signature_for_another_queue_is_refused() {
    let mut from =
        Signed::on(Bed::on(Redis::start(ServerOptions { tcp: true, plain: true, ..Default::default() }), json!({})));
    let line = from.line("replayed");
    let url = format!("redis://127.0.0.1:{}/3", from.bed.redis.port());
    let here = from.bed.redis.url();
    let keys = json!({
        "task_signing_key": from.bed.out("key"), "task_public_keys": [from.bed.out("key.pub")], "require_signed_tasks": true
    });
    // Another prefix of the same database, and another database of the same server, even with its identity copied.
    for (name, change) in [("prefix", json!({"redis_key_prefix": "other:"})), ("db", json!({"redis_url": url}))] {
        from.bed.configure(change.clone());
        from.bed.add([&line]);
        let prefix = change["redis_key_prefix"].as_str().unwrap_or_default();
        let mut con = match prefix {
            "" => redis::Client::open(url.as_str()).and_then(|client| client.get_connection()).expect("a connection"),
            _ => from.bed.redis.con(),
        };
        let mut ask = |args: &[&str]| -> String { redis::cmd(args[0]).arg(&args[1..]).query(&mut con).expect("there") };
        let signature = ask(&["HGET", &format!("{prefix}{SIGNATURES}"), &line]);
        let id = ask(&["GET", &format!("{prefix}{QUEUE_ID}")]);
        from.bed.configure(json!({"redis_key_prefix": null, "redis_url": here}));
        command::<String>(&from.bed, &["SET", QUEUE_ID, &id]);
        from.forge(&line, Some(&signature));
        // A worker that has never seen this queue: one that has is not even fooled by its identity.
        from.bed.burst(name);
        from.was_refused(&line, "not of this line and this queue");
    }
    // Another server of the same database and prefix.
    let other = Signed { bed: Bed::with(keys) };
    let signed = from.line("elsewhere");
    from.bed.add([&signed]);
    other.forge(&signed, Some(&from.signature(&signed)));
    other.is_refused(&signed, "not of this line and this queue");
    assert!(from.ran().is_empty(), "{:?}", from.ran());
}

#[test]
fn worker_recognises_its_queue_and_refuses_another() {
    let (signed, other) = (Signed::new(), Signed::new());
    signed.bed.burst("w");
    let mine: String = command(&signed.bed, &["GET", QUEUE_ID]);
    // Somebody who can write here has the queue pass for another, and brings what was signed there.
    let line = other.line("replayed");
    other.bed.add([&line]);
    let theirs: String = command(&other.bed, &["GET", QUEUE_ID]);
    assert_ne!(mine, theirs);
    command::<String>(&signed.bed, &["SET", QUEUE_ID, &theirs]);
    signed.forge(&line, Some(&other.signature(&line)));
    let mut worker = signed.bed.worker_with("w", json!({"task_public_keys": [other.bed.out("key.pub")]}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 2, "{}", worker.log());
    assert!(worker.log().contains(QUEUE_ID), "{}", worker.log());
    let changes = json!({"task_public_keys": [other.bed.out("key.pub")]});
    let mut check = signed.bed.worker_with("w", changes, &["--check"]);
    assert_eq!(check.wait_exit(SOON), 2, "--check knows it too\n{}", check.log());
    assert!(other.ran().is_empty());
    // A queue that lost its identity with its data gets it back.
    command::<String>(&signed.bed, &["FLUSHALL"]);
    signed.bed.burst("w");
    assert_eq!(command::<String>(&signed.bed, &["GET", QUEUE_ID]), mine);
}

#[test]
fn a_running_worker_gives_a_flushed_queue_its_identity_back() {
    let signed = Signed::new();
    let _worker = signed.bed.worker("w");
    signed.bed.wait_alive("w");
    let mine: String = command(&signed.bed, &["GET", QUEUE_ID]);
    command::<String>(&signed.bed, &["FLUSHALL"]);
    wait_until("the identity to be back", SOON, || {
        let seen: Option<String> = command(&signed.bed, &["GET", QUEUE_ID]);
        holds_for(seen.as_deref() == Some(mine.as_str()), format!("{seen:?}"))
    });
    let line = signed.line("after");
    signed.bed.add([&line]);
    wait_until("the task to run", SOON, || holds_for(signed.ran() == ["after"], format!("{:?}", signed.bed.counts())));
}
