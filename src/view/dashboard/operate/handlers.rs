//! The addresses of an operator, and what each request of his must have: a session of his own, and to change something a form of ours from the same
//! origin.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::Router;
use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::console::{ConsolePage, OperatorLoginPage};
use super::order::Order;
use super::order_page::OrderPage;
use super::orders::{Orders, Progress};
use crate::view::dashboard::app_state::AppState;
use crate::view::dashboard::pages::MessagePage;
use crate::view::web::{Operator, OperatorAccess, refuse};

/// What guessing costs.
const PENALTY: Duration = Duration::from_millis(500);

/// The state of these addresses.
struct OperateState {
    app: Arc<AppState>,
    access: Arc<OperatorAccess>,
    orders: Orders,
}

/// The addresses, for a server that may change the queue.
pub(in crate::view::dashboard) fn routes(app: Arc<AppState>, access: Arc<OperatorAccess>, orders: Orders) -> Router {
    let state = Arc::new(OperateState { app, access, orders });
    Router::new()
        .route("/operate", get(console))
        .route("/operate/login", post(login))
        .route("/operate/logout", post(logout))
        .route("/operate/order/{id}", get(show).post(carry_out))
        .route("/operate/{verb}", get(prepare))
        .route_layer(middleware::from_fn(same_origin))
        .with_state(state)
}

/// Why a request is refused.
struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refuse(self.0, self.1)
    }
}

/// What a browser says of where a request comes from. A link from elsewhere may open the first page, and nothing else.
async fn same_origin(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_ours = matches!(from, None | Some(b"same-origin"))
        || (from == Some(b"none".as_slice()) && request.method().is_safe())
        || (request.uri().path() == "/operate" && request.method().is_safe());
    if is_ours {
        return next.run(request).await;
    }
    refuse(StatusCode::FORBIDDEN, "the request comes from another site; open the dashboard itself")
}

/// The operator of a request, or its refusal.
fn operator(state: &OperateState, headers: &HeaderMap) -> Result<Operator, Refusal> {
    if let Some(operator) = state.access.operator(headers) {
        return Ok(operator);
    }
    if state.access.has_token(headers) {
        let why = "actions need a session in a browser, which /operate begins; programs use distcomp-ctl";
        return Err(Refusal(StatusCode::FORBIDDEN, why));
    }
    if state.app.access.is_locked() && state.app.is_viewer(headers) {
        return Err(Refusal(StatusCode::FORBIDDEN, "a viewer may not do this; /operate asks for the operator's token"));
    }
    Err(Refusal(StatusCode::UNAUTHORIZED, "the operator's token is required; /operate asks for it"))
}

/// Whether somebody looks at the answer.
fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The query of `/operate`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConsoleQuery {
    next: String,
}

/// Where to go after the form: one of our own addresses.
fn next_of(text: &str) -> &str {
    let is_ours = text.starts_with("/operate") && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { text } else { "/operate" }
}

/// `GET /operate`.
async fn console(State(state): State<Arc<OperateState>>, headers: HeaderMap, query: Query<ConsoleQuery>) -> Response {
    let page = state.app.page("Operate").await;
    match state.access.operator(&headers) {
        Some(operator) => {
            // Without them, where Redis does not answer.
            let batches = state.app.batches().await.unwrap_or_default();
            ConsolePage::new(page, &operator, &batches, &state.orders.all()).respond()
        }
        None => OperatorLoginPage::new(next_of(&query.next), false).respond(StatusCode::OK),
    }
}

/// The body of `POST /operate/login`.
#[derive(Deserialize)]
struct LoginForm {
    token: String,
    name: String,
    #[serde(default)]
    next: String,
}

/// `POST /operate/login`.
async fn login(State(state): State<Arc<OperateState>>, Form(shown): Form<LoginForm>) -> Response {
    let next = next_of(&shown.next);
    match state.access.login(shown.token.trim(), shown.name.trim()) {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
        None => {
            tokio::time::sleep(PENALTY).await;
            OperatorLoginPage::new(next, true).respond(StatusCode::UNAUTHORIZED)
        }
    }
}

