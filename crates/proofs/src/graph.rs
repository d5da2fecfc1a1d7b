//! SDR-2 graphs: who depends on whom while sealing.
//!
//! One depth-robust graph serves both layers: a node has its predecessor and six parents drawn by Filecoin's
//! BucketSample (on a meta-graph of degree six); the second layer uses the predecessor and the first four of
//! them, so that one column opening per parent serves both labels. The second layer has besides two expander
//! parents in the first, through a permutation of the `2N` edges (Chung), uniform over all nodes.
//!
//! Draws come from BLAKE3, never from a `rand` type, and are frozen by vectors: a changed parent would make
//! every sealed sector worthless. The circuits know nothing of this file; a verifier computes parents
//! natively and hashes them into the challenge digest.

use hpips_crypto::draw::Draw;

/// Depth-robust parents of a node in the first layer, predecessor first.
pub const DRG_PARENTS: usize = 7;
/// How many of them the second layer uses, from the front.
pub const DRG_PARENTS_SECOND: usize = 5;
/// Expander parents of a node of the second layer.
pub const EXPANDER_PARENTS: usize = 2;

/// Parents drawn by bucket for each node, also the degree of the meta-graph.
const BUCKET_PARENTS: u64 = DRG_PARENTS as u64 - 1;
/// Rounds of the edge permutation. Four make it a strong pseudorandom permutation (Luby, Rackoff).
const FEISTEL_ROUNDS: u8 = 4;

/// The parents of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parents {
    /// In the same layer; the second layer uses the first [`DRG_PARENTS_SECOND`].
    pub drg: [u32; DRG_PARENTS],
    /// In the first layer, for the second.
    pub expander: [u32; EXPANDER_PARENTS],
}

/// The graph of all sectors of one height.
#[derive(Clone, Debug)]
pub struct Graph {
    height: u8,
    feistel_key: [u8; blake3::KEY_LEN],
}

impl Graph {
    /// The graph of sectors with `8^height` nodes.
    ///
    /// # Panics
    /// When the height is not within 2 to 8.
    pub fn new(height: u8) -> Self {
        assert!((2..=8).contains(&height), "sectors have a height of 2 to 8");
        Self { height, feistel_key: blake3::derive_key("hpips/proofs/expander/v1", &[height]) }
    }

    /// Number of nodes.
    pub const fn nodes(&self) -> u32 {
        1 << (3 * self.height as u32)
    }

    /// The parents of a node.
    ///
    /// Node 0 has no depth-robust parents: its entries are 0, and its labels take zeros in their places
    /// (see [`crate::label`]). Node 1 has node 0 seven times.
    ///
    /// # Panics
    /// When the node is not in the graph.
    pub fn parents(&self, node: u32) -> Parents {
        assert!(node < self.nodes(), "node of this graph");
        Parents { drg: self.drg(node), expander: self.expander(node) }
    }

    /// `BucketSample`: rust-fil-proofs, storage-proofs-core/src/drgraph.rs, `BucketGraph::parents`.
    pub(crate) fn drg(&self, node: u32) -> [u32; DRG_PARENTS] {
        let mut parents = [0; DRG_PARENTS];
        if node < 2 {
            return parents;
        }
        parents[0] = node - 1;
        let mut draw = Draw::new("hpips/proofs/drg/v1", &[&[self.height], &node.to_le_bytes()]);
        let meta_node = u64::from(node) * BUCKET_PARENTS;
        let buckets = u64::from(u64::BITS - (meta_node - 1).leading_zeros());
        for parent in &mut parents[1..] {
            let bucket = draw.below(buckets) + 1;
            let largest = meta_node.min(1 << bucket);
            let smallest = (largest >> 1).max(2);
            let distance = smallest + draw.below(largest - smallest + 1);
            let mapped =
                u32::try_from((meta_node - distance) / BUCKET_PARENTS).expect("at most the node itself");
            *parent = if mapped == node { node - 1 } else { mapped };
        }
        parents
    }

    pub(crate) fn expander(&self, node: u32) -> [u32; EXPANDER_PARENTS] {
        let mut parents = [0; EXPANDER_PARENTS];
        let degree = EXPANDER_PARENTS as u64;
        for (edge, parent) in (u64::from(node) * degree..).zip(&mut parents) {
            *parent = u32::try_from(self.permute(edge) / degree).expect("edges are at most twice the nodes");
        }
        parents
    }

    /// A permutation of the `2N` edges: Feistel over the next even number of bits, walked until the result is
    /// an edge again.
    fn permute(&self, edge: u64) -> u64 {
        let edges = u64::from(self.nodes()) * EXPANDER_PARENTS as u64;
        let half_bits = edges.trailing_zeros().div_ceil(2);
        let mask = (1u64 << half_bits) - 1;
        let mut value = edge;
        loop {
            let (mut left, mut right) = (value >> half_bits, value & mask);
            for round in 0..FEISTEL_ROUNDS {
                (left, right) = (right, left ^ (self.feistel(round, right) & mask));
            }
            value = left << half_bits | right;
            if value < edges {
                return value;
            }
        }
    }

    fn feistel(&self, round: u8, half: u64) -> u64 {
        let mut input = [0; 9];
        input[0] = round;
        input[1..].copy_from_slice(&half.to_le_bytes());
        let hash = blake3::keyed_hash(&self.feistel_key, &input);
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
    }
}

#[cfg(test)]
mod tests;
