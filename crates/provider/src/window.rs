//! Answers windows: first the commitment, within `T_commit`, then the proof.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hpips_circuits::Witness;
use hpips_circuits::json::ProofExport;
use hpips_crypto::Fr;
use hpips_ledger::query::WindowTask;
use hpips_ledger::rows::Snapshot;
use hpips_ledger::{Commitment, Operation, WindowProof, query};
use hpips_proofs::vanilla::{LeafOpening, window};
use hpips_proofs::{
    Bundle, BundlePiece, DataExtent, Element, Record, RecordLayout, SetTree, Statement, WindowChallenge,
    WindowTerms,
};
use hpips_prover::{Order, Priority};
use hpips_types::{RecordIndex, SetId, WindowIndex};
use tracing::{debug, info};

use crate::pieces::{Piece, PieceError};
use crate::posted::PostedProof;
use crate::provider::Shared;
use crate::sectors::SectorError;

/// Blocks that something sent needs to be included.
const INCLUSION_BLOCKS: u64 = 3;
/// Ways to put a doubtful bundle together that are tried.
const COMBINATIONS_MAX: usize = 256;
/// Longest wait for them.
const INCLUSION: Duration = Duration::from_secs(60);

/// Why a leaf cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeafError {
    #[error("record {0} cannot be read from its sector")]
    Sector(RecordIndex, #[source] SectorError),
    #[error("record {0} cannot be read from its pieces")]
    Piece(RecordIndex, #[source] PieceError),
    #[error("record {0} is not what lies on this disk")]
    Record(RecordIndex),
    #[error("a piece of record {0} has left its bundle and is not known here")]
    Unknown(RecordIndex),
}

impl LeafError {
    /// The record whose bytes are gone, where trying again does not help.
    fn lost(&self) -> Option<RecordIndex> {
        match self {
            Self::Sector(record, SectorError::Damaged { .. } | SectorError::Missing)
            | Self::Piece(record, PieceError::Damaged { .. } | PieceError::Missing) => Some(*record),
            // A record that cannot be put together is our own confusion, not lost bytes: to say that they are
            // lost would cost every slot in it.
            Self::Record(_) | Self::Sector(..) | Self::Piece(..) | Self::Unknown(_) => None,
        }
    }
}

/// Runs until the provider stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut blocks = shared.parts.chain.subscribe();
    let busy = Busy::default();
    loop {
        let state = shared.parts.chain.state();
        shared.remember(&query::pieces(&state, &shared.me));
        for set in query::sets(&state, &shared.me) {
            // The open window first: a machine that can only just keep up then misses no more windows while it
            // owes one.
            let mut is_current_due = false;
            if let Some(task) = query::open_window(&state, set) {
                is_current_due = task.is_committed && !task.is_proven;
                if !task.is_committed {
                    busy.spawn((set, task.window, Job::Commit), commit(Arc::clone(&shared), set, task));
                } else if !task.is_proven {
                    busy.spawn((set, task.window, Job::Prove), prove(Arc::clone(&shared), set, task));
                }
            }
            if let Some(task) = query::debt(&state, set).filter(|_| !is_current_due) {
                busy.spawn((set, task.window, Job::Prove), prove(Arc::clone(&shared), set, task));
            }
        }
        if !shared.next_block(&mut blocks).await {
            return;
        }
    }
}

/// What is being made for a window, or on its way to a block. One proof is made at a time; each job is queued
/// once.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<Mutex<BTreeSet<(SetId, WindowIndex, Job)>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Commit,
    Prove,
}

impl Busy {
    /// Runs a job unless the same one runs. When it ends, the state decides whether it is done again.
    fn spawn(&self, key: (SetId, WindowIndex, Job), job: impl Future<Output = ()> + Send + 'static) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let busy = self.clone();
            tokio::spawn(async move {
                job.await;
                busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            });
        }
    }
}

