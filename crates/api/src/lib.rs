//! hpips-api
