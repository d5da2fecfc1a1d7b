//! What was given to and taken from each peer.

use std::collections::BTreeMap;

/// Peers whose ledger is kept; beyond them the one that was touched longest ago goes. 64 bytes each, or so.
const LEDGERS_MAX: usize = 4096;

/// What was exchanged with one peer since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Bytes of blocks sent to it.
    pub bytes_sent: u64,
    /// Bytes of blocks it sent that were asked for.
    pub bytes_received: u64,
    /// Blocks sent to it.
    pub blocks_sent: u64,
    /// Blocks it sent that were asked for.
    pub blocks_received: u64,
    /// Messages with blocks, in both directions.
    pub exchanges: u64,
}

/// The ledgers of all peers, bounded.
#[derive(Debug)]
pub(crate) struct Ledgers<P> {
    by_peer: BTreeMap<P, (u64, Ledger)>,
    by_age: BTreeMap<u64, P>,
    count: u64,
}

impl<P: Copy + Ord> Ledgers<P> {
    pub(crate) fn new() -> Self {
        Self { by_peer: BTreeMap::new(), by_age: BTreeMap::new(), count: 0 }
    }

    pub(crate) fn get(&self, peer: P) -> Option<Ledger> {
        self.by_peer.get(&peer).map(|(_, ledger)| *ledger)
    }

    /// Notes one exchange.
    pub(crate) fn note(&mut self, peer: P, change: impl FnOnce(&mut Ledger)) {
        self.count += 1;
        let (touched, ledger) = self.by_peer.entry(peer).or_default();
        self.by_age.remove(touched);
        *touched = self.count;
        ledger.exchanges += 1;
        change(ledger);
        self.by_age.insert(self.count, peer);
        if self.by_peer.len() > LEDGERS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_peer.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let mut ledgers = Ledgers::new();
        for peer in 0..5000u32 {
            ledgers.note(peer, |ledger| ledger.blocks_sent += 1);
            ledgers.note(0, |ledger| ledger.blocks_sent += 1);
        }
        assert_eq!(ledgers.by_peer.len(), LEDGERS_MAX);
        assert_eq!(ledgers.by_age.len(), LEDGERS_MAX);
        assert_eq!(ledgers.get(0).unwrap().blocks_sent, 5001);
        assert_eq!(ledgers.get(1), None);
    }
}
