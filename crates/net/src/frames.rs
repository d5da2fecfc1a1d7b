//! Consensus frames: for every peer and channel one long-lived stream each way, reopened whenever a
//! connection comes (back).
//!
//! Sending never waits. Each peer has a queue bounded in frames and bytes; when it is full the **oldest**
//! frame is dropped, since in consensus the newest vote matters most. Frames arrive in order or not at all; a
//! frame under way when a connection breaks may be lost. A slow reader slows its senders' streams and nobody
//! else; one flooding peer gets its turn like every other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hpips_types::AccountId;
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::identity::{account_of, peer_of};
use crate::net::{Shared, protocol_name};
use crate::peers::PeerEvent;
use crate::streams::AlreadyAccepted;
use crate::wire::{Stream, read_frame, within, write_frame};

/// Frames that wait for one peer.
const QUEUE_FRAMES_MAX: usize = 1024;
/// Bytes that wait for one peer, at least; never less than two of the longest frames.
const QUEUE_BYTES_MIN: usize = 1 << 20;
/// Frames that wait for the reader, of all peers.
const INBOX_FRAMES_MAX: usize = 1024;
/// Peers frames are sent to; sends to more are dropped.
const PEERS_MAX: usize = 1024;
/// A peer that takes no byte for so long has its stream closed.
const STALL: Duration = Duration::from_secs(20);
/// Wait before a stream is opened again on a connection that stands.
const REOPEN: Duration = Duration::from_millis(200);

/// Frames that wait for one peer.
#[derive(Debug, Default)]
struct Queue {
    frames: Mutex<(VecDeque<Bytes>, usize)>,
    filled: Notify,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<Bytes>, usize)> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a frame; the number of old ones that had to go.
    fn push(&self, frame: Bytes, bytes_max: usize) -> u64 {
        let mut dropped = 0;
        let mut queue = self.lock();
        let (frames, bytes) = &mut *queue;
        *bytes += frame.len();
        frames.push_back(frame);
        while frames.len() > QUEUE_FRAMES_MAX || *bytes > bytes_max {
            let Some(old) = frames.pop_front() else { break };
            *bytes -= old.len();
            dropped += 1;
        }
        drop(queue);
        self.filled.notify_one();
        dropped
    }

    async fn pop(&self) -> Bytes {
        loop {
            {
                let mut queue = self.lock();
                if let Some(frame) = queue.0.pop_front() {
                    queue.1 -= frame.len();
                    return frame;
                }
            }
            self.filled.notified().await;
        }
    }
}

#[derive(Debug)]
struct Sending {
    shared: Shared,
    protocol: StreamProtocol,
    bytes_max: usize,
    queues: Mutex<BTreeMap<AccountId, Arc<Queue>>>,
    dropped: AtomicU64,
    /// Ends the writers when the last sender is dropped.
    stop: CancellationToken,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Sends frames on one channel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FrameSender(Arc<Sending>);

impl FrameSender {
    /// Queues a frame for each of the accounts and returns at once, from any thread. Accounts that are not
    /// connected get it when they connect, unless newer frames pushed it out. Frames over the limit are dropped.
    /// Returns for how many accounts it was queued.
    pub fn send(&self, to: &[AccountId], frame: Bytes) -> usize {
        let sending = &self.0;
        if frame.len() > sending.bytes_max {
            tracing::warn!(bytes = frame.len(), protocol = %sending.protocol, "frame over the limit dropped");
            return 0;
        }
        let mut queued = 0;
        for account in to {
            let Some(queue) = self.queue(account) else { continue };
            let dropped = queue.push(frame.clone(), QUEUE_BYTES_MIN.max(2 * sending.bytes_max));
            sending.dropped.fetch_add(dropped, Ordering::Relaxed);
            queued += 1;
        }
        queued
    }

    /// Frames that newer ones pushed out of a queue, since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn queue(&self, account: &AccountId) -> Option<Arc<Queue>> {
        let sending = &self.0;
        let mut queues = sending.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(account) {
            return Some(queue.clone());
        }
        let peer = peer_of(account)?;
        if queues.len() >= PEERS_MAX {
            return None;
        }
        let queue = Arc::new(Queue::default());
        queues.insert(*account, queue.clone());
        let writer = write_peer(
            sending.shared.clone(),
            sending.protocol.clone(),
            peer,
            queue.clone(),
            sending.bytes_max,
            sending.stop.clone(),
        );
        sending.shared.tasks.spawn(writer);
        Some(queue)
    }
}

/// Receives frames of one channel.
#[derive(Debug)]
pub struct FrameReceiver {
    inbox: mpsc::Receiver<(AccountId, Bytes)>,
}

