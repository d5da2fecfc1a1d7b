//! What to answer whom, and when: no block is loaded before it may be sent.

use std::collections::{BTreeMap, VecDeque};

use hpips_types::Cid;
use hpips_types::content::BLOCK_BYTES_MAX;

use crate::message::{Entry, Presence, WANTS_MAX, WantType};

/// Bounds of the answering side, for each peer.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Wants that are kept; more are dropped.
    pub wants_max: usize,
    /// Bytes of blocks loaded and not yet handed to the stream. A block may be loaded while fewer are, so the
    /// most in memory is this and one block (Kubo's limit).
    pub outstanding_bytes_max: u64,
    /// Small blocks are put together into one message up to this many bytes.
    pub batch_bytes: u64,
    /// A want for presence is answered with the block itself up to this size (as Kubo does).
    pub inline_bytes_max: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            wants_max: WANTS_MAX,
            outstanding_bytes_max: 1024 * 1024,
            batch_bytes: 256 * 1024,
            inline_bytes_max: 1024,
        }
    }
}

/// What to send to a peer next: load the blocks, put all into one message, and call [`Server::sent`] with
/// `bytes` when it goes out, whether or not the blocks could be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Blocks to load.
    pub blocks: Vec<Cid>,
    /// What they count, for [`Server::sent`].
    pub bytes: u64,
    /// Answers without blocks.
    pub presences: Vec<(Cid, Presence)>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Wants whose size is being looked up.
    looking: BTreeMap<Cid, Entry>,
    /// Blocks to send, first come first served.
    queue: VecDeque<Cid>,
    /// Sizes of the blocks in `queue`; one missing here was cancelled.
    queued: BTreeMap<Cid, u32>,
    presences: Vec<(Cid, Presence)>,
    outstanding: u64,
    dropped: u64,
}

/// The answering side for all peers. `P` tells peers apart.
#[derive(Debug)]
pub struct Server<P> {
    limits: ServerLimits,
    peers: BTreeMap<P, Ledger>,
}

impl<P: Copy + Ord> Server<P> {
    /// Knows nobody yet.
    pub fn new(limits: ServerLimits) -> Self {
        Self { limits, peers: BTreeMap::new() }
    }

    /// Takes a wantlist and returns the blocks whose size is to be looked up, for [`Server::looked_up`]. Cancels
    /// take effect at once. Wants over the limit are dropped: the peer asks again or elsewhere.
    pub fn receive(&mut self, peer: P, full: bool, entries: Vec<Entry>) -> Vec<Cid> {
        let ledger = self.peers.entry(peer).or_default();
        if full {
            ledger.looking.clear();
            ledger.queue.clear();
            ledger.queued.clear();
        }
        let mut lookups = Vec::new();
        for entry in entries {
            if entry.cancel {
                ledger.looking.remove(&entry.cid);
                ledger.queued.remove(&entry.cid);
                continue;
            }
            if ledger.queued.contains_key(&entry.cid) {
                continue;
            }
            // A want for the block after one for its presence may come before the first was looked up.
            if let Some(earlier) = ledger.looking.get_mut(&entry.cid) {
                if entry.want_type == WantType::Block {
                    *earlier = entry;
                }
                continue;
            }
            if ledger.looking.len() + ledger.queued.len() >= self.limits.wants_max {
                ledger.dropped += 1;
                continue;
            }
            lookups.push(entry.cid);
            ledger.looking.insert(entry.cid, entry);
        }
        // Cancelled blocks stay in the order until their turn; a peer that only wants and cancels must not
        // make it grow.
        if ledger.queue.len() > 2 * self.limits.wants_max {
            ledger.queue.retain(|cid| ledger.queued.contains_key(cid));
        }
        lookups
    }

    /// Takes sizes that were looked up; `None` where the block is not here.
    pub fn looked_up(&mut self, peer: P, found: Vec<(Cid, Option<u32>)>) {
        let Some(ledger) = self.peers.get_mut(&peer) else { return };
        for (cid, size) in found {
            let Some(entry) = ledger.looking.remove(&cid) else { continue };
            let size = size.filter(|size| u64::from(*size) <= BLOCK_BYTES_MAX as u64);
            match (size, entry.want_type) {
                (Some(size), WantType::Have) if size > self.limits.inline_bytes_max => {
                    ledger.presences.push((entry.cid, Presence::Have));
                }
                (Some(size), _) => {
                    if ledger.queued.insert(entry.cid, size).is_none() {
                        ledger.queue.push_back(entry.cid);
                    }
                }
                (None, _) if entry.send_dont_have => {
                    ledger.presences.push((entry.cid, Presence::DontHave));
                }
                (None, _) => {}
            }
        }
    }

    /// What may be sent to a peer now; `None` when there is nothing or enough is on its way already.
    pub fn next(&mut self, peer: P) -> Option<Answer> {
        let limits = self.limits;
        let ledger = self.peers.get_mut(&peer)?;
        let presences = core::mem::take(&mut ledger.presences);
        let mut blocks = Vec::new();
        let mut bytes = 0;
        while ledger.outstanding + bytes < limits.outstanding_bytes_max {
            let Some(cid) = ledger.queue.front() else { break };
            let Some(size) = ledger.queued.get(cid).map(|size| u64::from(*size)) else {
                ledger.queue.pop_front();
                continue;
            };
            if !blocks.is_empty() && bytes + size > limits.batch_bytes {
                break;
            }
            ledger.queued.remove(cid);
            blocks.extend(ledger.queue.pop_front());
            // An empty block costs a line all the same.
            bytes += size.max(64);
        }
        ledger.outstanding += bytes;
        if blocks.is_empty() && presences.is_empty() {
            return None;
        }
        Some(Answer { blocks, bytes, presences })
    }

