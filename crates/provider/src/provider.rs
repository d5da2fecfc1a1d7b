//! The handle and what its tasks share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hpips_chain::{Chain, Wallet};
use hpips_ledger::query::HeldPiece;
use hpips_net::{AlreadyAccepted, Net};
use hpips_proofs::shape::ShapeError;
use hpips_proofs::{Shape, seal};
use hpips_prover::{Prover, UnderWay};
use hpips_store::Store;
use hpips_types::{AccountId, Height, RecordIndex, WindowIndex};
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio::task::JoinHandle;
use tracing::info;

use crate::config::{Config, Target};
use crate::pieces::{PieceError, PieceId, Pieces};
use crate::posted::{Posted, PostedProof};
use crate::sectors::{SectorError, Sectors};
use crate::{keep, pledge, repair, serve, window};

/// What a provider is made of besides its folders.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The network.
    pub net: Net,
    /// The chain.
    pub chain: Chain,
    /// The account's wallet, shared with the client of the same node.
    pub wallet: Wallet,
    /// Where blocks of pieces are served from.
    pub store: Store,
    /// Makes the proofs.
    pub prover: Arc<Prover>,
}

/// Why a provider does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sectors' folder.
    #[error("cannot open the sectors")]
    Sectors(#[from] SectorError),
    /// The folder.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The pieces' folder.
    #[error("cannot open the pieces")]
    Pieces(#[from] PieceError),
    /// The network's parameters give no circuits.
    #[error("the network's parameters are not usable")]
    Shape(#[from] ShapeError),
    /// The protocol for pieces is taken.
    #[error("pieces are served in another place already")]
    Protocol(#[from] AlreadyAccepted),
}

/// What a provider is doing; for people. Money and proofs stand on the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Sectors complete on disk.
    pub sectors: u64,
    /// Nodes sealed of those to be sealed now; zero and zero when none is.
    pub sealing: (u64, u64),
    /// Sectors there are to be; zero before the first pledge since the start.
    pub sectors_wanted: u64,
    /// How long sealing the rest takes at the pace since the start; `None` when nothing is left, or nothing known.
    pub sealing_left: Option<Duration>,
    /// Pieces complete on disk.
    pub pieces: u64,
    /// The proof that is computed, then those that wait.
    pub proving: Vec<UnderWay>,
    /// Window proofs made since the start.
    pub proofs: u64,
    /// Milliseconds the last proof took, on the prover's threads.
    pub proof_ms: Option<u64>,
    /// What went wrong last, for `pledge status`.
    pub trouble: Option<String>,
}

/// A running provider. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Provider {
    shared: Arc<Shared>,
    target: Arc<watch::Sender<Option<Target>>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What the tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) me: AccountId,
    pub(crate) shape: Shape,
    pub(crate) dir: PathBuf,
    pub(crate) reserve_bytes: u64,
    pub(crate) sealing_memory_bytes: u64,
    pub(crate) pieces: Pieces,
    placements: Mutex<Placements>,
    sectors: Mutex<Sectors>,
    status: Mutex<Status>,
    pub(crate) pace: Mutex<Pace>,
    posted: Mutex<Posted>,
    pub(crate) stop: watch::Sender<bool>,
}

/// How quickly sectors are sealed, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    nodes: u64,
    time: Duration,
}

impl Pace {
    /// Adds what was done within a time.
    pub(crate) fn note(&mut self, nodes: u64, time: Duration) {
        self.nodes = self.nodes.saturating_add(nodes);
        self.time = self.time.saturating_add(time);
    }

