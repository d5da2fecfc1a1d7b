//! hpips-placement
