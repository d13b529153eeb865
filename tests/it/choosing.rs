//! Which worker takes a task with needs, and when: preferences, scarce resources, lifetimes, and who is woken.

use std::sync::Arc;
use std::time::Duration;

use distcomp::model::{TaskLine, Traits};
use distcomp::queue::index::IndexPass;
use distcomp::queue::session::{ClaimReply, ClaimRequest};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::wakeups::Wakeups;
use distcomp::queue::{Connection, Session};

use crate::queue_model::{ORDER, client, node, request, session_of};
use crate::support::{Bed, Redis, ServerOptions};

/// A worker whose node has these traits, and what of its resources is free.
struct Taker {
    session: Session,
    traits: Arc<Traits>,
    calls: u32,
}

impl Taker {
    async fn new(conn: &Connection, name: &str, traits: &str) -> Self {
        let session = session_of(conn, name, traits).await;
        Self { session, traits: Arc::new(traits.parse().expect("traits")), calls: 0 }
    }

    async fn asks(&mut self, slots: u32, free: &str) -> ClaimReply {
        self.calls += 1;
        let asked = request(format!("t{}", self.calls), slots, node(), 0);
        let asked = ClaimRequest {
            traits: Arc::clone(&self.traits),
            free: free.parse().expect("stocks"),
            prefer_wait: Duration::from_secs(30),
            starve_after: Duration::from_secs(60),
            ..asked
        };
        self.session.claim(&asked).await.expect("claimed")
    }

    async fn takes(&mut self, slots: u32, free: &str) -> Vec<String> {
        self.asks(slots, free).await.claims.iter().map(|claim| claim.line.to_string()).collect()
    }
}

async fn add<const N: usize>(conn: &Connection, lines: [&str; N]) {
    let tasks = lines.map(|line| NewTask::of(&TaskLine::parse(line, ORDER).expect("a task line")));
    assert_eq!(submit(conn, &tasks, false).await.expect("submitted").added as usize, N);
}

async fn bed_with_clock() -> (Bed, Connection) {
    let bed = Bed::on(Redis::start(ServerOptions { clock: true, ..Default::default() }), serde_json::json!({}));
    let conn = client(&bed).connect().await.expect("connected");
    (bed, conn)
}

async fn index(conn: &Connection) {
    let mut pass = IndexPass::new();
    while !pass.step(conn, ORDER).await.expect("a step").is_done {}
}

#[tokio::test]
async fn preferred_worker_has_the_first_choice_for_a_while() {
    let (bed, conn) = bed_with_clock().await;
    let mut fast = Taker::new(&conn, "fast", ":ssd:").await;
    let mut slow = Taker::new(&conn, "slow", "::").await;
    let line = |at: u32| format!("shell,prefer=ssd:0:0:1:true # {at}");
    for at in 0..3 {
        add(&conn, [line(at).as_str()]).await;
    }
    add(&conn, ["shell:0:0:0:plain"]).await;
    let reply = slow.asks(1, "").await;
    assert_eq!(&*reply.claims[0].line, "shell:0:0:0:plain", "what stands behind is not delayed");
    let reply = slow.asks(1, "").await;
    assert!(reply.claims.is_empty());
    let wait = reply.next_timer.expect("it asks again");
    assert!(wait > Duration::from_secs(20) && wait <= Duration::from_secs(30), "{wait:?}");
    assert_eq!(fast.takes(1, "").await, [line(0)]);
    // It is counted from when one with the label last took something.
    bed.redis.clock().set(20);
    assert_eq!(fast.takes(1, "").await, [line(1)]);
    bed.redis.clock().set(40);
    assert_eq!(slow.takes(1, "").await, [] as [&str; 0]);
    bed.redis.clock().set(51);
    // Both are alive still.
    assert_eq!(slow.takes(1, "").await, [line(2)]);
}

#[tokio::test]
async fn preference_that_no_live_worker_meets_delays_nothing() {
    let (_bed, conn) = bed_with_clock().await;
    let mut slow = Taker::new(&conn, "slow", "::").await;
    add(&conn, ["shell,prefer=ssd:0:0:1:true"]).await;
    assert_eq!(slow.takes(1, "").await.len(), 1);
}

