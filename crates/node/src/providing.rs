//! Tells the DHTs which blocks are here: new roots at once, everything again before records expire.
//!
//! The sweep goes on one block after the other beside everything else, a few walks at a time, so that neither `add` nor
//! the network feels it; new roots overtake it.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use hpips_net::{Net, RoutingError};
use hpips_store::{PinKind, Store};
use hpips_types::Cid;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::config::Provide;

/// Records last 48 hours; told again so often that one failed round does no harm (as the IPFS network does).
const SWEEP: Duration = Duration::from_secs(22 * 3600);
/// How soon a root that nobody took is told again: the first peers may still be connecting. Doubles while nobody does ...
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// ... up to this.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Walks through the network at once. Twenty peers are told each time.
const WALKS_MAX: usize = 8;
/// Of these, walks of the sweep: new roots find room.
const SWEEP_WALKS_MAX: usize = 4;
/// New roots that wait; more are left to the next sweep.
const ROOTS_MAX: usize = 4096;
/// Blocks that the sweep's reader is ahead.
const AHEAD: usize = 64;

/// Starts telling. Ends with the network, or when the task is aborted.
pub(crate) fn start(net: &Net, store: &Store, strategy: Provide) -> JoinHandle<()> {
    let (sender, roots) = mpsc::channel(ROOTS_MAX);
    if net.routing().is_on() {
        store.on_pin(move |root| {
            if sender.try_send(root).is_err() {
                tracing::debug!(%root, "too many new roots: told in the next sweep");
            }
        });
    }
    let providing = Providing {
        net: net.clone(),
        store: store.clone(),
        strategy,
        walks: JoinSet::new(),
        sweeping: 0,
        new: VecDeque::new(),
        again: BTreeSet::new(),
        wait: AGAIN_FIRST,
    };
    tokio::spawn(providing.run(roots))
}

struct Providing {
    net: Net,
    store: Store,
    strategy: Provide,
    /// Walks under way: the block, whether it is of the sweep, how it went.
    walks: JoinSet<(Cid, bool, Result<(), RoutingError>)>,
    sweeping: usize,
    new: VecDeque<Cid>,
    again: BTreeSet<Cid>,
    wait: Duration,
}

impl Providing {
    async fn run(mut self, mut roots: mpsc::Receiver<Cid>) {
        if !self.net.routing().is_on() {
            return;
        }
        let mut sweeps = tokio::time::interval(SWEEP);
        let mut retry = std::pin::pin!(tokio::time::sleep(self.wait));
        let mut sweep: Option<mpsc::Receiver<Cid>> = None;
        loop {
            while self.walks.len() < WALKS_MAX
                && let Some(root) = self.new.pop_front()
            {
                self.walk(root, false);
            }
            tokio::select! {
                root = roots.recv() => match root {
                    Some(root) => self.new.push_back(root),
                    None => return,
                },
                Some(done) = self.walks.join_next() => match done {
                    Ok((_, _, Err(RoutingError::Closed))) => return,
                    Ok((cid, of_sweep, outcome)) => self.on_told(cid, of_sweep, outcome),
                    Err(_) => return,
                },
                cid = next(&mut sweep), if self.sweeping < SWEEP_WALKS_MAX => match cid {
                    Some(cid) => self.walk(cid, true),
                    None => sweep = None,
                },
                _ = sweeps.tick() => sweep = Some(self.sweep()),
                () = &mut retry, if !self.again.is_empty() => {
                    self.new.extend(std::mem::take(&mut self.again));
                    self.wait = (2 * self.wait).min(AGAIN_MAX);
                    retry.as_mut().reset(tokio::time::Instant::now() + self.wait);
                }
            }
        }
    }

    fn walk(&mut self, cid: Cid, of_sweep: bool) {
        self.sweeping += usize::from(of_sweep);
        let routing = self.net.routing().clone();
        self.walks.spawn(async move {
            let outcome = routing.provide(cid).await;
            (cid, of_sweep, outcome)
        });
    }

    fn on_told(&mut self, cid: Cid, of_sweep: bool, outcome: Result<(), RoutingError>) {
        self.sweeping -= usize::from(of_sweep);
        let Err(error) = outcome else {
            self.wait = AGAIN_FIRST;
            return;
        };
        tracing::debug!(%cid, %error, "nobody was told of a block");
        // What is no longer pinned needs no telling.
        if self.again.len() < ROOTS_MAX && (of_sweep || self.store.pin_of(&cid).is_some()) {
            self.again.insert(cid);
        }
    }

    /// Reads all that is to be told on a thread of its own, no faster than it is told.
    fn sweep(&self) -> mpsc::Receiver<Cid> {
        let (sender, blocks) = mpsc::channel(AHEAD);
        let (store, strategy) = (self.store.clone(), self.strategy);
        tokio::task::spawn_blocking(move || {
            let mut tell = |cid: &Cid| sender.blocking_send(*cid).is_ok();
            match strategy {
                Provide::Roots => roots(&store).iter().all(|(cid, _)| tell(cid)),
                Provide::Pinned => pinned(&store, &mut tell),
                Provide::All => {
                    store.for_each_block(|cid, _| if tell(cid) { Ok(()) } else { Err(Stop) }).is_ok()
                }
            }
        });
        blocks
    }
}

/// Why a scan of all blocks ended early: nobody wants more, or the index failed, of which the log tells elsewhere.
struct Stop;

impl From<hpips_store::IndexError> for Stop {
    fn from(error: hpips_store::IndexError) -> Self {
        tracing::warn!(%error, "not every block was told to the network");
        Self
    }
}

/// Roots, and whether what is below them belongs to them.
fn roots(store: &Store) -> Vec<(Cid, bool)> {
    let pins = store.pins().into_iter().map(|pin| (pin.cid, pin.kind == PinKind::Recursive));
    pins.chain(store.files_root().map(|root| (root, true))).collect()
}

/// Tells everything that is pinned and here, each block once; false when nobody wants more.
fn pinned(store: &Store, tell: &mut dyn FnMut(&Cid) -> bool) -> bool {
    let mut seen = HashSet::new();
    for (root, is_recursive) in roots(store) {
        let mut left = vec![root];
        while let Some(cid) = left.pop() {
            if !seen.insert(cid) {
                continue;
            }
            if !matches!(store.has(&cid), Ok(true)) {
                continue;
            }
            if !tell(&cid) {
                return false;
            }
            if !is_recursive || hpips_dag::is_leaf_codec(&cid) {
                continue;
            }
            if let Ok(Some(block)) = store.get(&cid) {
                // A block of a codec without a reader has no links that are followed anywhere.
                left.extend(hpips_dag::children(&cid, &block).unwrap_or_default());
            }
        }
    }
    true
}

/// The next block of a sweep; never comes while none is under way.
async fn next(sweep: &mut Option<mpsc::Receiver<Cid>>) -> Option<Cid> {
    match sweep {
        Some(sweep) => sweep.recv().await,
        None => std::future::pending().await,
    }
}
