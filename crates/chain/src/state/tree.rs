//! A compact sparse Merkle tree over SHA-256: the authenticated half of the state.
//!
//! A key's place is the SHA-256 of the key, read from its most significant bit. A subtree without keys is
//! 32 zero bytes; one with a single key is that key's leaf, at whatever depth it starts; every other is an
//! inner node over its two halves. The shape, and with it the root, depends only on the set of rows, never
//! on the order in which they were written. Source: docs/adr/0001-state-tree.md.
//!
//! Nodes stand under their place and are overwritten: older states live in the database's own snapshots
//! and in overlays, so there is nothing to version and nothing to prune.

use std::collections::BTreeMap;

use hpips_types::Sha256Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bits of a place: the greatest depth of a leaf.
const DEPTH_MAX: u16 = 256;
/// Root of a tree without keys.
const EMPTY: Sha256Digest = Sha256Digest::new([0; 32]);
const KEY_TAG: &[u8] = b"hpips/chain/state-key/v1";
const VALUE_TAG: &[u8] = b"hpips/chain/state-value/v1";
const LEAF_TAG: &[u8] = b"hpips/chain/state-leaf/v1";
const INNER_TAG: &[u8] = b"hpips/chain/state-inner/v1";

fn hash(parts: &[&[u8]]) -> Sha256Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Sha256Digest::new(hasher.finalize().into())
}

/// Where a key stands in the tree.
fn place_of(key: &[u8]) -> Sha256Digest {
    hash(&[KEY_TAG, key])
}

fn value_hash(value: &[u8]) -> Sha256Digest {
    hash(&[VALUE_TAG, value])
}

fn bit(place: &Sha256Digest, depth: u16) -> bool {
    place.as_bytes()[usize::from(depth / 8)] >> (7 - depth % 8) & 1 == 1
}

/// The place of a node: its depth and the bits that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    depth: u16,
    prefix: [u8; 32],
}

impl Location {
    const ROOT: Self = Self { depth: 0, prefix: [0; 32] };

    fn child(self, right: bool) -> Self {
        let mut prefix = self.prefix;
        if right {
            prefix[usize::from(self.depth / 8)] |= 1 << (7 - self.depth % 8);
        }
        Self { depth: self.depth + 1, prefix }
    }

    /// The database key: depth, then the bytes that hold the prefix.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.depth.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.prefix[..usize::from(self.depth.div_ceil(8))]);
        bytes
    }
}

/// A stored node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Hashes of the two halves.
    Inner(Sha256Digest, Sha256Digest),
    /// The only key of its subtree and the hash of its value.
    Leaf(Sha256Digest, Sha256Digest),
}

impl Node {
    fn hash(&self) -> Sha256Digest {
        let (tag, first, second) = match self {
            Self::Inner(left, right) => (INNER_TAG, left, right),
            Self::Leaf(place, value) => (LEAF_TAG, place, value),
        };
        hash(&[tag, first.as_bytes(), second.as_bytes()])
    }

    /// One byte of kind and two digests.
    pub(crate) fn to_bytes(self) -> [u8; 65] {
        let (kind, first, second) = match self {
            Self::Inner(left, right) => (1, left, right),
            Self::Leaf(place, value) => (0, place, value),
        };
        let mut bytes = [kind; 65];
        bytes[1..33].copy_from_slice(first.as_bytes());
        bytes[33..].copy_from_slice(second.as_bytes());
        bytes
    }

    /// The node that [`Self::to_bytes`] wrote; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let first = Sha256Digest::from_slice(bytes.get(1..33)?)?;
        let second = Sha256Digest::from_slice(bytes.get(33..)?)?;
        match bytes[0] {
            0 => Some(Self::Leaf(first, second)),
            1 => Some(Self::Inner(first, second)),
            _ => None,
        }
    }
}

/// Where nodes are read from.
pub(crate) trait Nodes {
    /// The node at a location, `None` where the subtree has no key.
    fn node(&self, location: &Location) -> Option<Node>;
}

/// Nodes to write (`Some`) and to remove (`None`).
pub(crate) type NodeChanges = BTreeMap<Location, Option<Node>>;

/// The root over these nodes.
#[cfg(test)]
fn root(nodes: &dyn Nodes) -> Sha256Digest {
    nodes.node(&Location::ROOT).map_or(EMPTY, |node| node.hash())
}

