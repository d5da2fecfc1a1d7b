//! Blocks of a stored object for readers that block: local store, holders, and parity where holders are dead.
//!
//! Readers wait on a condition; tasks on the runtime fetch and put what came into a bounded cache. A block whose
//! holder has no connection is not asked around for: its stripe is rebuilt from the first `k` shards that answer,
//! and everything of the stripe that was fetched or rebuilt on the way is kept for the reader, who will want
//! it next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use hpips_dag::Block;
use hpips_erasure::{RebuildError, StripeMap};
use hpips_net::{FetchError, Net, Provider, Session};
use hpips_store::Store;
use hpips_types::{AccountId, Cid, DealId, ShardIndex, SlotIndex, StripeIndex};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::debug;

use crate::blocks::{BlockGetter, GetBlockError, LOOK_UP};
use crate::cache::Cache;
use crate::object::{ObjectPart, collect};

/// Blocks fetched ahead of the reader at most.
const WINDOW: usize = 64;
/// Stripes rebuilt at once.
const REBUILDS: usize = 2;
/// Providers found in a DHT that are connected with, of one search.
const PROVIDERS_MAX: usize = 10;
/// Wait before peers are asked again that did not have a block.
const AGAIN: Duration = Duration::from_millis(500);
/// Fetched blocks are stored in batches of so many bytes: each costs a sync.
const BATCH_BYTES: usize = 16 << 20;

/// How blocks are fetched.
#[derive(Clone, Copy, Debug)]
pub struct FetchOptions {
    /// How long a block is looked for before it counts as not found.
    pub deadline: Duration,
    /// A holder that sends nothing for so long is taken for dead.
    pub silence: Duration,
    /// Memory for blocks that were fetched and not yet read, bytes.
    pub cache_bytes: usize,
    /// Whether fetched blocks are stored too; [`NetBlocks::flush`] stores the last ones.
    pub keep: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            silence: Duration::from_secs(10),
            cache_bytes: 128 << 20,
            keep: false,
        }
    }
}

impl FetchOptions {
    /// With the patience that a network's configuration says.
    pub fn of(net: &Net) -> Self {
        Self { deadline: net.limits().find, ..Self::default() }
    }
}

/// Where blocks came from so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Bytes of blocks from the local store.
    pub local_bytes: u64,
    /// Bytes of blocks fetched from peers, those for rebuilding included.
    pub fetched_bytes: u64,
    /// Bytes of blocks rebuilt from parity.
    pub rebuilt_bytes: u64,
    /// Holders that answer now.
    pub holders: usize,
}

/// A [`BlockGetter`] over the network. Clones share everything. It blocks: never call it on an async thread.
#[derive(Clone)]
pub struct NetBlocks(Arc<Inner>);

type Refresh = Box<dyn Fn(DealId) -> Vec<Option<AccountId>> + Send + Sync>;
type Key = (usize, StripeIndex);

struct Inner {
    net: Net,
    store: Store,
    session: Session,
    parts: Vec<ObjectPart>,
    /// By part; newer than what stands in `parts`.
    holders: RwLock<Vec<Vec<Option<AccountId>>>>,
    refresh: Option<Refresh>,
    options: FetchOptions,
    runtime: Handle,
    rebuilds: tokio::sync::Semaphore,
    /// Held while providers are looked for: one search a reader.
    seeking: tokio::sync::Mutex<()>,
    stripes: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    state: Mutex<State>,
    /// Wakes readers when something has left `pending`; `settled` wakes tasks.
    arrived: Condvar,
    settled: Notify,
    local_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    rebuilt_bytes: AtomicU64,
}

struct State {
    cache: Cache,
    pending: HashSet<Cid>,
    failed: HashMap<Cid, Failed>,
    unkept: Vec<Block>,
    unkept_bytes: usize,
}

/// Why a block is not coming.
#[derive(Clone, Copy)]
enum Failed {
    NotFound { peers: usize },
    TooFew { answer: usize, slots: u16, needed: u16 },
    Closed,
}

impl fmt::Debug for NetBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBlocks").field("parts", &self.0.parts.len()).field("stats", &self.stats()).finish()
    }
}

