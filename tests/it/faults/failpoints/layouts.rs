//! Programs of two builds on one queue: this one, and this one as if it supported the next version of the layout as well.
use serde_json::json;

use crate::support::{Bed, SOON, Worker, holds_for, wait_until};

const NEXT: &str = "DISTCOMP_FAILPOINTS_NEXT_LAYOUT=1";

fn recorded(bed: &Bed) -> Option<String> {
    ::redis::cmd("GET").arg("distcomp:format").query(&mut bed.redis.con()).expect("GET")
}

fn next_build(bed: &Bed, name: &str) -> Worker {
    bed.worker_through(&["env", NEXT], name, json!({}), &[])
}

#[test]
fn a_fleet_is_upgraded_node_by_node() {
    let bed = Bed::new();
    let mut old = bed.worker("a");
    bed.wait_alive("a");
    let new = next_build(&bed, "b");
    bed.wait_alive("b");
    bed.add((0..40).map(|n| format!("shell:0:0:1:sleep 0.1; echo {n} $DISTCOMP_WORKER")));
    wait_until("all tasks", SOON, || holds_for(bed.counts() == [0, 0, 40, 0], format!("{:?}", bed.counts())));
    let results: Vec<String> = bed.table("finished_tasks").into_values().collect();
    for name in ["a: ", "b: "] {
        assert!(results.iter().any(|result| result.starts_with(name)), "{name} ran some: {results:?}");
    }
    assert_eq!(recorded(&bed).as_deref(), Some("2"));
    assert!(new.log().contains("keeps its older layout") && new.log().contains("other=a"), "{}", new.log());

    old.sigterm();
    assert_eq!(old.wait_exit(SOON), 0, "{}", old.log());
    let upgraded = next_build(&bed, "a");
    bed.wait_alive("a");
    assert_eq!(recorded(&bed).as_deref(), Some("3"), "{}", upgraded.log());
    for (name, args) in [
        ("distcomp-worker", &["--name", "c"][..]),
        ("distcomp-submit", &["-"][..]),
        ("distcomp-status", &[][..]),
        ("distcomp-ctl", &["pause", "--yes"][..]),
    ] {
        bed.cli(name).args(args).stdin("shell:0:0:1:true\n").run().expect(2).says(&["layout", "version 3", "newer"]);
    }
}
