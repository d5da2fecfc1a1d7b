//! Transactions and lane items that wait for a block. Not consensus: every proposer picks from its own.

use std::collections::{BTreeMap, HashSet};

use hpips_ledger::{Admission, Commitment, Signed, WindowProof};
use hpips_types::{AccountId, Height, SetId, TxId, WindowIndex};
use serde_bytes::ByteBuf;

use crate::wire::Candidate;

/// Transactions of one account at most.
const PER_ACCOUNT_MAX: usize = 64;
/// Bytes of all transactions at most.
const BYTES_MAX: usize = 64 << 20;
/// Lane items of one provider at most, of each kind.
const LANE_PER_PROVIDER_MAX: usize = 256;
/// Lane items in all at most, of each kind.
const LANE_MAX: usize = 16_384;
/// Blocks a lane item is kept; the window it is for has closed long before.
const LANE_BLOCKS: u64 = 2_048;

/// Why something does not wait for a block here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It waits already, or stands in a block already.
    #[error("known already")]
    Known,
    /// The account has as many transactions waiting as it may.
    #[error("{PER_ACCOUNT_MAX} transactions of this account wait already")]
    AccountFull,
    /// No memory left for more.
    #[error("this node holds as many waiting transactions as it may")]
    Full,
    /// One with the same nonce waits, and this one does not pay a tenth more.
    #[error("a transaction with this nonce waits already and pays as much")]
    Underpriced,
}

struct Pending {
    id: TxId,
    bytes: ByteBuf,
    expires: Height,
    tip: u64,
    max_fee: u64,
}

struct Lane<T> {
    item: T,
    since: Height,
}

/// What waits.
#[derive(Default)]
pub(crate) struct Mempool {
    accounts: BTreeMap<AccountId, BTreeMap<u64, Pending>>,
    ids: HashSet<TxId>,
    bytes: usize,
    commitments: BTreeMap<(SetId, WindowIndex), Lane<Commitment>>,
    proofs: BTreeMap<(SetId, WindowIndex), Lane<WindowProof>>,
}

impl Mempool {
    /// Keeps a checked transaction.
    pub(crate) fn insert(&mut self, checked: &Admission, bytes: ByteBuf) -> Result<(), PoolError> {
        if self.ids.contains(&checked.id) {
            return Err(PoolError::Known);
        }
        let pending = Pending {
            id: checked.id,
            expires: checked.expires,
            tip: checked.tip.get(),
            max_fee: checked.max_fee.get(),
            bytes,
        };
        let queue = self.accounts.get(&checked.from);
        let replaced = queue.and_then(|queue| queue.get(&checked.nonce));
        if replaced.is_none() && queue.is_some_and(|queue| queue.len() >= PER_ACCOUNT_MAX) {
            return Err(PoolError::AccountFull);
        }
        let freed = replaced.map_or(0, |old| old.bytes.len());
        if let Some(old) = replaced {
            let least = |before: u64| before.saturating_add((before / 10).max(1));
            if pending.max_fee < least(old.max_fee) {
                return Err(PoolError::Underpriced);
            }
        }
        if self.bytes - freed + pending.bytes.len() > BYTES_MAX {
            return Err(PoolError::Full);
        }
        self.bytes += pending.bytes.len();
        self.ids.insert(checked.id);
        let queue = self.accounts.entry(checked.from).or_default();
        if let Some(old) = queue.insert(checked.nonce, pending) {
            self.bytes -= old.bytes.len();
            self.ids.remove(&old.id);
        }
        Ok(())
    }

    /// Whether this candidate waits for a block.
    pub(crate) fn waits(&self, candidate: &Candidate) -> bool {
        match candidate {
            Candidate::Transaction(bytes) => self.ids.contains(&Signed::id_of(bytes)),
            Candidate::Commitment(item) => self.commitments.contains_key(&(item.set, item.window)),
            Candidate::Proof(item) => self.proofs.contains_key(&(item.set, item.window)),
        }
    }

    /// Keeps a checked commitment.
    pub(crate) fn insert_commitment(&mut self, item: Commitment, now: Height) -> Result<(), PoolError> {
        insert_lane(&mut self.commitments, (item.set, item.window), item, now)
    }

