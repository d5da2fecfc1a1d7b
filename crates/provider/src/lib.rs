//! hpips-provider