/// Applies row changes and returns the new root with the nodes that differ. Cost: about log2(rows) reads
/// and hashes a changed row.
pub(crate) fn update<'a>(
    nodes: &dyn Nodes,
    changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> (Sha256Digest, NodeChanges) {
    let mut places: Vec<Change> =
        changes.into_iter().map(|(key, value)| (place_of(key), value.map(value_hash))).collect();
    places.sort_unstable();
    let mut writer = Writer { nodes, changes: NodeChanges::new() };
    let top = writer.subtree(Location::ROOT, &places);
    (top.map_or(EMPTY, |node| node.hash()), writer.changes)
}

type Change = (Sha256Digest, Option<Sha256Digest>);

struct Writer<'a> {
    nodes: &'a dyn Nodes,
    changes: NodeChanges,
}

impl Writer<'_> {
    /// Applies the changes that fall into a subtree and returns what then stands at its top.
    fn subtree(&mut self, at: Location, changes: &[Change]) -> Option<Node> {
        let before = self.nodes.node(&at);
        let after = match before {
            _ if changes.is_empty() => return before,
            Some(Node::Inner(..)) => {
                let split = changes.partition_point(|(place, _)| !bit(place, at.depth));
                let left = self.subtree(at.child(false), &changes[..split]);
                let right = self.subtree(at.child(true), &changes[split..]);
                self.join(at, left, right)
            }
            Some(Node::Leaf(place, value)) => {
                let mut all = changes.to_vec();
                if let Err(index) = all.binary_search_by_key(&place, |change| change.0) {
                    all.insert(index, (place, Some(value)));
                }
                self.build(at, &all)
            }
            None => self.build(at, changes),
        };
        self.set(at, before, after);
        after
    }

    /// The subtree of these rows alone, where nothing stood below `at`.
    fn build(&mut self, at: Location, changes: &[Change]) -> Option<Node> {
        let mut live = changes.iter().filter_map(|(place, value)| value.map(|value| (*place, value)));
        let first = live.next()?;
        if live.next().is_none() {
            return Some(Node::Leaf(first.0, first.1));
        }
        let split = changes.partition_point(|(place, _)| !bit(place, at.depth));
        let (low, high) = (at.child(false), at.child(true));
        let left = self.build(low, &changes[..split]);
        let right = self.build(high, &changes[split..]);
        self.set(low, None, left);
        self.set(high, None, right);
        self.join(at, left, right)
    }

    /// The node over two halves. A lone leaf moves up, so that the shape depends on the rows only.
    fn join(&mut self, at: Location, left: Option<Node>, right: Option<Node>) -> Option<Node> {
        match (left, right) {
            (None, None) => None,
            (Some(leaf @ Node::Leaf(..)), None) => {
                self.lift(at.child(false));
                Some(leaf)
            }
            (None, Some(leaf @ Node::Leaf(..))) => {
                self.lift(at.child(true));
                Some(leaf)
            }
            (left, right) => Some(Node::Inner(
                left.map_or(EMPTY, |node| node.hash()),
                right.map_or(EMPTY, |node| node.hash()),
            )),
        }
    }

    fn lift(&mut self, from: Location) {
        let stored = self.nodes.node(&from);
        self.set(from, stored, None);
    }

    fn set(&mut self, at: Location, stored: Option<Node>, node: Option<Node>) {
        if stored == node {
            self.changes.remove(&at);
        } else {
            self.changes.insert(at, node);
        }
    }
}

/// What shows that a key has a value, or that it has none, under a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateProof {
    /// Hashes beside the path, from the root down; at most 256.
    siblings: Vec<Sha256Digest>,
    /// The leaf in which the path ends: place of its key and hash of its value. `None`: an empty subtree.
    leaf: Option<(Sha256Digest, Sha256Digest)>,
}

/// Why a proof shows nothing about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// The path is longer than a place has bits.
    #[error("a path of {0} steps is longer than a key has bits")]
    TooDeep(usize),
    /// The hashes lead to another root.
    #[error("the proof belongs to another state root")]
    Root,
    /// The proof shows another value than the one claimed, or none.
    #[error("the proof shows that the key does not have this value")]
    Value,
    /// The leaf shown does not stand on the key's path.
    #[error("the leaf shown lies elsewhere in the tree")]
    Path,
}

