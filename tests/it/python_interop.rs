//! Beside the original Python DistComp, on the same hashes. Runs only where `DISTCOMP_PYTHON_ORIGINAL` names a checkout of
//! 1a1a11a/distComp (with the Python packages `redis` and `psutil`): it is no part of this repository.
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::gethostname;
use serde_json::{Value, json};

use crate::support::{
    Bed, Cli, Output, Redis, SOON, ServerOptions, holds_for, kill_all, lines_of, read, result_of, wait_until, with_mark,
};

/// The Python worker wants two idle cores on any machine, and heartbeats only each two seconds: tell it that there are many.
const RUN_WORKER: &str = "
import runpy, sys, time, psutil
psutil.cpu_count = lambda *args, **more: 64
psutil.cpu_percent = lambda interval=None, **more: (time.sleep(interval or 0), 1.0)[1]
sys.path.insert(0, sys.argv[1])
sys.argv = ['redisWorker.py']
runpy.run_path(sys.path[0] + '/redisWorker.py', run_name='__main__')
";

pub(crate) struct Fleet {
    bed: Bed,
    original: PathBuf,
}

impl Fleet {
    /// `None`, said loudly, where the original is not given; a path that is given and wrong is a failure.
    fn new(test: &str) -> Option<Self> {
        let redis = Redis::start(ServerOptions { tcp: true, ..Default::default() });
        let fleet = Self::on(redis, json!({"task_field_order": "prio:mem:cpu"}));
        if fleet.is_none() {
            eprintln!(
                "NOT RUN: python_interop::{test}. Set DISTCOMP_PYTHON_ORIGINAL to a checkout of 1a1a11a/distComp."
            );
        }
        fleet
    }

    /// On this server, with these changes to the configuration of our side.
    pub(crate) fn on(redis: Redis, changes: Value) -> Option<Self> {
        let original = env::var_os("DISTCOMP_PYTHON_ORIGINAL").map(PathBuf::from)?;
        assert!(original.join("redisManager.py").is_file(), "{} has no redisManager.py", original.display());
        let port = redis.port();
        let bed = Bed::on(redis, changes);
        let python = bed.path().join("python");
        fs::create_dir(&python).expect("a directory");
        let conf = json!({
            "min_dram_gb_accept_new_task": 0, "min_dram_gb_trigger_return": 0, "sleep_sec_between_accepting_task": 0,
            "health_report_interval": 1, "max_task_per_worker": 4, "max_retry_per_task": 1, "result_dir": "./",
            "redis_host": "127.0.0.1", "redis_port": port, "redis_pass": "", "redis_db": 0,
        });
        fs::write(python.join("conf.json"), conf.to_string()).expect("its conf.json");
        Some(Self { bed, original })
    }

    /// Runs one command of `redisManager.py`.
    #[track_caller]
    fn manager(&self, task: &str, more: &[&str]) -> Output {
        Cli::new("python3")
            .args([self.original.join("redisManager.py")])
            .args(["--task", task])
            .args(more)
            .dir(&self.bed.path().join("python"))
            .run()
            .expect(0)
    }

    /// For who wants to keep the bed.
    pub(crate) fn into_bed(self) -> Bed {
        self.bed
    }

    pub(crate) fn worker(&self) -> PythonWorker {
        let mark = format!("python.{}", self.bed.path().display());
        let log = fs::File::create(self.bed.path().join("python/log")).expect("its log");
        let child = Command::new("python3")
            .args(["-c", RUN_WORKER])
            .arg(&self.original)
            .current_dir(self.bed.path().join("python"))
            .env("IT_MARK", &mark)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("python3 runs");
        PythonWorker { child, mark, name: short_host_name() }
    }
}

fn short_host_name() -> String {
    let name = gethostname().expect("a host name").into_string().expect("text");
    name.split('.').next().unwrap_or_default().to_owned()
}

pub(crate) struct PythonWorker {
    child: Child,
    mark: String,
    name: String,
}

impl PythonWorker {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        kill_all(&with_mark(&self.mark));
    }
}

#[test]
fn the_manager_loads_and_lists_what_our_worker_runs() {
    let Some(fleet) = Fleet::new("the_manager_loads_and_lists_what_our_worker_runs") else { return };
    let bed = &fleet.bed;
    let tasks: String = (0..30).map(|at| format!("shell:{}:0:0:echo ü{at}\n", at % 5)).collect();
    let file = bed.file("task", tasks + "shell:1:0:0:echo words >&2; exit 4\n");
    fleet.manager("loadTask", &["--taskfile", &file]);
    assert_eq!(bed.count("todo_tasks"), 31);
    let mut worker = bed.worker("ours");
    bed.wait_counts(SOON, [0, 0, 30, 1]);
    let first = "0 todo tasks, 0 in_progress tasks, 30 finished tasks, 1 failed tasks";
    let listed = fleet.manager("checkTask", &[]).prints_line(first);
    assert!(!listed.stderr.contains("ERROR"), "{listed}");
    assert!(listed.stdout.contains("exit 4: words"), "{listed}");
    bed.status(&[]).expect(0).prints_line(first);
    let workers = fleet.manager("checkWorker", &[]);
    assert!(workers.stdout.lines().any(|line| line.starts_with("ours ") && line.contains("30")), "{workers}");
    assert!(worker.is_running());
}

