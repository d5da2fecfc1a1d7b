//! Proofs made on this machine, and the keys that they are made and checked with.
//!
//! [`Prover`] owns the proving keys of a network, a thread pool of low priority and the queue in front of it: the
//! proof that most hangs on comes first ([`Order`]), a [`Job`] can be watched and given up, and what would take too
//! much memory or come too late is refused. It knows statements and witnesses, not disks: whoever holds the
//! challenged leaves hands them over. A proof is verified before it leaves this crate, whatever made it. Nodes that
//! only check proofs need a [`verifier`](open_verifier) and never load a proving key.
//!
//! Keys of test networks are **insecure**: made on first use, the same on every machine, cached in a folder
//! that several processes may share. Those of other networks are fetched into it ([`Arriving`]); none exist
//! before a ceremony.
//!
//! ```no_run
//! # use hpips_prover::{Config, Prover};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let params = hpips_types::NetworkParams::dev();
//! let prover = Prover::open(Config::new("/home/me/.cache/hpips/keys"), &params)?;
//! let verifier = prover.verifier();
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod arriving;
mod backend;
mod config;
mod cost;
mod job;
mod key_folder;
mod key_store;
mod pool;
mod prover;
mod queue;
pub mod sample;

pub use arriving::{ArrivalError, Arrived, Arriving};
pub use config::{Config, JOBS_MAX, MEMORY_BYTES};
pub use cost::{constraints, key_bytes, proving_bytes};
pub use job::{Job, Progress, UnderWay};
pub use key_folder::{KeyFile, KeyFolder, KeyPart};
pub use key_store::KeyStoreError;
pub use pool::PoolError;
pub use prover::{OpenError, ProveError, Prover, open_verifier};
pub use queue::{Order, Priority};
