//! hpips-fuse
