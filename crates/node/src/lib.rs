//! One node: its repo, its configuration, the rooms joined together, and how it starts and stops.
//!
//! [`Repo`] is the folder, [`Config`] what a person may set in it, [`run`] the node. A repo with a genesis
//! takes part in that network; without one it is a plain IPFS node.

mod daemon;
mod gateway;
mod host;
mod keys;
mod offline;
mod providing;
mod records;
mod repo;
mod republish;
mod settings;
mod verifier;

pub mod config;

use std::path::Path;

use hpips_ledger::Genesis;
use hpips_types::AccountId;

pub use config::{Config, ConfigError};
pub use daemon::{BLOCKS, KEYS, RunError, prover_config, run};
pub use offline::{migrate, offline, open_store};
pub use repo::{Repo, RepoError, Start, cache_dir};

/// Reads and checks a genesis file.
///
/// # Errors
/// [`GenesisFileError`] by variant.
pub fn read_genesis(path: &Path) -> Result<Genesis, GenesisFileError> {
    let io = |source| GenesisFileError::Io { path: path.to_owned(), source };
    let bytes_max = u64::try_from(hpips_ledger::GENESIS_BYTES_MAX).unwrap_or(u64::MAX);
    if std::fs::metadata(path).map_err(io)?.len() > bytes_max {
        return Err(GenesisFileError::TooLong(path.to_owned()));
    }
    let genesis = daemon::decode_genesis(&std::fs::read(path).map_err(io)?)?;
    genesis.check()?;
    Ok(genesis)
}

/// Why a file is no genesis.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Longer than any genesis.
    #[error("{0} is no genesis file: too long")]
    TooLong(std::path::PathBuf),
    /// Not canonical dag-cbor of a genesis.
    #[error("not a genesis file")]
    Malformed(#[from] hpips_types::cbor::CborError),
    /// It contradicts itself.
    #[error("a genesis that gives no chain")]
    Genesis(#[from] hpips_ledger::GenesisError),
}

/// The libp2p name of an account.
pub fn peer_id(account: &AccountId) -> String {
    hpips_net::identity::peer_of(account).map(|peer| peer.to_string()).unwrap_or_default()
}
