//! Who is connected, for everyone who asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hpips_types::AccountId;
use libp2p::PeerId;
use tokio::sync::broadcast;

use crate::identity::account_of;

/// Events a slow subscriber may be behind before it has to look at the whole list again.
const EVENTS_MAX: usize = 1024;

/// A connection came or the last one went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    Connected(PeerId),
    Disconnected(PeerId),
}

/// Connected peers. Written by the swarm's task alone.
#[derive(Debug)]
pub(crate) struct Peers {
    connected: Mutex<BTreeMap<PeerId, Option<AccountId>>>,
    events: broadcast::Sender<PeerEvent>,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self { connected: Mutex::new(BTreeMap::new()), events: broadcast::Sender::new(EVENTS_MAX) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Option<AccountId>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self, peer: PeerId) {
        if self.lock().insert(peer, account_of(&peer)).is_none() {
            // Nobody listening is fine.
            let _ = self.events.send(PeerEvent::Connected(peer));
        }
    }

    pub(crate) fn disconnect(&self, peer: PeerId) {
        if self.lock().remove(&peer).is_some() {
            let _ = self.events.send(PeerEvent::Disconnected(peer));
        }
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.lock().contains_key(peer)
    }

    pub(crate) fn all(&self) -> Vec<PeerId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        self.lock().values().flatten().copied().collect()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }
}
