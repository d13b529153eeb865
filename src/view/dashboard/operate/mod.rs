//! What an operator does from the pages, where the server was started with `--allow-actions`. Without that flag nothing of this is reachable.
//!
//! An order goes the way of `distcomp-ctl`: it is prepared, which selects the tasks and changes nothing; its page says what would change and asks; and
//! only a form of that page, sent by the session that prepared it, carries it out, once. The work itself is done outside, by an [`OrderDesk`].

mod console;
mod desk;
mod handlers;
mod order;
mod order_page;
mod orders;

pub use desk::{CarryOut, OrderDesk, OrderFuture, Prepared};
pub(super) use handlers::routes;
pub use order::{Order, OrderTarget, OrderVerb};
pub(super) use orders::Orders;
