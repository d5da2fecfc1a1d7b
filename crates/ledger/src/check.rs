//! Checks ahead of a block: what a mempool admits, and what a proposer may put into a body.

use std::collections::BTreeMap;

use hpips_types::{AccountId, Height, TokenAmount, TxId, cbor};
use serde_bytes::ByteBuf;

use crate::block;
use crate::body::{BEACONS_MAX, BODY_BYTES_MAX, Beacon, Body, Commitment, PERMUTATIONS_MAX, WindowProof};
use crate::error::{LaneFault, Refused};
use crate::fee::{self, OWED_BYTES_MAX, OWED_MAX, Payment, TRANSACTION_BYTES_MAX};
use crate::money;
use crate::rows::{Account, Opening};
use crate::state::{StateView, read};
use crate::statement::Statement;
use crate::transaction::Signed;
use crate::{account, claim, cost, exec, tables, window};

/// Nonces ahead of the account's that a mempool keeps.
pub const NONCES_AHEAD_MAX: u64 = 64;

/// What a mempool needs to know of a transaction.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Its id.
    pub id: TxId,
    /// Who sent it.
    pub from: AccountId,
    /// Its place in the sender's order.
    pub nonce: u64,
    /// Last height it may stand in.
    pub expires: Height,
    /// Its length, bytes.
    pub bytes: usize,
    /// What the proposer gets.
    pub tip: TokenAmount,
    /// What it pays at most.
    pub max_fee: TokenAmount,
    /// Whether its fee is owed: anyone can make accounts that owe, so they get a small share of everything.
    pub is_owed: bool,
    /// The sender's signature, still to be checked.
    pub signature: Statement,
}

/// Checks a transaction for the mempool: form, chain, expiry, nonce within [`NONCES_AHEAD_MAX`], fee.
///
/// # Errors
/// [`Refused`] by variant; the signature is the caller's to check.
pub fn check_tx(view: &dyn StateView, bytes: &[u8]) -> Result<Admission, Refused> {
    let signed = Signed::decode(bytes).map_err(Refused::Malformed)?;
    let transaction = &signed.body;
    let constants = exec::constants(view);
    if transaction.chain != constants.chain {
        return Err(Refused::Chain(transaction.chain));
    }
    let head = exec::head(view);
    let mut account = account::account_of(view, &head, &transaction.from);
    let expected = account.nonce;
    if transaction.nonce < expected || transaction.nonce - expected > NONCES_AHEAD_MAX {
        return Err(Refused::Nonce { got: transaction.nonce, expected });
    }
    account.nonce = transaction.nonce;
    let height = block::next_height(view);
    let payment = fee::admit(&head, &account, transaction, bytes.len(), height)?;
    Ok(Admission {
        is_owed: matches!(payment, Payment::Owed { .. }),
        id: Signed::id_of(bytes),
        from: transaction.from,
        nonce: transaction.nonce,
        expires: transaction.expires,
        bytes: bytes.len(),
        tip: transaction.tip,
        max_fee: transaction.max_fee,
        signature: signed.statement(),
    })
}

/// Checks a commitment for the next block.
///
/// # Errors
/// [`LaneFault`] by variant; the signature is the caller's to check.
pub fn check_commitment(view: &dyn StateView, item: &Commitment) -> Result<Statement, LaneFault> {
    let constants = exec::constants(view);
    let height = block::next_height(view);
    window::check_commitment(view, &constants, height, item)?;
    Ok(item.statement())
}

/// Checks a window proof for the next block.
///
/// # Errors
/// [`LaneFault`] by variant; the proof is the caller's to verify.
pub fn check_proof(view: &dyn StateView, item: &WindowProof) -> Result<Statement, LaneFault> {
    let constants = exec::constants(view);
    let height = block::next_height(view);
    let claim = claim::window_proof(view, &constants, height, item)?;
    window::check_proof(view, &constants, height, item)?;
    Ok(Statement::Proof { claim: Box::new(claim), proof: item.proof })
}

/// What a proposer has at hand: transactions by its own order of preference, all signatures and proofs found
/// true.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Beacons collected.
    pub beacons: Vec<Beacon>,
    /// Commitments.
    pub commitments: Vec<Commitment>,
    /// Proofs.
    pub proofs: Vec<WindowProof>,
    /// Encoded transactions; those of one sender in order of nonce.
    pub transactions: Vec<Vec<u8>>,
}

