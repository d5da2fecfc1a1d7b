//! Key files on disk.
//!
//! `<circuit>-<id>.vk` and `<circuit>-<id>.pk` lie side by side in one folder. Each appears by renaming a
//! complete, synced temporary file, so a reader sees a whole file or none. Missing or damaged ones are made
//! again under an exclusive lock on `<circuit>-<id>.lock`: of several processes one works, the others wait
//! and then find the files. The lock goes with the process that holds it, whatever ends it.
//!
//! A proving key stays in its file, open and read in pieces for each proof. Files are replaced by renaming and
//! never written in place, so an open one keeps its bytes; one that somebody cuts all the same is an error of
//! the proof that needs the bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hpips_circuits::{
    CircuitId, KeyError, KeySource, Matrices, SetupError, StoredKey, VerifyingKey, circuit, insecure_key,
};
use hpips_proofs::{CircuitKind, Shape};
use hpips_types::NetworkParams;
use rayon::ThreadPool;
use rustix::fs::FlockOperation;
use tracing::{info, warn};

/// Largest key file that is read, bytes: 2^24 constraints, sixteen times the largest circuit of `main`.
pub(crate) const FILE_BYTES_MAX: u64 = 10 << 30;
/// Largest verifying key that is read into memory, bytes: twenty times one of ours.
pub(crate) const VERIFYING_BYTES_MAX: u64 = 32 << 10;

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
    #[error("no proving key of network {network} in {}: fetch it with hpips prover keys get CID", path.display())]
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

/// An open file of the cache.
#[derive(Debug)]
pub(crate) struct OpenKey {
    file: File,
    bytes: u64,
}

impl KeySource for OpenKey {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }
}

impl OpenKey {
    /// `None` when there is no such file.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, KeyStoreError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("read", path, source)),
        };
        let bytes = file.metadata().map_err(|source| io_error("read", path, source))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(io_error("read", path, io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(Self { file, bytes }))
    }

    /// Reads it as a verifying key, every point checked.
    pub(crate) fn verifying_key(
        &self,
        circuit: CircuitId,
        params: &NetworkParams,
    ) -> Result<VerifyingKey, KeyError> {
        if self.bytes > VERIFYING_BYTES_MAX {
            return Err(KeyError::Length { got: self.bytes, expected: VERIFYING_BYTES_MAX });
        }
        let mut bytes = vec![0; usize::try_from(self.bytes).expect("a small file")];
        self.read_at(0, &mut bytes).map_err(|error| KeyError::Read(error.kind()))?;
        VerifyingKey::from_bytes(&bytes, circuit, params)
    }
}

/// One of the two keys of a circuit, as its file gives it.
trait Key: Sized {
    const EXTENSION: &'static str;
    fn open(file: OpenKey, kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError>;
}

impl Key for VerifyingKey {
    const EXTENSION: &'static str = "vk";

    fn open(file: OpenKey, kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError> {
        file.verifying_key(circuit::id(kind, &store.shape), &store.params)
    }
}

impl Key for StoredKey<OpenKey> {
    const EXTENSION: &'static str = "pk";

    fn open(file: OpenKey, kind: CircuitKind, store: &KeyStore) -> Result<Self, KeyError> {
        Self::open(file, circuit::id(kind, &store.shape), &store.params)
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
    ) -> Result<StoredKey<OpenKey>, KeyStoreError> {
        let hash = matrices.hash();
        self.load(kind, pool, |key: &StoredKey<OpenKey>| key.of().constraints == hash, Some(matrices))
    }

    fn load<K: Key + Send>(
        &self,
        kind: CircuitKind,
        pool: &ThreadPool,
        fits: impl Fn(&K) -> bool + Send + Sync,
        matrices: Option<&Matrices>,
    ) -> Result<K, KeyStoreError> {
        let path = self.path(kind, K::EXTENSION);
        let read = || -> Result<Option<K>, KeyStoreError> {
            let Some(file) = OpenKey::open(&path)? else { return Ok(None) };
            let opened = pool
                .install(|| K::open(file, kind, self))
                .and_then(|key| if fits(&key) { Ok(key) } else { Err(KeyError::Constraints) });
            match opened {
                Ok(key) => Ok(Some(key)),
                // A key of a test network can be made again; any other was put there by somebody.
                Err(error) if self.params.is_test() => {
                    warn!(path = %path.display(), %error, "key file unusable");
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
        if let Some(key) = read()? {
            return Ok(key);
        }
        self.make(kind, matrices, pool)?;
        // What was written is read back: a disk that keeps other bytes is noticed here.
        read()?.ok_or_else(|| io_error("read back", &path, io::ErrorKind::InvalidData.into()))
    }

    /// Makes both files. The caller holds the lock.
    fn make(
        &self,
        kind: CircuitKind,
        matrices: Option<&Matrices>,
        pool: &ThreadPool,
    ) -> Result<(), KeyStoreError> {
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
            let proving = self.path(kind, StoredKey::<OpenKey>::EXTENSION);
            let key = self.write(&proving, |file| {
                insecure_key(circuit::id(kind, &self.shape), matrices, &self.params, file)
            })?;
            // The verifying key last: whoever finds it may expect its proving key beside it.
            self.write(&self.path(kind, VerifyingKey::EXTENSION), |file| {
                file.write_all(&key.to_bytes()).map_err(SetupError::Write)
            })
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
    fn write<T>(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut File) -> Result<T, SetupError>,
    ) -> Result<T, KeyStoreError> {
        // One name for all: the lock admits one writer, which overwrites what a killed one left.
        let mut temporary = path.to_owned().into_os_string();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let written = File::create(&temporary).map_err(SetupError::Write).and_then(|mut file| {
            let filled = fill(&mut file)?;
            file.sync_all().map_err(SetupError::Write)?;
            Ok(filled)
        });
        let filled = written.map_err(|error| match error {
            SetupError::Write(source) => io_error("write", &temporary, source),
            other => KeyStoreError::Setup(other),
        })?;
        put_in_place(&temporary, path, &self.dir)?;
        Ok(filled)
    }
}

/// Gives a complete, synced file its name in a folder, also over a power cut.
pub(crate) fn put_in_place(temporary: &Path, path: &Path, dir: &Path) -> Result<(), KeyStoreError> {
    fs::rename(temporary, path).map_err(|source| io_error("rename", path, source))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| io_error("sync", dir, source))
}

/// What a circuit's file is called.
pub(crate) fn file_name(kind: CircuitKind, shape: &Shape, extension: &str) -> String {
    let id = circuit::id(kind, shape).to_string();
    format!("{}-{}.{extension}", circuit::name(kind), &id[..16])
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
