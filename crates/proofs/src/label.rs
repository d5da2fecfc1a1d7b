//! The hashes of the scheme: lanes, labels, columns, records and batch leaves.
//!
//! Each is one function, used by sealing and by the native checks; the circuits mirror them one by one. With
//! `P_t` the Poseidon2 permutation of width `t`, `H_t(x) = P_t(x)_0 + x_0`.
//!
//! ```text
//! base(l)   = H4(rid, l, TAG_LANE, 0)                       l = 1, 2
//! lane(l,i) = base(l) + i
//! L1[i]     = H8(lane(1,i), L1[d0], L1[d1], .. L1[d6])      d = depth-robust parents of i
//! K[i]      = H8(lane(2,i), K[d0], .. K[d4], L1[e0], L1[e1])  e = expander parents of i
//! column[i] = H3(L1[i], K[i], 0)
//! S         = H4(comm_r, comm_d, rid, meta)
//! batch leaf = H3(S, comm_c, TAG_BATCH)
//! ```
//!
//! Node 0 has no depth-robust parents: zeros stand in their places. No activation challenge falls on node 0,
//! so a circuit needs no exception for it.

use std::sync::LazyLock;

use ark_ff::AdditiveGroup;
use hpips_crypto::{Fr, field, poseidon2};

use crate::graph::{DRG_PARENTS, DRG_PARENTS_SECOND, EXPANDER_PARENTS};

/// The two layers of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `L1`, deleted after activation.
    First,
    /// `K`: the replica of an empty sector.
    Second,
}

static TAG_LANE: LazyLock<Fr> = LazyLock::new(|| field::from_hash("hpips/proofs/lane/v1", &[]));
static TAG_BATCH: LazyLock<Fr> = LazyLock::new(|| field::from_hash("hpips/proofs/batch/v1", &[]));

/// The constant of lane bases, a coefficient in circuits.
pub fn tag_lane() -> Fr {
    *TAG_LANE
}

/// The constant of batch leaves, a coefficient in circuits.
pub fn tag_batch() -> Fr {
    *TAG_BATCH
}

/// `base(l)`: what separates the labels of one sector and layer from all others.
pub fn lane_base(rid: Fr, layer: Layer) -> Fr {
    let number = match layer {
        Layer::First => 1u64,
        Layer::Second => 2,
    };
    poseidon2::h4(&[rid, Fr::from(number), tag_lane(), Fr::ZERO])
}

/// `L1[i]` from its lane and the first-layer labels of its parents.
pub fn label_first(lane: Fr, parents: &[Fr; DRG_PARENTS]) -> Fr {
    let [a, b, c, d, e, f, g] = *parents;
    poseidon2::h8(&[lane, a, b, c, d, e, f, g])
}

/// `K[i]` from its lane, the second-layer labels of its first parents and the first-layer labels of its
/// expander parents.
pub fn label_second(lane: Fr, drg: &[Fr; DRG_PARENTS_SECOND], expander: &[Fr; EXPANDER_PARENTS]) -> Fr {
    let ([a, b, c, d, e], [x, y]) = (*drg, *expander);
    poseidon2::h8(&[lane, a, b, c, d, e, x, y])
}

/// `column[i]`.
pub fn column(first: Fr, second: Fr) -> Fr {
    poseidon2::h3(first, second, Fr::ZERO)
}

/// A leaf of the tree under a batch root.
pub fn batch_leaf(record: Fr, comm_c: Fr) -> Fr {
    poseidon2::h3(record, comm_c, tag_batch())
}
