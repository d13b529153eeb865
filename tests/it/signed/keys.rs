//! Keys: made, changed, found to be bad, and never where they do not belong.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::{SIGNATURES, Signed, keygen};
use crate::support::{Bed, SOON, holds_for, read, wait_until};

#[test]
fn a_signature_of_a_key_the_worker_does_not_know_is_refused() {
    let mut signed = Signed::new();
    let stranger = keygen(&signed.bed, "stranger");
    let line = signed.line("strange");
    let public = signed.bed.out("key.pub");
    signed.bed.configure(json!({"task_signing_key": stranger}));
    signed.bed.add([&line]);
    signed.is_refused(&line, "does not know");
    // The same, with the name of a known key in it.
    let known =
        read(&public).split_whitespace().find_map(|word| word.strip_suffix('.').map(str::to_owned)).expect("its id");
    let lying = signed.line("lying");
    signed.bed.add([&lying]);
    let mut parts: Vec<String> = signed.signature(&lying).split('.').map(str::to_owned).collect();
    parts[2] = known;
    signed.bed.hset(SIGNATURES, &lying, parts.join("."));
    signed.is_refused(&lying, "not of this line");
    assert!(signed.ran().is_empty());
}

#[test]
fn keys_are_changed_by_naming_the_old_and_the_new() {
    let mut signed = Signed::new();
    let (old, new) = (signed.line("old"), signed.line("new"));
    signed.bed.add([&old]);
    let next = keygen(&signed.bed, "next");
    let publics = [signed.bed.out("key.pub"), format!("{next}.pub")];
    signed.bed.configure(json!({"task_signing_key": next, "task_public_keys": publics}));
    signed.bed.add([&new]);
    signed.bed.burst("w");
    assert_eq!(signed.ran(), ["new", "old"]);
    // The old key is dropped: what it signed is as good as unsigned.
    signed.bed.configure(json!({"task_signing_key": signed.bed.out("key"), "task_public_keys": publics[1..]}));
    let late = signed.line("late");
    signed.bed.add([&late]);
    signed.is_refused(&late, "does not know");
}

