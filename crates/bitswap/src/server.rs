//! What to answer whom, when, and in which order: no block is loaded before it may be sent.
//!
//! Peers take turns by bytes (deficit round robin), so that one that asks for much does not keep others waiting. Within
//! a peer the order is its own: priorities first, then as it came. What cannot be answered now is remembered and
//! answered when the block arrives.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hpips_types::Cid;
use hpips_types::content::{BLOCK_BYTES_MAX, IDENTITY};

use crate::ledger::{Ledger, Ledgers};
use crate::message::{Entry, Presence, WANTS_MAX, WantType};

/// Bounds of the answering side.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Wants of one peer that are kept, remembered ones included. Beyond them the oldest remembered ones are
    /// forgotten; where there are none, new wants are dropped.
    pub wants_max: usize,
    /// Bytes of blocks loaded for one peer and not yet handed to its stream. A block may be loaded while fewer are, so
    /// that the most in memory is this and one block (Kubo's limit). Enough for every figure of docs/bench/net.md, a
    /// round trip of 50 ms among them, because bytes on the stream no longer count; more costs memory for every slow peer.
    pub outstanding_bytes_max: u64,
    /// Small blocks are put together into one message up to this many bytes; also what a peer's turn is worth.
    pub batch_bytes: u64,
    /// A want for presence is answered with the block itself up to this size (as Kubo does).
    pub inline_bytes_max: u32,
    /// Answers that are being loaded at once, for all peers (as many as Kubo has workers).
    pub loads_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            wants_max: WANTS_MAX,
            outstanding_bytes_max: 1024 * 1024,
            batch_bytes: 256 * 1024,
            inline_bytes_max: 1024,
            loads_max: 8,
        }
    }
}

/// What to send to a peer next: load the blocks, call [`Server::loaded`], put all into one message, and call
/// [`Server::sent`] with `bytes` when it goes out, whether or not the blocks could be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Blocks to load; [`Server::loaded`] is to be called only when there are any.
    pub blocks: Vec<Cid>,
    /// What they count, for [`Server::sent`].
    pub bytes: u64,
    /// Answers without blocks.
    pub presences: Vec<(Cid, Presence)>,
}

/// Where a want stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its size is being looked up; `again` when the block may have come since the look-up began.
    Looking { again: bool },
    /// To be sent; bytes and place in the order.
    Queued { size: u32, turn: Turn },
    /// Not here; since when, in the peer's own count.
    Waiting { since: u64 },
}

/// Larger priorities first, then first come first served.
type Turn = (Reverse<i32>, u64);

/// What one peer wants and what is on its way to it.
#[derive(Debug, Default)]
struct Partner {
    wants: BTreeMap<Cid, (Entry, Place)>,
    /// Blocks to send, in order.
    queue: BTreeMap<Turn, Cid>,
    queued_bytes: u64,
    /// Wants that cannot be answered now, oldest first.
    waiting: BTreeMap<u64, Cid>,
    presences: Vec<(Cid, Presence)>,
    outstanding: u64,
    /// Bytes its turns have earned and it has not used.
    credit: u64,
    /// Whether it stands in the round.
    in_round: bool,
    count: u64,
}

/// The answering side for all peers. `P` tells peers apart.
#[derive(Debug)]
pub struct Server<P> {
    limits: ServerLimits,
    peers: BTreeMap<P, Partner>,
    /// Who waits for a block: the wants of all partners that stand at [`Place::Waiting`].
    waiting: BTreeMap<Cid, BTreeSet<P>>,
    /// Whose turn it is; everyone here may have something to load.
    round: VecDeque<P>,
    /// Who is to be told something.
    telling: BTreeSet<P>,
    loading: usize,
    dropped: u64,
    ledgers: Ledgers<P>,
}

