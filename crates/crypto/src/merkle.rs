//! Arity-8 Merkle trees over field elements, padded with virtual zeros.
//!
//! A tree of depth `d` has `8^d` leaves; those not given are zero, and a subtree of zeros is never computed
//! nor stored ([`zero_root`]). A node is [`h8`] of its eight children. Level 0 is the leaves, level `d` the
//! root. [`Tree`] keeps rows and opens leaves and ranges of them; [`Builder`] takes leaves as they come, in
//! memory that does not grow with them. Rows are hashed in the [`crate::lanes`] of the machine.

mod range;

use std::sync::LazyLock;

use ark_ff::AdditiveGroup;
use rayon::prelude::*;

use crate::Fr;
use crate::field;
use crate::lanes::{self, Word};
use crate::poseidon2::h8;
use hpips_types::FieldBytes;

pub use range::RangePath;

/// Children of a node.
pub const ARITY: usize = 8;
/// Deepest tree: 2^60 leaves.
pub const DEPTH_MAX: u8 = 20;
/// Hashes that one thread does at a time: a tenth of a millisecond and more, far above the cost of handing them
/// out. Picked by judgement.
const TASK_HASHES: usize = 64;
/// Levels that a [`Builder`] computes for a run of leaves at once.
const RUN_LEVELS: u8 = 3;
/// Leaves of a run: a mebibyte, and enough to fill the lanes up to [`RUN_LEVELS`].
const RUN_LEAVES: usize = 1 << 15;

static ZERO_ROOTS: LazyLock<[Fr; DEPTH_MAX as usize + 1]> = LazyLock::new(|| {
    let mut roots = [Fr::ZERO; DEPTH_MAX as usize + 1];
    for level in 1..roots.len() {
        roots[level] = h8(&[roots[level - 1]; ARITY]);
    }
    roots
});

/// Root of a tree of zeros of a depth.
///
/// # Panics
/// Above [`DEPTH_MAX`].
pub fn zero_root(level: u8) -> Fr {
    ZERO_ROOTS[usize::from(level)]
}

/// Leaves of a tree of a depth: `8^depth`.
///
/// # Panics
/// Above [`DEPTH_MAX`].
pub const fn capacity(depth: u8) -> u64 {
    assert!(depth <= DEPTH_MAX, "tree too deep");
    1 << (3 * depth as u32)
}

/// The least depth whose tree has room for so many leaves.
///
/// # Panics
/// Above the capacity of [`DEPTH_MAX`].
pub const fn depth_for(leaves: u64) -> u8 {
    let mut depth = 0;
    while capacity(depth) < leaves {
        depth += 1;
    }
    depth
}

/// The siblings on the way from a leaf to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// By level from the leaf up: the seven other children, in order.
    pub siblings: Vec<[Fr; ARITY - 1]>,
}

impl Path {
    /// The root that follows from a leaf at an index; `None` when the index is outside a tree of this depth,
    /// so that one leaf is never accepted under two indices.
    pub fn root(&self, leaf: Fr, index: u64) -> Option<Fr> {
        let mut node = leaf;
        let mut index = index;
        for siblings in &self.siblings {
            node = h8(&children(node, digit(index), siblings));
            index >>= 3;
        }
        (index == 0).then_some(node)
    }

    /// Levels between leaf and root.
    pub fn depth(&self) -> usize {
        self.siblings.len()
    }

    /// Canonical bytes: the siblings in order, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.siblings.iter().flatten().flat_map(|node| field::to_bytes(node).to_bytes()).collect()
    }

    /// Reads a path of a known depth; `None` when the length is another or an element is not canonical.
    pub fn from_bytes(bytes: &[u8], depth: u8) -> Option<Self> {
        if bytes.len() != usize::from(depth) * (ARITY - 1) * FieldBytes::LEN {
            return None;
        }
        let nodes: Vec<Fr> = read_nodes(bytes)?;
        let siblings = nodes.chunks_exact(ARITY - 1).map(|chunk| chunk.try_into().expect("chunks of seven"));
        Some(Self { siblings: siblings.collect() })
    }
}

/// All eight children of a node, from one of them and the others.
pub fn children(node: Fr, position: usize, siblings: &[Fr; ARITY - 1]) -> [Fr; ARITY] {
    core::array::from_fn(|child| match child.cmp(&position) {
        core::cmp::Ordering::Less => siblings[child],
        core::cmp::Ordering::Equal => node,
        core::cmp::Ordering::Greater => siblings[child - 1],
    })
}

/// The rows of a tree from a level up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    depth: u8,
    base: u8,
    /// Of levels `base..=depth`; only the nodes above given leaves.
    rows: Vec<Vec<Fr>>,
}

impl Tree {
    /// The tree over leaves from index 0.
    ///
    /// # Panics
    /// When there are more leaves than `8^depth`.
    pub fn build(leaves: &[Fr], depth: u8) -> Self {
        Self::from_row(leaves.to_vec(), 0, depth)
    }

