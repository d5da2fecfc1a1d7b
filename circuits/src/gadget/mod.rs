//! Pieces that the circuits are made of, each the twin of a function of `crypto`.
//!
//! Constraints of each: a Poseidon2 permutation of width 3, 4, 8 takes 240, 264, 363; a level of a Merkle
//! tree 370; a bit 1.

pub mod bits;
pub mod merkle;
pub mod poseidon2;

#[cfg(test)]
mod tests;
