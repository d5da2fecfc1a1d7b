//! The task that owns the libp2p swarm: commands in, events out. It never waits for a peer or for a reader of
//! its events, so nobody can stall it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use hpips_types::AccountId;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, autonat, gossipsub, identify, kad, mdns, ping, relay, upnp,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::address::is_public;
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::config::{Config, Reach};
use crate::connections::Connections;
use crate::dht::{self, Lookups};
use crate::dial::Book;
use crate::gossip::GossipError;
use crate::identity::{account_of, split_peer};
use crate::net::StartError;
use crate::peers::Peers;
use crate::streams::{OpenError, Opened};

/// Requests to one peer that wait for a connection; more are refused.
const WAITING_MAX: usize = 256;
/// Addresses taken from what a peer says about itself.
const IDENTIFY_ADDRESSES_MAX: usize = 8;
/// Relays looked for by a node that others cannot reach.
const RELAYS_MAX: usize = 2;
/// The protocol of a peer that relays for others.
const HOP: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");

/// What the rest of the program asks of the swarm.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(PeerId, oneshot::Sender<Result<(), OpenError>>),
    Dial(Multiaddr, oneshot::Sender<Result<(), OpenError>>),
    Open(PeerId, StreamProtocol, Opened),
    Addresses(PeerId, Vec<Multiaddr>),
    /// Remembers addresses that somebody says a peer has, behind those known.
    Heard(PeerId, Vec<Multiaddr>),
    Keep(PeerId, Vec<Multiaddr>),
    Disconnect(PeerId),
    Subscribe(gossipsub::IdentTopic, mpsc::Sender<(AccountId, Bytes)>),
    Publish(gossipsub::IdentTopic, Bytes, oneshot::Sender<Result<(), GossipError>>),
    Route(dht::Ask),
    /// Stops keeping a connection with a peer.
    LetGo(PeerId),
}

/// Fails when somebody listens on a port already. The transport would not notice: it shares ports.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip: std::net::IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => std::net::UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Whether an address cannot be listened on because the machine has no IPv6.
fn is_missing_family(address: &Multiaddr, error: &std::io::Error) -> bool {
    let is_v6 = matches!(address.iter().next(), Some(Protocol::Ip6(_)));
    // `EAFNOSUPPORT` has no kind of its own.
    is_v6 && (error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97))
}

/// Addresses from outside that are told; more come only of routers that change theirs.
const OUTSIDE_MAX: usize = 16;

/// Where this node can be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    /// Listened on.
    pub(crate) listening: Vec<Multiaddr>,
    /// Of a router or another machine that hands on to these, seen to work.
    pub(crate) outside: Vec<Multiaddr>,
}

/// State of the task.
pub(crate) struct Actor {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    peers: Arc<Peers>,
    addresses: watch::Sender<Addresses>,
    /// Listeners that have not told an address yet.
    starting: HashSet<ListenerId>,
    book: Book,
    waiting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), OpenError>>>>,
    topics: HashMap<gossipsub::TopicHash, Vec<mpsc::Sender<(AccountId, Bytes)>>>,
    connections: Connections,
    lookups: Lookups,
    announces_public: bool,
    /// Relays of the configuration, and those found; with the listener while one stands.
    relays: HashMap<PeerId, (Multiaddr, Option<ListenerId>)>,
    relays_kept: HashSet<PeerId>,
    /// Connections through relays that stand, by peer, and whether a direct one has replaced them.
    relayed: HashMap<PeerId, Vec<(ConnectionId, bool)>>,
    /// Connections with peers elsewhere on the internet: without any, this is a network of its own.
    public_connections: usize,
    tick: Interval,
    started: Instant,
}