    /// The tree above a row of nodes of level `base`.
    ///
    /// # Panics
    /// When the row does not fit below a root at level `depth`.
    pub fn from_row(row: Vec<Fr>, base: u8, depth: u8) -> Self {
        assert!(base <= depth, "a row lies below its root");
        assert!(count(&row) <= capacity(depth - base), "more nodes than the tree holds");
        let mut rows = vec![row];
        for level in base..depth {
            rows.push(parents(&rows[usize::from(level - base)], level));
        }
        Self { depth, base, rows }
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.node(self.depth, 0)
    }

    /// Levels between leaves and root.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The lowest level kept.
    pub fn base(&self) -> u8 {
        self.base
    }

    /// A node of a kept level; zeros where nothing was given.
    ///
    /// # Panics
    /// When the level is not kept or has no such node.
    pub fn node(&self, level: u8, index: u64) -> Fr {
        assert!(index < capacity(self.depth - level), "node {index} of level {level} is outside the tree");
        let row = &self.rows[usize::from(level - self.base)];
        let given = usize::try_from(index).ok().and_then(|index| row.get(index));
        given.copied().unwrap_or_else(|| zero_root(level))
    }

    /// The nodes of a kept level above given leaves.
    ///
    /// # Panics
    /// When the level is not kept.
    pub fn row(&self, level: u8) -> &[Fr] {
        &self.rows[usize::from(level - self.base)]
    }

    /// Forgets the rows below a level.
    ///
    /// # Panics
    /// When the level is above the root.
    pub fn truncate(&mut self, level: u8) {
        assert!(level <= self.depth, "the root is kept");
        if level > self.base {
            self.rows.drain(..usize::from(level - self.base));
            self.base = level;
        }
    }

    /// The path from the node at `index` of the lowest kept level: from a leaf when all rows are kept.
    ///
    /// # Panics
    /// When the index is outside the tree.
    pub fn open(&self, index: u64) -> Path {
        assert!(index < capacity(self.depth - self.base), "leaf {index} is outside the tree");
        let siblings = (self.base..self.depth).map(|level| {
            let at = index >> (3 * u32::from(level - self.base));
            let (first, position) = (at & !7, digit(at));
            core::array::from_fn(|sibling| {
                let child = sibling + usize::from(sibling >= position);
                self.node(level, first + u64::try_from(child).expect("below eight"))
            })
        });
        Path { siblings: siblings.collect() }
    }

    /// The path from a leaf where only rows from `base` up are kept: the leaves below the kept node above it
    /// are given again, those from `index` rounded down to a multiple of `8^base`, zeros at the end left out.
    ///
    /// `None` when they are not the leaves that the tree was built from.
    ///
    /// # Panics
    /// When the index is outside the tree, or more than `8^base` leaves are given.
    pub fn open_with(&self, index: u64, leaves: &[Fr]) -> Option<Path> {
        let above = index >> (3 * u32::from(self.base));
        let below = Self::build(leaves, self.base);
        if below.root() != self.node(self.base, above) {
            return None;
        }
        let mut path = below.open(index & (capacity(self.base) - 1));
        path.siblings.extend(self.open(above).siblings);
        Some(path)
    }

    /// The kept rows as bytes: nodes of 32 bytes, row after row from the lowest.
    pub fn rows_to_bytes(&self) -> Vec<u8> {
        self.rows.iter().flatten().flat_map(|node| field::to_bytes(node).to_bytes()).collect()
    }

    /// Reads rows that [`Self::rows_to_bytes`] wrote, for a tree over `leaves` leaves. `None` when the length
    /// is another or an element is not canonical.
    ///
    /// The rows are not recomputed: they are one's own, and a wrong row makes wrong paths, never a wrong
    /// acceptance elsewhere.
    pub fn from_row_bytes(bytes: &[u8], leaves: u64, base: u8, depth: u8) -> Option<Self> {
        if base > depth || depth > DEPTH_MAX || leaves > capacity(depth) {
            return None;
        }
        let counts: Option<Vec<usize>> =
            (base..=depth).map(|level| usize::try_from(leaves.div_ceil(capacity(level))).ok()).collect();
        let counts = counts?;
        if bytes.len()
            != counts
                .iter()
                .try_fold(0usize, |sum, one| sum.checked_add(*one))?
                .checked_mul(FieldBytes::LEN)?
        {
            return None;
        }
        let mut rest = bytes;
        let mut rows = Vec::with_capacity(counts.len());
        for count in counts {
            let (row, after) = rest.split_at(count * FieldBytes::LEN);
            rows.push(read_nodes(row)?);
            rest = after;
        }
        Some(Self { depth, base, rows })
    }
}

/// A root from leaves as they come.
///
/// Holds at most seven nodes a level, and the row of one level if asked to keep it.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    count: u64,
    /// Of each level: nodes that wait for their group to be complete.
    pending: Vec<Vec<Fr>>,
    kept: Option<(u8, Vec<Fr>)>,
}

impl Builder {
    /// A builder that keeps nothing but what the root needs.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder that keeps the nodes of a level, for [`Self::finish_tree`].
    pub fn keeping(level: u8) -> Self {
        Self { kept: Some((level, Vec::new())), ..Self::default() }
    }