impl NetBlocks {
    /// Blocks of these parts, and of connected peers where there are none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(net: &Net, store: &Store, parts: Vec<ObjectPart>, options: FetchOptions) -> Self {
        let holders: Vec<_> = parts.iter().map(|part| part.holders.clone()).collect();
        let peers: BTreeSet<AccountId> = holders.iter().flatten().flatten().copied().collect();
        let state = State {
            cache: Cache::new(options.cache_bytes),
            pending: HashSet::new(),
            failed: HashMap::new(),
            unkept: Vec::new(),
            unkept_bytes: 0,
        };
        Self(Arc::new(Inner {
            net: net.clone(),
            store: store.clone(),
            session: Session::new(net, peers.into_iter().collect()),
            parts,
            holders: RwLock::new(holders),
            refresh: None,
            options,
            runtime: Handle::current(),
            rebuilds: tokio::sync::Semaphore::new(REBUILDS),
            seeking: tokio::sync::Mutex::new(()),
            stripes: Mutex::default(),
            state: Mutex::new(state),
            arrived: Condvar::new(),
            settled: Notify::new(),
            local_bytes: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            rebuilt_bytes: AtomicU64::new(0),
        }))
    }

    /// Asks this for the holders of a deal when those known do not suffice: slots are repaired meanwhile.
    pub(crate) fn refreshed_by(
        mut self,
        refresh: impl Fn(DealId) -> Vec<Option<AccountId>> + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("nobody else has it before it is returned");
        inner.refresh = Some(Box::new(refresh));
        self
    }

    /// Where blocks came from so far.
    pub fn stats(&self) -> FetchStats {
        let inner = &self.0;
        let holders: BTreeSet<AccountId> = inner.known_holders().into_iter().collect();
        FetchStats {
            local_bytes: inner.local_bytes.load(Ordering::Relaxed),
            fetched_bytes: inner.fetched_bytes.load(Ordering::Relaxed),
            rebuilt_bytes: inner.rebuilt_bytes.load(Ordering::Relaxed),
            holders: holders.iter().filter(|holder| inner.net.is_connected(holder)).count(),
        }
    }

    /// Stores what was fetched and is not stored yet, where [`FetchOptions::keep`] says so. Blocks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn flush(&self) -> Result<(), hpips_store::WriteError> {
        let blocks = {
            let mut state = self.0.state();
            state.unkept_bytes = 0;
            std::mem::take(&mut state.unkept)
        };
        if blocks.is_empty() { Ok(()) } else { self.0.store.put_built(blocks) }
    }
}

