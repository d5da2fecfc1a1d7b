//! The task that owns the libp2p swarm: commands in, events out. It never waits for a peer or for a reader of
//! its events, so nobody can stall it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hpips_types::AccountId;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, connection_limits, gossipsub, identify, mdns, noise, ping, tcp,
    yamux,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::dial::Book;
use crate::gossip::GossipError;
use crate::identity::{account_of, keypair_of, split_peer};
use crate::net::StartError;
use crate::peers::Peers;
use crate::streams::{self, Accepting, OpenError, Opened};

/// Requests to one peer that wait for a connection; more are refused.
const WAITING_MAX: usize = 256;
/// Addresses taken from what a peer says about itself.
const IDENTIFY_ADDRESSES_MAX: usize = 8;

/// Room for signature, key and topic around a gossip message.
const GOSSIP_ENVELOPE_BYTES: usize = 4096;

/// What the rest of the program asks of the swarm.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(PeerId, oneshot::Sender<Result<(), OpenError>>),
    Dial(Multiaddr, oneshot::Sender<Result<(), OpenError>>),
    Open(PeerId, StreamProtocol, Opened),
    Addresses(PeerId, Vec<Multiaddr>),
    Keep(PeerId, Vec<Multiaddr>),
    Disconnect(PeerId),
    Subscribe(gossipsub::IdentTopic, mpsc::Sender<(AccountId, Bytes)>),
    Publish(gossipsub::IdentTopic, Bytes, oneshot::Sender<Result<(), GossipError>>),
}

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    streams: streams::Behaviour,
}

/// Builds the swarm; must run inside a tokio runtime.
pub(crate) fn build(config: &Config, accepting: Accepting) -> Result<Swarm<Behaviour>, StartError> {
    let limits = &config.limits;
    let keypair = keypair_of(&config.seed);
    let peer = keypair.public().to_peer_id();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Setup(source);

    let gossip = gossipsub::ConfigBuilder::default()
        .max_transmit_size(limits.gossip_bytes_max + GOSSIP_ENVELOPE_BYTES)
        .validation_mode(gossipsub::ValidationMode::Strict)
        .message_id_fn(|message| {
            let mut hasher = blake3::Hasher::new_derive_key("hpips/net/gossip-id/v1");
            hasher.update(&(message.topic.as_str().len() as u64).to_le_bytes());
            hasher.update(message.topic.as_str().as_bytes());
            hasher.update(&message.data);
            gossipsub::MessageId::from(&hasher.finalize().as_bytes()[..20])
        })
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .build()
        .map_err(|error| failed(error.to_string().into()))?;
    let gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(keypair.clone()), gossip)
        .map_err(|error| failed(error.into()))?;
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer))
        .transpose()
        .map_err(|error| failed(error.into()))?;
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            connection_limits::ConnectionLimits::default()
                .with_max_established(Some(limits.connections_max))
                .with_max_established_per_peer(Some(limits.connections_per_peer_max))
                .with_max_pending_incoming(Some(limits.connections_pending_max))
                .with_max_pending_outgoing(Some(limits.connections_pending_max)),
        ),
        identify: identify::Behaviour::new(
            identify::Config::new("ipfs/0.1.0".into(), keypair.public())
                .with_agent_version(config.agent.clone()),
        ),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(limits.ping).with_timeout(limits.ping)),
        gossip,
        mdns: mdns.into(),
        streams: streams::Behaviour::new(accepting, limits.open),
    };
    let idle = limits.idle;
    let swarm = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| failed(error.into()))?
        .with_behaviour(|_| behaviour)
        .expect("the behaviour is made already")
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(idle))
        .build();
    Ok(swarm)
}

