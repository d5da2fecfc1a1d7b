//! hpips-chain
