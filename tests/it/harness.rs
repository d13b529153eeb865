//! The harness must be able to fail: what it finds, waits for and restarts is really so.
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{
    Bed, Redis, SOON, ServerOptions, begun, holds_for, kill_all, task_id, unique_sleep, wait_until, with_argv,
    with_mark,
};

#[test]
fn process_in_its_own_session_is_found_by_the_harness() {
    let mark = unique_sleep();
    let mut child = Command::new("sh")
        .args(["-c", &format!("(setsid sleep {mark} &)")])
        .env("IT_MARK", format!("harness.{mark}"))
        .spawn()
        .expect("sh runs");
    child.wait().expect("it ends");
    // Only once it has become `sleep` is its list of arguments steady: it can be read empty in the midst of an exec.
    let mut found = Vec::new();
    wait_until("both ways to find it", SOON, || {
        found = with_argv(&mark);
        let marked = with_mark(&format!("IT_MARK=harness.{mark}")).len();
        let settled = matches!(&found[..], [one] if one.argv.starts_with("sleep "));
        holds_for(settled && marked == 1, format!("{found:?}, {marked} by environment"))
    });
    kill_all(&found);
    wait_until("it to be gone", SOON, || holds_for(with_argv(&mark).is_empty(), "still there"));
}

#[test]
fn fork_of_a_shell_is_found_and_has_not_begun() {
    let mark = unique_sleep();
    // A subshell that reads, and so is a fork for as long as its input is open.
    let mut shell = Command::new("sh")
        .args(["-c", &format!("(read line; :); : {mark}")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs");
    wait_until("the fork", SOON, || holds_for(with_argv(&mark).len() == 2, format!("{:?}", with_argv(&mark))));
    let begun: Vec<i32> = begun(&mark).iter().map(|one| one.pid).collect();
    assert_eq!(begun, [i32::try_from(shell.id()).expect("a pid")]);
    drop(shell.stdin.take());
    assert!(shell.wait().expect("it ends").success());
}

#[test]
fn only_a_durable_server_keeps_its_data_over_kill_9() {
    for durable in [true, false] {
        let mut bed = Bed::on(Redis::start(ServerOptions { durable, ..Default::default() }), serde_json::json!({}));
        bed.hset("todo_tasks", "line", "");
        bed.redis.kill9();
        bed.redis.start_again();
        assert_eq!(bed.count("todo_tasks"), usize::from(durable));
    }
}

#[test]
fn a_frozen_server_answers_again_after_the_thaw() {
    let bed = Bed::new();
    bed.redis.freeze();
    bed.redis.thaw();
    bed.hset("todo_tasks", b"not \xff utf8", "");
    assert_eq!(bed.table("todo_tasks").into_keys().collect::<Vec<_>>(), ["not \u{fffd} utf8"]);
}

#[test]
#[should_panic(expected = "last state seen: 41")]
fn a_wait_in_vain_ends_and_prints_the_last_state() {
    wait_until("the answer", Duration::from_millis(50), || holds_for(false, 41));
}

#[test]
fn an_id_is_sixteen_hex_digits_of_sha_256() {
    // printf %s 'shell:1:1:1:true' | sha256sum | cut -c 1-16
    assert_eq!(task_id("shell:1:1:1:true"), "c7ccf47c7fd9f848");
}
