//! One node: its repo, its configuration, the rooms joined together, and how it starts and stops.
//!
//! [`Repo`] is the folder, [`Config`] what a person may set in it. A repo with a genesis takes part in that
//! network; without one it is a plain IPFS node.

mod repo;

pub mod config;

pub use config::{Config, ConfigError};
pub use repo::{Repo, RepoError, Start};
