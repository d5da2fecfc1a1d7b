//! The activation proof: labels of sealed sectors.

use ark_ff::AdditiveGroup;
use hpips_crypto::Fr;
use hpips_crypto::merkle::Path;

use crate::challenge::ActivationChallenge;
use crate::graph::{DRG_PARENTS, DRG_PARENTS_SECOND, EXPANDER_PARENTS};
use crate::label::{self, Layer};
use crate::record::SealedSector;
use crate::set::batch_tree;
use crate::shape::{LEAF_DEPTH, Shape};
use crate::statement::ActivationStatement;
use crate::vanilla::{CheckError, RecordOpening, check_record, opens};

/// Columns opened for each challenge: the node, seven depth-robust and two expander parents.
pub const COLUMNS: usize = 1 + DRG_PARENTS + EXPANDER_PARENTS;

/// Both labels of a node and the path of their column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOpening {
    /// `L1`.
    pub first: Fr,
    /// `K`.
    pub second: Fr,
    /// [`Shape::sector_height`] levels up to `comm_c`.
    pub path: Path,
}

impl ColumnOpening {
    /// A column of zeros without a path, to be overwritten.
    fn blank() -> Self {
        Self { first: Fr::ZERO, second: Fr::ZERO, path: Path { siblings: Vec::new() } }
    }
}

/// The witness of one challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationWitness {
    /// The sector's record; its path leads from the batch leaf to the batch root.
    pub record: RecordOpening,
    /// Root over the sector's columns.
    pub comm_c: Fr,
    /// In the order of [`ActivationChallenge::columns`].
    pub columns: [ColumnOpening; COLUMNS],
    /// From `K` of the node up to `comm_r`, [`LEAF_DEPTH`] levels.
    pub replica_path: Path,
}

/// The witness of one partition of an activation, in the order of the challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VanillaActivation {
    /// One for each challenge.
    pub challenges: Vec<ActivationWitness>,
}

/// What the sealer kept of one sector until it is active.
pub trait SectorLabels {
    /// Why labels could not be read.
    type Error;

    /// Both labels of a node with the path of their column.
    ///
    /// # Errors
    /// When they cannot be read.
    fn column(&self, node: u32) -> Result<ColumnOpening, Self::Error>;

    /// The path of a node's `K` up to `comm_r`, [`LEAF_DEPTH`] levels.
    ///
    /// # Errors
    /// When it cannot be read.
    fn replica_path(&self, node: u32) -> Result<Path, Self::Error>;
}

impl<T: SectorLabels> SectorLabels for &T {
    type Error = T::Error;

    fn column(&self, node: u32) -> Result<ColumnOpening, Self::Error> {
        T::column(self, node)
    }

    fn replica_path(&self, node: u32) -> Result<Path, Self::Error> {
        T::replica_path(self, node)
    }
}

/// Why an activation cannot be proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// The witness does not show what the statement says.
    #[error("the witness does not show the statement")]
    Check(#[from] CheckError),
    /// The challenged sector is not in the batch given.
    #[error("challenge {index} is on a sector that is not there")]
    NoSector {
        /// Which challenge.
        index: usize,
    },
    /// Labels could not be read.
    #[error("challenge {index} could not be opened")]
    Open {
        /// Which challenge.
        index: usize,
        /// Why.
        #[source]
        source: E,
    },
}

/// Collects the witness of one partition and checks it. `labels(i)` gives what was kept of `sectors[i]`.
///
/// # Errors
/// [`ProveError`] by variant. What is returned satisfies [`VanillaActivation::check_native`].
pub fn prove<S: SectorLabels>(
    statement: &ActivationStatement,
    sectors: &[SealedSector],
    mut labels: impl FnMut(usize) -> Option<S>,
) -> Result<VanillaActivation, ProveError<S::Error>> {
    let shape = &statement.shape;
    let tree = batch_tree(shape, sectors).map_err(CheckError::from)?;
    let mut witness = Vec::with_capacity(shape.activation_challenges().into());
    for (index, challenge) in statement.challenges().map_err(CheckError::from)?.iter().enumerate() {
        let place = usize::from(challenge.record.get());
        let found = sectors.get(place).and_then(|sector| Some((sector, sector.record(shape).parts(shape)?)));
        let ((sector, parts), source) = found.zip(labels(place)).ok_or(ProveError::NoSector { index })?;
        let path = tree.open(challenge.record.get().into());
        let opened = witness_of(sector, RecordOpening { parts, path }, &source, challenge);
        witness.push(opened.map_err(|source| ProveError::Open { index, source })?);
    }
    let vanilla = VanillaActivation { challenges: witness };
    vanilla.check_native(statement)?;
    Ok(vanilla)
}

