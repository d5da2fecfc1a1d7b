//! Challenges: how they are drawn, packed into elements and hashed into the challenge digest.
//!
//! This file is the one place that fixes bit order, widths and padding; the circuits mirror it.
//!
//! **Packing.** All indices are unsigned integers, written little-endian: the first field of a challenge
//! takes the lowest bits. A Merkle index is consumed the same way: its lowest three bits are the position at
//! the leaves' level, the next three one level up.
//!
//! ```text
//! window challenge      leaf (24 bits) | record (3 * set_depth)
//! activation challenge  node (3h) | drg[0..7] (7 * 3h) | expander[0..2] (2 * 3h) | record (3 * set_depth)
//! ```
//!
//! An element carries [`Shape::window_per_element`] window challenges, the first in the lowest bits, or one
//! activation challenge; unused high bits and the missing challenges of a last element are zero.
//! `chal_digest = Sponge8(elements)`. The number of elements is fixed by the shape, so no length is hashed.

use ark_ff::{BigInt, PrimeField};
use hpips_crypto::{Fr, poseidon2};
use hpips_types::RecordIndex;

use crate::graph::Parents;
use crate::shape::{ELEMENT_BITS, LEAF_DEPTH, Shape};

/// One leaf of one record, asked for by a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowChallenge {
    /// Which record of the proving set.
    pub record: RecordIndex,
    /// Which leaf of it, below `8^8`.
    pub leaf: u32,
}

/// One node of one sector of a batch, asked for by an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActivationChallenge {
    /// Which sector of the batch.
    pub record: RecordIndex,
    /// Which node, never 0.
    pub node: u32,
    /// Its parents.
    pub parents: Parents,
}

impl ActivationChallenge {
    /// The ten nodes whose columns are opened, in order: the node, its depth-robust parents, its expander
    /// parents.
    pub fn columns(&self) -> [u32; 10] {
        let ([a, b, c, d, e, f, g], [x, y]) = (self.parents.drg, self.parents.expander);
        [self.node, a, b, c, d, e, f, g, x, y]
    }
}

/// The packed elements of window challenges.
pub fn pack_window(shape: &Shape, challenges: &[WindowChallenge]) -> Vec<Fr> {
    let per_element = usize::try_from(shape.window_per_element()).expect("at most 252");
    let pack = |group: &[WindowChallenge]| {
        let mut bits = BitPacker::default();
        for challenge in group {
            bits.push(u64::from(challenge.leaf), 3 * u32::from(LEAF_DEPTH));
            bits.push(u64::from(challenge.record.get()), shape.record_bits());
        }
        bits.element()
    };
    challenges.chunks(per_element).map(pack).collect()
}

/// The packed elements of activation challenges, one each.
pub fn pack_activation(shape: &Shape, challenges: &[ActivationChallenge]) -> Vec<Fr> {
    let pack = |challenge: &ActivationChallenge| {
        let mut bits = BitPacker::default();
        for node in challenge.columns() {
            bits.push(u64::from(node), shape.node_bits());
        }
        bits.push(u64::from(challenge.record.get()), shape.record_bits());
        bits.element()
    };
    challenges.iter().map(pack).collect()
}

/// The digest of packed challenges: a public input.
pub fn challenge_digest(packed: &[Fr]) -> Fr {
    poseidon2::sponge8(packed)
}

/// The commitment to the challenged leaves, in the order of the challenges: posted within `T_commit`, later a
/// public input.
pub fn leaf_commitment(leaves: &[Fr]) -> Fr {
    poseidon2::sponge8(leaves)
}

/// Little-endian bits of one element.
#[derive(Debug, Default)]
struct BitPacker {
    limbs: [u64; 4],
    used: u32,
}

impl BitPacker {
    /// Appends the `width` low bits of a value.
    ///
    /// # Panics
    /// When the value is wider, or the element is full: shapes exclude both.
    fn push(&mut self, value: u64, width: u32) {
        assert!(width < u64::BITS && value >> width == 0, "value fits its width");
        assert!(self.used + width <= ELEMENT_BITS, "element has room");
        let (limb, shift) = ((self.used / 64) as usize, self.used % 64);
        self.limbs[limb] |= value << shift;
        if shift + width > 64 {
            self.limbs[limb + 1] |= value >> (64 - shift);
        }
        self.used += width;
    }

    fn element(&self) -> Fr {
        Fr::from_bigint(BigInt::new(self.limbs)).expect("252 bits are below the modulus")
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;

    use super::*;

    #[test]
    fn packing_is_a_sum_of_shifted_fields() {
        let shape = Shape::new(8, 4, 9, 1, 1).unwrap();
        let challenges: Vec<WindowChallenge> = (0..9u16)
            .map(|i| WindowChallenge {
                record: RecordIndex::new(4_095 - i),
                leaf: (1 << 24) - 1 - u32::from(i),
            })
            .collect();
        let two = Fr::from(2u64);
        let expected: Vec<Fr> = challenges
            .chunks(7)
            .map(|group| {
                group.iter().enumerate().fold(Fr::from(0u64), |sum, (i, c)| {
                    let one =
                        Fr::from(u64::from(c.leaf)) + Fr::from(u64::from(c.record.get())) * two.pow([24]);
                    sum + one * two.pow([36 * i as u64])
                })
            })
            .collect();
        assert_eq!(pack_window(&shape, &challenges), expected);

        let challenge = ActivationChallenge {
            record: RecordIndex::new(3_001),
            node: 16_777_215,
            parents: Parents { drg: [1, 2, 3, 16_777_214, 5, 6, 7], expander: [8_388_608, 9] },
        };
        let fields = challenge.columns().map(u64::from).into_iter().chain([3_001]);
        let sum: Fr = fields.enumerate().map(|(i, v)| Fr::from(v) * two.pow([24 * i as u64])).sum();
        assert_eq!(pack_activation(&shape, &[challenge]), [sum]);
    }

    #[test]
    fn order_matters() {
        let shape = Shape::new(2, 2, 2, 1, 1).unwrap();
        let (a, b) = (
            WindowChallenge { record: RecordIndex::new(1), leaf: 2 },
            WindowChallenge { record: RecordIndex::new(2), leaf: 1 },
        );
        let digest = |list: &[WindowChallenge]| challenge_digest(&pack_window(&shape, list));
        assert_ne!(digest(&[a, b]), digest(&[b, a]));
        assert_ne!(digest(&[a, a]), digest(&[a, b]));
    }
}
