//! Shares answers for a second: a question that is already being answered, or was just answered, is not asked again. The number of answers is
//! bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};

use super::source::{SourceError, SourceFuture};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(1);

/// Different questions that are remembered.
const ENTRIES: usize = 256;

/// Different questions under way at once; more wait.
const AT_ONCE: usize = 4;

/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers by question, each kept for a second.
pub(super) struct Cache<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    turns: Semaphore,
}

struct Entry<V> {
    asked: Instant,
    answer: Arc<OnceCell<Result<V, SourceError>>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self { entries: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// The answer to `key`, by `ask` if nobody has asked in the last second.
    pub(super) async fn get<'a>(&self, key: K, ask: impl FnOnce() -> SourceFuture<'a, V>) -> Result<V, SourceError> {
        let answer = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            // Answers may be large: none is kept for longer than it is good for.
            entries.retain(|_, entry| entry.asked.elapsed() < FRESH);
            match entries.get(&key) {
                Some(entry) => Arc::clone(&entry.answer),
                None if entries.len() >= ENTRIES => return Err(SourceError::Busy),
                None => {
                    let answer = Arc::default();
                    entries.insert(key, Entry { asked: Instant::now(), answer: Arc::clone(&answer) });
                    answer
                }
            }
        };
        let result = answer.get_or_init(async || match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(_turn)) => ask().await,
            Ok(Err(_)) | Err(_) => Err(SourceError::Busy),
        });
        result.await.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_the_same_are_one_question() {
        let cache: Cache<u8, usize> = Cache::new();
        let asked = AtomicUsize::new(0);
        let ask = || {
            cache.get(1, || {
                Box::pin(async {
                    tokio::task::yield_now().await;
                    Ok(asked.fetch_add(1, Ordering::Relaxed))
                })
            })
        };
        let answers = futures_util::future::join_all((0..200).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| *answer == Ok(0)), "{answers:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let cache: Cache<usize, ()> = Cache::new();
        for key in 0..ENTRIES {
            assert!(cache.get(key, || Box::pin(async { Ok(()) })).await.is_ok());
        }
        assert_eq!(cache.get(ENTRIES, || Box::pin(async { Ok(()) })).await, Err(SourceError::Busy));
    }
}