#[test]
fn the_manager_moves_tasks_under_our_worker_and_each_ends_once() {
    let Some(fleet) = Fleet::new("the_manager_moves_tasks_under_our_worker_and_each_ends_once") else { return };
    let bed = &fleet.bed;
    bed.add((0..4).map(|at| format!("shell:1:0:0:sleep 3; echo {at}")));
    let _worker = bed.worker("ours");
    bed.wait_counts(SOON, [0, 4, 0, 0]);
    fleet.manager("moveInProgressTaskToTodo", &[]);
    bed.wait_counts(SOON, [0, 0, 4, 0]);
    bed.add(["shell:1:0:0:exit 1"]);
    bed.wait_counts(SOON, [0, 0, 4, 1]);
    fleet.manager("moveFailedTaskToTodo", &[]);
    bed.wait_counts(SOON, [0, 0, 4, 1]);
    fleet.manager("removeFinishedTask", &[]);
    bed.wait_counts(SOON, [0, 0, 0, 1]);
}

#[test]
fn python_cleanup_spares_live_workers_and_frees_dead_ones() {
    let Some(fleet) = Fleet::new("python_cleanup_spares_live_workers_and_frees_dead_ones") else {
        return;
    };
    let bed = &fleet.bed;
    let long = "shell:1:0:0:sleep 4; echo long";
    bed.add([long]);
    let _worker = bed.worker("ours");
    bed.wait_running(long);
    bed.hset("worker_status", "gone", "1000000000:1.00:8.00:2.00:16.00");
    bed.hset("in_progress_tasks", "shell:1:0:0:echo lost", "gone");
    fleet.manager("cleanup", &[]);
    assert_eq!(bed.table("in_progress_tasks").get(long).map(String::as_str), Some("ours"));
    bed.wait_counts(SOON, [0, 0, 2, 0]);
    assert_eq!(bed.table("worker_status").into_keys().collect::<Vec<_>>(), ["ours"]);
}

#[test]
fn a_python_worker_runs_what_we_submit() {
    let Some(mut fleet) = Fleet::new("a_python_worker_runs_what_we_submit") else { return };
    fleet.bed.configure(json!({"python_workers": true}));
    let bed = &fleet.bed;
    bed.add((0..4).map(|at| format!("shell:{at}:0:0:echo from python {at}")));
    let worker = fleet.worker();
    bed.wait_counts(Duration::from_secs(60), [0, 0, 4, 0]);
    let (by, output) = result_of(&bed.table("finished_tasks"), "shell:3:0:0:echo from python 3");
    assert_eq!((by.as_str(), output.as_str()), (worker.name.as_str(), "from python 3"));
    let shown = bed.status(&["show", "shell:3:0:0:echo from python 3"]).expect(0);
    assert!(shown.stdout.contains("from python 3"), "{shown}");
}

#[test]
fn a_python_worker_never_executes_a_line_with_needs() {
    let Some(mut fleet) = Fleet::new("a_python_worker_never_executes_a_line_with_needs") else { return };
    fleet.bed.configure(json!({"python_workers": true}));
    let bed = &fleet.bed;
    let out = bed.out("ran");
    let line = |kind: &str, name: &str| format!("{kind}:0:0:0:echo {name} >> {out}");
    let needs = [line("shell,gpus=1", "gpu"), line("shell,constraint=ssd", "ssd"), line("demo,prefer=ssd", "demo")];
    // Where a manager that moves failed tasks would put them, and no submission of ours does.
    bed.hset_all("todo_tasks", &needs);
    let plain = line("shell", "plain");
    bed.add([&plain]);
    let worker = fleet.worker();
    // Each of them fails once there, and the plain one is run.
    bed.wait_counts(Duration::from_secs(60), [0, 0, 1, 3]);
    assert_eq!(read(&out), "plain\n");
    let (by, _) = result_of(&bed.table("finished_tasks"), &plain);
    assert_eq!(by, worker.name);
    assert!(needs.iter().all(|line| bed.table("failed_tasks").contains_key(line)));
}