impl<P: Copy + Ord> Server<P> {
    /// Knows nobody yet.
    pub fn new(limits: ServerLimits) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            round: VecDeque::new(),
            telling: BTreeSet::new(),
            loading: 0,
            dropped: 0,
            ledgers: Ledgers::new(),
        }
    }

    /// Takes a wantlist and returns the blocks whose size is to be looked up, for [`Server::looked_up`]. Cancels
    /// take effect at once. Wants over the limit are dropped: the peer asks again or elsewhere. Identities are passed
    /// over: whoever has the CID has the block.
    pub fn receive(&mut self, peer: P, full: bool, entries: Vec<Entry>) -> Vec<Cid> {
        let partner = self.peers.entry(peer).or_default();
        if full {
            for cid in partner.wants.keys().copied().collect::<Vec<_>>() {
                forget(&mut self.waiting, partner, peer, &cid);
            }
        }
        let mut lookups = Vec::new();
        for entry in entries {
            if entry.cancel {
                forget(&mut self.waiting, partner, peer, &entry.cid);
                continue;
            }
            if entry.cid.hash().code() == IDENTITY {
                continue;
            }
            match partner.wants.get_mut(&entry.cid) {
                Some((_, Place::Queued { .. })) => continue,
                // A want for the block after one for its presence may come before the first was looked up.
                Some((earlier, Place::Looking { .. })) => {
                    if entry.want_type == WantType::Block {
                        *earlier = entry;
                    }
                    continue;
                }
                // Asked again: the block may have come without anybody saying so.
                Some((_, Place::Waiting { .. })) => {
                    forget(&mut self.waiting, partner, peer, &entry.cid);
                }
                None => {}
            }
            if partner.wants.len() >= self.limits.wants_max {
                let Some(oldest) = partner.waiting.values().next().copied() else {
                    self.dropped += 1;
                    continue;
                };
                forget(&mut self.waiting, partner, peer, &oldest);
            }
            lookups.push(entry.cid);
            partner.wants.insert(entry.cid, (entry, Place::Looking { again: false }));
        }
        lookups
    }

    /// Takes sizes that were looked up; `None` where the block is not here. Returns what has to be looked up again,
    /// because it arrived meanwhile.
    pub fn looked_up(&mut self, peer: P, found: Vec<(Cid, Option<u32>)>) -> Vec<Cid> {
        let mut repeat = Vec::new();
        let Some(partner) = self.peers.get_mut(&peer) else { return repeat };
        for (cid, size) in found {
            let Some((entry, place)) = partner.wants.get_mut(&cid) else { continue };
            let Place::Looking { again } = *place else { continue };
            partner.count += 1;
            let size = size.filter(|size| u64::from(*size) <= BLOCK_BYTES_MAX as u64);
            match (size, entry.want_type) {
                (Some(size), WantType::Have) if size > self.limits.inline_bytes_max => {
                    partner.presences.push((cid, Presence::Have));
                    partner.wants.remove(&cid);
                }
                (Some(size), _) => {
                    let turn = (Reverse(entry.priority), partner.count);
                    *place = Place::Queued { size, turn };
                    partner.queue.insert(turn, cid);
                    partner.queued_bytes += u64::from(size);
                }
                (None, _) if again => {
                    *place = Place::Looking { again: false };
                    repeat.push(cid);
                }
                (None, _) => {
                    if entry.send_dont_have {
                        partner.presences.push((cid, Presence::DontHave));
                        // Said once; what comes later is the block itself.
                        entry.send_dont_have = false;
                    }
                    *place = Place::Waiting { since: partner.count };
                    partner.waiting.insert(partner.count, cid);
                    self.waiting.entry(cid).or_default().insert(peer);
                }
            }
        }
        self.schedule(peer);
        repeat
    }

    /// Blocks are here now: returns the wants that can be looked up again, for [`Server::looked_up`].
    pub fn arrived(&mut self, cids: &[Cid]) -> Vec<(P, Vec<Cid>)> {
        let mut lookups: BTreeMap<P, Vec<Cid>> = BTreeMap::new();
        for cid in cids {
            for peer in self.waiting.remove(cid).unwrap_or_default() {
                let Some(partner) = self.peers.get_mut(&peer) else { continue };
                if let Some((_, place)) = partner.wants.get_mut(cid)
                    && let Place::Waiting { since } = *place
                {
                    *place = Place::Looking { again: false };
                    partner.waiting.remove(&since);
                    lookups.entry(peer).or_default().push(*cid);
                }
            }
        }
        // A look-up under way may have missed it.
        for partner in self.peers.values_mut() {
            for cid in cids {
                if let Some((_, Place::Looking { again })) = partner.wants.get_mut(cid) {
                    *again = true;
                }
            }
        }
        lookups.into_iter().collect()
    }

    /// Who is to get what next; `None` when there is nothing to say and enough is being loaded or on its way.
    pub fn next_answer(&mut self) -> Option<(P, Answer)> {
        if let Some((peer, blocks, bytes)) = self.next_blocks() {
            let partner = self.peers.get_mut(&peer)?;
            self.telling.remove(&peer);
            let presences = core::mem::take(&mut partner.presences);
            return Some((peer, Answer { blocks, bytes, presences }));
        }
        let peer = self.telling.pop_first()?;
        let presences = core::mem::take(&mut self.peers.get_mut(&peer)?.presences);
        Some((peer, Answer { blocks: Vec::new(), bytes: 0, presences }))
    }

    /// The next blocks to load, by turns.
    fn next_blocks(&mut self) -> Option<(P, Vec<Cid>, u64)> {
        let limits = self.limits;
        while self.loading < limits.loads_max {
            let peer = self.round.pop_front()?;
            let Some(partner) = self.peers.get_mut(&peer) else { continue };
            let Some(size) =
                partner.next_size().filter(|_| partner.outstanding < limits.outstanding_bytes_max)
            else {
                // It comes back with its next want or when something was sent.
                partner.in_round = false;
                partner.credit = 0;
                continue;
            };
            partner.credit += limits.batch_bytes;
            self.round.push_back(peer);
            if size > partner.credit {
                continue;
            }
            let (mut blocks, mut bytes) = (Vec::new(), 0);
            while let Some(size) = partner.next_size()
                && (blocks.is_empty() || bytes + size <= limits.batch_bytes)
                && bytes + size <= partner.credit
                && partner.outstanding + bytes < limits.outstanding_bytes_max
            {
                let Some((_, cid)) = partner.queue.pop_first() else { break };
                if let Some((_, Place::Queued { size, .. })) = partner.wants.remove(&cid) {
                    partner.queued_bytes -= u64::from(size);
                }
                blocks.push(cid);
                bytes += size;
            }
            partner.credit -= bytes;
            partner.outstanding += bytes;
            self.loading += 1;
            return Some((peer, blocks, bytes));
        }
        None
    }

    /// The blocks of an [`Answer`] were loaded or could not be.
    pub fn loaded(&mut self) {
        self.loading = self.loading.saturating_sub(1);
    }

    /// A message went out: the bytes of its [`Answer`] no longer count.
    pub fn sent(&mut self, peer: P, bytes: u64) {
        if let Some(partner) = self.peers.get_mut(&peer) {
            partner.outstanding = partner.outstanding.saturating_sub(bytes);
            self.schedule(peer);
        }
    }

    /// A block that was found before is gone: says so in the next message.
    pub fn gone(&mut self, peer: P, cid: Cid) {
        if let Some(partner) = self.peers.get_mut(&peer) {
            partner.presences.push((cid, Presence::DontHave));
            self.schedule(peer);
        }
    }

    /// Puts a peer where [`Server::next_answer`] finds it.
    fn schedule(&mut self, peer: P) {
        let Some(partner) = self.peers.get_mut(&peer) else { return };
        if !partner.presences.is_empty() {
            self.telling.insert(peer);
        }
        if !partner.in_round && !partner.queue.is_empty() {
            partner.in_round = true;
            self.round.push_back(peer);
        }
    }

    /// Bytes of blocks queued for a peer, which messages tell it.
    pub fn pending_bytes(&self, peer: P) -> u32 {
        let sum = self.peers.get(&peer).map_or(0, |partner| partner.queued_bytes);
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Wants of all peers that were dropped over the limit, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Wants of all peers that are remembered because their blocks are not here.
    pub fn waiting(&self) -> usize {
        self.peers.values().map(|partner| partner.waiting.len()).sum()
    }

    /// What a peer wants and has not got, in the order of CIDs.
    pub fn wantlist_for(&self, peer: P) -> Vec<Entry> {
        let wants = self.peers.get(&peer).into_iter().flat_map(|partner| partner.wants.values());
        wants.map(|(entry, _)| entry.clone()).collect()
    }

    /// What was exchanged with a peer; `None` when nothing was or it is forgotten.
    pub fn ledger(&self, peer: P) -> Option<Ledger> {
        self.ledgers.get(peer)
    }

    /// Blocks went to a peer.
    pub fn gave(&mut self, peer: P, blocks: u64, bytes: u64) {
        self.ledgers.note(peer, |ledger| {
            ledger.blocks_sent += blocks;
            ledger.bytes_sent += bytes;
        });
    }

    /// Blocks came from a peer.
    pub fn got(&mut self, peer: P, blocks: u64, bytes: u64) {
        self.ledgers.note(peer, |ledger| {
            ledger.blocks_received += blocks;
            ledger.bytes_received += bytes;
        });
    }

    /// Forgets what a peer wants; its ledger stays. Answers that are being loaded for it still end with
    /// [`Server::loaded`].
    pub fn disconnected(&mut self, peer: P) {
        self.telling.remove(&peer);
        self.round.retain(|other| *other != peer);
        let Some(mut partner) = self.peers.remove(&peer) else { return };
        for cid in core::mem::take(&mut partner.waiting).into_values() {
            stop_waiting(&mut self.waiting, peer, &cid);
        }
    }
}