impl FrameReceiver {
    /// The next frame and its authenticated sender; `None` after shutdown. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<(AccountId, Bytes)> {
        self.inbox.recv().await
    }
}

/// Opens a channel on both ends.
pub(crate) fn start(
    shared: &Shared,
    channel: u64,
    bytes_max: usize,
    backlog: usize,
) -> Result<(FrameSender, FrameReceiver), AlreadyAccepted> {
    let protocol = protocol_name(&format!("/hpips/frames/{channel}/1")).expect("it begins with a slash");
    let incoming = shared.accepting.accept(protocol.clone(), backlog)?;
    let (sender, inbox) = mpsc::channel(INBOX_FRAMES_MAX);
    shared.tasks.spawn(read_all(shared.clone(), incoming, sender, bytes_max));
    let sending = Sending {
        shared: shared.clone(),
        protocol,
        bytes_max,
        queues: Mutex::new(BTreeMap::new()),
        dropped: AtomicU64::new(0),
        stop: CancellationToken::new(),
    };
    Ok((FrameSender(Arc::new(sending)), FrameReceiver { inbox }))
}

/// Keeps one stream to a peer open while frames are to be sent and a connection stands.
async fn write_peer(
    shared: Shared,
    protocol: StreamProtocol,
    peer: PeerId,
    queue: Arc<Queue>,
    bytes_max: usize,
    stop: CancellationToken,
) {
    let write = async {
        let mut events = shared.peers.subscribe();
        let mut stream: Option<Stream> = None;
        loop {
            let Some(open) = &mut stream else {
                // Connections of the network come by themselves (`keep`); frames do not dial.
                while !shared.peers.is_connected(&peer) {
                    if matches!(events.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                        return;
                    }
                }
                match shared.open(peer, protocol.clone()).await {
                    Ok(opened) => stream = Some(opened),
                    Err(error) => {
                        tracing::debug!(%peer, %protocol, %error, "frame stream did not open");
                        tokio::time::sleep(REOPEN).await;
                    }
                }
                continue;
            };
            // A connection that goes takes its stream along; without this look the next frame would be
            // written into the void.
            let frame = tokio::select! {
                frame = queue.pop() => frame,
                event = events.recv() => {
                    if event == Ok(PeerEvent::Disconnected(peer)) || !shared.peers.is_connected(&peer) {
                        stream = None;
                    }
                    continue;
                }
            };
            let written = within(STALL, async {
                write_frame(open, &frame, bytes_max).await.map_err(std::io::Error::other)
            });
            if let Err(error) = written.await {
                tracing::debug!(%peer, %protocol, %error, "frame stream failed");
                stream = None;
            }
        }
    };
    stop.run_until_cancelled(write).await;
}

/// Reads the newest stream of every peer.
async fn read_all(
    shared: Shared,
    mut incoming: mpsc::Receiver<(PeerId, Stream)>,
    inbox: mpsc::Sender<(AccountId, Bytes)>,
    bytes_max: usize,
) {
    let mut readers: BTreeMap<AccountId, CancellationToken> = BTreeMap::new();
    loop {
        let (peer, mut stream) = tokio::select! {
            next = incoming.recv() => match next {
                Some(next) => next,
                None => return,
            },
            () = inbox.closed() => return,
        };
        let Some(account) = account_of(&peer) else { continue };
        readers.retain(|_, reader| !reader.is_cancelled());
        let stop = CancellationToken::new();
        if let Some(old) = readers.insert(account, stop.clone()) {
            old.cancel();
        }
        let inbox = inbox.clone();
        shared.tasks.spawn(async move {
            let read = async {
                loop {
                    match read_frame(&mut stream, bytes_max).await {
                        Ok(Some(frame)) => {
                            if inbox.send((account, frame)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => return,
                        Err(error) => {
                            tracing::debug!(%account, %error, "frame stream ended");
                            return;
                        }
                    }
                }
            };
            stop.run_until_cancelled(read).await;
            stop.cancel();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_frames_go_first() {
        let queue = Queue::default();
        let mut dropped = 0;
        for index in 0..QUEUE_FRAMES_MAX + 10 {
            dropped += queue.push(Bytes::from(index.to_le_bytes().to_vec()), 1 << 20);
        }
        assert_eq!(dropped, 10);
        assert_eq!(queue.lock().0.front().unwrap()[..], 10usize.to_le_bytes());
        assert_eq!(queue.push(Bytes::from(vec![0; 1000]), 1008), 1023, "bytes are bounded, too");
        assert_eq!(queue.lock().1, 1008);
    }
}
