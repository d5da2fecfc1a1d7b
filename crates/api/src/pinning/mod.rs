//! The IPFS Pinning Service API at `/pins`: others ask, this node pins (`docs/pinning.md`).
//!
//! <https://ipfs.github.io/pinning-services-api-spec/>, version 1.0.0. A request is remembered in a file of the repo
//! before it is answered, waits for its turn, is fetched in the background, and ends as an ordinary pin of the store.
//!
//! | module | does |
//! |---|---|
//! | `http` | the routes |
//! | `failure` | the form of every refusal |
//! | `object` | what a client sends, within its bounds |
//! | `filter` | which requests a list shows |
//! | `record` | a request as a file |
//! | `book` | all requests, and which pins they answer for |
//! | `service` | what is done with them, in the background and on demand |
//! | `origins` | connecting with those who are said to have the content |

mod book;
mod failure;
mod filter;
pub(crate) mod fuzzing;
mod http;
mod object;
mod origins;
mod record;
mod service;

#[cfg(test)]
mod tests;

pub(crate) use failure::Failure;
pub(crate) use http::router;
pub use service::{Config, Parts, Pinning};

/// Path of the service; everything below belongs to it.
pub(crate) const PREFIX: &str = "/pins";
