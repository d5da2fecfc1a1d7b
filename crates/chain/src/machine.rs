//! Executes blocks: the meeting point of ledger, state, mempool and verdicts. Everything here is synchronous
//! and may take milliseconds; the engine and the follower call it off their async threads.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hpips_ledger::{
    Beacon, BlockContext, Body, Candidates, Event, Genesis, Invalid, LaneFault, Refused, Signed, Statement,
    Verdicts, query,
};
use hpips_proofs::ProofVerifier;
use hpips_types::{
    AccountId, ChainId, Height, NetworkParams, Sha256Digest, ThresholdSignature, TxId, View, cbor,
};
use serde_bytes::ByteBuf;
use tokio::sync::broadcast;
use tracing::{error, info, warn};

use crate::block::{BLOCK_BYTES_MAX, Block, Proposed};
use crate::finalized::{Finalized, Stats, TxRow};
use crate::mempool::{Mempool, PoolError, Purse};
use crate::scheme::{Certificate, CertificateVerifier, GroupKeyError};
use crate::seeds::Seeds;
use crate::state::{Commit, Head, Layer, Layers, Snapshot, StateStore, StoreError};
use crate::verdicts::Checker;
use crate::wire::Candidate;

/// Finalized blocks a slow subscriber may be behind before it loses some.
const SUBSCRIBER_BLOCKS: usize = 256;
/// Blocks whose first sight is remembered, for pacing and for measuring.
const SEEN_MAX: usize = 1_024;
/// Windows back in which openings may still wait for their beacon.
const OPENING_WINDOWS: u64 = 4;
/// Times an own proposal is mended before the view passes.
const REPAIRS_MAX: usize = 8;
/// Peers whose claimed heights are remembered.
const CLAIMS_MAX: usize = 256;
/// Name of the database in the chain's folder.
const DATABASE: &str = "chain.redb";

/// Why a block was not executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("made for chain {0}")]
    Chain(ChainId),
    #[error("height {got} does not follow {parent}")]
    Height { got: Height, parent: Height },
    #[error("breaks the ledger's rules")]
    Rules(#[from] Invalid),
    #[error("claims state root {claimed}, execution gives {computed}")]
    StateRoot { claimed: Sha256Digest, computed: Sha256Digest },
}

