//! A worker whose results Redis refuses can be ended in each way: in bounded time, with the results in the spool, and with the fault logged seldom.
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bed, Redis, ServerOptions, Worker, begun, holds_for, kill_all, lines_of, run_times, wait_until, with_argv,
    with_mark,
};

/// Ends and waits for the private server of a test are bounded by half a minute in the program; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(90);

/// How often the reason of a refusal may be in the log of a worker that is ended within a minute and a half.
const SELDOM: usize = 12;

/// One way in which a server that answers refuses to write.
struct Refusal {
    /// What the server says, which the worker must name.
    says: &'static str,
    begin: fn(&mut Bed),
    end: fn(&mut Bed),
}

/// Sends a command on a connection of its own.
fn tell(bed: &Bed, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).exec(&mut bed.redis.con()).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn a_bed() -> Bed {
    let conf = json!({"max_task_per_worker": 1, "task_prefetch": 0, "worker_dead_after_seconds": 600});
    Bed::on(Redis::start(ServerOptions { plain: true, ..Default::default() }), conf)
}

/// Four tasks that end when `go` is there, each run by a worker of its own.
fn workers_at_work(bed: &Bed) -> Vec<Worker> {
    let (go, runs) = (bed.out("go"), bed.out("runs"));
    let lines = (0..4).map(|at| format!("shell:0:0:1:until test -e {go}; do sleep 0.1; done; echo {at} >> {runs}"));
    bed.add(lines);
    let ways = [("term", None), ("twice", None), ("asked", None), ("burst", Some("--burst"))];
    let workers = ways.map(|(name, flag)| bed.worker_with(name, json!({}), flag.as_slice()));
    bed.wait_counts(BOUND, [0, 4, 0, 0]);
    wait_until("four tasks to run", BOUND, || {
        let seen = begun(&go).len();
        holds_for(seen >= 4, format!("{seen}"))
    });
    workers.into_iter().collect()
}

/// The table: each way to end, under this refusal.
#[track_caller]
fn ends_in_each_way(refusal: &Refusal) {
    let mut bed = a_bed();
    let mut workers = workers_at_work(&bed);
    bed.ctl(&["drain", "asked", "--yes"]).expect(0);
    wait_for_log(&workers[2], "asked to stop");
    (refusal.begin)(&mut bed);
    fs::write(bed.out("go"), "").expect("the sign to go on");
    for worker in &workers {
        wait_for_log(worker, refusal.says);
        wait_for_log(worker, "result=finished");
    }
    workers[0].sigterm();
    workers[1].sigterm();
    wait_for_log(&workers[1], "draining");
    workers[1].sigterm();
    for (worker, code) in workers.iter_mut().zip([0, 0, 0, 3]) {
        assert_eq!(worker.wait_exit(BOUND), code, "{}", worker.log());
        let log = worker.log();
        let told = log.lines().find(|line| line.contains("the next start of this worker reports them"));
        let spool = told.and_then(|told| told.split(['"', ' ', '=']).find(|part| part.ends_with("/spool.jsonl")));
        assert!(
            spool.is_some_and(|spool| !spool.starts_with("/proc/") && fs::exists(spool).is_ok_and(|is| is)),
            "{log}"
        );
        let times = log.lines().filter(|line| line.contains(refusal.says)).count();
        assert!(times <= SELDOM, "{times} lines of one fault\n{log}");
    }
    assert_eq!(run_times(bed.out("runs")).len(), 4);
    (refusal.end)(&mut bed);
    let _again: Vec<Worker> = workers.iter().map(|worker| bed.worker(worker.name())).collect();
    bed.wait_counts(BOUND, [0, 0, 4, 0]);
    assert!(run_times(bed.out("runs")).values().all(|times| *times == 1), "{:?}", run_times(bed.out("runs")));
}

#[track_caller]
fn wait_for_log(worker: &Worker, text: &str) {
    wait_until(&format!("{}: {text}", worker.name()), BOUND, || {
        let log = worker.log();
        holds_for(log.contains(text), log)
    });
}

#[test]
fn a_worker_ends_while_redis_is_out_of_memory() {
    ends_in_each_way(&Refusal {
        says: "OOM",
        begin: |bed| bed.redis.set("maxmemory", "1"),
        end: |bed| bed.redis.set("maxmemory", "0"),
    });
}

