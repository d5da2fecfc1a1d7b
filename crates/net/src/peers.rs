//! Who is connected, for everyone who asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hpips_types::AccountId;
use libp2p::core::ConnectedPoint;
use libp2p::identity::PublicKey;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::broadcast;

use crate::identity::{account_of, key_of, split_peer};

/// Events a slow subscriber may be behind before it has to look at the whole list again.
const EVENTS_MAX: usize = 1024;

/// A connection came or the last one went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    Connected(PeerId),
    Disconnected(PeerId),
}

/// What is known of a connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// The address of its first connection, without its name.
    pub address: Multiaddr,
    /// Whether this node dialed it.
    pub is_outbound: bool,
    /// Round trip of the last ping.
    pub latency: Option<Duration>,
    /// Name and version of its program, as it says.
    pub agent: String,
    /// Addresses it says to listen on.
    pub listens: Vec<Multiaddr>,
    /// Its public key in libp2p's protobuf form: of ed25519 and secp256k1 from its name, of others once it has said it.
    pub public_key: Option<Vec<u8>>,
    /// Protocols it says to speak.
    pub protocols: Vec<String>,
    /// Bytes that came from it on streams of this node.
    pub received: u64,
    /// Bytes that went to it on streams of this node.
    pub sent: u64,
}

/// Bytes of an agent's name that are kept.
const AGENT_BYTES_MAX: usize = 128;
/// Protocols of a peer that are kept.
const PROTOCOLS_MAX: usize = 128;

/// Bytes that went to and from somebody.
#[derive(Debug)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
}

impl Traffic {
    fn new() -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            began: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn stamp(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.stamp();
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.stamp();
    }

    fn used(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Line {
    account: Option<AccountId>,
    info: PeerInfo,
    traffic: Arc<Traffic>,
}

impl Line {
    fn info(&self) -> PeerInfo {
        PeerInfo {
            received: self.traffic.received.load(Ordering::Relaxed),
            sent: self.traffic.sent.load(Ordering::Relaxed),
            ..self.info.clone()
        }
    }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Connected peers. Written by the swarm's task alone.
#[derive(Debug)]
pub(crate) struct Peers {
    connected: Mutex<BTreeMap<PeerId, Line>>,
    events: broadcast::Sender<PeerEvent>,
    /// Of peers that are gone.
    gone: (AtomicU64, AtomicU64),
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            connected: Mutex::new(BTreeMap::new()),
            events: broadcast::Sender::new(EVENTS_MAX),
            gone: (AtomicU64::new(0), AtomicU64::new(0)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Line>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection stands. Of several with one peer the first is shown, or the first direct one.
    pub(crate) fn connect(&self, peer: PeerId, endpoint: &ConnectedPoint) {
        let mut connected = self.lock();
        let address = endpoint.get_remote_address().clone();
        let address = split_peer(&address).map_or(address, |(_, bare)| bare);
        if let Some(line) = connected.get_mut(&peer) {
            if is_relayed(&line.info.address) && !endpoint.is_relayed() {
                line.info.address = address;
                line.info.is_outbound = endpoint.is_dialer();
            }
            return;
        }
        let info = PeerInfo {
            peer,
            address,
            is_outbound: endpoint.is_dialer(),
            latency: None,
            agent: String::new(),
            listens: Vec::new(),
            public_key: key_of(&peer),
            protocols: Vec::new(),
            received: 0,
            sent: 0,
        };
        let line = Line { account: account_of(&peer), info, traffic: Arc::new(Traffic::new()) };
        connected.insert(peer, line);
        drop(connected);
        // Nobody listening is fine.
        let _ = self.events.send(PeerEvent::Connected(peer));
    }

    /// The streams with a peer are gone, and it is still connected: whoever has some begins anew.
    pub(crate) fn moved(&self, peer: PeerId) {
        let _ = self.events.send(PeerEvent::Disconnected(peer));
        let _ = self.events.send(PeerEvent::Connected(peer));
    }

    pub(crate) fn disconnect(&self, peer: PeerId) {
        let gone = self.lock().remove(&peer);
        if let Some(line) = gone {
            self.gone.0.fetch_add(line.traffic.received.load(Ordering::Relaxed), Ordering::Relaxed);
            self.gone.1.fetch_add(line.traffic.sent.load(Ordering::Relaxed), Ordering::Relaxed);
            let _ = self.events.send(PeerEvent::Disconnected(peer));
        }
    }

    pub(crate) fn answered(&self, peer: &PeerId, latency: Duration) {
        if let Some(line) = self.lock().get_mut(peer) {
            line.info.latency = Some(latency);
        }
    }

    pub(crate) fn identified(
        &self,
        peer: &PeerId,
        agent: &str,
        key: &PublicKey,
        listens: Vec<Multiaddr>,
        protocols: &[StreamProtocol],
    ) {
        if let Some(line) = self.lock().get_mut(peer) {
            line.info.listens = listens;
            if line.info.public_key.is_none() && key.to_peer_id() == *peer {
                line.info.public_key = Some(key.encode_protobuf());
            }
            // Whatever a peer calls itself must not move a terminal's cursor.
            line.info.agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_BYTES_MAX).collect();
            line.info.protocols =
                protocols.iter().take(PROTOCOLS_MAX).map(|protocol| protocol.to_string()).collect();
        }
    }

    /// Counts what goes to and from a peer; `None` when it is not connected.
    pub(crate) fn traffic(&self, peer: &PeerId) -> Option<Arc<Traffic>> {
        self.lock().get(peer).map(|line| line.traffic.clone())
    }

    /// When bytes last went to or from a peer.
    pub(crate) fn used(&self, peer: &PeerId) -> Option<Instant> {
        self.lock().get(peer).map(|line| line.traffic.used())
    }

    /// Bytes received and sent since the start, by all streams of this node.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let mut totals = (self.gone.0.load(Ordering::Relaxed), self.gone.1.load(Ordering::Relaxed));
        for line in self.lock().values() {
            totals.0 += line.traffic.received.load(Ordering::Relaxed);
            totals.1 += line.traffic.sent.load(Ordering::Relaxed);
        }
        totals
    }

    /// What is known of everyone connected.
    pub(crate) fn infos(&self) -> Vec<PeerInfo> {
        self.lock().values().map(Line::info).collect()
    }

    /// What is known of one.
    pub(crate) fn info(&self, peer: &PeerId) -> Option<PeerInfo> {
        self.lock().get(peer).map(Line::info)
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.lock().contains_key(peer)
    }

    pub(crate) fn all(&self) -> Vec<PeerId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        self.lock().values().filter_map(|line| line.account).collect()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }
}
