//! The version of the data that a queue keeps under `distcomp:`, and the versions that a build supports.
//!
//! The version belongs to the queue and is recorded in [`Key::Format`]. Every program reads and writes a queue in the recorded version, or refuses the
//! queue. A new queue gets the newest version of the program that first writes to it. A worker that attaches raises an older version to its own
//! newest one as soon as every registered worker supports that (`lua/attach.lua`). So a fleet is upgraded node by node: the version rises with the
//! last node, and from then on older builds are refused. Under `example/redis/users.acl` no worker may write the key, and an administrator raises it.
//!
//! A change that an older build would misread raises `newest` by one, and `oldest` to the version before it. The build then reads what either version
//! wrote, and writes the version that [`super::Session::layout`] names.
//!
//! [`Key::Format`]: super::Key::Format

use serde::{Deserialize, Serialize};

use super::error::QueueError;

/// The versions of the layout that a build supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layouts {
    /// One version back, so that a fleet can be upgraded node by node.
    oldest: u32,
    /// What a new queue gets.
    newest: u32,
}

/// The version that a queue has, as a worker found it or made it when it attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The version in which the queue is written.
    pub version: u32,
    /// What keeps it from the newest version that this build supports.
    pub held_back: Option<HeldBack>,
}

/// Why a queue keeps an older version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// This worker is registered and does not support the newer one.
    ByWorker(String),
    /// The server did not let this worker's user write [`super::Key::Format`], and said this.
    ByServer(String),
}

impl Layouts {
    /// From `oldest` to `newest`, both included.
    #[must_use]
    pub const fn new(oldest: u32, newest: u32) -> Self {
        Self { oldest, newest }
    }

    /// Those of this build.
    #[must_use]
    pub fn of_this_build() -> Self {
        let ours = Self::new(2, 2);
        // So that a test has a build with the next version, beside this one.
        #[cfg(feature = "failpoints")]
        if std::env::var_os("DISTCOMP_FAILPOINTS_NEXT_LAYOUT").is_some() {
            return Self::new(ours.newest, ours.newest + 1);
        }
        ours
    }

    /// The oldest supported version.
    #[must_use]
    pub const fn oldest(self) -> u32 {
        self.oldest
    }

    /// The newest supported version.
    #[must_use]
    pub const fn newest(self) -> u32 {
        self.newest
    }

    /// Whether attaching a worker of this build upgrades a queue of this version (`lua/attach.lua`), where no older worker is alive.
    #[must_use]
    pub fn may_upgrade(self, recorded: &str) -> bool {
        self.oldest == 2 && recorded == "1"
    }

    /// Refuses a queue whose recorded version is not supported.
    ///
    /// # Errors
    /// [`QueueError::Mismatch`], which says which side is to be upgraded.
    pub fn check(self, recorded: &str) -> Result<(), QueueError> {
        let Self { oldest, newest } = self;
        let supported =
            if oldest == newest { format!("version {newest}") } else { format!("versions {oldest} to {newest}") };
        let advice = match recorded.parse::<u32>() {
            Ok(version) if (oldest..=newest).contains(&version) => return Ok(()),
            Ok(version) if version < oldest => {
                "end the workers of the older release; the first worker of this release then upgrades the queue, if its Redis user may set distcomp:format"
            }
            Ok(_) => "install the newer release that the other nodes run",
            Err(_) => "this is not a queue of DistComp, or distcomp:format was overwritten",
        };
        Err(QueueError::Mismatch(format!(
            "the layout of the queue is version {recorded}, and this release supports {supported}: {advice}"
        )))
    }
}

/// The first version: what a build supports that does not say.
impl Default for Layouts {
    fn default() -> Self {
        Self::new(1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_back_is_supported_and_others_are_refused() {
        let two = Layouts::new(2, 3);
        assert!(two.check("2").is_ok() && two.check("3").is_ok());
        for (recorded, advice) in
            [("1", "older release"), ("4", "newer release"), ("x", "overwritten"), ("", "overwritten")]
        {
            let error = two.check(recorded).expect_err(recorded).to_string();
            assert!(error.contains("supports versions 2 to 3") && error.contains(advice), "{error}");
        }
        let error = Layouts::default().check("2").expect_err("newer").to_string();
        assert!(error.contains("version 2") && error.contains("supports version 1:"), "{error}");
    }
}
