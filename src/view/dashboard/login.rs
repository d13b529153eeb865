//! The form that turns a token into a session.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
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
}

/// `GET /login`.
pub(super) async fn form(State(site): State<Arc<AppState>>) -> Response {
    if !site.access.is_locked() {
        return Redirect::to("/").into_response();
    }
    LoginPage { has_failed: false }.respond(StatusCode::OK)
}

/// `POST /login`.
pub(super) async fn login(State(site): State<Arc<AppState>>, Form(shown): Form<LoginForm>) -> Response {
    match site.login(shown.token.trim()) {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => {
            tokio::time::sleep(PENALTY).await;
            LoginPage { has_failed: true }.respond(StatusCode::UNAUTHORIZED)
        }
    }
}

/// `POST /logout`.
pub(super) async fn logout(State(site): State<Arc<AppState>>) -> Response {
    match site.access.logout() {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response(),
        None => Redirect::to("/").into_response(),
    }
}

/// The layer around everything that shows something of the queue.
pub(super) async fn admit(State(site): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    if site.is_viewer(request.headers()) {
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
        return Redirect::to("/login").into_response();
    }
    let mut refusal = refuse(StatusCode::UNAUTHORIZED, "a token is required: Authorization: Bearer TOKEN");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    refusal
}