/// Waits until blocks had time to include what was sent.
async fn settle(shared: &Shared) {
    let until = shared.parts.chain.height().plus(INCLUSION_BLOCKS);
    // A chain that stands still is looked at again after the deadline, which is soon enough.
    let _ = shared.parts.chain.wait_height(until, INCLUSION).await;
}

async fn commit(shared: Arc<Shared>, set: SetId, task: WindowTask) {
    let reading = Arc::clone(&shared);
    let read =
        tokio::task::spawn_blocking(move || leaf_commitment(&reading, set, &task).map(|leaf| (task, leaf)));
    match read.await.expect("reading leaves does not panic") {
        Ok((task, leaf_commitment)) => {
            let chain = &shared.parts.chain;
            let key = shared.parts.wallet.key();
            let commitment = Commitment::sign(chain.id(), set, task.window, leaf_commitment, key);
            match chain.submit_commitment(commitment).await {
                Ok(()) => {
                    debug!(window = %task.window, "committed");
                    settle(&shared).await;
                }
                Err(error) => shared.trouble("committing to a window", &error),
            }
        }
        Err(error) => give_up(&shared, set, error).await,
    }
}

async fn prove(shared: Arc<Shared>, set: SetId, task: WindowTask) {
    let proving = Arc::clone(&shared);
    let window = task.window;
    let made = tokio::task::spawn_blocking(move || make_proof(&proving, set, &task)).await;
    match made.expect("proving does not panic") {
        Ok((proof, posted)) => {
            match shared.parts.chain.submit_proof(proof).await {
                Ok(()) => {
                    info!(%window, "window proven");
                    shared.posted().note(posted);
                }
                // The window may have closed meanwhile; the debt is answered next.
                Err(error) => shared.trouble("sending a window's proof", &error),
            }
            settle(&shared).await;
        }
        Err(ProofError::Window(window::ProveError::Open { source, .. })) => {
            give_up(&shared, set, window::ProveError::Open { index: 0, source }).await;
        }
        Err(error) => shared.trouble("proving a window", &error),
    }
}

