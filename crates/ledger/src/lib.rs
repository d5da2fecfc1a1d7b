//! The state machine of the chain: accounts, pledges, deals, proofs due, rewards, faults, repair.
//!
//! Pure: state in, changes and events out. It reads no clock, no disk, no network and draws nothing but from
//! beacons; equal arguments give equal results on every machine. A block takes three steps, so that whoever
//! drives it can fetch and verify in between:
//!
//! 1. [`reads`]: rows the block surely needs, for prefetching;
//! 2. [`statements`]: signatures, proofs and beacons that must hold, to be verified in one batch;
//! 3. [`apply`]: [`Outcome`] with the rows changed and what happened.
//!
//! State is rows of canonical dag-cbor behind [`StateView`]; roles ask it through [`query`]. A mempool uses
//! [`check_tx`], [`check_commitment`] and [`check_proof`]; a proposer puts a [`Body`] together with [`select`].
//!
//! Time is heights. Windows of a set open at `window * window_blocks + offset`; the beacon of an opening is the
//! threshold signature of the view fixed when it opened; days close one window after their last one opened.
//! Every block asserts that coins are neither made nor lost.
//!
//! ```
//! use hpips_ledger::{BlockContext, Body, Genesis, Grant, Operation, Transaction, Verdicts, query};
//! use hpips_types::{GroupKey, Height, NetworkParams, TokenAmount, View};
//! use hpips_crypto::sign::SecretKey;
//!
//! let (anna, ben) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
//! let genesis = Genesis {
//!     version: hpips_ledger::GENESIS_VERSION,
//!     params: NetworkParams::dev(),
//!     group_key: GroupKey::new([0; 96]),
//!     validators: vec![ben.account()],
//!     accounts: vec![Grant { account: anna.account(), amount: TokenAmount::from_coins(5) }],
//!     salt: "example".into(),
//! };
//! let state = genesis.state()?;
//! let transfer = Transaction {
//!     v: hpips_ledger::TX_VERSION,
//!     chain: genesis.chain_id(),
//!     from: anna.account(),
//!     nonce: 0,
//!     expires: Height::new(100),
//!     tip: TokenAmount::ZERO,
//!     max_fee: TokenAmount::from_coins(1),
//!     ops: vec![Operation::Transfer { to: ben.account(), amount: TokenAmount::from_coins(2) }],
//! };
//! let candidates = hpips_ledger::Candidates {
//!     transactions: vec![transfer.sign(&anna).encode()],
//!     ..Default::default()
//! };
//! let body = hpips_ledger::select(&state, candidates);
//! let ctx = BlockContext { height: Height::new(1), view: View::new(1), proposer: ben.account() };
//! let statements = hpips_ledger::statements(&state, &ctx, &body)?;
//! let outcome = hpips_ledger::apply(&state, &ctx, &body, &Verdicts::all_true(statements.len()))?;
//! let mut after = state.clone();
//! for (key, value) in outcome.changes {
//!     match value {
//!         Some(value) => after.insert(key, value),
//!         None => after.remove(&key),
//!     };
//! }
//! assert_eq!(query::account(&after, &ben.account()).balance, TokenAmount::from_coins(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod account;
mod block;
mod body;
mod calendar;
mod check;
mod claim;
mod conserve;
mod cost;
mod deal;
mod error;
mod event;
mod exec;
mod fault;
mod fee;
mod genesis;
mod money;
mod operation;
mod piece;
mod pledge;
mod proposal;
pub mod query;
mod receipt;
mod repair;
pub mod rows;
mod sector;
mod settle;
mod state;
mod statement;
mod tables;
mod transaction;
mod window;

#[cfg(test)]
mod tests;

pub use block::{Outcome, apply, reads, statements};
pub use body::{
    BEACONS_MAX, BODY_BYTES_MAX, Beacon, BlockContext, Body, COMMITMENT_DOMAIN, Commitment, PERMUTATIONS_MAX,
    WindowProof,
};
pub use check::{Admission, Candidates, NONCES_AHEAD_MAX, check_commitment, check_proof, check_tx, select};
pub use conserve::total;
pub use error::{Failure, Invalid, LaneFault, Malformed, Refused};
pub use event::{Event, FineReason, LossReason, PayReason, ProposalEnd};
pub use fee::base_fee_of;
pub use genesis::{GENESIS_BYTES_MAX, GENESIS_VERSION, Genesis, GenesisError, Grant};
pub use money::{ASK_BYTES, ASK_WINDOWS, Wide, price_ceil, price_floor};
pub use operation::{
    ADDRESSES_MAX, ActivateDeal, LeftOut, NAME_BYTES_MAX, OPERATIONS_MAX, Operation, Pledge, PreCommit,
    Propose, SECTORS_MAX, SLOTS_MAX, Sector,
};
pub use proposal::{Market, Offer, collateral, repair_price};
pub use receipt::{PieceReceipt, RECEIPT_DOMAIN, REFUSAL_DOMAIN, Refusal, SignedReceipt, SignedRefusal};
pub use state::{Changes, Key, StateView, Value};
pub use statement::{Statement, Verdicts};
pub use transaction::{EXPIRY_BLOCKS_MAX, Signed, TX_BYTES_MAX, TX_DOMAIN, TX_VERSION, Transaction};
