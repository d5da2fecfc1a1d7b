//! Openings in arity-8 trees, the twin of `crypto::merkle`.

use ark_ff::AdditiveGroup;
use hpips_crypto::Fr;

use super::poseidon2;
use crate::builder::Builder;

/// The parent of a node among its siblings: 370 constraints.
///
/// `bits` are the three bits, lowest first, of the node's position among its parent's children, already
/// constrained to be zero or one. All eight children are witness variables; seven constraints select the one
/// at the position and demand that it is the node:
///
/// - `bit 0` chooses within each pair (4 products);
/// - `bit 1` chooses within each pair of those (2 products);
/// - `bit 2` chooses between the last two, and the choice equals the node (1).
///
/// Then the parent is `H8` of the children (363).
pub fn level<B: Builder>(
    builder: &mut B,
    node: &B::Number,
    siblings: &[Fr; 7],
    bits: &[B::Number; 3],
    rule: &'static str,
) -> B::Number {
    let position: usize =
        bits.iter().rev().fold(0, |n, bit| 2 * n + usize::from(builder.value(bit) != Fr::ZERO));
    let value = builder.value(node);
    let mut others = siblings.iter();
    let children: [B::Number; 8] = core::array::from_fn(|i| {
        let child = if i == position { value } else { *others.next().expect("seven beside one of eight") };
        builder.witness(child)
    });
    let [b0, b1, b2] = bits;
    let choose = |builder: &mut B, bit: &B::Number, zero: &B::Number, one: &B::Number| {
        let difference = builder.sub(one, zero);
        let chosen = builder.mul("a bit chooses between two nodes", bit, &difference);
        builder.add(zero, &chosen)
    };
    let pairs: Vec<B::Number> =
        children.chunks_exact(2).map(|pair| choose(builder, b0, &pair[0], &pair[1])).collect();
    let low = choose(builder, b1, &pairs[0], &pairs[1]);
    let high = choose(builder, b1, &pairs[2], &pairs[3]);
    let (difference, wanted) = (builder.sub(&high, &low), builder.sub(node, &low));
    builder.enforce(rule, b2, &difference, &wanted);
    poseidon2::compress(builder, &children)
}

/// The root that a path leads to: 370 constraints a level.
///
/// `bits`: three a level, lowest level first. `rule` names the opening in errors.
///
/// # Panics
/// When there are not three bits for each level.
pub fn root<B: Builder>(
    builder: &mut B,
    leaf: &B::Number,
    siblings: &[[Fr; 7]],
    bits: &[B::Number],
    rule: &'static str,
) -> B::Number {
    let (digits, rest) = bits.as_chunks::<3>();
    assert!(rest.is_empty() && digits.len() == siblings.len(), "three bits a level");
    digits
        .iter()
        .zip(siblings)
        .fold(leaf.clone(), |node, (digit, siblings)| level(builder, &node, siblings, digit, rule))
}

/// The parent of a node that is its first child, position 0: 363 constraints, no selection.
pub fn first_child<B: Builder>(builder: &mut B, node: &B::Number, siblings: &[Fr; 7]) -> B::Number {
    let children: [B::Number; 8] = core::array::from_fn(|i| match i.checked_sub(1) {
        None => node.clone(),
        Some(sibling) => builder.witness(siblings[sibling]),
    });
    poseidon2::compress(builder, &children)
}
