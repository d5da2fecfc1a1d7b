//! When to dial whom: addresses known, peers to keep, back-off. Plain values; the swarm's task performs it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// Peers whose addresses are remembered; those to keep are not counted.
const BOOK_PEERS_MAX: usize = 4096;
/// Addresses remembered of one peer.
const BOOK_ADDRESSES_MAX: usize = 16;
/// First wait after a failed dial.
const REDIAL_FIRST: Duration = Duration::from_millis(250);

/// Times are since any fixed moment.
type Time = Duration;

#[derive(Debug, Default)]
struct Line {
    addresses: Vec<Multiaddr>,
    keep: bool,
    connected: bool,
    dialing: bool,
    failures: u32,
    next: Time,
}

/// The address book with its redial plan.
#[derive(Debug)]
pub(crate) struct Book {
    lines: BTreeMap<PeerId, Line>,
    redial_max: Duration,
}

impl Book {
    pub(crate) fn new(redial_max: Duration) -> Self {
        Self { lines: BTreeMap::new(), redial_max }
    }

    /// Remembers an address before those known: it answered, or somebody trusted says so.
    pub(crate) fn add(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(line) = self.line(peer) {
            line.addresses.retain(|known| *known != address);
            line.addresses.insert(0, address);
            line.addresses.truncate(BOOK_ADDRESSES_MAX);
        }
    }

    /// Remembers an address behind those known: the peer says so itself.
    pub(crate) fn add_behind(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(line) = self.line(peer)
            && !line.addresses.contains(&address)
            && line.addresses.len() < BOOK_ADDRESSES_MAX
        {
            line.addresses.push(address);
        }
    }

    /// A peer's line. A full book forgets any peer without a connection; `None` when there is none such.
    fn line(&mut self, peer: PeerId) -> Option<&mut Line> {
        if !self.lines.contains_key(&peer) && self.lines.len() >= BOOK_PEERS_MAX {
            let idle = self.lines.iter().find(|(_, line)| !line.keep && !line.connected && !line.dialing);
            match idle.map(|(peer, _)| *peer) {
                Some(idle) => self.lines.remove(&idle),
                None => return None,
            };
        }
        Some(self.lines.entry(peer).or_default())
    }

    /// Stays connected with a peer from now on.
    pub(crate) fn keep(&mut self, peer: PeerId) {
        let line = self.lines.entry(peer).or_default();
        line.keep = true;
    }

    /// Stops keeping a connection with a peer; the one that stands stays.
    pub(crate) fn let_go(&mut self, peer: PeerId) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.keep = false;
        }
    }

    /// Peers to stay connected with.
    pub(crate) fn kept(&self) -> BTreeSet<PeerId> {
        self.lines.iter().filter(|(_, line)| line.keep).map(|(peer, _)| *peer).collect()
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.lines.get(peer).map_or(&[], |line| &line.addresses)
    }

    pub(crate) fn is_dialing(&self, peer: &PeerId) -> bool {
        self.lines.get(peer).is_some_and(|line| line.dialing)
    }

    pub(crate) fn dialing(&mut self, peer: PeerId) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.dialing = true;
        }
    }

    pub(crate) fn connected(&mut self, peer: PeerId) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.connected = true;
            line.dialing = false;
            line.failures = 0;
        }
    }

    /// The last connection is gone: a peer to keep is dialed after the first wait.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Time) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.connected = false;
            line.next = now + REDIAL_FIRST;
        }
    }

    /// A dial failed: waits double up to the longest.
    pub(crate) fn failed(&mut self, peer: PeerId, now: Time) {
        let most = self.redial_max;
        if let Some(line) = self.lines.get_mut(&peer) {
            line.dialing = false;
            let wait = REDIAL_FIRST.saturating_mul(1 << line.failures.min(16)).min(most);
            line.failures += 1;
            line.next = now + wait;
        }
    }

    /// Peers to dial now.
    pub(crate) fn due(&self, now: Time) -> Vec<PeerId> {
        let waiting = |line: &Line| line.keep && !line.connected && !line.dialing && line.next <= now;
        self.lines.iter().filter(|(_, line)| waiting(line)).map(|(peer, _)| *peer).collect()
    }

    /// When a peer is due next.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let waiting = |line: &&Line| line.keep && !line.connected && !line.dialing;
        self.lines.values().filter(waiting).map(|line| line.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn kept_peers_are_redialed_for_ever_at_a_bounded_rate() {
        let mut book = Book::new(Duration::from_secs(5));
        let peer = PeerId::random();
        book.keep(peer);
        book.add(peer, address(1));
        let mut now = Duration::ZERO;
        let mut dials = 0;
        while now < Duration::from_secs(600) {
            assert_eq!(book.due(now), [peer]);
            book.dialing(peer);
            assert!(book.due(now).is_empty() && book.next_due().is_none());
            book.failed(peer, now);
            dials += 1;
            let next = book.next_due().unwrap();
            assert!(next > now && next - now <= Duration::from_secs(5));
            now = next;
        }
        assert!((100..140).contains(&dials), "{dials}");
        book.dialing(peer);
        book.connected(peer);
        assert_eq!(book.next_due(), None);
        book.disconnected(peer, now);
        assert_eq!(book.next_due(), Some(now + REDIAL_FIRST), "back-off starts again after a connection");
    }

    #[test]
    fn the_book_is_bounded_and_keeps_what_matters() {
        let mut book = Book::new(Duration::from_secs(5));
        let kept = PeerId::random();
        book.keep(kept);
        for port in 0..100 {
            book.add(kept, address(port));
        }
        assert_eq!(book.addresses(&kept).len(), BOOK_ADDRESSES_MAX);
        assert_eq!(book.addresses(&kept)[0], address(99));
        book.add_behind(kept, address(200));
        assert!(!book.addresses(&kept).contains(&address(200)), "claims push nothing out");
        for _ in 0..BOOK_PEERS_MAX + 100 {
            book.add(PeerId::random(), address(1));
        }
        assert!(book.lines.len() <= BOOK_PEERS_MAX);
        assert!(!book.addresses(&kept).is_empty());
    }
}
