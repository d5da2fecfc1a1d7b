//! The handle, and the thread that makes one proof after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hpips_circuits::prove::{Blinding, CreateError};
use hpips_circuits::verifier::WrongKey;
use hpips_circuits::{AssignError, Verifier, VerifyError, Witness, assign, circuit};
use hpips_proofs::shape::ShapeError;
use hpips_proofs::{CircuitKind, ProofBytes, ProofVerifier, Shape, Statement};
use hpips_types::{ByteCount, NetworkParams};
use rayon::ThreadPool;
use tracing::{debug, warn};

use crate::backend::{Backend, Cpu, Task as Computation};
use crate::config::Config;
use crate::cost;
use crate::job::{Desk, Job, Progress, Task, UnderWay, Work};
use crate::key_store::{KeyStore, KeyStoreError};
use crate::pool::{self, PoolError};
use crate::queue::Order;

/// Why there is no prover or verifier.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The network's parameters give no circuits.
    #[error("network parameters give no circuits")]
    Shape(#[from] ShapeError),
    /// No threads.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No thread for the queue.
    #[error("the thread of the proving queue could not be started")]
    Thread(#[source] std::io::Error),
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
    /// It would take more memory than the prover may use.
    #[error(
        "a proof of the {circuit} circuit needs {} of memory and {} are allowed: allow more, or leave proving to another machine",
        ByteCount::new(*needed).to_short(), ByteCount::new(*allowed).to_short()
    )]
    Memory {
        /// The circuit's name.
        circuit: &'static str,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that the configuration allows.
        allowed: u64,
    },
    /// The queue is full.
    #[error("{jobs_max} proofs wait already, as many as may: ask again when one is done")]
    Full {
        /// Jobs that may wait.
        jobs_max: usize,
    },
    /// Its deadline passed before its turn came.
    #[error("its deadline passed before the proof could be started")]
    Late,
    /// Nobody wants it any more.
    #[error("the proof was given up")]
    Cancelled,
    /// The prover stops.
    #[error("the prover stops")]
    Stopped,
    /// A defect of this program. The prover goes on with the next job.
    #[error("making the proof failed by a defect of this program, which the log shows")]
    Panicked,
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
    /// A backend did not answer with one proof for each task.
    #[error("{got} proofs came back for one task")]
    Count {
        /// How many did.
        got: usize,
    },
}

/// Makes the proofs of one network on this machine, one at a time; the others wait in order of priority and deadline.
///
/// The matrices of the circuit proven last stay in memory, at most 3 MB at `dev` parameters; a proof of the other
/// circuit replaces them. Dropping the prover stops it.
#[derive(Debug)]
pub struct Prover {
    shape: Shape,
    memory_bytes: u64,
    verifier: Arc<Verifier>,
    desk: Arc<Desk>,
}

impl Prover {
    /// Opens the key cache of a network and makes keys that a test network lacks: seconds of all threads
    /// once, shared by all processes that use the folder; a process that finds another at work waits for it.
    ///
    /// # Errors
    /// [`OpenError`] by variant.
    pub fn open(config: Config, params: &NetworkParams) -> Result<Self, OpenError> {
        let opened = Opened::open(&config, params)?;
        let verifier = Arc::new(opened.verifier);
        let pool = Arc::new(opened.pool);
        let cpu = Cpu::new(opened.shape, opened.store, Arc::clone(&pool));
        let maker = Maker { pool, verifier: Arc::clone(&verifier), backends: vec![Box::new(cpu)] };
        Self::start(&config, opened.shape, verifier, maker)
    }

    fn start(
        config: &Config,
        shape: Shape,
        verifier: Arc<Verifier>,
        maker: Maker,
    ) -> Result<Self, OpenError> {
        let desk = Arc::new(Desk::new(config.jobs_max));
        let taken = Arc::clone(&desk);
        // Whoever stops the prover does not wait for the thread: a proof under way cannot be interrupted, and what
        // it makes is thrown away.
        std::thread::Builder::new()
            .name("prove-queue".into())
            .spawn(move || maker.run(&taken))
            .map_err(OpenError::Thread)?;
        Ok(Self { shape, memory_bytes: config.memory_bytes, verifier, desk })
    }

    /// Queues a statement to be proven.
    ///
    /// What can be refused is refused at once: a witness that does not show the statement within milliseconds. The
    /// proof that the job gives was verified.
    ///
    /// # Errors
    /// [`ProveError::Shape`], [`ProveError::Memory`], [`ProveError::Witness`], [`ProveError::Full`],
    /// [`ProveError::Late`] or [`ProveError::Stopped`].
    pub fn submit(&self, statement: Statement, witness: Witness, order: Order) -> Result<Job, ProveError> {
        if *statement.shape() != self.shape {
            return Err(ProveError::Shape);
        }
        let needed = cost::proving_bytes(statement.kind(), &self.shape);
        if needed > self.memory_bytes {
            let circuit = circuit::name(statement.kind());
            return Err(ProveError::Memory { circuit, needed, allowed: self.memory_bytes });
        }
        assign(&statement, &witness)?;
        self.desk.submit(order, statement, witness)
    }

