//! Threads for long computations that yield to everything else.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tracing::debug;

use crate::config::Config;

/// Why there is no thread pool.
#[derive(Debug, thiserror::Error)]
#[error("threads for proving could not be started")]
pub struct PoolError(#[source] ThreadPoolBuildError);

pub(crate) fn start(config: &Config) -> Result<ThreadPool, PoolError> {
    let nice = i32::from(config.nice.min(19));
    ThreadPoolBuilder::new()
        .num_threads(config.threads.get())
        .thread_name(|index| format!("prove-{index}"))
        .start_handler(move |_| lower_priority(nice))
        .build()
        .map_err(PoolError)
}

/// Lowers the calling thread's priority. Where that is refused the work is done all the same.
#[cfg(target_os = "linux")]
fn lower_priority(nice: i32) {
    // On Linux a priority belongs to a thread, and "no process" names the calling one (setpriority(2),
    // "C library/kernel differences").
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        debug!(%error, nice, "priority of a proving thread unchanged");
    }
}

/// Elsewhere a priority belongs to the whole process, which must keep its own.
#[cfg(not(target_os = "linux"))]
fn lower_priority(nice: i32) {
    debug!(nice, "no priority of a single thread on this system");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn only_the_threads_of_the_pool_are_nice() {
        let before = rustix::process::getpriority_process(None).unwrap();
        let config = Config::new("unused").threads(NonZeroUsize::new(2).unwrap());
        let pool = start(&Config { nice: 15, ..config }).unwrap();
        let inside = pool.broadcast(|_| rustix::process::getpriority_process(None).unwrap());
        assert_eq!(inside, [15.max(before); 2]);
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}
