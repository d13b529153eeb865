//! The keys that sign and verify task lines, and their files: one line of text each; how the line begins says which kind of key it is.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::sys::random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

const SECRET_HEAD: &str = "distcomp-signing-key:ed25519:";
const PUBLIC_HEAD: &str = "distcomp-public-key:ed25519:";

/// A longer file is not a key.
const LONGEST: u64 = 4096;

/// The short name of a key: the first 64 bits of the SHA-256 of its public half, printed as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl KeyId {
    fn of(key: &VerifyingKey) -> Self {
        let mut head = [0; 8];
        head.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
        Self(head)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        u64::from_str_radix(text, 16).ok().filter(|_| is_hex).map(|id| Self(id.to_be_bytes())).ok_or(())
    }
}

/// What is wrong with a key file, as a phrase that fits after the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system does not let us.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// Others can read a secret.
    #[error("others can read or change it (mode {0:03o}), and whoever has it can make workers run any command")]
    Open(u32),
    /// Others can put another key in the place of a public one.
    #[error("others can change it (mode {0:03o}), and whoever does can make this worker run any command")]
    Changeable(u32),
    /// A secret where a public key belongs.
    #[error("is a signing key: it is secret, and workers do not need it")]
    Secret,
    /// A public key where a secret belongs.
    #[error("is a public key, which cannot sign")]
    Public,
    /// Anything else.
    #[error("is not a key file of distcomp-ctl keygen: {0}")]
    Malformed(&'static str),
    /// A new file cannot be written, or is there already.
    #[error("cannot be created: {0}")]
    Uncreatable(io::Error),
    /// The system has no random numbers to give.
    #[error("cannot be created: the system provides no random numbers")]
    NoRandomness,
}

/// Which files of a list cannot be used, by their places in it, and why.
pub type BadKeys = Vec<(usize, KeyError)>;

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) id: KeyId,
    pub(super) key: VerifyingKey,
}

impl PublicKey {
    /// Reads a file as [`SecretKey::create`] writes beside the secret.
    ///
    /// # Errors
    /// What is wrong with the file; [`KeyError::Changeable`] when its mode lets others write to it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = File::open(path).map_err(KeyError::Unreadable)?;
        let mode = file.metadata().map_err(KeyError::Unreadable)?.permissions().mode() & 0o777;
        let key = Self::parse(&read(file)?)?;
        if mode & 0o022 == 0 { Ok(key) } else { Err(KeyError::Changeable(mode)) }
    }

    /// Reads several, each with its file.
    ///
    /// # Errors
    /// What is wrong with each file that cannot be used, and its place in the list.
    pub fn load_all(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Self)>, BadKeys> {
        let (mut keys, mut faults) = (Vec::new(), Vec::new());
        for (index, path) in paths.iter().enumerate() {
            match Self::load(path) {
                Ok(key) => keys.push((path.clone(), key)),
                Err(error) => faults.push((index, error)),
            }
        }
        if faults.is_empty() { Ok(keys) } else { Err(faults) }
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = only_line(text)?;
        if line.starts_with(SECRET_HEAD) {
            return Err(KeyError::Secret);
        }
        let bytes =
            decode(line.strip_prefix(PUBLIC_HEAD).ok_or(KeyError::Malformed("it does not begin like a key file"))?)?;
        let key =
            VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Malformed("it is not a point of the curve"))?;
        if key.is_weak() {
            // Signatures that fit any message exist for it.
            return Err(KeyError::Malformed("it is a weak point of the curve"));
        }
        Ok(Self { id: KeyId::of(&key), key })
    }

    /// Its short name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// A key that signs. Wiped from memory when dropped; `Debug` shows its name alone.
pub struct SecretKey {
    pub(super) key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id())
    }
}

impl SecretKey {
    /// Reads a key that nobody else can read.
    ///
    /// # Errors
    /// What is wrong with the file; [`KeyError::Open`] when its mode lets others at it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = File::open(path).map_err(KeyError::Unreadable)?;
        let mode = file.metadata().map_err(KeyError::Unreadable)?.permissions().mode() & 0o777;
        let text = read(file)?;
        let line = only_line(&text)?;
        if line.starts_with(PUBLIC_HEAD) {
            return Err(KeyError::Public);
        }
        let code = line.strip_prefix(SECRET_HEAD).ok_or(KeyError::Malformed("it does not begin like a key file"))?;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open(mode));
        }
        Ok(Self { key: SigningKey::from_bytes(&Zeroizing::new(decode(code)?)) })
    }

    /// Makes a new key and writes it to `path`, mode 0600, and its public half beside it. Neither file may exist.
    ///
    /// # Errors
    /// With the file that it is about; then neither file is left.
    pub fn create(path: &Path) -> Result<Self, (PathBuf, KeyError)> {
        let public = public_path(path);
        let mut seed = Zeroizing::new([0; 32]);
        random::fill(&mut *seed).map_err(|_| (path.to_owned(), KeyError::NoRandomness))?;
        let secret = Self { key: SigningKey::from_bytes(&seed) };
        let text = Zeroizing::new(format!(
            "# A signing key of DistComp, {}. Keep it secret: whoever has it can make workers run any command.\n{SECRET_HEAD}{}\n",
            secret.id(),
            *Zeroizing::new(BASE64.encode(*seed))
        ));
        let half = BASE64.encode(secret.key.verifying_key().as_bytes());
        let public_text = format!("# A public key of DistComp, {}.\n{PUBLIC_HEAD}{half}\n", secret.id());
        write_new(path, 0o600, text.as_bytes()).map_err(|error| (path.to_owned(), KeyError::Uncreatable(error)))?;
        write_new(&public, 0o644, public_text.as_bytes()).map_err(|error| {
            // Ours, and of no use without the other.
            let _ = fs::remove_file(path);
            (public, KeyError::Uncreatable(error))
        })?;
        Ok(secret)
    }

    /// Its short name, the same as that of its public half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.key.verifying_key())
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.id(), key: self.key.verifying_key() }
    }
}

