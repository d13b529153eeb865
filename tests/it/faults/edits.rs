//! An edit that is cut short: each task is there as the old line or as the new one, and repeating the command does the rest.
use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::bed;
use crate::support::{Bed, Mode, Proxy, SOON, Started, acl_password, holds_for, run_times, wait_until};

const MANY: usize = 4000;

fn old(out: &str, at: usize) -> String {
    format!("shell:0:0:1:echo {at} >> {out}")
}

/// The numbers of the lines that wait, as the old and as the new line.
fn waiting(bed: &Bed, out: &str) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let lines: BTreeSet<String> =
        ["todo_tasks", "distcomp:waiting"].into_iter().flat_map(|key| bed.table(key).into_keys()).collect();
    let of = |line: fn(&str, usize) -> String| (0..MANY).filter(|at| lines.contains(&line(out, *at))).collect();
    (of(old), of(|out, at| old(out, at).replacen("shell:0:0:1", "shell,constraint=!x:0:0:9", 1)))
}

/// Starts an edit of everything through a slow network, and waits until some of it is done, and not all.
fn begun(bed: &Bed, proxy: &Proxy) -> Started {
    let url = if bed.redis.has_users() {
        proxy.url().replace("://", &format!("://operator:{}@", acl_password("operator")))
    } else {
        proxy.url()
    };
    let args = ["edit", "--all", "--set", "priority=9", "--set", "constraint=!x", "--yes", "--redis-url"];
    let started = bed.cli("distcomp-ctl").args(args).args([&url]).start();
    wait_until("some to be edited", SOON, || {
        let edited = bed.count("distcomp:waiting");
        holds_for(edited > 100, edited)
    });
    started
}

#[track_caller]
fn each_is_one_of_both(bed: &Bed, out: &str) {
    let (old, new) = waiting(bed, out);
    assert!(!old.is_empty() && !new.is_empty(), "{} old and {} new ones: it was not cut short", old.len(), new.len());
    assert_eq!(old.intersection(&new).count(), 0, "never both");
    assert_eq!(old.len() + new.len(), MANY, "never neither");
}

#[track_caller]
fn repeated_it_is_complete(bed: &Bed, out: &str) {
    bed.ctl(&["edit", "--all", "--set", "priority=9", "--set", "constraint=!x", "--yes"]).expect(0);
    let (old, new) = waiting(bed, out);
    assert_eq!((old.len(), new.len()), (0, MANY));
    let _workers = ["a", "b"].map(|name| bed.worker(name));
    bed.wait_counts(Duration::from_secs(120), [0, 0, MANY, 0]);
    let times = run_times(out);
    assert_eq!((times.len(), times.values().max()), (MANY, Some(&1)), "each ran once");
}

fn filled() -> (Bed, String, Proxy) {
    let bed = bed(json!({}));
    let out = bed.out("runs");
    bed.add((0..MANY).map(|at| old(&out, at)));
    let proxy = Proxy::start(&bed.redis.socket());
    proxy.set(Mode::Delay(Duration::from_millis(10)));
    (bed, out, proxy)
}

#[test]
fn killed_edit_leaves_each_line_old_or_new() {
    let (bed, out, proxy) = filled();
    let editing = begun(&bed, &proxy);
    editing.signal(Signal::SIGKILL);
    editing.finish();
    each_is_one_of_both(&bed, &out);
    repeated_it_is_complete(&bed, &out);
}

#[test]
fn edit_on_a_killed_server_leaves_each_line_old_or_new() {
    let (mut bed, out, proxy) = filled();
    let editing = begun(&bed, &proxy);
    bed.redis.kill9();
    editing.finish().expect(3).says(&["repeating the command is safe"]);
    bed.redis.start_again();
    each_is_one_of_both(&bed, &out);
    repeated_it_is_complete(&bed, &out);
}

#[test]
fn edit_whose_answers_are_lost_is_repeated_once() {
    let (bed, out, proxy) = filled();
    let editing = begun(&bed, &proxy);
    proxy.set(Mode::HalfClose);
    let said = editing.finish();
    assert!(said.is(3) && said.all().contains("repeating the command is safe"), "{}", said.all());
    each_is_one_of_both(&bed, &out);
    repeated_it_is_complete(&bed, &out);
}
