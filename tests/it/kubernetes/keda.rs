//! What KEDA does with the ScaledJob, with processes as pods: it asks how many workers are wanted, starts those that are missing, and stops none.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::manifests::{find, texts};
use crate::support::{Bed, Dashboard, SOON, Worker, stays, wait_until};

const TOKEN: &str = "correct-horse-battery-staple";
const TASKS: usize = 30;
const MOST: usize = 4;

/// A ScaledJob with smaller pods and less patience.
struct Keda<'a> {
    bed: &'a Bed,
    serve: Dashboard,
    job: Value,
    pods: Vec<Worker>,
    started: usize,
    most: usize,
}

impl Keda<'_> {
    /// As the scaler `metrics-api`: a number at `valueLocation` of the answer.
    fn metric(&self) -> f64 {
        let trigger = &self.job["spec"]["triggers"][0]["metadata"];
        assert_eq!((&trigger["authMode"], &trigger["targetValue"]), (&json!("bearer"), &json!("1")));
        let url = trigger["url"].as_str().expect("an address");
        let path = url.split_once(":8080").expect("a port").1.split('?').next().expect("a path");
        let answer =
            self.serve.get(&format!("{path}?cpus=1&mem=1&slots=1"), &[("Authorization", &format!("Bearer {TOKEN}"))]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        body[trigger["valueLocation"].as_str().expect("a field")].as_f64().expect("a number")
    }

    /// One look: ends are noted, and the strategy `default` starts what is wanted less what runs.
    fn poll(&mut self) {
        self.pods.retain_mut(|pod| {
            if pod.is_running() {
                return true;
            }
            assert_eq!(pod.wait_exit(SOON), 0, "{}", pod.log());
            false
        });
        assert_eq!(self.job["spec"]["scalingStrategy"]["strategy"], "default");
        let wanted = (self.metric().ceil() as usize).min(MOST);
        for _ in self.pods.len()..wanted {
            let name = format!("pod-{}", self.started);
            let flags = texts(&self.job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]["args"]);
            assert!(flags.iter().any(|flag| flag == "--idle-timeout=60s"), "{flags:?}");
            let args = ["--idle-timeout=2s", "--cores=1", "--slots=1"];
            self.pods.push(self.bed.worker_with(&name, json!({}), &args));
            self.started += 1;
        }
        self.most = self.most.max(self.pods.len());
        assert!(self.pods.len() <= MOST, "{} pods", self.pods.len());
    }
}

#[test]
fn pods_come_with_the_work_and_end_by_themselves() {
    let bed = Bed::new();
    let listen = ["--listen", "127.0.0.1:0"];
    let serve = Dashboard::with(&bed, &listen, &[("DISTCOMP_DASHBOARD_TOKEN", TOKEN)]);
    let job = find("ScaledJob", "-worker");
    let mut keda = Keda { bed: &bed, serve, job, pods: Vec::new(), started: 0, most: 0 };
    keda.poll();
    assert_eq!(keda.started, 0, "nothing is wanted of an empty queue");
    // One is too large for the shape: for it alone a pod would come again and again.
    bed.add(["shell:0:64:9:true"]);
    bed.add((0..TASKS).map(|n| format!("shell:0:1:1:sleep 0.{} # {n}", n % 7)));
    let end = Instant::now() + Duration::from_secs(120);
    while bed.counts() != [1, 0, TASKS, 0] || !keda.pods.is_empty() {
        assert!(Instant::now() < end, "{:?}, {} pods: {}", bed.counts(), keda.pods.len(), bed.status(&[]));
        keda.poll();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(keda.most > 1, "only {} pods at once", keda.most);
    let started = keda.started;
    stays("no pod to be started for what no pod can run", Duration::from_secs(5), || {
        keda.poll();
        if keda.started == started { Ok(()) } else { Err(format!("{} pods", keda.started)) }
    });
    // Every one has left the queue of its own accord.
    let events = bed.status(&["events", "--json", "--limit", "1000"]).expect(0);
    assert!(!events.stdout.contains("\"returned\""), "{events}");
    wait_until("no worker to be registered", SOON, || {
        let workers = bed.status(&["workers", "--json"]).expect(0).stdout;
        if workers.trim().is_empty() { Ok(()) } else { Err(workers) }
    });
}
