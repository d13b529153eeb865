//! Checks the token of a request, in a header or as a session cookie that the login form has set. The token is never in a URL.

use std::fmt::Write as _;

use crate::sys::random;
use axum::http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Characters that a token has at least.
pub const MIN_TOKEN: usize = 16;

/// How long a session lasts, seconds. All end when the server does.
const SESSION_SECONDS: u32 = 12 * 3600;

/// A token that can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is shorter than {MIN_TOKEN} characters, or contains blanks or characters that are not ASCII")]
pub struct WeakToken;

/// Compares what is shown with the token.
pub struct TokenAccess {
    lock: Option<TokenHashes>,
}

/// Hashes, so that comparing takes the same time whatever the length.
struct TokenHashes {
    token: [u8; 32],
    session: String,
    cookie: String,
}

impl TokenAccess {
    /// Everybody who gets through may look.
    #[must_use]
    pub fn open() -> Self {
        Self { lock: None }
    }

    /// Only those with this token. `port` keeps the sessions of two servers of one host apart, since cookies know no ports.
    ///
    /// # Errors
    /// [`WeakToken`].
    pub fn locked(token: &SecretString, port: u16) -> Result<Self, WeakToken> {
        let token = token.expose_secret();
        if token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WeakToken);
        }
        let mut secret = [0; 32];
        random::fill(&mut secret).map_err(|_| WeakToken)?;
        let mut session = String::with_capacity(64);
        for byte in Sha256::new().chain_update(secret).chain_update(token).finalize() {
            // Writing to a string cannot fail.
            let _ = write!(session, "{byte:02x}");
        }
        Ok(Self { lock: Some(TokenHashes { token: hash(token), session, cookie: format!("distcomp_{port}") }) })
    }

    /// Whether a token is asked for at all.
    pub(in crate::view) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether this request may look.
    pub(in crate::view) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(lock) = &self.lock else { return true };
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = bearer.and_then(|value| value.split_once(' ')) {
            return scheme.eq_ignore_ascii_case("bearer") && lock.opens(token.trim());
        }
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| name == lock.cookie && is_same(&hash(value), &hash(&lock.session)))
    }

    /// The cookie for somebody who shows the right token.
    pub(in crate::view) fn login(&self, token: &str) -> Option<HeaderValue> {
        let lock = self.lock.as_ref().filter(|lock| lock.opens(token))?;
        lock.cookie(&lock.session, SESSION_SECONDS)
    }

    /// The cookie that ends a session.
    pub(in crate::view) fn logout(&self) -> Option<HeaderValue> {
        self.lock.as_ref()?.cookie("", 0)
    }
}

impl TokenHashes {
    fn opens(&self, token: &str) -> bool {
        is_same(&hash(token), &self.token)
    }

    fn cookie(&self, value: &str, seconds: u32) -> Option<HeaderValue> {
        let text = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict", self.cookie);
        HeaderValue::try_from(text).ok()
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn locked() -> TokenAccess {
        TokenAccess::locked(&SecretString::from(TOKEN), 8080).expect("it is strong")
    }

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn only_the_whole_token_opens() {
        let access = locked();
        assert!(access.admits(&with(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))));
        assert!(access.admits(&with(header::AUTHORIZATION, &format!("bearer {TOKEN}"))));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdef012",
            "Bearer 0123456789abcdef01234",
            "Basic 0123456789abcdef0123",
        ] {
            assert!(!access.admits(&with(header::AUTHORIZATION, wrong)), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
        assert!(TokenAccess::open().admits(&HeaderMap::new()));
    }

    #[test]
    fn a_session_is_given_for_the_token_and_is_not_the_token() {
        let access = locked();
        assert!(access.login("wrong").is_none());
        let cookie = access.login(TOKEN).expect("the right one");
        let cookie = cookie.to_str().expect("text");
        assert!(
            !cookie.contains(TOKEN) && cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        let pair = cookie.split(';').next().expect("a pair");
        assert!(access.admits(&with(header::COOKIE, &format!("a=b; {pair}"))));
        assert!(!locked().admits(&with(header::COOKIE, pair)), "another server has another secret");
        assert!(!access.admits(&with(header::COOKIE, "distcomp_8080=")));
    }

    #[test]
    fn what_can_be_guessed_is_no_token() {
        for weak in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdefä"] {
            assert!(TokenAccess::locked(&SecretString::from(weak), 1).is_err(), "{weak}");
        }
    }
}
