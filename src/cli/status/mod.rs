//! `distcomp-status`: looks at the queue and changes nothing.

mod args;
mod events;
mod explain;
mod export;
mod failures;
mod feed;
mod list;
mod logs;
mod printer;
mod printing;
mod run;
mod serve;
mod session;
mod show;
mod signature;
mod watch;
mod whole;

pub use args::{StateArg, StatusArgs};
pub(crate) use list::is_of;
pub use run::main;
