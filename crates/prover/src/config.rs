//! What a prover may use of the machine.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Configuration of a [`Prover`](crate::Prover).
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of key files, made when missing. Several processes may share it; about 600 bytes of disk a
    /// constraint, 22 MB at `dev` parameters.
    pub cache_dir: PathBuf,
    /// Threads that make keys and proofs. More are faster and take that much from the machine's owner.
    pub threads: NonZeroUsize,
    /// Priority of those threads, 0 (as others) to 19 (only what is left).
    pub nice: u8,
}

impl Config {
    /// All cores at nice 10.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { cache_dir: cache_dir.into(), threads, nice: 10 }
    }

    /// The same with another number of threads.
    #[must_use]
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }
}
