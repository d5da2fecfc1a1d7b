//! The engine's network carried over our libp2p: one frame channel each for votes, certificates, fetching
//! of certificates, fetching of blocks, and new blocks.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{
    BlockedSubscription, Blocker, CheckedSender, LimitedSender, Message, PeerSetSubscription, PeerSetUpdate,
    Provider, Receiver, Recipients, TrackedPeers,
};
use commonware_runtime::{IoBuf, IoBufs};
use commonware_utils::channel::{mpsc, ring};
use commonware_utils::ordered::Set;
use hpips_net::{AlreadyAccepted, FrameReceiver, FrameSender, Net};
use hpips_types::AccountId;
use tracing::warn;

use crate::scheme::{PublicKey, account_of, public_key};

/// Frames that the engine may take in one go. Its receivers drain the channel's own bounded queue.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// The channels of the engine, in the order of their numbers.
pub(crate) const CHANNELS: u64 = 5;

/// The committee as the engine's peers, and those it asked to block.
#[derive(Clone, Debug)]
pub(crate) struct Committee {
    set: Set<PublicKey>,
    blocked: Arc<Mutex<Blocked>>,
    /// Kept so that the engine's subscriptions stay open; the set never changes.
    updates: Arc<Mutex<Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>>>,
}

#[derive(Debug, Default)]
struct Blocked {
    accounts: HashSet<AccountId>,
    subscribers: Vec<ring::Sender<Set<PublicKey>>>,
}

impl Committee {
    pub(crate) fn new(set: Set<PublicKey>) -> Self {
        Self { set, blocked: Arc::default(), updates: Arc::default() }
    }

    fn blocked_lock(&self) -> MutexGuard<'_, Blocked> {
        self.blocked.lock().expect("no panic while the lock is held")
    }

    /// Opens one of the engine's channels. Messages above `bytes_max` are never sent nor taken.
    pub(crate) fn channel(
        &self,
        net: &Net,
        channel: u64,
        bytes_max: usize,
    ) -> Result<(Sender, Inbox), AlreadyAccepted> {
        let (sender, receiver) = net.frames(channel, bytes_max)?;
        let me = net.account();
        let members: Arc<[AccountId]> = self.set.iter().map(account_of).collect();
        let inbox = Inbox { members: Arc::clone(&members), frames: receiver, committee: self.clone() };
        Ok((Sender { me, members, frames: sender }, inbox))
    }
}

impl Provider for Committee {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, _id: u64) -> Option<TrackedPeers<PublicKey>> {
        Some(TrackedPeers::primary(self.set.clone()))
    }

    #[expect(clippy::disallowed_methods, reason = "the engine's interface; exactly one message is ever sent")]
    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let tracked = TrackedPeers::primary(self.set.clone());
        let sent = sender.send(PeerSetUpdate { index: 0, latest: tracked.clone(), all: tracked });
        debug_assert!(sent.is_ok(), "the receiver is held here");
        self.updates.lock().expect("no panic while the lock is held").push(sender);
        receiver
    }
}

impl Blocker for Committee {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        let account = account_of(&peer);
        let mut blocked = self.blocked_lock();
        if blocked.accounts.insert(account) {
            warn!(%account, "validator broke the protocol: its frames are ignored until restart");
            let set = Set::from_iter_dedup(blocked.accounts.iter().filter_map(public_key));
            blocked.subscribers.retain(|subscriber| subscriber.send_lossy(set.clone()));
        }
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NonZeroUsize::MIN);
        self.blocked_lock().subscribers.push(sender);
        receiver
    }
}

/// Sends to the committee, never to ourselves: the engine counts its own votes.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    me: AccountId,
    members: Arc<[AccountId]>,
    frames: FrameSender,
}

pub(crate) struct Checked<'a> {
    to: Vec<PublicKey>,
    frames: &'a FrameSender,
}

impl LimitedSender for Sender {
    type PublicKey = PublicKey;
    type Checked<'a> = Checked<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Checked<'_>, SystemTime> {
        let to = match recipients {
            Recipients::All => self.members.iter().filter_map(public_key).collect(),
            Recipients::Some(some) => some,
            Recipients::One(one) => vec![one],
        };
        let to = to.into_iter().filter(|peer| account_of(peer) != self.me).collect();
        Ok(Checked { to, frames: &self.frames })
    }
}

impl CheckedSender for Checked<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.to.clone()
    }

    fn send(self, message: impl Into<IoBufs> + Send, _priority: bool) -> Unreliable<Feedback> {
        let message: IoBuf = message.into().coalesce();
        let to: Vec<AccountId> = self.to.iter().map(account_of).collect();
        self.frames.send(&to, Bytes::copy_from_slice(message.as_ref()));
        Unreliable::Outcome(Feedback::Ok)
    }
}

/// Frames of one channel that come from members.
#[derive(Debug)]
pub(crate) struct Inbox {
    members: Arc<[AccountId]>,
    frames: FrameReceiver,
    committee: Committee,
}

/// The network has shut down.
#[derive(Debug, thiserror::Error)]
#[error("the network has shut down")]
pub(crate) struct Closed;

impl Receiver for Inbox {
    type Error = Closed;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Closed> {
        loop {
            let (from, frame) = self.frames.recv().await.ok_or(Closed)?;
            if !self.members.contains(&from) || self.committee.blocked_lock().accounts.contains(&from) {
                continue;
            }
            if let Some(key) = public_key(&from) {
                return Ok((key, IoBuf::from(frame)));
            }
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        CAPACITY
    }
}
