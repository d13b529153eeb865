//! The submission of a large file.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cpu::cpu_ms;
use crate::redis_server::Server;
use crate::simulated::line;
use crate::stats::median;

/// The command as people use it, with a file of so many lines.
pub(crate) fn submit_file(lines: u64) -> Outcome<()> {
    println!("distcomp-submit of a file, whole command");
    println!("{:>9} {:>10} {:>10} {:>6} {:>13} {:>14}", "lines", "", "lines/s", "x", "submitter MB", "Redis us/line");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("tasks");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for i in 0..lines {
        writeln!(file, "{}", line(i))?;
    }
    file.flush()?;
    let ways: [(&str, &[&str]); 2] = [("plain", &[]), ("--name s1", &["--name", "s1"])];
    let mut found = ways.map(|_| (Vec::new(), Vec::new(), Vec::new()));
    for round in 0..6 {
        let (_, flags) = ways[round % 2];
        let (rates, peaks, costs) = &mut found[round % 2];
        let server = Server::start()?;
        let conf = dir.path().join("conf.json");
        std::fs::write(&conf, serde_json::json!({"redis_url": server.url()}).to_string())?;
        let cpu = cpu_ms(server.pid());
        let start = Instant::now();
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_distcomp-submit"))
            .args(["--quiet", "--config"])
            .arg(&conf)
            .args(flags)
            .arg(&path)
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let mut peak = 0.0_f64;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let kib = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
            peak = peak.max(kib.unwrap_or(0.0));
            std::thread::sleep(Duration::from_millis(5));
        };
        rates.push(lines as f64 / start.elapsed().as_secs_f64());
        peaks.push(peak / 1024.0);
        costs.push((cpu_ms(server.pid()) - cpu) * 1e3 / lines as f64);
        let there: u64 = redis::cmd("HLEN").arg("todo_tasks").query(&mut server.con()?)?;
        if !status.success() || there != lines {
            return Err(format!("{there} of {lines} lines are there").into());
        }
    }
    let plain = median(&found[0].0);
    for ((way, _), (rates, peaks, costs)) in ways.iter().zip(&found) {
        let (rate, peak, cost) = (median(rates), median(peaks), median(costs));
        println!("{lines:>9} {way:>10} {rate:>10.0} {:>6.2} {peak:>13.1} {cost:>14.2}", rate / plain);
    }
    println!("medians of 3 in turns\n");
    Ok(())
}
