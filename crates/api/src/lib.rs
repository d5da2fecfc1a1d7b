//! The HTTP interface of a node, both ends.
//!
//! [`Server`] listens on a loopback address and answers only callers that name this machine as host, come
//! from no foreign origin and know the token in the repo's `api` file ([`Endpoint`]). [`ApiClient`] is the
//! other end, used by the command line, test networks and tests. Reading is GET, changing is POST; every
//! body is bounded; a refusal is an [`ApiError`] with a code.

mod client;
pub mod content;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
mod server;

pub mod rpc;
pub mod view;

pub use client::{ApiClient, CallError, escape};
pub use content::ContentPath;
pub use endpoint::{ENDPOINT_FILE, Endpoint, EndpointError};
pub use error::{ApiError, ErrorCode, chain_text};
pub use server::{BindError, Feed, Host, Network, Parts, Server, routes};
