//! The reply of a script, and how each type of value is read from it.

use super::error::QueueError;

/// A flat array that a script has returned.
pub(super) struct Reply(Vec<redis::Value>);

/// A record of `records.rs` that a script returns.
pub(super) trait ReplyRecord: Sized {
    /// How many values it has.
    const SIZE: usize;

    /// Reads its fields, in the order of the table, from this position on.
    ///
    /// # Errors
    /// [`QueueError::Protocol`] when a value is missing or of another type.
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError>;
}

/// A value that can be read from a reply.
pub(super) trait ReplyValue: Sized {
    /// Reads the value at a position.
    ///
    /// # Errors
    /// [`QueueError::Protocol`] when it is missing or of another type.
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError>;
}

impl Reply {
    /// # Errors
    /// [`QueueError::Fenced`] when the script returned that.
    pub(super) fn new(values: Vec<redis::Value>) -> Result<Self, QueueError> {
        let reply = Self(values);
        if reply.0.first().is_some_and(|first| matches!(first, redis::Value::BulkString(text) if text == b"FENCED")) {
            return Err(QueueError::Fenced);
        }
        Ok(reply)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The record at the beginning.
    pub(super) fn head<T: ReplyRecord>(&self) -> Result<T, QueueError> {
        T::read(self, 0)
    }

    /// The records from this position to the end; an incomplete last one is left out.
    pub(super) fn rows<T: ReplyRecord>(&self, from: usize) -> impl Iterator<Item = Result<T, QueueError>> {
        (from..(self.len() + 1).saturating_sub(T::SIZE)).step_by(T::SIZE).map(|at| T::read(self, at))
    }

    pub(super) fn text(&self, at: usize) -> Result<String, QueueError> {
        match self.0.get(at) {
            Some(redis::Value::BulkString(bytes)) => {
                String::from_utf8(bytes.clone()).map_err(|_| QueueError::Protocol(format!("answer {at} is not UTF-8")))
            }
            Some(redis::Value::SimpleString(text)) => Ok(text.clone()),
            other => Err(QueueError::Protocol(format!("answer {at} is {other:?}, not text"))),
        }
    }
}

impl ReplyValue for String {
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
        reply.text(at)
    }
}

/// Any bytes; `None` for an empty text.
impl ReplyValue for Option<Vec<u8>> {
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
        match reply.0.get(at) {
            Some(redis::Value::BulkString(bytes)) => Ok(Some(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            other => Err(QueueError::Protocol(format!("answer {at} is {other:?}, not text"))),
        }
    }
}

impl ReplyValue for i64 {
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
        match reply.0.get(at) {
            Some(redis::Value::Int(number)) => Ok(*number),
            other => Err(QueueError::Protocol(format!("answer {at} is {other:?}, not a number"))),
        }
    }
}

/// A count; what is below zero is zero.
impl ReplyValue for u64 {
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
        Ok(Self::try_from(i64::read(reply, at)?).unwrap_or(0))
    }
}

impl ReplyValue for bool {
    fn read(reply: &Reply, at: usize) -> Result<Self, QueueError> {
        Ok(i64::read(reply, at)? == 1)
    }
}
