//! What computes proofs.

use std::sync::Arc;

use hpips_circuits::prove::{Blinding, create};
use hpips_circuits::{Matrices, StoredKey, circuit};
use hpips_crypto::Fr;
use hpips_proofs::{CircuitKind, ProofBytes, Shape};
use rayon::ThreadPool;

use crate::key_store::{KeyStore, OpenKey};
use crate::prover::ProveError;

/// One proof to be computed.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    /// The values of all variables; they satisfy the circuit.
    pub(crate) values: &'a [Fr],
    /// What hides them.
    pub(crate) blinding: &'a Blinding,
}

/// A machine that computes proofs from values.
///
/// Nothing it says is believed: whatever comes out is verified before anybody sees it, and after an error, a
/// false proof or a panic it is unloaded and the next backend asked. Equal tasks give equal bytes on every
/// backend.
pub(crate) trait Backend: Send {
    /// What it is, for the log.
    fn name(&self) -> &'static str;

    /// Gets the keys of a circuit ready where they are used; they stay until another circuit's are loaded.
    fn load(&mut self, kind: CircuitKind) -> Result<(), ProveError>;

    /// Proves tasks of one circuit, one proof each, in order. Loads what is not loaded.
    fn prove(&mut self, kind: CircuitKind, tasks: &[Task<'_>]) -> Result<Vec<ProofBytes>, ProveError>;

    /// Frees the keys.
    fn unload(&mut self);
}

/// The processor, on the current rayon pool.
#[derive(Debug)]
pub(crate) struct Cpu {
    shape: Shape,
    store: KeyStore,
    pool: Arc<ThreadPool>,
    loaded: Option<Loaded>,
}

/// A circuit ready to prove: its matrices in memory, and its key's open file.
#[derive(Debug)]
struct Loaded {
    kind: CircuitKind,
    matrices: Matrices,
    key: StoredKey<OpenKey>,
}

impl Cpu {
    pub(crate) fn new(shape: Shape, store: KeyStore, pool: Arc<ThreadPool>) -> Self {
        Self { shape, store, pool, loaded: None }
    }

    fn keys(&mut self, kind: CircuitKind) -> Result<&Loaded, ProveError> {
        if self.loaded.as_ref().is_some_and(|loaded| loaded.kind != kind) {
            self.loaded = None;
        }
        if self.loaded.is_none() {
            let matrices = circuit::matrices(kind, &self.shape);
            let key = self.store.proving_key(kind, &matrices, &self.pool)?;
            self.loaded = Some(Loaded { kind, matrices, key });
        }
        Ok(self.loaded.as_ref().expect("just loaded"))
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn load(&mut self, kind: CircuitKind) -> Result<(), ProveError> {
        self.keys(kind).map(drop)
    }

    fn prove(&mut self, kind: CircuitKind, tasks: &[Task<'_>]) -> Result<Vec<ProofBytes>, ProveError> {
        let Loaded { key, matrices, .. } = self.keys(kind)?;
        tasks.iter().map(|task| Ok(create(key, matrices, task.values, task.blinding)?)).collect()
    }

    fn unload(&mut self) {
        self.loaded = None;
    }
}
