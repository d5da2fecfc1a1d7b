//! hpips-testnet
