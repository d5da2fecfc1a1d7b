//! Reads inbound bitswap streams: bounds, decodes and hashes before anybody else sees a byte.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use hpips_bitswap::{MESSAGE_BYTES_MAX, Message, MessageError, Payload, cid_of_payload};
use hpips_types::Cid;
use libp2p::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::{Counters, Event, Received, count};
use crate::net::Shared;
use crate::wire::Stream;

/// Inbound streams read of one peer. Kubo opens one for every message and has eight under way at once; when one more
/// comes, the oldest that waits for a message goes, because the others carry blocks somebody waits for.
const STREAMS_MAX: usize = 32;
/// Bytes of messages that one peer may have under way on all its streams; the others wait. Four of the longest,
/// so that this many streams take no more memory than a few did.
const PEER_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// From this size on blocks are hashed on a blocking thread.
const HASH_HERE_BYTES: usize = 64 * 1024;
/// How often the arrival of a long message is reported.
const HEARD: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the stream failed")]
    Io(#[from] io::Error),
    #[error("the peer broke the protocol")]
    Message(#[from] MessageError),
}

pub(super) async fn read_all(
    shared: Shared,
    incoming: Vec<mpsc::Receiver<(PeerId, Stream)>>,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
) {
    let mut readers: BTreeMap<PeerId, PeerReaders> = BTreeMap::new();
    // Whatever version a stream has, its messages are read the same way.
    let each = incoming.into_iter().map(|mut inbox| stream::poll_fn(move |cx| inbox.poll_recv(cx)));
    let mut incoming = stream::select_all(each);
    while let Some((peer, stream)) = incoming.next().await {
        for peer in readers.values_mut() {
            peer.streams.retain(|reader| !reader.stop.is_cancelled());
        }
        // Costs are not forgotten with the stream that made them.
        readers.retain(|_, peer| !peer.streams.is_empty() || !peer.budget.is_clear());
        let list = readers.entry(peer).or_default();
        let reader = list.add();
        let (bytes, budget) = (Arc::clone(&list.bytes), Arc::clone(&list.budget));
        let (events, counters) = (events.clone(), counters.clone());
        shared.tasks.spawn(async move {
            let stop = reader.stop.clone();
            let read = read_stream(peer, stream, &events, &reader.is_idle, &bytes, &budget);
            match stop.run_until_cancelled(read).await {
                Some(Err(ReadError::Message(error))) => {
                    tracing::debug!(%peer, %error, "bitswap stream closed");
                    count(&counters.messages_refused, 1);
                    let _ = events.send(Event::Refused(peer)).await;
                }
                Some(Err(ReadError::Io(error))) => tracing::trace!(%peer, %error, "bitswap stream ended"),
                Some(Ok(())) | None => {}
            }
            stop.cancel();
        });
    }
}

/// One stream that is being read.
#[derive(Clone, Default)]
struct Reader {
    stop: CancellationToken,
    /// Whether it waits for the next message.
    is_idle: Arc<AtomicBool>,
}

/// The streams of one peer.
struct PeerReaders {
    streams: VecDeque<Reader>,
    /// Bytes of messages that may still begin.
    bytes: Arc<Semaphore>,
    budget: Arc<Budget>,
}

impl Default for PeerReaders {
    fn default() -> Self {
        Self {
            streams: VecDeque::new(),
            bytes: Arc::new(Semaphore::new(PEER_BYTES_MAX)),
            budget: Arc::default(),
        }
    }
}

impl PeerReaders {
    /// Makes room for one more stream.
    fn add(&mut self) -> Reader {
        if self.streams.len() >= STREAMS_MAX {
            let idle = self.streams.iter().position(|reader| reader.is_idle.load(Ordering::Relaxed));
            if let Some(reader) = self.streams.remove(idle.unwrap_or(0)) {
                reader.stop.cancel();
            }
        }
        let reader = Reader::default();
        self.streams.push_back(reader.clone());
        reader
    }
}

async fn read_stream(
    peer: PeerId,
    stream: Stream,
    events: &mpsc::Sender<Event>,
    is_idle: &AtomicBool,
    bytes: &Semaphore,
    budget: &Arc<Budget>,
) -> Result<(), ReadError> {
    let mut stream = BufReader::with_capacity(16 * 1024, stream);
    loop {
        is_idle.store(true, Ordering::Relaxed);
        // Whoever asks for nothing that is here, or sends what nobody wants, waits; its connection fills up meanwhile.
        let wait = budget.wait();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let Some(len) = read_length(&mut stream).await? else { return Ok(()) };
        is_idle.store(false, Ordering::Relaxed);
        let permits = u32::try_from(len).expect("a message is shorter than 4 GiB");
        // Never closed; a message is never longer than the budget.
        let _turn = bytes.acquire_many(permits).await;
        let body = read_message(peer, &mut stream, len, events).await?;
        let message = Message::decode(&body)?;
        drop(body);
        let received = Received {
            full: message.full,
            wants: message.wants,
            presences: message.presences,
            dropped: message.dropped,
            budget: budget.clone(),
            blocks: name(message.blocks).await,
        };
        if events.send(Event::Received(peer, received)).await.is_err() {
            return Ok(());
        }
    }
}

/// Computes the CIDs of blocks.
async fn name(blocks: Vec<Payload>) -> Vec<(Option<Cid>, Bytes)> {
    let hash = |blocks: Vec<Payload>| -> Vec<(Option<Cid>, Bytes)> {
        blocks.into_iter().map(|payload| (cid_of_payload(&payload), payload.data)).collect()
    };
    if blocks.iter().map(|payload| payload.data.len()).sum::<usize>() < HASH_HERE_BYTES {
        return hash(blocks);
    }
    // Fails only when the runtime ends.
    tokio::task::spawn_blocking(move || hash(blocks)).await.unwrap_or_default()
}

/// The varint in front of a message; `None` at the stream's end.
async fn read_length<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<usize>, ReadError> {
    let mut value = 0usize;
    // Four bytes reach 2^28, far above the limit.
    for index in 0..4 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if index == 0 {
                Ok(None)
            } else {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
            };
        }
        value |= usize::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            return if value > MESSAGE_BYTES_MAX {
                Err(MessageError::TooLong { bytes: value }.into())
            } else {
                Ok(Some(value))
            };
        }
    }
    Err(MessageError::TooLong { bytes: value }.into())
}