/// Fails when somebody listens on a TCP port already. The transport would not notice: it shares ports.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip: std::net::IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// State of the task.
pub(crate) struct Actor {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    peers: Arc<Peers>,
    listening: watch::Sender<Vec<Multiaddr>>,
    /// Listeners that have not told an address yet.
    starting: HashSet<ListenerId>,
    book: Book,
    waiting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), OpenError>>>>,
    topics: HashMap<gossipsub::TopicHash, Vec<mpsc::Sender<(AccountId, Bytes)>>>,
    started: Instant,
}

impl Actor {
    pub(crate) fn new(
        mut swarm: Swarm<Behaviour>,
        config: &Config,
        commands: mpsc::Receiver<Command>,
        peers: Arc<Peers>,
        listening: watch::Sender<Vec<Multiaddr>>,
    ) -> Result<Self, StartError> {
        let mut book = Book::new(config.limits.redial_max);
        for address in &config.peers {
            let (peer, address) =
                split_peer(address).ok_or_else(|| StartError::PeerAddress(address.clone()))?;
            if peer != *swarm.local_peer_id() {
                book.keep(peer);
                book.add(peer, address);
            }
        }
        let mut starting = HashSet::new();
        for address in &config.listen {
            probe(address)
                .map_err(|source| StartError::Listen { address: address.clone(), source: source.into() })?;
            let listener = swarm
                .listen_on(address.clone())
                .map_err(|source| StartError::Listen { address: address.clone(), source: source.into() })?;
            starting.insert(listener);
        }
        Ok(Self {
            swarm,
            commands,
            peers,
            listening,
            starting,
            book,
            waiting: HashMap::new(),
            topics: HashMap::new(),
            started: Instant::now(),
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Drives the swarm until every listener has an address.
    pub(crate) async fn listen(&mut self) -> Result<(), StartError> {
        while !self.starting.is_empty() {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    self.starting.remove(&listener_id);
                    self.listening.send_modify(|all| all.push(address));
                }
                SwarmEvent::ListenerClosed { addresses, reason: Err(source), .. } => {
                    let address = addresses.first().cloned().unwrap_or_else(Multiaddr::empty);
                    return Err(StartError::Listen { address, source: source.into() });
                }
                event => self.on_event(event),
            }
        }
        Ok(())
    }

    /// Runs until every handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            for peer in self.book.due(self.now()) {
                self.dial_peer(peer);
            }
            let wait = self.book.next_due().map(|at| at.saturating_sub(self.now()));
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect(peer, reply) => self.connect(peer, reply),
            Command::Dial(address, reply) => match split_peer(&address) {
                Some((peer, address)) => {
                    self.book.add(peer, address);
                    self.connect(peer, reply);
                }
                None => {
                    let opts = DialOpts::unknown_peer_id().address(address).allocate_new_port().build();
                    let dialed = self.swarm.dial(opts);
                    let _ = reply.send(dialed.map_err(|error| OpenError::NotConnected(Some(error.into()))));
                }
            },
            Command::Open(peer, protocol, opened) => {
                self.swarm.behaviour_mut().streams.open(peer, protocol, opened);
            }
            Command::Addresses(peer, addresses) => {
                if peer != *self.swarm.local_peer_id() {
                    addresses.into_iter().rev().for_each(|address| self.book.add(peer, address));
                    if self.swarm.is_connected(&peer) {
                        self.book.connected(peer);
                    }
                }
            }
            Command::Keep(peer, addresses) => {
                if peer != *self.swarm.local_peer_id() {
                    self.book.keep(peer);
                    addresses.into_iter().rev().for_each(|address| self.book.add(peer, address));
                    if self.swarm.is_connected(&peer) {
                        self.book.connected(peer);
                    }
                }
            }
            Command::Disconnect(peer) => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Subscribe(topic, inbox) => {
                let inboxes = self.topics.entry(topic.hash()).or_default();
                inboxes.retain(|inbox| !inbox.is_closed());
                inboxes.push(inbox);
                if let Err(error) = self.swarm.behaviour_mut().gossip.subscribe(&topic) {
                    tracing::warn!(%topic, %error, "gossip topic refused");
                }
            }
            Command::Publish(topic, data, reply) => {
                let published = match self.swarm.behaviour_mut().gossip.publish(topic.hash(), data) {
                    // The network has it already, which is what the caller wants.
                    Ok(_) | Err(gossipsub::PublishError::Duplicate) => Ok(()),
                    Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Err(GossipError::Alone),
                    Err(gossipsub::PublishError::AllQueuesFull(_)) => Err(GossipError::Busy),
                    Err(error) => Err(GossipError::Refused(error)),
                };
                let _ = reply.send(published);
            }
        }
    }

    fn connect(&mut self, peer: PeerId, reply: oneshot::Sender<Result<(), OpenError>>) {
        if self.swarm.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        if !self.book.is_dialing(&peer) && !self.dial_peer(peer) {
            let _ = reply.send(Err(OpenError::NotConnected(None)));
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|reply| !reply.is_closed());
        if waiting.len() < WAITING_MAX {
            waiting.push(reply);
        }
    }

    /// Starts a dial; false when that cannot succeed.
    fn dial_peer(&mut self, peer: PeerId) -> bool {
        let addresses = self.book.addresses(&peer).to_vec();
        if addresses.is_empty() {
            self.book.failed(peer, self.now());
            return false;
        }
        // A fresh port: reusing the listening port trips over the TIME_WAIT of a peer that was just killed.
        let opts = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .allocate_new_port()
            .build();
        match self.swarm.dial(opts) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                self.book.dialing(peer);
                true
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "dial refused");
                self.book.failed(peer, self.now());
                false
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.listening.send_modify(|all| all.push(address)),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.send_modify(|all| all.retain(|known| *known != address));
            }
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                if endpoint.is_dialer() {
                    let address = endpoint.get_remote_address().clone();
                    let bare = split_peer(&address).map_or(address, |(_, bare)| bare);
                    self.book.add(peer_id, bare);
                }
                self.book.connected(peer_id);
                self.peers.connect(peer_id);
                if num_established.get() == 1 {
                    tracing::debug!(peer = %peer_id, "connected");
                }
                for reply in self.waiting.remove(&peer_id).unwrap_or_default() {
                    let _ = reply.send(Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.book.disconnected(peer_id, self.now());
                self.peers.disconnect(peer_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                // Two dials may have crossed; the failure of one does not matter when the other stands.
                if self.swarm.is_connected(&peer) {
                    return;
                }
                tracing::debug!(%peer, %error, "dial failed");
                self.book.failed(peer, self.now());
                let text = error.to_string();
                for reply in self.waiting.remove(&peer).unwrap_or_default() {
                    let _ = reply.send(Err(OpenError::NotConnected(Some(text.clone().into()))));
                }
            }
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => self.on_gossip(message),
            BehaviourEvent::Ping(ping::Event { connection, peer, result: Err(error) })
                if !matches!(error, ping::Failure::Unsupported) =>
            {
                tracing::debug!(%peer, %error, "ping failed, closing");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                for address in info.listen_addrs.into_iter().take(IDENTIFY_ADDRESSES_MAX) {
                    let bare = split_peer(&address).map_or(address, |(_, bare)| bare);
                    self.book.add_behind(peer_id, bare);
                }
                if self.swarm.is_connected(&peer_id) {
                    self.book.connected(peer_id);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let bare = split_peer(&address).map_or(address, |(_, bare)| bare);
                    self.book.add(peer, bare);
                    if !self.swarm.is_connected(&peer) && !self.book.is_dialing(&peer) {
                        self.dial_peer(peer);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_gossip(&mut self, message: gossipsub::Message) {
        let Some(author) = message.source.as_ref().and_then(account_of) else { return };
        let Some(inboxes) = self.topics.get_mut(&message.topic) else { return };
        let data = Bytes::from(message.data);
        inboxes.retain(|inbox| match inbox.try_send((author, data.clone())) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::debug!(topic = %message.topic, "gossip reader is behind, message dropped");
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
    }
}
