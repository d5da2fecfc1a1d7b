//! The handle everyone holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hpips_bitswap::BlockSource;
use hpips_types::AccountId;
use libp2p::gossipsub::IdentTopic;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::behaviour;
use crate::bitswap::{self, BitswapHandle};
use crate::config::{Config, Limits};
use crate::filters::Filters;
use crate::frames::{self, FrameReceiver, FrameSender};
use crate::gossip::{Gossip, INBOX_MAX};
use crate::identity::{account_of, keypair_of, peer_of};
use crate::peers::{PeerInfo, Peers};
use crate::routing::Routing;
use crate::streams::{Accepting, AlreadyAccepted, OpenError};
use crate::swarm::{Actor, Addresses, Command};
use crate::tasks::Tasks;
use crate::wire::Stream;

/// Commands that wait for the swarm's task.
const COMMANDS_MAX: usize = 256;
/// The protocol of pings, which every libp2p answers.
const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// Time tasks get to end at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The transport or a behaviour could not be made.
    #[error("setting up the network failed")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address cannot be listened on: in use, or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A peer to stay connected with without its name.
    #[error("the peer address {0} does not end in /p2p/NAME")]
    PeerAddress(Multiaddr),
    /// Not called from inside a tokio runtime.
    #[error("the network needs a tokio runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
    /// A protocol of the network itself is taken.
    #[error(transparent)]
    Accept(#[from] AlreadyAccepted),
}

/// A running network. Cheap to clone; it stops with [`Net::shutdown`] or when the last handle is dropped.
///
/// Methods may be called from any task of any runtime; everything that needs one runs on the runtime that
/// [`Net::start`] was called on.
#[derive(Clone, Debug)]
pub struct Net(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    peer: PeerId,
    account: AccountId,
    limits: Limits,
    commands: mpsc::Sender<Command>,
    addresses: watch::Receiver<Addresses>,
    shared: Shared,
    bitswap: BitswapHandle,
    routing: Routing,
    filters: Filters,
}

/// What tasks of the network use. They must not hold a [`Net`], which would keep itself alive.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) accepting: Accepting,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) open_deadline: Duration,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.accepting.close();
        self.shared.tasks.stop();
    }
}

impl Net {
    /// Starts the network on the current tokio runtime and returns when it listens. Blocks of `source` are
    /// served by bitswap from then on.
    ///
    /// # Errors
    /// [`StartError`] by variant.
    pub async fn start(config: Config, source: Arc<dyn BlockSource>) -> Result<Self, StartError> {
        let keypair = keypair_of(&config.seed);
        Self::start_as(config, &keypair, source).await
    }

    /// As [`Net::start`], under any key: peers of tests have all kinds.
    async fn start_as(
        config: Config,
        keypair: &Keypair,
        source: Arc<dyn BlockSource>,
    ) -> Result<Self, StartError> {
        let runtime = Handle::try_current().map_err(StartError::NoRuntime)?;
        let accepting = Accepting::new();
        let peer = keypair.public().to_peer_id();
        let own = keypair_of(&config.seed).public().to_peer_id();
        let account = account_of(&own).expect("the key is an ed25519 key");
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (told, addresses) = watch::channel(Addresses::default());
        let peers = Arc::new(Peers::new());
        let tasks = Arc::new(Tasks::new(runtime));
        let shared = Shared {
            tasks: tasks.clone(),
            peers: peers.clone(),
            accepting: accepting.clone(),
            commands: commands.clone(),
            open_deadline: config.limits.open,
        };
        // Protocols are accepted before the first connection, so that no peer finds them missing.
        let bitswap = bitswap::start(&shared, source, &config.limits)?;
        let filters = Filters::new(&config.filters);
        let swarm = behaviour::build(&config, keypair, accepting, peers.clone(), filters.clone())?;
        let routing = Routing::new(!config.dhts.is_empty(), commands.clone());
        let mut actor = Actor::new(swarm, &config, inbox, peers, told)?;
        let ready = actor.listen().await;
        let net = Self(Arc::new(Inner {
            peer,
            account,
            limits: config.limits,
            commands,
            addresses,
            shared,
            bitswap,
            routing,
            filters,
        }));
        ready?;
        tasks.spawn(actor.run());
        tracing::info!(%peer, addresses = ?net.listen_addrs(), "network started");
        Ok(net)
    }

