//! Bundles: trees that hold pieces as aligned subtrees.
//!
//! A bundle has depth [`LEAF_DEPTH`]; its root follows from the places and commitments of its pieces, without
//! any data. Places are given first-fit, lowest first, so that everyone who knows the pieces knows where the
//! next one goes.

use hpips_crypto::merkle::{self, ARITY, Path};
use hpips_crypto::{Fr, poseidon2};
use serde::{Deserialize, Serialize};

use crate::element::Element;
use crate::piece::piece_height;
use crate::record::{DataExtent, Record, RecordLayout};
use crate::shape::{LEAF_DEPTH, LEAVES};
use crate::vanilla::LeafOpening;

/// One piece in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundlePiece {
    /// First leaf, a multiple of the piece's leaves.
    pub offset: u32,
    /// Bytes of the piece.
    pub bytes: u64,
    /// Root over them.
    pub comm_p: Element,
}

impl BundlePiece {
    /// Leaves of the subtree, `None` for more bytes than a bundle holds.
    fn leaves(&self) -> Option<u32> {
        piece_height(self.bytes).map(leaves_of)
    }

    /// Where its bytes lie.
    pub const fn extent(&self) -> DataExtent {
        DataExtent { offset: self.offset, bytes: self.bytes }
    }
}

/// Why a piece cannot lie where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More bytes than a bundle holds.
    #[error("{0} bytes are more than a bundle holds")]
    TooLong(u64),
    /// The offset is not a multiple of the piece's leaves, or outside the bundle.
    #[error("offset {0} does not suit a piece of this size")]
    Misplaced(u32),
    /// Another piece lies there.
    #[error("offset {0} is taken")]
    Taken(u32),
    /// No aligned place of that size is free.
    #[error("no free place for {0} bytes")]
    Full(u64),
}

/// The pieces of one bundle, in order of offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<BundlePiece>", into = "Vec<BundlePiece>")]
pub struct Bundle {
    pieces: Vec<BundlePiece>,
}

impl Bundle {
    /// A bundle without pieces.
    pub const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    /// The pieces, in order of offset.
    pub fn pieces(&self) -> &[BundlePiece] {
        &self.pieces
    }

    /// The lowest free place for a piece of so many bytes.
    ///
    /// # Errors
    /// [`BundleError::TooLong`], [`BundleError::Full`].
    pub fn place(&self, bytes: u64) -> Result<u32, BundleError> {
        first_fit(bytes, self.pieces.iter().map(BundlePiece::extent))
    }

    /// Adds a piece at the lowest free place and returns its offset.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn add(&mut self, bytes: u64, comm_p: Element) -> Result<u32, BundleError> {
        let offset = self.place(bytes)?;
        self.insert(BundlePiece { offset, bytes, comm_p })?;
        Ok(offset)
    }

    /// Adds a piece at its place.
    ///
    /// # Errors
    /// [`BundleError`] but `Full`; the bundle is unchanged then.
    pub fn insert(&mut self, piece: BundlePiece) -> Result<(), BundleError> {
        let leaves = piece.leaves().ok_or(BundleError::TooLong(piece.bytes))?;
        if !piece.offset.is_multiple_of(leaves) || piece.offset >= LEAVES {
            return Err(BundleError::Misplaced(piece.offset));
        }
        let at = self.pieces.partition_point(|other| other.offset < piece.offset);
        let is_taken = self.pieces.get(at).is_some_and(|next| next.offset < piece.offset + leaves)
            || at.checked_sub(1).is_some_and(|before| end(&self.pieces[before].extent()) > piece.offset);
        if is_taken {
            return Err(BundleError::Taken(piece.offset));
        }
        self.pieces.insert(at, piece);
        Ok(())
    }

    /// Takes the piece at an offset out; its place is free again.
    pub fn remove(&mut self, offset: u32) -> Option<BundlePiece> {
        let at = self.pieces.binary_search_by_key(&offset, |piece| piece.offset).ok()?;
        Some(self.pieces.remove(at))
    }

    /// The piece that a leaf belongs to.
    pub fn piece_at(&self, leaf: u32) -> Option<&BundlePiece> {
        let at = self.pieces.partition_point(|piece| piece.offset <= leaf);
        self.pieces[..at].last().filter(|piece| leaf < end(&piece.extent()))
    }

    /// The root, at most one hash for each node above a piece (see [`Self::hashes`]).
    pub fn root(&self) -> Element {
        node(&self.pieces, LEAF_DEPTH, 0).into()
    }

    /// How many Poseidon2 permutations [`Self::root`] takes.
    pub fn hashes(&self) -> u64 {
        hashes(&self.pieces, LEAF_DEPTH, 0)
    }

    /// The record of a proving set.
    pub fn record(&self) -> Record {
        Record::Bundle { root: self.root() }
    }

    /// Where challenges fall.
    pub fn layout(&self) -> RecordLayout {
        RecordLayout::Bundle(self.pieces.iter().map(BundlePiece::extent).collect())
    }

    /// The path from the place of a piece of so many bytes to the root, whether it lies there or not.
    ///
    /// # Errors
    /// [`BundleError::TooLong`], [`BundleError::Misplaced`].
    pub fn path(&self, extent: &DataExtent) -> Result<Path, BundleError> {
        let (height, first) = place_of(extent)?;
        let siblings = (height..LEAF_DEPTH).map(|level| {
            let at = first >> (3 * u32::from(level - height));
            core::array::from_fn(|i| {
                let child = u32::try_from(i).expect("below seven");
                let child = child + u32::from(child >= at & 7);
                node(within(&self.pieces, level, (at & !7) + child), level, (at & !7) + child)
            })
        });
        Ok(Path { siblings: siblings.collect() })
    }

    /// Extends a leaf's path inside its piece to the bundle's root. `None` when no piece of that height lies
    /// at the leaf.
    pub fn open(&self, leaf: u32, own: Fr, inside: Path) -> Option<LeafOpening> {
        let piece = self.piece_at(leaf)?;
        if piece_height(piece.bytes).map(usize::from) != Some(inside.siblings.len()) {
            return None;
        }
        let mut path = inside;
        path.siblings.extend(self.path(&piece.extent()).ok()?.siblings);
        Some(LeafOpening { leaf: own, path })
    }
}

