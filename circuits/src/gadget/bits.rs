//! Numbers as bits.

use ark_ff::AdditiveGroup;
use hpips_crypto::Fr;

use crate::builder::Builder;

/// The lowest `count` bits of a number, lowest first, each constrained to be zero or one: `count`
/// constraints. Nothing ties them to another variable: whoever allocates them packs them again.
///
/// # Panics
/// Above 64 bits.
pub fn allocate<B: Builder>(builder: &mut B, number: u64, count: usize) -> Vec<B::Number> {
    assert!(count <= 64, "indices have at most 64 bits");
    (0..count).map(|i| builder.bit((number >> i) & 1 == 1)).collect()
}

/// The number that bits, lowest first, stand for: no constraint. Unique while there are fewer bits than the
/// modulus has, 255.
pub fn pack<B: Builder>(builder: &B, bits: &[B::Number]) -> B::Number {
    let mut sum = builder.constant(Fr::ZERO);
    let mut weight = Fr::from(1u64);
    for bit in bits {
        sum = builder.add_scaled(&sum, bit, weight);
        weight = weight.double();
    }
    sum
}