#[test]
fn a_bad_key_file_is_exit_2_and_names_key_file_and_remedy() {
    let mut signed = Signed::new();
    let key = signed.bed.out("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    signed.bed.submit(&["-"], "shell:0:0:1:true\n").expect(2).says(&["task_signing_key", &key, "644", "chmod 600"]);
    signed.bed.submit(&["--dry-run", "-"], "shell:0:0:1:true\n").expect(2);
    signed.bed.status(&[]).expect(0);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    let bad = signed.bed.file("bad.pub", "not a key");
    let gone = signed.bed.out("gone.pub");
    signed.bed.configure(json!({"task_public_keys": [bad, gone, key]}));
    for args in [&["--check"][..], &["--name", "w"], &["--burst"]] {
        let output = signed.bed.cli("distcomp-worker").args(args).run().expect(2);
        output.says(&[
            "task_public_keys[0]",
            &bad,
            "task_public_keys[1]",
            &gone,
            "task_public_keys[2]",
            "secret",
            "keygen",
        ]);
    }
    signed.bed.configure(json!({"task_public_keys": []}));
    signed.bed.cli("distcomp-worker").args(["--check"]).run().expect(2).says(&["task_public_keys"]);
    assert_eq!(signed.bed.counts(), [0, 0, 0, 0]);
}

#[test]
fn keygen_writes_no_key_over_another_and_lets_nobody_read_it() {
    let bed = Bed::new();
    let path = bed.out("k");
    let output = bed.ctl(&["keygen", "--out", &path]).expect(0).says(&["task_signing_key", "task_public_keys"]);
    let mode = fs::metadata(&path).expect("the key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let secret = read(&path).lines().last().and_then(|line| line.rsplit(':').next()).expect("a key").to_owned();
    assert!(!output.all().contains(&secret) && !read(format!("{path}.pub")).contains(&secret));
    bed.ctl(&["keygen", "--out", &path]).expect(2).says(&[&path]);
    let link = bed.out("link");
    std::os::unix::fs::symlink(bed.out("elsewhere"), &link).expect("a link");
    bed.ctl(&["keygen", "--out", &link]).expect(2);
    assert!(!Path::new(&bed.out("elsewhere")).exists(), "no link is followed");
    assert!(bed.keys().is_empty(), "no Redis is needed");
}

#[test]
fn check_says_whose_tasks_would_run() {
    let signed = Signed::new();
    let id = read(signed.bed.out("key.pub"))
        .split_whitespace()
        .find_map(|w| w.strip_suffix('.').map(str::to_owned))
        .expect("its id");
    let output = signed.bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(output.stdout.contains("required, of") && output.stdout.contains(&id), "{output}");
    output.says(&["task_signing_key", "could sign tasks"]);
    let plain = Bed::new().cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(plain.stdout.contains("not required"), "{plain}");
}

#[test]
fn keys_are_added_and_dropped_while_a_worker_runs() {
    let mut signed = Signed::new();
    let worker_conf = |signed: &Signed, keys: &[&str]| json!({"task_public_keys": keys.iter().map(|key| signed.bed.out(&format!("{key}.pub"))).collect::<Vec<_>>()});
    let mut worker = signed.bed.worker("w");
    signed.bed.wait_alive("w");
    // The new key is named in the file, which is looked at by itself.
    let next = keygen(&signed.bed, "next");
    worker.reconfigure(&worker_conf(&signed, &["key", "next"]));
    wait_until("both keys", SOON, || holds_for(worker.log().contains("public keys reloaded"), worker.log()));
    signed.bed.configure(json!({"task_signing_key": next}));
    let [new, old, late] = ["new", "old", "late"].map(|name| signed.line(name));
    signed.bed.add([&new]);
    wait_until("what the new key signed to run", SOON, || holds_for(signed.ran() == ["new"], worker.log()));
    // One that cannot be read changes nothing, and is named.
    worker.reconfigure(&worker_conf(&signed, &["next", "gone"]));
    wait_until("the fault", SOON, || {
        let log = worker.log();
        holds_for(log.contains("gone.pub") && log.contains("the old keys stay"), log)
    });
    signed.bed.configure(json!({"task_signing_key": signed.bed.out("key")}));
    signed.bed.add([&old]);
    wait_until("what the old key signed to run", SOON, || holds_for(signed.ran() == ["new", "old"], worker.log()));
    // The old one is dropped: what it signs from now on, or had signed and waits, is refused.
    worker.reconfigure(&worker_conf(&signed, &["next"]));
    worker.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("one key", SOON, || holds_for(worker.log().matches("public keys reloaded").count() == 2, worker.log()));
    signed.bed.add([&late]);
    wait_until("it to be refused", SOON, || {
        holds_for(signed.bed.table("failed_tasks").contains_key(&late), worker.log())
    });
    signed.was_refused(&late, "does not know");
    // Nor does a configuration that asks for no signatures any more open a worker that runs.
    worker.reconfigure(&json!({"require_signed_tasks": false, "task_public_keys": []}));
    wait_until("the warning", SOON, || {
        let log = worker.log();
        holds_for(log.contains("require_signed_tasks") && log.contains("restart"), log)
    });
    let open = signed.line("open");
    signed.forge(&open, None);
    wait_until("it to be refused", SOON, || {
        holds_for(signed.bed.table("failed_tasks").contains_key(&open), worker.log())
    });
    assert_eq!(signed.ran(), ["new", "old"]);
    assert!(worker.is_running());
}

#[test]
fn a_public_key_that_others_can_change_is_refused() {
    let signed = Signed::new();
    let public = signed.bed.out("key.pub");
    for mode in [0o664, 0o646] {
        fs::set_permissions(&public, fs::Permissions::from_mode(mode)).expect("chmod");
        for args in [&["--check"][..], &["--burst"]] {
            let output = signed.bed.cli("distcomp-worker").args(args).run().expect(2);
            output.says(&["task_public_keys[0]", &public, &format!("{mode:o}"), "chmod 644"]);
        }
    }
    fs::set_permissions(&public, fs::Permissions::from_mode(0o444)).expect("chmod");
    signed.bed.burst("w");
}
