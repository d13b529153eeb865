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
        if !is_strong(token) {
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
        if headers.contains_key(header::AUTHORIZATION) {
            return bearer(headers).is_some_and(|token| lock.opens(token));
        }
        cookies(headers, &lock.cookie).any(|value| is_same(&hash(value), &hash(&lock.session)))
    }

    /// The cookie for somebody who may look because he may do more.
    pub(in crate::view) fn session(&self) -> Option<HeaderValue> {
        let lock = self.lock.as_ref()?;
        cookie(&lock.cookie, &lock.session, SESSION_SECONDS)
    }

    /// The cookie for somebody who shows the right token.
    pub(in crate::view) fn login(&self, token: &str) -> Option<HeaderValue> {
        let lock = self.lock.as_ref().filter(|lock| lock.opens(token))?;
        cookie(&lock.cookie, &lock.session, SESSION_SECONDS)
    }

    /// The cookie that ends a session.
    pub(in crate::view) fn logout(&self) -> Option<HeaderValue> {
        cookie(&self.lock.as_ref()?.cookie, "", 0)
    }
}

impl TokenHashes {
    fn opens(&self, token: &str) -> bool {
        is_same(&hash(token), &self.token)
    }
}

/// A cookie that scripts cannot read and that no other site makes a browser send.
pub(super) fn cookie(name: &str, value: &str, seconds: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict")).ok()
}

/// The values of a cookie in a request.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

/// The token that a program shows.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether a token cannot be guessed.
pub(super) fn is_strong(token: &str) -> bool {
    token.len() >= MIN_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// 256 bits that nobody can guess, in hex; `None` where the system has none to give.
pub(super) fn random_text() -> Option<String> {
    let mut bytes = [0; 32];
    random::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

pub(super) fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
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
