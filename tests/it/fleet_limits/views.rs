//! How limits are shown.
use serde_json::json;

use super::{counted, limit, sleepers};
use crate::support::{Bed, Dashboard, SOON, holds_for, wait_until};

#[test]
fn what_waits_for_a_limit_says_so_everywhere() {
    let bed = Bed::new();
    bed.status(&["limits"]).expect(0).prints(&["no limits: distcomp-ctl limit NAME N sets one"]);
    limit(&bed, "disk", "2");
    let _worker = bed.worker("a");
    let lines = sleepers("disk", "60", 0..7);
    bed.add(&lines);
    bed.add(["shell,limit=net:0:0:1:sleep 60"]);
    wait_until("two to count", SOON, || holds_for(counted(&bed, "disk").len() == 2, format!("{:?}", bed.counts())));
    wait_until("the one without a limit", SOON, || holds_for(counted(&bed, "net").len() == 1, "it waits"));
    let rows = bed.status(&["limits", "--json"]).expect(0).json_lines();
    let disk = json!({"limit": "disk", "max": 2, "per_node": null, "in_use": 2, "waiting": 5});
    let net = json!({"limit": "net", "max": null, "per_node": null, "in_use": 1, "waiting": 0});
    assert_eq!(rows, [disk, net]);
    let table = bed.status(&["limits"]).expect(0).stdout;
    assert!(table.lines().any(|line| line.split_whitespace().eq(["disk", "2", "-", "2", "5"])), "{table}");
    let running = counted(&bed, "disk");
    let waits = lines.iter().find(|line| !running.contains(*line)).expect("five wait");
    let why = "it waits for limit disk: 2 of 2 in use, 5 wait for it; distcomp-ctl limit disk N changes it";
    bed.status(&["explain", waits]).expect(0).prints(&[why]);
    bed.status(&["explain"]).expect(0).prints(&["5 wait for limit disk: 2 of 2 in use"]);
    bed.status(&[]).expect(0).prints(&["5 wait for limit disk: 2 of 2 in use"]);
    let overview = bed.status(&["--json"]).expect(0).json();
    assert_eq!(overview["limits"][0]["waiting"], 5);
    let dashboard = Dashboard::start(&bed);
    let page = dashboard.get("/metrics", &[]).body;
    for (what, value) in [("max", 2), ("used", 2), ("waiting", 5)] {
        let line = format!("distcomp_queue_limit{{limit=\"disk\",what=\"{what}\"}} {value}");
        assert!(page.lines().any(|one| one.starts_with(&line)), "{line}\n{page}");
    }
    let page = dashboard.get("/", &[]).body;
    assert!(page.contains("<th scope=\"row\">disk</th><td class=\"n\">2</td>"), "{page}");
}
