//! Openings of sealed sectors: from the replica's file for windows, from both layers for the activation.

use core::ops::Range;

use hpips_crypto::lanes::Canonical;
use hpips_crypto::merkle::{self, Path, Tree};
use hpips_crypto::{Fr, field};
use hpips_types::FieldBytes;

use crate::element::Element;
use crate::seal::{SealError, Sealed, column_row, read};
use crate::shape::{LEAF_DEPTH, NODE_BYTES};
use crate::vanilla::{ColumnOpening, LeafOpening, activation::SectorLabels};

/// The lowest row kept of a sector's trees: 3, or the root's where the sector is smaller.
pub(crate) const fn stored_level(height: u8) -> u8 {
    if height < 3 { height } else { 3 }
}

/// The tree over a sector's nodes without its lowest rows: 1.2 MiB for a sector of 512 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorTree {
    tree: Tree,
}

impl SectorTree {
    pub(crate) const fn new(tree: Tree) -> Self {
        Self { tree }
    }

    /// The root, at the sector's own height.
    pub fn root(&self) -> Element {
        self.tree.root().into()
    }

    /// The sector has `8^height` nodes.
    pub fn height(&self) -> u8 {
        self.tree.depth()
    }

    /// The bytes of the replica that [`Self::open`] needs for a node.
    ///
    /// # Panics
    /// When the sector has no such node.
    pub fn group(&self, node: u32) -> Range<u64> {
        let nodes = self.group_nodes(node);
        u64::from(nodes.start) * NODE_BYTES..u64::from(nodes.end) * NODE_BYTES
    }

    /// A node and its path up to `comm_r`, from the bytes of its [`Self::group`]. `None` when they are not
    /// those committed to: the replica is damaged.
    ///
    /// # Panics
    /// As [`Self::group`].
    pub fn open(&self, node: u32, group: &[u8]) -> Option<LeafOpening> {
        let nodes = self.group_nodes(node);
        let leaves = group.chunks(FieldBytes::LEN).map(replica_leaf).collect::<Option<Vec<Fr>>>()?;
        let own = usize::try_from(node - nodes.start).ok()?;
        let path = self.tree.open_with(node.into(), leaves.get(..Self::count(&nodes))?)?;
        Some(LeafOpening { leaf: *leaves.get(own)?, path: pad_path(path, self.height()) })
    }

    /// Both labels of a node and the path of their column, from the bytes of its [`Self::group`] in either
    /// layer; of the tree over columns. Hashes all columns of the group, 512, in lanes.
    ///
    /// # Errors
    /// [`SealError::Damaged`] when they are not those committed to.
    ///
    /// # Panics
    /// As [`Self::group`].
    pub fn open_column(&self, node: u32, first: &[u8], second: &[u8]) -> Result<ColumnOpening, SealError> {
        let nodes = self.group_nodes(node);
        let labels = |layer| {
            (0..).take(Self::count(&nodes)).map(|at| read(layer, at)).collect::<Result<Vec<Canonical>, _>>()
        };
        let damaged = SealError::Damaged(node);
        let (first, second) = (labels(first).map_err(|_| damaged)?, labels(second).map_err(|_| damaged)?);
        let path = self.tree.open_with(node.into(), &column_row(&first, &second)).ok_or(damaged)?;
        let own = usize::try_from(node - nodes.start).expect("at most 512");
        Ok(ColumnOpening { first: first[own].into(), second: second[own].into(), path })
    }

    /// The stored rows as bytes: see docs/formats/proofs.md.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.tree.rows_to_bytes()
    }

    /// Reads the stored rows of a sector of `8^height` nodes; `None` when they are not of that form.
    pub fn from_bytes(rows: &[u8], height: u8) -> Option<Self> {
        if !(2..=LEAF_DEPTH).contains(&height) {
            return None;
        }
        let tree = Tree::from_row_bytes(rows, merkle::capacity(height), stored_level(height), height)?;
        Some(Self { tree })
    }

    fn group_nodes(&self, node: u32) -> Range<u32> {
        assert!(u64::from(node) < merkle::capacity(self.height()), "node of this sector");
        let group = 1u32 << (3 * u32::from(stored_level(self.height())));
        node - node % group..node - node % group + group
    }

    fn count(nodes: &Range<u32>) -> usize {
        usize::try_from(nodes.end - nodes.start).expect("at most 512")
    }
}

/// The leaf of sealed space from its 32 bytes; `None` when they are not a field element.
pub fn replica_leaf(bytes: &[u8]) -> Option<Fr> {
    field::from_bytes(&FieldBytes::from_slice(bytes)?)
}

/// Extends a path of a sector's own height to [`LEAF_DEPTH`]: the siblings above are zero trees.
pub fn pad_path(mut path: Path, height: u8) -> Path {
    path.siblings.extend((height..LEAF_DEPTH).map(|level| [merkle::zero_root(level); 7]));
    path
}

/// A sector with both layers, until it is active.
#[derive(Clone, Copy, Debug)]
pub struct KeptLabels<'a> {
    /// Commitments and rows.
    pub sealed: &'a Sealed,
    /// Labels of the first layer.
    pub first: &'a [u8],
    /// Labels of the second layer.
    pub second: &'a [u8],
}

impl SectorLabels for KeptLabels<'_> {
    type Error = SealError;

    fn column(&self, node: u32) -> Result<ColumnOpening, SealError> {
        let columns = &self.sealed.columns;
        columns.open_column(node, group(columns, node, self.first)?, group(columns, node, self.second)?)
    }

    fn replica_path(&self, node: u32) -> Result<Path, SealError> {
        let replica = &self.sealed.replica;
        let opening = replica.open(node, group(replica, node, self.second)?);
        opening.map(|opening| opening.path).ok_or(SealError::Damaged(node))
    }
}

fn group<'a>(tree: &SectorTree, node: u32, layer: &'a [u8]) -> Result<&'a [u8], SealError> {
    let Range { start, end } = tree.group(node);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    range.and_then(|(start, end)| layer.get(start..end)).ok_or(SealError::Damaged(node))
}