#[test]
fn a_worker_ends_while_redis_lacks_replicas() {
    ends_in_each_way(&Refusal {
        says: "NOREPLICAS",
        begin: |bed| bed.redis.set("min-replicas-to-write", "1"),
        end: |bed| bed.redis.set("min-replicas-to-write", "0"),
    });
}

#[test]
fn a_worker_ends_while_redis_is_a_replica() {
    ends_in_each_way(&Refusal {
        says: "READONLY",
        begin: |bed| tell(bed, &["REPLICAOF", "127.0.0.1", "1"]),
        end: |bed| tell(bed, &["REPLICAOF", "NO", "ONE"]),
    });
}

/// A directory where the snapshot is to go: it cannot be put there.
fn in_the_way(bed: &Bed) -> std::path::PathBuf {
    bed.redis.data().join("dump.rdb")
}

fn wait_for_snapshot(bed: &Bed, outcome: &str) {
    wait_until(&format!("a snapshot that is {outcome}"), BOUND, || {
        let _ = redis::cmd("BGSAVE").exec(&mut bed.redis.con());
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut bed.redis.con()).expect("INFO");
        holds_for(info.contains(&format!("rdb_last_bgsave_status:{outcome}")), info)
    });
}

#[test]
fn a_worker_ends_while_redis_cannot_save() {
    ends_in_each_way(&Refusal {
        says: "MISCONF",
        begin: |bed| {
            bed.redis.set("save", "3600 1");
            fs::create_dir(in_the_way(bed)).expect("a directory");
            wait_for_snapshot(bed, "err");
        },
        end: |bed| {
            fs::remove_dir(in_the_way(bed)).expect("it is empty");
            wait_for_snapshot(bed, "ok");
        },
    });
}

#[test]
fn a_worker_ends_while_redis_is_busy() {
    ends_in_each_way(&Refusal {
        says: "BUSY",
        begin: |bed| {
            bed.redis.set("lua-time-limit", "50");
            let mut con = bed.redis.con();
            thread::spawn(move || redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut con));
            wait_until("a server that is busy", BOUND, || {
                let asked = redis::cmd("PING").query::<String>(&mut bed.redis.con());
                holds_for(asked.as_ref().is_err_and(|error| error.to_string().contains("BUSY")), format!("{asked:?}"))
            });
        },
        end: |bed| tell(bed, &["SCRIPT", "KILL"]),
    });
}

#[test]
fn a_worker_ends_while_it_lacks_the_right_to_scripts() {
    ends_in_each_way(&Refusal {
        says: "may not",
        begin: |bed| tell(bed, &["ACL", "SETUSER", "default", "-evalsha"]),
        end: |bed| tell(bed, &["ACL", "SETUSER", "default", "+@all"]),
    });
}

#[test]
fn a_worker_ends_while_redis_loads_its_data() {
    ends_in_each_way(&Refusal {
        says: "LOADING",
        begin: |bed| {
            let mut pipe = redis::pipe();
            for at in 0..6000 {
                pipe.cmd("SET").arg(format!("ballast:{at}")).arg("x".repeat(2000)).ignore();
            }
            pipe.exec(&mut bed.redis.con()).expect("SET");
            tell(bed, &["SAVE"]);
            bed.redis.kill9();
            bed.redis.load_slowly();
        },
        end: |bed| {
            tell(bed, &["CONFIG", "SET", "key-load-delay", "0"]);
            wait_until("a server that has loaded", BOUND, || {
                let asked = redis::cmd("DBSIZE").query::<u64>(&mut bed.redis.con());
                holds_for(asked.is_ok(), format!("{asked:?}"))
            });
        },
    });
}

#[test]
fn a_worker_told_to_stop_ends_while_redis_refuses() {
    let bed = a_bed();
    let mut workers = workers_at_work(&bed);
    bed.ctl(&["stop", "--yes"]).expect(0);
    for worker in &workers {
        wait_for_log(worker, "asked to stop");
    }
    bed.redis.set("maxmemory", "1");
    fs::write(bed.out("go"), "").expect("the sign to go on");
    for worker in &mut workers {
        assert_eq!(worker.wait_exit(BOUND), 0, "{}", worker.log());
        assert!(worker.log().contains("the next start of this worker reports them"), "{}", worker.log());
    }
}

