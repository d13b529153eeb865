//! Named moments at which a test may hold the worker: only with the cargo feature `failpoints`, of which nothing is left in any other build.
//!
//! A moment is armed by a file of its name in the directory that the environment names. The worker logs `at step NAME`, and goes on when the file
//! is gone. What else it does goes on meanwhile.

/// Holds the worker here while the step is armed.
#[cfg(feature = "failpoints")]
pub(super) async fn reach(step: &str) {
    let Some(dir) = std::env::var_os("DISTCOMP_FAILPOINTS") else { return };
    let armed = std::path::Path::new(&dir).join(step);
    if !armed.exists() {
        return;
    }
    tracing::info!("at step {step}");
    while armed.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    tracing::info!("past step {step}");
}

/// `failpoint!("name")`: nothing at all without the feature.
macro_rules! failpoint {
    ($step:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::worker::failpoint::reach($step).await;
    };
}

pub(super) use failpoint;
