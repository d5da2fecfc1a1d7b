//! The provider's side: pledge disk, seal it, take pieces in, answer every window, rebuild what others lost.
//!
//! A [`Provider`] is a handful of tasks around two folders, `sectors` and `pieces`. None of them remembers
//! what is to be done: each looks at the finalized state after every block and does what is missing, so that
//! a killed provider goes on where it was.
//!
//! | file | task |
//! |---|---|
//! | `pledge.rs` | posts the offer, seals sectors, pre-commits and activates them |
//! | `window.rs` | commits to challenged leaves within `T_commit`, then proves; answers missed windows late |
//! | `serve.rs` | takes pieces from clients and signs receipts; sends ranges of pieces back (`read.rs`) |
//! | `keep.rs` | makes staged pieces part of the store when their deal is active, removes what ended |
//! | `repair.rs` | rebuilds slots that are offered from ranges of other pieces (`holders.rs`), claims them, proves entry |
//!
//! It refuses to know clients' insides, HTTP and terminals.
#![deny(unsafe_code)]

mod config;
mod crowd;
mod holders;
mod keep;
mod pieces;
mod pledge;
mod posted;
mod provider;
mod read;
mod repair;
mod sealing;
mod sectors;
mod serve;
mod window;

pub use config::{Config, SEALING_MEMORY_BYTES, Target};
pub use hpips_prover::{Progress, UnderWay};
pub use pieces::{PieceError, Pieces};
pub use posted::PostedProof;
pub use provider::{Parts, Provider, StartError, Status};
pub use sealing::SealingError;
pub use sectors::{SectorError, Sectors};
