//! What a task says is kept, in bounded memory, and what a keeper says of it is true.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use distcomp::process::{ExitStatus, KeeperCommand, KeeperEvent, KeeperSettings, RunSpec, Stdout, Zygote};

use crate::keepers::{
    ended, keeper, next, run, settings, shell, start, started, text, unique, wait_for, wait_until_there,
};
use crate::support::stays;

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test]
async fn both_outputs_the_code_and_the_figures_come_back() {
    let (_zygote, mut keeper) = keeper().await;
    let end = run(&mut keeper, 1, shell("echo out; echo err >&2; sleep 0.1; exit 3")).await;
    assert_eq!(end.status, ExitStatus::Exited(3));
    assert_eq!(text(&end), "out\n");
    assert_eq!((end.stderr_tail.as_slice(), end.stderr_total), (&b"err\n"[..], 4));
    assert!(end.duration >= Duration::from_millis(95) && end.duration < Duration::from_secs(20), "{end:?}");
    assert!(end.end_ms - end.start_ms >= 90 && end.start_ms > 1_700_000_000_000);
    assert!(end.peak_bytes > 100 * 1024);
    assert_eq!((end.leftovers_killed, end.unkillable, end.forced_kill), (0, false, false));
    let end = run(&mut keeper, 2, shell("kill -SEGV $$")).await;
    assert_eq!(end.status, ExitStatus::Signaled(11));
}

#[tokio::test]
async fn memory_and_cpu_of_the_whole_tree_are_counted() {
    let (_zygote, mut keeper) = keeper().await;
    let eat = "python3 -c 'b = bytearray(80 << 20); import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass'";
    let end = run(&mut keeper, 1, shell(&format!("({eat}); true"))).await;
    assert!(end.peak_bytes > 80 << 20 && end.peak_bytes < 200 << 20, "{end:?}");
    assert!(end.cpu_user + end.cpu_system >= Duration::from_millis(200), "{end:?}");
    let small = run(&mut keeper, 2, shell("true")).await;
    assert!(small.peak_bytes < 40 << 20, "the next task does not inherit the peak: {}", small.peak_bytes);
}

#[tokio::test]
async fn binary_output_is_kept_byte_for_byte() {
    let (_zygote, mut keeper) = keeper().await;
    let end = run(&mut keeper, 1, shell(r"printf '\377\000\033]0;x\007\n'; printf '\200' >&2")).await;
    assert_eq!(end.stdout, Stdout::Whole(b"\xff\0\x1b]0;x\x07\n".to_vec()));
    assert_eq!(end.stderr_tail, b"\x80");
}