    /// How long so many nodes take; `None` for none, and while nothing is known.
    fn time_for(self, nodes: u64) -> Option<Duration> {
        let millis = self.time.as_millis().saturating_mul(nodes.into()).checked_div(self.nodes.into())?;
        (nodes > 0).then(|| Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

/// A place of a bundle of set 0: record, first leaf, bytes.
pub(crate) type Place = (RecordIndex, u32, u64);

/// Which pieces lie, or lay, at the places of bundles: windows are proven as they opened, also when a piece has
/// left its bundle since, and another of the same size has taken its place.
#[derive(Debug, Default)]
pub(crate) struct Placements(BTreeMap<Place, Vec<PieceId>>);

impl Placements {
    /// Notes where a piece lies now.
    pub(crate) fn note(&mut self, place: Place, id: PieceId) {
        let ids = self.0.entry(place).or_default();
        if ids.last() != Some(&id) {
            ids.retain(|other| *other != id);
            ids.push(id);
        }
    }

    /// The pieces that lay at a place, the last one first.
    pub(crate) fn at(&self, place: Place) -> Vec<PieceId> {
        self.0.get(&place).map(|ids| ids.iter().rev().copied().collect()).unwrap_or_default()
    }

    /// Forgets a piece that is deleted.
    pub(crate) fn forget(&mut self, id: PieceId) {
        self.0.retain(|_, ids| {
            ids.retain(|other| *other != id);
            !ids.is_empty()
        });
    }
}

impl Shared {
    /// Learns from a state where pieces lie.
    pub(crate) fn remember(&self, held: &[HeldPiece]) {
        let mut placements = self.placements.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in held {
            let id = PieceId { deal: piece.deal, slot: piece.slot };
            placements.note((piece.record, piece.offset, piece.bytes), id);
        }
    }

    /// The pieces that lay at a place, the last one first.
    pub(crate) fn placed(&self, place: Place) -> Vec<PieceId> {
        self.placements.lock().unwrap_or_else(PoisonError::into_inner).at(place)
    }

    /// Forgets the places of a piece that is deleted.
    pub(crate) fn forget(&self, id: PieceId) {
        self.placements.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
    }

    pub(crate) fn sectors(&self) -> MutexGuard<'_, Sectors> {
        self.sectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what people see.
    pub(crate) fn report(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The proofs that were posted.
    pub(crate) fn posted(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what went wrong for people, and logs it once.
    pub(crate) fn trouble(&self, doing: &'static str, error: &(dyn std::error::Error + 'static)) {
        let mut text = format!("{doing}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        tracing::warn!(error = %text, "provider");
        self.report(|status| status.trouble = Some(text));
    }

    /// When a height is over if blocks keep their pace. An estimate: what is given up because blocks are late is tried
    /// again at the next one.
    pub(crate) fn moment(&self, height: Height) -> Instant {
        let chain = &self.parts.chain;
        Instant::now() + left(chain.height(), height, chain.params().block_ms)
    }

    /// Waits for the next block; `false` when the provider or the chain stops.
    pub(crate) async fn next_block(
        &self,
        blocks: &mut tokio::sync::broadcast::Receiver<Arc<hpips_chain::Finalized>>,
    ) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            block = blocks.recv() => !matches!(block, Err(RecvError::Closed)),
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }
}

/// From a height to the end of another; nothing when that is over.
fn left(now: Height, last: Height, block_ms: u64) -> Duration {
    let blocks = last.get().saturating_add(1).saturating_sub(now.get());
    Duration::from_millis(blocks.saturating_mul(block_ms))
}

impl Provider {
    /// Opens the folders and starts the tasks. Blocks for as long as opening the folders takes.
    ///
    /// # Errors
    /// [`StartError`] by variant.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: Config, parts: Parts) -> Result<Self, StartError> {
        let shape = Shape::of(parts.chain.params())?;
        let folder = |source| StartError::Folder { path: config.dir.clone(), source };
        std::fs::create_dir_all(&config.dir).map_err(folder)?;
        // The store serves blocks out of piece files by absolute path.
        let dir = config.dir.canonicalize().map_err(folder)?;
        let sectors = Sectors::open(dir.join("sectors"), &shape)?;
        let pieces = Pieces::open(dir.join("pieces"))?;
        let incoming = parts.net.accept(&hpips_net::piece::protocol(&parts.chain.params().name))?;
        let me = parts.wallet.account();
        let (target, targets) = watch::channel(config.target);
        let status = Status { sectors: sectors.iter().count() as u64, ..Status::default() };
        let shared = Arc::new(Shared {
            parts,
            me,
            shape,
            dir,
            reserve_bytes: config.reserve_bytes,
            sealing_memory_bytes: config.sealing_memory_bytes,
            pieces,
            placements: Mutex::default(),
            sectors: Mutex::new(sectors),
            status: Mutex::new(status),
            pace: Mutex::default(),
            posted: Mutex::default(),
            stop: watch::channel(false).0,
        });
        let tasks = vec![
            tokio::spawn(pledge::run(Arc::clone(&shared), targets)),
            tokio::spawn(window::run(Arc::clone(&shared))),
            tokio::spawn(serve::run(Arc::clone(&shared), incoming)),
            tokio::spawn(keep::run(Arc::clone(&shared))),
            tokio::spawn(repair::run(Arc::clone(&shared))),
        ];
        info!(provider = %me, "providing");
        Ok(Self { shared, target: Arc::new(target), tasks: Arc::new(Mutex::new(tasks)) })
    }

    /// Offers this much from now on.
    pub fn pledge(&self, target: Target) {
        self.target.send_replace(Some(target));
    }

    /// What is going on.
    pub fn status(&self) -> Status {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        status.pieces = self.shared.pieces.all().len() as u64;
        status.proving = self.shared.parts.prover.under_way();
        let pace = *self.shared.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let each = seal::Progress::steps(self.shared.shape.sector_height());
        let all = status.sectors_wanted.saturating_sub(status.sectors).saturating_mul(each);
        status.sealing_left = pace.time_for(all.saturating_sub(status.sealing.0));
        status
    }

    /// The newest window's proof that was sent to the chain since the start, or that of a window; the last few are
    /// remembered.
    pub fn posted_proof(&self, window: Option<WindowIndex>) -> Option<PostedProof> {
        self.shared.posted().find(window).cloned()
    }

    /// The windows whose proofs are remembered, oldest first.
    pub fn posted_windows(&self) -> Vec<WindowIndex> {
        self.shared.posted().windows()
    }

    /// Stops taking in, gives up the proofs that wait or are made, waits for the tasks. What is on disk is complete at
    /// any moment.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        self.shared.parts.prover.stop();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task's panic was printed by the panic hook; there is nothing to undo.
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_the_pace_says() {
        let mut pace = Pace::default();
        assert_eq!(pace.time_for(5), None, "nothing is known");
        pace.note(100, Duration::from_secs(10));
        pace.note(100, Duration::from_secs(30));
        assert_eq!(pace.time_for(50), Some(Duration::from_secs(10)));
        assert_eq!(pace.time_for(0), None);
        pace.note(u64::MAX, Duration::MAX);
        assert!(pace.time_for(u64::MAX).is_some());
    }

    #[test]
    fn a_height_lasts_until_the_next_block() {
        for (now, last, blocks) in [(5, 9, 5), (9, 9, 1), (10, 9, 0), (11, 9, 0)] {
            let left = left(Height::new(now), Height::new(last), 1_000);
            assert_eq!(left, Duration::from_secs(blocks), "{last} at {now}");
        }
    }
}
