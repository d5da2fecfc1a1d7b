//! The chain: drives the consensus engine over `net`, executes blocks with the ledger's pure steps, keeps the
//! state and its root, the mempool, and the blocks that everyone may check.
//!
//! [`Chain::start`] gives a handle; everything else hangs on it:
//!
//! - [`Chain::state`]: the finalized state, a [`hpips_ledger::StateView`]; [`Chain::subscribe`]: finalized
//!   blocks as they come.
//! - [`Chain::submit`], [`Chain::submit_commitment`], [`Chain::submit_proof`]: into the next blocks;
//!   [`Chain::wait_tx`]: how it ended.
//! - [`Chain::prove`] and [`Evidence::verify`]: a row of the state for someone who holds only the group key.
//! - [`deal`] and [`Seat`]: a committee's key on test networks.
//!
//! Time is blocks. A clock only paces proposals and bounds waiting; nothing that is agreed on reads one.
//! What comes from a peer is decoded within bounds, and believed when signatures, certificates and the
//! state root say so.

mod admission;
mod application;
mod block;
mod chain;
mod dealing;
mod engine;
mod finality;
mod finalized;
mod follower;
mod light;
mod machine;
mod mempool;
mod scheme;
mod seeds;
mod state;
mod stop;
mod transport;
mod verdicts;
mod wallet;
mod wire;

pub use block::{BLOCK_BYTES_MAX, Block, BlockError};
pub use chain::{Chain, Config, ProveError, Role, StartError, WaitError};
pub use dealing::{DealError, Dealing, Seat, SeatError, deal};
pub use engine::SpawnError;
pub use finalized::{Finalized, Stats, TxRow};
pub use light::{EVIDENCE_BYTES_MAX, Evidence, EvidenceError};
pub use machine::{OpenError, SubmitError};
pub use mempool::PoolError;
pub use scheme::{CERTIFICATE_BYTES_MAX, Certificate, CertificateError, CertificateVerifier, GroupKeyError};
pub use state::{AuthState, Snapshot, StateProof, StateProofError, StoreError};
pub use wallet::{Wallet, WalletError};

#[cfg(test)]
mod tests;
