//! What a node offers besides memory and cores, as `--check` shows it, and what tasks see of its GPUs.
use serde_json::{Value, json};

use crate::support::{Bed, Output, result_of};

fn check(conf: Value, args: &[&str], visible: Option<&str>) -> Output {
    let bed = Bed::with(conf);
    let mut cli = bed.cli("distcomp-worker").args(["--check"]).args(args);
    if let Some(visible) = visible {
        cli = cli.env("CUDA_VISIBLE_DEVICES", visible);
    }
    cli.run()
}

/// The row of this name.
fn row(output: &Output, name: &str) -> String {
    let all = output.all();
    let row = all.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap_or_else(|| panic!("no row {name}:\n{all}")).trim().to_owned()
}

#[test]
fn check_shows_resources_labels_and_isolation() {
    let conf = json!({
        "resources": {"gpus": [], "fpga": ["a", "b"], "scratch_gb": 800, "lic": "2.5", "off": 0},
        "labels": ["ssd", "region=eu"],
        "pin_cpus": true,
    });
    let output = check(conf, &["--resource", "lic=3", "--label", "region=us", "--time-limit", "2h"], None).expect(0);
    assert_eq!(row(&output, "resources"), "fpga 2 (a, b), lic 3, scratch_gb 800");
    let labels = row(&output, "labels");
    assert!(labels.starts_with("host=") && labels.ends_with(", region=us, ssd"), "{labels}");
    assert!(row(&output, "isolation").starts_with("tasks are pinned to cores of "), "{}", output.all());
    let output = check(json!({"resources": {"gpus": ["0", "1"]}}), &[], None).expect(0);
    assert_eq!(row(&output, "resources"), "gpus 2 (0, 1)");
    assert_eq!(row(&output, "isolation"), "none (pin_cpus, hide_gpus and scratch_dir are off)");
}

#[test]
fn check_says_why_there_is_no_gpu() {
    let output = check(json!({}), &[], Some("")).expect(0);
    let resources = row(&output, "resources");
    // On a machine with some, the variable hides them; on others there is no driver.
    let why = ["CUDA_VISIBLE_DEVICES is \"\"", "this machine has no NVIDIA or AMD driver"];
    assert!(resources.starts_with("none; GPUs: ") && why.iter().any(|why| resources.contains(why)), "{resources}");
}

#[test]
fn bad_flag_says_what_would_be_valid() {
    for (flag, value, said) in [
        ("--resource", "fpga=a b", "valid: a name of 1 to 64"),
        ("--resource", "after=1", "is no other need of a task line"),
        ("--resource", "lic=0.0001", "more than 3 digits after the point"),
        ("--label", "a b", "valid: NAME or KEY=VALUE"),
        ("--label", "host=n1", "by itself"),
        ("--time-limit", "0", "valid: 90m"),
    ] {
        check(json!({}), &[flag, value], None).expect(2).says(&[said, value]);
    }
    let output = check(json!({"labels": ["a b"], "resources": {"limit": 1}}), &[], None).expect(2);
    output.says(&["labels: found \"a b\"", "resources: found \"limit\""]);
}

#[test]
fn gpus_are_hidden_from_tasks_without_any() {
    let line = "shell:0:0:1:echo \"[${CUDA_VISIBLE_DEVICES-unset}] [${ROCR_VISIBLE_DEVICES-unset}]\"";
    for (hides, said) in [(true, "[] []"), (false, "[7] [unset]")] {
        let bed = Bed::with(json!({"hide_gpus": hides}));
        bed.add([line]);
        let through = ["env", "-u", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES=7"];
        let mut worker = bed.worker_through(&through, "w", json!({}), &["--burst"]);
        assert_eq!(worker.wait_exit(crate::support::SOON), 0, "{}", worker.log());
        assert_eq!(result_of(&bed.table("finished_tasks"), line).1, said);
    }
}
