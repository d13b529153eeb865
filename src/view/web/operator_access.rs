//! The operator of a server that may change the queue: a token of his own, a session for each time that it is shown, and in each session a second
//! secret that every form of ours carries. A site that makes a browser send something knows neither.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::access::{WeakToken, bearer, cookie, cookies, hash, is_same, is_strong, random_text};

/// How long a session lasts without being used.
const IDLE: Duration = Duration::from_secs(3600);

/// How long it lasts in all.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Sessions at once; a further one ends the one that was used longest ago.
const SESSIONS: usize = 64;

/// Characters of a name.
const NAME: usize = 40;

/// Who may change the queue.
pub struct OperatorAccess {
    token: [u8; 32],
    cookie: String,
    /// By the hash of what the cookie holds.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    name: String,
    form_secret: String,
    began: Instant,
    used: Instant,
}

/// Somebody who has shown the token.
#[derive(Clone)]
pub(in crate::view) struct Operator {
    /// The name that he gave; it is recorded with what he does.
    pub(in crate::view) name: String,
    /// What every form carries.
    pub(in crate::view) form_secret: String,
    /// Tells his session from others.
    pub(in crate::view) session: [u8; 32],
}

impl Operator {
    /// Whether a form is one that we made for this session.
    pub(in crate::view) fn made(&self, shown: &str) -> bool {
        is_same(&hash(shown), &hash(&self.form_secret))
    }
}

impl OperatorAccess {
    /// With this token. `port` keeps the sessions of two servers of one host apart.
    ///
    /// # Errors
    /// [`WeakToken`].
    pub fn new(token: &SecretString, port: u16) -> Result<Self, WeakToken> {
        let token = token.expose_secret();
        if !is_strong(token) {
            return Err(WeakToken);
        }
        Ok(Self { token: hash(token), cookie: format!("distcomp_operator_{port}"), sessions: Mutex::default() })
    }

    /// Whether this is the token.
    pub(in crate::view) fn opens(&self, token: &str) -> bool {
        is_same(&hash(token), &self.token)
    }

    /// Whether a program shows the token; that lets it look, not act.
    pub(in crate::view) fn has_token(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| self.opens(token))
    }

    /// Begins a session; the cookie of it. `None` for a wrong token or a name that is none.
    pub(in crate::view) fn login(&self, token: &str, name: &str) -> Option<HeaderValue> {
        if !self.opens(token) || !is_name(name) {
            return None;
        }
        let (value, form_secret) = (random_text()?, random_text()?);
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.lasts(now));
        while sessions.len() >= SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.and_then(|key| sessions.remove(&key));
        }
        let cookie = cookie(&self.cookie, &value, u32::try_from(LIFE.as_secs()).unwrap_or(u32::MAX));
        sessions.insert(hash(&value), Session { name: name.to_owned(), form_secret, began: now, used: now });
        cookie
    }

    /// Whose session a request belongs to.
    pub(in crate::view) fn operator(&self, headers: &HeaderMap) -> Option<Operator> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.lasts(now));
        // Found by its hash: how long that takes tells nothing of the value.
        let key = cookies(headers, &self.cookie).map(hash).find(|key| sessions.contains_key(key))?;
        let session = sessions.get_mut(&key)?;
        session.used = now;
        Some(Operator { name: session.name.clone(), form_secret: session.form_secret.clone(), session: key })
    }

    /// Ends a session; the cookie that takes it from the browser.
    pub(in crate::view) fn logout(&self, operator: &Operator) -> Option<HeaderValue> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&operator.session);
        cookie(&self.cookie, "", 0)
    }
}

impl Session {
    fn lasts(&self, now: Instant) -> bool {
        now.duration_since(self.began) < LIFE && now.duration_since(self.used) < IDLE
    }
}

/// Names are recorded where the names of workers are.
fn is_name(name: &str) -> bool {
    (1..=NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn access() -> OperatorAccess {
        OperatorAccess::new(&SecretString::from(TOKEN), 8080).expect("it is strong")
    }

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    fn pair(cookie: &HeaderValue) -> String {
        cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned()
    }

    #[test]
    fn session_needs_token_and_name_and_ends() {
        let access = access();
        for (token, name) in [("wrong", "ann"), (TOKEN, ""), (TOKEN, "an n"), (TOKEN, "a|b"), (TOKEN, &"x".repeat(41))]
        {
            assert!(access.login(token, name).is_none(), "{token} {name}");
        }
        let cookie = access.login(TOKEN, "ann").expect("both are right");
        let text = cookie.to_str().expect("text");
        assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict") && !text.contains(TOKEN), "{text}");
        let headers = with(header::COOKIE, &format!("a=b; {}", pair(&cookie)));
        let ann = access.operator(&headers).expect("her session");
        assert_eq!(ann.name, "ann");
        access.logout(&ann);
        assert!(access.operator(&headers).is_none());
        assert!(access.operator(&with(header::COOKIE, "distcomp_operator_8080=")).is_none());
        assert!(access.has_token(&with(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))));
        assert!(access.operator(&with(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))).is_none());
    }

    #[test]
    fn each_session_has_a_form_secret_of_its_own() {
        let access = access();
        let [ann, bob] = ["ann", "bob"].map(|name| {
            let cookie = access.login(TOKEN, name).expect("a session");
            access.operator(&with(header::COOKIE, &pair(&cookie))).expect("an operator")
        });
        assert!(ann.made(&ann.form_secret) && !ann.made(&bob.form_secret) && !ann.made(""));
    }

    #[test]
    fn sessions_are_bounded() {
        let access = access();
        let first = access.login(TOKEN, "first").expect("a session");
        for _ in 0..SESSIONS {
            access.login(TOKEN, "ann").expect("a session");
        }
        assert!(access.operator(&with(header::COOKIE, &pair(&first))).is_none());
        assert_eq!(access.sessions.lock().expect("no panic").len(), SESSIONS);
    }
}
