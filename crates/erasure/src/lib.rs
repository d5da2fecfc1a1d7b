//! hpips-erasure
