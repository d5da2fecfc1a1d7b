//! What is remembered about a network in its folder, so that another command, or the next run, finds the
//! processes again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::genesis::Dealt;
use crate::process::ProcessName;

/// Name of the file in a network's folder.
const STATE_FILE: &str = "network.json";
/// A network of 64 nodes takes a few kilobytes.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// Why a network's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is a network already.
    #[error("there is a network in {0} already: hpips testnet down, or another --dir")]
    Exists(PathBuf),
    /// There is none.
    #[error("no network in {0}: hpips testnet up makes one")]
    Missing(PathBuf),
    /// Not what this program wrote.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// A network's nodes and processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    #[serde(skip)]
    dir: PathBuf,
    /// Who started it.
    pub owner: ProcessName,
    /// Its nodes in order.
    pub nodes: Vec<NodeState>,
    /// A folder where a node may have mounted `/ipfs`.
    pub mount: Option<PathBuf>,
    /// Whether it is to go on without its owner.
    pub is_kept: bool,
    /// A folder around this one that was made for it, and goes with it when nothing else is in there.
    pub around: Option<PathBuf>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its number, from 1.
    pub index: usize,
    /// Its account's address.
    pub account: String,
    /// Whether it has a seat in the genesis committee.
    pub is_validator: bool,
    /// Whether it was made to pledge.
    pub is_provider: bool,
    /// Its repo.
    pub repo: PathBuf,
    /// Its process, when it was started and not ended by us.
    pub process: Option<ProcessName>,
}

impl NodeState {
    pub(crate) fn of(dealt: &Dealt) -> Self {
        Self {
            index: dealt.index,
            account: dealt.account.to_string(),
            is_validator: dealt.is_validator,
            is_provider: dealt.is_provider,
            repo: dealt.repo.clone(),
            process: None,
        }
    }
}

impl State {
    /// The state of a new network in an existing folder.
    ///
    /// # Errors
    /// [`StateError::Exists`] when there is one.
    pub fn create(dir: &Path) -> Result<Self, StateError> {
        if dir.join(STATE_FILE).exists() {
            return Err(StateError::Exists(dir.to_owned()));
        }
        let state = Self {
            dir: dir.to_owned(),
            owner: ProcessName::own(),
            nodes: Vec::new(),
            mount: None,
            is_kept: false,
            around: None,
        };
        state.save()?;
        Ok(state)
    }

    /// As [`Self::create`], or the state that was created here for a network not started yet.
    ///
    /// # Errors
    /// [`StateError::Exists`] when there is a network with nodes.
    pub fn claim(dir: &Path) -> Result<Self, StateError> {
        match Self::load(dir) {
            Ok(state) if state.nodes.is_empty() => Ok(state),
            Ok(_) => Err(StateError::Exists(dir.to_owned())),
            Err(StateError::Missing(_)) => Self::create(dir),
            Err(error) => Err(error),
        }
    }

    /// The state of a network.
    ///
    /// # Errors
    /// [`StateError`] by variant.
    pub fn load(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(STATE_FILE);
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => StateError::Missing(dir.to_owned()),
            _ => StateError::Io { path: path.clone(), source },
        };
        if fs::metadata(&path).map_err(io)?.len() > STATE_BYTES_MAX {
            return Err(StateError::Damaged(path));
        }
        let text = fs::read_to_string(&path).map_err(io)?;
        let state: Self = serde_json::from_str(&text).map_err(|_| StateError::Damaged(path))?;
        Ok(Self { dir: dir.to_owned(), ..state })
    }

    /// Writes the state, whole or not at all.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn save(&self) -> Result<(), StateError> {
        let path = self.dir.join(STATE_FILE);
        let temporary = self.dir.join(format!("{STATE_FILE}.new"));
        let text = serde_json::to_string_pretty(self).expect("a state is plain JSON");
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The processes that may still run.
    pub fn processes(&self) -> Vec<ProcessName> {
        self.nodes.iter().filter_map(|node| node.process.clone()).collect()
    }
}
