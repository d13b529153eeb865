//! For `#[serde(with = "raw_bytes")]`: paths and arguments in messages are bytes, because they need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

/// A type that contains paths or arguments.
pub(super) trait Raw: Sized {
    /// Its form in a message, borrowed.
    type Sent<'a>: Serialize
    where
        Self: 'a;
    /// Its form in a message, owned.
    type Received: DeserializeOwned;

    fn to_sent(&self) -> Self::Sent<'_>;
    fn of_received(received: Self::Received) -> Self;
}

pub(super) fn serialize<T: Raw, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.to_sent().serialize(serializer)
}

pub(super) fn deserialize<'a, T: Raw, D: Deserializer<'a>>(deserializer: D) -> Result<T, D::Error> {
    T::Received::deserialize(deserializer).map(T::of_received)
}

impl Raw for OsString {
    type Sent<'a> = &'a Bytes;
    type Received = ByteBuf;

    fn to_sent(&self) -> &Bytes {
        Bytes::new(self.as_bytes())
    }

    fn of_received(received: ByteBuf) -> Self {
        Self::from_vec(received.into_vec())
    }
}

impl Raw for PathBuf {
    type Sent<'a> = &'a Bytes;
    type Received = ByteBuf;

    fn to_sent(&self) -> &Bytes {
        Bytes::new(self.as_os_str().as_bytes())
    }

    fn of_received(received: ByteBuf) -> Self {
        OsString::of_received(received).into()
    }
}

impl<T: Raw> Raw for Vec<T> {
    type Sent<'a>
        = Vec<T::Sent<'a>>
    where
        T: 'a;
    type Received = Vec<T::Received>;

    fn to_sent(&self) -> Vec<T::Sent<'_>> {
        self.iter().map(T::to_sent).collect()
    }

    fn of_received(received: Self::Received) -> Self {
        received.into_iter().map(T::of_received).collect()
    }
}

impl<T: Raw> Raw for Option<T> {
    type Sent<'a>
        = Option<T::Sent<'a>>
    where
        T: 'a;
    type Received = Option<T::Received>;

    fn to_sent(&self) -> Option<T::Sent<'_>> {
        self.as_ref().map(T::to_sent)
    }

    fn of_received(received: Self::Received) -> Self {
        received.map(T::of_received)
    }
}

/// The path of an output, or why there is none.
impl<T: Raw> Raw for Result<T, String> {
    type Sent<'a>
        = Result<T::Sent<'a>, &'a str>
    where
        T: 'a;
    type Received = Result<T::Received, String>;

    fn to_sent(&self) -> Self::Sent<'_> {
        self.as_ref().map(T::to_sent).map_err(String::as_str)
    }

    fn of_received(received: Self::Received) -> Self {
        received.map(T::of_received)
    }
}