/// What every form that changes something has.
#[derive(Deserialize)]
struct SignedForm {
    /// The secret of the session.
    #[serde(default)]
    form: String,
    /// What was typed.
    #[serde(default)]
    confirm: String,
}

/// The operator of a form, or its refusal.
fn operator_of_form(state: &OperateState, headers: &HeaderMap, shown: &SignedForm) -> Result<Operator, Refusal> {
    let operator = operator(state, headers)?;
    if operator.made(&shown.form) {
        return Ok(operator);
    }
    Err(Refusal(StatusCode::FORBIDDEN, "this form was not made for your session; open the page again"))
}

/// `POST /operate/logout`.
async fn logout(
    State(state): State<Arc<OperateState>>,
    headers: HeaderMap,
    Form(shown): Form<SignedForm>,
) -> Result<Response, Refusal> {
    let operator = operator_of_form(&state, &headers, &shown)?;
    let cookie = state.access.logout(&operator);
    Ok((cookie.map(|cookie| [(header::SET_COOKIE, cookie)]), Redirect::to("/operate")).into_response())
}

/// `GET /operate/VERB`: looks into an order, and changes nothing.
async fn prepare(
    State(state): State<Arc<OperateState>>,
    headers: HeaderMap,
    Path(verb): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let operator = match operator(&state, &headers) {
        Ok(operator) => operator,
        Err(refusal) if !wants_page(&headers) => return refusal.into_response(),
        Err(_) => {
            let here = format!("/operate/{verb}?{query}");
            let next = form_urlencoded::Serializer::new(String::new()).append_pair("next", &here).finish();
            return Redirect::to(&format!("/operate?{next}")).into_response();
        }
    };
    let order = match Order::parse(&verb, &query) {
        Ok(order) => order,
        Err(why) => {
            let page = state.app.page("Operate").await;
            return MessagePage::new(page, "Not possible", &why).respond(StatusCode::BAD_REQUEST);
        }
    };
    match state.orders.prepare(order, &operator.name, operator.session) {
        Some(entry) => Redirect::to(&format!("/operate/order/{}", entry.id)).into_response(),
        None => {
            let page = state.app.page("Operate").await;
            MessagePage::new(page, "Not now", "Too many actions are under way.")
                .respond(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// `GET /operate/order/ID`.
async fn show(State(state): State<Arc<OperateState>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let operator = match operator(&state, &headers) {
        Ok(operator) => operator,
        Err(refusal) if !wants_page(&headers) => return refusal.into_response(),
        Err(_) => return Redirect::to("/operate").into_response(),
    };
    let page = state.app.page("Operate").await;
    match state.orders.find(&id, &operator.session) {
        Some(entry) => OrderPage::new(page, &operator, &entry, false).respond(StatusCode::OK),
        None => MessagePage::new(
            page,
            "No such action",
            "It is not known any more, or somebody else's. Nothing was changed by this page.",
        )
        .respond(StatusCode::NOT_FOUND),
    }
}

/// `POST /operate/order/ID`: the only request that changes the queue.
async fn carry_out(
    State(state): State<Arc<OperateState>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(shown): Form<SignedForm>,
) -> Result<Response, Refusal> {
    let operator = operator_of_form(&state, &headers, &shown)?;
    let Some(entry) = state.orders.find(&id, &operator.session) else {
        return Err(Refusal(StatusCode::NOT_FOUND, "there is no such action"));
    };
    let page = state.app.page("Operate").await;
    let Progress::Asking(question) = entry.progress() else {
        return Ok(OrderPage::new(page, &operator, &entry, false).respond(StatusCode::CONFLICT));
    };
    if entry.order.is_final() && shown.confirm.trim() != OrderPage::words(&question) {
        return Ok(OrderPage::new(page, &operator, &entry, true).respond(StatusCode::UNPROCESSABLE_ENTITY));
    }
    if question.count == 0 || !state.orders.carry_out(&entry) {
        return Ok(OrderPage::new(page, &operator, &entry, false).respond(StatusCode::CONFLICT));
    }
    Ok(Redirect::to(&format!("/operate/order/{id}")).into_response())
}
