//! `--skip-invalid` with faulty directives: nothing runs without the gate that it was meant to have.
use crate::support::{Bed, lines_of};

/// What is in the queue, and what it belongs to.
fn members(bed: &Bed) -> Vec<(String, String)> {
    bed.table("distcomp:member").into_iter().collect()
}

#[test]
fn a_block_with_a_faulty_directive_is_never_submitted() {
    for fault in ["--aftr a", "--after 'x y'", "--after a --mem 8", "after=a", "--after a --max-fails 2", "--after 'a"]
    {
        let bed = Bed::new();
        let out = bed.out("early");
        let lines = [
            "#DC --name sk".to_owned(),
            "#DC --name a".to_owned(),
            format!("shell:0:0:0:echo a >>{out}"),
            format!("#DC --name b {fault}"),
            format!("shell:0:0:0:echo b >>{out}"),
            "#DC --name c --after b".to_owned(),
            format!("shell:0:0:0:echo c >>{out}"),
        ];
        let file = bed.file("f", lines.join("\n"));
        bed.submit(&[&file], "").expect(2);
        assert!(members(&bed).is_empty(), "{fault}");
        // c waits for the b that is to come, not for one without tasks.
        bed.submit(&["--skip-invalid", &file], "")
            .expect(0)
            .says(&["f:5: ", "nothing is known of sk/b"])
            .prints(&["added 2 tasks to sk, 1 of them blocked"]);
        bed.burst("w");
        assert_eq!(lines_of(&out), ["a"], "{fault}");
        // Mended, the file completes what was left out.
        let mended = bed.file("f", lines.join("\n").replace(&format!("b {fault}"), "b --after a"));
        bed.submit(&[&mended], "").expect(0).prints(&["added 1 task to sk"]);
        bed.burst("w");
        assert_eq!(lines_of(&out), ["a", "b", "c"], "{fault}");
    }
}

#[test]
fn a_faulty_head_leaves_out_the_whole_file() {
    let bed = Bed::new();
    for head in ["#DC --nme sk --after prep", "#DC --name sk --after 'x y'", "#DC --name sk --max-fails 0%"] {
        let file = bed.file(
            "f",
            format!("{head}\nshell:0:0:0:a\n#DC --mem-per-cpu 4\nshell:0:0:0:b\n#DC -C ssd\nshell:0:0:0:c\n"),
        );
        bed.submit(&["--skip-invalid", &file], "").expect(0).prints(&["added 0 tasks"]);
        // A batch of which every line is faulty is not an empty one, for which nobody would have to wait.
        assert_eq!((bed.count("todo_tasks"), bed.count("distcomp:batches")), (0, 0), "{head}");
    }
}

#[test]
fn steps_of_json_lines_keep_their_names() {
    let bed = Bed::new();
    let lines = "{\"cmd\": \"a\", \"name\": \"a\", \"memm\": 1}\n{\"cmd\": \"b\", \"name\": \"b\", \"after\": \"a\"}\n";
    let file = bed.file("f", lines);
    bed.submit(&["-n", "a", "--", "true"], "").expect(0);
    bed.burst("w");
    bed.submit(&["--jsonl", "-n", "s", "--skip-invalid", &file], "").expect(0).says(&["nothing is known of s/a"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [1, 0, 1, 0]);
    assert_eq!(bed.count("distcomp:waiting"), 1);
}

#[test]
fn a_batch_without_tasks_is_known_and_done() {
    let bed = Bed::new();
    let log = bed.file(
        "log",
        "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n1\t:\t1\t1\t0\t0\t0\t0\techo 1\n",
    );
    bed.submit(&["-n", "late", "--after", "rs2,none", "--", "true"], "").expect(0).prints(&["blocked"]);
    bed.submit(&["-n", "rs2", "--resume", &log, "--", "echo {}", ":::", "1"], "")
        .expect(0)
        .prints(&["added 0 tasks to rs2"]);
    let empty = bed.file("empty", "# nothing\n");
    bed.submit(&["-n", "none", &empty], "").expect(0).prints(&["added 0 tasks to none"]);
    bed.burst("w");
    assert_eq!(bed.counts(), [0, 0, 1, 0]);
}

#[test]
fn what_was_released_is_warned_of() {
    let bed = Bed::new();
    bed.submit(&["-n", "va", "--", "true"], "").expect(0);
    bed.ctl(&["release", "va", "--yes"]).expect(0);
    let said = bed.submit(&["-n", "vc", "--after", "va", "--", "true"], "").expect(0);
    assert!(said.stderr.contains("warning: va was released"), "{said}");
    said.says(&[": what waits for it starts at once"]);
}

#[test]
fn a_barrier_below_too_many_steps_names_its_directive() {
    let bed = Bed::new();
    let steps: String = (0..70).map(|step| format!("#DC --name p{step}\necho {step}\n")).collect();
    let file = bed.file("f", format!("#DC --name s --commands\n{steps}#DC --barrier --name end\necho end\n"));
    let said = "f:142: --barrier: there are 70 steps above, and a task waits for at most 64: make a batch of its own";
    bed.submit(&[&file], "").expect(2).says(&[said]);
}

#[test]
fn a_command_for_an_end_that_may_not_come_is_noted() {
    let bed = Bed::new();
    let file = bed.file("f", "#DC --name s --commands\n#DC --name a\nfalse\n#DC --name b --after a\necho b\n");
    let note = "--on-end runs when all of s has ended";
    bed.submit(&["--on-end", "true", &file], "").expect(0).says(&["note: ", note, "--kill-on-invalid-dep ends it"]);
    for flags in [&["--on-end", "true", "--kill-on-invalid-dep"][..], &["--on-end", "true", "--quiet"], &[]] {
        let output = bed.submit(&[flags, &[&file]].concat(), "").expect(0);
        assert!(!output.stderr.contains("note: "), "{flags:?}: {output}");
    }
}
