//! The HTTP interface of a node, both ends.
//!
//! [`Server`] listens on a loopback address and answers only callers that name this machine as host and come from no
//! foreign origin. All that spends coins, hands out secrets or changes who may do so also wants the token in the repo's
//! `api` file ([`Endpoint`]); the rest of Kubo's [`rpc`] does not, unless the configuration says so: any program of
//! this machine may call it, as with Kubo. [`pinning`] takes the same token as others take their access tokens, and
//! `/metrics` takes none. [`ApiClient`] is the other end, used by the command line, test networks and
//! tests. At the node's own endpoints reading is GET, changing is POST; every body is bounded; a refusal is an
//! [`ApiError`] with a code.

mod client;
pub mod content;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod names;
pub mod pinning;
mod profile;
pub mod routing;
mod server;

pub mod rpc;
pub mod view;

pub use client::{ApiClient, CallError, escape};
pub use content::ContentPath;
pub use endpoint::{ENDPOINT_FILE, Endpoint, EndpointError};
pub use error::{ApiError, ErrorCode, chain_text};
pub use profile::{ProfileRequest, parse_mode};
pub use server::{BindError, Feed, Host, Network, Parts, Server, routes};