/// Says what is wrong, and declares records lost whose bytes are gone: half the fee, and an end to the debt.
async fn give_up(shared: &Arc<Shared>, set: SetId, error: window::ProveError<LeafError>) {
    shared.trouble("reading challenged leaves", &error);
    let window::ProveError::Open { source, .. } = &error else { return };
    if let Some(record) = source.lost() {
        let operation = Operation::DeclareLost { set: set.number, records: vec![record] };
        if let Err(error) = shared.parts.wallet.execute(vec![operation]).await {
            shared.trouble("declaring a record lost", &error);
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error("the set is not as the chain has it")]
    Set(#[source] hpips_proofs::StatementError),
    #[error("the window's records are not on chain any more")]
    Snapshot,
    #[error("no witness")]
    Window(#[source] window::ProveError<LeafError>),
    #[error("no proof")]
    Prove(#[from] hpips_prover::ProveError),
}

fn leaf_commitment(
    shared: &Shared,
    set: SetId,
    task: &WindowTask,
) -> Result<Element, window::ProveError<LeafError>> {
    let snapshot = query::snapshot(&shared.parts.chain.state(), set, task.version);
    let reader = Reader { shared, snapshot: snapshot.as_ref() };
    window::commit(&task.terms, |challenge| reader.leaf(challenge))
}

fn make_proof(
    shared: &Shared,
    set: SetId,
    task: &WindowTask,
) -> Result<(WindowProof, PostedProof), ProofError> {
    let leaf_commitment = leaf_commitment(shared, set, task).map_err(ProofError::Window)?;
    let late = task.prove_by.is_none().then_some(leaf_commitment);
    let proof = prove_task(shared, set, task, leaf_commitment)?;
    let statement = Statement::Window(task.terms.clone().commit(leaf_commitment));
    let export = ProofExport::new(shared.parts.prover.verifying_keys(), &statement, &proof)
        .expect("the prover gives what holds");
    let posted = PostedProof { set: set.number, window: task.window, export };
    Ok((WindowProof { set, window: task.window, late, proof }, posted))
}

/// Proves a task over its snapshot; the entry proof of a repair is made by the same function.
pub(crate) fn prove_task(
    shared: &Shared,
    set: SetId,
    task: &WindowTask,
    leaf_commitment: Element,
) -> Result<hpips_proofs::ProofBytes, ProofError> {
    let started = Instant::now();
    let state = shared.parts.chain.state();
    let snapshot = query::snapshot(&state, set, task.version).ok_or(ProofError::Snapshot)?;
    let tree = SetTree::from_records(&shared.shape, &snapshot.records).map_err(ProofError::Set)?;
    let statement = task.terms.clone().commit(leaf_commitment);
    let reader = Reader { shared, snapshot: Some(&snapshot) };
    let witness = window::prove(&statement, &snapshot.records, &tree, |challenge| reader.open(challenge))
        .map_err(ProofError::Window)?;
    // A debt has no deadline, and goes after every window that is still open.
    let order = Order { priority: Priority::Window, deadline: task.prove_by.map(|by| shared.moment(by)) };
    let proof = shared.parts.prover.prove(Statement::Window(statement), Witness::from(witness), order)?;
    let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    shared.report(|status| {
        status.proofs += 1;
        status.proof_ms = Some(elapsed);
    });
    Ok(proof)
}

/// Commits to the leaves of terms over a snapshot.
pub(crate) fn commit_terms(
    shared: &Shared,
    set: SetId,
    version: u64,
    terms: &WindowTerms,
) -> Result<Element, window::ProveError<LeafError>> {
    let snapshot = query::snapshot(&shared.parts.chain.state(), set, version);
    let reader = Reader { shared, snapshot: snapshot.as_ref() };
    window::commit(terms, |challenge| reader.leaf(challenge))
}

/// Finds challenged leaves on disk.
struct Reader<'a> {
    shared: &'a Shared,
    snapshot: Option<&'a Snapshot>,
}

impl Reader<'_> {
    fn record(&self, index: RecordIndex) -> Result<(&Record, &RecordLayout), LeafError> {
        let snapshot = self.snapshot.ok_or(LeafError::Record(index))?;
        let at = usize::from(index.get());
        snapshot.records.get(at).zip(snapshot.layouts.get(at)).ok_or(LeafError::Record(index))
    }

    fn leaf(&self, challenge: &WindowChallenge) -> Result<Fr, LeafError> {
        let index = challenge.record;
        match self.record(index)? {
            (Record::Bundle { .. }, RecordLayout::Bundle(_)) => {
                let (_, piece, inside) = self.piece(challenge)?;
                piece.leaf(inside).map_err(|source| LeafError::Piece(index, source))
            }
            _ => Ok(self.open(challenge)?.leaf),
        }
    }

    fn open(&self, challenge: &WindowChallenge) -> Result<LeafOpening, LeafError> {
        let index = challenge.record;
        match self.record(index)?.0 {
            Record::Empty => Err(LeafError::Record(index)),
            Record::Sealed { replica_id, .. } => {
                let sectors = self.shared.sectors();
                let sector =
                    sectors.by_replica(*replica_id).ok_or(LeafError::Sector(index, SectorError::Missing))?;
                sector.open(challenge.leaf).map_err(|source| LeafError::Sector(index, source))
            }
            Record::Bundle { root } => {
                let (bundle, piece, inside) = self.piece(challenge)?;
                if bundle.root() != *root {
                    return Err(LeafError::Record(index));
                }
                let (leaf, path) = piece.open(inside).map_err(|source| LeafError::Piece(index, source))?;
                bundle.open(challenge.leaf, leaf, path).ok_or(LeafError::Record(index))
            }
        }
    }

    /// The bundle as the window has it, the piece that a challenge falls on, and the leaf inside the piece.
    fn piece(&self, challenge: &WindowChallenge) -> Result<(Bundle, Arc<Piece>, u32), LeafError> {
        let index = challenge.record;
        let (Record::Bundle { root }, RecordLayout::Bundle(extents)) = self.record(index)? else {
            return Err(LeafError::Record(index));
        };
        let mut choices = Vec::new();
        for extent in extents {
            let ids = self.shared.placed((index, extent.offset, extent.bytes));
            if ids.is_empty() {
                return Err(LeafError::Unknown(index));
            }
            let pieces: Vec<_> = ids.into_iter().filter_map(|id| self.shared.pieces.get(id)).collect();
            if pieces.is_empty() {
                return Err(LeafError::Piece(index, PieceError::Missing));
            }
            choices.push((*extent, pieces));
        }
        let (bundle, chosen) =
            assemble(&choices, *root, |piece| piece.meta.comm_p).ok_or(LeafError::Record(index))?;
        let found = bundle.piece_at(challenge.leaf).map(|at| at.offset).ok_or(LeafError::Record(index))?;
        let at = extents.iter().position(|extent| extent.offset == found).ok_or(LeafError::Record(index))?;
        Ok((bundle, Arc::clone(chosen[at]), challenge.leaf - found))
    }
}

/// Puts a bundle together whose places may have held several pieces, so that it has the root that the window
/// froze. Where no place is doubtful the root is left to whoever opens a leaf.
fn assemble<T>(
    choices: &[(DataExtent, Vec<T>)],
    root: Element,
    comm_p: impl Fn(&T) -> Element,
) -> Option<(Bundle, Vec<&T>)> {
    let combinations = choices
        .iter()
        .fold(1usize, |count, (_, pieces)| count.saturating_mul(pieces.len()).min(COMBINATIONS_MAX));
    for mut number in 0..combinations {
        let mut bundle = Bundle::new();
        let mut chosen = Vec::new();
        for (extent, pieces) in choices {
            let piece = pieces.get(number % pieces.len())?;
            number /= pieces.len();
            let entry = BundlePiece { offset: extent.offset, bytes: extent.bytes, comm_p: comm_p(piece) };
            bundle.insert(entry).ok()?;
            chosen.push(piece);
        }
        if combinations == 1 || bundle.root() == root {
            return Some((bundle, chosen));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hpips_types::{DealId, SlotIndex};

    use super::*;
    use crate::pieces::PieceId;
    use crate::provider::Placements;

    #[test]
    fn a_piece_that_takes_anothers_place_does_not_hide_it() {
        let id = |deal| PieceId { deal: DealId::new(deal), slot: SlotIndex::new(0) };
        let (first, second) = (RecordIndex::new(3), 700u64);
        let mut placements = Placements::default();
        for deal in [1, 1, 2, 2] {
            placements.note((first, 512, second), id(deal));
        }
        placements.note((first, 0, second), id(9));
        assert_eq!(placements.at((first, 512, second)), [id(2), id(1)]);

        // A window that opened on the first piece is still answered with it.
        let comm_p = |id: &PieceId| Element::from(Fr::from(id.deal.get()));
        let extent = |offset| DataExtent { offset, bytes: second };
        let choices: Vec<_> =
            [0, 512].into_iter().map(|at| (extent(at), placements.at((first, at, second)))).collect();
        for deal in [1, 2] {
            let mut bundle = Bundle::new();
            for (offset, id) in [(0, id(9)), (512, id(deal))] {
                bundle.insert(BundlePiece { offset, bytes: second, comm_p: comm_p(&id) }).unwrap();
            }
            let (assembled, chosen) = assemble(&choices, bundle.root(), comm_p).unwrap();
            assert_eq!((assembled, chosen), (bundle, vec![&id(9), &id(deal)]));
        }
        assert!(assemble(&choices, Element::ZERO, comm_p).is_none());
        placements.forget(id(2));
        assert_eq!(placements.at((first, 512, second)), [id(1)]);
    }

    #[test]
    fn confusion_is_no_loss() {
        let record = RecordIndex::new(1);
        for (error, lost) in [
            (LeafError::Record(record), None),
            (LeafError::Unknown(record), None),
            (LeafError::Piece(record, PieceError::Missing), Some(record)),
        ] {
            assert_eq!(error.lost(), lost, "{error}");
        }
    }
}
