//! A network of one's own between a worker and its Redis: it can go silent, lose the answers, break connections and be slow.
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// What happens to what goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Nothing goes either way, and nobody is told: a cut. What was sent meanwhile arrives afterwards, as from a kernel that sends again.
    Silent,
    /// Requests arrive, answers do not: the sender cannot know whether it was heard.
    DropAnswers,
    /// Every connection is reset, also new ones.
    Reset,
    /// Each piece is this late, either way.
    Delay(Duration),
    /// Answers come one byte at a time, each this late.
    Trickle(Duration),
    /// So many bytes a second, either way.
    Throttle(u32),
    /// Every connection, also a new one, is closed in the direction of the answers alone; requests still arrive.
    HalfClose,
}

struct Shared {
    mode: Mutex<Mode>,
    is_over: AtomicBool,
    live: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().expect("no panic in here")
    }
}

/// See the module; it ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of the server on this socket.
    pub(crate) fn start(server: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared =
            Arc::new(Shared { mode: Mutex::new(Mode::Pass), is_over: AtomicBool::new(false), live: Mutex::default() });
        let (server, seen) = (server.to_owned(), Arc::clone(&shared));
        thread::spawn(move || accept(&listener, &server, &seen));
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        let old = std::mem::replace(&mut *self.shared.mode.lock().expect("no panic in here"), mode);
        // A stream that has lost bytes in the middle is of no more use.
        if mode == Mode::Reset || (matches!(old, Mode::DropAnswers | Mode::HalfClose) && mode != old) {
            self.reset();
        }
        if mode == Mode::HalfClose {
            for stream in self.shared.live.lock().expect("no panic in here").iter() {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
    }

    fn reset(&self) {
        for stream in self.shared.live.lock().expect("no panic in here").drain(..) {
            abort(&stream);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.reset();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Ends a connection by RST.
fn abort(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = setsockopt(&stream.as_fd(), sockopt::Linger, &linger);
    let _ = stream.shutdown(Shutdown::Both);
}

fn accept(listener: &TcpListener, server: &PathBuf, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        if shared.mode() == Mode::Reset {
            abort(&client);
            continue;
        }
        let Ok(server) = UnixStream::connect(server) else { continue };
        let (Ok(from_client), Ok(from_server), Ok(known)) =
            (client.try_clone(), server.try_clone(), client.try_clone())
        else {
            continue;
        };
        let _ = client.set_nodelay(true);
        if shared.mode() == Mode::HalfClose {
            let _ = client.shutdown(Shutdown::Write);
        }
        let step = Some(Duration::from_millis(20));
        let (_, _) = (from_client.set_read_timeout(step), from_server.set_read_timeout(step));
        shared.live.lock().expect("no panic in here").push(known);
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        let (to_server, to_client) = (server, client);
        thread::spawn(move || {
            pump(from_client, &to_server, &up, false);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            pump(from_server, &to_client, &down, true);
            let _ = to_client.shutdown(Shutdown::Both);
        });
    }
}

fn pump<R: Read>(mut from: R, mut to: impl Write, shared: &Shared, is_answer: bool) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                continue;
            }
            Err(_) => return,
        };
        while shared.mode() == Mode::Silent && !shared.is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        match shared.mode() {
            Mode::DropAnswers if is_answer => continue,
            Mode::Delay(time) => thread::sleep(time),
            Mode::Throttle(rate) => thread::sleep(Duration::from_secs_f64(count as f64 / f64::from(rate))),
            Mode::Trickle(time) if is_answer => {
                for byte in &bytes[..count] {
                    thread::sleep(time);
                    if to.write_all(std::slice::from_ref(byte)).and_then(|()| to.flush()).is_err() {
                        return;
                    }
                }
                continue;
            }
            Mode::HalfClose if is_answer => continue,
            Mode::Pass | Mode::Silent | Mode::DropAnswers | Mode::Reset | Mode::Trickle(_) | Mode::HalfClose => {}
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
