//! The form that turns a token into a session.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::app_state::AppState;
use super::pages::LoginPage;
use crate::view::web::refuse;

/// What guessing costs.
const PENALTY: Duration = Duration::from_millis(500);

/// The body of `POST /login`.
#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// The query of `GET /login`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// The page to go to after the login: one of ours, or the overview. A browser takes a second slash, either way round, for another host, and drops
/// control characters.
fn page_of(next: &str) -> &str {
    /// Bytes of an address.
    const MOST: usize = 2000;
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= MOST
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !["/login", "/logout"].iter().any(|path| next.starts_with(path));
    if is_ours { next } else { "/" }
}

/// `GET /login`.
pub(super) async fn form(
    State(app): State<Arc<AppState>>,
    asked: Result<Query<LoginQuery>, QueryRejection>,
) -> Response {
    let asked = asked.map(|Query(asked)| asked).unwrap_or_default();
    let next = page_of(app.base.within(&asked.next));
    if !app.access.is_locked() {
        return Redirect::to(next).into_response();
    }
    LoginPage { has_failed: false, next: next.to_owned() }.respond(StatusCode::OK)
}

/// `POST /login`.
pub(super) async fn login(State(app): State<Arc<AppState>>, Form(shown): Form<LoginForm>) -> Response {
    match app.login(shown.token.trim()) {
        Some(cookie) => {
            ([(header::SET_COOKIE, cookie)], Redirect::to(page_of(app.base.within(&shown.next)))).into_response()
        }
        None => {
            tokio::time::sleep(PENALTY).await;
            LoginPage { has_failed: true, next: page_of(app.base.within(&shown.next)).to_owned() }
                .respond(StatusCode::UNAUTHORIZED)
        }
    }
}

/// `POST /logout`.
pub(super) async fn logout(State(app): State<Arc<AppState>>) -> Response {
    match app.access.logout() {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response(),
        None => Redirect::to("/").into_response(),
    }
}

/// The address of the form that leads back to what was asked for.
fn login_for(method: &Method, uri: &Uri) -> String {
    let asked = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match page_of(asked) {
        "/" => "/login".to_owned(),
        next if method == Method::GET => {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            format!("/login?{query}")
        }
        _ => "/login".to_owned(),
    }
}

/// The layer around everything that shows something of the queue.
pub(super) async fn admit(State(app): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    if app.is_viewer(request.headers()) {
        return next.run(request).await;
    }
    if request.uri().path().starts_with(super::api::PREFIX) {
        let text = "a token is required: Authorization: Bearer TOKEN".to_owned();
        return super::api::ApiError::of_status(StatusCode::UNAUTHORIZED, text).into_response();
    }
    let wants_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        return Redirect::to(&login_for(request.method(), request.uri())).into_response();
    }
    let mut refusal = refuse(StatusCode::UNAUTHORIZED, "a token is required: Authorization: Bearer TOKEN");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_ours_and_to_no_other_place() {
        for ours in ["/", "/tasks?state=failed&include=%2F%2Fx", "/task/0123456789abcdef", "/batch/s1/prep"] {
            assert_eq!(page_of(ours), ours);
        }
        for foreign in [
            "",
            "evil.example",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x",
            "/a b",
            "/é",
            "/login?next=/",
            "/logout",
            "javascript:alert(1)",
        ] {
            assert_eq!(page_of(foreign), "/", "{foreign:?}");
        }
        assert_eq!(page_of(&format!("/{}", "a".repeat(3000))), "/");
    }

    #[test]
    fn a_refused_page_is_where_the_login_leads() {
        let at = |uri: &str| login_for(&Method::GET, &uri.parse().expect("a uri"));
        assert_eq!(at("/"), "/login");
        assert_eq!(at("/tasks?state=failed&kind=exit+3"), "/login?next=%2Ftasks%3Fstate%3Dfailed%26kind%3Dexit%2B3");
        assert_eq!(login_for(&Method::POST, &"/tasks".parse().expect("a uri")), "/login");
    }
}