/// Why a transaction or lane item is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It could not stand in a block.
    #[error("the ledger would refuse it")]
    Refused(#[from] hpips_ledger::Refused),
    /// A lane item that no block would take now.
    #[error("the ledger would not take it now")]
    Lane(#[from] hpips_ledger::LaneFault),
    /// The pool does not take it.
    #[error("it cannot wait here")]
    Pool(#[from] PoolError),
    /// The chain has stopped.
    #[error("the chain has stopped")]
    Stopped,
}

/// How far a block's statements are trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Check every statement.
    Nothing,
    /// A certificate stands for the block: its state root tells whether all statements were true.
    Certificate,
}

/// The state machine with everything it needs, shared by the tasks of the chain.
pub(crate) struct Machine {
    chain: ChainId,
    params: NetworkParams,
    genesis: Block,
    certificates: CertificateVerifier,
    checker: Checker,
    store: StateStore,
    layers: Layers,
    seeds: Seeds,
    mempool: Mutex<Mempool>,
    seen: Mutex<HashMap<Sha256Digest, Instant>>,
    stats: Mutex<Stats>,
    finalized: broadcast::Sender<Arc<Finalized>>,
}

/// Why the chain's state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error("cannot open the chain's state")]
    Store(#[from] StoreError),
    /// Genesis names no usable group key.
    #[error("genesis names an unusable group key")]
    GroupKey(#[from] GroupKeyError),
    /// Genesis contradicts itself.
    #[error("genesis is unusable")]
    Genesis(#[from] hpips_ledger::GenesisError),
    /// Genesis names no validator with a usable key.
    #[error("genesis names no usable validators")]
    Validators(#[from] crate::dealing::DealError),
}

impl Machine {
    pub(crate) fn open(
        dir: &Path,
        genesis: &Genesis,
        proofs: Arc<dyn ProofVerifier>,
    ) -> Result<Self, OpenError> {
        let chain = genesis.chain_id();
        let certificates = CertificateVerifier::new(&chain, &genesis.group_key)?;
        crate::dealing::participants(&genesis.validators)?;
        let first = genesis.validators[0];
        let rows = genesis.state()?.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let store = StateStore::open(&dir.join(DATABASE), chain, &rows, |state_root| {
            let block = Block::genesis(chain, first, state_root);
            Head { height: Height::ZERO, view: View::ZERO, digest: block.digest(), state_root }
        })?;
        let genesis_block = Block::genesis(chain, first, store.genesis_root()?);
        let snapshot = store.snapshot();
        info!(%chain, height = %snapshot.height(), root = %snapshot.state_root(), "opened chain state");
        Ok(Self {
            chain,
            params: genesis.params.clone(),
            genesis: genesis_block,
            checker: Checker::new(certificates.clone(), proofs),
            certificates,
            layers: Layers::new(snapshot),
            seeds: Seeds::new(store.seeds()?),
            store,
            mempool: Mutex::default(),
            seen: Mutex::default(),
            stats: Mutex::default(),
            finalized: broadcast::channel(SUBSCRIBER_BLOCKS).0,
        })
    }

    pub(crate) fn chain(&self) -> ChainId {
        self.chain
    }

    pub(crate) fn params(&self) -> &NetworkParams {
        &self.params
    }

    pub(crate) fn genesis(&self) -> &Block {
        &self.genesis
    }

    pub(crate) fn certificates(&self) -> &CertificateVerifier {
        &self.certificates
    }

    pub(crate) fn store(&self) -> &StateStore {
        &self.store
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    pub(crate) fn height(&self) -> Height {
        self.snapshot().height()
    }

    pub(crate) fn layer(&self, digest: &Sha256Digest) -> Option<Arc<Layer>> {
        self.layers.get(digest)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Finalized>> {
        self.finalized.subscribe()
    }

    pub(crate) fn stats(&self) -> Stats {
        let waiting = self.pool().len();
        Stats { waiting, ..self.stats_lock().clone() }
    }

    fn stats_lock(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().expect("no panic while the lock is held")
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Mempool> {
        self.mempool.lock().expect("no panic while the lock is held")
    }

    /// A peer says it is at this height.
    pub(crate) fn note_claim(&self, peer: AccountId, height: Height) {
        let mut stats = self.stats_lock();
        if stats.claims.len() < CLAIMS_MAX || stats.claims.contains_key(&peer) {
            stats.claims.insert(peer, height);
        }
    }

    pub(crate) fn note_seed(&self, view: View, seed: ThresholdSignature) {
        self.seeds.insert(view, seed);
    }

    pub(crate) fn note_nullified(&self, view: View) {
        let mut stats = self.stats_lock();
        if view > stats.nullified_last {
            stats.nullified += 1;
            stats.nullified_last = view;
        }
    }

    /// Remembers when a block was first seen.
    pub(crate) fn note_proposed(&self, digest: Sha256Digest) {
        let mut seen = self.seen.lock().expect("no panic while the lock is held");
        if seen.len() >= SEEN_MAX {
            seen.clear();
        }
        seen.entry(digest).or_insert_with(Instant::now);
    }

    /// How long to wait before a child of this block is proposed. Nothing when it was never seen here.
    pub(crate) fn pace_left(&self, parent: &Sha256Digest, pace: Duration) -> Duration {
        let seen = self.seen.lock().expect("no panic while the lock is held");
        seen.get(parent).map_or(Duration::ZERO, |at| pace.saturating_sub(at.elapsed()))
    }

    /// Whether this very block is part of the finalized chain.
    pub(crate) fn is_final(&self, block: &Block) -> bool {
        if block.height() > self.height() {
            return false;
        }
        let stored = self.store.block(block.height()).expect("the chain's database is readable");
        stored.is_some_and(|stored| stored.block == block.bytes()[..])
    }

    /// Judges a proposed block on the state after its parent; its layer is kept.
    pub(crate) fn execute_proposed(
        &self,
        parent: &Arc<Layer>,
        block: &Block,
    ) -> Result<Arc<Layer>, ExecuteError> {
        self.execute(parent, block, Trust::Nothing)
    }

    fn execute(&self, parent: &Arc<Layer>, block: &Block, trust: Trust) -> Result<Arc<Layer>, ExecuteError> {
        if let Some(known) = self.layers.get(&block.digest()) {
            return Ok(known);
        }
        if block.chain() != self.chain {
            return Err(ExecuteError::Chain(block.chain()));
        }
        if block.height() != parent.height.next() {
            return Err(ExecuteError::Height { got: block.height(), parent: parent.height });
        }
        let context = BlockContext { height: block.height(), view: block.view(), proposer: block.proposer() };
        let statements = hpips_ledger::statements(&**parent, &context, block.body())?;
        if trust == Trust::Certificate {
            // Most blocks hold true statements only, and a certified state root shows it for free.
            let trusted = Verdicts::all_true(statements.len());
            if let Ok(layer) = self.apply(parent, &context, block, &trusted) {
                return Ok(layer);
            }
        }
        let verdicts = Verdicts::new(self.checker.check(&statements));
        self.apply(parent, &context, block, &verdicts)
    }

    fn apply(
        &self,
        parent: &Arc<Layer>,
        context: &BlockContext,
        block: &Block,
        verdicts: &Verdicts,
    ) -> Result<Arc<Layer>, ExecuteError> {
        let outcome = hpips_ledger::apply(&**parent, context, block.body(), verdicts)?;
        let layer = Layer::over(parent, outcome.changes, outcome.events);
        if layer.state_root != block.state_root() {
            return Err(ExecuteError::StateRoot { claimed: block.state_root(), computed: layer.state_root });
        }
        self.layers.insert(block.digest(), Arc::clone(&layer));
        Ok(layer)
    }

    /// Builds our own block on the state after its parent. `None` when not even an empty block is possible,
    /// which is logged.
    pub(crate) fn build(&self, parent: &Arc<Layer>, proposed: Proposed) -> Option<Block> {
        let context =
            BlockContext { height: parent.height.next(), view: proposed.view, proposer: proposed.leader };
        let mut body = self.choose(parent, &context);
        for attempt in 0..=REPAIRS_MAX {
            if attempt == REPAIRS_MAX {
                // Nothing but the beacons: whoever makes proposals fail must not stop the chain.
                body = Body { beacons: body.beacons, ..Body::default() };
            }
            match self.finish(parent, proposed, &context, body.clone()) {
                Ok(block) => return Some(block),
                Err(error) => {
                    warn!(height = %context.height, error = ?error, "own proposal breaks the rules");
                    self.repair(&mut body, &error);
                }
            }
        }
        error!(height = %context.height, "no proposal holds: the view passes");
        None
    }

    /// What waits, as the ledger would put it into a block.
    fn choose(&self, parent: &Arc<Layer>, context: &BlockContext) -> Body {
        let beacons = self.beacons(parent, context.height);
        let base_fee = query::head(&**parent).base_fee.get();
        let candidates = {
            let pool = self.pool();
            Candidates {
                beacons,
                commitments: pool.commitments(),
                proofs: pool.proofs(),
                transactions: pool.transactions(2 * BLOCK_BYTES_MAX, base_fee, |account| {
                    let account = query::account(&**parent, account);
                    Purse { nonce: account.nonce, balance: account.balance.get() }
                }),
            }
        };
        hpips_ledger::select(&**parent, candidates)
    }

    /// Seeds of views that openings wait for. A seed that is not here is left to a later proposer.
    fn beacons(&self, parent: &Arc<Layer>, height: Height) -> Vec<Beacon> {
        let step = self.params.offset_blocks.max(1);
        let oldest = height.get().saturating_sub(OPENING_WINDOWS * self.params.window_blocks);
        let first = oldest.div_ceil(step) * step;
        let mut beacons = Vec::new();
        for opening in (first..height.get()).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let opening = Height::new(opening);
            let Some(row) = query::opening(&**parent, opening) else { continue };
            let (None, Some(view)) = (&row.beacon, row.view) else { continue };
            let view = View::new(view.get() + self.params.lag_views);
            if let Some(signature) = self.seeds.get(view) {
                beacons.push(Beacon { opening, view, signature });
            }
        }
        beacons
    }

    /// Takes out of a body what made it invalid; everything, when that is not one item.
    fn repair(&self, body: &mut Body, error: &Invalid) {
        match error {
            Invalid::Beacon(opening) => body.beacons.retain(|beacon| beacon.opening != *opening),
            Invalid::Commitment { set, window, .. } | Invalid::Proof { set, window, .. } => {
                body.commitments.retain(|item| (item.set, item.window) != (*set, *window));
                body.proofs.retain(|item| (item.set, item.window) != (*set, *window));
                self.pool().drop_lane(*set, *window);
            }
            Invalid::Transaction { index, .. } if *index < body.transactions.len() => {
                // Those of the same sender after it rest on it; the rest goes into the block all the same.
                let sender = |bytes: &ByteBuf| Signed::decode(bytes).ok().map(|signed| signed.body.from);
                let refused = sender(&body.transactions[*index]);
                let later = body.transactions.split_off(*index);
                body.transactions.extend(later.into_iter().skip(1).filter(|bytes| sender(bytes) != refused));
            }
            _ => *body = Body::default(),
        }
    }

    fn finish(
        &self,
        parent: &Arc<Layer>,
        proposed: Proposed,
        context: &BlockContext,
        body: Body,
    ) -> Result<Block, Invalid> {
        let statements = hpips_ledger::statements(&**parent, context, &body)?;
        let verdicts = Verdicts::new(self.checker.check(&statements));
        let outcome = hpips_ledger::apply(&**parent, context, &body, &verdicts)?;
        let layer = Layer::over(parent, outcome.changes, outcome.events);
        let bytes = body.encode().len();
        let block = Block::new(self.chain, proposed, context.height, layer.state_root, body)
            .ok_or(Invalid::TooLong(bytes))?;
        self.note_proposed(block.digest());
        self.layers.insert(block.digest(), layer);
        Ok(block)
    }

    /// Checks a candidate against the finalized state and keeps it.
    pub(crate) fn admit(&self, candidate: &Candidate) -> Result<(), SubmitError> {
        if self.pool().waits(candidate) {
            return Err(PoolError::Known.into());
        }
        let state = self.snapshot();
        match candidate {
            Candidate::Transaction(bytes) => {
                let checked = hpips_ledger::check_tx(&state, bytes)?;
                if self.checker.check(std::slice::from_ref(&checked.signature)) != [true] {
                    return Err(Refused::Signature(checked.from).into());
                }
                // Only what is kept is worth proofs' milliseconds: a sender can vary what is not for nothing.
                self.pool().insert(&checked, bytes.clone())?;
                self.check_ahead(&state, bytes);
                Ok(())
            }
            Candidate::Commitment(item) => {
                let statement = hpips_ledger::check_commitment(&state, item)?;
                self.check_lane(statement)?;
                Ok(self.pool().insert_commitment(*item, state.height())?)
            }
            Candidate::Proof(item) => {
                let statement = hpips_ledger::check_proof(&state, item)?;
                self.check_lane(statement)?;
                Ok(self.pool().insert_proof((**item).clone(), state.height())?)
            }
        }
    }

    fn check_lane(&self, statement: Statement) -> Result<(), LaneFault> {
        if self.checker.check(&[statement]) == [true] { Ok(()) } else { Err(LaneFault::False) }
    }

    /// Checks what a transaction's operations rest on now, so that its block need not wait for it.
    fn check_ahead(&self, state: &Snapshot, bytes: &ByteBuf) {
        let context = BlockContext {
            height: state.height().next(),
            view: state.view().next(),
            proposer: self.genesis.proposer(),
        };
        let body = Body { transactions: vec![bytes.clone()], ..Body::default() };
        if let Ok(statements) = hpips_ledger::statements(state, &context, &body) {
            self.checker.check(&statements);
        }
    }

    /// Applies the next finalized block and tells everyone. `certificate`: its own, verified.
    ///
    /// # Errors
    /// [`ExecuteError`] when the block contradicts the state: then this node or the committee is broken.
    ///
    /// # Panics
    /// When the database fails: nothing that depends on state can go on.
    pub(crate) fn finalize(
        &self,
        block: &Block,
        certificate: Option<&Certificate>,
    ) -> Result<Arc<Finalized>, ExecuteError> {
        let before = self.snapshot();
        let parent = self.layers.get(&before.digest()).expect("the head always has a layer");
        let layer = self.execute(&parent, block, Trust::Certificate)?;
        let changes = layer.changes().expect("a block above the head is not final yet");
        let head = Head {
            height: block.height(),
            view: block.view(),
            digest: block.digest(),
            state_root: block.state_root(),
        };
        if let Some(certificate) = certificate
            && let Some(seed) = certificate.seed()
        {
            self.seeds.insert(certificate.view(), seed);
        }
        let outcomes = transaction_outcomes(block, &changes.events);
        let rows: Vec<(TxId, Vec<u8>)> = outcomes.iter().map(|(id, row)| (*id, cbor::encode(row))).collect();
        let encoded = certificate.map(Certificate::encode);
        let snapshot = self
            .store
            .commit(&Commit {
                head,
                rows: &changes.rows,
                nodes: &changes.nodes,
                block: block.bytes(),
                certificate: encoded.as_deref(),
                seeds: &self.seeds.take_fresh(),
                transactions: &rows,
            })
            .unwrap_or_else(|error| panic!("the chain's database is writable: {error:?}"));
        self.layers.finalize(snapshot.clone());
        self.forget(block, &changes.events, &snapshot);
        // It stays known: a child proposed after passed views is paced by it too.
        let finality = self.seen.lock().expect("no panic while the lock is held").get(&head.digest).copied();
        let finality_ms = finality.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.stats_lock().note(head.height, finality_ms);
        let finalized = Arc::new(Finalized {
            height: head.height,
            view: head.view,
            proposer: block.proposer(),
            digest: head.digest,
            state_root: head.state_root,
            transactions: outcomes,
            events: changes.events.clone(),
            finality_ms,
        });
        // No subscriber is no error.
        let _ = self.finalized.send(Arc::clone(&finalized));
        Ok(finalized)
    }

    fn forget(&self, block: &Block, events: &[Event], snapshot: &Snapshot) {
        let senders = events.iter().filter_map(|event| match event {
            Event::Executed { from, .. } => Some(*from),
            _ => None,
        });
        let nonces: HashMap<_, _> =
            senders.map(|from| (from, hpips_ledger::query::account(snapshot, &from).nonce)).collect();
        self.pool().forget(block.height(), block.body(), nonces);
    }
}

/// The outcome of every transaction of a block, in its order.
fn transaction_outcomes(block: &Block, events: &[Event]) -> Vec<(TxId, TxRow)> {
    let height = block.height();
    let executed = events.iter().filter_map(|event| match event {
        Event::Executed { id, failure, .. } => Some((*id, TxRow { height, failure: *failure })),
        _ => None,
    });
    executed.collect()
}
