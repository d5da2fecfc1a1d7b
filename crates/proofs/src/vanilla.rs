//! Vanilla proofs: the witness of each circuit, and the native check of everything that circuit claims.
//!
//! A vanilla proof holds leaves, labels and Merkle paths but no index: indices are recomputed from the
//! statement, in the order of its challenges. A path has, level by level from the leaves up, the seven
//! siblings in order with the own place left out.

pub mod activation;
pub mod window;

use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;
use hpips_types::RecordIndex;

use crate::record::RecordParts;
use crate::shape::Shape;
use crate::statement::StatementError;

pub use activation::{ActivationWitness, ColumnOpening, VanillaActivation};
pub use window::{LeafOpening, VanillaWindow, WindowWitness};

/// A record's four elements and its path in the tree of the set or batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOpening {
    /// What the record commits to.
    pub parts: RecordParts,
    /// [`Shape::set_depth`] levels.
    pub path: Path,
}

/// What a vanilla proof fails to show. `index` counts the statement's challenges from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The statement is impossible.
    #[error("impossible statement")]
    Statement(#[from] StatementError),
    /// Not one witness for each challenge.
    #[error("{got} witnesses for {want} challenges")]
    Count {
        /// Witnesses given.
        got: usize,
        /// Challenges asked.
        want: usize,
    },
    /// A path has another number of levels.
    #[error("challenge {index}: a path has the wrong number of levels")]
    Depth {
        /// Which challenge.
        index: usize,
    },
    /// The leaf does not open in the record's root.
    #[error("challenge {index}: the leaf does not open in its record")]
    Leaf {
        /// Which challenge.
        index: usize,
    },
    /// The record does not open in the root of the set or batch.
    #[error("challenge {index}: the record does not open")]
    Record {
        /// Which challenge.
        index: usize,
    },
    /// A column does not open in `comm_c`.
    #[error("challenge {index}: column {column} does not open")]
    Column {
        /// Which challenge.
        index: usize,
        /// Which of the ten columns.
        column: usize,
    },
    /// A label is not the hash of its parents.
    #[error("challenge {index}: the label of layer {layer} is wrong")]
    Label {
        /// Which challenge.
        index: usize,
        /// 1 or 2.
        layer: u8,
    },
    /// The leaves are not those committed to.
    #[error("the leaves are not those committed to")]
    LeafCommitment,
}

/// Whether a path has exactly `depth` levels and leads from the leaf to the root.
fn opens(leaf: Fr, index: u64, path: &Path, root: Fr) -> bool {
    path.root(leaf, index) == Some(root)
}

/// Checks a record's path against the set's or batch's root.
fn check_record(
    shape: &Shape,
    index: usize,
    record: RecordIndex,
    leaf: Fr,
    path: &Path,
    root: Fr,
) -> Result<(), CheckError> {
    if path.siblings.len() != usize::from(shape.set_depth()) {
        return Err(CheckError::Depth { index });
    }
    if !opens(leaf, record.get().into(), path, root) {
        return Err(CheckError::Record { index });
    }
    Ok(())
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
