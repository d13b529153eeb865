//! Nothing of a task outlives it, whatever it does, and nothing of a worker's tasks outlives the worker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use distcomp::process::{ExitStatus, KeeperCommand, ProcessError, Zygote, identity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::keepers::{
    ended, keeper, marked, next, run, settings, shell, start, started, text, unique, wait_for, wait_until_gone,
    wait_until_there,
};
use crate::support::Stopwatch;

/// The tree of the process-tree experiment: own session and double fork, double fork in the group, daemon, daemon without environment,
/// and (with `foreground`) one that the shell waits for. All of them can be told by `mark`.
fn tree(mark: &str, foreground: bool) -> String {
    let waits = if foreground { format!("sleep {mark}.5") } else { "true".to_owned() };
    format!(
        "setsid sh -c 'sleep {mark}.1 &'; (sleep {mark}.2 &); nohup setsid sleep {mark}.3 >/dev/null 2>&1 & \
         (env -i setsid sleep {mark}.4 &); sleep 0.05; {waits}"
    )
}

/// Forks, exits, and goes on in a new session, for ever.
fn chain(mark: &str) -> String {
    format!(
        "python3 -c '
import os, time
mark = \"{mark}\"
while True:
    if os.fork(): os._exit(0)
    os.setsid()
    time.sleep(0.00005)
' & sleep {mark}.9"
    )
}

/// Waits until the whole [`tree`] is there: its five sleeps, and not what is on its way to one.
fn wait_until_grown(mark: &str) {
    wait_for(
        Duration::from_secs(20),
        "five sleeps of the tree",
        || (1..=5).filter(|n| !marked(&format!("sleep\0{mark}.{n}")).is_empty()).count(),
        |&count| count == 5,
    );
}

/// Waits until a task has written something to this file.
fn wait_until_said(file: &Path) {
    let said = || std::fs::read_to_string(file).unwrap_or_default();
    wait_for(Duration::from_secs(20), "the task to say that it is ready", said, |text| text.ends_with('\n'));
}

async fn terminate(keeper: &mut distcomp::process::Keeper, key: u64, grace_ms: u64) {
    keeper.send(KeeperCommand::Terminate { key, grace_ms }).await.unwrap();
}

#[tokio::test]
async fn an_overdue_tree_is_gone_to_the_last_process() {
    for (round, grace) in [0, 0, 0, 300, 300, 300].into_iter().enumerate() {
        let (_zygote, mut keeper) = keeper().await;
        let mark = unique();
        start(&mut keeper, 1, shell(&tree(&mark, true))).await;
        started(&mut keeper, 1).await;
        wait_until_grown(&mark);
        terminate(&mut keeper, 1, grace).await;
        let end = ended(&mut keeper, 1).await;
        assert_eq!(marked(&mark), Vec::<i32>::new(), "round {round}");
        assert!(!end.unkillable);
        assert_eq!(end.forced_kill, grace == 0, "{end:?}");
    }
}

#[tokio::test]
async fn what_a_task_leaves_behind_is_killed_when_it_ends() {
    let (_zygote, mut keeper) = keeper().await;
    for key in 1..=5 {
        let mark = unique();
        let end = run(&mut keeper, key, shell(&tree(&mark, false))).await;
        assert_eq!(marked(&mark), Vec::<i32>::new());
        assert_eq!(end.status, ExitStatus::Exited(0));
        assert!(end.leftovers_killed >= 4 && !end.forced_kill && !end.unkillable, "{end:?}");
    }
}

#[tokio::test]
async fn a_chain_of_processes_that_live_for_microseconds_is_caught() {
    let (_zygote, mut keeper) = keeper().await;
    for (key, grace) in [(1, 0), (2, 200), (3, 0)] {
        let mark = unique();
        start(&mut keeper, key, shell(&chain(&mark))).await;
        started(&mut keeper, key).await;
        wait_until_there(&format!("{mark}.9"), 1);
        std::thread::sleep(Duration::from_millis(200));
        terminate(&mut keeper, key, grace).await;
        let end = ended(&mut keeper, key).await;
        assert_eq!(marked(&mark), Vec::<i32>::new());
        assert!(!end.unkillable, "{end:?}");
    }
}

#[tokio::test]
async fn a_tree_that_ignores_sigterm_is_gone_after_the_grace() {
    let (_zygote, mut keeper) = keeper().await;
    let mark = unique();
    let stubborn = format!("trap '' TERM; (trap '' TERM; setsid sleep {mark}.1) & while :; do sleep {mark}; done");
    start(&mut keeper, 1, shell(&stubborn)).await;
    started(&mut keeper, 1).await;
    wait_until_there(&mark, 2);
    let begun = Instant::now();
    terminate(&mut keeper, 1, 500).await;
    let end = ended(&mut keeper, 1).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(490), "{took:?}");
    assert_eq!((end.status, end.forced_kill), (ExitStatus::Signaled(9), true));
    assert_eq!(marked(&mark), Vec::<i32>::new());
}

