//! What the tests of processes share: a zygote of the built worker, specs, and waiting for a condition.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use distcomp::process::{Ended, Keeper, KeeperCommand, KeeperEvent, KeeperSettings, RunSpec, Zygote};

use crate::support::wait_until;

pub(crate) fn settings() -> KeeperSettings {
    KeeperSettings {
        // The file of promises is run once more as another user, who needs a copy.
        exe: std::env::var_os("DISTCOMP_TEST_WORKER")
            .map_or_else(|| env!("CARGO_BIN_EXE_distcomp-worker").into(), Into::into),
        env_remove: Vec::new(),
        env_add: Vec::new(),
        nofile_soft: None,
        confinement: Default::default(),
        tag_file: None,
    }
}

pub(crate) async fn keeper() -> (Zygote, Keeper) {
    let zygote = Zygote::start(&settings()).unwrap();
    let keeper = zygote.keeper().await.unwrap();
    (zygote, keeper)
}

/// A shell command with generous limits and an overflow file in `/tmp` that no other test has.
pub(crate) fn shell(command: &str) -> RunSpec {
    RunSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), command.into()],
        env: Vec::new(),
        max_inline: 1 << 20,
        head_keep: 1000,
        tail_keep: 4096,
        stderr_tail_keep: 4096,
        overflow_path: std::env::temp_dir().join(format!("distcomp-test-overflow-{}", unique())),
        result_dir: None,
        memory_limit: 0,
        process_limit: 0,
        start_by_ms: 0,
        ..RunSpec::default()
    }
}

/// A number that is in no other test's command line, of this run or another.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("9{}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn start(keeper: &mut Keeper, key: u64, spec: RunSpec) {
    keeper.send(KeeperCommand::Run { key, spec: Box::new(spec) }).await.unwrap();
}

pub(crate) async fn next(keeper: &mut Keeper) -> KeeperEvent {
    tokio::time::timeout(Duration::from_secs(60), keeper.recv()).await.expect("an answer within a minute").unwrap()
}

/// The next answer, which must be that this run has started; its pid.
pub(crate) async fn started(keeper: &mut Keeper, key: u64) -> i32 {
    match next(keeper).await {
        KeeperEvent::Started { key: this, pid, .. } if this == key => pid,
        other => panic!("expected the start of {key}, got {other:?}"),
    }
}

/// The next answer, which must be that this run has ended.
pub(crate) async fn ended(keeper: &mut Keeper, key: u64) -> Ended {
    match next(keeper).await {
        KeeperEvent::Ended(ended) if ended.key == key => *ended,
        other => panic!("expected the end of {key}, got {other:?}"),
    }
}

pub(crate) async fn run(keeper: &mut Keeper, key: u64, spec: RunSpec) -> Ended {
    start(keeper, key, spec).await;
    started(keeper, key).await;
    ended(keeper, key).await
}

/// Whole stdout as text.
pub(crate) fn text(ended: &Ended) -> String {
    match &ended.stdout {
        distcomp::process::Stdout::Whole(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("not whole: {other:?}"),
    }
}

/// Running processes whose command line or environment holds `mark`, this one and its parents aside.
pub(crate) fn marked(mark: &str) -> Vec<i32> {
    let holds = |path: &Path| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid: &i32| pid as u32 != std::process::id())
        .filter(|pid| {
            let dir = Path::new("/proc").join(pid.to_string());
            holds(&dir.join("cmdline")) || holds(&dir.join("environ"))
        })
        .collect()
}

/// Waits until `holds`, and fails with what `state` says when it does not within `limit`.
#[track_caller]
pub(crate) fn wait_for<T: std::fmt::Debug>(
    limit: Duration,
    what: &str,
    mut state: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    wait_until(what, limit, || {
        let now = state();
        if holds(&now) { Ok(now) } else { Err(format!("{now:?}")) }
    })
}

#[track_caller]
pub(crate) fn wait_until_gone(mark: &str, limit: Duration) {
    wait_for(limit, "all processes gone", || marked(mark), Vec::is_empty);
}

#[track_caller]
pub(crate) fn wait_until_there(mark: &str, count: usize) {
    wait_for(Duration::from_secs(20), "the tree is up", || marked(mark), |pids| pids.len() >= count);
}
