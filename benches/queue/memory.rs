//! What a waiting task takes of the server's memory.

use crate::Outcome;
use crate::client::{add, client, connect};
use crate::redis_server::Server;
use crate::simulated::line;

pub(crate) fn used_memory(con: &mut redis::Connection) -> Outcome<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query(con)?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.ok_or("INFO memory has no used_memory")?.trim().parse()?)
}

/// Bytes of the server for each waiting task, beside the hash that Python DistComp would have.
pub(crate) async fn memory(lines: u64) -> Outcome<()> {
    let mut used = Vec::new();
    for with_index in [false, true] {
        let server = Server::start()?;
        let mut con = server.con()?;
        let conn = connect(&client(&server)?).await?;
        let before = used_memory(&mut con)?;
        if with_index {
            add(&conn, (0..lines).map(line)).await?;
        } else {
            for i in 0..lines / 1000 {
                let mut cmd = redis::cmd("HSET");
                cmd.arg("todo_tasks");
                for i in i * 1000..i * 1000 + 1000 {
                    cmd.arg(line(i)).arg("");
                }
                cmd.exec(&mut con)?;
            }
        }
        used.push((used_memory(&mut con)? - before) / lines as f64);
    }
    println!("memory of the server for each of {lines} waiting tasks");
    println!("bare hash {:.1} B, with the index {:.1} B: {:.2} x\n", used[0], used[1], used[1] / used[0]);
    Ok(())
}