/// Puts together the body of the next block out of what is at hand. What would make the block invalid is
/// left out; so is what does not fit.
pub fn select(view: &dyn StateView, candidates: Candidates) -> Body {
    let constants = exec::constants(view);
    let height = block::next_height(view);
    let shape = exec::shape(&constants.params);
    let mut body = Body::default();

    let mut beacons: BTreeMap<Height, Beacon> = BTreeMap::new();
    for beacon in candidates.beacons {
        let opening: Option<Opening> = read(view, &tables::opening(beacon.opening));
        let wanted = opening.filter(|opening| opening.beacon.is_none()).and_then(|opening| opening.view);
        if wanted.is_some_and(|view| beacon.view.get() == view.get() + constants.params.lag_views) {
            beacons.insert(beacon.opening, beacon);
        }
    }
    body.beacons = beacons.into_values().take(BEACONS_MAX).collect();

    let commitments: BTreeMap<_, _> = candidates
        .commitments
        .into_iter()
        .filter(|item| window::check_commitment(view, &constants, height, item).is_ok())
        .map(|item| (item.set, item))
        .collect();
    // The lane has a quarter of the bytes.
    let mut bytes_left = BODY_BYTES_MAX / 4 - 4_096;
    for item in commitments.into_values() {
        let Some(left) = bytes_left.checked_sub(cbor::encode(&item).len()) else { break };
        bytes_left = left;
        body.commitments.push(item);
    }

    let mut cost_left = PERMUTATIONS_MAX / 4;
    let proofs: BTreeMap<_, _> = candidates
        .proofs
        .into_iter()
        .filter(|item| {
            claim::window_proof(view, &constants, height, item).is_ok()
                && window::check_proof(view, &constants, height, item).is_ok()
        })
        .map(|item| ((item.set, item.window), item))
        .collect();
    for item in proofs.into_values() {
        let (Some(cost), Some(bytes)) =
            (cost_left.checked_sub(cost::window(&shape)), bytes_left.checked_sub(cbor::encode(&item).len()))
        else {
            break;
        };
        (cost_left, bytes_left) = (cost, bytes);
        body.proofs.push(item);
    }
    select_transactions(view, height, candidates.transactions, &mut body);
    body
}

fn select_transactions(view: &dyn StateView, height: Height, candidates: Vec<Vec<u8>>, body: &mut Body) {
    let constants = exec::constants(view);
    let shape = exec::shape(&constants.params);
    let head = exec::head(view);
    let mut accounts: BTreeMap<AccountId, Account> = BTreeMap::new();
    let (mut bytes_left, mut owed_left) = (TRANSACTION_BYTES_MAX - 4_096, OWED_BYTES_MAX);
    let mut cost_left = PERMUTATIONS_MAX / 4 * 3;
    for bytes in candidates {
        let Ok(signed) = Signed::decode(&bytes) else { continue };
        let transaction = &signed.body;
        if transaction.chain != constants.chain {
            continue;
        }
        let account = accounts
            .entry(transaction.from)
            .or_insert_with(|| account::account_of(view, &head, &transaction.from));
        let Ok(payment) = fee::admit(&head, account, transaction, bytes.len(), height) else { continue };
        let cost: u64 = transaction.ops.iter().map(|op| cost::operation(&shape, op)).sum();
        let owed = if matches!(payment, Payment::Owed { .. }) { bytes.len() } else { 0 };
        // Each byte string in a list costs its header too.
        let (Some(bytes_now), Some(owed_now), Some(cost_now)) = (
            bytes_left.checked_sub(bytes.len() + 5),
            owed_left.checked_sub(owed),
            cost_left.checked_sub(cost),
        ) else {
            continue;
        };
        (bytes_left, owed_left, cost_left) = (bytes_now, owed_now, cost_now);
        // What its operations will take is not known here; count all it may spend of its own as gone, so
        // that a later transaction of the sender is only chosen where it surely can pay.
        let (drawn, _) = account::with_share(*account, &head);
        *account = drawn;
        account.nonce += 1;
        match payment {
            Payment::Now { .. } => {
                let spent = money_of(transaction).checked_add(payment.total()).unwrap_or(TokenAmount::SUPPLY);
                account.balance = account.balance.saturating_sub(spent);
            }
            Payment::Owed { base } => account.owed = money::add(account.owed, base).min(OWED_MAX),
        }
        body.transactions.push(ByteBuf::from(bytes));
    }
}

/// The most coins that a transaction's operations can take from its sender.
fn money_of(transaction: &crate::transaction::Transaction) -> TokenAmount {
    use crate::operation::Operation;
    let most = |op: &Operation| match op {
        Operation::Transfer { amount, .. } => *amount,
        Operation::Renew { price_max, .. } => *price_max,
        Operation::Propose(_) | Operation::ActivateDeal(_) | Operation::ClaimRepair { .. } => {
            TokenAmount::SUPPLY
        }
        Operation::Pledge(_)
        | Operation::Unpledge {}
        | Operation::PreCommit(_)
        | Operation::Activate { .. }
        | Operation::DeclareLost { .. }
        | Operation::Replace { .. }
        | Operation::ProveEntry { .. }
        | Operation::EndDeal { .. } => TokenAmount::ZERO,
    };
    transaction
        .ops
        .iter()
        .fold(TokenAmount::ZERO, |sum, op| sum.checked_add(most(op)).unwrap_or(TokenAmount::SUPPLY))
}
