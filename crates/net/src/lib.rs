//! hpips-net
