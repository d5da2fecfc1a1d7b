//! hpips-crypto
