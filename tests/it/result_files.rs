//! Result files: where they are made, whose they are, and that no link leads what root does to them elsewhere.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::confine::{is_root, open_bed, somebody};
use crate::support::{Bed, SOON, result_of, task_id};

/// A directory that only root may change, with a directory of a name in it.
fn closed(bed: &Bed, below: &str) -> PathBuf {
    let target = bed.path().join("target");
    fs::create_dir_all(target.join(below)).expect("a directory");
    target
}

/// Everything below a directory that is no directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Runs a line and gives the text of its result.
fn run(bed: &Bed, line: &str) -> String {
    bed.add([line]);
    let mut worker = bed.worker_with("w", json!({}), &["--burst"]);
    assert_eq!(worker.wait_exit(SOON), 0, "{}", worker.log());
    let finished = bed.table("finished_tasks");
    assert!(finished.contains_key(line), "it failed: {:?}", bed.table("task_fail_reason"));
    result_of(&finished, line).1
}

/// The path of the whole, as the text of a result names it.
fn path_of(text: &str) -> PathBuf {
    let place = text.split("the whole in ").nth(1).and_then(|rest| rest.split(" …").next()).expect("a place");
    place.split_once(':').expect("HOST:PATH").1.into()
}

#[test]
fn a_task_cannot_have_root_write_where_its_links_point() {
    if !is_root() {
        return;
    }
    // The directory is there at the start, made by root or by the user, or is made by the first long output, or never.
    for made_by in ["root", "user", "worker", "nobody"] {
        for (dir, attack) in [
            ("results", "mv results was; ln -s TARGET results"),
            ("results", "rmdir results || rm -r results; ln -s TARGET results"),
            ("deep/results", "mv deep was; ln -s TARGET deep"),
            ("deep/results", "rm -rf deep/results; mkdir -p deep; ln -s TARGET/results deep/results"),
        ] {
            if made_by == "root" && attack.starts_with("rm -rf deep") {
                // In a directory of root's it does not come about.
                continue;
            }
            let (mut bed, open) = open_bed(json!({"run_as_user": somebody().name, "max_inline_output_bytes": 1000}));
            let target = closed(&bed, "results");
            let results = open.join(dir);
            bed.configure(json!({"result_dir": results, "state_dir": bed.path().join("state")}));
            if made_by == "root" || made_by == "user" {
                fs::create_dir_all(&results).expect("results");
            }
            if made_by == "user" {
                for dir in results.ancestors().take_while(|dir| *dir != open) {
                    std::os::unix::fs::chown(dir, Some(somebody().uid.as_raw()), None).expect("chown");
                }
            }
            let _worker = bed.worker("w");
            bed.wait_alive("w");
            if made_by == "worker" {
                bed.add(["shell:0:0:1:seq 4000"]);
                bed.wait_counts(SOON, [0, 0, 1, 0]);
            }
            let attack = attack.replace("TARGET", &target.display().to_string());
            let line =
                format!("shell:0:0:1:cd {}; ({attack}) 2>/dev/null; readlink {dir} deep; seq 5000", open.display());
            bed.add([&line]);
            bed.wait_counts(SOON, [0, 0, 1 + usize::from(made_by == "worker"), 0]);
            let case = format!("{made_by}: {attack}");
            let text = result_of(&bed.table("finished_tasks"), &line).1;
            let is_done = text.starts_with(&target.display().to_string());
            assert!(is_done, "{case}: the attack did not come about: {text:.300}");
            assert_eq!(files_below(&target), Vec::<PathBuf>::new(), "{case}");
            assert!(text.contains("could not be kept") && text.contains("symbolic link"), "{case}: {text:.300}");
            for file in files_below(&open) {
                assert_eq!(fs::symlink_metadata(&file).expect("it").uid(), somebody().uid.as_raw(), "{case}: {file:?}");
            }
        }
    }
}

#[test]
fn a_result_file_belongs_to_the_user_of_the_task() {
    if !is_root() {
        return;
    }
    let user = somebody();
    for (dir, owner) in [("results", 0), ("open/results", user.uid.as_raw()), ("open/a/b", user.uid.as_raw())] {
        let (mut bed, _) = open_bed(json!({"run_as_user": user.name, "max_inline_output_bytes": 1000}));
        let results = bed.path().join(dir);
        bed.configure(json!({"result_dir": results, "state_dir": bed.path().join("state")}));
        let file = path_of(&run(&bed, "shell:0:0:1:seq 5000"));
        assert_eq!(file.parent(), Some(results.as_path()));
        let meta = fs::metadata(&file).expect("the file");
        assert_eq!((meta.uid(), meta.gid(), meta.len()), (user.uid.as_raw(), user.gid.as_raw(), 23_893), "{dir}");
        assert_eq!(fs::metadata(&results).expect("results").uid(), owner, "{dir}");
    }
}

#[test]
fn a_result_dir_that_the_user_cannot_make_is_warned_of() {
    if !is_root() {
        return;
    }
    let (mut bed, open) = open_bed(json!({"run_as_user": somebody().name}));
    bed.configure(json!({"result_dir": open.join("results"), "state_dir": bed.path().join("state")}));
    let check = || bed.cli("distcomp-worker").args(["--check"]).run().expect(0).all();
    assert!(!check().contains("result_dir:"));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("chmod");
    std::os::unix::fs::chown(&open, Some(12_345), None).expect("chown");
    assert!(check().contains("cannot create"), "{}", check());
    let worker = bed.worker("w");
    bed.wait_alive("w");
    assert!(worker.log().contains("cannot create"), "{}", worker.log());
}

