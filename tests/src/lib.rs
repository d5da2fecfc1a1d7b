//! hpips-tests
