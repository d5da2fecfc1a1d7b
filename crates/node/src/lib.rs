//! hpips-node
