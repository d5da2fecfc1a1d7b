//! Runs the bitswap machines of `hpips_bitswap` over streams: one task owns them, one task reads each inbound
//! stream, one writes each peer's outbound stream. Answers go out on a stream of our own, as Kubo does it.
//!
//! The owning task never waits for a peer: messages to a slow one queue up behind its writer, bounded by what
//! the machines allow each peer.

mod actor;
mod budget;
mod reader;
mod session;
#[cfg(test)]
mod tests;
mod writer;

pub use session::{BlockStream, FetchError, Session};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, Entry, Ledger, Presence, Protocol};
use hpips_types::Cid;
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::config::Limits;
use crate::net::{Net, Shared};
use crate::streams::AlreadyAccepted;

/// Messages and other events that wait for the owning task. Readers wait when it is full.
const EVENTS_MAX: usize = 16;

/// What bitswap did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks received that were asked for.
    pub blocks_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Blocks that came after they were no longer needed.
    pub blocks_late: u64,
    /// Their bytes.
    pub bytes_late: u64,
    /// Blocks nobody asked for, wrong bytes among them: dropped.
    pub blocks_unwanted: u64,
    /// Messages over the limits or malformed; their streams were closed.
    pub messages_refused: u64,
    /// Wants of others that were dropped over the limits.
    pub wants_dropped: u64,
    /// Wants of others that are remembered now because their blocks are not here.
    pub wants_waiting: u64,
}

#[derive(Debug, Default)]
struct Counters {
    blocks_received: AtomicU64,
    bytes_received: AtomicU64,
    blocks_sent: AtomicU64,
    bytes_sent: AtomicU64,
    blocks_late: AtomicU64,
    bytes_late: AtomicU64,
    blocks_unwanted: AtomicU64,
    messages_refused: AtomicU64,
    wants_dropped: AtomicU64,
    wants_waiting: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// What happens to the owning task.
#[derive(Debug)]
enum Event {
    /// Somebody wants blocks.
    Request(session::Ask),
    /// A message came; its blocks are named by their hashes, `None` where that failed.
    Received(PeerId, Received),
    /// A part of a long message came.
    Heard(PeerId),
    /// A peer broke the protocol.
    Refused(PeerId),
    /// A peer cannot be written to.
    Unreachable(PeerId),
    /// A dial ended.
    Dialed(PeerId, bool),
    /// The version a peer speaks.
    Speaks(PeerId, Protocol),
    /// Blocks were added to the source.
    Arrived(Vec<Cid>),
    /// Somebody asks what a peer wants, or what this node wants.
    Wantlist(Option<PeerId>, oneshot::Sender<Vec<Cid>>),
    /// Somebody asks what was exchanged with a peer.
    Ledger(PeerId, oneshot::Sender<Option<Ledger>>),
    LookedUp(PeerId, Vec<(Cid, Option<u32>)>),
    Loaded(PeerId, Loaded),
    /// A message begins to go out: what it counted as outstanding.
    Writing(PeerId, u64),
}

#[derive(Debug, Default)]
struct Received {
    full: bool,
    wants: Vec<Entry>,
    blocks: Vec<(Option<Cid>, Bytes)>,
    presences: Vec<(Cid, Presence)>,
    dropped: usize,
    /// What useless messages of this peer are charged to.
    budget: Arc<budget::Budget>,
}

#[derive(Debug)]
struct Loaded {
    blocks: Vec<(Cid, Bytes)>,
    gone: Vec<Cid>,
    presences: Vec<(Cid, Presence)>,
    bytes: u64,
}

/// Reaches the owning task.
#[derive(Clone, Debug)]
pub(crate) struct BitswapHandle {
    events: mpsc::Sender<Event>,
    /// Woken when a reader of blocks made room.
    consumed: Arc<Notify>,
    counters: Arc<Counters>,
    sessions: Arc<AtomicU64>,
}

impl BitswapHandle {
    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        Stats {
            blocks_received: get(&c.blocks_received),
            bytes_received: get(&c.bytes_received),
            blocks_sent: get(&c.blocks_sent),
            bytes_sent: get(&c.bytes_sent),
            blocks_late: get(&c.blocks_late),
            bytes_late: get(&c.bytes_late),
            blocks_unwanted: get(&c.blocks_unwanted),
            messages_refused: get(&c.messages_refused),
            wants_dropped: get(&c.wants_dropped),
            wants_waiting: get(&c.wants_waiting),
        }
    }
}

impl Net {
    /// What this node wants of others now, or, of a peer, what it wants and has not got from here.
    /// Empty after a shutdown.
    pub async fn bitswap_wantlist(&self, peer: Option<PeerId>) -> Vec<Cid> {
        self.ask_bitswap(|reply| Event::Wantlist(peer, reply)).await.unwrap_or_default()
    }

    /// What was exchanged with a peer since it was first seen; `None` when nothing was. Outlives connections.
    pub async fn bitswap_ledger(&self, peer: PeerId) -> Option<Ledger> {
        self.ask_bitswap(|reply| Event::Ledger(peer, reply)).await.flatten()
    }

    /// A function that is told of blocks that have come into the block source, so that peers who asked for them before
    /// get them. It never waits, and costs nothing while nobody waits for any: when bitswap is busy, peers ask again.
    pub fn blocks_arrived(&self) -> impl Fn(&mut dyn Iterator<Item = &Cid>) + Send + Sync + use<> {
        let bitswap = self.bitswap().clone();
        move |cids| {
            // Wants whose look-up is under way are not counted; they find the block, or are asked for again.
            if bitswap.counters.wants_waiting.load(Ordering::Relaxed) > 0 {
                // After a shutdown nobody waits any more.
                let _ = bitswap.events.try_send(Event::Arrived(cids.copied().collect()));
            }
        }
    }

    async fn ask_bitswap<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.bitswap().events.send(event(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Starts the tasks.
pub(crate) fn start(
    shared: &Shared,
    source: Arc<dyn BlockSource>,
    limits: &Limits,
) -> Result<BitswapHandle, AlreadyAccepted> {
    let accept =
        |protocol: Protocol| shared.accepting.accept(StreamProtocol::new(protocol.name()), limits.backlog);
    let incoming = Protocol::ALL.into_iter().map(accept).collect::<Result<Vec<_>, _>>()?;
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let handle = BitswapHandle {
        events: events.clone(),
        consumed: Arc::new(Notify::new()),
        counters: Arc::default(),
        sessions: Arc::default(),
    };
    shared.tasks.spawn(reader::read_all(shared.clone(), incoming, events.clone(), handle.counters.clone()));
    let actor = actor::Actor::new(shared.clone(), source, limits, &handle);
    shared.tasks.spawn(actor.run(inbox));
    Ok(handle)
}
