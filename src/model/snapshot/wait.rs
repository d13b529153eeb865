//! Why a worker takes no new task: a code, and amounts where the reason has some. The words for it are made in `view`.

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::ResourceKind;

/// Why a worker takes no new task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum WaitReason {
    /// An operator paused the queue.
    Paused,
    /// The stop command is in the queue.
    Stopped,
    /// It takes nothing more and waits for its running tasks to end.
    Draining,
    /// An operator drained it, and all that it ran has ended.
    Drained,
    /// Tasks that failed there have finished elsewhere.
    Suspect {
        /// How many tasks failed here and finished elsewhere.
        lines: u64,
    },
    /// It reads lines in another field order than the queue's.
    OtherOrder,
    /// Every slot is taken.
    Slots,
    /// Less of a resource is free than its threshold in `conf.json`.
    Threshold {
        /// The resource, by its name in JSON, which holds the unit of the amounts.
        #[serde(with = "by_name")]
        resource: ResourceKind,
        /// How much is free.
        free: f64,
        /// How much must be free.
        least: f64,
    },
    /// A code of a later build, or the sentence of an earlier one: the sentence of its worker is all that is known.
    #[serde(other)]
    Unknown,
}

impl WaitReason {
    /// What builds before the code was there wrote in its place. Of their sentences, the two that decide something are known.
    pub(super) fn of_sentence(sentence: &str) -> Self {
        match sentence {
            "the queue is paused" => Self::Paused,
            "drained: distcomp-ctl resume --worker lifts it" => Self::Drained,
            _ => Self::Unknown,
        }
    }
}

/// For `#[serde(deserialize_with)]`: what cannot be read is [`WaitReason::Unknown`].
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WaitReason>, D::Error> {
    let wait = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(wait.map(|wait| serde_json::from_value(wait).unwrap_or(WaitReason::Unknown)))
}

/// A kind of resource by its name in JSON.
mod by_name {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::ResourceKind;

    pub(super) fn serialize<S: Serializer>(kind: &ResourceKind, serializer: S) -> Result<S::Ok, S::Error> {
        kind.json_name(None).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ResourceKind, D::Error> {
        let name = String::deserialize(deserializer)?;
        let kind = ResourceKind::ALL.into_iter().find(|kind| kind.json_name(None) == name);
        kind.ok_or_else(|| D::Error::custom(format!("{name} is no resource")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_code_with_amounts() {
        let resource = ResourceKind::Memory;
        let wait = WaitReason::Threshold { resource, free: 1.5, least: 2.0 };
        let json = r#"{"code":"threshold","resource":"mem_gb","free":1.5,"least":2.0}"#;
        assert_eq!(serde_json::to_string(&wait).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<WaitReason>(json).expect("a reason"), wait);
    }
}
