//! Workers for unit tests.

use crate::model::snapshot::Overview;

/// So many workers, every tenth of which is silent.
pub(super) fn overview(workers: usize) -> Overview {
    let one = |at: usize| {
        let state = if at % 10 == 9 { "silent" } else { "live" };
        serde_json::from_value(serde_json::json!({
            "name": format!("node-{at:04}"), "state": state, "heartbeat_age_seconds": 1, "finished": 1, "failed": 0,
            "returned": 0, "timed_out": 0, "cores_used": 2.0, "cores_total": 8.0, "mem_used_gb": 1.0, "mem_total_gb": 4.0,
        }))
        .expect("a worker")
    };
    Overview { workers: (0..workers).map(one).collect(), ..Overview::default() }
}