impl BlockGetter for NetBlocks {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.get_while(cid, &|| true)
    }

    fn get_while(&self, cid: &Cid, is_wanted: &dyn Fn() -> bool) -> Result<Bytes, GetBlockError> {
        let inner = &self.0;
        match inner.store.get(cid) {
            Ok(Some(block)) => {
                inner.local_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
                return Ok(block);
            }
            Ok(None) => {}
            Err(source) => return Err(GetBlockError::Store { cid: *cid, source: Box::new(source) }),
        }
        let mut state = inner.state();
        loop {
            if let Some(block) = state.cache.get(cid) {
                return Ok(block);
            }
            if let Some(failed) = state.failed.remove(cid) {
                return Err(failed.of(*cid));
            }
            if !is_wanted() {
                return Err(GetBlockError::Unwanted { cid: *cid });
            }
            if !state.pending.contains(cid) {
                inner.start(&mut state, vec![*cid]);
            }
            let waited = inner.arrived.wait_timeout(state, LOOK_UP);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn prefetch(&self, cids: &[Cid]) {
        let absent: Vec<Cid> =
            cids.iter().filter(|cid| matches!(self.0.store.has(cid), Ok(false))).copied().collect();
        let mut state = self.0.state();
        let room = WINDOW.saturating_sub(state.pending.len());
        let is_new = |cid: &Cid| {
            !state.cache.has(cid) && !state.pending.contains(cid) && !state.failed.contains_key(cid)
        };
        let new: Vec<Cid> = absent.into_iter().filter(is_new).take(room).collect();
        if !new.is_empty() {
            self.0.start(&mut state, new);
        }
    }
}

impl Failed {
    fn of(self, cid: Cid) -> GetBlockError {
        match self {
            Self::NotFound { peers } => GetBlockError::NotFound { cid, peers: Some(peers) },
            Self::TooFew { answer, slots, needed } => {
                GetBlockError::TooFewSlots { cid, answer, slots, needed }
            }
            Self::Closed => GetBlockError::Fetch { cid, source: Box::new(FetchError::Closed) },
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_holders(&self) -> Vec<AccountId> {
        let holders = self.holders.read().unwrap_or_else(PoisonError::into_inner);
        holders.iter().flatten().flatten().copied().collect()
    }

    fn holder(&self, part: usize, slot: SlotIndex) -> Option<AccountId> {
        let holders = self.holders.read().unwrap_or_else(PoisonError::into_inner);
        holders[part].get(usize::from(slot.get())).copied().flatten()
    }

    /// The holder of a slot, if it is connected.
    fn answering(&self, part: usize, slot: SlotIndex) -> Option<AccountId> {
        self.holder(part, slot).filter(|holder| self.net.is_connected(holder))
    }

    /// Starts a task for blocks that nobody fetches yet. Each of them leaves `pending` when the task is done.
    fn start(self: &Arc<Self>, state: &mut State, cids: Vec<Cid>) {
        state.pending.extend(&cids);
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            // Also when the task ends by a panic, nobody waits for ever.
            let _claim = Claim { inner: &inner, cids: cids.clone() };
            inner.fetch(cids).await;
        });
    }

    async fn fetch(self: &Arc<Self>, cids: Vec<Cid>) {
        let until = Instant::now() + self.options.deadline;
        let (mut direct, mut lost) = (Vec::new(), BTreeMap::<Key, Vec<Cid>>::new());
        for cid in cids {
            match self.place(&cid) {
                None => direct.push((cid, Vec::new())),
                Some((part, stripe, slot)) => match self.answering(part, slot) {
                    Some(holder) => direct.push((cid, vec![holder])),
                    None => lost.entry((part, stripe)).or_default().push(cid),
                },
            }
        }
        let (more, ()) = tokio::join!(self.fetch_direct(direct, until), self.rebuild_all(lost, until));
        self.rebuild_all(more, until).await;
    }

    /// Where a block lies in the object.
    fn place(&self, cid: &Cid) -> Option<(usize, StripeIndex, SlotIndex)> {
        self.parts.iter().enumerate().find_map(|(part, object)| {
            let location = object.map.locate(cid)?;
            Some((part, location.stripe, location.slot))
        })
    }

    /// Asks holders, or anybody for blocks of no deal. Returns what has to be rebuilt.
    async fn fetch_direct(
        self: &Arc<Self>,
        mut cids: Vec<(Cid, Vec<AccountId>)>,
        until: Instant,
    ) -> BTreeMap<Key, Vec<Cid>> {
        let mut lost = BTreeMap::<Key, Vec<Cid>>::new();
        while !cids.is_empty() {
            let mut open: HashSet<Cid> = cids.iter().map(|(cid, _)| *cid).collect();
            let mut asked = 0;
            let mut stream = self.session.get_from(cids);
            loop {
                match tokio::time::timeout(self.options.silence, stream.next()).await {
                    Ok(Some(Ok((cid, block)))) => {
                        open.remove(&cid);
                        self.deliver(vec![(cid, block)], &self.fetched_bytes);
                    }
                    Ok(Some(Err(FetchError::NotFound { asked: peers, .. }))) => asked = asked.max(peers),
                    Ok(Some(Err(FetchError::Closed))) => {
                        self.fail(open, Failed::Closed);
                        return BTreeMap::new();
                    }
                    Ok(Some(Err(FetchError::Deadline { .. }))) => {}
                    Ok(None) | Err(_) => break,
                }
            }
            drop(stream);
            let mut again = Vec::new();
            for cid in open {
                match self.place(&cid) {
                    Some((part, stripe, _)) => lost.entry((part, stripe)).or_default().push(cid),
                    None => again.push(cid),
                }
            }
            if !again.is_empty() && Instant::now() + AGAIN >= until {
                let peers = if asked > 0 { asked } else { self.net.connected().len() };
                self.fail(again, Failed::NotFound { peers });
                break;
            }
            if let Some(cid) = again.first().copied() {
                // Whoever has it is looked for, or may connect later.
                self.seek(cid, until).await;
            }
            cids = again.into_iter().map(|cid| (cid, Vec::new())).collect();
        }
        lost
    }

    /// Looks for somebody who has a block and connects with whom is found; returns with the first connection, or
    /// after [`AGAIN`] where there is nobody to ask. The rest of the search goes on beside the reading.
    async fn seek(self: &Arc<Self>, cid: Cid, until: Instant) {
        let routing = self.net.routing();
        let turn = if routing.can_search() { self.seeking.try_lock().ok() } else { None };
        let Some(_turn) = turn else {
            tokio::time::sleep(AGAIN).await;
            return;
        };
        let mut providers = routing.search(cid);
        let mut dials = tokio::task::JoinSet::new();
        let mut tried = HashSet::from([self.net.peer_id()]);
        let mut connected = false;
        let searching = async {
            let mut ended = false;
            loop {
                tokio::select! {
                    provider = providers.recv(), if !ended && tried.len() <= PROVIDERS_MAX => match provider {
                        Some(Provider { peer, addresses }) if tried.insert(peer) => {
                            let net = self.net.clone();
                            dials.spawn(async move {
                                net.heard_of(peer, addresses).await;
                                net.connect_peer(peer).await.is_ok()
                            });
                        }
                        Some(_) => {}
                        None => ended = true,
                    },
                    Some(dialed) = dials.join_next() => {
                        if dialed.unwrap_or(false) {
                            connected = true;
                            return;
                        }
                    }
                    else => return,
                }
            }
        };
        let _ = tokio::time::timeout_at(until.into(), searching).await;
        debug!(%cid, tried = tried.len() - 1, connected, "looked for providers");
        dials.detach_all();
        if !connected {
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn rebuild_all(self: &Arc<Self>, lost: BTreeMap<Key, Vec<Cid>>, until: Instant) {
        let rebuilding = stream::iter(lost).map(|(key, cids)| self.rebuild(key, cids, until));
        rebuilding.buffer_unordered(REBUILDS).collect::<()>().await;
    }

    /// Rebuilds the blocks of a stripe whose holders do not answer.
    async fn rebuild(self: &Arc<Self>, key: Key, cids: Vec<Cid>, until: Instant) {
        let turn =
            Arc::clone(self.stripes.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let _turn = turn.lock().await;
        let _permit = self.rebuilds.acquire().await;
        let (part, stripe) = key;
        let map = &self.parts[part].map;
        // Slots that failed us although they are connected.
        let mut failing = BTreeSet::new();
        loop {
            let missing: Vec<Cid> = {
                let state = self.state();
                cids.iter().filter(|cid| !state.cache.has(cid)).copied().collect()
            };
            if missing.is_empty() {
                return;
            }
            let answers = |slot| !failing.contains(&slot) && self.answering(part, slot).is_some();
            let Some(sources) = map.sources(stripe, answers) else {
                if Instant::now() + AGAIN >= until {
                    let answer = (0..map.code().n())
                        .filter(|slot| self.answering(part, SlotIndex::new(*slot)).is_some())
                        .count();
                    let (slots, needed) = (map.code().n(), map.code().k());
                    return self.fail(missing, Failed::TooFew { answer, slots, needed });
                }
                failing.clear();
                self.look_again(part).await;
                continue;
            };
            let bad = self.rebuild_from(part, stripe, &sources, &missing).await;
            failing.extend(bad);
        }
    }

    /// One attempt. Returns the slots that did not deliver.
    async fn rebuild_from(
        self: &Arc<Self>,
        part: usize,
        stripe: StripeIndex,
        sources: &[ShardIndex],
        missing: &[Cid],
    ) -> Vec<SlotIndex> {
        let map = &self.parts[part].map;
        let slot_of = |shard| hpips_erasure::slot_of(map.code(), stripe, shard);
        let mut wanted: Vec<(Cid, Vec<AccountId>)> = Vec::new();
        for shard in sources {
            let holder = self.answering(part, slot_of(*shard));
            wanted.extend(
                map.blocks(stripe, *shard).iter().map(|entry| (entry.cid, holder.into_iter().collect())),
            );
        }
        // What others fetch already is waited for, everything else of the stripe is ours from now on: readers who
        // come now wait for it in turn.
        let elsewhere: HashSet<Cid> = {
            let state = self.state();
            let is_others = |cid: &Cid| state.pending.contains(cid) && !missing.contains(cid);
            wanted.iter().map(|(cid, _)| *cid).filter(is_others).collect()
        };
        let data_shards = u16::try_from(map.stripe(stripe).data.len()).expect("at most k");
        let data_shards_all = (0..data_shards).map(ShardIndex::new);
        let _claim =
            self.claim(data_shards_all.flat_map(|shard| map.blocks(stripe, shard)).map(|entry| entry.cid));
        let mut have = self.cached(&wanted);
        let ours = wanted.iter().filter(|(cid, _)| !have.contains_key(cid) && !elsewhere.contains(cid));
        let mut fetched = collect(&self.session, ours.cloned().collect(), self.options.silence).await;
        self.await_others(&elsewhere).await;
        have.extend(self.cached(&wanted));
        have.extend(fetched.iter().cloned());
        let late = wanted.iter().filter(|(cid, _)| elsewhere.contains(cid) && !have.contains_key(cid));
        let late = collect(&self.session, late.cloned().collect(), self.options.silence).await;
        fetched.extend(late);
        let is_data = |cid: &Cid| map.locate(cid).is_some_and(|at| at.shard.get() < map.code().k());
        let data = fetched.iter().filter(|(cid, _)| is_data(cid)).cloned().collect();
        self.fetched_bytes.fetch_add(
            fetched.iter().filter(|(cid, _)| !is_data(cid)).map(|(_, block)| block.len() as u64).sum(),
            Ordering::Relaxed,
        );
        self.deliver(data, &self.fetched_bytes);
        have.extend(fetched);
        let (mut shards, mut bad) = (Vec::new(), Vec::new());
        for shard in sources {
            let blocks: Option<Vec<&Bytes>> =
                map.blocks(stripe, *shard).iter().map(|entry| have.get(&entry.cid)).collect();
            match blocks {
                Some(blocks) => {
                    shards.push((*shard, blocks.into_iter().flatten().copied().collect::<Vec<u8>>()))
                }
                None => bad.push(slot_of(*shard)),
            }
        }
        if !bad.is_empty() {
            return bad;
        }
        let mut want: BTreeSet<ShardIndex> =
            (0..data_shards).map(ShardIndex::new).filter(|shard| !sources.contains(shard)).collect();
        want.extend(missing.iter().filter_map(|cid| map.locate(cid)).map(|at| at.shard));
        want.retain(|shard| !sources.contains(shard));
        let (inner, want) = (Arc::clone(self), want.into_iter().collect::<Vec<_>>());
        let rebuilt =
            tokio::task::spawn_blocking(move || rebuild_once(&inner.parts[part].map, stripe, &shards, &want));
        match rebuilt.await {
            Ok(Ok(blocks)) => self.deliver(blocks, &self.rebuilt_bytes),
            // Every shard was checked against its CID: the manifest lies. Another choice of shards may not.
            Ok(Err(error)) => {
                debug!(%stripe, %error, "stripe does not rebuild");
                return sources.iter().map(|shard| slot_of(*shard)).collect();
            }
            Err(_) => return sources.iter().map(|shard| slot_of(*shard)).collect(),
        }
        Vec::new()
    }

    fn cached(&self, wanted: &[(Cid, Vec<AccountId>)]) -> HashMap<Cid, Bytes> {
        let state = self.state();
        wanted.iter().filter_map(|(cid, _)| Some((*cid, state.cache.get(cid)?))).collect()
    }

    /// Waits until nobody fetches these any more, for as long as a holder may be silent.
    async fn await_others(&self, cids: &HashSet<Cid>) {
        let waiting = async {
            loop {
                let mut settled = std::pin::pin!(self.settled.notified());
                settled.as_mut().enable();
                if self.state().pending.is_disjoint(cids) {
                    return;
                }
                settled.await;
            }
        };
        // Whatever is missing afterwards is fetched by the caller.
        let _ = tokio::time::timeout(self.options.silence, waiting).await;
    }

    /// Asks the chain who holds the slots now and knocks at their doors.
    async fn look_again(&self, part: usize) {
        if let Some(refresh) = &self.refresh {
            let now = refresh(self.parts[part].deal);
            if now.len() == usize::from(self.parts[part].map.code().n()) {
                now.iter().flatten().for_each(|holder| self.session.add_peer(*holder));
                self.holders.write().unwrap_or_else(PoisonError::into_inner)[part] = now;
            }
        }
        let holders: BTreeSet<AccountId> = self.known_holders().into_iter().collect();
        let silent = holders.into_iter().filter(|holder| !self.net.is_connected(holder));
        let knocking = futures::future::join_all(silent.map(|holder| self.net.connect(holder)));
        // Those that do not answer are passed over; the loop above has the deadline.
        let _ = tokio::join!(knocking, tokio::time::sleep(AGAIN));
    }

    /// Marks blocks as under way that nobody fetches yet.
    fn claim<'a>(self: &'a Arc<Self>, cids: impl Iterator<Item = Cid>) -> Claim<'a> {
        let mut state = self.state();
        let mut claimed = Vec::new();
        for cid in cids {
            if !state.cache.has(&cid) && state.pending.insert(cid) {
                claimed.push(cid);
            }
        }
        Claim { inner: self, cids: claimed }
    }

    /// Blocks that were checked against their CIDs, for whoever waits.
    fn deliver(self: &Arc<Self>, blocks: Vec<(Cid, Bytes)>, counter: &AtomicU64) {
        let mut state = self.state();
        for (cid, block) in blocks {
            counter.fetch_add(block.len() as u64, Ordering::Relaxed);
            state.pending.remove(&cid);
            if self.options.keep {
                state.unkept_bytes += block.len();
                state.unkept.push(Block { cid, bytes: block.clone() });
            }
            state.cache.put(cid, block);
        }
        if state.unkept_bytes >= BATCH_BYTES {
            state.unkept_bytes = 0;
            let batch = std::mem::take(&mut state.unkept);
            let store = self.store.clone();
            self.runtime.spawn_blocking(move || {
                if let Err(error) = store.put_built(batch) {
                    // The reader has its blocks all the same; it fetches them again next time.
                    tracing::warn!(%error, "fetched blocks were not stored");
                }
            });
        }
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        self.arrived.notify_all();
        self.settled.notify_waiters();
    }

    fn fail(&self, cids: impl IntoIterator<Item = Cid>, failed: Failed) {
        let mut state = self.state();
        for cid in cids {
            state.pending.remove(&cid);
            state.failed.insert(cid, failed);
        }
        drop(state);
        self.wake();
    }
}

/// Blocks that are under way; what of them did not come is free to be fetched again.
struct Claim<'a> {
    inner: &'a Inner,
    cids: Vec<Cid>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        for cid in &self.cids {
            state.pending.remove(cid);
        }
        drop(state);
        self.inner.wake();
    }
}

/// Rebuilds shards of a stripe and cuts them into their blocks, each checked against its CID.
pub(crate) fn rebuild_once(
    map: &StripeMap,
    stripe: StripeIndex,
    shards: &[(ShardIndex, Vec<u8>)],
    want: &[ShardIndex],
) -> Result<Vec<(Cid, Bytes)>, RebuildError> {
    let given: Vec<(ShardIndex, &[u8])> =
        shards.iter().map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
    let rebuilt = map.rebuild(stripe, &given, want)?;
    let mut blocks = Vec::new();
    for (shard, bytes) in want.iter().zip(rebuilt) {
        let mut rest = Bytes::from(bytes);
        for entry in map.blocks(stripe, *shard) {
            let bytes = usize::try_from(entry.bytes).expect("a block fits into memory");
            // A copy of its own, so that one block in the cache does not keep its whole shard alive.
            blocks.push((entry.cid, Bytes::copy_from_slice(&rest.split_to(bytes))));
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests;
