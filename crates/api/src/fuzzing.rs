//! Decoders that nobody outside calls, for the fuzz targets in `tests/fuzz` alone.

pub use crate::gateway::fuzzing::{ranges, redirects, request};
pub use crate::pinning::fuzzing::request as pin_request;
pub use crate::routing::fuzz_answer as routing_answer;
pub use crate::rpc::fuzzing::{multipart, query};