    /// A message went out: the bytes of its [`Answer`] no longer count.
    pub fn sent(&mut self, peer: P, bytes: u64) {
        if let Some(ledger) = self.peers.get_mut(&peer) {
            ledger.outstanding = ledger.outstanding.saturating_sub(bytes);
        }
    }

    /// A block that was found before is gone: says so in the next message.
    pub fn gone(&mut self, peer: P, cid: Cid) {
        if let Some(ledger) = self.peers.get_mut(&peer) {
            ledger.presences.push((cid, Presence::DontHave));
        }
    }

    /// Bytes of blocks queued for a peer, which messages tell it.
    pub fn pending_bytes(&self, peer: P) -> u32 {
        let sum = self.peers.get(&peer).map_or(0, |l| l.queued.values().map(|size| u64::from(*size)).sum());
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Wants of all peers that were dropped over the limit.
    pub fn dropped(&self) -> u64 {
        self.peers.values().map(|ledger| ledger.dropped).sum()
    }

    /// Forgets a peer.
    pub fn disconnected(&mut self, peer: P) {
        self.peers.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpips_types::content::{RAW, cid_v1};

    fn cid(index: u32) -> Cid {
        cid_v1(RAW, &index.to_le_bytes())
    }

    fn want(index: u32) -> Entry {
        Entry::want(cid(index), WantType::Block)
    }

    fn all_found(server: &mut Server<u8>, lookups: Vec<Cid>, size: u32) {
        server.looked_up(1, lookups.into_iter().map(|cid| (cid, Some(size))).collect());
    }

    fn blocks(answer: Option<Answer>) -> (usize, u64) {
        match answer {
            Some(Answer { blocks, bytes, .. }) => (blocks.len(), bytes),
            None => (0, 0),
        }
    }

    #[test]
    fn presence_and_absence_are_told_as_asked() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let mut silent = want(4);
        silent.send_dont_have = false;
        let entries =
            vec![Entry::want(cid(1), WantType::Have), Entry::want(cid(2), WantType::Have), want(3), silent];
        let lookups = server.receive(1, false, entries);
        let sizes = [Some(5000), Some(500), None, None];
        server.looked_up(1, lookups.into_iter().zip(sizes).collect());
        let Some(Answer { blocks, presences, bytes }) = server.next(1) else { panic!() };
        assert_eq!(blocks, [cid(2)], "a small block is sent in place of a HAVE");
        assert_eq!(bytes, 500);
        assert_eq!(presences, [(cid(1), Presence::Have), (cid(3), Presence::DontHave)]);
        assert_eq!(server.next(1), None);
    }

    #[test]
    fn outstanding_bytes_are_bounded_for_each_peer() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let lookups = server.receive(1, false, (0..20).map(want).collect());
        all_found(&mut server, lookups, 400 << 10);
        let mut loaded = 0;
        while let (1, bytes) = blocks(server.next(1)) {
            loaded += bytes;
        }
        assert_eq!(loaded, 3 * (400 << 10), "loading goes on while less than a MiB is outstanding");
        server.sent(1, 400 << 10);
        assert_eq!(blocks(server.next(1)), (1, 400 << 10));
        assert_eq!(blocks(server.next(1)).0, 0);
    }

    #[test]
    fn small_blocks_travel_together() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let lookups = server.receive(1, false, (0..100).map(want).collect());
        all_found(&mut server, lookups, 4096);
        assert_eq!(blocks(server.next(1)), (64, 256 << 10));
        assert_eq!(blocks(server.next(1)).0, 36);
    }

    #[test]
    fn floods_are_dropped_and_cancels_work_at_every_stage() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let lookups = server.receive(1, false, (0..5000).map(want).collect());
        assert_eq!(lookups.len(), WANTS_MAX);
        assert_eq!(server.dropped(), 5000 - WANTS_MAX as u64);
        server.receive(1, false, vec![Entry::cancel(cid(0))]);
        all_found(&mut server, lookups, 2000);
        server.receive(1, false, (1..1000).map(|index| Entry::cancel(cid(index))).collect());
        assert_eq!(blocks(server.next(1)).0, WANTS_MAX - 1000);
        // Wanting and cancelling for ever keeps the order short.
        for round in 0..100 {
            let lookups = server.receive(1, false, (0..1000).map(|i| want(round * 1000 + i)).collect());
            all_found(&mut server, lookups, 2000);
            server.receive(1, false, (0..1000).map(|i| Entry::cancel(cid(round * 1000 + i))).collect());
        }
        assert!(server.peers[&1].queue.len() <= 3 * WANTS_MAX);
        server.disconnected(1);
        assert_eq!(server.next(1), None);
    }

    #[test]
    fn a_want_for_the_block_overtakes_one_for_its_presence() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let lookups = server.receive(1, false, vec![Entry::want(cid(1), WantType::Have)]);
        assert!(server.receive(1, false, vec![want(1)]).is_empty(), "looked up once");
        all_found(&mut server, lookups, 5000);
        assert_eq!(blocks(server.next(1)), (1, 5000));
    }

    #[test]
    fn a_full_wantlist_replaces_the_old_one() {
        let mut server = Server::<u8>::new(ServerLimits::default());
        let lookups = server.receive(1, false, vec![want(1), want(2)]);
        all_found(&mut server, lookups, 2000);
        let lookups = server.receive(1, true, vec![want(3)]);
        all_found(&mut server, lookups, 2000);
        let Some(Answer { blocks, .. }) = server.next(1) else { panic!() };
        assert_eq!(blocks, [cid(3)]);
    }
}
