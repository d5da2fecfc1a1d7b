//! What the commands act on.

use std::path::PathBuf;
use std::sync::Arc;

use cid::Cid;
use hpips_client::blocks::Local;
use hpips_client::{BlockGetter, FetchOptions, Files, NetBlocks};
use hpips_dag::Profile;
use hpips_net::Net;
use hpips_store::Store;
use serde_json::Value;
use zeroize::Zeroizing;

use super::call::Call;
use super::error::RpcError;
use crate::names::Names;
use crate::server::{Host, Network};

/// The node's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As libp2p writes it.
    pub peer_id: String,
    /// The key in libp2p's protobuf form.
    pub public_key: Vec<u8>,
    /// Its account, hexadecimal.
    pub account: String,
}

/// Why a setting was not read or changed; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No such key.
    #[error("no setting named {key:?}{}", near.iter().map(|near| format!("; did you mean {near}?")).collect::<String>())]
    Unknown {
        /// What was asked for.
        key: String,
        /// A name close to it.
        near: Option<String>,
    },
    /// The value is not one of this key.
    #[error("{key} was not changed: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The file.
    #[error("the configuration cannot be used")]
    File(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A person's settings, kept by whoever owns the repo. Every change is checked as a whole before any of it is
/// written, and is durable when it returns.
pub trait Settings: Send + Sync + 'static {
    /// All of them, without secrets.
    ///
    /// # Errors
    /// [`SettingsError`].
    fn show(&self) -> Result<Value, SettingsError>;

    /// One of them; `key` may be dotted.
    ///
    /// # Errors
    /// [`SettingsError`].
    fn get(&self, key: &str) -> Result<Value, SettingsError>;

    /// Changes one of them.
    ///
    /// # Errors
    /// [`SettingsError`]; nothing was changed then.
    fn set(&self, key: &str, value: Value) -> Result<(), SettingsError>;

    /// Changes all of them at once.
    ///
    /// # Errors
    /// [`SettingsError`]; nothing was changed then.
    fn replace(&self, all: Value) -> Result<(), SettingsError>;

    /// Applies a named set of changes, unless `dry_run`; returns all settings before and after.
    ///
    /// # Errors
    /// [`SettingsError`]; nothing was changed then.
    fn apply_profile(&self, name: &str, dry_run: bool) -> Result<(Value, Value), SettingsError>;

    /// Bytes of blocks the store may hold.
    fn storage_max(&self) -> u64;
}

/// A key and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// Its name.
    pub name: String,
    /// The key's libp2p name.
    pub peer_id: String,
}

/// Why nothing was done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key of this name.
    #[error("no key named {0} was found")]
    Missing(String),
    /// There is one.
    #[error("key with name '{0}' already exists")]
    Exists(String),
    /// The name of the node's own key.
    #[error("cannot {0} key with name 'self'")]
    Own(&'static str),
    /// No name of a key.
    #[error("{0:?} is no name of a key")]
    Name(String),
    /// Not a key that is understood.
    #[error("not an ed25519 key: {0}")]
    Malformed(&'static str),
    /// The system has no randomness.
    #[error("no randomness for a key")]
    Randomness,
    /// The file system.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The keys of a repo, ed25519, each under a name; `self` is the node's own and cannot be changed here.
pub trait Keys: Send + Sync + 'static {
    /// All of them, sorted by name, `self` first.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    fn list(&self) -> Result<Vec<NamedKey>, KeyError>;

    /// Makes a key, from this seed or a random one.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    fn add(&self, name: &str, seed: Option<Zeroizing<[u8; 32]>>) -> Result<NamedKey, KeyError>;

    /// Gives a key another name; with `force` over one that is there. Returns the key and whether one was lost.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    fn rename(&self, from: &str, to: &str, force: bool) -> Result<(NamedKey, bool), KeyError>;

    /// Removes a key for good.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    fn remove(&self, name: &str) -> Result<NamedKey, KeyError>;

    /// The secret of a key, that of `self` too.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    fn seed(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError>;
}

/// What a running node has besides.
#[derive(Clone)]
pub struct Online {
    /// The network.
    pub net: Net,
    /// The chain's side, of a node that joined one.
    pub network: Option<Network>,
    /// The process.
    pub host: Arc<dyn Host>,
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Online").field("network", &self.network.is_some()).finish_non_exhaustive()
    }
}

/// What a [`State`] is made of.
pub struct Parts {
    /// The blocks.
    pub store: Store,
    /// The node's name.
    pub identity: Identity,
    /// The settings.
    pub settings: Arc<dyn Settings>,
    /// The keys.
    pub keys: Arc<dyn Keys>,
    /// What names stand for.
    pub names: Names,
    /// Folder of the repo.
    pub repo: PathBuf,
    /// What a running node has; without it, commands that need one say so.
    pub online: Option<Online>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("repo", &self.repo)
            .field("online", &self.online)
            .finish_non_exhaustive()
    }
}

/// What the commands act on; clones share it.
#[derive(Clone, Debug)]
pub struct State {
    parts: Arc<Parts>,
    files: Arc<Files>,
}

impl State {
    /// A state of these parts.
    pub fn new(parts: Parts) -> Self {
        let blocks = Arc::new(Local(parts.store.clone()));
        let files = Files::new(parts.store.clone(), blocks, Profile::default());
        Self { parts: Arc::new(parts), files: Arc::new(files) }
    }

    /// The mutable files. What of them is not here comes from peers, unless the caller wants otherwise.
    pub(super) fn files(&self, call: &Call) -> Result<Files, RpcError> {
        let blocks = match self.parts.online.as_ref() {
            Some(online) if !call.is_offline()? => self.peer_blocks(online),
            _ => self.local(),
        };
        Ok(self.files.reading(call.attended(blocks)))
    }

    /// Blocks from the store and from peers that are connected.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    fn peer_blocks(&self, online: &Online) -> Arc<dyn BlockGetter> {
        Arc::new(NetBlocks::new(&online.net, &self.parts.store, Vec::new(), FetchOptions::of(&online.net)))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(super) fn store(&self) -> Store {
        self.parts.store.clone()
    }

    pub(super) fn online(&self) -> Result<&Online, RpcError> {
        self.parts.online.as_ref().ok_or_else(RpcError::offline)
    }

    /// The blocks that are here.
    pub(super) fn local(&self) -> Arc<dyn BlockGetter> {
        Arc::new(Local(self.store()))
    }

    /// Blocks below a root, from the store and, unless the caller wants otherwise, from holders and peers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn blocks(&self, root: &Cid, offline: bool) -> Arc<dyn BlockGetter> {
        match self.parts.online.as_ref().filter(|_| !offline) {
            None => self.local(),
            Some(Online { network: Some(network), .. }) => Arc::new(network.client.blocks_lazily(*root)),
            Some(online) => self.peer_blocks(online),
        }
    }
}