    /// Keeps a checked proof.
    pub(crate) fn insert_proof(&mut self, item: WindowProof, now: Height) -> Result<(), PoolError> {
        insert_lane(&mut self.proofs, (item.set, item.window), item, now)
    }

    /// Nonce after the last of the unbroken queue that starts at `next`.
    pub(crate) fn next_nonce(&self, account: &AccountId, next: u64) -> u64 {
        let Some(queue) = self.accounts.get(account) else { return next };
        (next..).find(|nonce| !queue.contains_key(nonce)).unwrap_or(next)
    }

    /// Waiting transactions in the order they should be tried: accounts by their best tip, every account's
    /// in order of nonce; at most `bytes_max` bytes.
    pub(crate) fn transactions(&self, bytes_max: usize) -> Vec<Vec<u8>> {
        let mut queues: Vec<(&AccountId, &BTreeMap<u64, Pending>)> = self.accounts.iter().collect();
        queues.sort_by_key(|(account, queue)| {
            (std::cmp::Reverse(queue.values().map(|pending| pending.tip).max()), **account)
        });
        let mut taken = 0;
        let waiting = queues.into_iter().flat_map(|(_, queue)| queue.values());
        waiting
            .take_while(|pending| {
                taken += pending.bytes.len();
                taken <= bytes_max
            })
            .map(|pending| pending.bytes.to_vec())
            .collect()
    }

    /// Waiting commitments, by set and window.
    pub(crate) fn commitments(&self) -> Vec<Commitment> {
        self.commitments.values().map(|lane| lane.item).collect()
    }

    /// Waiting proofs, by set and window.
    pub(crate) fn proofs(&self) -> Vec<WindowProof> {
        self.proofs.values().map(|lane| lane.item.clone()).collect()
    }

    /// How many transactions wait.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Forgets what a finalized block included or outdated. `next_nonces`: of the accounts that acted in it.
    pub(crate) fn forget(
        &mut self,
        height: Height,
        body: &hpips_ledger::Body,
        next_nonces: impl IntoIterator<Item = (AccountId, u64)>,
    ) {
        for commitment in &body.commitments {
            self.commitments.remove(&(commitment.set, commitment.window));
        }
        for proof in &body.proofs {
            self.proofs.remove(&(proof.set, proof.window));
        }
        self.commitments.retain(|_, lane| height.get() <= lane.since.get() + LANE_BLOCKS);
        self.proofs.retain(|_, lane| height.get() <= lane.since.get() + LANE_BLOCKS);
        for (account, nonce) in next_nonces {
            if let Some(queue) = self.accounts.get_mut(&account) {
                let kept = queue.split_off(&nonce);
                for gone in std::mem::replace(queue, kept).into_values() {
                    self.ids.remove(&gone.id);
                    self.bytes -= gone.bytes.len();
                }
            }
        }
        let (ids, bytes) = (&mut self.ids, &mut self.bytes);
        self.accounts.retain(|_, queue| {
            queue.retain(|_, pending| {
                let alive = pending.expires > height;
                if !alive {
                    ids.remove(&pending.id);
                    *bytes -= pending.bytes.len();
                }
                alive
            });
            !queue.is_empty()
        });
    }

    /// Drops a lane item that turned out to be false.
    pub(crate) fn drop_lane(&mut self, set: SetId, window: WindowIndex) {
        self.commitments.remove(&(set, window));
        self.proofs.remove(&(set, window));
    }
}

fn insert_lane<T>(
    lane: &mut BTreeMap<(SetId, WindowIndex), Lane<T>>,
    name: (SetId, WindowIndex),
    item: T,
    since: Height,
) -> Result<(), PoolError> {
    if lane.contains_key(&name) {
        return Err(PoolError::Known);
    }
    let provider = name.0.provider;
    let first = (SetId { provider, number: 0 }, WindowIndex::ZERO);
    let of_provider = lane.range(first..).take_while(|((set, _), _)| set.provider == provider);
    if lane.len() >= LANE_MAX || of_provider.count() >= LANE_PER_PROVIDER_MAX {
        return Err(PoolError::Full);
    }
    lane.insert(name, Lane { item, since });
    Ok(())
}
