//! What tasks are held to by the keys of containment, seen from inside a task and by attacks from there.
//!
//! Some need a worker that is root, for only root can become another user; elsewhere they do nothing and say so.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use crate::support::{Bed, SOON, begun, holds_for, reason_of, result_of, unique_sleep, wait_until, with_argv};

/// Whether this can be tried: only root can become another user.
pub(crate) fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("not root: a worker cannot run tasks as another user here, and says so (see the tests of that)");
    }
    is_root
}

/// A bed whose directory others may enter, and a directory in it where they may write.
pub(crate) fn open_bed(conf: Value) -> (Bed, PathBuf) {
    let bed = Bed::with(conf);
    let open = bed.path().join("open");
    fs::create_dir(&open).expect("a directory");
    for (dir, mode) in [(bed.path(), 0o755), (open.as_path(), 0o777)] {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    (bed, open)
}

/// What a task prints that is this script, run alone under these keys.
#[track_caller]
fn printed(conf: &Value, script: &str) -> String {
    let (bed, _) = open_bed(conf.clone());
    printed_in(&bed, script)
}

#[track_caller]
fn printed_in(bed: &Bed, script: &str) -> String {
    printed_by(bed, script, &[])
}

/// The same by a worker that has no cgroup to write to.
#[track_caller]
fn printed_without_cgroup(bed: &Bed, script: &str) -> String {
    // As where the hierarchy is there and nobody has given us a part of it.
    let hidden = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"];
    printed_by(bed, script, if Uid::effective().is_root() { &hidden } else { &[] })
}

#[track_caller]
fn printed_by(bed: &Bed, script: &str, through: &[&str]) -> String {
    let line = format!("shell:0:0:1:. {}", bed.file("open/script", script));
    bed.add([&line]);
    let mut worker = bed.worker_through(through, "w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    let finished = bed.table("finished_tasks");
    assert!(finished.contains_key(&line), "it failed: {:?}", bed.table("task_fail_reason"));
    result_of(&finished, &line).1
}

/// Users of the system, whoever they are here: none of them runs anything but what tests have it run.
fn system_users() -> impl DoubleEndedIterator<Item = User> {
    (1..1000).filter_map(|uid| User::from_uid(Uid::from_raw(uid)).expect("the user data base"))
}

/// Somebody without rights.
pub(crate) fn somebody() -> User {
    system_users().next().expect("a user of the system")
}

/// Another one, whom no other test is: its processes are counted.
fn somebody_else() -> User {
    let user = system_users().next_back().expect("a user of the system");
    assert_ne!(user.uid, somebody().uid, "two users of the system");
    user
}

#[test]
fn a_task_inherits_no_descriptor_of_ours_but_the_mark() {
    let command = "cat; python3 -c 'import os
for fd in sorted(map(int, os.listdir(\"/proc/self/fd\"))):
    try: print(fd, os.readlink(f\"/proc/self/fd/{fd}\"))
    except FileNotFoundError: pass'";
    for has_cgroup in [true, false] {
        let (bed, _) = open_bed(json!({}));
        let said = if has_cgroup { printed_in(&bed, command) } else { printed_without_cgroup(&bed, command) };
        let mut lines: Vec<&str> = said.lines().collect();
        // Where whatever a task starts is in a cgroup, the mark is not needed.
        let mark = lines.get(3).copied().unwrap_or_default();
        if !has_cgroup || !mark.is_empty() {
            assert!(mark.starts_with("47 /") && mark.contains("/distcomp-mark-"), "{said}");
            lines.pop();
        }
        let [stdin, stdout, stderr] = lines.as_slice() else { panic!("not three besides the mark:\n{said}") };
        assert!(*stdin == "0 /dev/null" && stdout.starts_with("1 pipe:") && stderr.starts_with("2 pipe:"), "{said}");
    }
}

#[test]
fn nothing_can_be_done_through_the_mark() {
    let (bed, _) = open_bed(json!({}));
    let said = printed_without_cgroup(
        &bed,
        "python3 -c 'import os, fcntl
for what in (lambda: os.read(47, 1), lambda: os.write(47, b\"x\"), lambda: os.ftruncate(47, 9), lambda: os.fchmod(47, 0o777),
             lambda: fcntl.flock(47, fcntl.LOCK_EX), lambda: os.listdir(47)):
    try: what(); print(\"done\")
    except OSError: print(\"refused\")'",
    );
    assert_eq!(said, ["refused"; 6].join("\n"));
}

#[test]
fn limits_niceness_mask_and_rights_are_as_the_keys_say() {
    let conf = json!({
        "no_new_privs": true, "nice": 7, "oom_score_adj": 612, "umask": "027",
        "task_rlimits": {"core": 0, "nofile": 123, "fsize": 1_048_576, "nproc": 1000},
    });
    let command = "python3 -c 'import resource as r
for name in (\"CORE\", \"NOFILE\", \"FSIZE\", \"NPROC\"): print(name, *r.getrlimit(getattr(r, \"RLIMIT_\" + name)))'
nice; cat /proc/self/oom_score_adj; umask; grep NoNewPrivs /proc/self/status";
    let said = printed(&conf, command);
    let lines: Vec<&str> = said.lines().collect();
    let wanted = [
        "CORE 0 0",
        "NOFILE 123 123",
        "FSIZE 1048576 1048576",
        "NPROC 1000 1000",
        "7",
        "612",
        "0027",
        "NoNewPrivs:\t1",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn without_the_keys_a_task_has_what_the_worker_has() {
    let command = "ulimit -c; ulimit -n; ulimit -f; nice; umask; grep NoNewPrivs /proc/self/status; id -u";
    let own = std::process::Command::new("/bin/sh").args(["-c", command]).output().expect("a shell").stdout;
    assert_eq!(printed(&json!({}), command), String::from_utf8(own).expect("text").trim());
    assert_eq!(printed(&json!({}), "cat /proc/self/oom_score_adj"), "500", "a task goes before the worker");
}

#[test]
fn a_limit_on_files_is_the_tasks_and_not_that_of_its_output() {
    let (bed, open) = open_bed(json!({"task_rlimits": {"fsize": 100_000}, "max_inline_output_bytes": 1000}));
    let file = open.join("large");
    let said =
        printed_in(&bed, &format!("head -c 300000 /dev/zero > {f}; stat -c %s {f}; seq 100000", f = file.display()));
    assert!(said.starts_with("100000\n") && said.contains("the whole in"), "{said}");
    let whole = fs::read_dir(bed.path().join("results")).expect("results").flatten().next().expect("the whole output");
    assert!(whole.metadata().expect("its size").len() > 500_000);
}

#[test]
fn a_task_runs_as_the_user_that_is_named_and_cannot_come_back() {
    if !is_root() {
        return;
    }
    let command =
        "id -u; id -g; id -G; echo $HOME $USER $LOGNAME; grep -E '^(Cap(Inh|Prm|Eff|Amb)|Uid|Gid)' /proc/self/status
python3 -c 'import os
for call in (os.setuid, os.seteuid, os.setgid, os.setegid):
    try: call(0); print(\"root again\")
    except PermissionError: pass'
echo again > /dev/stdout; echo err > /dev/stderr";
    let said = printed(&json!({"run_as_user": somebody().name}), command);
    let user = somebody();
    let (uid, gid, name) = (user.uid.as_raw(), user.gid.as_raw(), &user.name);
    let groups = std::process::Command::new("id").args(["-G", name]).output().expect("id").stdout;
    let groups = String::from_utf8(groups).expect("numbers").trim().to_owned();
    let caps: String = ["Inh", "Prm", "Eff", "Amb"].map(|set| format!("Cap{set}:\t0000000000000000\n")).concat();
    let ids = |name: &str, id: u32| format!("{name}:\t{id}\t{id}\t{id}\t{id}\n");
    let wanted = format!(
        "{uid}\n{gid}\n{groups}\n{} {name} {name}\n{}{}{caps}again",
        user.dir.display(),
        ids("Uid", uid),
        ids("Gid", gid)
    );
    assert_eq!(said, wanted);
}

#[test]
fn task_of_another_user_cannot_kill_or_read_its_keeper() {
    if !is_root() {
        return;
    }
    let (mut bed, open) = open_bed(json!({"run_as_user": somebody().name, "max_inline_output_bytes": 1000}));
    bed.configure(json!({"state_dir": bed.path().join("state")}));
    let worker = bed.worker("w");
    bed.wait_alive("w");
    let (pid, state) = (worker.pid(), bed.path().join("state"));
    let zygote = "$(ps -o ppid= -p $PPID)";
    let attacks = [
        format!("kill -9 {pid}"),
        format!("kill -STOP {pid}"),
        "kill -9 $PPID".to_owned(),
        format!("kill -9 {zygote}"),
        format!("ls {}", state.display()),
        format!("touch {}/x", state.display()),
        format!("cat /proc/{pid}/environ"),
        "cat /proc/$PPID/environ".to_owned(),
        "cat /proc/$PPID/mem".to_owned(),
    ];
    let line = format!(
        "shell:0:0:1:{} : > {}/x && seq 5000",
        attacks.map(|attack| format!("({attack}) 2>/dev/null && echo \"worked: {attack}\";")).concat(),
        open.display()
    );
    bed.add([&line]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    let said = result_of(&bed.table("finished_tasks"), &line).1;
    assert!(said.starts_with("1\n2\n3\n"), "{said}");
    assert!(
        fs::metadata(open.join("x"))
            .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == somebody().uid.as_raw())
    );
    assert!(said.contains("the whole in"), "a long output is kept, though its owner may not write there: {said}");
}

#[test]
fn the_tree_of_another_user_is_killed_whole() {
    if !is_root() {
        return;
    }
    let (bed, open) = open_bed(json!({"run_as_user": somebody().name, "max_retry_per_task": 1}));
    let mark = unique_sleep();
    let tree = format!(
        "setsid sh -c 'sleep {mark} &'; (sleep {mark} &); nohup setsid sleep {mark} >/dev/null 2>&1 & (env -i setsid sleep {mark} &)"
    );
    let (left, overdue, held) = (
        format!("shell:0:0:3:{tree}; sleep 0.1"),
        format!("shell:0:0:2:1:{tree}; trap '' TERM; while :; do sleep {mark}; done"),
        format!("shell:0:0:1:test -e {}/gate || {{ {tree}; sleep {mark}; }}", open.display()),
    );
    bed.add([&left, &overdue]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 1, 1]);
    assert!(reason_of(&bed, &overdue).starts_with("timed out after 1 s"));
    assert_eq!(with_argv(&mark).len(), 0);
    bed.add([&held]);
    wait_until("the tree", SOON, || holds_for(begun(&mark).len() >= 5, "not yet"));
    worker.kill9_with_keepers();
    assert!(!with_argv(&mark).is_empty(), "nobody was left to clear up: else this shows nothing");
    bed.file("open/gate", "");
    // The next one runs tasks as somebody else, and knows all the same whom it has to look for.
    let _again = bed.worker_with("w", json!({"run_as_user": "nobody"}), &[]);
    bed.wait_counts(SOON, [0, 0, 2, 1]);
    assert_eq!(with_argv(&mark).len(), 0);
}

#[test]
fn a_set_uid_program_gives_no_rights_where_that_is_forbidden() {
    if !is_root() {
        return;
    }
    let uid = somebody().uid.to_string();
    for (forbidden, wanted) in [(false, "0"), (true, uid.as_str())] {
        let (bed, open) = open_bed(json!({"run_as_user": somebody().name, "no_new_privs": forbidden}));
        let program = open.join("id");
        fs::copy("/usr/bin/id", &program).expect("a copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("chmod");
        assert_eq!(printed_in(&bed, &format!("{} -u", program.display())), wanted, "no_new_privs: {forbidden}");
    }
}

#[test]
fn a_fork_bomb_of_another_user_ends_at_its_number_of_processes() {
    if !is_root() {
        return;
    }
    // Nobody else's tests run as this user.
    let (bed, _) =
        open_bed(json!({"run_as_user": somebody_else().name, "task_rlimits": {"nproc": 30}, "max_retry_per_task": 1}));
    let mark = unique_sleep();
    let line = format!("shell:0:0:1:for i in $(seq 100); do sleep {mark} & done; wait");
    bed.add([&line]);
    let _worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    assert!(reason_of(&bed, &line).to_lowercase().contains("fork"), "{}", reason_of(&bed, &line));
    wait_until("all gone", SOON, || holds_for(with_argv(&mark).is_empty(), "not yet"));
}

#[test]
fn a_user_that_cannot_be_had_is_a_fault_at_start_and_in_a_check() {
    for (name, says) in [("no-such-user", "no user \"no-such-user\""), ("root", "must not be root")] {
        let bed = Bed::with(json!({"run_as_user": name}));
        let out = bed.cli("distcomp-worker").args(["--check"]).run().expect(2);
        assert!(out.all().contains("run_as_user") && out.all().contains(says), "{}", out.all());
        let mut worker = bed.worker("w");
        assert_eq!(worker.wait_exit(SOON), 2);
        assert!(worker.log().contains(says), "{}", worker.log());
    }
}

#[test]
fn a_worker_that_is_not_root_refuses_to_run_tasks_as_another() {
    let through: &[&str] =
        if Uid::effective().is_root() { &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] } else { &[] };
    let (bed, open) = open_bed(json!({"run_as_user": somebody().name}));
    let changes = json!({"state_dir": open.join("state"), "result_dir": open.join("results")});
    let mut worker = bed.worker_through(through, "w", changes, &[]);
    assert_eq!(worker.wait_exit(SOON), 2);
    assert!(worker.log().contains("only a worker that runs as root"), "{}", worker.log());
}

#[test]
fn a_directory_that_is_closed_to_the_user_is_warned_of() {
    if !is_root() {
        return;
    }
    let bed = Bed::with(json!({"run_as_user": "games"}));
    fs::set_permissions(bed.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
    let checked = bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    assert!(checked.contains("run_as_user cannot access the directory"), "{checked}");
    let (open, _) = open_bed(json!({"run_as_user": "games"}));
    let checked = open.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    assert!(!checked.contains("run_as_user cannot access the directory"), "{checked}");
}

#[test]
fn the_check_and_the_list_of_workers_name_the_layers() {
    let bed = Bed::with(json!({"no_new_privs": true, "task_rlimits": {"core": 0}}));
    let checked = bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    let line = checked.lines().find(|line| line.starts_with("containment")).expect("a line of it").to_owned();
    assert!(line.contains(", no_new_privs, rlimits"), "{line}");
    let worker = bed.worker("w");
    bed.wait_alive("w");
    let listed = bed.status(&["workers", "--json"]).expect(0).all();
    assert!(listed.contains(", no_new_privs, rlimits"), "{listed}");
    assert!(worker.log().contains(", no_new_privs, rlimits"), "{}", worker.log());
}

#[test]
fn the_keys_of_containment_take_a_restart_and_a_reload_says_so() {
    let bed = Bed::new();
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    worker.reconfigure(&json!({"nice": 5, "umask": "077", "max_retry_per_task": 2}));
    worker.signal(Signal::SIGHUP);
    wait_until("the reload", Duration::from_secs(20), || {
        let log = worker.log();
        // A line for each key.
        let says = |key: &str| log.lines().any(|line| line.contains("requires a restart") && line.contains(key));
        holds_for(says("\"nice\"") && says("\"umask\""), log.clone())
    });
    let line = "shell:0:0:1:umask; nice";
    bed.add([line]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(!result_of(&bed.table("finished_tasks"), line).1.starts_with("0077"));
}