impl StateProof {
    /// Checks that under `root` the key has exactly this value; `None`: that it has none.
    ///
    /// # Errors
    /// [`StateProofError`] by variant.
    pub fn verify(
        &self,
        root: Sha256Digest,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StateProofError> {
        let place = place_of(key);
        let depth = u16::try_from(self.siblings.len())
            .ok()
            .filter(|depth| *depth <= DEPTH_MAX)
            .ok_or(StateProofError::TooDeep(self.siblings.len()))?;
        let shown = self.leaf.filter(|(other, _)| *other == place).map(|(_, hash)| hash);
        if shown != value.map(value_hash) {
            return Err(StateProofError::Value);
        }
        if let Some((other, _)) = self.leaf
            && (0..depth).any(|at| bit(&other, at) != bit(&place, at))
        {
            return Err(StateProofError::Path);
        }
        let mut hash = self.leaf.map_or(EMPTY, |(place, value)| Node::Leaf(place, value).hash());
        for (at, sibling) in (0..depth).zip(&self.siblings).rev() {
            let node =
                if bit(&place, at) { Node::Inner(*sibling, hash) } else { Node::Inner(hash, *sibling) };
            hash = node.hash();
        }
        if hash == root { Ok(()) } else { Err(StateProofError::Root) }
    }
}

/// The proof about a key, present or not.
pub(crate) fn prove(nodes: &dyn Nodes, key: &[u8]) -> StateProof {
    let place = place_of(key);
    let mut siblings = Vec::new();
    let mut at = Location::ROOT;
    loop {
        match nodes.node(&at) {
            Some(Node::Inner(left, right)) => {
                let right_side = bit(&place, at.depth);
                siblings.push(if right_side { left } else { right });
                at = at.child(right_side);
            }
            Some(Node::Leaf(place, value)) => return StateProof { siblings, leaf: Some((place, value)) },
            None => return StateProof { siblings, leaf: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory(BTreeMap<Location, Node>);

    impl Nodes for Memory {
        fn node(&self, location: &Location) -> Option<Node> {
            self.0.get(location).copied()
        }
    }

    impl Memory {
        fn apply(&mut self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Sha256Digest {
            let (root, nodes) = update(self, changes.iter().map(|(k, v)| (&k[..], v.as_deref())));
            for (at, node) in nodes {
                let known = match node {
                    Some(node) => self.0.insert(at, node),
                    None => self.0.remove(&at),
                };
                assert_ne!(known, node, "a change that changes nothing");
            }
            assert_eq!(super::root(self), root);
            root
        }
    }

    fn rows() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
        let row = (0u8..40, proptest::option::of(any::<u8>()));
        proptest::collection::vec(row, 0..30).prop_map(|rows| {
            let rows: BTreeMap<u8, Option<u8>> = rows.into_iter().collect();
            rows.into_iter().map(|(k, v)| (vec![k], v.map(|v| vec![v]))).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_root_depends_on_the_rows_only(batches in proptest::collection::vec(rows(), 1..6)) {
            let (mut tree, mut model) = (Memory::default(), BTreeMap::new());
            let mut root = EMPTY;
            for batch in &batches {
                root = tree.apply(batch);
                for (key, value) in batch {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
            }
            let rows: Vec<_> = model.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            let mut fresh = Memory::default();
            prop_assert_eq!(fresh.apply(&rows), root);
            prop_assert_eq!(&fresh.0, &tree.0);
            for key in 0u8..45 {
                let proof = prove(&tree, &[key]);
                let value = model.get(&vec![key]).map(|v| &v[..]);
                prop_assert_eq!(proof.verify(root, &[key], value), Ok(()));
                prop_assert_eq!(proof.verify(root, &[key], Some(b"lie")), Err(StateProofError::Value));
                if value.is_some() {
                    prop_assert_eq!(proof.verify(root, &[key], None), Err(StateProofError::Value));
                }
                prop_assert!(proof.verify(hash(&[b"other"]), &[key], value).is_err());
            }
        }
    }

    #[test]
    fn a_foreign_leaf_does_not_prove_absence() {
        let mut tree = Memory::default();
        let rows: Vec<_> = (0..20u8).map(|k| (vec![k], Some(vec![k]))).collect();
        let root = tree.apply(&rows);
        let proof = prove(&tree, &[3]);
        for other in 0..20u8 {
            assert!(proof.verify(root, &[other], None).is_err(), "{other}");
        }
        let deep = StateProof { siblings: vec![EMPTY; 257], leaf: None };
        assert_eq!(deep.verify(root, &[3], None), Err(StateProofError::TooDeep(257)));
    }

    #[test]
    fn frozen_root() {
        let mut tree = Memory::default();
        let root = tree.apply(&[(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(b"2".to_vec()))]);
        assert_eq!(root.to_string(), "53080907d2948f2a7769496fa521f5845f00d08bb190ae0398af0cf4bdb95289");
    }
}
