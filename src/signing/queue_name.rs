//! The name of a queue, as signatures know it.

/// Which queue a signature is for. One made for another is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueName {
    /// The random identity that the queue has recorded, so that one server is the same queue by whatever address it is reached.
    pub id: String,
    /// Number of the database.
    pub db: u32,
    /// `redis_key_prefix`.
    pub prefix: String,
}