#[tokio::test]
async fn a_task_has_its_grace_to_clean_up() {
    let (_zygote, mut keeper) = keeper().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cleaned");
    // A child in a session of its own, whose parent dies of the SIGTERM at once, has the whole grace as well.
    let ready = dir.path().join("ready");
    let child = format!(
        "trap \"sleep 0.3; echo child >> {}; exit 0\" TERM; echo > {}; while :; do sleep 0.02; done",
        file.display(),
        ready.display()
    );
    let command = format!("setsid sh -c '{child}' & echo up; sleep 1000");
    start(&mut keeper, 1, shell(&command)).await;
    started(&mut keeper, 1).await;
    wait_until_said(&ready);
    let begun = Stopwatch::start();
    terminate(&mut keeper, 1, 20_000).await;
    let end = ended(&mut keeper, 1).await;
    assert_eq!(end.status, ExitStatus::Signaled(15));
    assert!(!end.forced_kill);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "child\n", "the cleaning was not cut short");
    assert!(begun.elapsed() < Duration::from_secs(10), "and an empty tree does not wait for the end of the grace");
}

#[tokio::test]
async fn a_kill_cuts_a_grace_short() {
    let (_zygote, mut keeper) = keeper().await;
    let dir = tempfile::tempdir().unwrap();
    let (ready, asked) = (dir.path().join("ready"), dir.path().join("asked"));
    let stubborn =
        format!("trap 'echo > {}' TERM; echo > {}; while :; do sleep 0.05; done", asked.display(), ready.display());
    start(&mut keeper, 1, shell(&stubborn)).await;
    started(&mut keeper, 1).await;
    wait_until_said(&ready);
    terminate(&mut keeper, 1, 3_600_000).await;
    wait_until_said(&asked);
    // The grace is an hour.
    keeper.send(KeeperCommand::Kill { key: 1 }).await.unwrap();
    let end = ended(&mut keeper, 1).await;
    assert!(end.forced_kill, "{end:?}");
}

#[tokio::test]
async fn a_stopped_tree_is_ended_too() {
    let (_zygote, mut keeper) = keeper().await;
    let mark = unique();
    start(&mut keeper, 1, shell(&format!("sleep {mark}.1 & kill -STOP $!; kill -STOP $$; sleep {mark}"))).await;
    let shell = started(&mut keeper, 1).await;
    let stat = || std::fs::read_to_string(format!("/proc/{shell}/stat")).unwrap();
    wait_for(Duration::from_secs(20), "the shell stopped", stat, |stat| stat.contains(") T "));
    let begun = Stopwatch::start();
    terminate(&mut keeper, 1, 30_000).await;
    let end = ended(&mut keeper, 1).await;
    assert_eq!(end.status, ExitStatus::Signaled(15));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(marked(&mark), Vec::<i32>::new());
}

#[tokio::test]
async fn a_dropped_keeper_takes_its_tree_with_it() {
    let (zygote, mut keeper) = keeper().await;
    let mark = unique();
    start(&mut keeper, 1, shell(&tree(&mark, true))).await;
    started(&mut keeper, 1).await;
    wait_until_grown(&mark);
    drop(keeper);
    wait_until_gone(&mark, Duration::from_secs(2));
    let pid = zygote.pid() as i32;
    zygote.shutdown().await;
    assert_eq!(identity(pid), None, "the zygote has ended");
}

#[tokio::test]
async fn a_keeper_killed_by_its_task_leaves_nothing() {
    let (zygote, mut first) = keeper().await;
    let mut second = zygote.keeper().await.unwrap();
    let (mark, other) = (unique(), unique());
    start(&mut second, 1, shell(&format!("sleep {other}"))).await;
    started(&mut second, 1).await;
    let murder = format!("{} & sleep 0.3; kill -KILL $PPID; sleep {mark}.7", tree(&mark, true));
    start(&mut first, 1, shell(&murder)).await;
    started(&mut first, 1).await;
    assert!(matches!(first.recv().await, Err(ProcessError::KeeperGone)));
    wait_until_gone(&mark, Duration::from_secs(2));
    assert!(!marked(&other).is_empty(), "the neighbour's task goes on");
    let mut third = zygote.keeper().await.unwrap();
    assert_eq!(text(&run(&mut third, 1, shell("echo new")).await), "new\n");
}

