//! Which protocols of libp2p a node speaks, and how they are set.

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{
    PeerId, Swarm, autonat, connection_limits, dcutr, gossipsub, identify, mdns, ping, relay, upnp,
};

use crate::bandwidth::Bandwidth;
use crate::config::{Config, Limits, Reach};
use crate::filters::{self, Filters};
use crate::net::StartError;
use crate::peers::Peers;
use crate::streams::{self, Accepting};
use crate::{dht, transport};

/// Room for signature, key and topic around a gossip message.
const GOSSIP_ENVELOPE_BYTES: usize = 4096;
/// Circuits of others that go through this node at once. One carries 128 KiB for 2 minutes at most: enough to find
/// a direct way.
const CIRCUITS_MAX: usize = 16;
/// Peers that may be reached through this node.
const RESERVATIONS_MAX: usize = 128;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    filters: filters::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) dht_network: Toggle<dht::Behaviour>,
    pub(crate) dht_local: Toggle<dht::Behaviour>,
    pub(crate) dht_public: Toggle<dht::Behaviour>,
    autonat: autonat::v2::client::Behaviour,
    autonat_server: autonat::v2::server::Behaviour,
    pub(crate) relay: relay::Behaviour,
    relay_client: relay::client::Behaviour,
    dcutr: dcutr::Behaviour,
    upnp: Toggle<upnp::tokio::Behaviour>,
    pub(crate) streams: streams::Behaviour,
}

impl Behaviour {
    /// The DHTs that are on.
    pub(crate) fn dhts(&mut self) -> impl Iterator<Item = (Reach, &mut dht::Behaviour)> {
        let all = [
            (Reach::Network, &mut self.dht_network),
            (Reach::Local, &mut self.dht_local),
            (Reach::Public, &mut self.dht_public),
        ];
        all.into_iter().filter_map(|(reach, dht)| Some((reach, dht.as_mut()?)))
    }
}

fn setup(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
    StartError::Setup(source.into())
}

/// Builds the swarm; must run inside a tokio runtime.
pub(crate) fn build(
    config: &Config,
    keypair: &Keypair,
    accepting: Accepting,
    peers: Arc<Peers>,
    filters: Filters,
) -> Result<Swarm<Behaviour>, StartError> {
    let limits = &config.limits;
    let peer = keypair.public().to_peer_id();
    let (transport, relay_client) =
        transport::build(keypair, config.private_key.as_ref().map(|key| key.shared()))?;
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer))
        .transpose()
        .map_err(setup)?;
    let dht = |reach| {
        let dht = config.dhts.iter().find(|dht| dht.reach == reach);
        Toggle::from(dht.and_then(|dht| dht::behaviour(dht, peer)))
    };
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            connection_limits::ConnectionLimits::default()
                .with_max_established(Some(limits.connections_max))
                .with_max_established_per_peer(Some(limits.connections_per_peer_max))
                .with_max_pending_incoming(Some(limits.connections_pending_max))
                .with_max_pending_outgoing(Some(limits.connections_pending_max)),
        ),
        filters: filters::Behaviour(filters),
        identify: identify::Behaviour::new(
            identify::Config::new_with_signed_peer_record("ipfs/0.1.0".into(), keypair)
                .with_agent_version(config.agent.clone())
                .with_push_listen_addr_updates(true),
        ),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(limits.ping).with_timeout(limits.ping)),
        gossip: gossip(keypair, limits)?,
        mdns: mdns.into(),
        dht_network: dht(Reach::Network),
        dht_local: dht(Reach::Local),
        dht_public: dht(Reach::Public),
        autonat: autonat::v2::client::Behaviour::default(),
        autonat_server: autonat::v2::server::Behaviour::default(),
        relay: relay_server(peer),
        relay_client,
        dcutr: dcutr::Behaviour::new(peer),
        upnp: config.upnp.then(upnp::tokio::Behaviour::default).into(),
        streams: streams::Behaviour::new(
            accepting,
            peers,
            Bandwidth::new(limits.receive_bytes_max, limits.send_bytes_max),
            limits.open,
        ),
    };
    let swarm = swarm::Config::with_tokio_executor().with_idle_connection_timeout(limits.idle);
    Ok(Swarm::new(transport, behaviour, peer, swarm))
}

fn relay_server(peer: PeerId) -> relay::Behaviour {
    let config = relay::Config {
        max_circuits: CIRCUITS_MAX,
        max_reservations: RESERVATIONS_MAX,
        ..relay::Config::default()
    };
    let mut relay = relay::Behaviour::new(peer, config);
    // Until it is known that others reach this node.
    relay.set_status(Some(relay::Status::Disable));
    relay
}

fn gossip(keypair: &Keypair, limits: &Limits) -> Result<gossipsub::Behaviour, StartError> {
    let config = gossipsub::ConfigBuilder::default()
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
        .map_err(|error| setup(error.to_string()))?;
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(keypair.clone()), config).map_err(setup)
}
