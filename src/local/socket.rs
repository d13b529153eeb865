//! The socket of a private server: where it can be, and whether a server answers there.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::LocalError;

/// The kernel takes paths of up to 107 bytes and a NUL.
const LONGEST: usize = 107;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// What a server said to `PING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// It serves.
    Ready,
    /// It is there, but still reading its data, or too busy to answer.
    Busy,
    /// Nobody is there.
    Nobody,
}

/// A path for the socket, always the same for the same `name` and user, so that a later run finds it.
///
/// `/tmp` comes before `$XDG_RUNTIME_DIR`: the latter is taken away at logout, under a run that was to go on.
///
/// # Errors
/// When no directory is ours alone with a path short enough.
pub(super) fn socket_path(name: &str, state: &Path) -> Result<PathBuf, LocalError> {
    let user = nix::unistd::getuid();
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let places = [
        Some(PathBuf::from(format!("/tmp/distcomp-{user}"))),
        runtime.map(|dir| dir.join("distcomp")),
        Some(state.to_owned()),
    ];
    let places: Vec<_> = places.into_iter().flatten().collect();
    for dir in &places {
        let path = dir.join(format!("{name}.sock"));
        if path.as_os_str().len() <= LONGEST && is_private_dir(dir) {
            return Ok(path);
        }
    }
    let tried: Vec<_> = places.iter().map(|dir| format!("{dir:?}")).collect();
    Err(LocalError::NoSocketDir { tried: tried.join(", ") })
}

/// Makes the directory, or checks that the one there is ours and closed: in `/tmp` anybody may have put it there.
fn is_private_dir(dir: &Path) -> bool {
    drop(fs::DirBuilder::new().mode(0o700).create(dir));
    fs::symlink_metadata(dir).is_ok_and(|metadata| {
        metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw() && metadata.mode() & 0o077 == 0
    })
}

/// Asks who is there.
pub(super) async fn ping(socket: &Path) -> SocketState {
    let mut answer = [0; 32];
    let conversation = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read(&mut answer).await
    };
    match timeout(ANSWER, conversation).await {
        Ok(Ok(length)) if answer[..length].starts_with(b"+PONG") => SocketState::Ready,
        Ok(Ok(_)) | Err(_) => SocketState::Busy,
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::WouldBlock) => SocketState::Busy,
        Ok(Err(_)) => SocketState::Nobody,
    }
}

/// The process that listens on the socket, told by the kernel.
pub(super) async fn listener(socket: &Path) -> Option<u32> {
    let stream = timeout(ANSWER, UnixStream::connect(socket)).await.ok()?.ok()?;
    stream.peer_cred().ok()?.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_directory_of_others_is_not_taken() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (open, link, file) = (root.path().join("open"), root.path().join("link"), root.path().join("file"));
        assert!(is_private_dir(&root.path().join("new")));
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("chmod");
        symlink(root.path().join("new"), &link).expect("linked");
        fs::write(&file, "").expect("written");
        for dir in [open, link, file] {
            assert!(!is_private_dir(&dir), "{dir:?}");
        }
    }

    #[test]
    fn the_path_is_short_and_stays_the_same() {
        let state = Path::new("/nowhere");
        let path = socket_path("0123456789abcdef", state).expect("a place");
        assert!(path.as_os_str().len() <= LONGEST);
        assert_eq!(socket_path("0123456789abcdef", state).expect("a place"), path);
    }

    #[tokio::test]
    async fn where_there_is_no_socket_nobody_answers() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let socket = root.path().join("s");
        assert_eq!(ping(&socket).await, SocketState::Nobody);
        drop(tokio::net::UnixListener::bind(&socket).expect("bound"));
        assert_eq!(ping(&socket).await, SocketState::Nobody, "a socket file without a listener");
        assert_eq!(listener(&socket).await, None);
        let _silent = {
            fs::remove_file(&socket).expect("removed");
            tokio::net::UnixListener::bind(&socket).expect("bound")
        };
        assert_eq!(ping(&socket).await, SocketState::Busy);
        assert_eq!(listener(&socket).await, Some(std::process::id()));
    }
}
