//! hpips-store