#[test]
fn links_of_root_lead_to_results_as_before() {
    let (mut bed, _) = open_bed(json!({"max_inline_output_bytes": 1000}));
    let disk = bed.path().join("disk");
    fs::create_dir(&disk).expect("a directory");
    symlink("disk", bed.path().join("link")).expect("a link");
    bed.configure(json!({"result_dir": bed.path().join("link/results")}));
    assert!(path_of(&run(&bed, "shell:0:0:1:seq 5000")).exists());
    assert_eq!(files_below(&disk).len(), 1);
    bed.ctl(&["purge", "--state", "finished", "--yes"]).expect(0).prints(&["deleted 1 result file"]);
    assert_eq!(files_below(&disk).len(), 0);
}

#[test]
fn purge_follows_no_link_that_a_task_could_have_made() {
    if !is_root() {
        return;
    }
    let (mut bed, open) = open_bed(json!({"run_as_user": somebody().name, "max_inline_output_bytes": 1000}));
    let results = open.join("results");
    bed.configure(json!({"result_dir": results, "state_dir": bed.path().join("state")}));
    let (line, other) = ("shell:0:0:1:seq 5000", "shell:0:0:1:seq 6000");
    run(&bed, line);
    run(&bed, other);
    let target = closed(&bed, "inner");
    let victim = target.join(format!("{}.1.w.1.out", task_id(line)));
    fs::write(&victim, "precious").expect("a file");
    // A link of that name in the directory itself goes; what it points to stays.
    symlink(&victim, results.join(format!("{}.2.w.1.out", task_id(other)))).expect("a link");
    bed.ctl(&["purge", other, "--yes"]).expect(0);
    assert!(victim.exists());
    fs::rename(&results, open.join("was")).expect("moved");
    symlink(&target, &results).expect("a link");
    let said = bed.ctl(&["purge", line, "--yes"]).all();
    assert!(victim.exists(), "{said}");
    assert!(said.contains("symbolic link"), "{said}");
}

#[test]
fn nobody_is_shown_another_file_in_place_of_a_result() {
    let (bed, open) = open_bed(json!({"max_inline_output_bytes": 1000}));
    let mut bed = bed;
    bed.configure(json!({"result_dir": open.join("results")}));
    let line = "shell:0:0:1:seq 5000";
    let file = path_of(&run(&bed, line));
    let shown = || bed.status(&["show", line, "--raw"]).expect(0).all() + &bed.status(&["logs", line]).expect(0).all();
    assert!(shown().contains("\n2500\n"), "of the whole, what is in the middle");
    let secret = bed.path().join("secret");
    fs::write(&secret, "of root\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::remove_file(&file).expect("removed");
    symlink(&secret, &file).expect("a link");
    let said = shown();
    assert!(!said.contains("of root") && said.contains("not exact"), "a link: {said}");
    fs::remove_file(&file).expect("removed");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    assert!(shown().contains("not exact"), "a pipe: nobody waits for it");
    fs::remove_file(&file).expect("removed");
    if is_root() {
        fs::hard_link(&secret, &file).expect("a second name");
        let said = shown();
        assert!(!said.contains("of root") && said.contains("not exact"), "a second name: {said}");
        // The directory in place of the file.
        let hidden = closed(&bed, "inner");
        fs::write(hidden.join(file.file_name().expect("a name")), "of root\n").expect("a file");
        fs::rename(open.join("results"), open.join("was")).expect("moved");
        symlink(&hidden, open.join("results")).expect("a link");
        let said = shown();
        assert!(!said.contains("of root") && said.contains("not exact"), "a directory: {said}");
    }
}

#[test]
fn a_root_worker_keeps_its_state_where_no_link_of_others_leads() {
    if !is_root() {
        return;
    }
    let (mut bed, open) = open_bed(json!({"run_as_user": somebody().name}));
    let target = closed(&bed, "inner");
    symlink(&target, open.join("link")).expect("a link");
    for key in ["state_dir", "result_dir"] {
        bed.configure(json!({"state_dir": null, "result_dir": bed.path().join("results")}));
        bed.configure(json!({key: open.join("link/below")}));
        let said = bed.cli("distcomp-worker").args(["--check"]).run().expect(2).all();
        assert!(said.contains(key) && said.contains("symbolic link"), "{said}");
    }
    assert!(!target.join("below").exists());
}

#[test]
fn long_outputs_go_to_distcomp_results_made_on_demand() {
    let mut bed = Bed::with(json!({"max_inline_output_bytes": 1000}));
    bed.configure(json!({"result_dir": null}));
    let results = bed.path().join("cwd/distcomp-results");
    bed.cli("distcomp-worker").args(["--check"]).run().expect(0).prints(&["./distcomp-results"]);
    run(&bed, "shell:0:0:1:echo short");
    assert!(!results.exists());
    let file = path_of(&run(&bed, "shell:0:0:1:seq 5000"));
    assert_eq!(file.parent(), Some(results.as_path()), "named from the root on");
    // Somewhere else the same name means another directory: what is left is named.
    let purge = |dir: &Path| {
        bed.cli("distcomp-ctl").args(["purge", "--state", "finished", "--yes"]).dir(dir).run().expect(0).all()
    };
    let said = purge(bed.path());
    assert!(file.exists() && said.contains("not deleted") && said.contains(&file.display().to_string()), "{said}");
    run(&bed, "shell:0:0:1:seq 6000");
    purge(&bed.path().join("cwd"));
    assert_eq!(files_below(&results), [file]);
}
