//! Batches of blocks on their way to the sink, which works while the next batch is made.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use hpips_dag::Block;

use super::{ImportError, Sink, SinkError};

/// Blocks handed to the sink at once, bytes: enough that one sync serves many, small beside the memory limit.
const BATCH_BYTES: usize = 16 << 20;
/// Blocks handed to the sink at once, for files of a few bytes.
const BATCH_BLOCKS: usize = 8192;
/// Batches that wait. With the one being made and the one being written that is 64 MiB.
const BATCHES_AHEAD: usize = 2;

enum Message {
    Blocks(Vec<Block>),
    /// Answered when everything before it is stored.
    Barrier(SyncSender<()>),
}

/// The way to the sink's thread.
pub(super) struct Pipe<'scope> {
    sender: Option<SyncSender<Message>>,
    writer: Option<ScopedJoinHandle<'scope, Result<(), SinkError>>>,
    batch: Vec<Block>,
    batch_bytes: usize,
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
                    Message::Blocks(blocks) => sink(blocks)?,
                    Message::Barrier(done) => drop(done),
                }
            }
            Ok(())
        });
        Self { sender: Some(sender), writer: Some(writer), batch: Vec::new(), batch_bytes: 0 }
    }

    /// Takes blocks; waits when the sink is far behind.
    pub(super) fn take(&mut self, blocks: impl IntoIterator<Item = Block>) -> Result<(), ImportError> {
        for block in blocks {
            self.batch_bytes += block.bytes.len();
            self.batch.push(block);
        }
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_BLOCKS { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), ImportError> {
        self.batch_bytes = 0;
        let batch = core::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.pass(Message::Blocks(batch)) }
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
        // The sender is dropped when its turn comes, or with the thread.
        let _ = wait.recv();
        Ok(())
    }

    /// Sends what is left and waits for the sink's end.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        self.send()?;
        self.close()
    }

    fn close(&mut self) -> Result<(), ImportError> {
        self.sender = None;
        match self.writer.take().map(ScopedJoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(ImportError::Sink(error)),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