#[test]
fn lines_with_needs_run_on_ours_alone_whatever_a_manager_moves() {
    let Some(mut fleet) = Fleet::new("lines_with_needs_run_on_ours_alone_whatever_a_manager_moves") else { return };
    fleet.bed.configure(json!({"python_workers": true, "resources": {"lic": 3}, "labels": ["ssd"]}));
    let bed = &fleet.bed;
    let (ran, fail) = (bed.out("ran"), bed.out("fail"));
    // Only ours names itself. Whoever runs a line says so.
    let line = |needs: &str, at: usize| {
        let kind = ["shell", "demo"][at % 2];
        format!("{kind}{needs}:0:0:0:echo $DISTCOMP_WORKER{needs} >> {ran}; sleep 1; test ! -e {fail} # {at}")
    };
    let needs: Vec<String> =
        (0..6).map(|at| line([",lic=1", ",constraint=ssd", ",lic=2,prefer=ssd"][at % 3], at)).collect();
    let plain: Vec<String> = (0..4).map(|at| line("", at)).collect();
    bed.add(&needs);
    bed.add(&plain);
    std::fs::write(&fail, "").expect("a file");
    let python = fleet.worker();
    bed.wait_alive(&python.name);
    // Nobody has what they need: they wait where the other program does not look.
    wait_until("the plain lines to be over", Duration::from_secs(60), || {
        let over = ["failed_tasks", "finished_tasks"].map(|key| bed.table(key));
        let is_over = |line| over.iter().any(|table| table.contains_key(line));
        holds_for(plain.iter().all(is_over), format!("{over:?}"))
    });
    assert_eq!(bed.count("distcomp:waiting"), needs.len());
    let mut ours = bed.worker("ours");
    wait_until("one that runs", SOON, || holds_for(bed.count("in_progress_tasks") > 0, format!("{:?}", bed.counts())));
    let over = |what: &str| {
        wait_until(what, Duration::from_secs(90), || {
            let counts = bed.counts();
            holds_for(counts[..2] == [0, 0], format!("{counts:?}"))
        });
    };
    for task in ["moveInProgressTaskToTodo", "cleanup"] {
        fleet.manager(task, &[]);
    }
    over("all to have ended");
    // With nobody of ours there, the Python worker takes what is moved, and cannot run it.
    ours.sigterm();
    assert_eq!(ours.wait_exit(SOON), 0);
    fleet.manager("moveFailedTaskToTodo", &[]);
    over("the Python worker to have tried");
    let failed = bed.table("failed_tasks");
    let tried = |line: &&String| failed.get(*line).is_some_and(|by| by.contains(&python.name));
    assert_eq!(needs.iter().filter(tried).count(), 3, "those of type shell: {failed:?}");
    // They come home by our own requeue, and run where they can.
    let _ours = bed.worker("ours");
    std::fs::remove_file(&fail).expect("it is there");
    bed.ctl(&["requeue", "--state", "failed", "--all", "--yes"]);
    bed.wait_counts(Duration::from_secs(90), [0, 0, needs.len() + plain.len(), 0]);
    for line in lines_of(&ran) {
        assert!(!line.contains(',') || line.contains("ours,"), "the Python worker ran {line}");
    }
    let by: Vec<_> = bed.table("finished_tasks").into_iter().filter(|(line, _)| needs.contains(line)).collect();
    assert!(by.iter().all(|(_, value)| value.starts_with("ours: ")), "{by:?}");
}

#[test]
fn both_kinds_of_worker_share_one_queue() {
    let Some(mut fleet) = Fleet::new("both_kinds_of_worker_share_one_queue") else { return };
    fleet.bed.configure(json!({"python_workers": true, "max_task_per_worker": 1, "task_prefetch": 0}));
    let bed = &fleet.bed;
    let python = fleet.worker();
    bed.wait_alive(&python.name);
    let _ours = bed.worker("ours");
    bed.wait_alive("ours");
    bed.add((0..16).map(|at| format!("shell:1:0:0:sleep 1; echo {at}")));
    bed.wait_counts(Duration::from_secs(90), [0, 0, 16, 0]);
    let by: Vec<_> = bed.table("finished_tasks").into_values().collect();
    for name in ["ours", python.name.as_str()] {
        assert!(by.iter().any(|value| value.starts_with(&format!("{name}: "))), "{name} ran nothing: {by:?}");
    }
}

#[test]
fn a_live_python_worker_keeps_its_name() {
    let Some(fleet) = Fleet::new("a_live_python_worker_keeps_its_name") else { return };
    let bed = &fleet.bed;
    let python = fleet.worker();
    bed.wait_alive(&python.name);
    let mut twin = bed.worker(&python.name);
    assert_eq!(twin.wait_exit(Duration::from_secs(40)), 2, "{}", twin.log());
}
