//! How bytes travel: TCP with noise and yamux, QUIC, circuits through relays, names by DNS.
//!
//! With the key of a private network every TCP connection first proves it, and QUIC is off: its handshake has
//! no place for the key (Kubo does the same).

use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OptionalTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, Transport, dns, noise, quic, relay, tcp};

use crate::muxer;
use crate::net::StartError;

/// Time a connection may take to be made, handshakes included.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes a QUIC peer may send ahead on one stream: 200 MB/s at 50 ms round trip.
const QUIC_STREAM_BYTES: u32 = 10_000_000;
/// Bytes a QUIC peer may send ahead on all its streams, so that one that is not read does not stop those beside it.
const QUIC_CONNECTION_BYTES: u32 = 32_000_000;

/// Streams over an authenticated connection, and who is at its other end.
type Connection = (PeerId, StreamMuxerBox);

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Setup(Box::new(source))
}

/// Everything a node listens on and dials with, and the behaviour that belongs to its circuits.
pub(crate) fn build(
    keypair: &Keypair,
    key: Option<PreSharedKey>,
) -> Result<(Boxed<Connection>, relay::client::Behaviour), StartError> {
    let noise = noise::Config::new(keypair).map_err(failed)?;
    let (circuits, behaviour) = relay::client::new(keypair.public().to_peer_id());
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxer::Config)
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let named = match dns::tokio::Transport::system(direct(keypair, noise.clone(), key)) {
        Ok(named) => named,
        Err(error) => {
            tracing::warn!(%error, "the system's DNS settings are unusable: addresses with names cannot be dialed");
            let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            dns::tokio::Transport::custom(direct(keypair, noise, key), nobody, dns::ResolverOpts::default())
        }
    };
    Ok((circuits.or_transport(named).map(|either, _| either.into_inner()).boxed(), behaviour))
}

/// TCP and QUIC by IP address.
fn direct(keypair: &Keypair, noise: noise::Config, key: Option<PreSharedKey>) -> Boxed<Connection> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, _| match key {
            Some(key) => Either::Left(async move {
                PnetConfig::new(key).handshake(socket).await.map(Either::Left).map_err(std::io::Error::other)
            }),
            None => Either::Right(std::future::ready(Ok(Either::Right(socket)))),
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer::Config)
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = match key {
        Some(_) => OptionalTransport::none(),
        None => {
            let mut config = quic::Config::new(keypair);
            config.max_stream_data = QUIC_STREAM_BYTES;
            config.max_connection_data = QUIC_CONNECTION_BYTES;
            OptionalTransport::some(quic::tokio::Transport::new(config))
        }
    };
    let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed()
}
