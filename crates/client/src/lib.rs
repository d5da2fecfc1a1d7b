//! hpips-client
