//! A dashboard under a path of a proxy, such as `/distcomp`. Everything inside knows only of `/`: the path is taken off what comes in, and put
//! before the addresses of what goes out. In a page, no text of anybody can look like an attribute, since its quotes are escaped.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

/// Bytes of a page at most.
const PAGE: usize = 32 << 20;

/// Where the pages are; empty for `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// A path that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("valid: a path like /distcomp, of A-Z a-z 0-9 . _ ~ -")]
pub struct BadBasePath;

impl std::str::FromStr for BasePath {
    type Err = BadBasePath;

    fn from_str(text: &str) -> Result<Self, BadBasePath> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_part = |part: &str| {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte));
            !part.is_empty() && is_plain && part != "." && part != ".."
        };
        match path.strip_prefix('/') {
            None if text == "/" => Ok(Self::default()),
            Some(parts) if path.len() <= 200 && parts.split('/').all(is_part) => Ok(Self(path.to_owned())),
            Some(_) | None => Err(BadBasePath),
        }
    }
}

impl std::fmt::Display for BasePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/", self.0)
    }
}

impl BasePath {
    /// The address inside of one that was asked for; `None` for the path itself without its slash.
    fn inside(&self, uri: &Uri) -> Option<Uri> {
        let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        match whole.strip_prefix(&self.0) {
            Some(rest) if rest.starts_with('/') => rest.parse().ok(),
            Some(rest) if rest.is_empty() || rest.starts_with('?') => None,
            // A proxy may take the path off itself, and programs may come without it.
            Some(_) | None => Some(uri.clone()),
        }
    }

    /// The address inside of one that may have this path before it, as those have that come from an address bar.
    pub(super) fn within<'a>(&self, address: &'a str) -> &'a str {
        address.strip_prefix(&self.0).filter(|rest| rest.starts_with('/')).unwrap_or(address)
    }

    /// The same text with this path after each `before` that a path follows.
    fn in_text(&self, text: &str, before: &str) -> String {
        text.replace(&format!("{before}/"), &format!("{before}{}/", self.0))
    }

    /// The same page with this path before every address in its attributes.
    fn in_page(&self, page: &str) -> String {
        const BEFORE: &str = "=\"/";
        let mut whole = String::with_capacity(page.len() + page.len() / 16);
        let mut from = 0;
        for (at, _) in page.match_indices(BEFORE) {
            let name = page[..at].rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
            if matches!(name, "href" | "src" | "action") || name.starts_with("data-") {
                let end = at + BEFORE.len() - 1;
                whole.push_str(&page[from..end]);
                whole.push_str(&self.0);
                from = end;
            }
        }
        whole.push_str(&page[from..]);
        whole
    }
}

/// The site under its path.
pub(super) fn under(base: Arc<BasePath>, site: Router) -> Router {
    if base.0.is_empty() {
        return site;
    }
    let site = TowerToHyperService::new(site);
    Router::new().fallback(async move |mut request: Request| -> Response {
        match base.inside(request.uri()) {
            Some(inside) => {
                *request.uri_mut() = inside;
                match site.call(request).await {
                    Ok(response) => response,
                }
            }
            None => Redirect::permanent(&base.to_string()).into_response(),
        }
    })
}

/// The layer that puts the path before the addresses of a response.
pub(super) async fn outward(State(base): State<Arc<BasePath>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if base.0.is_empty() {
        return response;
    }
    let headers = response.headers_mut();
    let rewritten = |value: &HeaderValue, before: &str| {
        let text = value.to_str().ok()?;
        HeaderValue::try_from(base.in_text(text, before)).ok()
    };
    if let Some(value) = headers.get(header::LOCATION)
        && let Some(text) = value.to_str().ok().filter(|text| text.starts_with('/'))
        && let Ok(value) = HeaderValue::try_from(format!("{}{text}", base.0))
    {
        headers.insert(header::LOCATION, value);
    }
    let cookies: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter_map(|value| rewritten(value, "Path=")).collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let change: fn(&BasePath, &str) -> String = match kind.split(';').next().unwrap_or_default() {
        "text/html" => BasePath::in_page,
        "application/json" => |base, text| base.in_text(text, "\"href\":\""),
        _ => return response,
    };
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, PAGE).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let Ok(text) = std::str::from_utf8(&bytes) else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Bytes::from(change(&base, text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BasePath {
        text.parse().expect("a path")
    }

    #[test]
    fn only_plain_paths_are_taken() {
        assert_eq!((base("/"), base("/a/"), base("/a/b.c")), (BasePath::default(), base("/a"), base("/a/b.c/")));
        for bad in ["", "a", "//", "//evil", "/a//b", "/a/../b", "/..", "/a b", "/a\"b", "/a?b", "/é"] {
            assert_eq!(bad.parse::<BasePath>(), Err(BadBasePath), "{bad}");
        }
    }

    #[test]
    fn the_path_is_taken_off_where_it_is_the_whole_beginning() {
        let inside = |uri: &str| base("/d").inside(&uri.parse().expect("a uri")).map(|uri| uri.to_string());
        assert_eq!(inside("/d/tasks?state=failed").as_deref(), Some("/tasks?state=failed"));
        assert_eq!(inside("/d/").as_deref(), Some("/"));
        assert_eq!((inside("/d"), inside("/d?x=1")), (None, None));
        assert_eq!(inside("/data").as_deref(), Some("/data"));
        assert_eq!(inside("/metrics").as_deref(), Some("/metrics"));
    }

    #[test]
    fn an_address_with_the_path_before_it_is_the_one_inside() {
        for (outside, inside) in
            [("/d/tasks?x=1", "/tasks?x=1"), ("/tasks", "/tasks"), ("/data", "/data"), ("/d/", "/")]
        {
            assert_eq!(base("/d").within(outside), inside);
        }
        assert_eq!(base("/").within("/tasks"), "/tasks");
        assert_eq!(base("/d").within("/d//evil.example"), "//evil.example", "which page_of refuses");
    }

    #[test]
    fn addresses_of_a_page_change_and_its_text_does_not() {
        let page =
            r#"<html data-root="/"><a href="/">x</a> say href=&#34;/b&#34; <form title="/ searches" action="/login">"#;
        let wanted = r#"<html data-root="/d/"><a href="/d/">x</a> say href=&#34;/b&#34; <form title="/ searches" action="/d/login">"#;
        assert_eq!(base("/d").in_page(page), wanted);
        let json = r#"{"href":"/batch/a","told":"\"href\":\"/x"}"#;
        assert_eq!(base("/d").in_text(json, "\"href\":\""), r#"{"href":"/d/batch/a","told":"\"href\":\"/x"}"#);
    }
}
