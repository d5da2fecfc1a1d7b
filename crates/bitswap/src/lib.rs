//! hpips-bitswap
