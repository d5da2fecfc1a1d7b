//! The trees over a proving set's records and over a batch of new sectors.

use hpips_crypto::merkle::{self, ARITY, Path, Tree};
use hpips_crypto::{Fr, poseidon2};
use hpips_types::RecordIndex;
use serde::{Deserialize, Deserializer, Serialize};

use crate::element::Element;
use crate::record::{Record, SealedSector};
use crate::shape::Shape;
use crate::statement::StatementError;

/// The arity-8 tree over a proving set's records, changed one record at a time.
///
/// Its value depends on the records alone, not on the order of changes; encoded with all its nodes, so that a
/// change costs one hash a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetTree {
    /// Levels from the records (0) to the root. Trailing zero subtrees are left out.
    rows: Vec<Vec<Element>>,
}

/// A record index that a set of this depth does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of a set with {max} places")]
pub struct OutsideSet {
    /// The index given.
    pub index: RecordIndex,
    /// Places of the set.
    pub max: u64,
}

impl SetTree {
    /// A set without records.
    pub fn new(shape: &Shape) -> Self {
        Self { rows: vec![Vec::new(); usize::from(shape.set_depth()) + 1] }
    }

    /// The tree over records by index.
    ///
    /// # Errors
    /// [`StatementError::Records`] when there are more than places.
    pub fn from_records(shape: &Shape, records: &[Record]) -> Result<Self, StatementError> {
        let leaves: Vec<Fr> = records.iter().map(|record| record.commitment(shape)).collect();
        let tree = build(shape, &leaves)?;
        let given = leaves.iter().rposition(|leaf| *leaf != Fr::from(0u64)).map_or(0, |last| last + 1);
        let mut rows = Vec::new();
        let mut count = given;
        for level in 0..=shape.set_depth() {
            rows.push(tree.row(level)[..count].iter().copied().map(Element::from).collect());
            count = count.div_ceil(ARITY);
        }
        Ok(Self { rows })
    }

    /// Puts a record at an index, at the cost of one hash for the record and one a level.
    ///
    /// # Errors
    /// [`OutsideSet`] when the set has no such place.
    pub fn put(&mut self, shape: &Shape, index: RecordIndex, record: &Record) -> Result<(), OutsideSet> {
        if u64::from(index.get()) >= self.capacity() {
            return Err(OutsideSet { index, max: self.capacity() });
        }
        let mut place = usize::from(index.get());
        self.write(0, place, record.commitment(shape));
        for level in 1..=self.depth() {
            let children: [Fr; ARITY] =
                core::array::from_fn(|child| self.node(level - 1, (place & !7) + child));
            place >>= 3;
            self.write(level, place, poseidon2::h8(&children));
        }
        self.trim();
        Ok(())
    }

    /// The set root.
    pub fn root(&self) -> Element {
        self.node(self.depth(), 0).into()
    }

    /// A record's path.
    ///
    /// # Panics
    /// When the set has no such place.
    pub fn open(&self, index: RecordIndex) -> Path {
        assert!(u64::from(index.get()) < self.capacity(), "record of this set");
        let mut place = usize::from(index.get());
        let mut siblings = Vec::with_capacity(self.depth().into());
        for level in 0..self.depth() {
            let (first, own) = (place & !7, place & 7);
            siblings.push(core::array::from_fn(|i| self.node(level, first + i + usize::from(i >= own))));
            place >>= 3;
        }
        Path { siblings }
    }

    /// Levels between records and root.
    fn depth(&self) -> u8 {
        u8::try_from(self.rows.len() - 1).expect("at most four levels")
    }

    fn capacity(&self) -> u64 {
        merkle::capacity(self.depth())
    }

    fn node(&self, level: u8, place: usize) -> Fr {
        let row = &self.rows[usize::from(level)];
        row.get(place).map_or_else(|| merkle::zero_root(level), |node| node.fr())
    }

    fn write(&mut self, level: u8, place: usize, node: Fr) {
        let row = &mut self.rows[usize::from(level)];
        if row.len() <= place {
            row.resize(place + 1, merkle::zero_root(level).into());
        }
        row[place] = node.into();
    }

    /// Drops trailing zero subtrees, so that equal sets are equal values.
    fn trim(&mut self) {
        let mut count =
            self.rows[0].iter().rposition(|leaf| *leaf != Element::ZERO).map_or(0, |last| last + 1);
        for row in &mut self.rows {
            row.truncate(count);
            count = count.div_ceil(ARITY);
        }
    }
}

impl<'de> Deserialize<'de> for SetTree {
    /// Checks the form, not the hashes: a tree stands in state, behind the state root.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            rows: Vec<Vec<Element>>,
        }
        let rows = Raw::deserialize(deserializer)?.rows;
        let mut count = rows.first().map_or(0, Vec::len);
        let depth = rows.len().saturating_sub(1);
        let is_well_formed = (1..=4).contains(&depth)
            && count <= 1 << (3 * depth)
            && rows.iter().all(|row| {
                let is_right = row.len() == count;
                count = count.div_ceil(ARITY);
                is_right
            });
        if is_well_formed {
            Ok(Self { rows })
        } else {
            Err(serde::de::Error::custom("not the rows of a set tree"))
        }
    }
}

/// The root over a batch of new sectors: what a pre-commitment fixes and an activation proves.
///
/// # Errors
/// [`StatementError::Nothing`] for no sector, [`StatementError::Records`] for more than a set holds.
pub fn batch_root(shape: &Shape, sectors: &[SealedSector]) -> Result<Element, StatementError> {
    Ok(batch_tree(shape, sectors)?.root().into())
}

/// The tree of [`batch_root`].
pub(crate) fn batch_tree(shape: &Shape, sectors: &[SealedSector]) -> Result<Tree, StatementError> {
    if sectors.is_empty() {
        return Err(StatementError::Nothing);
    }
    let leaves: Vec<Fr> = sectors.iter().map(|sector| sector.batch_leaf(shape)).collect();
    build(shape, &leaves)
}

fn build(shape: &Shape, leaves: &[Fr]) -> Result<Tree, StatementError> {
    let max = shape.records();
    if u32::try_from(leaves.len()).map_or(true, |count| count > max) {
        return Err(StatementError::Records { got: leaves.len(), max });
    }
    Ok(Tree::build(leaves, shape.set_depth()))
}

#[cfg(test)]
mod tests;