/// What one challenge opens of its sector.
pub(super) fn witness_of<S: SectorLabels>(
    sector: &SealedSector,
    record: RecordOpening,
    labels: &S,
    challenge: &ActivationChallenge,
) -> Result<ActivationWitness, S::Error> {
    let mut columns: [ColumnOpening; COLUMNS] = core::array::from_fn(|_| ColumnOpening::blank());
    for (column, node) in columns.iter_mut().zip(challenge.columns()) {
        *column = labels.column(node)?;
    }
    let replica_path = labels.replica_path(challenge.node)?;
    Ok(ActivationWitness { record, comm_c: sector.comm_c.fr(), columns, replica_path })
}

impl VanillaActivation {
    /// Checks everything that the activation circuit proves, for every challenge: the record opens in the
    /// batch; ten columns open in its `comm_c`; the node's `K` opens in `comm_r`; both labels are the hashes
    /// of their lane and parents.
    ///
    /// # Errors
    /// [`CheckError`] names the first thing that is wrong.
    pub fn check_native(&self, statement: &ActivationStatement) -> Result<(), CheckError> {
        let challenges = statement.challenges()?;
        if self.challenges.len() != challenges.len() {
            return Err(CheckError::Count { got: self.challenges.len(), want: challenges.len() });
        }
        for (index, (challenge, witness)) in challenges.iter().zip(&self.challenges).enumerate() {
            let leaf = label::batch_leaf(witness.record.parts.commitment(), witness.comm_c);
            let (shape, root) = (&statement.shape, statement.batch_root.fr());
            check_record(shape, index, challenge.record, leaf, &witness.record.path, root)?;
            witness.check_sector(shape, index, challenge)?;
        }
        Ok(())
    }
}

impl ActivationWitness {
    pub(super) fn check_sector(
        &self,
        shape: &Shape,
        index: usize,
        challenge: &ActivationChallenge,
    ) -> Result<(), CheckError> {
        for (column, (opening, node)) in self.columns.iter().zip(challenge.columns()).enumerate() {
            if opening.path.siblings.len() != usize::from(shape.sector_height()) {
                return Err(CheckError::Depth { index });
            }
            let leaf = label::column(opening.first, opening.second);
            if !opens(leaf, node.into(), &opening.path, self.comm_c) {
                return Err(CheckError::Column { index, column });
            }
        }
        let own = &self.columns[0];
        if self.replica_path.siblings.len() != usize::from(LEAF_DEPTH) {
            return Err(CheckError::Depth { index });
        }
        if !opens(own.second, challenge.node.into(), &self.replica_path, self.record.parts.comm_r) {
            return Err(CheckError::Leaf { index });
        }
        let lane = |layer| label::lane_base(self.record.parts.rid, layer) + Fr::from(challenge.node);
        if own.first != label::label_first(lane(Layer::First), &self.drg_first()) {
            return Err(CheckError::Label { index, layer: 1 });
        }
        if own.second != label::label_second(lane(Layer::Second), &self.drg_second(), &self.expander_first())
        {
            return Err(CheckError::Label { index, layer: 2 });
        }
        Ok(())
    }

    /// First-layer labels of the depth-robust parents.
    pub fn drg_first(&self) -> [Fr; DRG_PARENTS] {
        core::array::from_fn(|i| self.columns[1 + i].first)
    }

    /// Second-layer labels of the parents that the second layer uses.
    pub fn drg_second(&self) -> [Fr; DRG_PARENTS_SECOND] {
        core::array::from_fn(|i| self.columns[1 + i].second)
    }

    /// First-layer labels of the expander parents.
    pub fn expander_first(&self) -> [Fr; EXPANDER_PARENTS] {
        core::array::from_fn(|i| self.columns[1 + DRG_PARENTS + i].first)
    }
}
