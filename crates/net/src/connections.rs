//! Which peers to let go when there are too many.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::PeerId;

/// Time since any fixed moment, as the caller's clock tells it.
type Time = Duration;

/// Peers with a connection, by their use.
#[derive(Debug)]
pub(crate) struct Connections {
    high: usize,
    low: usize,
    grace: Duration,
    since: BTreeMap<PeerId, Time>,
}

impl Connections {
    /// Above `high` peers, peers are let go until `low` are left; none within `grace` of its last use.
    pub(crate) fn new(high: usize, low: usize, grace: Duration) -> Self {
        Self { high, low: low.min(high), grace, since: BTreeMap::new() }
    }

    pub(crate) fn connected(&mut self, peer: PeerId, now: Time) {
        self.since.entry(peer).or_insert(now);
    }

    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.since.remove(peer);
    }

    /// Peers to let go now: those whose last use is longest ago, never one that `keep` names. `used` says when
    /// bytes last went to or from a peer.
    pub(crate) fn surplus(
        &self,
        keep: &BTreeSet<PeerId>,
        used: impl Fn(&PeerId) -> Option<Time>,
        now: Time,
    ) -> Vec<PeerId> {
        if self.since.len() <= self.high {
            return Vec::new();
        }
        let last = |peer: &PeerId, since: Time| used(peer).map_or(since, |used| used.max(since));
        let mut idle: Vec<(Time, PeerId)> = self
            .since
            .iter()
            .filter(|(peer, _)| !keep.contains(peer))
            .map(|(peer, since)| (last(peer, *since), *peer))
            .filter(|(last, _)| now.saturating_sub(*last) > self.grace)
            .collect();
        idle.sort_unstable();
        idle.truncate(self.since.len() - self.low);
        idle.into_iter().map(|(_, peer)| peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(20);

    fn seconds(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_least_used_are_let_go_and_the_kept_never() {
        let mut connections = Connections::new(10, 6, GRACE);
        let peers: Vec<PeerId> = (0..11).map(|_| PeerId::random()).collect();
        for (at, peer) in (0..).zip(&peers) {
            connections.connected(*peer, seconds(at));
        }
        let kept = BTreeSet::from([peers[0]]);
        let used = |peer: &PeerId| (*peer == peers[1]).then(|| seconds(99));
        assert!(connections.surplus(&kept, used, seconds(15)).is_empty(), "all are within the grace");
        let surplus = connections.surplus(&kept, used, seconds(100));
        assert_eq!(surplus, peers[2..7], "down to six, oldest use first");
        surplus.iter().for_each(|peer| connections.disconnected(peer));
        assert!(connections.surplus(&kept, used, seconds(100)).is_empty());
    }

    #[test]
    fn below_the_high_water_nobody_is_let_go() {
        let mut connections = Connections::new(10, 6, GRACE);
        (0..10).for_each(|_| connections.connected(PeerId::random(), seconds(0)));
        assert!(connections.surplus(&BTreeSet::new(), |_| None, seconds(1000)).is_empty());
    }
}
