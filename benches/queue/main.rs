//! The queue alone, by the real client code and no task run: what a claim costs at which depth, how much one Redis carries, submission, memory.
//!
//! `cargo bench --bench queue [-- PART...]`; parts: `depth [DEPTH...]`, `ahead`, `batches [LINES]`, `owners`, `limits`, `release [LINES]`, `fleet`, `members [TASKS]`, `views [TASKS]`, `submit [LINES]`, `memory [LINES]`, `suite`; by default all of them.

mod batches;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/cpu.rs"]
mod cpu;
mod depth;
mod fleet;
mod memory;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../support/redis.rs"]
mod redis_server;
mod release;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/stats.rs"]
mod stats;
mod submission;
mod suite;
mod views;

use std::error::Error;

use parts::Parts;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let parts = Parts::of_args();
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let lines = numbers.first().copied().unwrap_or(parts.size(1_000_000, 1000));
    simulated::raise_open_files()?;
    // The server has the other processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if parts.wants("depth") {
        let usual: &[u64] = parts.size(&[10_000, 100_000, 1_000_000], &[8_000, 9_000]);
        runtime.block_on(depth::depth(if numbers.is_empty() { usual } else { &numbers }))?;
    }
    if parts.wants("ahead") {
        runtime.block_on(depth::too_large_ahead(parts.size(&[0, 1_000, 5_000], &[100])))?;
    }
    if parts.wants("batches") {
        let tasks = numbers.first().copied().unwrap_or(parts.size(200_000, 2000));
        runtime.block_on(batches::batches(tasks, parts.size(3, 1)))?;
    }
    if parts.wants("release") {
        runtime.block_on(release::release(numbers.first().copied().unwrap_or(parts.size(1_000_000, 2000))))?;
    }
    if parts.wants("owners") {
        runtime.block_on(batches::owners(64))?;
    }
    if parts.wants("limits") {
        runtime.block_on(batches::limits(parts.size(1_000, 100)))?;
    }
    if parts.wants("fleet") {
        runtime.block_on(fleet::fleet(100, parts.size(200_000, 2000)))?;
    }
    if parts.wants("members") {
        let tasks = numbers.first().copied().unwrap_or(parts.size(200_000, 2000));
        runtime.block_on(fleet::members(100, tasks, parts.size(3, 1)))?;
    }
    if parts.wants("views") {
        let tasks = numbers.first().copied().unwrap_or(parts.size(1_000_000, 2000));
        runtime.block_on(views::views(tasks, parts.size(15, 1)))?;
    }
    if parts.wants("submit") {
        submission::submit_file(lines)?;
    }
    if parts.wants("memory") {
        runtime.block_on(memory::memory(lines))?;
    }
    if parts.wants("suite") {
        runtime.block_on(suite::batches())?;
        runtime.block_on(suite::twenty())?;
    }
    Ok(())
}