#[tokio::test]
async fn task_that_kills_its_keeper_keeps_the_previous_result() {
    for _ in 0..30 {
        let (_zygote, mut keeper) = keeper().await;
        start(&mut keeper, 1, shell("echo result")).await;
        // The shell does it before it does anything else; the keeper may not have had the processor since it was started.
        start(&mut keeper, 2, shell("kill -KILL $PPID")).await;
        // It may be too late for this one to be told of.
        let third = KeeperCommand::Run { key: 3, spec: Box::new(shell("echo never")) };
        assert!(matches!(keeper.send(third).await, Ok(()) | Err(ProcessError::KeeperGone)));
        started(&mut keeper, 1).await;
        assert_eq!(text(&ended(&mut keeper, 1).await), "result\n");
        loop {
            match keeper.recv().await {
                Ok(distcomp::process::KeeperEvent::Started { key: 2, .. }) => {}
                Err(ProcessError::KeeperGone) => break,
                other => panic!("after the end of its keeper: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_keeper_stopped_by_its_task_can_be_discarded() {
    let (zygote, mut keeper) = keeper().await;
    let mark = unique();
    start(&mut keeper, 1, shell(&format!("setsid sleep {mark}.1 & sleep 0.2; kill -STOP $PPID; sleep {mark}"))).await;
    started(&mut keeper, 1).await;
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", keeper.pid())).unwrap();
    wait_for(Duration::from_secs(10), "the keeper stopped", stat, |stat| stat.contains(") T "));
    zygote.discard(&keeper).await.unwrap();
    wait_until_gone(&mark, Duration::from_secs(2));
}

/// Not a test of its own: the worker that [`a_worker_killed_outright_leaves_nothing`] kills.
#[test]
#[ignore = "started by another test"]
fn worker_to_be_killed() {
    let mark = std::env::var("DISTCOMP_TEST_MARK").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (zygote, mut first) = keeper().await;
        let mut second = zygote.keeper().await.unwrap();
        start(&mut first, 1, shell(&tree(&mark, true))).await;
        start(&mut second, 1, shell(&chain(&mark))).await;
        loop {
            tokio::select! {
                event = next(&mut first) => drop(event),
                event = next(&mut second) => drop(event),
            }
        }
    });
}

#[test]
fn a_worker_killed_outright_leaves_nothing() {
    let mark = unique();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "containment::worker_to_be_killed", "--ignored", "--nocapture"])
        .env("DISTCOMP_TEST_MARK", &mark)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until_there(&format!("{mark}.9"), 1);
    wait_until_grown(&mark);
    kill(Pid::from_raw(worker.id() as i32), Signal::SIGKILL).unwrap();
    worker.wait().unwrap();
    wait_until_gone(&mark, Duration::from_secs(2));
}

#[tokio::test]
async fn keepers_do_not_hear_the_signals_of_the_terminal() {
    let (zygote, mut keeper) = keeper().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        for pid in [zygote.pid(), keeper.pid()] {
            kill(Pid::from_raw(pid as i32), signal).unwrap();
        }
    }
    assert_eq!(text(&run(&mut keeper, 1, shell("echo here")).await), "here\n");
    let mut another = zygote.keeper().await.unwrap();
    assert_eq!(text(&run(&mut another, 1, shell("echo too")).await), "too\n");
}

#[tokio::test]
async fn no_zygote_no_keeper() {
    let zygote = Zygote::start(&settings()).unwrap();
    let mut keeper = zygote.keeper().await.unwrap();
    kill(Pid::from_raw(zygote.pid() as i32), Signal::SIGKILL).unwrap();
    wait_for(Duration::from_secs(5), "the zygote dead", || identity(zygote.pid() as i32), Option::is_none);
    assert!(matches!(zygote.keeper().await, Err(ProcessError::ZygoteGone)));
    assert_eq!(text(&run(&mut keeper, 1, shell("echo on")).await), "on\n", "what was started goes on");
}

/// The same promises hold without root: run the whole file once more as nobody.
#[test]
fn no_privilege_is_needed() {
    if !nix::unistd::geteuid().is_root() || !std::path::Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    // Copies where nobody can reach them: the build directory may be closed to others.
    let dir =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let (test, worker) = (dir.path().join("it"), dir.path().join("distcomp-worker"));
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_distcomp-worker"), &worker).unwrap();
    let output = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&test)
        .args(["containment::", "--test-threads=1"])
        .env("DISTCOMP_TEST_WORKER", &worker)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("a_chain_of_processes"), "{said}");
}