#[test]
fn a_burst_that_cannot_claim_ends_with_the_reason() {
    let bed = a_bed();
    let mut worker = bed.worker_with("w", json!({"task_prefetch": 0}), &["--burst"]);
    assert_eq!(worker.wait_exit(BOUND), 0, "an empty queue\n{}", worker.log());
    bed.add(["shell:0:0:1:sleep 2", "shell:0:0:1:echo never"]);
    let mut worker = bed.worker_with("w", json!({}), &["--burst"]);
    wait_until("the first task", BOUND, || holds_for(bed.count("in_progress_tasks") == 1, worker.log()));
    tell(&bed, &["ACL", "SETUSER", "default", "-evalsha"]);
    assert_eq!(worker.wait_exit(BOUND), 3, "{}", worker.log());
    assert!(worker.log().contains("distcomp-worker: failed to keep running"), "{}", worker.log());
}

#[test]
fn what_is_lost_is_named_where_there_is_no_spool() {
    let bed = a_bed();
    let mut workers = workers_at_work(&bed);
    let worker = &mut workers[0];
    let homes = fs::read_dir(bed.path().join("worker-term/state/workers")).expect("its state").flatten();
    homes.for_each(|home| fs::remove_dir_all(home.path()).expect("it is removed"));
    bed.redis.set("maxmemory", "1");
    fs::write(bed.out("go"), "").expect("the sign to go on");
    wait_for_log(worker, "OOM");
    worker.sigterm();
    assert_eq!(worker.wait_exit(BOUND), 0, "{}", worker.log());
    let log = worker.log();
    let said = log.lines().find(|line| line.contains("they are lost, and these tasks run again"));
    assert!(said.is_some_and(|said| said.contains("outcomes=1") && said.contains("tasks=")), "{log}");
}

/// The socket of the private server among the processes with this mark.
fn socket_of(mark: &str) -> Option<String> {
    let all: Vec<String> = with_mark(mark).into_iter().map(|one| one.argv).collect();
    all.join(" ").split([' ', ':']).find(|word| word.ends_with(".sock")).map(str::to_owned)
}

/// Kills what has this mark when the test is over.
struct Cleared(String);

impl Drop for Cleared {
    fn drop(&mut self) {
        kill_all(&with_mark(&self.0));
    }
}

#[test]
fn a_local_run_ends_while_its_server_refuses() {
    let dir = tempfile::Builder::new().prefix("dc-ending-").tempdir_in("/tmp").expect("a directory in /tmp");
    let path = |name: &str| dir.path().join(name);
    let go = path("go").display().to_string();
    let line = format!("shell:0:0:1:until test -e {go}; do sleep 0.1; done; echo ran >> runs\n");
    fs::write(path("tasks"), line).expect("tasks");
    let mark = format!("ending.{}", dir.path().display());
    let local = || {
        crate::support::Cli::new(crate::support::bin("distcomp-worker"))
            .args(["--local", "tasks"])
            .dir(dir.path())
            .env("HOME", dir.path())
            .env("IT_MARK", &mark)
            .env("XDG_STATE_HOME", path("state"))
            .limit(BOUND)
    };
    let first = local().start();
    let _cleared = Cleared(mark.clone());
    wait_until("the task", BOUND, || holds_for(!with_argv(&go).is_empty(), "no task"));
    let socket = wait_until("its socket", BOUND, || socket_of(&mark).ok_or("none"));
    let mut con =
        redis::Client::open(format!("redis+unix://{socket}")).expect("URL").get_connection().expect("a connection");
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec(&mut con).expect("CONFIG SET");
    fs::write(&go, "").expect("the sign to go on");
    wait_until("the task to have run", BOUND, || holds_for(lines_of(path("runs")) == ["ran"], "not yet"));
    first.signal(nix::sys::signal::Signal::SIGINT);
    let output = first.finish();
    assert!(output.is(130), "{output}");
    local().run().expect(0);
    assert_eq!(lines_of(path("runs")), ["ran"], "it is reported, and not run again");
}