impl Actor {
    pub(crate) fn new(
        mut swarm: Swarm<Behaviour>,
        config: &Config,
        commands: mpsc::Receiver<Command>,
        peers: Arc<Peers>,
        addresses: watch::Sender<Addresses>,
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
        let has_place_for_key = |address: &&Multiaddr| {
            config.private_key.is_none() || !address.iter().any(|part| matches!(part, Protocol::QuicV1))
        };
        for address in config.listen.iter().filter(has_place_for_key) {
            match probe(address) {
                Ok(()) => {}
                Err(error) if is_missing_family(address, &error) => {
                    tracing::info!(%address, "not listened on: this machine has no IPv6");
                    continue;
                }
                Err(source) => {
                    return Err(StartError::Listen { address: address.clone(), source: source.into() });
                }
            }
            let listener = swarm
                .listen_on(address.clone())
                .map_err(|source| StartError::Listen { address: address.clone(), source: source.into() })?;
            starting.insert(listener);
        }
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let mut relays = HashMap::new();
        for address in &config.relays {
            let (peer, bare) = split_peer(address).ok_or_else(|| StartError::PeerAddress(address.clone()))?;
            book.keep(peer);
            book.add(peer, bare);
            relays.insert(peer, (address.clone(), None));
        }
        let mut tick = tokio::time::interval(config.limits.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limits = &config.limits;
        Ok(Self {
            swarm,
            commands,
            peers,
            addresses,
            starting,
            book,
            waiting: HashMap::new(),
            topics: HashMap::new(),
            connections: Connections::new(limits.peers_high, limits.peers_low, limits.grace),
            lookups: Lookups::default(),
            announces_public: config.announces_public,
            relays_kept: relays.keys().copied().collect(),
            relays,
            relayed: HashMap::new(),
            public_connections: 0,
            tick,
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
                    self.listens(address);
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
                _ = self.tick.tick() => self.on_tick(),
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
            Command::Heard(peer, addresses) => {
                addresses.into_iter().for_each(|address| self.book.add_behind(peer, address));
                if self.swarm.is_connected(&peer) {
                    self.book.connected(peer);
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
            Command::Route(ask) => {
                let behaviour = self.swarm.behaviour_mut();
                self.lookups.ask(ask, self.announces_public, behaviour.dhts());
            }
            Command::LetGo(peer) => self.book.let_go(peer),
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
        // A fresh port: reusing the listening port trips over the TIME_WAIT of a peer that was just killed.
        let opts = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
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
            SwarmEvent::NewListenAddr { address, .. } => self.listens(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.addresses.send_modify(|all| all.listening.retain(|known| *known != address));
                self.swarm.remove_external_address(&address);
                self.set_modes();
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                tracing::info!(%address, "reachable from outside");
                self.addresses.send_modify(|all| {
                    let is_known = all.listening.contains(&address) || all.outside.contains(&address);
                    if !is_known && all.outside.len() < OUTSIDE_MAX {
                        all.outside.push(address);
                    }
                });
                self.set_modes();
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                self.addresses.send_modify(|all| all.outside.retain(|known| *known != address));
                self.set_modes();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                for (relay, (_, listener)) in &mut self.relays {
                    if *listener == Some(listener_id) {
                        tracing::debug!(%relay, ?reason, "relay lost");
                        *listener = None;
                    }
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id, connection_id, endpoint, num_established, ..
            } => {
                self.prefer_direct(peer_id, connection_id, &endpoint, num_established.get());
                if endpoint.is_dialer() {
                    let address = endpoint.get_remote_address().clone();
                    let bare = split_peer(&address).map_or(address, |(_, bare)| bare);
                    self.book.add(peer_id, bare);
                }
                self.book.connected(peer_id);
                self.connections.connected(peer_id, self.now());
                self.peers.connect(peer_id, &endpoint);
                if is_public(endpoint.get_remote_address()) {
                    self.public_connections += 1;
                    self.set_modes();
                }
                if num_established.get() == 1 {
                    tracing::debug!(peer = %peer_id, "connected");
                }
                for reply in self.waiting.remove(&peer_id).unwrap_or_default() {
                    let _ = reply.send(Ok(()));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id, connection_id, endpoint, num_established, cause, ..
            } => {
                let is_replaced = self.forget_relayed(peer_id, connection_id);
                if is_public(endpoint.get_remote_address()) {
                    self.public_connections = self.public_connections.saturating_sub(1);
                    self.set_modes();
                }
                if num_established > 0 {
                    if is_replaced {
                        self.peers.moved(peer_id);
                    }
                    return;
                }
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.connections.disconnected(&peer_id);
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

    /// Closes connections through relays once there is a direct one: a relay carries little and not for long, and a new
    /// stream may open on any connection.
    fn prefer_direct(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint, connections: u32) {
        if !endpoint.is_relayed() {
            for (relayed, is_replaced) in self.relayed.get_mut(&peer).into_iter().flatten() {
                *is_replaced = true;
                self.swarm.close_connection(*relayed);
            }
            return;
        }
        let relayed = self.relayed.entry(peer).or_default();
        relayed.push((id, false));
        if usize::try_from(connections).is_ok_and(|connections| connections > relayed.len()) {
            self.swarm.close_connection(id);
        }
    }

    /// A connection is gone; whether it was one through a relay that a direct one has replaced.
    fn forget_relayed(&mut self, peer: PeerId, id: ConnectionId) -> bool {
        let Some(relayed) = self.relayed.get_mut(&peer) else { return false };
        let is_replaced = relayed.contains(&(id, true));
        relayed.retain(|(other, _)| *other != id);
        if relayed.is_empty() {
            self.relayed.remove(&peer);
        }
        is_replaced
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
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(time), .. }) => {
                self.peers.answered(&peer, time);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::DhtNetwork(event) => self.on_dht(Reach::Network, event),
            BehaviourEvent::DhtLocal(event) => self.on_dht(Reach::Local, event),
            BehaviourEvent::DhtPublic(event) => self.on_dht(Reach::Public, event),
            BehaviourEvent::Autonat(autonat::v2::client::Event {
                tested_addr,
                server,
                result: Err(error),
                ..
            }) => {
                tracing::debug!(address = %tested_addr, %server, %error, "not reachable from outside");
            }
            BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                ..
            }) => {
                tracing::debug!(relay = %relay_peer_id, "reachable by relay");
            }
            BehaviourEvent::Dcutr(event) => match event.result {
                Ok(_) => tracing::debug!(peer = %event.remote_peer_id, "direct way found"),
                Err(error) => tracing::debug!(peer = %event.remote_peer_id, %error, "no direct way"),
            },
            BehaviourEvent::Upnp(event) => match event {
                upnp::Event::NewExternalAddr { external_addr, .. } => {
                    tracing::info!(address = %external_addr, "the router forwards the port");
                }
                other => tracing::debug!(?other, "no port forwarded by upnp"),
            },
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

    /// Takes note of an address that is listened on and tells others: a machine of the same network can use it.
    fn listens(&mut self, address: Multiaddr) {
        self.swarm.add_external_address(address.clone());
        self.addresses.send_modify(|all| all.listening.push(address));
        self.set_modes();
    }

    /// Whether others can be expected to reach this node: it has a public address, or they are on its own network.
    fn is_reachable(&self) -> (bool, bool) {
        let mut addresses = self.swarm.external_addresses();
        let is_public = addresses.any(is_public);
        let is_local = self.public_connections == 0 && self.swarm.external_addresses().next().is_some();
        (is_public, is_public || is_local)
    }

    /// Serves DHTs and relays others only where others reach this node.
    fn set_modes(&mut self) {
        let (public, anyhow) = self.is_reachable();
        for (reach, dht) in self.swarm.behaviour_mut().dhts() {
            let serves = match reach {
                Reach::Network => anyhow,
                Reach::Local => true,
                Reach::Public => public,
            };
            let mode = if serves { kad::Mode::Server } else { kad::Mode::Client };
            if dht.mode() != mode {
                tracing::debug!(?reach, %mode, "dht");
                dht.set_mode(Some(mode));
            }
        }
        let status = if anyhow { relay::Status::Enable } else { relay::Status::Disable };
        self.swarm.behaviour_mut().relay.set_status(Some(status));
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let listens = info.listen_addrs.into_iter().take(IDENTIFY_ADDRESSES_MAX);
        let bare = |address: Multiaddr| split_peer(&address).map_or(address, |(_, bare)| bare);
        let listens: Vec<Multiaddr> = listens.map(bare).collect();
        listens.iter().for_each(|address| self.book.add_behind(peer, address.clone()));
        if self.swarm.is_connected(&peer) {
            self.book.connected(peer);
        }
        let addresses = self.book.addresses(&peer).to_vec();
        for (reach, dht) in self.swarm.behaviour_mut().dhts() {
            if !info.protocols.iter().any(|protocol| dht.protocol_names().contains(protocol)) {
                dht.remove_peer(&peer);
                continue;
            }
            for address in addresses.iter().filter(|address| reach != Reach::Public || is_public(address)) {
                dht.add_address(&peer, address.clone());
            }
        }
        if info.protocols.contains(&HOP) {
            self.may_relay(peer, &addresses);
        }
        self.peers.identified(&peer, &info.agent_version, &info.public_key, listens, &info.protocols);
    }

    fn on_dht(&mut self, reach: Reach, event: kad::Event) {
        let behaviour = self.swarm.behaviour_mut();
        let Some((_, dht)) = behaviour.dhts().find(|(known, _)| *known == reach) else { return };
        if let Some(provider) = self.lookups.on_event(reach, dht, event) {
            for address in provider.addresses {
                let bare = split_peer(&address).map_or(address, |(_, bare)| bare);
                self.book.add_behind(provider.peer, bare);
            }
        }
    }

    /// Remembers a peer that relays, for when this node turns out not to be reachable.
    fn may_relay(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let found = addresses.iter().find(|address| is_public(address));
        if let Some(address) = found
            && self.relays.len() < self.relays_kept.len() + RELAYS_MAX
            && let Ok(address) = address.clone().with_p2p(peer)
        {
            self.relays.entry(peer).or_insert((address, None));
        }
    }

    fn on_tick(&mut self) {
        let behaviour = self.swarm.behaviour_mut();
        self.lookups.sweep(behaviour.dhts());
        self.listen_by_relays();
        let keep = self.book.kept();
        let now = self.now();
        let peers = &self.peers;
        let used = |peer: &PeerId| peers.used(peer).map(|at| at.saturating_duration_since(self.started));
        for peer in self.connections.surplus(&keep, used, now) {
            tracing::debug!(%peer, "let go: more peers than the high water");
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Keeps an address at each relay: of the configuration always, of those found where nothing else is reachable.
    fn listen_by_relays(&mut self) {
        let (_, is_reachable) = self.is_reachable();
        let mut lost = Vec::new();
        for (peer, (address, listener)) in &mut self.relays {
            let is_kept = self.relays_kept.contains(peer);
            if !is_kept && is_reachable {
                if let Some(listener) = listener.take() {
                    self.swarm.remove_listener(listener);
                }
                continue;
            }
            if listener.is_some() {
                continue;
            }
            if !is_kept && !self.swarm.is_connected(peer) {
                lost.push(*peer);
                continue;
            }
            match self.swarm.listen_on(address.clone().with(Protocol::P2pCircuit)) {
                Ok(id) => *listener = Some(id),
                Err(error) => tracing::debug!(relay = %peer, %error, "relay not usable"),
            }
        }
        lost.iter().for_each(|peer| drop(self.relays.remove(peer)));
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
