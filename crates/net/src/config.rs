//! What a node's network needs to know before it starts.

use core::fmt;
use std::time::Duration;

use libp2p::Multiaddr;
use zeroize::Zeroizing;

use crate::filters::Filter;
use crate::private::PrivateKey;

/// Configuration of [`crate::Net`].
#[derive(Clone)]
pub struct Config {
    /// Seed of the ed25519 key that is the node's account and its libp2p identity.
    pub seed: Zeroizing<[u8; 32]>,
    /// Addresses to listen on; port 0 takes any free one. Empty: only dial.
    pub listen: Vec<Multiaddr>,
    /// Peers to stay connected with, each ending in `/p2p/NAME`. They are redialled for ever.
    pub peers: Vec<Multiaddr>,
    /// Name and version shown to others, as `hpips/0.0.1`.
    pub agent: String,
    /// Whether peers on the local network are looked for by multicast DNS.
    pub mdns: bool,
    /// DHTs to take part in, one of each [`Reach`] at most.
    pub dhts: Vec<Dht>,
    /// Whether blocks that are provided are told to a [`Reach::Public`] DHT too.
    pub announces_public: bool,
    /// Addresses told to others besides those found out: of a forwarded port, for example.
    pub announce: Vec<Multiaddr>,
    /// Relays to be reachable through, each ending in `/p2p/NAME`.
    pub relays: Vec<Multiaddr>,
    /// Whether a router is asked to forward the port, by UPnP.
    pub upnp: bool,
    /// The key of a private network: only who has it can connect. QUIC is off then.
    pub private_key: Option<PrivateKey>,
    /// IP networks with which no connection is made.
    pub filters: Vec<Filter>,
    /// Bounds of memory and connections.
    pub limits: Limits,
}

impl Config {
    /// A node that listens on a free port of the loopback interface and knows nobody.
    pub fn loopback(seed: [u8; 32]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a correct address")],
            peers: Vec::new(),
            agent: concat!("hpips/", env!("CARGO_PKG_VERSION")).into(),
            mdns: false,
            dhts: Vec::new(),
            announces_public: false,
            announce: Vec::new(),
            relays: Vec::new(),
            upnp: false,
            private_key: None,
            filters: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// The seed is a secret and stays out of every log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("agent", &self.agent)
            .field("mdns", &self.mdns)
            .field("dhts", &self.dhts)
            .field("announces_public", &self.announces_public)
            .field("announce", &self.announce)
            .field("relays", &self.relays)
            .field("upnp", &self.upnp)
            .field("private", &self.private_key.is_some())
            .field("filters", &self.filters)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Who takes part in a DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The members of one network, wherever they are; addresses of any kind.
    Network,
    /// Machines of one local network; addresses of any kind.
    Local,
    /// Anybody: only public addresses are taken, and records are kept for others only when this node has one.
    Public,
}

/// A DHT to take part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dht {
    /// Its protocol name, as `/ipfs/kad/1.0.0`.
    pub protocol: String,
    /// Who is in it.
    pub reach: Reach,
}

impl Dht {
    /// The DHT of an HPIPS network.
    pub fn of_network(name: &str) -> Self {
        Self { protocol: format!("/hpips/{name}/kad/1.0.0"), reach: Reach::Network }
    }

    /// The public one of IPFS, and the one its nodes run on a local network.
    pub fn ipfs() -> [Self; 2] {
        [
            Self { protocol: "/ipfs/kad/1.0.0".into(), reach: Reach::Public },
            Self { protocol: "/ipfs/lan/kad/1.0.0".into(), reach: Reach::Local },
        ]
    }
}

/// Bounds of memory and connections. Defaults suit a home computer.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections_max: u32,
    /// Above so many peers, those of least use are let go ...
    pub peers_high: usize,
    /// ... until so many are left.
    pub peers_low: usize,
    /// A peer is kept at least so long after it connected or was last used.
    pub grace: Duration,
    /// How often surplus peers, lost relays and given up searches are looked for.
    pub tick: Duration,
    /// Connections with one peer; two arise when both dial at once.
    pub connections_per_peer_max: u32,
    /// Handshakes under way, each direction.
    pub connections_pending_max: u32,
    /// A connection without streams is closed after this time.
    pub idle: Duration,
    /// Time between pings, and the time a ping may take; a connection that fails one is closed.
    pub ping: Duration,
    /// Longest gossip message, bytes. Finalized chain blocks with certificates must fit.
    pub gossip_bytes_max: usize,
    /// Longest wait between two dials of a peer to keep.
    pub redial_max: Duration,
    /// Inbound streams of one protocol that wait to be accepted; more are reset.
    pub backlog: usize,
    /// Deadline of a dial, and of negotiating a stream.
    pub open: Duration,
    /// Bytes a second of blocks and pieces from all peers together; `None` for no bound. At least
    /// [`BANDWIDTH_MIN`](crate::BANDWIDTH_MIN).
    pub receive_bytes_max: Option<u64>,
    /// The same to all peers.
    pub send_bytes_max: Option<u64>,
    /// How long readers look for a block before it counts as not found.
    pub find: Duration,
    /// Longest time a bitswap peer may be silent about a block before others are asked.
    pub bitswap_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            peers_high: 192,
            peers_low: 96,
            grace: Duration::from_secs(20),
            tick: Duration::from_secs(5),
            connections_per_peer_max: 4,
            connections_pending_max: 128,
            idle: Duration::from_secs(3600),
            ping: Duration::from_secs(20),
            gossip_bytes_max: 2 * 1024 * 1024,
            redial_max: Duration::from_secs(5),
            backlog: 64,
            open: Duration::from_secs(10),
            find: Duration::from_secs(60),
            receive_bytes_max: None,
            send_bytes_max: None,
            bitswap_silence: Duration::from_secs(5),
        }
    }
}
