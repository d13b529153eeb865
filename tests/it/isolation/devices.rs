//! A device of a node is with one task, and free only when nothing of the task's tree is left.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use distcomp::process::{DeviceHold, DeviceLocks, ExitStatus, Keeper, KeeperEvent, RunSpec, Zygote};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::keepers::{
    ended, keeper, marked, next, run, settings, shell, start, started, text, unique, wait_for, wait_until_gone,
    wait_until_there,
};

fn locks(dir: &Path) -> DeviceLocks {
    DeviceLocks::at(dir.join("devices"))
}

fn with_devices(command: &str, devices: Vec<DeviceHold>) -> RunSpec {
    RunSpec { devices, ..shell(command) }
}

/// The next answer, which must be that a device of this run is taken; its name.
async fn busy(keeper: &mut Keeper, seq: u64) -> String {
    match next(keeper).await {
        KeeperEvent::DeviceBusy { key: this, resource, device } if this == seq => format!("{resource}={device}"),
        other => panic!("expected a busy device for {seq}, got {other:?}"),
    }
}

fn wait_held(locks: &DeviceLocks, device: &str, amount: u64) {
    let held = || locks.held("gpus", device).unwrap();
    wait_for(Duration::from_secs(20), "the lock of the device", held, |held| *held == amount);
}

fn stop(pid: impl TryInto<i32>, signal: Signal) {
    let pid = pid.try_into().unwrap_or_default();
    assert!(pid > 1);
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn device_is_held_from_before_the_start_until_the_tree_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let ((_one, mut first), (_two, mut second)) = (keeper().await, keeper().await);
    let mark = unique();
    let all = || vec![locks.hold("gpus", "0", 1000), locks.hold("gpus", "1", 1000)];
    // A daemon, which lives on after its parent.
    start(&mut first, 1, with_devices(&format!("setsid sleep {mark} & sleep 0.3"), all())).await;
    started(&mut first, 1).await;
    assert_eq!((locks.held("gpus", "0").unwrap(), locks.held("gpus", "1").unwrap()), (1000, 1000));
    start(&mut second, 1, with_devices("echo 1", vec![locks.hold("gpus", "2", 1000), locks.hold("gpus", "1", 1000)]))
        .await;
    assert_eq!(busy(&mut second, 1).await, "gpus=1");
    assert_eq!(locks.held("gpus", "2").unwrap(), 0, "all or nothing");
    assert_eq!(ended(&mut first, 1).await.leftovers_killed, 1);
    assert_eq!((locks.held("gpus", "0").unwrap(), marked(&mark)), (0, vec![]), "free when the answer is there");
    assert_eq!(text(&run(&mut second, 2, with_devices("echo 2", all())).await), "2\n");
    assert_eq!(text(&run(&mut second, 3, shell("ls -l /proc/self/fd | grep -c devices")).await), "0\n");
}

#[tokio::test]
async fn parts_of_a_device_are_shared_and_a_whole_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let part = |amount| vec![locks.hold("gpus", "0", amount)];
    let mut keepers = Vec::new();
    for _ in 0..3 {
        keepers.push(keeper().await);
    }
    let [(_, a), (_, b), (_, c)] = keepers.as_mut_slice() else { unreachable!("three") };
    start(a, 1, with_devices("sleep 30", part(500))).await;
    start(b, 1, with_devices("sleep 30", part(500))).await;
    started(a, 1).await;
    started(b, 1).await;
    for (seq, amount) in [(1, 500), (2, 1000), (3, 1)] {
        start(c, seq, with_devices("true", part(amount))).await;
        assert_eq!(busy(c, seq).await, "gpus=0");
    }
    a.send(distcomp::process::KeeperCommand::Kill { key: 1 }).await.unwrap();
    ended(a, 1).await;
    start(c, 4, with_devices("true", part(1000))).await;
    assert_eq!(busy(c, 4).await, "gpus=0");
    assert_eq!(run(c, 5, with_devices("true", part(500))).await.status, ExitStatus::Exited(0));
}

#[tokio::test]
async fn device_of_a_killed_keeper_is_free_when_its_tree_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let (_zygote, mut keeper) = keeper().await;
    let mark = unique();
    start(
        &mut keeper,
        1,
        with_devices(&format!("setsid sleep {mark}.1 & sleep {mark}.2"), vec![locks.hold("gpus", "0", 1000)]),
    )
    .await;
    started(&mut keeper, 1).await;
    wait_until_there(&format!("sleep\0{mark}"), 2);
    // A frozen keeper has it still.
    stop(keeper.pid() as i32, Signal::SIGSTOP);
    assert_eq!(locks.held("gpus", "0").unwrap(), 1000);
    stop(keeper.pid() as i32, Signal::SIGKILL);
    wait_until_gone(&format!("sleep\0{mark}"), Duration::from_secs(10));
    wait_held(&locks, "0", 0);
}

