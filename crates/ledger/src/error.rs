//! Why bytes, blocks, transactions and operations are refused: three families, because they cost different
//! parties different things.

use hpips_types::cbor::CborError;
use hpips_types::{AccountId, ChainId, Height, SetId, TokenAmount, View, WindowIndex};
use serde::{Deserialize, Serialize};

/// Bytes that are no transaction or body.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not the canonical encoding, or too long.
    #[error("not a canonical encoding")]
    Encoding(#[source] CborError),
    /// Made by other rules.
    #[error("transaction version {0} is not known here")]
    Version(u8),
    /// None, or too many.
    #[error("{0} operations are not within 1 to 32")]
    Operations(usize),
}

/// Why a transaction cannot stand in a block: it pays nothing and changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not readable.
    #[error("malformed transaction")]
    Malformed(#[source] Malformed),
    /// For another chain.
    #[error("transaction is for chain {0}")]
    Chain(ChainId),
    /// Its last height is past, or further ahead than transactions are remembered.
    #[error("transaction may stand in blocks up to {expires}, the chain is at {height}")]
    Expired {
        /// Last height accepted.
        expires: Height,
        /// The block it was meant for.
        height: Height,
    },
    /// Used already, or before its predecessors.
    #[error("nonce is {got}, the account's next is {expected}")]
    Nonce {
        /// In the transaction.
        got: u64,
        /// Next of the account.
        expected: u64,
    },
    /// The fee asked now is more than it is willing to pay.
    #[error("fee of {fee} HPIPS is above the {max_fee} allowed")]
    FeeTooLow {
        /// Fee at the present base fee, tip included.
        fee: TokenAmount,
        /// What the sender allows.
        max_fee: TokenAmount,
    },
    /// The account cannot pay the fee.
    #[error("account {account} has {balance} HPIPS, the fee is {fee}")]
    Balance {
        /// The sender.
        account: AccountId,
        /// What it has.
        balance: TokenAmount,
        /// What is needed.
        fee: TokenAmount,
    },
    /// Fees of first operations may only be owed up to a limit an account and a block.
    #[error("account {0} owes as many fees as a newcomer may, or this block's share for newcomers is full")]
    OwedTooMuch(AccountId),
    /// The sender's signature is false.
    #[error("signature of {0} is false")]
    Signature(AccountId),
}

/// Why a block is invalid as a whole. Whoever proposed it broke a rule it could have checked.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Longer than a body may be.
    #[error("body of {0} bytes is too long")]
    TooLong(usize),
    /// More native permutations than a block may cost.
    #[error("block costs {got} permutations, {max} are allowed")]
    TooCostly {
        /// What it costs.
        got: u64,
        /// What is allowed.
        max: u64,
    },
    /// Heights are consecutive and views ascend.
    #[error(
        "block at height {height}, view {view} does not follow height {parent_height}, view {parent_view}"
    )]
    Position {
        /// Height given.
        height: Height,
        /// View given.
        view: View,
        /// Height of the state.
        parent_height: Height,
        /// View of the state.
        parent_view: View,
    },
    /// Not one verdict for each statement.
    #[error("{got} verdicts for {expected} statements")]
    Verdicts {
        /// Verdicts given.
        got: usize,
        /// Statements there are.
        expected: usize,
    },
    /// Unknown opening, known already, out of order, another view than the one fixed, or a false signature.
    #[error("beacon of opening {0} is not wanted or false")]
    Beacon(Height),
    /// Too many beacons.
    #[error("{0} beacons are too many for a block")]
    Beacons(usize),
    /// A commitment that is late, early, doubled or false.
    #[error("commitment of {set:?} for window {window}: {reason}")]
    Commitment {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
        /// Why.
        reason: LaneFault,
    },
    /// A proof that is late, early, doubled or false.
    #[error("proof of {set:?} for window {window}: {reason}")]
    Proof {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
        /// Why.
        reason: LaneFault,
    },
    /// A transaction that may not stand in a block.
    #[error("transaction {index} cannot stand in a block")]
    Transaction {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        reason: Refused,
    },
}

/// What is wrong with a commitment or a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneFault {
    /// Lane items ascend by set and window, so that none stands twice.
    #[error("out of order or doubled")]
    Order,
    /// For another chain.
    #[error("made for another chain")]
    Chain,
    /// The set has no such window now.
    #[error("the set has no such window open or owed")]
    Window,
    /// The window's beacon is not on chain.
    #[error("the window's beacon is not on chain yet")]
    Beacon,
    /// After the last block that accepts it.
    #[error("too late")]
    Late,
    /// Committed or proven already.
    #[error("done already")]
    Done,
    /// A proof without a commitment in an earlier block, or a late proof with the wrong form.
    #[error("no commitment in an earlier block")]
    Uncommitted,
    /// The statement is false.
    #[error("signature or proof is false")]
    False,
}

/// Why an operation failed. Its transaction has paid its fee and changed nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// Zero coins, an empty list, too many entries, a field out of its range.
    #[error("a field is out of its range")]
    Range,
    /// The account has too few coins for it.
    #[error("not enough coins")]
    Balance,
    /// The account has pledged nothing, or takes its pledge back.
    #[error("no such pledge")]
    NoPledge,
    /// No such set, batch, record, proposal, deal or slot.
    #[error("no such thing")]
    Unknown,
    /// It belongs to another account.
    #[error("it belongs to another account")]
    NotYours,
    /// The set has no place for so many records.
    #[error("the set is full")]
    Full,
    /// A sector's ticket is too old, or no beacon.
    #[error("ticket is too old or unknown")]
    Ticket,
    /// Sector numbers ascend and are never used twice.
    #[error("sector number used before")]
    SectorNumber,
    /// Not yet, for example before the beacon that it needs.
    #[error("too early")]
    Early,
    /// After the last height that accepts it.
    #[error("too late")]
    Late,
    /// Not in a state that allows it.
    #[error("not in a state that allows it")]
    State,
    /// A proof is false.
    #[error("proof is false")]
    Proof,
    /// A signature inside the operation is false, or signs something else.
    #[error("signature is false or signs something else")]
    Signature,
    /// More slots left out or skipped than a deal may start without.
    #[error("too many slots are left out or skipped")]
    LeftOut,
    /// Nobody is left who could take the slot.
    #[error("nobody is left who could take the slot")]
    NoCandidate,
    /// The price is above the limit given.
    #[error("price is above the limit")]
    Price,
    /// The collateral is not there.
    #[error("not enough coins for the collateral")]
    Collateral,
}
