//! Peers as JSON, both ways.

use hpips_net::identity::split_peer;
use hpips_net::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::PeerRecord;

/// Peers of one answer that are looked at, and sent.
pub(crate) const PEERS_MAX: usize = 100;
/// Addresses and protocols of one peer that are looked at, each.
const PARTS_MAX: usize = 64;

/// The `peer` schema.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Peer {
    schema: &'static str,
    #[serde(rename = "ID")]
    id: String,
    addrs: Vec<String>,
    protocols: Vec<String>,
}

impl From<&PeerRecord> for Peer {
    fn from(record: &PeerRecord) -> Self {
        Self {
            schema: "peer",
            id: record.peer.to_string(),
            addrs: record.addresses.iter().map(ToString::to_string).collect(),
            protocols: record.protocols.clone(),
        }
    }
}

/// A record of any schema; fields that are not known are not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Incoming {
    #[serde(rename = "ID", default)]
    id: Option<String>,
    #[serde(default)]
    addrs: Option<Vec<String>>,
    #[serde(default)]
    protocols: Option<Vec<String>>,
    /// Of the `bitswap` schema, which came before.
    #[serde(default)]
    protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(alias = "Peers", default)]
    providers: Option<Vec<serde_json::Value>>,
}

/// The peers of an answer. What is no peer with a name is left out: other schemas may stand in the list.
pub(crate) fn parse(answer: &[u8]) -> Option<Vec<PeerRecord>> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let records = answer.providers.unwrap_or_default().into_iter().take(PEERS_MAX);
    Some(records.filter_map(|record| peer(serde_json::from_value(record).ok()?)).collect())
}

fn peer(incoming: Incoming) -> Option<PeerRecord> {
    let peer = peer_id(&incoming.id?)?;
    let address = |text: String| -> Option<Multiaddr> {
        let address: Multiaddr = text.parse().ok()?;
        match split_peer(&address) {
            None => Some(address),
            // An address of somebody else is none of this peer's.
            Some((named, address)) => (named == peer).then_some(address),
        }
    };
    let addresses =
        incoming.addrs.unwrap_or_default().into_iter().take(PARTS_MAX).filter_map(address).collect();
    let protocols = incoming.protocols.unwrap_or_default().into_iter().chain(incoming.protocol);
    Some(PeerRecord { peer, addresses, protocols: protocols.take(PARTS_MAX).collect() })
}

/// A peer's name as base58 or as a CID.
pub(crate) fn peer_id(text: &str) -> Option<PeerId> {
    let name: hpips_ipns::Name = text.parse().ok()?;
    PeerId::from_bytes(&name.to_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_others_are_read() {
        let id = "12D3KooWKrjHHhpsGFoQ96dEpcvduNYr9uLq2VnWrTnxSasggtzp";
        let text = format!(
            "{{\"Providers\":[{{\"Schema\":\"peer\",\"ID\":\"{id}\",\"Addrs\":[\"/ip4/10.0.0.1/tcp/1\",\"nonsense\",\
             \"/ip4/10.0.0.2/tcp/1/p2p/{id}\"],\"Protocols\":[\"transport-bitswap\"],\"x\":{{}}}},\
             {{\"Schema\":\"other\"}},7,{{\"ID\":\"{id}\",\"Addrs\":null}}]}}"
        );
        let peers = parse(text.as_bytes()).unwrap();
        assert_eq!(peers.len(), 2);
        assert_eq!((peers[0].addresses.len(), peers[0].protocols.len()), (2, 1));
        assert!(peers[1].addresses.is_empty());
        let json = serde_json::to_value(Peer::from(&peers[0])).unwrap();
        assert_eq!(json["ID"], id);
        assert_eq!((&json["Schema"], &json["Addrs"][1]), (&"peer".into(), &"/ip4/10.0.0.2/tcp/1".into()));
        assert_eq!(parse(b"{\"Providers\":null}"), Some(Vec::new()));
        assert_eq!(parse(b"{\"Peers\":[]}"), Some(Vec::new()));
        assert_eq!(parse(b"7"), None);
    }
}
