//! `filter-addrs` and `filter-protocols`: what of the peers the caller can use (IPIP-484).

use hpips_net::Multiaddr;

use super::PeerRecord;

/// Terms of one filter that are heard.
const TERMS_MAX: usize = 32;
/// Stands for peers of which nothing is known.
const UNKNOWN: &str = "unknown";

/// Both filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    addresses: Vec<String>,
    protocols: Vec<String>,
}

fn terms(text: Option<&str>) -> Vec<String> {
    let terms = text.unwrap_or_default().split(',').map(|term| term.trim().to_ascii_lowercase());
    terms.filter(|term| !term.is_empty()).take(TERMS_MAX).collect()
}

impl Filter {
    pub(super) fn new(addresses: Option<&str>, protocols: Option<&str>) -> Self {
        Self { addresses: terms(addresses), protocols: terms(protocols) }
    }

    /// The peer with the addresses that pass; `None` when it does not.
    pub(super) fn apply(&self, mut record: PeerRecord) -> Option<PeerRecord> {
        if !self.protocols.is_empty() {
            let speaks =
                |term: &String| record.protocols.iter().any(|known| known.eq_ignore_ascii_case(term));
            let is_unknown = record.protocols.is_empty() && self.protocols.iter().any(|term| term == UNKNOWN);
            if !is_unknown && !self.protocols.iter().any(speaks) {
                return None;
            }
        }
        if self.addresses.is_empty() {
            return Some(record);
        }
        let is_unknown_fine = self.addresses.iter().any(|term| term == UNKNOWN);
        if record.addresses.is_empty() {
            return is_unknown_fine.then_some(record);
        }
        let (without, with): (Vec<&str>, Vec<&str>) = self
            .addresses
            .iter()
            .map(String::as_str)
            .filter(|term| *term != UNKNOWN)
            .partition(|term| term.starts_with('!'));
        record.addresses.retain(|address| {
            let has = |term: &&str| has_protocol(address, term.trim_start_matches('!'));
            !without.iter().any(has) && (with.is_empty() || with.iter().any(has))
        });
        (!record.addresses.is_empty()).then_some(record)
    }
}

fn has_protocol(address: &Multiaddr, name: &str) -> bool {
    address.protocol_stack().any(|protocol| protocol == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_pass_as_the_specification_says() {
        let tcp: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let quic: Multiaddr = "/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap();
        let record = |addresses: &[&Multiaddr], protocols: &[&str]| PeerRecord {
            peer: hpips_net::PeerId::random(),
            addresses: addresses.iter().map(|address| (*address).clone()).collect(),
            protocols: protocols.iter().map(ToString::to_string).collect(),
        };
        let both = record(&[&tcp, &quic], &["transport-bitswap"]);
        let bare = record(&[], &[]);
        let left = |addresses: &str, protocols: &str, record: &PeerRecord| {
            let filter = Filter::new(Some(addresses), Some(protocols));
            filter.apply(record.clone()).map(|record| record.addresses.len())
        };
        for (addresses, protocols, of_both, of_bare) in [
            ("", "", Some(2), Some(0)),
            ("tcp", "", Some(1), None),
            ("!tcp", "", Some(1), None),
            ("TCP,quic-v1", "", Some(2), None),
            ("udp,!quic-v1", "", None, None),
            ("webtransport,unknown", "", None, Some(0)),
            ("unknown", "", Some(2), Some(0)),
            ("", "Transport-Bitswap", Some(2), None),
            ("", "transport-ipfs-gateway-http", None, None),
            ("", "x,unknown", None, Some(0)),
        ] {
            let case = format!("{addresses} {protocols}");
            assert_eq!(left(addresses, protocols, &both), of_both, "{case}");
            assert_eq!(left(addresses, protocols, &bare), of_bare, "{case}");
        }
    }
}