#[tokio::test]
async fn task_for_all_devices_is_not_starved_by_small_ones() {
    let (bed, conn) = bed_with_clock().await;
    let mut taker = Taker::new(&conn, "a", "gpus@1000/1000::").await;
    add(&conn, ["shell,gpus=2:0:0:1:large"]).await;
    for at in 0..6 {
        add(&conn, [format!("shell,gpus=1:0:0:1:small {at}").as_str()]).await;
        add(&conn, [format!("shell:0:0:1:plain {at}").as_str()]).await;
    }
    assert_eq!(taker.takes(1, "gpus@1000/0").await, ["shell,gpus=1:0:0:1:small 0"], "it does not fit now");
    bed.redis.clock().set(61);
    // Passed over for a minute: from now on no device goes to those behind it. Tasks without devices go on.
    assert_eq!(taker.takes(1, "gpus@1000/0").await.len(), 1);
    for _ in 0..5 {
        let taken = taker.takes(1, "gpus@1000/0").await;
        assert!(taken.iter().all(|line| line.contains("plain")), "{taken:?}");
        assert_eq!(taken.len(), 1);
    }
    assert_eq!(taker.takes(1, "gpus@1000/1000").await, ["shell,gpus=2:0:0:1:large"]);
    assert_eq!(taker.takes(1, "gpus@1000/1000").await, ["shell,gpus=1:0:0:1:small 1"], "the reservation is over");
}

#[tokio::test]
async fn tasks_with_resources_are_not_claimed_ahead() {
    let (_bed, conn) = bed_with_clock().await;
    let mut taker = Taker::new(&conn, "a", "gpus@1000/1000::").await;
    add(&conn, ["shell:0:0:3:a", "shell:0:0:2:b", "shell,gpus=1:0:0:1:c", "shell:0:0:0:d"]).await;
    taker.calls += 1;
    let asked = ClaimRequest {
        traits: Arc::clone(&taker.traits),
        free: "gpus@1000/1000".parse().expect("stocks"),
        ..request("ahead".to_owned(), 1, node(), 10)
    };
    let reply = taker.session.claim(&asked).await.expect("claimed");
    let lines: Vec<&str> = reply.claims.iter().map(|claim| &*claim.line).collect();
    assert_eq!(lines, ["shell:0:0:3:a", "shell:0:0:2:b"], "nothing is claimed ahead past a task that needs a device");
}

#[tokio::test]
async fn worker_that_ends_soon_takes_only_what_is_short() {
    let (bed, conn) = bed_with_clock().await;
    let now: (u64, u64) = redis::cmd("TIME").query(&mut bed.redis.con()).expect("TIME");
    let mut taker = Taker::new(&conn, "a", &format!("::{}", now.0 + 600)).await;
    add(&conn, ["shell,time=3600:0:0:1:long", "shell,time=60:0:0:1:short", "shell:0:0:1:plain"]).await;
    assert_eq!(taker.takes(5, "").await, ["shell,time=60:0:0:1:short", "shell:0:0:1:plain"]);
    let mut other = Taker::new(&conn, "b", "::").await;
    assert_eq!(other.takes(5, "").await, ["shell,time=3600:0:0:1:long"]);
}

#[tokio::test]
async fn only_worker_with_the_resource_is_woken() {
    let (bed, conn) = bed_with_clock().await;
    let mut idle = Vec::new();
    for (name, traits, free) in
        [("none", "::", ""), ("busy", "gpus@1000::", "gpus@0"), ("free", "gpus@1000::", "gpus@1000")]
    {
        let mut taker = Taker::new(&conn, name, traits).await;
        let wakeups = Wakeups::subscribe(&client(&bed), taker.session.worker()).await.expect("subscribed");
        assert!(taker.takes(1, free).await.is_empty());
        idle.push((name, wakeups));
    }
    add(&conn, ["shell,gpus=1:0:0:1:true"]).await;
    for (name, wakeups) in &mut idle {
        let heard =
            tokio::time::timeout(Duration::from_millis(if *name == "free" { 5000 } else { 50 }), wakeups.next());
        assert_eq!(heard.await.is_ok(), *name == "free", "{name}");
    }
}

#[tokio::test]
async fn line_in_the_wrong_hash_moves_home_and_is_claimed_once() {
    let (bed, conn) = bed_with_clock().await;
    let mut taker = Taker::new(&conn, "a", "gpus@1000::").await;
    bed.hset("todo_tasks", "shell,gpus=1:0:0:1:true", "");
    bed.hset("todo_tasks", "shell,gpus=:0:0:1:true", "");
    index(&conn).await;
    assert_eq!(bed.count("todo_tasks"), 0);
    assert_eq!(bed.count("distcomp:waiting"), 1);
    assert_eq!(bed.count("failed_tasks"), 1, "what is no need is refused");
    assert_eq!(taker.takes(2, "gpus@1000").await, ["shell,gpus=1:0:0:1:true"]);
    assert_eq!(bed.counts(), [0, 1, 0, 1]);
    // The last line of a lane that another program removes leaves nothing of the lane.
    add(&conn, ["shell,gpus=0.5:0:0:1:gone"]).await;
    bed.hdel("distcomp:waiting", "shell,gpus=0.5:0:0:1:gone");
    index(&conn).await;
    let left: Vec<String> =
        bed.keys().into_iter().filter(|key| key.contains("ready:c:") || key.contains("ready:h:")).collect();
    assert_eq!(left, [] as [String; 0]);
    assert_eq!(taker.takes(2, "gpus@1000").await, [] as [&str; 0]);
}
