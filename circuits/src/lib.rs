//! hpips-circuits
