//! Who does what an operator orders.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::Order;

/// An answer that is on its way; an error is a whole sentence.
pub type OrderFuture<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// What carries an order out in the name of somebody, and says what was done.
pub type CarryOut = Box<dyn FnOnce(String) -> OrderFuture<String> + Send>;

/// An order that has been looked into. Nothing has changed yet.
pub struct Prepared {
    /// What would be done: `requeue 120 failed tasks (exit 3)`.
    pub what: String,
    /// How many tasks, workers or batches; 0 = there is nothing to do.
    pub count: u64,
    /// The first few of the tasks.
    pub examples: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Does it.
    pub carry_out: CarryOut,
}

/// Looks into orders.
pub trait OrderDesk: Send + Sync + 'static {
    /// Finds what an order would change, and changes nothing.
    fn prepare(self: Arc<Self>, order: Order) -> OrderFuture<Prepared>;
}