/// Reads a message's bytes; memory grows with what arrives. Says now and then that something does.
async fn read_message<R: AsyncRead + Unpin>(
    peer: PeerId,
    stream: &mut R,
    len: usize,
    events: &mpsc::Sender<Event>,
) -> io::Result<Bytes> {
    const FIRST_BYTES: usize = 256 * 1024;
    let mut body = BytesMut::with_capacity(len.min(FIRST_BYTES));
    let mut heard = Instant::now();
    while body.len() < len {
        if body.len() == body.capacity() {
            body.reserve(body.len().min(len - body.len()));
        }
        let left = u64::try_from(len - body.len()).map_err(io::Error::other)?;
        if (&mut *stream).take(left).read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if heard.elapsed() >= HEARD {
            heard = Instant::now();
            // Lost when the task is busy: then it is not idle either.
            let _ = events.try_send(Event::Heard(peer));
        }
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_carries_a_message_is_not_the_one_that_goes() {
        let mut peer = PeerReaders::default();
        let first: Vec<Reader> = (0..STREAMS_MAX).map(|_| peer.add()).collect();
        first[3].is_idle.store(true, Ordering::Relaxed);
        peer.add();
        let gone: Vec<usize> = (0..STREAMS_MAX).filter(|index| first[*index].stop.is_cancelled()).collect();
        assert_eq!(gone, [3]);
        peer.add();
        assert!(first[0].stop.is_cancelled(), "none is idle: the oldest goes");
        assert_eq!(peer.streams.len(), STREAMS_MAX);
    }
}
