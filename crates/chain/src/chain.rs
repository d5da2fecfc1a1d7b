//! The handle that the rest of a node holds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hpips_ledger::{Commitment, Genesis, GenesisError, Signed, WindowProof};
use hpips_net::rpc::{self, Service};
use hpips_net::{AlreadyAccepted, Net, Publisher};
use hpips_proofs::ProofVerifier;
use hpips_types::{AccountId, ChainId, Height, NetworkParams, TxId};
use serde_bytes::ByteBuf;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::admission::{Intake, Resender};
use crate::block::Block;
use crate::dealing::Seat;
use crate::engine::{self, Setup, SpawnError};
use crate::finality::{self, Announcer};
use crate::finalized::{Finalized, Stats, TxRow};
use crate::follower::Follower;
use crate::light::Evidence;
use crate::machine::{Machine, OpenError, SubmitError};
use crate::scheme::{Certificate, CertificateVerifier};
use crate::state::{AuthState as _, Snapshot, StoreError, StoredBlock};
use crate::stop::Stop;
use crate::wire::{
    BLOCKS_TOPIC, CANDIDATE_BYTES_MAX, CANDIDATES_TOPIC, Candidate, REQUEST_BYTES_MAX, RUN_MESSAGE_BYTES_MAX,
};

/// Longest time a shutdown waits for the engine's thread.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// What a chain needs to start.
pub struct Config {
    /// Folder of its own; created when missing.
    pub dir: PathBuf,
    /// The chain.
    pub genesis: Genesis,
    /// Whether this node votes.
    pub role: Role,
    /// Checks proofs of storage.
    pub verifier: Arc<dyn ProofVerifier>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("dir", &self.dir).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A node's part in the chain.
#[derive(Clone, Debug)]
pub enum Role {
    /// Votes and proposes with its seat.
    Validator(Box<Seat>),
    /// Has no seat: takes finalized blocks from others and checks them.
    Follower,
}

/// Why a chain does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Genesis contradicts itself.
    #[error("genesis is not usable")]
    Genesis(#[from] GenesisError),
    /// The folder.
    #[error("cannot create {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The state.
    #[error("cannot open the chain")]
    Open(#[from] OpenError),
    /// The seat belongs to another account, committee or chain.
    #[error("the seat of {0} does not belong to this node and committee")]
    Seat(AccountId),
    /// The engine.
    #[error("cannot start the consensus engine")]
    Engine(#[from] SpawnError),
    /// A protocol is taken.
    #[error("the chain's protocols are taken")]
    Protocols(#[from] AlreadyAccepted),
}

/// Why waiting ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Not in time.
    #[error("not within {0:?}")]
    Deadline(Duration),
    /// The chain has stopped.
    #[error("the chain has stopped")]
    Stopped,
    /// The database failed.
    #[error("cannot read the chain's state")]
    Store(#[from] StoreError),
}

/// Why there is no evidence of a key now.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The last block has no certificate of its own; the next usually has.
    #[error("block {0} has no certificate of its own: ask again after the next")]
    NoCertificate(Height),
    /// The database failed.
    #[error("cannot read the chain's state")]
    Store(#[from] StoreError),
}

/// A running chain. Clones are handles to the same one. Dropping all of them does not stop it:
/// [`Self::shutdown`] does.
#[derive(Clone)]
pub struct Chain(Arc<Inner>);

struct Inner {
    machine: Arc<Machine>,
    intake: Intake,
    resender: Resender,
    publisher: Publisher,
    stop: watch::Sender<bool>,
    fault: watch::Receiver<Option<String>>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    engine: Option<std::thread::JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("id", &self.id()).field("head", &self.state()).finish_non_exhaustive()
    }
}

impl Chain {
    /// Opens the state and starts voting or following. Blocks for as long as opening the database takes.
    ///
    /// # Errors
    /// [`StartError`] by variant.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: Config, net: &Net) -> Result<Self, StartError> {
        let Config { dir, genesis, role, verifier } = config;
        genesis.check()?;
        std::fs::create_dir_all(&dir).map_err(|source| StartError::Folder { path: dir.clone(), source })?;
        let machine = Arc::new(Machine::open(&dir, &genesis, verifier)?);
        let chain = machine.chain();
        let (stop, stopped) = Stop::new();
        let (faults, fault) = watch::channel(None);
        let candidates = net.gossip(&topic(&chain, CANDIDATES_TOPIC), CANDIDATE_BYTES_MAX);
        let publisher = candidates.publisher();
        let intake = Intake::new(Arc::clone(&machine));
        let mut running = Running::default();

        let blocks_protocol = protocol(&chain, "blocks");
        let service = Service {
            question_bytes_max: REQUEST_BYTES_MAX,
            answer_bytes_max: RUN_MESSAGE_BYTES_MAX,
            parallel: 8,
            ..Service::default()
        };
        let weak = Arc::downgrade(&machine);
        rpc::serve(net, &blocks_protocol, service, move |_, question| {
            finality::answer(weak.clone(), question)
        })?;
        let candidates_protocol = protocol(&chain, "candidates");
        let service = Service {
            question_bytes_max: CANDIDATE_BYTES_MAX,
            answer_bytes_max: 1,
            parallel: 8,
            ..Service::default()
        };
        let (weak, relay) = (Arc::downgrade(&machine), publisher.clone());
        rpc::serve(net, &candidates_protocol, service, move |_, question| {
            crate::admission::answer(weak.clone(), relay.clone(), question)
        })?;

        let announcements = net.gossip(&topic(&chain, BLOCKS_TOPIC), RUN_MESSAGE_BYTES_MAX);
        match role {
            Role::Validator(seat) => {
                let account = seat.account();
                let refused = || StartError::Seat(account);
                let committee = crate::dealing::participants(&genesis.validators).map_err(OpenError::from)?;
                if account != net.account() || seat.group_key() != genesis.group_key {
                    return Err(refused());
                }
                let scheme = seat.scheme(&chain, committee).ok_or_else(refused)?;
                let setup = Setup {
                    dir,
                    machine: Arc::clone(&machine),
                    scheme,
                    net: net.clone(),
                    announcer: Announcer::new(announcements.publisher()),
                };
                running.engine = Some(engine::spawn(setup, stopped.clone(), move |reason| {
                    faults.send_replace(reason);
                })?);
                let listening = stopped.clone().or(intake.clone().listen(candidates));
                running.tasks.push(tokio::spawn(async move {
                    listening.await;
                }));
                info!(%chain, %account, "voting");
            }
            Role::Follower => {
                let follower =
                    Follower::new(Arc::clone(&machine), net.clone(), blocks_protocol, announcements);
                let following = tokio::spawn(stopped.clone().or(follower.run()));
                running.tasks.push(tokio::spawn(async move {
                    let reason = match following.await {
                        Ok(None | Some(Ok(()))) => return,
                        Ok(Some(Err(diverged))) => format!("{diverged}: {:?}", diverged.source),
                        Err(error) if error.is_panic() => engine::panic_text(&*error.into_panic()),
                        Err(_) => return,
                    };
                    tracing::error!(%reason, "following the chain ended");
                    faults.send_replace(Some(reason));
                }));
                // Transactions of others need not be held here: gossip forwards them all the same.
                drop(candidates);
                info!(%chain, "following");
            }
        }
        let resender = Resender::new(genesis.validators.clone());
        let resending = resender.clone().run(Arc::clone(&machine), net.clone(), candidates_protocol);
        let resending = stopped.or(resending);
        running.tasks.push(tokio::spawn(async move {
            resending.await;
        }));
        Ok(Self(Arc::new(Inner {
            machine,
            intake,
            resender,
            publisher,
            stop,
            fault,
            running: running.into(),
        })))
    }

    /// The chain's name.
    pub fn id(&self) -> ChainId {
        self.0.machine.chain()
    }

    /// The chain's parameters.
    pub fn params(&self) -> &NetworkParams {
        self.0.machine.params()
    }

    /// The finalized state: a [`hpips_ledger::StateView`] that stays as it is.
    pub fn state(&self) -> Snapshot {
        self.0.machine.snapshot()
    }

    /// The finalized height.
    pub fn height(&self) -> Height {
        self.0.machine.height()
    }

    /// Finalized blocks from now on, in order. One that falls more than 256 blocks behind gets
    /// [`RecvError::Lagged`] and goes on from [`Self::state`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Finalized>> {
        self.0.machine.subscribe()
    }

    /// Measurements and the estimate of how far the chain is.
    pub fn stats(&self) -> Stats {
        self.0.machine.stats()
    }

    /// Checks a transaction, keeps it until it is in a block, and tells the network. It is sent again while
    /// it waits.
    ///
    /// # Errors
    /// [`SubmitError`] by variant; then nobody was told.
    pub async fn submit(&self, signed: Signed) -> Result<TxId, SubmitError> {
        let bytes = signed.encode();
        let id = Signed::id_of(&bytes);
        self.send(Candidate::Transaction(ByteBuf::from(bytes))).await?;
        Ok(id)
    }

    /// As [`Self::submit`], for a commitment to a window's leaves.
    ///
    /// # Errors
    /// [`SubmitError`] by variant.
    pub async fn submit_commitment(&self, commitment: Commitment) -> Result<(), SubmitError> {
        self.send(Candidate::Commitment(commitment)).await
    }

    /// As [`Self::submit`], for a window's proof, which is verified before it is sent.
    ///
    /// # Errors
    /// [`SubmitError`] by variant.
    pub async fn submit_proof(&self, proof: WindowProof) -> Result<(), SubmitError> {
        self.send(Candidate::Proof(Box::new(proof))).await
    }

    async fn send(&self, candidate: Candidate) -> Result<(), SubmitError> {
        self.0.intake.admit(candidate.clone()).await?;
        let bytes = Bytes::from(candidate.encode());
        self.0.resender.keep(candidate, self.height());
        if let Err(error) = self.0.publisher.publish(bytes).await {
            debug!(%error, "not gossiped yet: it is sent to validators directly");
        }
        Ok(())
    }

    /// The nonce for an account's next transaction: after those in the finalized state and those that wait
    /// here.
    pub fn next_nonce(&self, account: &AccountId) -> u64 {
        let next = hpips_ledger::query::account(&self.state(), account).nonce;
        self.0.machine.pool().next_nonce(account, next)
    }

    /// Waits until a transaction is in a finalized block, for at most `deadline`. Dropping the future is safe.
    ///
    /// # Errors
    /// [`WaitError`] by variant.
    pub async fn wait_tx(&self, id: TxId, deadline: Duration) -> Result<TxRow, WaitError> {
        self.wait(deadline, || self.0.machine.store().transaction(&id)).await
    }

    /// How a transaction ended, if it is in a finalized block.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn transaction(&self, id: &TxId) -> Result<Option<TxRow>, StoreError> {
        self.0.machine.store().transaction(id)
    }

