//! Tasks of one network: they stop together, and somebody can wait until they have.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Spawns tasks that end when the network shuts down.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    stop: CancellationToken,
    /// Every task holds a clone; the receiver ends when the last is gone.
    alive: std::sync::Mutex<Option<mpsc::Sender<()>>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Tasks {
    pub(crate) fn new(runtime: Handle) -> Self {
        let (alive, ended) = mpsc::channel(1);
        Self {
            runtime,
            stop: CancellationToken::new(),
            alive: std::sync::Mutex::new(Some(alive)),
            ended: Mutex::new(ended),
        }
    }

    /// Runs a task until it is done or the network shuts down.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alive = self.alive.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(alive) = alive else { return };
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            stop.run_until_cancelled(task).await;
            drop(alive);
        });
    }

    /// Stops all tasks.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.alive.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    /// Waits until all tasks have ended, or the deadline.
    pub(crate) async fn wait(&self, deadline: Duration) {
        let mut ended = self.ended.lock().await;
        // A deadline that passes leaves tasks to the runtime; nothing more can be done about them here.
        let _ = tokio::time::timeout(deadline, ended.recv()).await;
    }
}
