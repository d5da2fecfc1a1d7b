//! Connecting with those who are said to have the content.

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use hpips_net::identity::split_peer;
use hpips_net::{Multiaddr, Net, PeerId};

/// Connects with the peers that these addresses name, as far as they are understood; how it went shows when blocks are asked
/// for. Takes as long as dials do.
pub(super) async fn connect(net: &Net, origins: &[String]) {
    let mut named: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    let mut nameless = Vec::new();
    for address in origins.iter().filter_map(|text| text.parse::<Multiaddr>().ok()) {
        match split_peer(&address) {
            Some((peer, _)) if peer == net.peer_id() => {}
            Some((peer, address)) => named.entry(peer).or_default().push(address),
            None => nameless.push(address),
        }
    }
    let known = named.into_iter().map(|(peer, addresses)| async move {
        let addresses: Vec<_> = addresses.into_iter().filter(|address| !address.is_empty()).collect();
        if !addresses.is_empty() {
            net.address_book_peer(peer, addresses).await;
        }
        let _ = net.connect_peer(peer).await;
    });
    join(join_all(known), join_all(nameless.into_iter().map(|address| net.dial(address)))).await;
}
