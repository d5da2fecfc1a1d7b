//! The queue, the keys in memory and one proof at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hpips_circuits::prove::{Blinding, CreateError, create};
use hpips_circuits::verifier::WrongKey;
use hpips_circuits::{AssignError, Matrices, StoredKey, Verifier, VerifyError, Witness, assign, circuit};
use hpips_crypto::Fr;
use hpips_proofs::shape::ShapeError;
use hpips_proofs::{CircuitKind, ProofBytes, ProofVerifier, Shape, Statement};
use hpips_types::NetworkParams;
use rayon::ThreadPool;
use tracing::{debug, warn};

use crate::config::Config;
use crate::key_store::{KeyFile, KeyStore, KeyStoreError};
use crate::pool::{self, PoolError};

/// Why there is no prover or verifier.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The network's parameters give no circuits.
    #[error("network parameters give no circuits")]
    Shape(#[from] ShapeError),
    /// No threads.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A key that does not belong to this network's shape.
    #[error(transparent)]
    WrongKey(#[from] WrongKey),
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// A statement of a network with other parameters.
    #[error("statement of another shape")]
    Shape,
    /// The witness does not show the statement.
    #[error("nothing was proven")]
    Witness(#[from] AssignError),
    /// The proving key is not to be had.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The proving key does not fit the circuit.
    #[error("proving failed")]
    Create(#[from] CreateError),
    /// The system gave no randomness.
    #[error("no randomness for the proof")]
    Randomness(#[source] getrandom::Error),
    /// The finished proof does not verify: broken memory, device or key. It was thrown away.
    #[error("the proof that was made does not verify; it was thrown away")]
    SelfCheck(#[source] VerifyError),
}

/// A circuit ready to prove: about 90 bytes of memory a constraint for its matrices, and its key's open file.
#[derive(Debug)]
struct Loaded {
    kind: CircuitKind,
    matrices: Matrices,
    key: StoredKey<KeyFile>,
}

/// Makes the proofs of one network on this machine.
///
/// One proof at a time: a second call waits for the first. The matrices of the circuit proven last stay in
/// memory, at most 3 MB at `dev` parameters; a proof of the other circuit replaces them.
#[derive(Debug)]
pub struct Prover {
    shape: Shape,
    store: KeyStore,
    pool: ThreadPool,
    verifier: Arc<Verifier>,
    /// The queue, too: whoever holds it proves.
    loaded: Mutex<Option<Loaded>>,
}

impl Prover {
    /// Opens the key cache of a network and makes keys that a test network lacks: seconds of all threads
    /// once, shared by all processes that use the folder; a process that finds another at work waits for it.
    ///
    /// # Errors
    /// [`OpenError`] by variant.
    pub fn open(config: Config, params: &NetworkParams) -> Result<Self, OpenError> {
        let Opened { shape, store, pool, verifier } = Opened::open(&config, params)?;
        Ok(Self { shape, store, pool, verifier: Arc::new(verifier), loaded: Mutex::new(None) })
    }

    /// Proves a statement. Blocks for seconds: call it from a thread that may, never from a rayon pool, whose
    /// thread could take up a second call while it waits inside the first.
    ///
    /// A witness that does not show the statement is refused within milliseconds, before it queues. What is
    /// returned was verified.
    ///
    /// # Errors
    /// [`ProveError`] by variant.
    pub fn prove(&self, statement: &Statement, witness: &Witness) -> Result<ProofBytes, ProveError> {
        if *statement.shape() != self.shape {
            return Err(ProveError::Shape);
        }
        let values = assign(statement, witness)?;
        let mut random = [0; 128];
        getrandom::fill(&mut random).map_err(ProveError::Randomness)?;
        let mut guard = self.queue();
        let loaded = &mut *guard;
        self.pool.install(|| self.prove_values(loaded, statement, &values, &Blinding::from_random(&random)))
    }

    fn prove_values(
        &self,
        loaded: &mut Option<Loaded>,
        statement: &Statement,
        values: &[Fr],
        blinding: &Blinding,
    ) -> Result<ProofBytes, ProveError> {
        let circuit = circuit::name(statement.kind());
        let started = Instant::now();
        let Loaded { key, matrices, .. } = self.keys(loaded, statement.kind())?;
        let proof = create(key, matrices, values, blinding)?;
        if let Err(error) = self.verifier.check(statement, &proof) {
            // Whatever is in memory made a false proof: the next call starts from the files.
            warn!(circuit, "a proof made here does not verify");
            *loaded = None;
            return Err(ProveError::SelfCheck(error));
        }
        debug!(circuit, elapsed_ms = started.elapsed().as_millis(), "proof made");
        Ok(proof)
    }

    /// What checks the proofs of this network; it outlives the prover and holds no proving key.
    pub fn verifier(&self) -> Arc<dyn ProofVerifier> {
        self.verifier.clone()
    }

    /// The verifying keys, and single checks that say what is wrong.
    pub fn verifying_keys(&self) -> &Verifier {
        &self.verifier
    }

    /// Frees the memory of the matrices and closes the proving key; the next proof loads them again. Waits for a proof in the making.
    pub fn unload(&self) {
        *self.queue() = None;
    }

    fn queue(&self) -> MutexGuard<'_, Option<Loaded>> {
        // A panic while proving may have left anything: what is loaded is dropped, the queue goes on.
        self.loaded.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            self.loaded.clear_poison();
            let mut guard = poisoned.into_inner();
            *guard = None;
            guard
        })
    }

    fn keys<'a>(
        &self,
        loaded: &'a mut Option<Loaded>,
        kind: CircuitKind,
    ) -> Result<&'a Loaded, KeyStoreError> {
        if loaded.as_ref().is_some_and(|loaded| loaded.kind != kind) {
            *loaded = None;
        }
        if loaded.is_none() {
            let matrices = circuit::matrices(kind, &self.shape);
            let key = self.store.proving_key(kind, &matrices, &self.pool)?;
            *loaded = Some(Loaded { kind, matrices, key });
        }
        Ok(loaded.as_ref().expect("just loaded"))
    }
}

/// The verifier of a network for a node that proves nothing. Reads two small files; where a test network has
/// none yet, makes its keys as [`Prover::open`] does.
///
/// # Errors
/// [`OpenError`] by variant.
pub fn open_verifier(config: &Config, params: &NetworkParams) -> Result<Arc<dyn ProofVerifier>, OpenError> {
    Ok(Arc::new(Opened::open(config, params)?.verifier))
}

struct Opened {
    shape: Shape,
    store: KeyStore,
    pool: ThreadPool,
    verifier: Verifier,
}

impl Opened {
    fn open(config: &Config, params: &NetworkParams) -> Result<Self, OpenError> {
        let shape = Shape::of(params)?;
        let store = KeyStore::open(Path::new(&config.cache_dir), params, shape)?;
        let pool = pool::start(config)?;
        let window = store.verifying_key(CircuitKind::Window, &pool)?;
        let activation = store.verifying_key(CircuitKind::Activation, &pool)?;
        let verifier = Verifier::new(shape, window, activation)?;
        Ok(Self { shape, store, pool, verifier })
    }
}

#[cfg(test)]
mod tests;
