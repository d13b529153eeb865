//! A master, its replica and three sentinels on loopback ports: the commands find the master, and follow it when another server takes over.
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Cluster, Redis, SOON, ServerOptions, holds_for, run_times, wait_until};

fn bed(cluster: &Cluster) -> Bed {
    let conf = json!({"redis_url": cluster.url(), "max_task_per_worker": 4, "max_lost_per_task": 100});
    Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), conf)
}

fn finished(cluster: &Cluster) -> usize {
    let count = |mut con| ::redis::cmd("HLEN").arg("finished_tasks").query(&mut con).ok();
    cluster.master().and_then(|master| cluster.try_con(master)).and_then(count).unwrap_or(0)
}

#[test]
fn tasks_run_on_the_master_that_the_sentinels_name() {
    let cluster = Cluster::start(None);
    let bed = bed(&cluster);
    bed.add(["shell:0:0:1:echo one"]);
    let mut worker =
        bed.worker_with("w", json!({"sleep_sec_between_accepting_task": 3600, "auto_sleep_sec": false}), &[]);
    wait_until("the first task to finish", SOON, || holds_for(finished(&cluster) == 1, worker.log()));
    // The wake-up comes from the master too; without it the worker would look again in an hour.
    let listeners = || {
        let mut numsub = ::redis::cmd("PUBSUB");
        numsub.arg("NUMSUB").arg("distcomp:wake");
        numsub.query::<(String, u32)>(&mut cluster.con(0)).expect("PUBSUB").1
    };
    wait_until("the worker to listen", SOON, || holds_for(listeners() == 1, worker.log()));
    bed.add(["shell:0:0:1:echo two"]);
    wait_until("the second task to finish", SOON, || holds_for(finished(&cluster) == 2, worker.log()));
    let output = bed.status(&[]).expect(0);
    output.prints_line("0 todo tasks, 0 in_progress tasks, 2 finished tasks, 0 failed tasks");
    let check = bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(check.stdout.contains("redis+sentinel://127.0.0.1:"), "{check}");
    assert!(worker.is_running());
}

#[test]
fn a_failover_under_load_loses_no_task() {
    let mut cluster = Cluster::start(None);
    let bed = bed(&cluster);
    let out = bed.out("runs");
    let lines: Vec<String> = (0..300).map(|n| format!("shell:0:0:1:sleep 0.05; echo {n} >> {out}")).collect();
    bed.submit(&["-"], lines.join("\n")).expect(0);
    cluster.wait_replicated();
    let mut workers = [bed.worker("a"), bed.worker("b")];
    wait_until("some tasks to be done", SOON, || holds_for(finished(&cluster) >= 60, finished(&cluster)));
    cluster.kill9(0);
    wait_until("the sentinels to agree on another master", Duration::from_secs(40), || {
        holds_for(cluster.master() == Some(1), "none yet")
    });
    wait_until("all tasks to finish on it", Duration::from_secs(60), || {
        holds_for(finished(&cluster) == 300, format!("{}\n{}", finished(&cluster), workers[0].log()))
    });
    let times = run_times(&out);
    assert_eq!(times.len(), 300, "each ran");
    // Whatever ran twice was in the hands of a worker, or reported a moment before.
    let again: usize = times.values().map(|times| times - 1).sum();
    assert!(again <= 150, "{again} ran again");
    for worker in &mut workers {
        assert!(worker.is_running(), "{}", worker.log());
    }
    // The old master comes back as a replica: nobody writes to it.
    cluster.start_again(0);
    cluster.wait_role(0, "slave");
    bed.submit(&["-"], "shell:0:0:1:echo last\n").expect(0);
    wait_until("the last task to finish", SOON, || holds_for(finished(&cluster) == 301, workers[0].log()));
}

/// The servers swap their roles while both live: what was the master refuses to write from then on, or ends the connection.
#[test]
fn a_master_that_is_told_to_hand_over_is_left_at_once() {
    let cluster = Cluster::start(None);
    let bed = bed(&cluster);
    let mut worker = bed.worker("w");
    bed.submit(&["-"], "shell:0:0:1:echo one\n").expect(0);
    wait_until("the first task to finish", SOON, || holds_for(finished(&cluster) == 1, worker.log()));
    cluster.wait_replicated();
    cluster.fail_over();
    wait_until("the other to be the master", Duration::from_secs(40), || {
        holds_for(cluster.master() == Some(1), "not yet")
    });
    cluster.wait_role(1, "master");
    // A sentinel may still be telling the old one; a submitter asks the master for its role.
    wait_until("a submitter to get through", SOON, || {
        let output = bed.submit(&["-"], "shell:0:0:1:echo two\n");
        holds_for(output.is(0), output)
    });
    wait_until("the second task to finish", SOON, || holds_for(finished(&cluster) == 2, worker.log()));
    assert!(worker.is_running());
}