#[tokio::test]
async fn device_of_a_killed_worker_is_free_when_its_tree_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let (zygote, mut first) = keeper().await;
    let mark = unique();
    let command = format!("trap '' TERM; setsid sleep {mark}.1 & sleep {mark}.2");
    start(&mut first, 1, with_devices(&command, vec![locks.hold("gpus", "0", 1000)])).await;
    started(&mut first, 1).await;
    wait_until_there(&format!("sleep\0{mark}"), 2);
    // As when the kernel closes the sockets of a killed worker.
    drop((first, zygote));
    wait_held(&locks, "0", 0);
    assert_eq!(marked(&format!("sleep\0{mark}")), [0; 0], "not free before");
}

#[tokio::test]
async fn device_stays_held_by_what_outlives_worker_and_keepers() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let mark = unique();
    let hold = || vec![locks.hold("gpus", "0", 1000)];
    let (zygote, mut first) = keeper().await;
    start(&mut first, 1, with_devices(&format!("setsid sleep {mark}.1 & sleep {mark}.2"), hold())).await;
    started(&mut first, 1).await;
    wait_until_there(&format!("sleep\0{mark}"), 2);
    // Both are stopped before one is killed: nobody is left to clear up.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        stop(zygote.pid() as i32, signal);
        stop(first.pid() as i32, signal);
    }
    wait_until_gone_pid(first.pid());
    assert!(marked(&format!("sleep\0{mark}")).len() >= 2, "else this shows nothing");
    assert_eq!(locks.held("gpus", "0").unwrap(), 1000);
    let (_other, mut second) = keeper().await;
    start(&mut second, 1, with_devices("true", hold())).await;
    assert_eq!(busy(&mut second, 1).await, "gpus=0");
    for pid in marked(&mark) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    wait_held(&locks, "0", 0);
    assert_eq!(run(&mut second, 2, with_devices("true", hold())).await.status, ExitStatus::Exited(0));
}

fn wait_until_gone_pid(pid: u32) {
    let identity = || distcomp::process::identity(i32::try_from(pid).unwrap_or(0));
    wait_for(Duration::from_secs(10), "the keeper to be gone", identity, Option::is_none);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_device_is_with_two_tasks_of_several_workers() {
    let dir = tempfile::tempdir().unwrap();
    let locks = locks(dir.path());
    let mut slots = tokio::task::JoinSet::new();
    for worker in 0..2 {
        let zygote = Zygote::start(&settings()).unwrap();
        for slot in 0..3_u64 {
            let (zygote, locks, dir) = (zygote.clone(), locks.clone(), dir.path().to_owned());
            slots.spawn(async move {
                let mut keeper = zygote.keeper().await.unwrap();
                let (mut ran, mut refused) = (0, 0);
                for seq in 0..40_u64 {
                    let device = ((seq + slot + worker) % 2).to_string();
                    // The task's own lock, which only one can have.
                    let own = dir.join(format!("in-use-{device}"));
                    let command = format!("mkdir {0} || exit 7; sleep 0.01; rmdir {0}", own.display());
                    start(&mut keeper, seq, with_devices(&command, vec![locks.hold("gpus", &device, 1000)])).await;
                    match next(&mut keeper).await {
                        KeeperEvent::DeviceBusy { .. } => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(3)).await;
                        }
                        KeeperEvent::Started { .. } => {
                            let end = ended(&mut keeper, seq).await;
                            assert_eq!(end.status, ExitStatus::Exited(0), "device {device} is with two tasks");
                            ran += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                (ran, refused)
            });
        }
    }
    let counts: Vec<(u32, u32)> = slots.join_all().await;
    let (ran, refused) = counts.iter().fold((0, 0), |(ran, refused), one| (ran + one.0, refused + one.1));
    assert!(ran > 0 && refused > 0, "six slots must have met on two devices: {counts:?}");
    let free: BTreeMap<&str, u64> = ["0", "1"].map(|device| (device, locks.held("gpus", device).unwrap())).into();
    assert_eq!(free, BTreeMap::from([("0", 0), ("1", 0)]));
}

#[tokio::test]
async fn locks_that_cannot_be_had_are_the_nodes_fault() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("devices"), "no directory").unwrap();
    let (_zygote, mut keeper) = keeper().await;
    start(&mut keeper, 1, with_devices("true", vec![locks(dir.path()).hold("gpus", "0", 1000)])).await;
    match next(&mut keeper).await {
        KeeperEvent::SpawnFailed { key: 1, error, is_node_fault: true } => {
            assert!(error.starts_with("lock gpus 0"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
