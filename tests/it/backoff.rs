//! A retry waits longer with each failure, and for nothing else.

use std::time::Duration;

use distcomp::model::{AttemptRecord, Outcome, TaskId, TaskLine};
use distcomp::queue::Session;
use distcomp::queue::session::{Claim, Settle, Settled, Settlement};
use distcomp::queue::submit::{NewTask, submit};

use crate::queue_model::{ORDER, client, node, request, session};
use crate::support::Bed;

const LINE: &str = "shell:0:0:1:true";
const BASE: Duration = Duration::from_secs(1000);

struct Run {
    bed: Bed,
    worker: Session,
    calls: u32,
}

impl Run {
    async fn new() -> Self {
        let bed = Bed::new();
        let conn = client(&bed).connect().await.expect("connected");
        let worker = session(&conn, "a").await;
        let task = TaskLine::parse(LINE, ORDER).expect("a task line");
        submit(&conn, &[NewTask::of(&task)], false).await.expect("submitted");
        Self { bed, worker, calls: 0 }
    }

    async fn claim(&mut self) -> Claim {
        self.calls += 1;
        let reply = self.worker.claim(&request(format!("t{}", self.calls), 1, node(), 0)).await.expect("claimed");
        reply.claims.into_iter().next().expect("the task waits and may be taken")
    }

    async fn settle(&self, claim: Claim, settlement: Settlement) {
        let end = Outcome::Returned;
        let record = AttemptRecord::bare(claim.attempt, self.worker.worker().clone(), 1, end);
        let entry = Settle {
            id: TaskId::of(&claim.line),
            class: Some(TaskLine::parse(&claim.line, ORDER).expect("a task line").class().clone()),
            line: claim.line,
            token: claim.token,
            record: Some(record),
            settlement,
        };
        let done = self.worker.settle(&[entry], 100, false).await.expect("settled");
        assert!(matches!(done[..], [Settled::Recorded | Settled::WillRetry]), "{done:?}");
    }

    /// Fails it once, ends its backoff, and says how long that was.
    async fn fail(&mut self) -> Duration {
        let claim = self.claim().await;
        let settlement = Settlement::Fail {
            outcome: Outcome::Exit(1),
            reason: "\"exit 1\"".to_owned(),
            delay: BASE,
            is_final: false,
            more_memory: None,
        };
        self.settle(claim, settlement).await;
        self.calls += 1;
        let reply = self.worker.claim(&request(format!("t{}", self.calls), 1, node(), 0)).await.expect("claimed");
        let wait = reply.next_timer.expect("it waits");
        let _: i64 = redis::cmd("ZADD")
            .arg("distcomp:ready:delayed")
            .arg(1)
            .arg(LINE)
            .query(&mut self.bed.redis.con())
            .expect("written");
        wait
    }
}

/// A first failure waits for this base; a call or two may have passed since.
fn is_first(wait: Duration) -> bool {
    wait <= BASE && wait > BASE / 2
}

#[tokio::test]
async fn returns_do_not_lengthen_the_backoff() {
    let mut run = Run::new().await;
    for _ in 0..10 {
        let claim = run.claim().await;
        run.settle(claim, Settlement::Return).await;
    }
    let wait = run.fail().await;
    assert!(is_first(wait), "{wait:?}");
}

#[tokio::test]
async fn backoff_doubles_up_to_an_hour_and_requeue_resets_it() {
    let mut run = Run::new().await;
    assert!(is_first(run.fail().await));
    let second = run.fail().await;
    assert!(second > BASE * 3 / 2 && second <= BASE * 2, "{second:?}");
    for _ in 0..3 {
        let more = run.fail().await;
        assert!(more > Duration::from_secs(2690) && more <= Duration::from_secs(3600), "{more:?}");
    }
    run.bed.ctl(&["requeue", LINE, "--yes"]).expect(0);
    let again = run.fail().await;
    assert!(is_first(again), "{again:?}");
}
