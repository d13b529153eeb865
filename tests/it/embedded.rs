//! A worker that a program starts through the library, without the command line.

use std::time::Duration;

use distcomp::config::{ConfigSource, Overrides, Role, Watcher};
use distcomp::host::Share;
use distcomp::worker::state::StateDir;
use distcomp::worker::{self, BootPlan, boot};

use crate::support::Bed;

#[tokio::test]
async fn a_program_runs_a_worker_without_the_command_line() {
    let bed = Bed::new();
    let (works, fails) = ("shell:0:0:1:echo embedded", "shell:0:0:1:exit 3");
    bed.add([works, fails]);
    let source = ConfigSource::Named(bed.conf_path());
    let (watcher, loaded) = Watcher::start(source, Overrides::default(), Role::Worker).expect("a configuration");
    let name = "embedded".parse().expect("a name");
    let state = StateDir::of_worker(&loaded.config, &name, None).expect("a directory");
    let plan = BootPlan {
        config: loaded.config,
        watcher,
        worker: name,
        keys: Vec::new(),
        allow_insecure: false,
        is_burst: true,
        hangup_ends: false,
        waits_for_redis: false,
        metrics: None,
        share: Share::default(),
        keeper_program: env!("CARGO_BIN_EXE_distcomp-worker").into(),
    };
    let setup = boot(plan, &state).await.expect("started");
    tokio::time::timeout(Duration::from_secs(60), worker::run(setup)).await.expect("in time").expect("ended well");
    assert_eq!(bed.table("finished_tasks").get(works).map(String::as_str), Some("embedded: \"embedded\""));
    assert!(bed.table("failed_tasks").contains_key(fails));
    assert_eq!(bed.counts(), [0, 0, 1, 1]);
}
