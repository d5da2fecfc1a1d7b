//! hpips-types
