//! What the machine can do: `sh -c true` by `posix_spawn` from two threads, stdout and stderr each through a pipe that is read to its end, every
//! child waited for. Nothing is recorded, contained or retried.

use std::error::Error;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, read};

struct Child {
    pid: Pid,
    pipes: [Option<OwnedFd>; 2],
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs `tasks` children, `in_flight` at a time, from two threads.
pub(crate) fn run(in_flight: usize, tasks: usize) -> Outcome<Duration> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    let (null, next) = (null.as_raw_fd(), AtomicUsize::new(0));
    let next = &next;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = [in_flight - in_flight / 2, in_flight / 2]
            .into_iter()
            .filter(|share| *share > 0)
            .map(|share| scope.spawn(move || spawner(share, tasks, next, null)))
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a spawner panicked")??;
        }
        Outcome::Ok(())
    })?;
    Ok(start.elapsed())
}

fn spawner(share: usize, tasks: usize, next: &AtomicUsize, null: RawFd) -> Outcome<()> {
    let words = |words: &[&str]| words.iter().map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>();
    let (args, env) = (words(&["sh", "-c", "true"])?, words(&["PATH=/usr/bin:/bin", "HOME=/root", "LANG=C"])?);
    let attributes = PosixSpawnAttr::init()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut children: Vec<Option<Child>> = (0..share).map(|_| None).collect();
    let mut free: Vec<usize> = (0..share).collect();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while !free.is_empty() && next.fetch_add(1, Ordering::Relaxed) < tasks {
            let Some(index) = free.pop() else { break };
            let (out, err) = (pipe2(OFlag::O_CLOEXEC)?, pipe2(OFlag::O_CLOEXEC)?);
            let mut actions = PosixSpawnFileActions::init()?;
            for (fd, target) in [(null, 0), (out.1.as_raw_fd(), 1), (err.1.as_raw_fd(), 2)] {
                actions.add_dup2(fd, target)?;
            }
            let pid = posix_spawn(c"/bin/sh", &actions, &attributes, &args, &env)?;
            for (pipe, token) in [(&out.0, 0), (&err.0, 1)] {
                epoll.add(pipe, EpollEvent::new(EpollFlags::EPOLLIN, (index * 2 + token) as u64))?;
            }
            children[index] = Some(Child { pid, pipes: [Some(out.0), Some(err.0)] });
        }
        if free.len() == share {
            return Ok(());
        }
        let mut events = [EpollEvent::empty(); 64];
        let ready = again(|| epoll.wait(&mut events, EpollTimeout::NONE))?;
        for event in &events[..ready] {
            let token = usize::try_from(event.data())?;
            let Some(child) = &mut children[token / 2] else { continue };
            let Some(pipe) = &child.pipes[token % 2] else { continue };
            if again(|| read(pipe, &mut buffer))? > 0 {
                continue;
            }
            // Closing it does not take it out of the set while a child of the other thread holds a copy.
            epoll.delete(pipe)?;
            child.pipes[token % 2] = None;
            if child.pipes.iter().all(Option::is_none) {
                if again(|| waitpid(child.pid, None))? != WaitStatus::Exited(child.pid, 0) {
                    return Err("a child failed".into());
                }
                children[token / 2] = None;
                free.push(token / 2);
            }
        }
    }
}

/// Calls until no signal interrupts.
fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            done => return done,
        }
    }
}
