//! `scratch_dir`: each attempt has a directory of its own, which is gone when the attempt is over, whatever ended it.
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::confine::{is_root, open_bed, somebody};
use crate::support::{
    Bed, SOON, has_small_disks, holds_for, on_disk_of_few_files, read, reason_of, result_of, seen_by, task_id,
    unique_sleep, wait_until, with_argv,
};

/// A bed with a scratch directory, and what is in it.
fn bed(changes: Value) -> (Bed, PathBuf) {
    let mut bed = Bed::new();
    let scratch = bed.path().join("scratch");
    bed.configure(json!({"scratch_dir": scratch}));
    bed.configure(changes);
    (bed, scratch)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn wait_names(dir: &Path, wanted: &[&str]) {
    wait_until("the scratch directories", SOON, || {
        let now = names(dir);
        holds_for(now == wanted, format!("{now:?}"))
    });
}

/// Fills its scratch directory with what is hard to remove, and then does this.
fn messy(then: &str) -> String {
    let mess = "cd $TMPDIR && mkdir -p a/b/c && echo x > a/b/c/f && ln -s / root && ln -s $HOME a/home && chmod 0 a/b/c && chmod 0 a/b && chmod 0 a";
    format!("shell:0:0:1:{mess}; {then}")
}

#[test]
fn directory_is_the_tasks_own_and_gone_after_any_end() {
    let (bed, scratch) = bed(json!({"max_task_per_worker": 2}));
    let says = "shell:0:0:1:echo $DISTCOMP_SCRATCH $TMPDIR $(stat -c %a $TMPDIR) $(ls -A $TMPDIR | wc -l); mktemp";
    let (good, bad, slow) = (messy("true"), messy("exit 3"), messy("sleep 30").replacen(":1:cd", ":1:1:cd", 1));
    assert_ne!(slow, messy("sleep 30"), "it has a time limit");
    bed.add([says, &good, &bad, &slow]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 2, 2]);
    let dir = scratch.join(format!("{}.1", task_id(says)));
    let (_, said) = result_of(&bed.table("finished_tasks"), says);
    let (first, file) = said.split_once('\n').unwrap();
    assert_eq!(first, format!("{0} {0} 700 0", dir.display()));
    assert!(Path::new(file).starts_with(&dir), "{said}");
    assert!(reason_of(&bed, &slow).starts_with("timed out"), "{}", reason_of(&bed, &slow));
    assert_eq!(names(&scratch), [""; 0], "when the outcome is there, the directory is not");
    let mark = unique_sleep();
    let cancelled = messy(&format!("sleep {mark}"));
    bed.add([&cancelled]);
    bed.wait_running(&cancelled);
    wait_names(&scratch, &[&format!("{}.1", task_id(&cancelled))]);
    bed.ctl(&["cancel", "--yes", &cancelled]).expect(0);
    wait_names(&scratch, &[]);
    assert!(Path::new("/etc/passwd").exists(), "nothing was followed");
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn directory_is_gone_when_task_keeper_or_worker_is_killed() {
    let (bed, scratch) = bed(json!({"max_retry_per_task": 1}));
    let line = messy("kill -9 $PPID; sleep 30");
    bed.add([&line]);
    let mut worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    wait_names(&scratch, &[]);
    let mark = unique_sleep();
    let line = messy(&format!("sleep {mark}"));
    bed.add([&line]);
    bed.wait_running(&line);
    wait_names(&scratch, &[&format!("{}.1", task_id(&line))]);
    worker.kill9();
    // Its keepers live a moment longer.
    wait_names(&scratch, &[]);
    wait_until("the tree to be gone", SOON, || holds_for(with_argv(&mark).is_empty(), String::new()));
}

#[test]
fn restart_sweeps_its_own_directories_and_no_others() {
    let (bed, scratch) = bed(json!({"max_task_per_worker": 1}));
    fs::create_dir_all(scratch.join("somebody/else")).unwrap();
    let marks = [unique_sleep(), unique_sleep()];
    let lines =
        [0, 1].map(|n| messy(&format!("echo $DISTCOMP_WORKER > {}/by-{n}; sleep {}", bed.path().display(), marks[n])));
    bed.add([&lines[0]]);
    let mut dead = bed.worker("dead");
    bed.wait_running(&lines[0]);
    bed.add([&lines[1]]);
    let neighbour = bed.worker("neighbour");
    bed.wait_running(&lines[1]);
    let (ours, theirs) = (format!("{}.1", task_id(&lines[0])), format!("{}.1", task_id(&lines[1])));
    let mut all = vec![ours.as_str(), "somebody", theirs.as_str()];
    all.sort_unstable();
    wait_names(&scratch, &all);
    wait_until("both to be marked", SOON, || {
        holds_for(bed.path().join("by-0").exists() && bed.path().join("by-1").exists(), String::new())
    });
    assert_eq!(read(bed.path().join("by-1")).trim(), "neighbour");
    dead.kill9_with_keepers();
    assert!(names(&scratch).contains(&ours), "nobody was left to clear up: else this shows nothing");
    bed.ctl(&["pause", "--yes"]).expect(0);
    let again = bed.worker("dead");
    let mut left = vec!["somebody", theirs.as_str()];
    left.sort_unstable();
    wait_names(&scratch, &left);
    wait_until("the log to say so", SOON, || {
        holds_for(again.log().contains("removed scratch directories"), again.log())
    });
    assert!(!with_argv(&marks[1]).is_empty(), "the neighbour's task goes on: {}", neighbour.log());
    assert!(scratch.join("somebody/else").exists());
}

#[test]
fn directory_that_cannot_be_made_is_the_nodes_fault() {
    let (bed, scratch) = bed(json!({}));
    let mut worker = bed.worker("w");
    bed.wait_alive("w");
    fs::remove_dir_all(&scratch).unwrap();
    fs::write(&scratch, "no directory").unwrap();
    let line = "shell:0:0:1:echo $TMPDIR";
    bed.add([line]);
    wait_until("the worker to complain", SOON, || {
        let log = worker.log();
        holds_for(log.contains("could not start") && log.contains("create a directory in"), log)
    });
    bed.wait_counts(SOON, [1, 0, 0, 0]);
    assert!(bed.table("failed_tasks").is_empty(), "no attempt is counted");
    fs::remove_file(&scratch).unwrap();
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(result_of(&bed.table("finished_tasks"), line).1.ends_with(".1"), "the first attempt still");
    wait_names(&scratch, &[]);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn disk_without_a_free_inode_is_the_nodes_fault() {
    if !has_small_disks() {
        return;
    }
    let (bed, scratch) = bed(json!({}));
    let through = on_disk_of_few_files(&scratch, 5);
    let through: Vec<&str> = std::iter::once("unshare").chain(through.iter().map(String::as_str)).collect();
    let mut worker = bed.worker_through(&through, "w", json!({}), &[]);
    bed.wait_alive("w");
    let disk = seen_by(worker.pid(), &scratch);
    let fillers: Vec<PathBuf> = (0..5).map(|n| disk.join(format!("filler-{n}"))).collect();
    fillers.iter().for_each(|filler| fs::write(filler, "").unwrap());
    assert!(fs::create_dir(disk.join("more")).is_err(), "it is full: else this shows nothing");
    let line = "shell:0:0:1:touch $TMPDIR/file && echo $TMPDIR";
    bed.add([line]);
    wait_until("the worker to complain", SOON, || {
        let log = worker.log();
        holds_for(log.contains("could not start") && log.contains("No space left on device"), log)
    });
    bed.wait_counts(SOON, [1, 0, 0, 0]);
    assert!(bed.table("failed_tasks").is_empty(), "no attempt is counted");
    fillers.iter().for_each(|filler| fs::remove_file(filler).unwrap());
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    assert!(result_of(&bed.table("finished_tasks"), line).1.ends_with(".1"), "the first attempt still");
    assert_eq!(names(&disk), [""; 0]);
    worker.sigterm();
    assert_eq!(worker.wait_exit(SOON), 0);
}

#[test]
fn name_that_is_taken_gets_a_number() {
    let (bed, scratch) = bed(json!({}));
    let line = "shell:0:0:1:echo $TMPDIR";
    let taken = scratch.join(format!("{}.1", task_id(line)));
    fs::create_dir_all(taken.join("of/another")).unwrap();
    bed.add([line]);
    bed.burst("w");
    assert_eq!(result_of(&bed.table("finished_tasks"), line).1, format!("{}.1", taken.display()));
    assert_eq!(names(&scratch).len(), 1, "the other one is spared: {:?}", names(&scratch));
}

#[test]
fn directory_belongs_to_the_user_of_tasks() {
    if !is_root() {
        return;
    }
    let user = somebody();
    let (mut bed, open) = open_bed(json!({"run_as_user": user.name, "umask": "0777"}));
    let scratch = open.join("scratch");
    bed.configure(json!({"scratch_dir": scratch}));
    let line = format!(
        "shell:0:0:1:echo $(stat -c '%U %a' $TMPDIR); mkdir $TMPDIR/a; touch {}/made; sleep 0.2",
        open.display()
    );
    bed.add([&line]);
    bed.burst("w");
    assert_eq!(result_of(&bed.table("finished_tasks"), &line).1, format!("{} 700", user.name));
    assert_eq!(names(&scratch), [""; 0]);
    assert_eq!(fs::metadata(&scratch).unwrap().uid(), 0);
    assert_eq!(fs::metadata(open.join("made")).unwrap().permissions().mode() & 0o777, 0);
}

#[test]
fn what_a_task_has_mounted_keeps_its_files() {
    let (bed, scratch) = bed(json!({"max_retry_per_task": 0}));
    let kept = bed.path().join("kept");
    fs::create_dir_all(kept.join("data")).unwrap();
    fs::write(kept.join("data/file"), "precious").unwrap();
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    let mounts =
        format!("mkdir $TMPDIR/m $TMPDIR/own && : > $TMPDIR/own/x && mount --bind {} $TMPDIR/m", kept.display());
    if !is_root() || !can_mount(bed.path()) {
        eprintln!("skipped: only root may mount");
        return;
    }
    let line = format!("shell:0:0:1:{mounts} && exit 3");
    bed.add([&line]);
    let worker = bed.worker("w");
    bed.wait_counts(SOON, [0, 0, 0, 1]);
    let dir = scratch.join(format!("{}.1", task_id(&line)));
    assert_eq!(reason_of(&bed, &line), "exit 3");
    assert_eq!(read(dir.join("m/data/file")), "precious");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode(), mode);
    assert!(!dir.join("own").exists(), "the rest is removed");
    wait_until("the warning", SOON, || holds_for(worker.log().contains("a file system is mounted at m"), worker.log()));
    assert!(Command::new("umount").arg(dir.join("m")).status().unwrap().success());
    assert_eq!(read(kept.join("data/file")), "precious");
}

fn can_mount(dir: &Path) -> bool {
    let at = dir.join("probe");
    fs::create_dir(&at).expect("created");
    let is_done = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    is_done(Command::new("mount").args(["--bind"]).arg(dir).arg(&at)) && is_done(Command::new("umount").arg(&at))
}
