//! The signal that ends every task of a chain.

use tokio::sync::watch;

/// Turns up once, for everyone who holds a clone.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The switch and the signal.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (switch, signal) = watch::channel(false);
        (switch, Self(signal))
    }

    /// Returns when the chain is to stop, or its handle is gone.
    pub(crate) async fn wait(mut self) {
        // An error means that nobody can switch any more.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Runs work until it ends or the chain is to stop; the work is dropped then.
    pub(crate) async fn or<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            () = self.wait() => None,
            done = work => Some(done),
        }
    }
}
