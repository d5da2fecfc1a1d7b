//! State: finalized rows on disk, unfinalized blocks as layers above them, one root over all rows.

mod layer;
mod store;
mod tables;
mod tree;

pub(crate) use layer::{Layer, Layers};
pub(crate) use store::{Commit, Head, StateStore, StoredBlock};
pub use store::{Snapshot, StoreError};
pub use tree::{StateProof, StateProofError};

use std::collections::BTreeMap;

use hpips_types::Sha256Digest;

/// Rows to write (`Some`) and to remove (`None`).
pub(crate) type RowChanges = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// State that can be proven to those who do not hold it.
///
/// Callers may rely on: equal rows have equal roots, whatever their history; a proof verifies under
/// [`Self::root`] with [`StateProof::verify`], for keys with and without a row.
pub trait AuthState {
    /// The root over all rows.
    fn root(&self) -> Sha256Digest;

    /// The proof that a key has its value, or none.
    fn prove(&self, key: &[u8]) -> StateProof;
}
