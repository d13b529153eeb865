//! Two builds on one queue: this one, and one that supports the next version of the layout as well.

use std::time::Duration;

use distcomp::config::{Endpoint, Origin, RedisSettings};
use distcomp::model::{Offer, TaskLine};
use distcomp::queue::layout::{HeldBack, Layout};
use distcomp::queue::session::{AttachOptions, Registration, Settled, Settlement};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::{Client, Connection, Layouts, QueueError, Session};

use crate::queue_model::{ORDER, beat, client, node, registration, request, settle};
use crate::support::Bed;

const THIS: Layouts = Layouts::new(1, 1);
const NEXT: Layouts = Layouts::new(1, 2);
/// A build so much later that it supports no queue of this one.
const LATER: Layouts = Layouts::new(2, 3);

async fn attach(conn: &Connection, name: &str, layouts: Layouts) -> Result<Session, QueueError> {
    let registration = Registration { layouts, ..registration(name) };
    let standing = AttachOptions { offer: Some(Offer { amounts: node() }), ..AttachOptions::default() };
    Session::attach(conn.clone(), name.parse().expect("a name"), &registration, None, standing).await
}

fn recorded(bed: &Bed) -> Option<String> {
    redis::cmd("GET").arg("distcomp:format").query(&mut bed.redis.con()).expect("GET")
}

async fn runs_one(conn: &Connection, worker: &Session, line: &str) {
    let task = NewTask::of(&TaskLine::parse(line, ORDER).expect("a task line"));
    submit(conn, &[task], false).await.expect("submitted");
    let claims = worker.claim(&request(format!("token of {line}"), 1, node(), 0)).await.expect("claimed").claims;
    assert_eq!(claims.len(), 1, "{claims:?}");
    let outcome = settle(&claims[0], Settlement::Finish { value: "a: \"\"".to_owned() });
    assert_eq!(worker.settle(&[outcome], 3, false).await.expect("settled"), [Settled::Recorded]);
}

#[tokio::test]
async fn a_queue_keeps_its_layout_until_the_last_older_build_leaves() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    let old = attach(&conn, "old", THIS).await.expect("attached");
    let new = attach(&conn, "new", NEXT).await.expect("one version back is supported");
    let held_back = Some(HeldBack::ByWorker("old".to_owned()));
    assert_eq!(new.layout(), &Layout { version: 1, held_back });
    for (worker, line) in [(&old, "shell:0:0:1:true old"), (&new, "shell:0:0:1:true new")] {
        runs_one(&conn, worker, line).await;
    }
    let old = attach(&conn, "old", THIS).await.expect("it comes back beside the newer one");
    assert_eq!((recorded(&bed).as_deref(), bed.counts()), (Some("1"), [0, 0, 2, 0]));

    old.detach().await.expect("left");
    let new = attach(&conn, "new", NEXT).await.expect("attached");
    assert_eq!(new.layout(), &Layout { version: 2, held_back: None });
    assert_eq!(recorded(&bed).as_deref(), Some("2"));
    let before = bed.table("distcomp:owner");
    let error = attach(&conn, "old", THIS).await.err().expect("refused");
    assert!(matches!(&error, QueueError::Mismatch(_)) && error.to_string().contains("newer release"), "{error}");
    assert_eq!(bed.table("distcomp:owner"), before, "nothing was done");
    runs_one(&conn, &new, "shell:0:0:1:true again").await;
}

#[tokio::test]
async fn build_two_versions_later_is_refused() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    attach(&conn, "old", THIS).await.expect("attached");
    let error = attach(&conn, "later", LATER).await.err().expect("refused").to_string();
    assert!(
        error.contains("version 1") && error.contains("versions 2 to 3") && error.contains("older release"),
        "{error}"
    );
    redis::cmd("FLUSHALL").exec(&mut bed.redis.con()).expect("emptied");
    let later = attach(&conn, "later", LATER).await.expect("attached");
    assert_eq!(later.layout(), &Layout { version: 3, held_back: None });
}

