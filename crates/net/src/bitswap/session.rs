//! Fetching blocks: what the rest of the program sees.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hpips_types::content::IDENTITY;
use hpips_types::{AccountId, Cid};
use libp2p::PeerId;
use tokio::sync::{Notify, mpsc};

use super::{BitswapHandle, Event};
use crate::identity::peer_of;
use crate::net::Net;

/// Blocks that wait in a stream; more wait before they are asked for.
const INBOX_MAX: usize = 128;

/// Why a block did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody asked has it.
    #[error("none of {asked} peers asked has block {cid}")]
    NotFound {
        /// The block.
        cid: Cid,
        /// Candidates that were tried.
        asked: usize,
    },
    /// It did not come in time.
    #[error("block {cid} did not come within {deadline:?}")]
    Deadline {
        /// The block.
        cid: Cid,
        /// The time given.
        deadline: Duration,
    },
    /// This node shuts down.
    #[error("the network is shut down")]
    Closed,
}

pub(super) type Item = Result<(Cid, Bytes), FetchError>;

/// What a reader took, told to the owning task.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) blocks: AtomicUsize,
    pub(super) bytes: AtomicU64,
}

/// A request on its way to the owning task.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) session: u64,
    pub(super) alive: Weak<Identity>,
    /// `None`: everyone connected.
    pub(super) peers: Option<Vec<PeerId>>,
    pub(super) cids: Vec<(Cid, Vec<PeerId>)>,
    pub(super) inbox: mpsc::Sender<Item>,
    pub(super) flow: Arc<Flow>,
}

/// Lives as long as a session or one of its streams.
#[derive(Debug)]
pub(super) struct Identity {
    number: u64,
}

/// Candidate peers and what is learned about them while blocks are fetched. Cheap to clone; clones share both.
#[derive(Clone, Debug)]
pub struct Session {
    bitswap: BitswapHandle,
    identity: Arc<Identity>,
    peers: Arc<Mutex<Option<Vec<PeerId>>>>,
}

impl Session {
    /// A session over candidate peers; an empty list means everyone connected. Peers without a connection are dialed
    /// when they are needed, by the addresses of [`Net::address_book`].
    pub fn new(net: &Net, peers: Vec<AccountId>) -> Self {
        let bitswap = net.bitswap().clone();
        let number = bitswap.sessions.fetch_add(1, Ordering::Relaxed);
        let own = net.peer_id();
        let others = || peers.iter().filter_map(peer_of).filter(|peer| *peer != own).collect();
        let peers = (!peers.is_empty()).then(others);
        Self { bitswap, identity: Arc::new(Identity { number }), peers: Arc::new(Mutex::new(peers)) }
    }

    /// Adds a candidate for this and later requests; those under way learn of it with the next request.
    pub fn add_peer(&self, account: AccountId) {
        let Some(peer) = peer_of(&account) else { return };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peers) = &mut *peers
            && !peers.contains(&peer)
        {
            peers.push(peer);
        }
    }

    /// Fetches blocks, each CID once, in the order they arrive. Every CID gets one item. Dropping the stream
    /// takes back what has not come.
    ///
    /// Blocks are asked for ahead of the reader within bounds of bytes; a slow reader slows the asking.
    pub fn get(&self, cids: Vec<Cid>) -> BlockStream {
        self.get_from(cids.into_iter().map(|cid| (cid, Vec::new())).collect())
    }

    /// As [`Session::get`], with accounts that are known to hold each block: they are asked first, without
    /// asking around.
    pub fn get_from(&self, cids: Vec<(Cid, Vec<AccountId>)>) -> BlockStream {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let flow = Arc::new(Flow::default());
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // An identity names its bytes: nobody has to be asked.
        let (own, cids): (Vec<_>, Vec<_>) =
            cids.into_iter().partition(|(cid, _)| cid.hash().code() == IDENTITY);
        let mut own: Vec<Cid> = own.into_iter().map(|(cid, _)| cid).collect();
        own.sort_unstable();
        own.dedup();
        let hints = |holders: Vec<AccountId>| holders.iter().filter_map(peer_of).collect();
        let ask = Ask {
            session: self.identity.number,
            alive: Arc::downgrade(&self.identity),
            peers,
            cids: cids.into_iter().map(|(cid, holders)| (cid, hints(holders))).collect(),
            inbox: sender,
            flow: flow.clone(),
        };
        BlockStream {
            own,
            ask: (!ask.cids.is_empty()).then_some(ask),
            sending: None,
            events: self.bitswap.events.clone(),
            inbox,
            flow,
            consumed: self.bitswap.consumed.clone(),
            _identity: self.identity.clone(),
        }
    }

    /// Fetches one block.
    ///
    /// # Errors
    /// [`FetchError`] by variant.
    pub async fn get_one(&self, cid: Cid, deadline: Duration) -> Result<Bytes, FetchError> {
        let mut stream = self.get(vec![cid]);
        match tokio::time::timeout(deadline, stream.next()).await {
            Ok(Some(item)) => item.map(|(_, block)| block),
            Ok(None) => Err(FetchError::Closed),
            Err(_) => Err(FetchError::Deadline { cid, deadline }),
        }
    }
}

type Sending = Pin<Box<dyn Future<Output = bool> + Send + Sync>>;

/// Verified blocks as they arrive.
pub struct BlockStream {
    /// Identities that were asked for.
    own: Vec<Cid>,
    ask: Option<Ask>,
    sending: Option<Sending>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Item>,
    flow: Arc<Flow>,
    consumed: Arc<Notify>,
    _identity: Arc<Identity>,
}

impl std::fmt::Debug for BlockStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStream").field("flow", &self.flow).finish_non_exhaustive()
    }
}

impl Stream for BlockStream {
    type Item = Item;

    /// The first poll sends the request. Ends early only when the network shuts down.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = &mut *self;
        if let Some(cid) = this.own.pop() {
            return Poll::Ready(Some(Ok((cid, Bytes::copy_from_slice(cid.hash().digest())))));
        }
        if let Some(ask) = this.ask.take() {
            let events = this.events.clone();
            this.sending = Some(Box::pin(async move { events.send(Event::Request(ask)).await.is_ok() }));
        }
        if let Some(sending) = &mut this.sending {
            match sending.as_mut().poll(cx) {
                Poll::Ready(true) => this.sending = None,
                Poll::Ready(false) => {
                    this.sending = None;
                    return Poll::Ready(Some(Err(FetchError::Closed)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let item = std::task::ready!(this.inbox.poll_recv(cx));
        if let Some(Ok((_, block))) = &item {
            this.flow.blocks.fetch_add(1, Ordering::Relaxed);
            this.flow.bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
            this.consumed.notify_one();
        }
        Poll::Ready(item)
    }
}