#[tokio::test]
async fn a_huge_output_goes_whole_to_its_file_and_not_into_memory() {
    let (_zygote, mut keeper) = keeper().await;
    let spec = shell("head -c 104857600 /dev/urandom | tee /dev/stderr; echo end");
    let path = spec.overflow_path.clone();
    // The peak counts pages of the program too: those of this path are there once a smaller output has gone along it.
    let warm_up = run(&mut keeper, 0, shell("head -c 4194304 /dev/zero | tee /dev/stderr")).await;
    let Stdout::Overflowed { file: Ok(warm_up), .. } = warm_up.stdout else { panic!("not overflowed") };
    std::fs::remove_file(warm_up).unwrap();
    let before = status_kib(keeper.pid(), "VmHWM:");
    let end = run(&mut keeper, 1, spec).await;
    let peak = status_kib(keeper.pid(), "VmHWM:");
    assert!(peak < before + 8 * 1024, "{before} KiB before, {peak} KiB at most");
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(whole.len(), 104_857_600 + 4);
    assert_eq!(end.stderr_total, 104_857_600);
    assert_eq!(end.stderr_tail, whole[104_857_600 - 4096..104_857_600]);
    let Stdout::Overflowed { head, tail, total_bytes, file } = end.stdout else { panic!("not overflowed") };
    assert_eq!((total_bytes, file), (whole.len() as u64, Ok(path)));
    assert!(head.len() == 1000 && whole.starts_with(&head));
    assert!(tail.len() == 4096 && whole.ends_with(&tail));
    run(&mut keeper, 2, shell("true")).await;
    let after = status_kib(keeper.pid(), "RssAnon:");
    assert!(after < before + 256, "{before} KiB before, {after} KiB after: an idle keeper is small again");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_fails_nothing() {
    let (_zygote, mut keeper) = keeper().await;
    let spec = RunSpec {
        overflow_path: "/proc/nonexistent/dir/x".into(),
        ..shell("head -c 3000000 /dev/zero; echo done >&2")
    };
    let end = run(&mut keeper, 1, spec).await;
    assert_eq!((end.status, end.stderr_tail.as_slice()), (ExitStatus::Exited(0), &b"done\n"[..]));
    let Stdout::Overflowed { total_bytes, file, .. } = end.stdout else { panic!("not overflowed") };
    assert_eq!(total_bytes, 3_000_000);
    assert!(file.unwrap_err().contains("/proc/nonexistent/dir/x"));
}

#[tokio::test]
async fn who_holds_the_pipes_does_not_hold_the_slot() {
    let (_zygote, mut keeper) = keeper().await;
    let mark = unique();
    // For two hours at least, if it were waited for.
    let end = run(&mut keeper, 1, shell(&format!("setsid sleep {mark} & echo said"))).await;
    assert_eq!(text(&end), "said\n");
    assert_eq!(end.leftovers_killed, 1);
    // Nor who goes on writing as fast as it can.
    let end = run(&mut keeper, 2, RunSpec { max_inline: 100 << 20, ..shell("yes & sleep 0.1; exit 4") }).await;
    assert_eq!(end.status, ExitStatus::Exited(4));
}

#[tokio::test]
async fn what_was_said_last_is_not_lost() {
    let (_zygote, mut keeper) = keeper().await;
    for key in 1..=50 {
        let end = run(&mut keeper, key, shell("head -c 65000 /dev/zero; head -c 60000 /dev/zero >&2")).await;
        assert_eq!((end.stdout.total_bytes(), end.stderr_total), (65_000, 60_000));
    }
}

#[tokio::test]
async fn closing_its_outputs_does_not_end_a_task() {
    let (_zygote, mut keeper) = keeper().await;
    let end = run(&mut keeper, 1, shell("echo a; exec >&- 2>&-; sleep 0.2; exit 7")).await;
    assert_eq!((end.status, text(&end).as_str()), (ExitStatus::Exited(7), "a\n"));
    assert!(end.duration >= Duration::from_millis(190));
}

#[tokio::test]
async fn what_cannot_be_started_says_so_and_the_slot_goes_on() {
    let (_zygote, mut keeper) = keeper().await;
    let no_program = RunSpec { program: "/nonexistent/program".into(), ..shell("") };
    let nul = RunSpec { args: vec![std::ffi::OsString::from_vec(b"a\0b".to_vec())], ..shell("") };
    let too_long = shell(&"x".repeat(140_000));
    for (key, spec, expected) in
        [(1, no_program, "No such file"), (2, nul, "NUL"), (3, too_long, "Argument list too long")]
    {
        start(&mut keeper, key, spec).await;
        match next(&mut keeper).await {
            KeeperEvent::SpawnFailed { key: this, error, is_node_fault } => {
                assert_eq!((this, is_node_fault), (key, false));
                assert!(error.contains(expected), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text(&run(&mut keeper, 4, shell("echo on")).await), "on\n");
}

#[tokio::test]
async fn short_of_descriptors_is_a_failed_start_and_not_a_lost_keeper() {
    let zygote = Zygote::start(&KeeperSettings { nofile_soft: Some(8), ..settings() }).unwrap();
    let mut keeper = zygote.keeper().await.unwrap();
    start(&mut keeper, 1, shell("true")).await;
    let answer = next(&mut keeper).await;
    assert!(
        matches!(&answer, KeeperEvent::SpawnFailed { error, is_node_fault: true, .. } if error.contains("Too many open files")),
        "{answer:?}"
    );
    start(&mut keeper, 2, shell("true")).await;
    assert!(matches!(next(&mut keeper).await, KeeperEvent::SpawnFailed { key: 2, .. }));
}

#[tokio::test]
async fn many_tasks_leave_no_descriptor_and_no_process_behind() {
    let (_zygote, mut keeper) = keeper().await;
    run(&mut keeper, 0, shell("true")).await;
    let before = open_files(keeper.pid());
    for key in 1..=300 {
        assert_eq!(run(&mut keeper, key, shell("echo $0")).await.status, ExitStatus::Exited(0));
    }
    assert_eq!(open_files(keeper.pid()), before);
    assert_eq!(distcomp::process::tree::children(keeper.pid() as i32), Vec::<i32>::new());
}

#[tokio::test]
async fn commands_wait_their_turn_and_can_be_withdrawn() {
    let (_zygote, mut keeper) = keeper().await;
    start(&mut keeper, 1, shell("sleep 0.2; echo 1")).await;
    start(&mut keeper, 2, shell("echo 2")).await;
    start(&mut keeper, 3, shell("echo 3")).await;
    start(&mut keeper, 4, shell("echo 4")).await;
    started(&mut keeper, 1).await;
    for command in [
        KeeperCommand::Recall { key: 2 },
        KeeperCommand::Recall { key: 1 },
        KeeperCommand::Recall { key: 77 },
        KeeperCommand::Terminate { key: 4, grace_ms: 1000 },
    ] {
        keeper.send(command).await.unwrap();
    }
    assert_eq!(next(&mut keeper).await, KeeperEvent::Recalled { key: 2 });
    assert_eq!(next(&mut keeper).await, KeeperEvent::Recalled { key: 4 });
    assert_eq!(text(&ended(&mut keeper, 1).await), "1\n", "what has started is not withdrawn");
    started(&mut keeper, 3).await;
    assert_eq!(text(&ended(&mut keeper, 3).await), "3\n");
    // A request for a run that is over hits nobody else.
    start(&mut keeper, 5, shell("sleep 0.3")).await;
    started(&mut keeper, 5).await;
    keeper.send(KeeperCommand::Kill { key: 3 }).await.unwrap();
    assert_eq!(ended(&mut keeper, 5).await.status, ExitStatus::Exited(0));
}

#[tokio::test]
async fn what_waited_past_its_right_to_start_comes_back_unstarted() {
    let (_zygote, mut keeper) = keeper().await;
    start(&mut keeper, 1, shell("sleep 0.5")).await;
    started(&mut keeper, 1).await;
    let late = distcomp::sys::boot::clock_ms() + 50;
    start(&mut keeper, 2, RunSpec { start_by_ms: late, ..shell("echo 2") }).await;
    start(&mut keeper, 3, RunSpec { start_by_ms: late + 3_600_000, ..shell("echo 3") }).await;
    ended(&mut keeper, 1).await;
    assert_eq!(next(&mut keeper).await, KeeperEvent::Recalled { key: 2 });
    started(&mut keeper, 3).await;
    assert_eq!(text(&ended(&mut keeper, 3).await), "3\n");
}

#[tokio::test]
async fn task_record_spans_its_first_and_last_instruction() {
    let (_zygote, mut keeper) = keeper().await;
    for key in 1..=20 {
        let end = run(&mut keeper, key, shell("date +%s%3N")).await;
        let said: u64 = text(&end).trim().parse().unwrap();
        assert!(
            end.start_ms <= said && said <= end.end_ms,
            "{} .. {} and the task says {said}",
            end.start_ms,
            end.end_ms
        );
    }
}

#[tokio::test]
async fn a_receive_that_was_cancelled_loses_nothing() {
    let (_zygote, mut keeper) = keeper().await;
    for key in 1..=20 {
        start(&mut keeper, key, shell("head -c 300000 /dev/zero | tr '\\0' x")).await;
    }
    let (mut seen, mut cancelled) = (0, 0);
    while seen < 40 {
        match tokio::time::timeout(Duration::from_micros(300), keeper.recv()).await {
            Ok(event) => {
                if let KeeperEvent::Ended(ended) = event.unwrap() {
                    assert_eq!(ended.stdout, Stdout::Whole(vec![b'x'; 300_000]));
                }
                seen += 1;
            }
            Err(_) => cancelled += 1,
        }
    }
    assert!(cancelled > 0);
}

#[tokio::test]
async fn a_task_finds_the_world_as_the_worker_found_it() {
    let zygote = Zygote::start(&KeeperSettings {
        env_remove: vec!["PATH_OF_NOBODY".into(), "CARGO_MANIFEST_DIR".into()],
        env_add: vec![("DISTCOMP_MARKER".into(), "a b".into()), ("REPLACED".into(), "by the worker".into())],
        nofile_soft: Some(77),
        ..settings()
    })
    .unwrap();
    let mut keeper = zygote.keeper().await.unwrap();
    let spec = RunSpec {
        env: vec![("REPLACED".to_owned(), "by the task".to_owned())],
        ..shell("env; ulimit -n; pwd; cat; ls -l /proc/self/fd")
    };
    let said = text(&run(&mut keeper, 1, spec).await);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"DISTCOMP_MARKER=a b") && !said.contains("CARGO_MANIFEST_DIR"), "{said}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("REPLACED=")).collect::<Vec<_>>(),
        [&"REPLACED=by the task"]
    );
    assert!(lines.contains(&"77"), "the soft limit of files is restored: {said}");
    assert!(lines.contains(&std::env::current_dir().unwrap().to_str().unwrap()), "{said}");
    assert!(said.contains("0 -> /dev/null") && !said.contains("socket:"), "{said}");
    // Three, and the directory that ls reads.
    assert_eq!(lines.iter().filter(|line| line.contains(" -> ")).count(), 4, "{said}");

    let said = text(&run(&mut keeper, 2, shell("exec grep ^Sig /proc/self/status")).await);
    for (field, what) in [("SigBlk:", "blocked"), ("SigIgn:", "ignored")] {
        let mask = said.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim();
        // 32 and 33 belong to the C library, which lets nobody touch them.
        let mask = u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31);
        assert_eq!(mask, 0, "no signal is {what}");
    }
    let score = text(&run(&mut keeper, 4, shell("cat /proc/self/oom_score_adj")).await);
    assert!(score.trim().parse::<i32>().unwrap() >= 500, "the kernel takes tasks first when memory runs out: {score}");
    let said = text(&run(&mut keeper, 3, shell("exec cat /proc/self/stat")).await);
    let fields: Vec<&str> = said.split_ascii_whitespace().collect();
    assert_eq!(fields[0], fields[4], "a process group of its own");
}

#[tokio::test]
async fn a_worker_that_does_not_listen_does_not_stop_its_tasks() {
    let (_zygote, mut keeper) = keeper().await;
    let dir = tempfile::tempdir().unwrap();
    let mark = unique();
    for key in 1..=3 {
        let file = dir.path().join(key.to_string());
        let spec = shell(&format!(
            "head -c 1000000 /dev/zero; echo x > {}; [ {key} = 2 ] && exec sleep {mark}",
            file.display()
        ));
        start(&mut keeper, key, spec).await;
    }
    // The answers to the first do not fit into the socket, so the second waits; nothing is lost, and requests are heard meanwhile.
    let is_there = |name: &str| dir.path().join(name).exists();
    wait_for(Duration::from_secs(20), "the first to say all", || is_there("1"), |there| *there);
    stays("the third waits", Duration::from_millis(300), || if is_there("3") { Err("it has run") } else { Ok(()) });
    started(&mut keeper, 1).await;
    assert_eq!(ended(&mut keeper, 1).await.stdout.total_bytes(), 1_000_000);
    started(&mut keeper, 2).await;
    wait_until_there(&mark, 1);
    keeper.send(KeeperCommand::Kill { key: 2 }).await.unwrap();
    assert!(ended(&mut keeper, 2).await.forced_kill);
    started(&mut keeper, 3).await;
    assert_eq!(ended(&mut keeper, 3).await.stdout.total_bytes(), 1_000_000);
}
