//! `distcomp-status`: shows the queue and changes nothing.

mod args;
mod batch_page;
mod batches;
mod console_writer;
mod context;
mod events;
mod exact_stdout;
mod explain;
mod export;
mod failures;
mod learnt;
mod list;
mod logs;
mod operator_desk;
mod output_stream;
mod printer;
mod redis_source;
mod run;
mod serve;
mod show;
mod signature;
mod state;
mod wait;
mod watch;
mod watch_lists;
mod watch_orders;
mod watch_reader;

pub use args::StatusArgs;
pub(crate) use exact_stdout::{ExactStdout, StdoutSource};
pub(crate) use export::no_formula;
pub use run::main;