/// `KEY.pub` of `KEY`.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Never an existing file, nor what a link points to.
fn write_new(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken more away than is wanted, never less.
    let written = file
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

fn read(file: File) -> Result<Zeroizing<String>, KeyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(KeyError::Unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(KeyError::Malformed("it is too long"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Malformed("it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The one line that is neither empty nor a comment.
fn only_line(text: &str) -> Result<&str, KeyError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or(KeyError::Malformed("it is empty"))?;
    if lines.next().is_some() {
        return Err(KeyError::Malformed("it contains more than one line; each key needs its own file"));
    }
    Ok(line)
}

fn decode(code: &str) -> Result<[u8; 32], KeyError> {
    let bytes = Zeroizing::new(BASE64.decode(code).map_err(|_| KeyError::Malformed("it is truncated or altered"))?);
    bytes.as_slice().try_into().map_err(|_| KeyError::Malformed("it is truncated or altered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_pair_can_be_read_back_and_is_never_written_over() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("key");
        let made = SecretKey::create(&path).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&public_path(&path))), (0o600, 0o644));
        assert_eq!(SecretKey::load(&path).expect("loaded").key, made.key);
        assert_eq!(PublicKey::load(&public_path(&path)).expect("loaded"), made.public());
        let before = fs::read(&path).expect("read");
        assert!(matches!(SecretKey::create(&path), Err((at, KeyError::Uncreatable(_))) if at == path));
        fs::rename(&path, dir.path().join("elsewhere")).expect("moved");
        assert!(matches!(SecretKey::create(&path), Err((at, KeyError::Uncreatable(_))) if at == public_path(&path)));
        assert!(!path.exists(), "nothing is left of a pair that could not be made");
        assert_eq!(fs::read(dir.path().join("elsewhere")).expect("read"), before);
    }

    #[test]
    fn keys_are_told_apart_and_bad_ones_named() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("key");
        SecretKey::create(&path).expect("made");
        let public = public_path(&path);
        assert!(matches!(PublicKey::load(&path), Err(KeyError::Secret)));
        assert!(matches!(SecretKey::load(&public), Err(KeyError::Public)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(SecretKey::load(&path), Err(KeyError::Open(0o640))));
        for mode in [0o664, 0o646] {
            fs::set_permissions(&public, fs::Permissions::from_mode(mode)).expect("chmod");
            assert!(matches!(PublicKey::load(&public), Err(KeyError::Changeable(found)) if found == mode));
        }
        fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).expect("chmod");
        let both = PublicKey::load_all(&[public.clone(), path.clone(), dir.path().join("gone")]);
        let wrong = both.expect_err("two cannot be used");
        assert!(matches!(wrong.as_slice(), [(1, KeyError::Secret), (2, KeyError::Unreadable(_))]), "{wrong:?}");
        let good = fs::read_to_string(&public).expect("read");
        let identity = format!("{PUBLIC_HEAD}{}", BASE64.encode([1].into_iter().chain([0; 31]).collect::<Vec<u8>>()));
        for bad in [
            "",
            "# only a comment\n",
            "ssh-ed25519 AAAA",
            good.trim_end_matches("=\n"),
            &format!("{good}{good}"),
            &identity,
        ] {
            assert!(matches!(PublicKey::parse(bad), Err(KeyError::Malformed(_))), "{bad:?}");
        }
        fs::write(&public, [b'#'; 5000]).expect("written");
        assert!(matches!(PublicKey::load(&public), Err(KeyError::Malformed(_))));
        assert!(matches!(PublicKey::load(dir.path()), Err(KeyError::Unreadable(_))));
    }

    #[test]
    fn debug_shows_no_secret() {
        let dir = tempfile::tempdir().expect("dir");
        let key = SecretKey::create(&dir.path().join("key")).expect("made");
        assert_eq!(format!("{key:?}"), format!("SecretKey({})", key.id()));
    }
}
