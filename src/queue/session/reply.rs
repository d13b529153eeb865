//! Reads the values of a script's reply.

use std::time::Duration;

use crate::queue::QueueError;

pub(in crate::queue) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 12).min(u64::MAX >> 12)
}

/// A flat array answered by a script.
pub(in crate::queue) struct Reply(Vec<redis::Value>);

impl Reply {
    /// # Errors
    /// [`QueueError::Fenced`] when the script answered so.
    pub(in crate::queue) fn new(values: Vec<redis::Value>) -> Result<Self, QueueError> {
        let reply = Self(values);
        if reply.0.first().is_some_and(|first| matches!(first, redis::Value::BulkString(text) if text == b"FENCED")) {
            return Err(QueueError::Fenced);
        }
        Ok(reply)
    }

    pub(in crate::queue) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::queue) fn text(&self, i: usize) -> Result<String, QueueError> {
        match self.0.get(i) {
            Some(redis::Value::BulkString(bytes)) => {
                String::from_utf8(bytes.clone()).map_err(|_| QueueError::Protocol(format!("answer {i} is not UTF-8")))
            }
            Some(redis::Value::SimpleString(text)) => Ok(text.clone()),
            other => Err(QueueError::Protocol(format!("answer {i} is {other:?}, not text"))),
        }
    }

    /// Any bytes; `None` for an empty text.
    pub(in crate::queue) fn bytes(&self, i: usize) -> Result<Option<Vec<u8>>, QueueError> {
        match self.0.get(i) {
            Some(redis::Value::BulkString(bytes)) => Ok(Some(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            other => Err(QueueError::Protocol(format!("answer {i} is {other:?}, not text"))),
        }
    }

    pub(in crate::queue) fn number(&self, i: usize) -> Result<i64, QueueError> {
        match self.0.get(i) {
            Some(redis::Value::Int(number)) => Ok(*number),
            other => Err(QueueError::Protocol(format!("answer {i} is {other:?}, not a number"))),
        }
    }

    pub(in crate::queue) fn count(&self, i: usize) -> Result<u64, QueueError> {
        Ok(u64::try_from(self.number(i)?).unwrap_or(0))
    }
}
