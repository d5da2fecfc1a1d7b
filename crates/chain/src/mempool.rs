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
/// Bytes of transactions whose fee is owed at most: many blocks' share of them.
const OWED_BYTES_MAX: usize = 1 << 20;
/// Of these, bytes that are tried for one block.
const OWED_TRIED_MAX: usize = 64 << 10;
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
    is_owed: bool,
}

/// An account as the next block finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    /// Its next nonce.
    pub(crate) nonce: u64,
    /// Nano it has.
    pub(crate) balance: u64,
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
    owed_bytes: usize,
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
            is_owed: checked.is_owed,
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
        let owed = |pending: &Pending| if pending.is_owed { pending.bytes.len() } else { 0 };
        let owed_freed = replaced.map_or(0, owed);
        if self.owed_bytes - owed_freed + owed(&pending) > OWED_BYTES_MAX {
            return Err(PoolError::Full);
        }
        self.owed_bytes = self.owed_bytes - owed_freed + owed(&pending);
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
    /// in order of nonce; at most `bytes_max` bytes. What the next block could not take, because nonces are
    /// missing or the account cannot pay all of them, takes no part: it would keep others out for nothing.
    pub(crate) fn transactions(
        &self,
        bytes_max: usize,
        base_fee: u64,
        mut purse: impl FnMut(&AccountId) -> Purse,
    ) -> Vec<Vec<u8>> {
        let mut queues: Vec<(&AccountId, &BTreeMap<u64, Pending>)> = self.accounts.iter().collect();
        queues.sort_by_key(|(account, queue)| {
            (std::cmp::Reverse(queue.values().map(|pending| pending.tip).max()), **account)
        });
        let (mut paid, mut paid_bytes) = (Vec::new(), 0usize);
        let (mut owed, mut owed_bytes) = (Vec::new(), 0usize);
        for (account, queue) in queues {
            let Purse { nonce, mut balance } = purse(account);
            for (pending, expected) in queue.range(nonce..).zip(nonce..) {
                let (given, pending) = pending;
                let bytes = pending.bytes.len();
                let length = u64::try_from(bytes).unwrap_or(u64::MAX);
                let fee = base_fee.saturating_mul(length).saturating_add(pending.tip);
                if *given != expected {
                    break;
                }
                if let Some(rest) = balance.checked_sub(fee) {
                    balance = rest;
                    if paid_bytes + bytes > bytes_max {
                        paid.extend(owed);
                        return paid;
                    }
                    paid_bytes += bytes;
                    paid.push(pending.bytes.to_vec());
                } else if pending.is_owed && owed_bytes + bytes <= OWED_TRIED_MAX {
                    owed_bytes += bytes;
                    owed.push(pending.bytes.to_vec());
                } else {
                    break;
                }
            }
        }
        paid.extend(owed);
        paid
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
                    self.owed_bytes -= if gone.is_owed { gone.bytes.len() } else { 0 };
                }
            }
        }
        let (ids, bytes, owed) = (&mut self.ids, &mut self.bytes, &mut self.owed_bytes);
        self.accounts.retain(|_, queue| {
            queue.retain(|_, pending| {
                let alive = pending.expires > height;
                if !alive {
                    ids.remove(&pending.id);
                    *bytes -= pending.bytes.len();
                    *owed -= if pending.is_owed { pending.bytes.len() } else { 0 };
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

#[cfg(test)]
mod tests {
    use hpips_ledger::Body;
    use hpips_types::TokenAmount;

    use super::*;

    /// A checked transaction of account `from` that pays at most `max_fee`.
    fn checked(from: u8, nonce: u64, max_fee: u64) -> (Admission, ByteBuf) {
        let bytes = ByteBuf::from(format!("{from}/{nonce}/{max_fee}").into_bytes());
        let account = AccountId::new([from; 32]);
        let admission = Admission {
            id: Signed::id_of(&bytes),
            from: account,
            nonce,
            expires: Height::new(10),
            bytes: bytes.len(),
            tip: TokenAmount::new(max_fee / 2),
            max_fee: TokenAmount::new(max_fee),
            is_owed: false,
            signature: hpips_ledger::Statement::Signature {
                domain: "",
                account,
                message: Vec::new(),
                signature: hpips_types::SignatureBytes::new([0; 64]),
            },
        };
        (admission, bytes)
    }

    fn insert(pool: &mut Mempool, from: u8, nonce: u64, max_fee: u64) -> Result<(), PoolError> {
        let (admission, bytes) = checked(from, nonce, max_fee);
        pool.insert(&admission, bytes)
    }

    /// What is tried where every account can pay all it sends, and those of account 3 begin at 7.
    fn tried(pool: &Mempool, bytes_max: usize) -> Vec<Vec<u8>> {
        pool.transactions(bytes_max, 1, |account| Purse {
            nonce: if account.as_bytes()[0] == 3 { 7 } else { 0 },
            balance: u64::MAX,
        })
    }

    fn waiting(pool: &Mempool) -> Vec<String> {
        let bytes = tried(pool, usize::MAX).into_iter();
        bytes.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn accounts_stand_by_tip_and_their_transactions_by_nonce() {
        let mut pool = Mempool::default();
        for (from, nonce, max_fee) in [(1, 1, 10), (2, 0, 50), (1, 0, 20), (3, 7, 30)] {
            insert(&mut pool, from, nonce, max_fee).unwrap();
        }
        assert_eq!(waiting(&pool), ["2/0/50", "3/7/30", "1/0/20", "1/1/10"]);
        assert_eq!(tried(&pool, 12).len(), 2);
        assert_eq!(pool.next_nonce(&AccountId::new([1; 32]), 0), 2);
        assert_eq!(pool.next_nonce(&AccountId::new([3; 32]), 0), 0, "a gap is not bridged");
    }

    #[test]
    fn what_no_block_can_take_keeps_nobody_out() {
        let mut pool = Mempool::default();
        // Account 1 leaves out its first nonce, account 2 can pay for one of its two; both promise much.
        for (from, nonce, max_fee) in [(1, 1, 900), (1, 2, 900), (2, 0, 800), (2, 1, 800), (4, 0, 2)] {
            insert(&mut pool, from, nonce, max_fee).unwrap();
        }
        let purse = |_: &AccountId| Purse { nonce: 0, balance: 500 };
        let tried = pool.transactions(14, 1, purse);
        assert_eq!(tried, [b"2/0/800".to_vec(), b"4/0/2".to_vec()]);
    }

    #[test]
    fn accounts_that_owe_fill_no_pool() {
        let mut pool = Mempool::default();
        let owing = |from: u8, nonce: u64| {
            let (mut admission, _) = checked(from, nonce, 0);
            admission.is_owed = true;
            admission.id = Signed::id_of(&[from, u8::try_from(nonce).unwrap()]);
            (admission, ByteBuf::from(vec![0; 16 << 10]))
        };
        for from in 0..64 {
            let (admission, bytes) = owing(from, 0);
            pool.insert(&admission, bytes).unwrap();
        }
        let (admission, bytes) = owing(64, 0);
        assert_eq!(pool.insert(&admission, bytes), Err(PoolError::Full));
        insert(&mut pool, 200, 0, 1).unwrap();
        let tried = pool.transactions(usize::MAX, 1, |_| Purse { nonce: 0, balance: 100 });
        assert_eq!((tried.len(), tried[0].as_slice()), (5, &b"200/0/1"[..]), "those that pay come first");
        pool.forget(Height::new(10), &Body::default(), []);
        assert_eq!((pool.bytes, pool.owed_bytes), (0, 0));
    }

    #[test]
    fn a_replacement_pays_a_tenth_more() {
        let mut pool = Mempool::default();
        insert(&mut pool, 1, 0, 100).unwrap();
        for (max_fee, expected) in [
            (100, Err(PoolError::Known)),
            (99, Err(PoolError::Underpriced)),
            (109, Err(PoolError::Underpriced)),
            (110, Ok(())),
        ] {
            assert_eq!(insert(&mut pool, 1, 0, max_fee), expected, "{max_fee}");
        }
        assert_eq!((waiting(&pool), pool.len(), pool.bytes), (vec!["1/0/110".to_owned()], 1, 7));
    }

    #[test]
    fn queues_are_bounded_and_blocks_empty_them() {
        let mut pool = Mempool::default();
        for nonce in 0..64 {
            insert(&mut pool, 1, nonce, 100).unwrap();
        }
        assert_eq!(insert(&mut pool, 1, 64, 100), Err(PoolError::AccountFull));
        insert(&mut pool, 2, 5, 100).unwrap();
        pool.forget(Height::new(3), &Body::default(), [(AccountId::new([1; 32]), 60)]);
        assert_eq!(pool.len(), 5);
        pool.forget(Height::new(10), &Body::default(), []);
        assert_eq!((pool.len(), pool.bytes, pool.accounts.len()), (0, 0, 0), "expired");
    }

    #[test]
    fn the_lane_is_bounded_by_provider() {
        let mut pool = Mempool::default();
        let commitment = |provider: u8, window: u64| Commitment {
            chain: hpips_types::ChainId::new([0; 32]),
            set: SetId { provider: AccountId::new([provider; 32]), number: 0 },
            window: WindowIndex::new(window),
            leaf_commitment: hpips_proofs::Element::ZERO,
            signature: hpips_types::SignatureBytes::new([0; 64]),
        };
        let now = Height::new(1);
        for window in 0..256 {
            pool.insert_commitment(commitment(1, window), now).unwrap();
        }
        assert_eq!(pool.insert_commitment(commitment(1, 256), now), Err(PoolError::Full));
        assert_eq!(pool.insert_commitment(commitment(1, 3), now), Err(PoolError::Known));
        pool.insert_commitment(commitment(2, 0), now).unwrap();
        let body = Body { commitments: vec![commitment(2, 0)], ..Body::default() };
        pool.forget(Height::new(2), &body, []);
        assert_eq!(pool.commitments().len(), 256);
        pool.forget(Height::new(3_000), &Body::default(), []);
        assert!(pool.commitments().is_empty());
    }
}
