//! The window proof: leaves of records of a proving set.

use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;

use crate::challenge::{WindowChallenge, leaf_commitment};
use crate::element::Element;
use crate::record::Record;
use crate::set::SetTree;
use crate::shape::LEAF_DEPTH;
use crate::statement::{WindowStatement, WindowTerms};
use crate::vanilla::{CheckError, RecordOpening, check_record, opens};

/// A leaf and its path in its record's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafOpening {
    /// The leaf: a node of sealed space, or 31 bytes of data.
    pub leaf: Fr,
    /// [`LEAF_DEPTH`] levels up to `comm_r`.
    pub path: Path,
}

/// The witness of one challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowWitness {
    /// The challenged leaf.
    pub leaf: LeafOpening,
    /// Its record, up to the set's root.
    pub record: RecordOpening,
}

/// The witness of a window proof, in the order of the challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VanillaWindow {
    /// One for each challenge.
    pub challenges: Vec<WindowWitness>,
}

/// Why a window cannot be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// The witness does not show what the statement says.
    #[error("the witness does not show the statement")]
    Check(#[from] CheckError),
    /// The challenged record is not in the set given.
    #[error("challenge {index} is on a record that is not there")]
    NoRecord {
        /// Which challenge.
        index: usize,
    },
    /// A leaf could not be read.
    #[error("challenge {index} could not be opened")]
    Open {
        /// Which challenge.
        index: usize,
        /// Why.
        #[source]
        source: E,
    },
}

/// Reads the challenged leaves and commits to them: the fast half of a window.
///
/// # Errors
/// [`ProveError::Open`] when a leaf cannot be read, [`ProveError::Check`] for an impossible statement.
pub fn commit<E>(
    terms: &WindowTerms,
    mut leaf: impl FnMut(&WindowChallenge) -> Result<Fr, E>,
) -> Result<Element, ProveError<E>> {
    let challenges = terms.challenges().map_err(CheckError::from)?;
    let leaves = challenges
        .iter()
        .enumerate()
        .map(|(index, challenge)| leaf(challenge).map_err(|source| ProveError::Open { index, source }))
        .collect::<Result<Vec<Fr>, _>>()?;
    Ok(leaf_commitment(&leaves).into())
}

/// Collects the witness of a window and checks it.
///
/// `records` are the set's records by index, `tree` the tree over them; `open` reads one leaf with its path
/// (see [`crate::sector::SectorTree::open`] and [`crate::bundle::Bundle::open`]).
///
/// # Errors
/// [`ProveError`] by variant. What is returned satisfies [`VanillaWindow::check_native`].
pub fn prove<E>(
    statement: &WindowStatement,
    records: &[Record],
    tree: &SetTree,
    mut open: impl FnMut(&WindowChallenge) -> Result<LeafOpening, E>,
) -> Result<VanillaWindow, ProveError<E>> {
    let terms = &statement.terms;
    let mut witness = Vec::with_capacity(terms.shape.window_challenges().into());
    for (index, challenge) in terms.challenges().map_err(CheckError::from)?.iter().enumerate() {
        let record = records.get(usize::from(challenge.record.get()));
        let parts =
            record.and_then(|record| record.parts(&terms.shape)).ok_or(ProveError::NoRecord { index })?;
        let leaf = open(challenge).map_err(|source| ProveError::Open { index, source })?;
        witness
            .push(WindowWitness { leaf, record: RecordOpening { parts, path: tree.open(challenge.record) } });
    }
    let vanilla = VanillaWindow { challenges: witness };
    vanilla.check_native(statement)?;
    Ok(vanilla)
}

impl VanillaWindow {
    /// Checks everything that the window circuit proves: every challenged leaf opens in its record's root,
    /// which opens in the set's root, and all leaves are those committed to.
    ///
    /// # Errors
    /// [`CheckError`] names the first thing that is wrong.
    pub fn check_native(&self, statement: &WindowStatement) -> Result<(), CheckError> {
        let terms = &statement.terms;
        let challenges = terms.challenges()?;
        if self.challenges.len() != challenges.len() {
            return Err(CheckError::Count { got: self.challenges.len(), want: challenges.len() });
        }
        for (index, (challenge, witness)) in challenges.iter().zip(&self.challenges).enumerate() {
            let (leaf, parts) = (&witness.leaf, &witness.record.parts);
            if leaf.path.siblings.len() != usize::from(LEAF_DEPTH) {
                return Err(CheckError::Depth { index });
            }
            if !opens(leaf.leaf, challenge.leaf.into(), &leaf.path, parts.comm_r) {
                return Err(CheckError::Leaf { index });
            }
            let root = terms.set_root.fr();
            check_record(
                &terms.shape,
                index,
                challenge.record,
                parts.commitment(),
                &witness.record.path,
                root,
            )?;
        }
        if leaf_commitment(&self.leaves()) != statement.leaf_commitment.fr() {
            return Err(CheckError::LeafCommitment);
        }
        Ok(())
    }

    /// The leaves, in the order of the challenges.
    pub fn leaves(&self) -> Vec<Fr> {
        self.challenges.iter().map(|witness| witness.leaf.leaf).collect()
    }
}