    /// The libp2p name.
    pub fn peer_id(&self) -> PeerId {
        self.0.peer
    }

    /// The account: the same key.
    pub fn account(&self) -> AccountId {
        self.0.account
    }

    /// Addresses listened on, with the ports that were taken, without `/p2p/NAME`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.0.addresses.borrow().listening.clone()
    }

    /// Where others reach this node: addresses listened on, then those of a router that hands on to them, without
    /// `/p2p/NAME`.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        let addresses = self.0.addresses.borrow();
        addresses.listening.iter().chain(&addresses.outside).cloned().collect()
    }

    /// Where others reach this node, each address ending in `/p2p/NAME`: what they put into [`Config::peers`].
    pub fn full_addrs(&self) -> Vec<Multiaddr> {
        self.addrs().into_iter().map(|address| self.full(address)).collect()
    }

    /// An address of this node with its name.
    pub fn full(&self, address: Multiaddr) -> Multiaddr {
        address.with_p2p(self.0.peer).unwrap_or_else(|address| address)
    }

    /// Accounts with an open connection.
    pub fn connected(&self) -> Vec<AccountId> {
        self.0.shared.peers.accounts()
    }

    /// Whether an account has an open connection.
    pub fn is_connected(&self, account: &AccountId) -> bool {
        peer_of(account).is_some_and(|peer| self.0.shared.peers.is_connected(&peer))
    }

    /// What is known of everyone connected, sorted by name.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.0.shared.peers.infos()
    }

    /// What is known of one peer; `None` when it is not connected.
    pub fn peer(&self, peer: &PeerId) -> Option<PeerInfo> {
        self.0.shared.peers.info(peer)
    }

    /// Names of the protocols that are accepted on streams of this node, sorted.
    pub fn protocols(&self) -> Vec<String> {
        self.0.shared.accepting.sorted()
    }

    /// Bytes received and sent since the start, on streams of this node: bitswap, pieces, consensus.
    pub fn traffic(&self) -> (u64, u64) {
        self.0.shared.peers.totals()
    }

    /// The bounds of the configuration.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Networks with which no connection is made.
    pub fn filters(&self) -> &Filters {
        &self.0.filters
    }

    /// The DHTs.
    pub fn routing(&self) -> &Routing {
        &self.0.routing
    }

    /// As [`Net::connect`], with any peer, known by the address book or a DHT.
    ///
    /// # Errors
    /// [`OpenError::NotConnected`] when no address is known or none answers.
    pub async fn connect_peer(&self, peer: PeerId) -> Result<(), OpenError> {
        self.0.shared.connect(peer).await
    }

    /// Closes all connections with any peer.
    pub async fn disconnect_peer(&self, peer: PeerId) {
        let _ = self.command(Command::Disconnect(peer)).await;
    }

    /// Stops keeping a connection with an account: undoes [`Net::keep`].
    pub async fn let_go(&self, account: AccountId) {
        if let Some(peer) = peer_of(&account) {
            self.let_go_peer(peer).await;
        }
    }

    /// As [`Net::let_go`], with any peer.
    pub async fn let_go_peer(&self, peer: PeerId) {
        let _ = self.command(Command::LetGo(peer)).await;
    }

    /// Sends bytes there and back: the time of one round trip, connecting first where needed.
    ///
    /// # Errors
    /// [`OpenError`] by variant.
    pub async fn ping(&self, peer: PeerId) -> Result<Duration, OpenError> {
        self.0.shared.connect(peer).await?;
        match self.round_trip(peer).await {
            // A peer answers on the newest stream alone, and the swarm's own pings may have begun after this one.
            Err(OpenError::Io(_)) => self.round_trip(peer).await,
            outcome => outcome,
        }
    }

    async fn round_trip(&self, peer: PeerId) -> Result<Duration, OpenError> {
        let mut stream = self.0.shared.open(peer, PING).await?;
        let round = async {
            let (began, sent) = (Instant::now(), [0x5a; 32]);
            stream.write_all(&sent).await?;
            stream.flush().await?;
            let mut echo = [0; 32];
            stream.read_exact(&mut echo).await?;
            Ok(began.elapsed())
        };
        self.deadline(round).await?.map_err(OpenError::Io)
    }

    /// Waits until all of these are connected; whoever waits sets the deadline. Does not dial.
    pub async fn wait_connected(&self, accounts: &[AccountId]) {
        let mut events = self.0.shared.peers.subscribe();
        while !accounts.iter().all(|account| self.is_connected(account)) {
            match events.recv().await {
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Dials an address. With `/p2p/NAME` at its end it returns when connected; without, when the dial began.
    ///
    /// # Errors
    /// [`OpenError::NotConnected`] when nobody answers or somebody else does.
    pub async fn dial(&self, address: Multiaddr) -> Result<(), OpenError> {
        let (reply, outcome) = oneshot::channel();
        self.command(Command::Dial(address, reply)).await?;
        let outcome = self.deadline(outcome).await?;
        outcome.map_err(|_| OpenError::NotConnected(None))?
    }

    /// Connects with an account whose addresses are known; returns at once when a connection stands.
    ///
    /// # Errors
    /// [`OpenError::NotConnected`] when no address is known or none answers.
    pub async fn connect(&self, account: AccountId) -> Result<(), OpenError> {
        let peer = peer_of(&account).ok_or(OpenError::NotConnected(None))?;
        self.0.shared.connect(peer).await
    }

    /// Remembers addresses of an account, most likely first, for later dials; with or without `/p2p/NAME`.
    pub async fn address_book(&self, account: AccountId, addresses: Vec<Multiaddr>) {
        if let Some(peer) = peer_of(&account) {
            self.address_book_peer(peer, addresses).await;
        }
    }

    /// As [`Net::address_book`], of any peer, whatever kind of key it has.
    pub async fn address_book_peer(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        // After a shutdown nobody dials any more.
        let _ = self.command(Command::Addresses(peer, bare(peer, addresses))).await;
    }

    /// Remembers addresses that somebody says a peer has, without `/p2p/NAME`: behind those known, which a liar cannot
    /// displace.
    pub async fn heard_of(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let _ = self.command(Command::Heard(peer, addresses)).await;
    }

    /// As [`Net::address_book`], and stays connected with the account from now on, as with [`Config::peers`].
    pub async fn keep(&self, account: AccountId, addresses: Vec<Multiaddr>) {
        if let Some(peer) = peer_of(&account) {
            self.keep_peer(peer, addresses).await;
        }
    }

    /// As [`Net::keep`], with any peer, whatever kind of key it has.
    pub async fn keep_peer(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let _ = self.command(Command::Keep(peer, bare(peer, addresses))).await;
    }

    /// Closes all connections with an account. A peer to keep is dialed again.
    pub async fn disconnect(&self, account: AccountId) {
        if let Some(peer) = peer_of(&account) {
            let _ = self.command(Command::Disconnect(peer)).await;
        }
    }

    /// Opens a stream; connects first where addresses are known.
    ///
    /// # Errors
    /// [`OpenError`] by variant.
    pub async fn open(&self, account: AccountId, protocol: &str) -> Result<Stream, OpenError> {
        let peer = peer_of(&account).ok_or(OpenError::NotConnected(None))?;
        let protocol = protocol_name(protocol)?;
        self.0.shared.connect(peer).await?;
        self.0.shared.open(peer, protocol).await
    }

    /// Accepts streams of a protocol until the result is dropped. At most [`Limits::backlog`] wait; more are
    /// reset, and their openers try again.
    ///
    /// # Errors
    /// [`AlreadyAccepted`] when the protocol is accepted in another place or its name does not begin with `/`.
    pub fn accept(&self, protocol: &str) -> Result<Incoming, AlreadyAccepted> {
        let protocol = protocol_name(protocol).map_err(|_| AlreadyAccepted(protocol.into()))?;
        Ok(Incoming { inbox: self.0.shared.accepting.accept(protocol, self.0.limits.backlog)? })
    }

    /// Subscribes to a gossip topic; messages over `bytes_max` are neither sent nor delivered. The limit of all
    /// topics is [`Limits::gossip_bytes_max`].
    pub fn gossip(&self, topic: &str, bytes_max: usize) -> Gossip {
        let topic = IdentTopic::new(topic);
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let commands = self.0.commands.clone();
        let command = Command::Subscribe(topic.clone(), sender);
        let send = commands.clone();
        self.0.shared.tasks.spawn(async move {
            // Fails only when the network shuts down; then `recv` ends.
            let _ = send.send(command).await;
        });
        Gossip::new(topic, bytes_max.min(self.0.limits.gossip_bytes_max), commands, inbox)
    }

    /// A channel of small messages for consensus: see `frames.rs`.
    ///
    /// # Errors
    /// [`AlreadyAccepted`] when the channel is open already.
    pub fn frames(
        &self,
        channel: u64,
        bytes_max: usize,
    ) -> Result<(FrameSender, FrameReceiver), AlreadyAccepted> {
        frames::start(&self.0.shared, channel, bytes_max, self.0.limits.backlog)
    }

    /// Counters of what bitswap did since the start.
    pub fn bitswap_stats(&self) -> crate::bitswap::Stats {
        self.0.bitswap.stats()
    }

    /// Ends all tasks and connections; returns when they have ended, after five seconds at most.
    pub async fn shutdown(&self) {
        self.0.shared.accepting.close();
        self.0.shared.tasks.stop();
        self.0.shared.tasks.wait(SHUTDOWN).await;
    }

    pub(crate) fn tasks(&self) -> Arc<Tasks> {
        self.0.shared.tasks.clone()
    }

    #[cfg(test)]
    pub(crate) fn accepting(&self) -> &Accepting {
        &self.0.shared.accepting
    }

    pub(crate) fn bitswap(&self) -> &BitswapHandle {
        &self.0.bitswap
    }

    async fn command(&self, command: Command) -> Result<(), OpenError> {
        self.0.commands.send(command).await.map_err(|_| OpenError::Closed)
    }

    async fn deadline<T>(&self, outcome: impl Future<Output = T>) -> Result<T, OpenError> {
        tokio::time::timeout(self.0.limits.open, outcome).await.map_err(|_| OpenError::Deadline)
    }
}

impl Shared {
    /// Waits for a connection, dialing where none stands.
    pub(crate) async fn connect(&self, peer: PeerId) -> Result<(), OpenError> {
        if self.peers.is_connected(&peer) {
            return Ok(());
        }
        let (reply, outcome) = oneshot::channel();
        let ask = async {
            self.commands.send(Command::Connect(peer, reply)).await.map_err(|_| OpenError::Closed)?;
            outcome.await.map_err(|_| OpenError::NotConnected(None))?
        };
        tokio::time::timeout(self.open_deadline, ask).await.unwrap_or(Err(OpenError::Deadline))
    }

    /// Opens a stream on a connection that stands.
    pub(crate) async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let (opened, outcome) = oneshot::channel();
        let ask = async {
            self.commands.send(Command::Open(peer, protocol, opened)).await.map_err(|_| OpenError::Closed)?;
            outcome.await.map_err(|_| OpenError::NotConnected(None))?
        };
        let stream =
            tokio::time::timeout(self.open_deadline, ask).await.unwrap_or(Err(OpenError::Deadline))?;
        Ok(stream)
    }
}

fn bare(peer: PeerId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let strip = |address: Multiaddr| match crate::identity::split_peer(&address) {
        // An address that names somebody else is of no use.
        Some((name, bare)) => (name == peer).then_some(bare),
        None => Some(address),
    };
    addresses.into_iter().filter_map(strip).collect()
}

pub(crate) fn protocol_name(name: &str) -> Result<StreamProtocol, OpenError> {
    StreamProtocol::try_from_owned(name.to_owned()).map_err(|_| OpenError::Name(name.to_owned()))
}

/// Inbound streams of one protocol.
#[derive(Debug)]
pub struct Incoming {
    inbox: mpsc::Receiver<(PeerId, Stream)>,
}

impl Incoming {
    /// The next stream and who opened it; `None` after shutdown. Peers without an account (keys other than
    /// ed25519) are reset. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(AccountId, Stream)> {
        loop {
            let (peer, stream) = self.inbox.recv().await?;
            if let Some(account) = account_of(&peer) {
                return Some((account, stream));
            }
        }
    }
}

/// An empty source, for nodes that serve no blocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBlocks;

impl BlockSource for NoBlocks {
    fn size(&self, _: &hpips_types::Cid) -> Result<Option<u32>, hpips_bitswap::SourceError> {
        Ok(None)
    }

    fn get(&self, _: &hpips_types::Cid) -> Result<Option<Bytes>, hpips_bitswap::SourceError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
