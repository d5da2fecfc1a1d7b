//! The repo: one folder that holds a node's key, configuration, network and data.
//!
//! ```text
//! key      32 bytes, the ed25519 seed of account, peer and validator; owner only
//! config   JSON
//! genesis  dag-cbor, names the network; absent in a plain IPFS node
//! seat     a validator's share of the committee's key; owner only
//! api      address and token while a node runs
//! keystore/ further keys, a file each; owner only
//! pinning/  what others asked to be pinned, a file a request
//! blocks/ chain/ provider/ client/   data of the rooms
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hpips_net::PrivateKey;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError};

const KEY_FILE: &str = "key";
/// Where Kubo has it too.
const PRIVATE_KEY_FILE: &str = "swarm.key";
/// Bytes of it at most.
const KEY_FILE_BYTES_MAX: u64 = hpips_net::KEY_FILE_BYTES_MAX as u64;
const GENESIS_FILE: &str = "genesis";
const SEAT_FILE: &str = "seat";
/// A genesis with a committee of 64 and thousands of named accounts stays far below.
const GENESIS_BYTES_MAX: u64 = 16 << 20;

/// What to do where the system forbids it.
fn way_out(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            " (change its owner or mode, or choose another repo with --repo-dir)"
        }
        _ => "",
    }
}

/// Why a repo cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// There is none.
    #[error("no repo at {0}: make one with hpips init")]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a repo at {0} already; nothing was changed")]
    Exists(PathBuf),
    /// Neither `HPIPS_PATH` nor a home folder says where it is.
    #[error("no place for the repo: set HPIPS_PATH or HOME")]
    NoPlace,
    /// The file system refused.
    #[error("cannot use {path}{}", way_out(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is wrong.
    #[error("the configuration is not usable")]
    Config(#[from] ConfigError),
    /// A file of the wrong length.
    #[error("{path} is damaged: {bytes} bytes")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The key of the private network is none.
    #[error("{path} is not usable; without the file the node joins the open network")]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: hpips_net::PrivateKeyError,
    },
    /// The system has no randomness for a key.
    #[error("no randomness for a key")]
    Randomness,
}

/// A node's folder.
#[derive(Clone, Debug)]
pub struct Repo {
    path: PathBuf,
}

/// What a new repo starts from besides its configuration.
#[derive(Default)]
pub struct Start<'a> {
    /// Seed of the key; drawn from the system when absent.
    pub seed: Option<Zeroizing<[u8; 32]>>,
    /// Genesis of the network to join, encoded.
    pub genesis: Option<&'a [u8]>,
}

impl std::fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("genesis", &self.genesis.is_some()).finish_non_exhaustive()
    }
}

impl Repo {
    /// Where the repo is when nothing else is said: `HPIPS_PATH`, then `~/.hpips`.
    ///
    /// # Errors
    /// [`RepoError::NoPlace`].
    pub fn default_path() -> Result<PathBuf, RepoError> {
        if let Some(path) = std::env::var_os("HPIPS_PATH").filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or(RepoError::NoPlace)?;
        Ok(PathBuf::from(home).join(".hpips"))
    }

