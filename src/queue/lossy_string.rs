//! Text from Redis in which invalid UTF-8 is replaced, so that one bad value does not make a whole reply unreadable.

use std::collections::HashMap;

use redis::{FromRedisValue, ParsingError, Value};

/// Text in which every byte that is no UTF-8 has become `U+FFFD`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LossyString(pub(super) String);

impl FromRedisValue for LossyString {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        if let Value::BulkString(bytes) = value {
            return Ok(Self(String::from_utf8_lossy(&bytes).into_owned()));
        }
        String::from_redis_value(value).map(Self)
    }
}

/// A hash, as text.
pub(super) fn hash(found: HashMap<LossyString, LossyString>) -> HashMap<String, String> {
    found.into_iter().map(|(LossyString(field), LossyString(value))| (field, value)).collect()
}

/// A list, as text.
pub(super) fn list(found: Vec<LossyString>) -> Vec<String> {
    found.into_iter().map(|LossyString(text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_stands_beside_what_is() {
        let bytes = |text: &[u8]| Value::BulkString(text.to_vec());
        let answer = Value::Array([&b"a"[..], b"1", b"\xff", b"b\xfe"].map(bytes).to_vec());
        let read = hash(redis::from_redis_value(answer.clone()).expect("a hash"));
        assert_eq!((read["a"].as_str(), read["\u{fffd}"].as_str()), ("1", "b\u{fffd}"));
        assert_eq!(list(redis::from_redis_value(answer).expect("a list")), ["a", "1", "\u{fffd}", "b\u{fffd}"]);
        assert!(redis::from_redis_value::<Option<LossyString>>(Value::Nil).expect("nothing").is_none());
        assert!(redis::from_redis_value::<LossyString>(Value::Array(Vec::new())).is_err());
    }
}
