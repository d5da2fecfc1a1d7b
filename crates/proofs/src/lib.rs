//! hpips-proofs
