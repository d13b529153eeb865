//! Thousands of demands that no worker can give cost the claims behind them nothing, and wait in exact order for a worker that can.

use distcomp::model::{Amounts, Bytes, MilliCores, Offer, Room, TaskLine};
use distcomp::queue::session::{Claim, ClaimRequest};
use distcomp::queue::submit::{NewTask, submit};
use distcomp::queue::{Connection, Session};

use crate::queue_model::{ORDER, client, node, request, session};
use crate::support::Bed;

/// What a worker at least offers that can run all of them.
const LARGE: Amounts = Amounts::NONE.with_mem(Bytes(1 << 50)).with_cpu(MilliCores(1 << 40));

async fn add(conn: &Connection, lines: &[String]) {
    let tasks: Vec<NewTask> =
        lines.iter().map(|line| NewTask::of(&TaskLine::parse(line, ORDER).expect("a task line"))).collect();
    for part in tasks.chunks(250) {
        submit(conn, part, false).await.expect("submitted");
    }
}

/// By cores and by memory in turns, the smallest of them twice what [`node`] has; with priorities.
fn too_large(count: usize) -> Vec<String> {
    let demand = |at: usize| match at % 2 {
        0 => format!("{}:0", 16 + at),
        _ => format!("0:{}", 16 + at),
    };
    (0..count).map(|at| format!("shell:{}:{}:1:true # large {at}", demand(at), 5 + at % 3)).collect()
}

/// Lines in the order in which they must be claimed.
fn in_order(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| std::cmp::Reverse(TaskLine::parse(line, ORDER).expect("a task line").prio()));
    lines
}

/// Claims until there is nothing more for it, asking again at once only where it was told to.
async fn claim_all(worker: &Session, what: Amounts) -> Vec<Claim> {
    let mut all = Vec::new();
    for call in 0..1000 {
        let asked = ClaimRequest { offer: Some(Offer { amounts: what }), ..request(format!("t{call}"), 64, what, 0) };
        let reply = worker.claim(&asked).await.expect("claimed");
        let is_asked_again = reply.next_timer.is_some_and(|wait| wait.is_zero());
        if reply.claims.is_empty() && !is_asked_again {
            return all;
        }
        all.extend(reply.claims);
    }
    panic!("it never ends");
}

fn lines_of(claims: &[Claim]) -> Vec<String> {
    claims.iter().map(|claim| claim.line.to_string()).collect()
}

#[tokio::test]
async fn unfittable_tasks_are_skipped_until_a_larger_worker_comes() {
    let bed = Bed::new();
    let conn = client(&bed).connect().await.expect("connected");
    let mut large = too_large(3000);
    let small: Vec<String> = (0..100).map(|at| format!("shell:1:0:1:true # small {at}")).collect();
    add(&conn, &large).await;
    add(&conn, &small).await;
    let worker = session(&conn, "a").await;
    let all = node().with_mem(Bytes(1 << 40));
    let mut taken = Vec::new();
    while taken.len() < small.len() {
        taken.extend(claim_all(&worker, node()).await);
    }
    assert_eq!(lines_of(&taken), small, "in order, however many claims it took");
    assert_eq!(bed.counts(), [3000, 100, 0, 0], "they wait all the same");

    // One more in a lane that is too large, with a higher priority than the others, and one in a lane that was empty for a while.
    let more =
        [large[100].replace(" large", " more").replacen(":0:6:", ":0:9:", 1), large[200].replace(" large", " late")];
    assert_ne!(more[0], large[100]);
    bed.ctl(&["purge", &large[200], "--yes"]).expect(0);
    large.remove(200);
    add(&conn, &more).await;
    large.extend(more);
    assert_eq!(claim_all(&worker, node()).await.len(), 0);

    // Of a node that is large enough in one respect, what fits there; the rest stays.
    let middle = session(&conn, "b").await;
    let fits = |line: &String| line.starts_with("shell:") && !line.starts_with("shell:0:");
    let claimed = {
        let asked = ClaimRequest { offer: Some(Offer { amounts: all }), ..request("m".to_owned(), 0, all, 0) };
        let mut waits = Some(std::time::Duration::ZERO);
        while waits.is_some_and(|wait| wait.is_zero()) {
            waits = middle.claim(&asked).await.expect("claimed").next_timer;
        }
        middle.claim(&ClaimRequest { room: Room { slots: 20, amounts: all }, ..asked }).await.expect("claimed").claims
    };
    let by_memory: Vec<String> = in_order(&large).into_iter().filter(fits).collect();
    let expected: Vec<String> = by_memory.iter().take(claimed.len()).cloned().collect();
    assert_eq!(lines_of(&claimed), expected, "what it has room for, in order");
    assert!(!claimed.is_empty());
    large.retain(|line| !expected.contains(line));

    let giant = session(&conn, "c").await;
    assert_eq!(lines_of(&claim_all(&giant, LARGE).await), in_order(&large));
    assert_eq!(bed.counts()[0], 0);
}

#[test]
fn burst_runs_what_stands_behind_thousands_of_too_large_demands() {
    let bed = Bed::new();
    // More than any machine has.
    bed.add(&too_large(6500)[4000..]);
    bed.add((0..5).map(|at| format!("shell:0:0:1:true # {at}")));
    bed.burst("w");
    assert_eq!(bed.counts(), [2500, 0, 5, 0]);
}