    /// Queues a statement and blocks until it is proven, for seconds or as long as more urgent proofs take: call it
    /// from a thread that may.
    ///
    /// # Errors
    /// [`ProveError`] by variant.
    pub fn prove(
        &self,
        statement: Statement,
        witness: Witness,
        order: Order,
    ) -> Result<ProofBytes, ProveError> {
        self.submit(statement, witness, order)?.wait()
    }

    /// What checks the proofs of this network; it outlives the prover and holds no proving key.
    pub fn verifier(&self) -> Arc<dyn ProofVerifier> {
        self.verifier.clone()
    }

    /// The verifying keys, and single checks that say what is wrong.
    pub fn verifying_keys(&self) -> &Verifier {
        &self.verifier
    }

    /// The proof that is computed, then those that wait, the next one first; at most one more than
    /// [`Config::jobs_max`].
    pub fn under_way(&self) -> Vec<UnderWay> {
        self.desk.under_way()
    }

    /// Frees the memory of the matrices and closes the proving key after the proof under way, if there is one; the next
    /// proof loads them again.
    pub fn unload(&self) {
        self.desk.unload();
    }

    /// Takes nothing in any more. Whoever waits for a proof is told so at once; what is being computed is thrown away.
    pub fn stop(&self) {
        self.desk.close();
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who computes and checks.
struct Maker {
    pool: Arc<ThreadPool>,
    verifier: Arc<Verifier>,
    /// In the order they are asked; the processor is the last.
    backends: Vec<Box<dyn Backend>>,
}

impl Maker {
    /// Works until the desk is closed.
    fn run(mut self, desk: &Desk) {
        /// Whatever ends the thread: nobody waits for it in vain.
        struct Closing<'a>(&'a Desk);
        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        let _closing = Closing(desk);
        while let Some(task) = desk.next() {
            match task {
                Task::Prove(work) => desk.finish(self.make(desk, &work)),
                Task::Unload => self.backends.iter_mut().for_each(|backend| backend.unload()),
            }
        }
    }

    /// Asks one backend after the other until a proof verifies.
    fn make(&mut self, desk: &Desk, work: &Work) -> Result<ProofBytes, ProveError> {
        let Self { pool, verifier, backends } = self;
        let circuit = circuit::name(work.statement.kind());
        let mut backends = backends.iter_mut().peekable();
        loop {
            let backend = backends.next().expect("there is always the processor");
            let started = Instant::now();
            let attempt = || pool.install(|| attempt(backend.as_mut(), verifier, desk, work));
            // Whatever a panic leaves half done is freed below.
            let made = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or(Err(ProveError::Panicked));
            let elapsed_ms = started.elapsed().as_millis();
            match made {
                Ok(proof) => {
                    debug!(circuit, backend = backend.name(), elapsed_ms, "proof made");
                    return Ok(proof);
                }
                Err(ProveError::Cancelled) => return Err(ProveError::Cancelled),
                Err(error) => {
                    // Whatever is in its memory may be what is wrong: the next proof starts from the files.
                    backend.unload();
                    if backends.peek().is_none() {
                        return Err(error);
                    }
                    warn!(circuit, backend = backend.name(), %error, "no proof; the next backend is asked");
                }
            }
        }
    }
}

/// One proof by one backend, verified. Runs on the pool.
fn attempt(
    backend: &mut dyn Backend,
    verifier: &Verifier,
    desk: &Desk,
    work: &Work,
) -> Result<ProofBytes, ProveError> {
    let kind = work.statement.kind();
    desk.enter(Progress::LoadingKeys)?;
    backend.load(kind)?;
    desk.enter(Progress::Proving)?;
    let values = assign(&work.statement, &work.witness)?;
    let mut random = [0; 128];
    getrandom::fill(&mut random).map_err(ProveError::Randomness)?;
    let blinding = Blinding::from_random(&random);
    let proofs = backend.prove(kind, &[Computation { values: &values, blinding: &blinding }])?;
    let [proof] = proofs[..] else { return Err(ProveError::Count { got: proofs.len() }) };
    desk.enter(Progress::Checking)?;
    verifier.check(&work.statement, &proof).map_err(ProveError::SelfCheck)?;
    Ok(proof)
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
