//! Blocks that are stored while the next ones are read.

use std::sync::mpsc::{SyncSender, sync_channel};

use hpips_store::WriteError;

use super::error::RpcError;

/// Blocks stored at once, bytes: enough that one sync serves many.
const BATCH_BYTES: usize = 16 << 20;
/// Batches that wait to be stored. With the one being made and the one being written that is 48 MiB.
const BATCHES_AHEAD: usize = 1;

/// Blocks on their way to the thread that stores them.
pub(super) struct Batches<T> {
    sender: SyncSender<Vec<T>>,
    batch: Vec<T>,
    batch_bytes: usize,
}

impl<T> Batches<T> {
    /// Adds a block of so many bytes.
    ///
    /// # Errors
    /// When the storing has failed; [`beside`] tells why.
    pub(super) fn push(&mut self, block: T, bytes: usize) -> Result<(), RpcError> {
        self.batch.push(block);
        self.batch_bytes += bytes;
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands on what was added so far; what is not handed on is not stored.
    ///
    /// # Errors
    /// When the storing has failed; [`beside`] tells why.
    pub(super) fn flush(&mut self) -> Result<(), RpcError> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let sent = self.sender.send(std::mem::take(&mut self.batch));
        sent.map_err(|_| RpcError::new("the blocks cannot be stored"))
    }
}

/// Runs `read` while `put` stores, on another thread, what it hands on; all of that is stored when this returns.
///
/// # Errors
/// That of the storing, which says more than that nobody takes blocks any more; else that of the reading.
pub(super) fn beside<T: Send, R>(
    put: impl FnMut(Vec<T>) -> Result<(), WriteError> + Send,
    read: impl FnOnce(&mut Batches<T>) -> Result<R, RpcError>,
) -> Result<R, RpcError> {
    std::thread::scope(|scope| {
        let (sender, waiting) = sync_channel(BATCHES_AHEAD);
        let writer = scope.spawn(move || waiting.into_iter().try_for_each(put));
        let mut batches = Batches { sender, batch: Vec::new(), batch_bytes: 0 };
        let done = read(&mut batches);
        drop(batches);
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map_err(RpcError::from).and(done)
    })
}
