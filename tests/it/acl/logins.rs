//! Who gets in at all, with which password, and to which queue.
use std::time::Duration;

use serde_json::json;

use super::{USERS, guarded, run};
use crate::support::{Bed, SOON, acl_file, holds_for, wait_until};

#[test]
fn nobody_gets_in_without_a_password_or_with_one_of_another() {
    let redis = guarded();
    let open = |url: String| ::redis::Client::open(url).expect("a URL").get_connection().err().map(|e| e.to_string());
    let at = format!("redis+unix://{}", redis.socket().display());
    let mut con = ::redis::Client::open(at.clone()).expect("a URL").get_connection().expect("a socket");
    assert!(run(&mut con, &["PING"]).is_err_and(|error| error.contains("NOAUTH")));
    for user in USERS {
        assert_eq!(open(format!("{at}?user={user}&pass=pass-of-{user}")), None, "{user}");
        for wrong in ["", "x", "pass-of-admin", "pass-of-", &format!("pass-of-{user}x")] {
            let refused = open(format!("{at}?user={user}&pass={wrong}"));
            assert!(
                refused.as_ref().is_some_and(|error| error.contains("WRONGPASS") || error.contains("uthentic")),
                "{user}, {wrong:?}: {refused:?}"
            );
        }
    }
}

/// The example as it is lets nobody in: it has no passwords yet.
#[test]
fn the_example_file_has_no_password_and_no_open_user() {
    let text = acl_file("").replace("pass-of-", "");
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], "user", "{line}");
        let has_all = words.contains(&"~*") || words.contains(&"+@all") || words.contains(&"nopass");
        assert!(!has_all || ["admin", "default"].contains(&words[1]), "{line}");
    }
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/example/redis/users.acl")).expect("it");
    assert!(example.contains("user default off") && example.contains("user admin off"), "{example}");
    assert!(!example.contains(" >") && !example.contains(" #") && !example.contains("nopass"), "{example}");
}

#[test]
fn a_wrong_password_of_a_user_is_exit_3_at_once_everywhere() {
    let mut bed = Bed::on(guarded(), json!({}));
    let url = format!("redis+unix://worker:Wr0ng-s3cret@{}", bed.redis.socket().display());
    bed.configure(json!({"redis_url": url}));
    for (name, args) in [
        ("distcomp-worker", &["--name", "w"][..]),
        ("distcomp-worker", &["--check"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-status", &[][..]),
        ("distcomp-ctl", &["pause", "--yes"][..]),
    ] {
        let output = bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(3);
        assert!(!output.all().contains("s3cret"), "{output}");
        assert!(output.took < Duration::from_secs(10), "{output}");
    }
}

#[test]
fn a_prefix_before_every_pattern_shuts_out_all_other_queues() {
    let mut bed = Bed::on(guarded(), json!({"redis_key_prefix": "{site-a}:"}));
    bed.add(["shell:0:0:1:echo one"]);
    let mut worker = bed.worker("w");
    wait_until("the task to finish", SOON, || {
        let done = bed.count("{site-a}:finished_tasks");
        holds_for(done == 1, done)
    });
    bed.status(&[]).expect(0);
    bed.ctl(&["drain", "--all", "--yes"]).expect(0);
    assert_eq!(worker.wait_exit(SOON), 0);
    bed.configure(json!({"redis_key_prefix": ""}));
    bed.redis.keep_users_below("{site-a}:");
    bed.submit(&["-"], "shell:0:0:1:true\n").expect(3).says(&["submitter"]);
    bed.status(&[]).expect(3).says(&["viewer"]);
}

#[test]
fn a_changed_password_is_taken_up_from_its_file_on_sighup() {
    let mut bed = Bed::on(guarded(), json!({}));
    let url = format!("redis+unix://worker@{}", bed.redis.socket().display());
    let file = bed.file("pass", "pass-of-worker\n");
    let mut worker = bed.worker_with("w", json!({"redis_url": url, "redis_pass_file": file}), &[]);
    bed.wait_alive("w");
    bed.file("pass", "the-new-one\n");
    let admin = |words: &[&str]| run(&mut bed.redis.con(), words).expect("ACL");
    admin(&["ACL", "SETUSER", "worker", "resetpass", ">the-new-one"]);
    worker.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the worker to read the file again", SOON, || {
        holds_for(worker.log().contains("redis_pass"), worker.log())
    });
    admin(&["CLIENT", "KILL", "USER", "worker"]);
    bed.add(["shell:0:0:1:echo after"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(worker.is_running());
    bed.configure(json!({}));
}
