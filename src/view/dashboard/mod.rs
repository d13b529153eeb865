//! The web dashboard: pages rendered from the latest [`Snapshot`], and a stream of its changes. A reader of Redis outside this module publishes
//! a snapshot to the [`LiveState`] once a second for all viewers. The output of a running task reaches all of its viewers through one follower
//! (`output_followers.rs`). Nothing here can change anything, except by the orders of an operator (`operate/`), on a server that was started for that.
//!
//! Script and style are hand-written, and uPlot draws the charts; no text from the queue is ever markup: templates escape, the script
//! makes text nodes, and everything goes through [`safe`](super::safe_text::safe) besides.

mod api;
mod app_state;
mod assets;
mod base_path;
mod batch_pages;
mod cache;
mod console_spans;
mod download;
mod failures_page;
mod feed;
mod figures;
mod find_page;
mod fleet;
mod gzip;
mod history;
mod history_api;
mod live_state;
mod login;
#[cfg(test)]
mod many_workers;
mod minutes;
mod moment;
mod node_history;
mod operate;
mod output_followers;
mod page;
mod pages;
mod point;
mod printed;
mod ranks;
mod routes;
mod running_facts;
mod source;
mod stream;
mod task_list;
mod task_page;
mod task_routes;
mod task_rows;
mod timeline;

pub use app_state::{AppState, QueuePlace};
pub use base_path::{BadBasePath, BasePath};
pub use live_state::{LiveState, ScrapeExtras, Snapshot};
pub use operate::{CarryOut, Order, OrderDesk, OrderFuture, OrderTarget, OrderVerb, Prepared};
pub use routes::router;
pub use source::{BATCHES, EventPage, EventRange, QueueSource, SourceError, SourceFuture, TaskDefaults, TaskSeen};
