//! The text form of a signature (a seal), and the bytes that are signed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::KeyId;
use crate::config::Config;

/// Separates our signatures from any other use of the key, and this form from later ones.
const CONTEXT: &[u8] = b"distcomp task signature v1\0";

const VERSION: &str = "v1";

/// Bytes of the number used once.
pub(super) const NONCE: usize = 16;

/// A longer text is no signature.
const LONGEST: usize = 256;

/// Which queue a signature is for. One made for another is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueName {
    /// The random identity that the queue has recorded, so that one server is the same queue by whatever address it is reached.
    pub id: String,
    /// Number of the database.
    pub db: u32,
    /// `redis_key_prefix`.
    pub prefix: String,
}

impl QueueName {
    /// The queue to which a configuration leads, which has recorded this identity.
    #[must_use]
    pub fn of(config: &Config, id: String) -> Self {
        Self { id, db: config.redis.db, prefix: config.key_prefix.clone() }
    }
}

/// What lies beside a signed line: `v1.EXPIRES.KEY.NONCE.SIGNATURE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Not valid from this second on, since the epoch.
    pub expires: u64,
    /// The key it was made with: a hint only, it is not signed.
    pub key: KeyId,
    /// A number used once, so that the same line submitted again has another signature.
    pub nonce: [u8; NONCE],
    /// The signature of [`message`].
    pub signature: [u8; 64],
}

/// A text that is no signature of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form v1.EXPIRES.KEY.NONCE.SIGNATURE")]
pub struct BadSeal;

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nonce, signature) = (BASE64.encode(self.nonce), BASE64.encode(self.signature));
        write!(f, "{VERSION}.{}.{}.{nonce}.{signature}", self.expires, self.key)
    }
}

impl FromStr for Seal {
    type Err = BadSeal;

    fn from_str(text: &str) -> Result<Self, BadSeal> {
        if text.len() > LONGEST {
            return Err(BadSeal);
        }
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(BadSeal);
        if part()? != VERSION {
            return Err(BadSeal);
        }
        let expires = part()?;
        let is_plain = !expires.is_empty()
            && expires.bytes().all(|b| b.is_ascii_digit())
            && (expires.len() == 1 || !expires.starts_with('0'));
        let expires = expires.parse().ok().filter(|_| is_plain).ok_or(BadSeal)?;
        let key = part()?.parse().map_err(|_| BadSeal)?;
        let (nonce, signature) = (decode(part()?)?, decode(part()?)?);
        if parts.next().is_some() {
            return Err(BadSeal);
        }
        Ok(Self { expires, key, nonce, signature })
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], BadSeal> {
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(BadSeal)
}

/// The bytes that are signed. No two different inputs give the same bytes: what has a variable length is preceded by it, and the line comes last.
#[must_use]
pub fn message(queue: &QueueName, expires: u64, nonce: &[u8; NONCE], line: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(CONTEXT.len() + queue.id.len() + queue.prefix.len() + line.len() + 64);
    out.extend_from_slice(CONTEXT);
    for text in [&queue.id, &queue.prefix] {
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&queue.db.to_be_bytes());
    out.extend_from_slice(&expires.to_be_bytes());
    out.extend_from_slice(nonce);
    out.extend_from_slice(line.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(id: &str, db: u32, prefix: &str) -> QueueName {
        QueueName { id: id.to_owned(), db, prefix: prefix.to_owned() }
    }

    proptest! {
        #[test]
        fn a_seal_survives_its_text(expires: u64, key: [u8; 8], nonce: [u8; 16], halves: [[u8; 32]; 2]) {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&halves[0]);
            signature[32..].copy_from_slice(&halves[1]);
            let seal = Seal { expires, key: KeyId(key), nonce, signature };
            prop_assert_eq!(seal.to_string().parse(), Ok(seal));
        }

        #[test]
        fn no_text_panics_and_each_seal_has_one_text(text in "(v1\\.)?[0-9]{0,22}(\\.\\PC*){0,5}") {
            if let Ok(seal) = text.parse::<Seal>() {
                prop_assert_eq!(seal.to_string(), text);
            }
        }

        #[test]
        fn different_inputs_are_different_messages(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", x in "[ab]{0,3}", y in "[ab]{0,3}", z in "[ab]{0,3}") {
            let one = message(&queue(&a, 0, &b), 1, &[0; 16], &c);
            let other = message(&queue(&x, 0, &y), 1, &[0; 16], &z);
            prop_assert_eq!(one == other, (a, b, c) == (x, y, z));
        }
    }

    #[test]
    fn numbers_are_signed_too() {
        let base = message(&queue("q", 0, ""), 1, &[0; 16], "l");
        assert_ne!(base, message(&queue("q", 1, ""), 1, &[0; 16], "l"));
        assert_ne!(base, message(&queue("q", 0, ""), 2, &[0; 16], "l"));
        assert_ne!(base, message(&queue("q", 0, ""), 1, &[1; 16], "l"));
    }
}
