//! Openings of consecutive leaves.

use core::ops::Range;

use super::{ARITY, Tree, capacity, count, digit, parents, read_nodes};
use crate::Fr;
use crate::field;
use hpips_types::FieldBytes;

/// The nodes that lead from consecutive leaves to the root: level by level from the leaves up, those of the
/// first leaf's group to the left and those of the last leaf's group to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePath {
    /// Of each level; at most seven on either side.
    levels: Vec<(Vec<Fr>, Vec<Fr>)>,
}

impl RangePath {
    /// Reads a path for a range of leaves in a tree of a depth; `None` when the range is empty or outside the
    /// tree, the length is another, or an element is not canonical.
    pub fn from_bytes(bytes: &[u8], range: Range<u64>, depth: u8) -> Option<Self> {
        let counts = counts(range, depth)?;
        let total: usize = counts.iter().map(|(left, right)| left + right).sum();
        let mut nodes = read_nodes(bytes)?.into_iter();
        if !bytes.len().is_multiple_of(FieldBytes::LEN) || nodes.len() != total {
            return None;
        }
        let mut take = |count: usize| nodes.by_ref().take(count).collect();
        Some(Self { levels: counts.into_iter().map(|(left, right)| (take(left), take(right))).collect() })
    }

    /// Canonical bytes: level by level the nodes to the left, then those to the right, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let nodes = self.levels.iter().flat_map(|(left, right)| left.iter().chain(right));
        nodes.flat_map(|node| field::to_bytes(node).to_bytes()).collect()
    }

    /// The root that follows from leaves that begin at an index; `None` when they are none, reach beyond a tree
    /// of this depth, or are not as many as the path is for. Costs a hash for every eight leaves and a few.
    pub fn root(&self, leaves: &[Fr], start: u64) -> Option<Fr> {
        let range = start..start.checked_add(count(leaves))?;
        let counts = counts(range, u8::try_from(self.levels.len()).ok()?)?;
        let mut row = leaves.to_vec();
        for (level, ((left, right), expected)) in (0u8..).zip(self.levels.iter().zip(counts)) {
            if (left.len(), right.len()) != expected {
                return None;
            }
            row = parents(&[left, row.as_slice(), right].concat(), level);
        }
        <[Fr; 1]>::try_from(row).ok().map(|[root]| root)
    }
}

impl Tree {
    /// The path of consecutive nodes of the lowest kept level: of leaves when all rows are kept.
    ///
    /// # Panics
    /// When the range is empty or outside the tree.
    pub fn open_range(&self, range: Range<u64>) -> RangePath {
        let depth = self.depth() - self.base();
        let counts = counts(range.clone(), depth).expect("a range of this tree");
        let (mut first, mut last) = (range.start, range.end - 1);
        let mut levels = Vec::with_capacity(counts.len());
        for (level, (left, right)) in (self.base()..).zip(counts) {
            let node = |index| self.node(level, index);
            let before = (first - u64::try_from(left).expect("below eight")..first).map(node).collect();
            let after = (last + 1..=last + u64::try_from(right).expect("below eight")).map(node).collect();
            levels.push((before, after));
            (first, last) = (first >> 3, last >> 3);
        }
        RangePath { levels }
    }
}

/// How many nodes stand on either side, level by level.
fn counts(range: Range<u64>, depth: u8) -> Option<Vec<(usize, usize)>> {
    if range.is_empty() || depth > super::DEPTH_MAX || range.end > capacity(depth) {
        return None;
    }
    let (mut first, mut last) = (range.start, range.end - 1);
    let mut counts = Vec::with_capacity(depth.into());
    for _ in 0..depth {
        counts.push((digit(first), ARITY - 1 - digit(last)));
        (first, last) = (first >> 3, last >> 3);
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: u64) -> Vec<Fr> {
        (0..count).map(|index| Fr::from(index * index + 1)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn ranges_open_and_nothing_else_does(given in 1u64..512, start in 0u64..512, length in 1u64..70, flip: u16) {
            let tree = Tree::build(&leaves(given), 3);
            let range = start..(start + length).min(512);
            prop_assume!(!range.is_empty());
            let path = tree.open_range(range.clone());
            let own: Vec<Fr> = range.clone().map(|index| tree.node(0, index)).collect();
            prop_assert_eq!(path.root(&own, range.start), Some(tree.root()));
            prop_assert_eq!(RangePath::from_bytes(&path.to_bytes(), range.clone(), 3), Some(path.clone()));

            prop_assert_eq!(path.root(&own, range.start + 512), None);
            prop_assert_ne!(path.root(&own[1..], range.start), Some(tree.root()));
            let mut other = own.clone();
            let at = usize::from(flip) % other.len();
            other[at] += Fr::from(1u64);
            prop_assert_ne!(path.root(&other, range.start), Some(tree.root()));
            let mut bytes = path.to_bytes();
            prop_assert_eq!(RangePath::from_bytes(&[bytes.as_slice(), &[0; 32]].concat(), range.clone(), 3), None);
            prop_assert_eq!(RangePath::from_bytes(&[bytes.as_slice(), &[0]].concat(), range.clone(), 3), None);
            if !bytes.is_empty() {
                let at = usize::from(flip) % bytes.len();
                bytes[at] ^= 1;
                let root = RangePath::from_bytes(&bytes, range.clone(), 3).and_then(|path| path.root(&own, range.start));
                prop_assert_ne!(root, Some(tree.root()));
            }
        }
    }

    #[test]
    fn ranges_outside_are_refused() {
        let path = Tree::build(&leaves(64), 2).open_range(0..64);
        assert_eq!(path.to_bytes(), Vec::<u8>::new());
        assert_eq!(path.root(&[], 0), None);
        assert_eq!(path.root(&leaves(65), 0), None);
        assert_eq!(path.root(&leaves(64), u64::MAX), None);
        for range in [0..0, Range { start: 5, end: 4 }, 0..65, 64..65] {
            assert_eq!(RangePath::from_bytes(&[], range, 2), None);
        }
        assert_eq!(RangePath::from_bytes(&[], 0..1, 200), None);
    }
}
