//! Tasks a second through keepers alone, no Redis: what containment, capture and the record cost beside a bare spawn.
//!
//! `cargo bench --bench keepers -- [KEEPERS [TASKS [AHEAD [HEAP_MIB]]]]`: by default 4 keepers, 4000 tasks of `sh -c true`, one command
//! waiting ahead in each. Compare with the C floor of `sh -c true`, both pipes captured, 4 in flight, in turns and on a quiet machine.

use std::time::{Duration, Instant};

use distcomp::process::{
    ExitStatus, Keeper, KeeperCommand, KeeperEvent, KeeperSettings, ProcessError, RunSpec, Zygote,
};

/// What is measured: how often, how wide.
#[derive(Clone, Copy)]
struct Plan {
    keepers: u64,
    tasks: u64,
    ahead: u64,
}

fn spec() -> Box<RunSpec> {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Box::new(RunSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "true".into()],
        // The five that every task gets.
        env: vec![
            variable("DISTCOMP_TASK_ID", "0123456789abcdef"),
            variable("DISTCOMP_ATTEMPT", "1"),
            variable("DISTCOMP_WORKER", "node1"),
            variable("DISTCOMP_CPUS", "1"),
            variable("DISTCOMP_MEM_GB", "1"),
        ],
        max_inline: 1 << 20,
        head_keep: 4096,
        tail_keep: 4096,
        stderr_tail_keep: 4096,
        overflow_path: "/nonexistent/never-needed".into(),
        result_dir: None,
        memory_limit: 0,
        process_limit: 0,
        start_by_ms: 0,
        ..RunSpec::default()
    })
}

async fn drive(mut keeper: Keeper, tasks: u64, ahead: u64) -> Result<Keeper, ProcessError> {
    let (mut sent, mut done) = (0, 0);
    while sent < tasks.min(1 + ahead) {
        sent += 1;
        keeper.send(KeeperCommand::Run { key: sent, spec: spec() }).await?;
    }
    while done < tasks {
        if let KeeperEvent::Ended(ended) = keeper.recv().await? {
            assert_eq!(ended.status, ExitStatus::Exited(0));
            done += 1;
            if sent < tasks {
                sent += 1;
                keeper.send(KeeperCommand::Run { key: sent, spec: spec() }).await?;
            }
        }
    }
    Ok(keeper)
}

struct Measured {
    took: Duration,
    /// Of the keepers themselves, in hundredths of a second.
    cpu_ticks: u64,
    /// Of keepers and zygote, when all is done.
    pss_kib: u64,
}

fn own_cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn pss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

async fn measure(plan: Plan) -> Result<Measured, ProcessError> {
    let zygote = Zygote::start(&KeeperSettings {
        exe: env!("CARGO_BIN_EXE_distcomp-worker").into(),
        env_remove: Vec::new(),
        env_add: Vec::new(),
        nofile_soft: None,
        confinement: Default::default(),
        tag_file: None,
    })?;
    let mut keepers = Vec::new();
    for _ in 0..plan.keepers {
        keepers.push(zygote.keeper().await?);
    }
    let begun = Instant::now();
    let share = |index: u64| plan.tasks / plan.keepers + u64::from(index < plan.tasks % plan.keepers);
    let drivers: Vec<_> = keepers
        .into_iter()
        .zip(0..)
        .map(|(keeper, index)| tokio::spawn(drive(keeper, share(index), plan.ahead)))
        .collect();
    let mut keepers = Vec::new();
    for driver in drivers {
        keepers.push(driver.await.map_err(|error| ProcessError::Protocol(error.to_string()))??);
    }
    let took = begun.elapsed();
    let pids: Vec<u32> = keepers.iter().map(Keeper::pid).collect();
    let cpu_ticks = pids.iter().map(|&pid| own_cpu_ticks(pid)).sum();
    let pss_kib = pids.iter().chain([&zygote.pid()]).map(|&pid| pss_kib(pid)).sum();
    drop(keepers);
    zygote.shutdown().await;
    Ok(Measured { took, cpu_ticks, pss_kib })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo bench` passes `--bench`, and `cargo test --benches` nothing: then a short run shows that it works.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let numbers: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let number = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    let plan = Plan { keepers: number(0, 4), tasks: number(1, if is_bench { 4000 } else { 40 }), ahead: number(2, 1) };
    let heap = vec![1_u8; usize::try_from(number(3, 0))? << 20];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let Measured { took, cpu_ticks, pss_kib } = runtime.block_on(measure(plan))?;
    drop(std::hint::black_box(heap));
    let Plan { keepers, tasks, ahead } = plan;
    println!(
        "keepers={keepers} tasks={tasks} ahead={ahead} wall_s={:.3} tasks_per_s={:.0} keeper_cpu_ms_per_task={:.3} pss_kib={pss_kib}",
        took.as_secs_f64(),
        tasks as f64 / took.as_secs_f64(),
        cpu_ticks as f64 * 10.0 / tasks as f64,
    );
    Ok(())
}
