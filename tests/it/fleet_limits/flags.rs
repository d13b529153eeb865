//! How limits are said: by flags of a submission, in directives, JSON objects and task lines, and by `distcomp-ctl limit`.
use serde_json::json;

use super::limit;
use crate::support::Bed;

fn submitted(bed: &Bed, args: &[&str], stdin: &str) -> crate::support::Output {
    bed.cli("distcomp-submit").args(args).stdin(stdin).run()
}

fn set(bed: &Bed, name: &str) -> Option<String> {
    bed.table("distcomp:limits").remove(name)
}

fn waiting(bed: &Bed) -> Vec<String> {
    bed.table("distcomp:waiting").into_keys().collect()
}

#[test]
fn submission_sets_a_limit_where_none_is_set() {
    let bed = Bed::new();
    submitted(&bed, &["-L", "disk=3/1", "--limit", "net", "--", "echo a"], "")
        .expect(0)
        .says(&["set limit disk to 3/1", "warning: limit net is not set: distcomp-ctl limit net N sets it"]);
    assert_eq!((set(&bed, "disk").as_deref(), set(&bed, "net")), (Some("3/1"), None));
    assert_eq!(waiting(&bed), ["shell,limit=disk,limit=net:0:1:0:echo a"]);
    let typo = "limit dis is not set (did you mean disk?)";
    submitted(&bed, &["-L", "dis", "--", "echo d"], "").expect(0).says(&[typo]);
    let said = "limit disk is 3/1 already and stays so; distcomp-ctl limit disk 5 changes it";
    submitted(&bed, &["-L", "disk=5", "--", "echo b"], "").expect(0).says(&[said]);
    assert_eq!(set(&bed, "disk").as_deref(), Some("3/1"));
    submitted(&bed, &["-L", "x=1", "-L", "x=2", "--", "echo c"], "").expect(2).says(&["--limit x is 1 and 2"]);
    assert_eq!((set(&bed, "x"), waiting(&bed).len()), (None, 3), "nothing was submitted");
}

#[test]
fn limits_stand_in_directives_objects_and_lines() {
    let bed = Bed::new();
    let text = "#DC --limit disk=2\nshell:0:0:1:a\nshell,limit=net:0:0:1:b\n";
    submitted(&bed, &["-"], text).expect(0);
    submitted(&bed, &["--jsonl", "-"], "{\"cmd\": \"c\", \"limit\": {\"lic\": 4}, \"cpus\": 0}\n").expect(0);
    submitted(&bed, &["--jsonl", "-"], "{\"cmd\": \"d\", \"limit\": [\"lic\", \"net\"], \"cpus\": 0}\n").expect(0);
    let mut lines = waiting(&bed);
    lines.sort();
    let expected = [
        "shell,limit=disk,limit=net:0:0:1:b",
        "shell,limit=disk:0:0:1:a",
        "shell,limit=lic,limit=net:0:0:0:d",
        "shell,limit=lic:0:0:0:c",
    ];
    assert_eq!(lines, expected);
    assert_eq!(bed.table("distcomp:limits"), [("disk", "2"), ("lic", "4")].map(|(a, b)| (a.into(), b.into())).into());
    submitted(&bed, &["-"], "shell,limit=Disk:0:0:1:a\n")
        .expect(2)
        .says(&["limit is \"Disk\"; valid: a name like disk"]);
}

#[test]
fn array_with_a_percentage_is_a_limit_of_its_batch() {
    let bed = Bed::new();
    submitted(&bed, &["-n", "s1/x", "--array", "1-3%2", "--", "echo"], "").expect(0).says(&["set limit s1/x to 2"]);
    assert_eq!(set(&bed, "s1/x").as_deref(), Some("2"));
    assert!(waiting(&bed).contains(&"shell,limit=s1/x:0:1:0:echo 1".to_owned()), "{:?}", waiting(&bed));
    for (args, said) in [
        (&["--array", "1-3%2", "--", "echo"][..], "--array is \"1-3%2\"; %N is of a batch: give it a name with --name"),
        (&["-n", "S1", "--array", "1-3%2", "--", "echo"], "and \"S1\" cannot be one (a name like disk"),
    ] {
        submitted(&bed, args, "").expect(2).says(&[said]);
    }
}

#[test]
fn operator_sets_shows_and_lifts_limits() {
    let bed = Bed::new();
    for wrong in ["-1", "x", "1/", "1.5"] {
        bed.ctl(&["limit", "disk", wrong]).expect(2).says(&["valid: a number, N/PER_NODE, or none"]);
    }
    bed.ctl(&["limit", "Disk", "1"]).expect(2).says(&["valid: a name like disk"]);
    bed.ctl(&["limit", "disk"]).expect(0).prints(&["limit disk is not set: 0 in use, 0 waiting"]);
    bed.ctl(&["limit", "disk", "20/2", "--dry-run"]).expect(0).prints(&["would set limit disk to 20, 2 on one node"]);
    assert_eq!(set(&bed, "disk"), None);
    bed.ctl(&["limit", "disk", "20/2"]).expect(2);
    assert_eq!(set(&bed, "disk"), None, "without a terminal --yes is required");
    limit(&bed, "disk", "20/2");
    bed.ctl(&["limit", "disk", "20/2", "--yes"]).expect(0).prints(&["limit disk is 20, 2 on one node already"]);
    let shown = bed.ctl(&["limit", "disk", "--json"]).expect(0).json();
    let detail = json!({"limit": "disk", "max": 20, "per_node": 2, "in_use": 0, "waiting": 0});
    assert_eq!(shown, json!({"command": "limit", "dry_run": false, "detail": detail}));
    limit(&bed, "disk", "none");
    assert_eq!(set(&bed, "disk"), None);
    let events = bed.status(&["events", "--json"]).expect(0).json_lines();
    let limited: Vec<_> = events.iter().filter(|event| event["event"] == "limited").collect();
    assert_eq!(limited.iter().map(|event| event["most"].as_str()).collect::<Vec<_>>(), [Some("20/2"), Some("none")]);
    assert_eq!(limited[0]["limit"], "disk");
}
