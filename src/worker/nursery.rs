//! Where keepers come from: the zygote, and another one should a task, or the system for want of memory, have killed it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::process::{Keeper, KeeperSettings, Leaf, ProcessError, Zygote};

/// See the module. Clones are the same one.
#[derive(Clone)]
pub struct Nursery {
    zygote: Arc<Mutex<Zygote>>,
    settings: Arc<KeeperSettings>,
    leaf: Option<Arc<Leaf>>,
}

impl Nursery {
    /// Starts the first zygote, in the leaf where there is one that takes it.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(settings: KeeperSettings, leaf: Option<Leaf>) -> Result<Self, ProcessError> {
        let zygote = Zygote::start(&settings)?;
        let leaf = leaf.filter(|leaf| leaf.admit(zygote.pid()).is_ok()).map(Arc::new);
        Ok(Self { zygote: Arc::new(Mutex::new(zygote)), settings: Arc::new(settings), leaf })
    }

    /// The layers of containment that are on, for people.
    #[must_use]
    pub fn containment(&self) -> &'static str {
        containment(self.leaf.is_some())
    }

    /// The present zygote.
    #[must_use]
    pub fn zygote(&self) -> Zygote {
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new keeper.
    ///
    /// # Errors
    /// Those of [`Zygote::keeper`], and of a start where the zygote had died.
    pub async fn keeper(&self) -> Result<Keeper, ProcessError> {
        let zygote = self.zygote();
        match zygote.keeper().await {
            Err(ProcessError::ZygoteGone) => self.replace(zygote.pid())?.keeper().await,
            answered => answered,
        }
    }

    /// Starts another zygote in place of a dead one, unless somebody has done so.
    fn replace(&self, dead: u32) -> Result<Zygote, ProcessError> {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if zygote.pid() == dead {
            *zygote = Zygote::start(&self.settings)?;
            if let Some(leaf) = &self.leaf
                && let Err(error) = leaf.admit(zygote.pid())
            {
                tracing::warn!(error = %error, "failed to move it to the cgroup; keepers alone contain what it starts");
            }
            tracing::error!(dead, "the process that makes keepers was killed; started another");
        }
        Ok(zygote.clone())
    }

    /// Closes the lifeline and waits until the last process below it has ended, at most a few seconds.
    pub async fn shutdown(self) {
        self.zygote().shutdown().await;
    }
}

/// Names the layers of containment.
#[must_use]
pub fn containment(has_leaf: bool) -> &'static str {
    if has_leaf { "cgroup and keepers" } else { "keepers" }
}
