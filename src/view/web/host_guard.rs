//! Checks the `Host` of a request, which must be a name of ours, so that a page that has rebound its own name to our address is refused, and
//! its `Origin`, which must be ours if it is present. Every response gets the headers that keep a browser from running anything but our files.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Only our own files: no inline script or style, no frame around us, no form to anywhere else, no text taken for markup by a script.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Which hosts are ours.
#[derive(Clone, Debug)]
pub struct HostGuard {
    listens: IpAddr,
    names: Vec<String>,
}

impl HostGuard {
    /// For a server that listens on this address and is known by these names besides.
    #[must_use]
    pub fn new(listens: SocketAddr, names: &[String]) -> Self {
        Self { listens: listens.ip(), names: names.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether `host`, with or without a port, is a name of ours. The port does not count: a tunnel may end on another one.
    fn knows(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        if self.names.contains(&name) {
            return true;
        }
        if name == "localhost" {
            return self.listens.is_loopback() || self.listens.is_unspecified();
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
        let Ok(ip) = bare.parse::<IpAddr>() else { return false };
        // Rebinding needs a name; an address is what the person typed. Listening everywhere, all of them are ours.
        ip == self.listens || self.listens.is_unspecified() || (ip.is_loopback() && self.listens.is_loopback())
    }

    /// Why a request is refused, if it is.
    fn objection(&self, method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Some((StatusCode::BAD_REQUEST, "exactly one Host header is required"));
        };
        if !self.knows(host) {
            return Some((StatusCode::FORBIDDEN, "this host name is not allowed; --allowed-host NAME allows it"));
        }
        let is_reading = method == Method::GET || method == Method::HEAD;
        match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
            None if is_reading => None,
            Some(Ok(origin)) if is_of(origin, host) => None,
            None | Some(_) => Some((StatusCode::FORBIDDEN, "the request comes from another origin")),
        }
    }
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// Whether an origin is that of the host the request was sent to, port and all.
fn is_of(origin: &str, host: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

/// Whether an address is reached from this machine alone.
#[must_use]
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// The layer around everything: refuses what [`HostGuard`] objects to and adds the headers.
pub(in crate::view) async fn check(State(guard): State<Arc<HostGuard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.objection(request.method(), request.headers()) {
        Some((status, why)) => refuse(status, why),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: a browser then hides the origin of our own form as well.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A refusal in a line of plain text.
pub(in crate::view) fn refuse(status: StatusCode, why: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from(format!("{why}\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(listens: &str, names: &[&str]) -> HostGuard {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        HostGuard::new(listens.parse().expect("an address"), &names)
    }

    #[test]
    fn a_name_that_is_not_ours_is_a_rebound_one() {
        let local = guard("127.0.0.1:8080", &["monitor.lab"]);
        for host in ["127.0.0.1:8080", "localhost:9000", "LocalHost", "[::1]:8080", "monitor.lab", "Monitor.Lab:80"] {
            assert!(local.knows(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "[::1",
            "localhost:x",
        ] {
            assert!(!local.knows(host), "{host}");
        }
        let everywhere = guard("0.0.0.0:8080", &[]);
        assert!(
            everywhere.knows("10.0.0.1:8080") && everywhere.knows("localhost") && !everywhere.knows("evil.example")
        );
        let one = guard("10.0.0.1:8080", &[]);
        assert!(one.knows("10.0.0.1:8080") && !one.knows("10.0.0.2") && !one.knows("localhost"));
    }

    #[test]
    fn another_origin_is_refused_and_a_change_needs_one() {
        let guard = guard("127.0.0.1:8080", &[]);
        let objects = |method: Method, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a value"));
            }
            guard.objection(&method, &headers).is_some()
        };
        assert!(!objects(Method::GET, None) && objects(Method::POST, None));
        assert!(
            !objects(Method::POST, Some("http://localhost:8080"))
                && !objects(Method::GET, Some("https://localhost:8080"))
        );
        for foreign in ["http://evil.example", "http://localhost:8081", "http://localhost", "null", "localhost:8080"] {
            assert!(objects(Method::POST, Some(foreign)) && objects(Method::GET, Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn one_host_and_only_one() {
        let guard = guard("127.0.0.1:8080", &[]);
        let mut headers = HeaderMap::new();
        assert!(guard.objection(&Method::GET, &headers).is_some());
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(guard.objection(&Method::GET, &headers).is_none());
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(guard.objection(&Method::GET, &headers).is_some());
    }
}
