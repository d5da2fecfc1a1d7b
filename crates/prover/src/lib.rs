//! hpips-prover