#[tokio::test]
async fn a_worker_that_may_not_raise_the_layout_works_in_the_old_one() {
    let bed = Bed::new();
    let admin = client(&bed).connect().await.expect("connected");
    attach(&admin, "old", THIS).await.expect("attached").detach().await.expect("left");
    redis::cmd("ACL")
        .arg(&["SETUSER", "bound", "on", ">bound", "~*", "&*", "+@all", "-set"])
        .exec(&mut bed.redis.con())
        .expect("a user");
    let settings = RedisSettings {
        endpoint: Endpoint::Unix { path: bed.redis.socket() },
        db: 0,
        user: Some("bound".to_owned()),
        password: Some("bound".to_owned().into()),
        tls: None,
        sentinel_login: None,
        origin: Origin::default(),
    };
    let bound =
        Client::new(&settings, "", Duration::from_secs(10)).expect("a client").connect().await.expect("connected");
    let new = attach(&bound, "new", NEXT).await.expect("attached");
    assert_eq!((new.layout().version, recorded(&bed).as_deref()), (1, Some("1")));
    let held_back = new.layout().held_back.clone();
    assert!(matches!(&held_back, Some(HeldBack::ByServer(_))), "{held_back:?}");
    runs_one(&bound, &new, "shell:0:0:1:true").await;
}

/// What a build of layout 1 has left: tasks that wait, one in its backoff, and their index by class.
fn fill_layout_1(bed: &Bed) {
    let mut con = bed.redis.con();
    let mut run = |command: &[&str]| redis::cmd(command[0]).arg(&command[1..]).exec(&mut con).expect("done");
    run(&["SET", "distcomp:format", "1"]);
    run(&["SET", "distcomp:ready:sequence", "7"]);
    for line in ["shell:1:1:1:a", "shell:1:1:2:b", "shell:0:0:1:failed"] {
        run(&["HSET", "todo_tasks", line, ""]);
    }
    run(&["ZADD", "distcomp:ready:c:1073741824:1000:", "1", "shell:1:1:1:a", "2", "shell:1:1:2:b"]);
    run(&["ZADD", "distcomp:ready:heads", "1", "1073741824:1000:"]);
    run(&["HSET", "failed_tasks", "shell:0:0:1:failed", "w1,"]);
    run(&["HSET", "distcomp:ready:held", "shell:0:0:1:failed", "D|5|0:0:w1,"]);
    run(&["ZADD", "distcomp:ready:delayed", "99999999999999", "shell:0:0:1:failed"]);
    run(&["SET", "distcomp:ready:count", "3"]);
}

#[test]
fn worker_program_upgrades_a_queue_of_the_first_layout() {
    let bed = Bed::new();
    fill_layout_1(&bed);
    redis::cmd("SET").arg("distcomp:field_order").arg("mem:cpu:prio").exec(&mut bed.redis.con()).expect("set");
    bed.submit(&["-"], "shell:0:0:1:true").expect(2).says(&["layout of the queue is version 1"]);
    bed.hdel("todo_tasks", "shell:1:1:1:a");
    bed.hdel("todo_tasks", "shell:1:1:2:b");
    bed.burst("w");
    assert_eq!(recorded(&bed).as_deref(), Some("2"));
    assert!(!has_heads(&bed));
    bed.submit(&["-"], "shell:0:0:1:true").expect(0);
}

fn has_heads(bed: &Bed) -> bool {
    bed.keys().iter().any(|key| key == "distcomp:ready:heads")
}

#[tokio::test]
async fn first_worker_upgrades_a_queue_of_the_first_layout() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    fill_layout_1(&bed);
    let this = Layouts::of_this_build();
    let old = attach(&conn, "old", THIS).await.expect("attached");
    old.heartbeat(&beat(vec![])).await.expect("alive");
    let error = attach(&conn, "new", this).await.err().expect("an older worker is alive").to_string();
    assert!(error.contains("end the workers of the older release"), "{error}");
    assert_eq!((recorded(&bed).as_deref(), has_heads(&bed)), (Some("1"), true), "nothing was done");
    let taken = Registration { instance: "another".to_owned(), layouts: this, ..registration("old") };
    let error =
        Session::attach(conn.clone(), "old".parse().expect("a name"), &taken, None, AttachOptions::default()).await;
    assert!(error.is_err(), "the name of the older worker");
    assert_eq!((recorded(&bed).as_deref(), has_heads(&bed)), (Some("1"), true), "nothing was done for it either");
    old.detach().await.expect("left");

    let new = attach(&conn, "new", this).await.expect("it upgrades");
    assert_eq!((new.layout().version, recorded(&bed).as_deref()), (2, Some("2")));
    let mut pass = distcomp::queue::index::IndexPass::new();
    while !pass.step(&conn, ORDER).await.expect("a step").is_done {}
    let claims = new.claim(&request("t".to_owned(), 5, node(), 0)).await.expect("claimed").claims;
    let lines: Vec<&str> = claims.iter().map(|claim| &*claim.line).collect();
    assert_eq!(lines[0], "shell:1:1:2:b", "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(!has_heads(&bed));
    assert!(attach(&conn, "old", THIS).await.is_err(), "an older build is refused from now on");
}
