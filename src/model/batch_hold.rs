//! Why nothing of a batch starts: the one place that writes and reads the text that Redis and JSON hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a batch is held. Shown as it is stored: `paused by ann`, `stopped: 101 failed, --max-fails 100`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum BatchHold {
    /// It stopped by itself, because more of it failed than it allows: `101 failed, --max-fails 100`.
    Stopped(String),
    /// An operator has paused it: who.
    Paused(String),
    /// What somebody wrote by hand.
    Other(String),
}

impl BatchHold {
    /// How the text of [`BatchHold::Stopped`] begins; `lua/shared/turns.lua` writes it.
    pub const STOPPED: &'static str = "stopped: ";

    const PAUSED: &'static str = "paused by ";

    /// Reads the stored text. Any text is a reason.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(why) = text.strip_prefix(Self::STOPPED) {
            Self::Stopped(why.to_owned())
        } else if let Some(by) = text.strip_prefix(Self::PAUSED) {
            Self::Paused(by.to_owned())
        } else {
            Self::Other(text.to_owned())
        }
    }

    /// Whether it stopped by itself, so that its waiting tasks are given up.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

impl fmt::Display for BatchHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(why) => write!(f, "{}{why}", Self::STOPPED),
            Self::Paused(by) => write!(f, "{}{by}", Self::PAUSED),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl From<String> for BatchHold {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<BatchHold> for String {
    fn from(hold: BatchHold) -> Self {
        hold.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back_as_it_was_written() {
        let stopped = BatchHold::Stopped("101 failed, --max-fails 100".to_owned());
        for (text, hold) in [
            ("stopped: 101 failed, --max-fails 100", stopped),
            ("paused by ann", BatchHold::Paused("ann".to_owned())),
            ("maintenance until noon", BatchHold::Other("maintenance until noon".to_owned())),
            ("", BatchHold::Other(String::new())),
        ] {
            assert_eq!((BatchHold::parse(text), hold.to_string().as_str()), (hold.clone(), text));
        }
        assert!(
            BatchHold::parse("stopped: 1 failed").has_stopped() && !BatchHold::parse("paused by ann").has_stopped()
        );
    }
}
