//! The bounded HTTP server under the dashboard and the metrics pages, and the checks that every request passes.

mod access;
mod host_guard;
mod operator_access;
mod server;
mod write_deadline;

pub use access::{MIN_TOKEN, TokenAccess, WeakToken};
pub use host_guard::{HostGuard, is_loopback};
pub(in crate::view) use host_guard::{check, refuse};
pub(in crate::view) use operator_access::Operator;
pub use operator_access::OperatorAccess;
pub use server::{ServerLimits, serve};
