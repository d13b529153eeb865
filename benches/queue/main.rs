//! The queue alone, by the real client code and no task run: what a claim costs at which depth, how much one Redis carries, submission, memory.
//!
//! `cargo bench --bench queue [-- PART...]`; parts: `depth [DEPTH...]`, `fleet`, `submit [LINES]`, `memory [LINES]`, `suite`; by default all of them.

#[path = "../support/client.rs"]
mod client;
#[path = "../support/cpu.rs"]
mod cpu;
mod depth;
mod fleet;
mod memory;
#[path = "../support/redis.rs"]
mod redis_server;
#[path = "../support/stats.rs"]
mod stats;
mod submission;
mod suite;

use std::error::Error;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_bench = args.iter().any(|arg| arg == "--bench");
    let parts: Vec<&str> = args.iter().map(String::as_str).filter(|arg| arg.chars().all(char::is_lowercase)).collect();
    let numbers: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    // The server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let number = |default: u64| numbers.first().copied().unwrap_or(if is_bench { default } else { default / 1000 });
    if wants("depth") {
        let usual = if is_bench { vec![10_000, 100_000, 1_000_000] } else { vec![8_000, 9_000] };
        runtime.block_on(depth::depth(if numbers.is_empty() { &usual } else { &numbers }))?;
    }
    if wants("fleet") {
        runtime.block_on(fleet::fleet(100, if is_bench { 200_000 } else { 2000 }))?;
    }
    if wants("submit") {
        submission::submit_file(number(1_000_000))?;
    }
    if wants("memory") {
        runtime.block_on(memory::memory(number(1_000_000)))?;
    }
    if wants("suite") {
        runtime.block_on(suite::suite())?;
    }
    Ok(())
}
