//! What the first process of a container owes: whatever somebody else starts there (`kubectl exec`, a probe) and leaves without a parent becomes a child
//! of the first process, and stays as a zombie until that one waits for it.

use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::tree::{self, ProcessIdentity};
use crate::sys::stat::Stat;

/// Between two looks. A child that is a zombie at two looks in a row is nobody's: for its own children a program waits within a moment.
const LOOK: Duration = Duration::from_secs(2);

/// Waits for orphans for ever, where this is the first process of its container or machine; elsewhere it does nothing, for ever.
///
/// The tasks of a worker are not concerned: what they leave goes to their keeper.
pub async fn reap_orphans() {
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    let mut before = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        before = look(&before);
    }
}

/// Waits for those that were zombies at the last look; answers those that are zombies now.
fn look(before: &[ProcessIdentity]) -> Vec<ProcessIdentity> {
    let mut zombies = Vec::new();
    for pid in tree::children(Pid::this().as_raw()) {
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.is_running()) else { continue };
        let zombie = ProcessIdentity { pid, start_ticks: stat.start_ticks };
        if before.contains(&zombie) {
            // Of this very child: its number is not given again before this.
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
    fn an_orphan_is_waited_for_at_the_second_look() {
        // As the first process is for all.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let output = Command::new("/bin/sh").args(["-c", "true & echo $!"]).output().unwrap();
        let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let mut ours = Command::new("/bin/sh").args(["-c", "read x"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut before = Vec::new();
        let gone = (0..400).any(|_| {
            before = look(&before);
            std::thread::sleep(Duration::from_millis(5));
            Stat::read(orphan).is_none()
        });
        assert!(gone, "it is a zombie still");
        drop(ours.stdin.take());
        assert!(ours.wait().unwrap().code().is_some(), "our own is left to us");
    }
}