#[test]
fn one_sentinel_is_enough_and_none_is_exit_3() {
    let mut cluster = Cluster::start(None);
    let bed = bed(&cluster);
    cluster.kill9(2);
    cluster.freeze(3);
    bed.status(&[]).expect(0);
    cluster.kill9(3);
    cluster.kill9(4);
    for (name, args) in [
        ("distcomp-worker", &["--check"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-status", &[][..]),
        ("distcomp-ctl", &["pause", "--yes"][..]),
    ] {
        let output = bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(3);
        assert!(output.took < Duration::from_secs(15), "{output}");
        output.says(&["no sentinel leads to a master", "redis+sentinel://"]);
    }
    let mut worker = bed.worker("w");
    wait_until("a daemon to wait", SOON, || holds_for(worker.log().contains("waiting for Redis"), worker.log()));
    assert!(worker.is_running());
}

#[test]
fn a_name_that_no_sentinel_watches_is_exit_2() {
    let cluster = Cluster::start(None);
    let mut bed = bed(&cluster);
    bed.configure(json!({"redis_url": cluster.url().replace("/queue/", "/other/")}));
    bed.status(&[]).expect(2).says(&["no sentinel watches a master named \"other\""]);
}

#[test]
fn sentinels_and_servers_have_passwords_of_their_own() {
    let cluster = Cluster::start(Some("of-the-sentinels"));
    let mut bed = bed(&cluster);
    let plain = cluster.url();
    bed.status(&[]).expect(3).says(&["authenticate", "sentinel 127.0.0.1:"]);
    bed.configure(json!({"redis_url": format!("{plain}?sentinel_pass=Wr0ng-s3cret")}));
    let output = bed.status(&[]).expect(3);
    assert!(!output.all().contains("s3cret"), "{output}");
    bed.configure(json!({"redis_url": format!("{plain}?sentinel_pass=of-the-sentinels")}));
    bed.status(&[]).expect(0);
    let with_password = plain.replace("://", "://:Wr0ng-s3cret@");
    bed.configure(json!({"redis_url": format!("{with_password}?sentinel_pass=of-the-sentinels")}));
    let output = bed.status(&[]).expect(3);
    assert!(!output.all().contains("s3cret"), "{output}");
}

/// `rediss+sentinel://`: the sentinels and the servers want a certificate, and are believed only with one of our CA.
#[test]
fn failover_is_followed_over_tls_with_certificates() {
    let mut cluster = Cluster::start_with_tls();
    let mut bed = bed(&cluster);
    let file = |name: &str| cluster.secrets().join(name);
    let tls = json!({"ca": file("ca.crt"), "cert": file("client.crt"), "key": file("client.key")});
    assert!(cluster.url().starts_with("rediss+sentinel://"));
    // Without a certificate of ours, without the CA, and without TLS.
    bed.configure(json!({"redis_tls": {"ca": file("ca.crt")}}));
    bed.status(&[]).expect(3).says(&["no sentinel leads to a master"]);
    bed.configure(json!({"redis_tls": null}));
    bed.status(&[]).expect(3).says(&["no sentinel leads to a master", "certificate"]);
    bed.configure(json!({"redis_url": cluster.url().replace("rediss+", "redis+")}));
    bed.status(&[]).expect(3).says(&["no sentinel leads to a master"]);
    bed.configure(json!({"redis_url": cluster.url(), "redis_tls": tls}));
    let check = bed.cli("distcomp-worker").args(["--check"]).run().expect(0);
    assert!(check.stdout.contains("rediss+sentinel://127.0.0.1:"), "{check}");
    bed.add(["shell:0:0:1:echo one"]);
    let mut worker = bed.worker("w");
    wait_until("the first task to finish", SOON, || holds_for(finished(&cluster) == 1, worker.log()));
    cluster.wait_replicated();
    cluster.kill9(0);
    wait_until("the sentinels to agree on another master", Duration::from_secs(40), || {
        holds_for(cluster.master() == Some(1), "none yet")
    });
    wait_until("a submitter to get through", SOON, || {
        let output = bed.submit(&["-"], "shell:0:0:1:echo two\n");
        holds_for(output.is(0), output)
    });
    wait_until("the second task to finish", SOON, || holds_for(finished(&cluster) == 2, worker.log()));
    assert!(worker.is_running());
}
