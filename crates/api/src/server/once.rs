//! Work that is done once although its answer may be lost: whoever repeats a request under the same name gets the answer of
//! the first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::error::{ApiError, ErrorCode};

/// Names that are remembered; the oldest is forgotten first. A hundred bytes each.
const NAMES_MAX: usize = 1024;

type Done<T> = Shared<BoxFuture<'static, Result<T, ApiError>>>;

/// What was begun, by name, as long as the process runs.
pub(super) struct Once<K, T>(Mutex<VecDeque<(String, K, Done<T>)>>);

impl<K, T> Default for Once<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, T: Clone + Send + Sync + 'static> Once<K, T> {
    /// The answer of what was begun under this name, or of `work`, which goes on when nobody waits for it any more. What
    /// was refused for sure is begun anew.
    ///
    /// # Errors
    /// Those of the work, and when something else was begun under the name.
    pub(super) async fn run(
        &self,
        name: String,
        what: K,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.begin(name, what, work)?.await
    }

    fn begin(
        &self,
        name: String,
        what: K,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<Done<T>, ApiError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused =
            |done: &Done<T>| matches!(done.peek(), Some(Err(error)) if error.code != ErrorCode::Timeout);
        known.retain(|(_, _, done)| !refused(done));
        match known.iter().find(|(known, ..)| *known == name) {
            Some((_, same, done)) if *same == what => return Ok(done.clone()),
            Some(_) => {
                let text = format!("{name:?} names another request already; nothing was done");
                return Err(ApiError::bad_request(text));
            }
            None => {}
        }
        let task = tokio::spawn(work);
        let done = async move { task.await.unwrap_or_else(|error| Err(ApiError::failed(&error))) };
        let done = done.boxed().shared();
        known.push_back((name, what, done.clone()));
        if known.len() > NAMES_MAX {
            known.pop_front();
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_same_name_is_done_once() {
        let once = Once::<u8, u32>::default();
        let count = Arc::new(AtomicU32::new(0));
        let work = |result: fn(u32) -> Result<u32, ApiError>| {
            let count = Arc::clone(&count);
            async move { result(count.fetch_add(1, Ordering::Relaxed)) }
        };
        // The first caller leaves at once.
        drop(once.begin("a".into(), 1, work(Ok)));
        assert_eq!(once.run("a".into(), 1, work(Ok)).await, Ok(0));
        assert_eq!(once.run("a".into(), 1, work(Ok)).await, Ok(0));
        assert!(once.run("a".into(), 2, work(Ok)).await.is_err(), "another request");
        assert_eq!(once.run("b".into(), 1, work(Ok)).await, Ok(1));
        let refused = |_| Err(ApiError::new(ErrorCode::Funds, "no"));
        assert!(once.run("c".into(), 1, work(refused)).await.is_err());
        assert_eq!(once.run("c".into(), 1, work(Ok)).await, Ok(3), "a refusal is no deed");
        let late = |_| Err(ApiError::new(ErrorCode::Timeout, "perhaps"));
        assert!(once.run("d".into(), 1, work(late)).await.is_err());
        assert!(once.run("d".into(), 1, work(Ok)).await.is_err(), "it may be done yet");
    }
}