impl TryFrom<Vec<BundlePiece>> for Bundle {
    type Error = BundleError;

    /// Accepts pieces in order of offset only, so that equal bundles are equal bytes.
    fn try_from(pieces: Vec<BundlePiece>) -> Result<Self, BundleError> {
        let mut bundle = Self::new();
        for piece in pieces {
            if bundle.pieces.last().is_some_and(|last| last.offset >= piece.offset) {
                return Err(BundleError::Misplaced(piece.offset));
            }
            bundle.insert(piece)?;
        }
        Ok(bundle)
    }
}

impl From<Bundle> for Vec<BundlePiece> {
    fn from(bundle: Bundle) -> Self {
        bundle.pieces
    }
}

/// The lowest free place for a piece, among extents in order of offset: for whoever keeps extents without
/// commitments.
///
/// # Errors
/// [`BundleError::TooLong`], [`BundleError::Full`].
pub fn first_fit(bytes: u64, taken: impl IntoIterator<Item = DataExtent>) -> Result<u32, BundleError> {
    let leaves = leaves_of(piece_height(bytes).ok_or(BundleError::TooLong(bytes))?);
    let mut free = 0u32;
    for extent in taken {
        if extent.offset.checked_sub(free).is_some_and(|gap| gap >= leaves) {
            break;
        }
        free = end(&extent).next_multiple_of(leaves);
    }
    if free + leaves <= LEAVES { Ok(free) } else { Err(BundleError::Full(bytes)) }
}

/// The root after one subtree was replaced by another of the same height: for whoever knows the root alone.
/// `path` (see [`Bundle::path`]) must lead from the old subtree to the old root; `None` when it does not.
/// A free place counts as the zero subtree, see [`empty_subtree`]. Costs two hashes a level.
pub fn replace_subtree(root: Element, extent: &DataExtent, old: Fr, new: Fr, path: &Path) -> Option<Element> {
    let (height, index) = place_of(extent).ok()?;
    if path.siblings.len() != usize::from(LEAF_DEPTH - height) || path.root(old, index.into())? != root.fr() {
        return None;
    }
    path.root(new, index.into()).map(Element::from)
}

/// What stands where a piece of so many bytes could: the zero subtree of its height.
///
/// # Errors
/// [`BundleError::TooLong`].
pub fn empty_subtree(bytes: u64) -> Result<Fr, BundleError> {
    piece_height(bytes).map(merkle::zero_root).ok_or(BundleError::TooLong(bytes))
}

/// Height and index at that level of an extent's subtree.
fn place_of(extent: &DataExtent) -> Result<(u8, u32), BundleError> {
    let height = piece_height(extent.bytes).ok_or(BundleError::TooLong(extent.bytes))?;
    if !extent.offset.is_multiple_of(leaves_of(height)) || extent.offset >= LEAVES {
        return Err(BundleError::Misplaced(extent.offset));
    }
    Ok((height, extent.offset / leaves_of(height)))
}

/// One past the last leaf of an extent's subtree; a whole bundle for one that is too long.
fn end(extent: &DataExtent) -> u32 {
    extent.offset.saturating_add(piece_height(extent.bytes).map_or(LEAVES, leaves_of)).min(LEAVES)
}

const fn leaves_of(height: u8) -> u32 {
    1 << (3 * height as u32)
}

/// The pieces that touch a subtree.
fn within(pieces: &[BundlePiece], level: u8, index: u32) -> &[BundlePiece] {
    let (first, leaves) = (u64::from(index) * u64::from(leaves_of(level)), u64::from(leaves_of(level)));
    let start = pieces.partition_point(|piece| u64::from(end(&piece.extent())) <= first);
    let stop = pieces.partition_point(|piece| u64::from(piece.offset) < first + leaves);
    &pieces[start.min(stop)..stop]
}

/// The root of a subtree; `pieces` are those that touch it.
fn node(pieces: &[BundlePiece], level: u8, index: u32) -> Fr {
    let Some(first) = pieces.first() else { return merkle::zero_root(level) };
    if piece_height(first.bytes) == Some(level) {
        return first.comm_p.fr();
    }
    let children: [Fr; ARITY] = core::array::from_fn(|child| {
        let child = index * 8 + u32::try_from(child).expect("below eight");
        node(within(pieces, level - 1, child), level - 1, child)
    });
    poseidon2::h8(&children)
}

fn hashes(pieces: &[BundlePiece], level: u8, index: u32) -> u64 {
    let is_given = pieces.first().is_none_or(|first| piece_height(first.bytes) == Some(level));
    if is_given {
        return 0;
    }
    1 + (0..8)
        .map(|child| index * 8 + child)
        .map(|child| hashes(within(pieces, level - 1, child), level - 1, child))
        .sum::<u64>()
}

#[cfg(test)]
mod tests;
