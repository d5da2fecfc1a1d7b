//! The commands of the RPC on a repo, with or without a running node.

use std::sync::Arc;

use axum::Router;
use hpips_api::names::Names;
use hpips_api::routing::Routers;
use hpips_api::rpc::{self, Identity, Online, State};
use hpips_crypto::sign::SecretKey;
use hpips_store::Store;

use crate::config::Config;
use crate::daemon::{BLOCKS, RunError};
use crate::keys::KeyFolder;
use crate::records::RecordFolder;
use crate::repo::Repo;
use crate::settings::RepoSettings;

/// libp2p's protobuf of an ed25519 public key: type 1, then 32 bytes.
const PUBLIC_KEY: &[u8] = &[0x08, 0x01, 0x12, 0x20];

/// The commands of the RPC on a repo that no node runs on, to be called in this process. Commands that need a node say
/// so.
///
/// # Errors
/// [`RunError::Store`] when a node or another command has the repo, [`RunError::Repo`] when it cannot be used.
pub fn offline(repo: &Repo) -> Result<Router, RunError> {
    let store = open_store(repo)?;
    Ok(rpc::in_process(rpc::router(state(repo, store, names(repo, Routers::none())?, None)?)))
}

/// Opens the blocks of a repo that no node runs on, within the limits of its configuration.
///
/// # Errors
/// [`RunError::Store`] when a node or another command has the repo, [`RunError::Repo`] when it cannot be used.
pub fn open_store(repo: &Repo) -> Result<Store, RunError> {
    Ok(Store::open(repo.folder(BLOCKS)?, store_config(&repo.config()?))?)
}

/// A person's settings.
pub(crate) fn settings(repo: &Repo) -> Result<Arc<RepoSettings>, RunError> {
    let account = SecretKey::from_seed(&*repo.seed()?).account();
    Ok(Arc::new(RepoSettings::new(repo.path().to_owned(), crate::peer_id(&account))))
}

/// Brings the store of a repo that no node runs on to this program's format.
///
/// # Errors
/// As [`Store::migrate`].
pub fn migrate(repo: &Repo) -> Result<(), RunError> {
    Store::migrate(repo.folder(BLOCKS)?)?;
    Ok(())
}

/// Limits of the store.
fn store_config(config: &Config) -> hpips_store::Config {
    let default = hpips_store::Config::default();
    hpips_store::Config { bytes_max: config.storage_max.unwrap_or(u64::MAX), ..default }
}

/// What names stand for, with the records of this repo.
pub(crate) fn names(repo: &Repo, routers: Routers) -> Result<Names, RunError> {
    Ok(Names::new(Arc::new(RecordFolder::new(repo)?), routers))
}

/// The keys of a repo.
pub(crate) fn keys(repo: &Repo) -> Result<Arc<KeyFolder>, RunError> {
    let account = SecretKey::from_seed(&*repo.seed()?).account();
    Ok(Arc::new(KeyFolder::new(repo, crate::peer_id(&account))?))
}

/// What the commands act on.
pub(crate) fn state(
    repo: &Repo,
    store: Store,
    names: Names,
    online: Option<Online>,
) -> Result<State, RunError> {
    let account = SecretKey::from_seed(&*repo.seed()?).account();
    let peer_id = crate::peer_id(&account);
    let identity = Identity {
        peer_id,
        public_key: [PUBLIC_KEY, account.as_bytes()].concat(),
        account: account.to_string(),
    };
    Ok(State::new(rpc::Parts {
        store,
        identity,
        settings: settings(repo)?,
        keys: keys(repo)?,
        names,
        repo: repo.path().to_owned(),
        online,
    }))
}
