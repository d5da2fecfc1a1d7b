//! Hashes, signatures, commitments and draws: the arithmetic that everything agreed on rests on.
//!
//! Pure functions of their arguments. Nothing here reads a clock, a random source or a file; whoever needs a
//! fresh key brings its seed. In reading order:
//!
//! - [`field`]: the scalar field of BLS12-381, to and from bytes;
//! - [`poseidon2`]: the permutation at widths 2, 3, 4 and 8, compressions and [`poseidon2::Sponge8`];
//! - [`lanes`]: the same for many states at once, in the vector instructions of the machine;
//! - [`merkle`]: arity-8 trees, padded with virtual zeros;
//! - [`draw`]: numbers from a beacon, the same on every machine and in every version;
//! - [`sign`]: ed25519 with a domain in every message.
//!
//! BLAKE3 is the crate `blake3`; SHA-256 of bytes is `hpips_types::content::sha256`.
//!
//! ```
//! use hpips_crypto::{Fr, field, merkle::Tree, poseidon2};
//! let leaves: Vec<Fr> = field::pack31(b"thirty-one bytes make one field element").collect();
//! let tree = Tree::build(&leaves, 2);
//! let path = tree.open(1);
//! assert_eq!(path.root(leaves[1], 1), Some(tree.root()));
//! let digest = poseidon2::sponge8(&leaves);
//! assert_eq!(field::from_bytes(&field::to_bytes(&digest)), Some(digest));
//! ```

#![deny(unsafe_code)]

pub mod draw;
pub mod field;
pub mod lanes;
pub mod merkle;
pub mod poseidon2;
pub mod sign;

pub use ark_bls12_381::Fr;
