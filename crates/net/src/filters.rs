//! Networks with which no connection is made, in either direction.

use core::fmt;
use core::str::FromStr;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Filters at most.
const FILTERS_MAX: usize = 1024;

/// An IP network, written as Kubo's: `/ip4/192.168.0.0/ipcidr/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    network: IpAddr,
    bits: u8,
}

/// Not an IP network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no network: write it as /ip4/192.168.0.0/ipcidr/16 or /ip6/fc00::/ipcidr/7")]
pub struct FilterError(String);

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

/// The IP address a multiaddress begins with.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

impl Filter {
    /// Whether an address lies in this network.
    pub fn matches(&self, address: &Multiaddr) -> bool {
        ip_of(address)
            .is_some_and(|ip| ip.is_ipv4() == self.network.is_ipv4() && mask(ip, self.bits) == self.network)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let wrong = || FilterError(text.chars().take(100).collect());
        let address: Multiaddr = text.parse().map_err(|_| wrong())?;
        let network = ip_of(&address).ok_or_else(wrong)?;
        let mut parts = address.iter().skip(1);
        let bits = match (parts.next(), parts.next()) {
            (Some(Protocol::Ipcidr(bits)), None) => bits,
            _ => return Err(wrong()),
        };
        if bits > if network.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        Ok(Self { network: mask(network, bits), bits })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.network.is_ipv4() { "ip4" } else { "ip6" };
        write!(f, "/{kind}/{}/ipcidr/{}", self.network, self.bits)
    }
}

/// The filters in force, shared by the behaviour and whoever changes them.
#[derive(Clone, Debug, Default)]
pub struct Filters(Arc<RwLock<Vec<Filter>>>);

impl Filters {
    pub(crate) fn new(filters: &[Filter]) -> Self {
        let all = Self::default();
        for filter in filters {
            all.add(*filter);
        }
        all
    }

    /// All of them, in the order they were added.
    pub fn list(&self) -> Vec<Filter> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one; false when it is there already or there are 1,024. Connections that stand are not closed.
    pub fn add(&self, filter: Filter) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !all.contains(&filter) && all.len() < FILTERS_MAX;
        if is_new {
            all.push(filter);
        }
        is_new
    }

    /// Removes one; false when it is not there.
    pub fn remove(&self, filter: &Filter) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|known| known != filter);
        all.len() < before
    }

    fn check(&self, address: &Multiaddr) -> Result<(), ConnectionDenied> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match all.iter().find(|filter| filter.matches(address)) {
            Some(filter) => Err(ConnectionDenied::new(Filtered(*filter))),
            None => Ok(()),
        }
    }
}

/// Why a connection was denied.
#[derive(Debug, thiserror::Error)]
#[error("the filter {0} forbids it")]
struct Filtered(Filter);

/// Denies connections with filtered addresses.
pub(crate) struct Behaviour(pub(crate) Filters);

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.check(remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.check(remote).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_written_as_kubo_writes_them() {
        for text in ["/ip4/192.168.0.0/ipcidr/16", "/ip6/fc00::/ipcidr/7", "/ip4/0.0.0.0/ipcidr/0"] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), text);
        }
        // Bits behind the mask count for nothing.
        assert_eq!("/ip4/10.1.2.3/ipcidr/8".parse::<Filter>().unwrap().to_string(), "/ip4/10.0.0.0/ipcidr/8");
        for wrong in ["", "10.0.0.0/8", "/ip4/10.0.0.0", "/ip4/10.0.0.0/ipcidr/33", "/dns4/a/ipcidr/3"] {
            let error = wrong.parse::<Filter>().unwrap_err();
            assert!(error.to_string().contains("/ipcidr/16"), "{error}");
        }
    }

    #[test]
    fn addresses_are_matched_by_their_network() {
        let filter: Filter = "/ip4/10.0.0.0/ipcidr/8".parse().unwrap();
        let matches = |text: &str| filter.matches(&text.parse().unwrap());
        assert!(matches("/ip4/10.255.1.1/tcp/4001") && matches("/ip4/10.0.0.0/udp/1/quic-v1"));
        assert!(matches("/ip6/::ffff:10.1.1.1/tcp/1"), "a mapped address is the one it maps");
        assert!(
            !matches("/ip4/11.0.0.0/tcp/4001") && !matches("/ip6/::1/tcp/1") && !matches("/dns4/a/tcp/1")
        );
        let all: Filter = "/ip6/::/ipcidr/0".parse().unwrap();
        assert!(all.matches(&"/ip6/2001:db8::1/tcp/1".parse().unwrap()));
    }

    #[test]
    fn filters_come_once_and_go() {
        let filters = Filters::default();
        let filter: Filter = "/ip4/127.0.0.0/ipcidr/8".parse().unwrap();
        assert!(filters.add(filter) && !filters.add(filter));
        let loopback = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert!(filters.check(&loopback).is_err());
        assert!(filters.remove(&filter) && !filters.remove(&filter));
        assert!(filters.check(&loopback).is_ok());
    }
}