impl Partner {
    /// What the next block of the queue costs; an empty one costs a line all the same.
    fn next_size(&self) -> Option<u64> {
        let cid = self.queue.values().next()?;
        match self.wants.get(cid) {
            Some((_, Place::Queued { size, .. })) => Some(u64::from(*size).max(64)),
            _ => None,
        }
    }
}

/// Drops a want wherever it stands.
fn forget<P: Copy + Ord>(index: &mut BTreeMap<Cid, BTreeSet<P>>, partner: &mut Partner, peer: P, cid: &Cid) {
    match partner.wants.remove(cid) {
        Some((_, Place::Queued { size, turn })) => {
            partner.queue.remove(&turn);
            partner.queued_bytes -= u64::from(size);
        }
        Some((_, Place::Waiting { since })) => {
            partner.waiting.remove(&since);
            stop_waiting(index, peer, cid);
        }
        Some((_, Place::Looking { .. })) | None => {}
    }
}

fn stop_waiting<P: Copy + Ord>(index: &mut BTreeMap<Cid, BTreeSet<P>>, peer: P, cid: &Cid) {
    if let Some(peers) = index.get_mut(cid) {
        peers.remove(&peer);
        if peers.is_empty() {
            index.remove(cid);
        }
    }
}

#[cfg(test)]
mod tests;
