//! Batches of blocks on their way to the sink, which works while the next batch is made.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use hpips_dag::Block;
use hpips_types::Cid;

use super::{Batch, ImportError, Lent, Sink, SinkError};

/// Blocks handed to the sink at once, bytes: enough that one sync serves many, small beside the memory limit.
const BATCH_BYTES: usize = 16 << 20;
/// Blocks handed to the sink at once, for files of a few bytes.
const BATCH_BLOCKS: usize = 8192;
/// Batches that wait. With the one being made and the one being written that is 64 MiB.
const BATCHES_AHEAD: usize = 2;

/// A row of a file that holds blocks, in memory.
const ROW_BYTES: usize = size_of::<(Cid, u64, u32)>();

enum Message {
    Batch(Batch),
    /// Answered when everything before it is stored.
    Barrier(SyncSender<()>),
}

/// The way to the sink's thread.
pub(super) struct Pipe<'scope> {
    sender: Option<SyncSender<Message>>,
    writer: Option<ScopedJoinHandle<'scope, Result<(), SinkError>>>,
    batch: Batch,
    batch_bytes: usize,
    /// The sink refused a batch, which was told.
    has_failed: bool,
}

impl<'scope> Pipe<'scope> {
    pub(super) fn start<'env, 'sink: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        sink: &'sink mut Sink<'_>,
    ) -> Self {
        let (sender, receiver) = sync_channel::<Message>(BATCHES_AHEAD);
        let writer = scope.spawn(move || {
            // Ends at the first failure; the maker of blocks sees that nobody takes them any more.
            for message in receiver {
                match message {
                    Message::Batch(batch) => sink(batch)?,
                    Message::Barrier(done) => drop(done.send(())),
                }
            }
            Ok(())
        });
        Self {
            sender: Some(sender),
            writer: Some(writer),
            batch: Batch::default(),
            batch_bytes: 0,
            has_failed: false,
        }
    }

    /// Takes blocks; waits when the sink is far behind.
    pub(super) fn take(&mut self, blocks: impl IntoIterator<Item = Block>) -> Result<(), ImportError> {
        for block in blocks {
            self.batch_bytes += block.bytes.len();
            self.batch.blocks.push(block);
        }
        self.send_full()
    }

    /// Takes a file that holds blocks itself.
    pub(super) fn lend(&mut self, lent: Lent) -> Result<(), ImportError> {
        self.batch_bytes += lent.rows.len() * ROW_BYTES;
        self.batch.lent.push(lent);
        self.send_full()
    }

    fn send_full(&mut self) -> Result<(), ImportError> {
        let count = self.batch.blocks.len() + self.batch.lent.len();
        if self.batch_bytes >= BATCH_BYTES || count >= BATCH_BLOCKS { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), ImportError> {
        self.batch_bytes = 0;
        let batch = core::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.pass(Message::Batch(batch)) }
    }

    fn pass(&mut self, message: Message) -> Result<(), ImportError> {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.close().err().unwrap_or(ImportError::Interrupted)) }
    }

    /// Waits until everything taken so far is stored.
    pub(super) fn barrier(&mut self) -> Result<(), ImportError> {
        self.send()?;
        let (done, wait) = sync_channel(0);
        self.pass(Message::Barrier(done))?;
        // Dropped without an answer when the sink refuses a batch before it.
        wait.recv().map_err(|_| self.close().err().unwrap_or(ImportError::Interrupted))
    }

    /// Sends what is left and waits for the sink's end.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        self.send()?;
        self.close()
    }

    fn close(&mut self) -> Result<(), ImportError> {
        self.sender = None;
        match self.writer.take().map(ScopedJoinHandle::join) {
            None if self.has_failed => Err(ImportError::Interrupted),
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => {
                self.has_failed = true;
                Err(ImportError::Sink(error))
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
