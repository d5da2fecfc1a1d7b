//! Key files on disk.
//!
//! `<circuit>-<id>.vk` and `<circuit>-<id>.pk` lie side by side in one folder. Each appears by renaming a
//! complete, synced temporary file, so a reader sees a whole file or none. Missing or damaged ones are made
//! again under an exclusive lock on `<circuit>-<id>.lock`: of several processes one works, the others wait
//! and then find the files. The lock goes with the process that holds it, whatever ends it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hpips_circuits::{KeyError, Matrices, ProvingKey, SetupError, VerifyingKey, circuit, insecure_key};
use hpips_proofs::{CircuitKind, Shape};
use hpips_types::NetworkParams;
use rayon::ThreadPool;
use rustix::fs::FlockOperation;
use tracing::{info, warn};

/// Largest key file that is read, bytes: 2^24 constraints, sixteen times the largest circuit of `main`.
const FILE_BYTES_MAX: u64 = 10 << 30;

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A file of the cache cannot be read or written.
    #[error("key cache: cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A key that is not made here is missing or damaged.
    #[error("no proving key of network {network} in {}: put the ceremony's file there", path.display())]
    Absent {
        /// The network's name.
        network: String,
        /// Where it belongs.
        path: PathBuf,
    },
    /// A key file that must not be replaced is refused.
    #[error("key file {} is refused", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// No key can be made.
    #[error("no key was made")]
    Setup(#[source] SetupError),
}

/// The keys of one network.
#[derive(Debug)]
pub(crate) struct KeyStore {
    dir: PathBuf,
    params: NetworkParams,
    shape: Shape,
}

/// One of the two files of a circuit.
trait KeyFile: Sized {
    const EXTENSION: &'static str;
    fn parse(bytes: &[u8], kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError>;
    fn of_proving_key(key: ProvingKey) -> Self;
}

impl KeyFile for VerifyingKey {
    const EXTENSION: &'static str = "vk";

    fn parse(bytes: &[u8], kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError> {
        Self::from_bytes(bytes, circuit::id(kind, &store.shape), &store.params)
    }

    fn of_proving_key(key: ProvingKey) -> Self {
        key.verifying_key()
    }
}

impl KeyFile for ProvingKey {
    const EXTENSION: &'static str = "pk";

    fn parse(bytes: &[u8], kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError> {
        Self::from_bytes(bytes, circuit::id(kind, &store.shape), &store.params)
    }

    fn of_proving_key(key: ProvingKey) -> Self {
        key
    }
}

impl KeyStore {
    pub(crate) fn open(dir: &Path, params: &NetworkParams, shape: Shape) -> Result<Self, KeyStoreError> {
        fs::create_dir_all(dir).map_err(|source| io_error("create", dir, source))?;
        Ok(Self { dir: dir.to_owned(), params: params.clone(), shape })
    }

    /// The verifying key of a circuit. Made, with its proving key, when a test network has none yet.
    pub(crate) fn verifying_key(
        &self,
        kind: CircuitKind,
        pool: &ThreadPool,
    ) -> Result<VerifyingKey, KeyStoreError> {
        self.load(kind, pool, |key: &VerifyingKey| key.inputs() == kind.inputs(), None)
    }

    /// The proving key of a circuit for these constraints. Made when a test network has none yet.
    pub(crate) fn proving_key(
        &self,
        kind: CircuitKind,
        matrices: &Matrices,
        pool: &ThreadPool,
    ) -> Result<ProvingKey, KeyStoreError> {
        let hash = matrices.hash();
        self.load(kind, pool, |key: &ProvingKey| key.of().constraints == hash, Some(matrices))
    }

    fn load<K: KeyFile + Send>(
        &self,
        kind: CircuitKind,
        pool: &ThreadPool,
        fits: impl Fn(&K) -> bool + Send + Sync,
        matrices: Option<&Matrices>,
    ) -> Result<K, KeyStoreError> {
        let path = self.path(kind, K::EXTENSION);
        let read = || -> Result<Option<K>, KeyStoreError> {
            let Some(bytes) = read_file(&path)? else { return Ok(None) };
            let parsed = pool
                .install(|| K::parse(&bytes, kind, self))
                .and_then(|key| if fits(&key) { Ok(key) } else { Err(KeyError::Constraints) });
            match parsed {
                Ok(key) => Ok(Some(key)),
                // A key of a test network can be made again; any other was put there by somebody.
                Err(error) if self.params.is_test() => {
                    warn!(path = %path.display(), %error, "key file unusable, making it again");
                    Ok(None)
                }
                Err(source) => Err(KeyStoreError::Refused { path: path.clone(), source }),
            }
        };
        if let Some(key) = read()? {
            return Ok(key);
        }
        if !self.params.is_test() {
            return Err(KeyStoreError::Absent { network: self.params.name.clone(), path });
        }
        let _lock = self.lock(kind)?;
        match read()? {
            Some(key) => Ok(key),
            None => self.make(kind, matrices, pool).map(K::of_proving_key),
        }
    }

    /// Makes both files. The caller holds the lock.
    fn make(
        &self,
        kind: CircuitKind,
        matrices: Option<&Matrices>,
        pool: &ThreadPool,
    ) -> Result<ProvingKey, KeyStoreError> {
        pool.install(|| {
            let recorded;
            let matrices = match matrices {
                Some(matrices) => matrices,
                None => {
                    recorded = circuit::matrices(kind, &self.shape);
                    &recorded
                }
            };
            info!(
                circuit = circuit::name(kind),
                constraints = matrices.constraints(),
                "making an insecure test key: anybody can forge proofs on this network"
            );
            let key = insecure_key(circuit::id(kind, &self.shape), matrices, &self.params)
                .map_err(KeyStoreError::Setup)?;
            // The verifying key last: whoever finds it may expect its proving key beside it.
            self.write(&self.path(kind, ProvingKey::EXTENSION), &key.to_bytes())?;
            self.write(&self.path(kind, VerifyingKey::EXTENSION), &key.verifying_key().to_bytes())?;
            Ok(key)
        })
    }

    fn path(&self, kind: CircuitKind, extension: &str) -> PathBuf {
        self.dir.join(file_name(kind, &self.shape, extension))
    }

    fn lock(&self, kind: CircuitKind) -> Result<File, KeyStoreError> {
        let path = self.path(kind, "lock");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| io_error("open", &path, source))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(io_error("lock", &path, errno.into())),
            }
        }
    }

    /// Writes a file so that it is seen whole or not at all, even after a power cut.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
        // One name for all: the lock admits one writer, which overwrites what a killed one left.
        let mut temporary = path.to_owned().into_os_string();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|source| io_error("write", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| io_error("rename", path, source))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| io_error("sync", &self.dir, source))
    }
}

/// What a circuit's file is called.
pub(crate) fn file_name(kind: CircuitKind, shape: &Shape, extension: &str) -> String {
    let id = circuit::id(kind, shape).to_string();
    format!("{}-{}.{extension}", circuit::name(kind), &id[..16])
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.to_owned(), source }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, KeyStoreError> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", path, source)),
    };
    if size > FILE_BYTES_MAX {
        return Err(io_error("read", path, io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map(Some).map_err(|source| io_error("read", path, source))
}

#[cfg(test)]
mod tests;
