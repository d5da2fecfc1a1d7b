//! What a prover may use of the machine.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Memory for one proof where nothing else is said, bytes: enough for either circuit of `main`.
pub const MEMORY_BYTES: u64 = 1 << 30;
/// Jobs that wait at most where nothing else is said. Each keeps its witness, 0.6 MB at parameters of `main`.
pub const JOBS_MAX: usize = 32;

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
    /// Memory that one proof with its keys may take, bytes; what needs more is refused before it begins. Making
    /// the keys of a test network does not count.
    pub memory_bytes: u64,
    /// Jobs that may wait; more are refused.
    pub jobs_max: usize,
}

impl Config {
    /// All cores at nice 10.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            cache_dir: cache_dir.into(),
            threads,
            nice: 10,
            memory_bytes: MEMORY_BYTES,
            jobs_max: JOBS_MAX,
        }
    }

    /// The same with another number of threads.
    #[must_use]
    pub fn threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }
}