    /// Waits until the finalized state has this height, for at most `deadline`.
    ///
    /// # Errors
    /// [`WaitError`] by variant.
    pub async fn wait_height(&self, height: Height, deadline: Duration) -> Result<Snapshot, WaitError> {
        let reached = || Ok(Some(self.state()).filter(|state| state.height() >= height));
        self.wait(deadline, reached).await
    }

    async fn wait<T>(
        &self,
        deadline: Duration,
        mut find: impl FnMut() -> Result<Option<T>, StoreError>,
    ) -> Result<T, WaitError> {
        let mut blocks = self.subscribe();
        let mut fault = self.0.fault.clone();
        let mut stop = self.0.stop.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = find()? {
                    return Ok(found);
                }
                tokio::select! {
                    block = blocks.recv() => match block {
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return Err(WaitError::Stopped),
                    },
                    _ = fault.wait_for(Option::is_some) => return Err(WaitError::Stopped),
                    _ = stop.wait_for(|stop| *stop) => return Err(WaitError::Stopped),
                }
            }
        };
        tokio::time::timeout(deadline, waiting).await.unwrap_or(Err(WaitError::Deadline(deadline)))
    }

    /// A finalized block and its own certificate, if it has one. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn block(&self, height: Height) -> Result<Option<(Block, Option<Certificate>)>, StoreError> {
        let Some(StoredBlock { block, certificate }) = self.0.machine.store().block(height)? else {
            return Ok(None);
        };
        let block = Block::decode(block.into()).map_err(|_| StoreError::Damaged("block"))?;
        let certificate = certificate.map(|bytes| Certificate::decode(&bytes)).transpose();
        Ok(Some((block, certificate.map_err(|_| StoreError::Damaged("certificate"))?)))
    }

    /// Shows a key's value, or that it has none, to someone who holds nothing but the group key. Reads the
    /// disk.
    ///
    /// # Errors
    /// [`ProveError`] by variant.
    pub fn prove(&self, key: &[u8]) -> Result<Evidence, ProveError> {
        let state = self.state();
        let height = state.height();
        let stored = self.0.machine.store().block(height)?;
        let Some(StoredBlock { block, certificate: Some(certificate) }) = stored else {
            return Err(ProveError::NoCertificate(height));
        };
        Ok(Evidence::new(block, certificate, state.prove(key)))
    }

    /// Checks certificates, beacons and [`Evidence`] of this chain.
    pub fn certificates(&self) -> &CertificateVerifier {
        self.0.machine.certificates()
    }

    /// Turns `Some` when the chain has ended by itself: a broken invariant, a failed disk. The node should stop
    /// and say so.
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.0.fault.clone()
    }

    /// Stops voting or following; the state is on disk already. Afterwards the folder may be opened again
    /// once all handles and the network are dropped.
    pub async fn shutdown(&self) {
        self.0.stop.send_replace(true);
        let Running { engine, tasks } =
            std::mem::take(&mut *self.0.running.lock().expect("no panic while the lock is held"));
        let ended = async {
            for task in tasks {
                // A task's panic has been reported as the chain's fault.
                let _ = task.await;
            }
            if let Some(thread) = engine {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::warn!("the chain did not stop in time");
        }
    }
}

pub(crate) fn topic(chain: &ChainId, name: &str) -> String {
    format!("/hpips/{}/{name}/1", short(chain))
}

pub(crate) fn protocol(chain: &ChainId, name: &str) -> String {
    format!("/hpips/{}/{name}/1", short(chain))
}

/// The first eight bytes name a chain well enough for protocol names; what matters is signed with all of it.
fn short(chain: &ChainId) -> String {
    let mut text = chain.to_string();
    text.truncate(16);
    text
}
