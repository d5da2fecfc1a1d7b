//! Storing while the next blocks are built.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use hpips_dag::Block;

use crate::error::WriteError;
use crate::lease::Hold;
use crate::store::Store;

/// Bytes that are gathered before they are stored, if so many are waiting.
const BATCH_BYTES: usize = 32 * 1024 * 1024;
/// Batches that may wait beside the one being stored.
const WAITING_MAX: usize = 8;

/// Stores blocks on a thread of its own, so that writing and syncing one batch overlaps with building the next. Holds
/// a lease until it is finished.
///
/// Memory: the batch being stored, at most 32 MiB and what was pushed last, and eight pushed batches; [`Ingest::push`]
/// waits when the disk is slower.
#[derive(Debug)]
pub struct Ingest {
    hold: Hold,
    sender: Option<SyncSender<Vec<Block>>>,
    thread: Option<JoinHandle<Result<(), WriteError>>>,
}

impl Store {
    /// Begins to store blocks that this process builds, as [`Store::put_built`] does.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`]; [`WriteError::Io`] when the system has no thread.
    pub fn ingest(&self) -> Result<Ingest, WriteError> {
        let hold = self.hold()?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let store = self.clone();
        let thread = std::thread::Builder::new().name("store-ingest".to_owned());
        let thread = thread
            .spawn(move || run(&store, &receiver))
            .map_err(|source| WriteError::Io { path: self.dir().to_owned(), source })?;
        Ok(Ingest { hold, sender: Some(sender), thread: Some(thread) })
    }
}

fn run(store: &Store, receiver: &Receiver<Vec<Block>>) -> Result<(), WriteError> {
    while let Ok(mut batch) = receiver.recv() {
        let mut bytes: usize = batch.iter().map(|block| block.bytes.len()).sum();
        while bytes < BATCH_BYTES
            && let Ok(more) = receiver.try_recv()
        {
            bytes += more.iter().map(|block| block.bytes.len()).sum::<usize>();
            batch.extend(more);
        }
        store.put_built(batch)?;
    }
    Ok(())
}

impl Ingest {
    /// Hands blocks over; they are durable after [`Ingest::finish`]. Batches of about a megabyte cost least.
    ///
    /// # Errors
    /// What storing an earlier batch failed with: nothing more is stored.
    pub fn push(&mut self, blocks: Vec<Block>) -> Result<(), WriteError> {
        let Some(sender) = &self.sender else { return Err(WriteError::Poisoned) };
        if sender.send(blocks).is_err() {
            self.join()?;
        }
        Ok(())
    }

    /// Waits until everything is durable. The lease goes on until the result is dropped: pin before that.
    ///
    /// # Errors
    /// What storing failed with.
    pub fn finish(mut self) -> Result<Hold, WriteError> {
        self.join()?;
        Ok(self.hold)
    }

    fn join(&mut self) -> Result<(), WriteError> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(done)) => done,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
