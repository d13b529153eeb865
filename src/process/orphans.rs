//! Reaps orphans if this program is the first process (pid 1) of a container.
//!
//! Other programs, such as `kubectl exec` or a probe, start processes in the container. If such a process loses its parent, it becomes a child of pid 1, and
//! after its end it stays as a zombie until pid 1 waits for it.

use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::tree::{self, ProcessIdentity};
use crate::sys::stat::Stat;

/// How often zombies are listed. A child that is listed twice in a row is an orphan: a program waits for its own children without delay.
const INTERVAL: Duration = Duration::from_secs(2);

/// Reaps orphans for ever if this is the first process; otherwise it never returns and does nothing.
///
/// Orphans of tasks go to their keeper, not to this process.
pub async fn reap_orphans() {
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    let mut before = Vec::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        before = reap_old(&before);
    }
}

/// Reaps the zombies that are in `before`, and returns the others.
fn reap_old(before: &[ProcessIdentity]) -> Vec<ProcessIdentity> {
    let mut zombies = Vec::new();
    for pid in tree::children(Pid::this().as_raw()) {
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.is_running()) else { continue };
        let zombie = ProcessIdentity { pid, start_ticks: stat.start_ticks };
        if before.contains(&zombie) {
            // It is the same child: its pid is not reused before this call.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        } else {
            zombies.push(zombie);
        }
    }
    zombies
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn orphan_is_reaped_at_the_second_listing() {
        // Makes this process the parent of orphans, as pid 1 is.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let output = Command::new("/bin/sh").args(["-c", "true & echo $!"]).output().unwrap();
        let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let mut ours = Command::new("/bin/sh").args(["-c", "read x"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut before = Vec::new();
        let gone = (0..400).any(|_| {
            before = reap_old(&before);
            std::thread::sleep(Duration::from_millis(5));
            Stat::read(orphan).is_none()
        });
        assert!(gone, "it is a zombie still");
        drop(ours.stdin.take());
        assert!(ours.wait().unwrap().code().is_some(), "our own is left to us");
    }
}