    /// Leaves taken so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: Fr) {
        self.count += 1;
        self.push_node(0, leaf);
    }

    /// Takes the next leaves; long runs are hashed in lanes by all threads of the current pool.
    pub fn extend<W: Word + Sync>(&mut self, leaves: &[W]) {
        let levels = self.kept.as_ref().map_or(RUN_LEVELS, |(level, _)| RUN_LEVELS.min(*level));
        let unit = usize::try_from(capacity(levels)).expect("a unit is small");
        let past = usize::try_from(self.count % capacity(levels)).expect("below a unit");
        let head = if past == 0 { 0 } else { leaves.len().min(unit - past) };
        let (head, rest) = leaves.split_at(head);
        let (whole, tail) = rest.split_at(rest.len() - rest.len() % unit);
        for leaf in head {
            self.push((*leaf).into());
        }
        for run in whole.chunks(RUN_LEAVES) {
            self.count += count(run);
            for root in roots(run, levels) {
                self.push_node(levels, root);
            }
        }
        for leaf in tail {
            self.push((*leaf).into());
        }
    }

    /// Fills up with virtual zeros so that the next leaf stands at a multiple of `8^level`.
    pub fn align(&mut self, level: u8) {
        self.close_below(level);
        self.count = self.count.next_multiple_of(capacity(level));
    }

    /// The root of the tree of a depth over all leaves taken.
    ///
    /// # Panics
    /// When there are more leaves than `8^depth`.
    pub fn finish(mut self, depth: u8) -> Fr {
        assert!(self.count <= capacity(depth), "more leaves than the tree holds");
        if self.kept.is_some() {
            return self.finish_tree(depth).root();
        }
        self.close_below(depth);
        self.pending
            .get(usize::from(depth))
            .and_then(|row| row.first().copied())
            .unwrap_or_else(|| zero_root(depth))
    }

    /// The tree of a depth, with rows from the kept level up.
    ///
    /// # Panics
    /// When no level at or below `depth` was kept, or there are more leaves than `8^depth`.
    pub fn finish_tree(mut self, depth: u8) -> Tree {
        let level = self.kept.as_ref().map(|(level, _)| *level).expect("a level is kept");
        self.close_below(level);
        let (level, row) = self.kept.expect("a level is kept");
        Tree::from_row(row, level, depth)
    }

    /// Completes all groups below a level with zeros.
    fn close_below(&mut self, level: u8) {
        for below in 0..level {
            let Some(waiting) = self.pending.get_mut(usize::from(below)) else { continue };
            if waiting.is_empty() {
                continue;
            }
            let mut group = [zero_root(below); ARITY];
            group[..waiting.len()].copy_from_slice(waiting);
            waiting.clear();
            self.push_node(below + 1, h8(&group));
        }
    }

    fn push_node(&mut self, level: u8, node: Fr) {
        let (mut level, mut node) = (level, node);
        loop {
            if let Some((kept, row)) = &mut self.kept
                && *kept == level
            {
                row.push(node);
                return;
            }
            let at = usize::from(level);
            if self.pending.len() <= at {
                self.pending.resize_with(at + 1, Vec::new);
            }
            let waiting = &mut self.pending[at];
            waiting.push(node);
            let Ok(group) = <&[Fr; ARITY]>::try_from(waiting.as_slice()) else { return };
            node = h8(group);
            waiting.clear();
            level += 1;
        }
    }
}

/// The row above a row of nodes of a level.
fn parents<W: Word + Sync>(row: &[W], level: u8) -> Vec<Fr> {
    let (whole, rest) = row.as_chunks::<ARITY>();
    let mut parents = vec![Fr::ZERO; row.len().div_ceil(ARITY)];
    let (full, last) = parents.split_at_mut(whole.len());
    if whole.len() < 2 * TASK_HASHES {
        lanes::compress(whole, full);
    } else {
        let tasks = whole.par_chunks(TASK_HASHES).zip(full.par_chunks_mut(TASK_HASHES));
        tasks.for_each(|(groups, parents)| lanes::compress(groups, parents));
    }
    if let Some(last) = last.first_mut() {
        let mut nodes = [zero_root(level); ARITY];
        for (node, given) in nodes.iter_mut().zip(rest) {
            *node = (*given).into();
        }
        *last = h8(&nodes);
    }
    parents
}

/// The roots of whole subtrees of some levels over leaves.
fn roots<W: Word + Sync>(leaves: &[W], levels: u8) -> Vec<Fr> {
    if levels == 0 {
        return leaves.iter().map(|leaf| (*leaf).into()).collect();
    }
    (1..levels).fold(parents(leaves, 0), |row, level| parents(&row, level))
}

fn read_nodes(bytes: &[u8]) -> Option<Vec<Fr>> {
    bytes
        .chunks_exact(FieldBytes::LEN)
        .map(|chunk| field::from_bytes(&FieldBytes::from_slice(chunk)?))
        .collect()
}

fn digit(index: u64) -> usize {
    usize::try_from(index & 7).expect("below eight")
}

fn count<W>(row: &[W]) -> u64 {
    u64::try_from(row.len()).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
mod tests;