    /// Makes a repo with a new key. The key is written last: a folder without it is no repo, so an
    /// interrupted `init` can be repeated.
    ///
    /// # Errors
    /// [`RepoError`] by variant.
    pub fn init(path: &Path, config: &Config, start: Start<'_>) -> Result<Self, RepoError> {
        let repo = Self { path: path.to_owned() };
        if repo.path.join(KEY_FILE).exists() {
            return Err(RepoError::Exists(repo.path));
        }
        let seed = match start.seed {
            Some(seed) => seed,
            None => {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(seed.as_mut()).map_err(|_| RepoError::Randomness)?;
                seed
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| RepoError::Io { path: path.to_owned(), source })?;
        config.write(path)?;
        for (name, bytes, mode) in [(GENESIS_FILE, start.genesis, 0o644), (KEY_FILE, Some(&seed[..]), 0o600)]
        {
            if let Some(bytes) = bytes {
                let file = repo.path.join(name);
                write_file(&file, bytes, mode).map_err(|source| RepoError::Io { path: file, source })?;
            }
        }
        Ok(repo)
    }

    /// Opens a repo.
    ///
    /// # Errors
    /// [`RepoError::Missing`] when there is no key in the folder.
    pub fn open(path: &Path) -> Result<Self, RepoError> {
        if path.join(KEY_FILE).exists() {
            Ok(Self { path: path.to_owned() })
        } else {
            Err(RepoError::Missing(path.to_owned()))
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A room's folder, made when missing.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn folder(&self, name: &str) -> Result<PathBuf, RepoError> {
        let path = self.path.join(name);
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(RepoError::Io { path, source }),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`RepoError::Config`].
    pub fn config(&self) -> Result<Config, RepoError> {
        Ok(Config::read(&self.path)?)
    }

    /// The seed of the node's key.
    ///
    /// # Errors
    /// [`RepoError`] by variant.
    pub fn seed(&self) -> Result<Zeroizing<[u8; 32]>, RepoError> {
        let path = self.path.join(KEY_FILE);
        let bytes =
            Zeroizing::new(read_file(&path, 32)?.ok_or_else(|| RepoError::Missing(self.path.clone()))?);
        let seed: [u8; 32] = bytes[..].try_into().map_err(|_| RepoError::Damaged {
            path,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        })?;
        Ok(Zeroizing::new(seed))
    }

    /// The network's genesis, encoded; `None` in a plain IPFS node.
    ///
    /// # Errors
    /// [`RepoError`] by variant.
    pub fn genesis(&self) -> Result<Option<Vec<u8>>, RepoError> {
        read_file(&self.path.join(GENESIS_FILE), GENESIS_BYTES_MAX)
    }

    /// The key of a private network, from the file `swarm.key`; `None` where there is none.
    ///
    /// # Errors
    /// [`RepoError`] by variant.
    pub fn private_key(&self) -> Result<Option<PrivateKey>, RepoError> {
        let path = self.path.join(PRIVATE_KEY_FILE);
        let Some(bytes) = read_file(&path, KEY_FILE_BYTES_MAX)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        text.parse().map(Some).map_err(|source| RepoError::PrivateKey { path, source })
    }

    /// Where a validator's seat in the committee is kept; a node without the file follows.
    pub fn seat_path(&self) -> PathBuf {
        self.path.join(SEAT_FILE)
    }
}

/// The user's cache folder of this program: `XDG_CACHE_HOME/hpips`, else `~/.cache/hpips`.
pub fn cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    cache.or_else(|| set("HOME").map(|home| home.join(".cache"))).map(|cache| cache.join("hpips"))
}

/// A whole file of at most `bytes_max`, or `None` when there is none.
fn read_file(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, RepoError> {
    let io = |source| RepoError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(meta) if meta.len() > bytes_max => {
            Err(RepoError::Damaged { path: path.to_owned(), bytes: meta.len() })
        }
        Ok(_) => fs::read(path).map(Some).map_err(io),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}

/// Writes a file so that a reader sees the old one or the whole new one, also after a power cut.
pub(crate) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_and_secrets_are_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repo");
        assert!(matches!(Repo::open(&path), Err(RepoError::Missing(_))));
        let start = Start { genesis: Some(b"g"), ..Start::default() };
        let repo = Repo::init(&path, &Config::default(), start).unwrap();
        assert!(matches!(Repo::init(&path, &Config::default(), Start::default()), Err(RepoError::Exists(_))));
        let seed = repo.seed().unwrap();
        assert_eq!(*Repo::open(&path).unwrap().seed().unwrap(), *seed);
        assert_eq!(repo.genesis().unwrap().as_deref(), Some(&b"g"[..]));
        assert_eq!(fs::metadata(path.join(KEY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path.join(KEY_FILE), [0; 31]).unwrap();
        assert!(matches!(repo.seed(), Err(RepoError::Damaged { bytes: 31, .. })));
    }
}
