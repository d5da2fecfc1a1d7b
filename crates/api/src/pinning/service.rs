//! What is done with requests: in the background, and when somebody asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hpips_client::blocks::Attended;
use hpips_client::{BlockGetter, Client, FetchOptions, GetBlockError, NetBlocks};
use hpips_dag::EnumerateError;
use hpips_ipns::Moment;
use hpips_net::Net;
use hpips_store::{IndexError, Store, WriteError};
use hpips_types::Cid;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::book::{Book, BookError, Entry, Work};
use super::failure::Failure;
use super::filter::Filter;
use super::object::{Pin, PinResults, PinStatus, Status};
use super::origins;
use super::record::Stage;
use crate::error::chain_text;
use crate::rpc::keep_all;

/// Folder of the requests in a repo.
const FOLDER: &str = "pinning";
/// How long dials of origins may take before blocks are asked for.
const ORIGINS: Duration = Duration::from_secs(10);
/// Addresses of this node in an answer at most (the specification's limit).
const DELEGATES_MAX: usize = 20;

/// What the service works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The blocks and pins.
    pub store: Store,
    /// The network.
    pub net: Net,
    /// The client's role, of a node that joined a network: it knows holders.
    pub client: Option<Client>,
    /// The folder of the repo.
    pub repo: PathBuf,
}

/// Bounds of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests fetched at once; each holds a thread and up to [`FetchOptions::cache_bytes`].
    pub at_once: usize,
    /// Requests that are remembered, in whatever state.
    pub requests_max: usize,
    /// Bytes of memory they may take, with names and metadata.
    pub bytes_max: usize,
    /// How long a request is tried before it is given up, from when it came.
    pub search: Duration,
    /// Wait before the second attempt; it doubles with each ...
    pub again_first: Duration,
    /// ... up to this.
    pub again_max: Duration,
    /// How blocks are fetched.
    pub fetch: FetchOptions,
}

impl Config {
    /// The usual, with what the node is told about fetching.
    pub fn of(net: &Net) -> Self {
        let config = Self::default();
        Self {
            fetch: FetchOptions { cache_bytes: config.fetch.cache_bytes, ..FetchOptions::of(net) },
            ..config
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            at_once: 4,
            requests_max: 10_000,
            bytes_max: 64 << 20,
            search: Duration::from_secs(24 * 3600),
            again_first: Duration::from_secs(5),
            again_max: Duration::from_secs(600),
            // A quarter of the usual: several work at once, and each only passes blocks on to the store.
            fetch: FetchOptions { cache_bytes: 32 << 20, ..FetchOptions::default() },
        }
    }
}

/// Why blocks did not become a pin.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Get(#[from] GetBlockError),
    #[error(transparent)]
    Walk(#[from] EnumerateError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Book(#[from] BookError),
    #[error("nobody wants it any more")]
    Left,
    #[error("the attempt ended unexpectedly")]
    Panicked,
}

impl WorkError {
    /// Whether another attempt may do better.
    fn is_transient(&self) -> bool {
        match self {
            Self::Get(GetBlockError::Store { .. }) => false,
            Self::Get(_) | Self::Left => true,
            Self::Walk(_) | Self::Write(_) | Self::Index(_) | Self::Book(_) | Self::Panicked => false,
        }
    }
}

/// A request whose turn it is.
struct Job {
    created: u64,
    root: Cid,
    origins: Vec<String>,
    work: Arc<Work>,
}

/// What is to be done next.
struct Turn {
    jobs: Vec<Job>,
    /// When another request may have its turn.
    next: Option<Instant>,
    is_stopping: bool,
}

/// A running pinning service. Clones are handles to the same one.
#[derive(Clone)]
pub struct Pinning(Arc<Inner>);

struct Inner {
    parts: Parts,
    config: Config,
    /// Locked on threads that may block: changes are written while it is.
    book: Mutex<Book>,
    /// Something changed that may be a reason to begin.
    wake: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pinning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinning").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Pinning {
    /// Reads the requests of the repo and goes on with those that are not done.
    ///
    /// # Errors
    /// The file system's, about the folder of the requests.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(parts: Parts, config: Config) -> std::io::Result<Self> {
        let book = Mutex::new(Book::open(parts.repo.join(FOLDER))?);
        let inner = Arc::new(Inner { parts, config, book, wake: Notify::new(), task: Mutex::default() });
        let task = tokio::spawn(Arc::clone(&inner).run());
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(Self(inner))
    }

    /// Begins nothing any more and ends what is under way; it goes on at the next start.
    pub async fn shutdown(&self) {
        let inner = Arc::clone(&self.0);
        let stopping = spawn_blocking(move || {
            let mut book = inner.book();
            book.is_stopping = true;
            book.entries().filter_map(|entry| entry.work.as_ref()).for_each(|work| work.cancel());
        });
        let _ = stopping.await;
        self.0.wake.notify_one();
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }

    /// How many requests stand how. Blocks.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 4] {
        let book = self.0.book();
        let mut counts = Status::ALL.map(|(status, word)| (status, word, 0));
        for entry in book.entries() {
            let (status, _) = entry.standing(&self.0.parts.store);
            for (counted, _, count) in &mut counts {
                *count += u64::from(*counted == status);
            }
        }
        counts.map(|(_, word, count)| (word, count))
    }

    /// The requests that a filter takes, the newest first. Blocks.
    pub(super) fn list(&self, filter: &Filter) -> PinResults {
        let book = self.0.book();
        let (mut count, mut results) = (0, Vec::new());
        let delegates = self.0.delegates();
        for entry in book.entries().rev() {
            if !filter.takes(&entry.record.pin, &entry.root, came(entry)) {
                continue;
            }
            let (status, details) = entry.standing(&self.0.parts.store);
            if !filter.takes_status(status) {
                continue;
            }
            count += 1;
            if results.len() < filter.limit {
                results.push(view(entry, status, details, delegates.clone()));
            }
        }
        PinResults { count, results }
    }

    /// One request. Blocks.
    pub(super) fn show(&self, id: &str) -> Result<PinStatus, Failure> {
        let book = self.0.book();
        let created = book.find(id).ok_or_else(Failure::not_found)?;
        self.0.view(&book, created)
    }

    /// Takes a request in, in the place of another one where `replaced` names it. Blocks; durable when it returns.
    pub(super) fn add(&self, pin: Pin, root: Cid, replaced: Option<&str>) -> Result<PinStatus, Failure> {
        let inner = &self.0;
        let id = random_id().ok_or_else(|| Failure::internal("the system has no randomness"))?;
        let mut book = inner.book();
        let replaced = match replaced {
            Some(id) => Some(book.find(id).ok_or_else(Failure::not_found)?),
            None => None,
        };
        let (requests, bytes) = book.size();
        if replaced.is_none() && (requests >= inner.config.requests_max || bytes >= inner.config.bytes_max) {
            return Err(Failure::full());
        }
        let created = book.add(id, now_ms(), pin, root, replaced).map_err(|error| internal(&error))?;
        inner.wake.notify_one();
        inner.view(&book, created)
    }

    /// Forgets a request, with the pin that it made unless others need it. Blocks; durable when it returns.
    pub(super) fn remove(&self, id: &str) -> Result<(), Failure> {
        let mut book = self.0.book();
        let created = book.find(id).ok_or_else(Failure::not_found)?;
        book.remove(&self.0.parts.store, created).map_err(|error| internal(&error))
    }
}

impl Inner {
    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic leaves a request as it was before, or as it was to become: both are whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delegates(&self) -> Vec<String> {
        let mut addresses: Vec<_> = self.parts.net.full_addrs().iter().map(ToString::to_string).collect();
        addresses.truncate(DELEGATES_MAX);
        if addresses.is_empty() {
            // There has to be one, and whoever knows the name may find the rest.
            addresses.push(format!("/p2p/{}", self.parts.net.peer_id()));
        }
        addresses
    }

    fn view(&self, book: &Book, created: u64) -> Result<PinStatus, Failure> {
        let entry = book.entry(created).ok_or_else(Failure::not_found)?;
        let (status, details) = entry.standing(&self.parts.store);
        Ok(view(entry, status, details, self.delegates()))
    }

    /// Gives requests their turns until the service is to stop and nothing is under way any more.
    async fn run(self: Arc<Self>) {
        let mut working = JoinSet::new();
        loop {
            let free = self.config.at_once.saturating_sub(working.len());
            let inner = Arc::clone(&self);
            let turn = match spawn_blocking(move || inner.turn(free)).await {
                Ok(turn) => turn,
                Err(error) => {
                    tracing::error!(%error, "pin requests are not worked on any more");
                    return;
                }
            };
            for job in turn.jobs {
                working.spawn(Arc::clone(&self).attempt(job));
            }
            if turn.is_stopping && working.is_empty() {
                return;
            }
            let next = async {
                match turn.next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                Some(_) = working.join_next() => {}
                () = next => {}
            }
        }
    }

    /// The requests that have waited longest, as many as there is room for. Blocks.
    fn turn(&self, free: usize) -> Turn {
        let mut book = self.book();
        if book.is_stopping {
            return Turn { jobs: Vec::new(), next: None, is_stopping: true };
        }
        let now = Instant::now();
        let waiting = book.entries().filter(|entry| entry.is_waiting());
        let mut waiting: Vec<_> = waiting.map(|entry| (entry.not_before, entry.record.created_ms)).collect();
        waiting.sort_unstable();
        let ready = waiting.iter().take_while(|(at, _)| *at <= now).count();
        // Where there is no room, the end of one under way is what to wait for.
        let next = if free > 0 { waiting.get(ready).map(|(at, _)| *at) } else { None };
        let mut jobs = Vec::new();
        for (_, created) in waiting.into_iter().take(ready.min(free)) {
            let Some(entry) = book.entry_mut(created) else { continue };
            let work = Arc::new(Work::default());
            entry.work = Some(Arc::clone(&work));
            jobs.push(Job { created, root: entry.root, origins: entry.record.pin.origins.clone(), work });
        }
        Turn { jobs, next, is_stopping: false }
    }

    /// One attempt: connects with those who are said to have the content, then fetches what is missing.
    async fn attempt(self: Arc<Self>, mut job: Job) {
        // Dials that are still under way end with this.
        let mut connecting = JoinSet::new();
        let origins = std::mem::take(&mut job.origins);
        if !origins.is_empty() {
            let net = self.parts.net.clone();
            connecting.spawn(async move { origins::connect(&net, &origins).await });
            let (store, root) = (self.parts.store.clone(), job.root);
            let is_here = spawn_blocking(move || store.has(&root).unwrap_or(false)).await.unwrap_or(false);
            if !is_here {
                tokio::select! {
                    _ = connecting.join_next() => {}
                    () = job.work.gone.notified() => {}
                    () = tokio::time::sleep(ORIGINS) => {}
                }
            }
        }
        let (created, work) = (job.created, Arc::clone(&job.work));
        let inner = Arc::clone(&self);
        if spawn_blocking(move || inner.fetch_and_pin(&job)).await.is_err() {
            let _ = spawn_blocking(move || self.finish(created, &work, Err(WorkError::Panicked))).await;
        }
    }

    fn fetch_and_pin(&self, job: &Job) {
        let store = &self.parts.store;
        // Until the pin stands, nobody collects what is fetched for it.
        let held = store.hold().map_err(WorkError::from).and_then(|hold| {
            let blocks = Attended::new(self.blocks(&job.root), job.work.left.clone());
            keep_all(store, &blocks, &job.root, |blocks, bytes| {
                job.work.note(blocks, bytes);
                if job.work.left.is_set() { Err(WorkError::Left) } else { Ok(()) }
            })?;
            Ok(hold)
        });
        let (hold, result) = match held {
            Ok(hold) => (Some(hold), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.finish(job.created, &job.work, result);
        drop(hold);
    }

    fn blocks(&self, root: &Cid) -> Arc<dyn BlockGetter> {
        let Parts { store, net, client, .. } = &self.parts;
        match client {
            Some(client) => Arc::new(client.blocks_lazily(*root)),
            None => Arc::new(NetBlocks::new(net, store, Vec::new(), self.config.fetch)),
        }
    }

    /// Writes down how an attempt ended. A request that was removed meanwhile stays removed.
    fn finish(&self, created: u64, work: &Arc<Work>, result: Result<(), WorkError>) {
        let mut book = self.book();
        let is_stopping = book.is_stopping;
        let Some(entry) = book.entry_mut(created) else { return };
        if !entry.work.as_ref().is_some_and(|current| Arc::ptr_eq(current, work)) {
            return;
        }
        entry.work = None;
        let (id, root) = (entry.record.id.clone(), entry.root);
        let result = result.and_then(|()| Ok(book.pin(&self.parts.store, created)?));
        let Err(error) = result else {
            tracing::debug!(id, %root, "pinned for a request");
            return;
        };
        if is_stopping && error.is_transient() {
            return;
        }
        let reason = chain_text(&error);
        let age = now_ms().saturating_sub(created);
        if error.is_transient() && u128::from(age) < self.config.search.as_millis() {
            if let Some(entry) = book.entry_mut(created) {
                let wait = self.config.again_first.saturating_mul(1 << entry.tries.min(16));
                entry.tries += 1;
                entry.not_before = Instant::now() + wait.min(self.config.again_max);
                entry.trouble = Some(reason);
            }
            return;
        }
        tracing::debug!(id, %root, reason, "a pin request failed");
        if let Err(error) = book.change(created, |record| record.stage = Stage::Failed(reason)) {
            tracing::warn!(id, error = chain_text(&error), "that a pin request failed is not remembered");
        }
    }
}

fn came(entry: &Entry) -> Moment {
    Moment::from_unix(Duration::from_millis(entry.record.created_ms))
}

fn view(entry: &Entry, status: Status, details: Option<String>, delegates: Vec<String>) -> PinStatus {
    PinStatus {
        requestid: entry.record.id.clone(),
        status,
        created: came(entry).to_string(),
        pin: entry.record.pin.clone(),
        delegates,
        info: details.map(|details| BTreeMap::from([("status_details", details)])).unwrap_or_default(),
    }
}

fn internal(error: &BookError) -> Failure {
    Failure::internal(chain_text(error))
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// 128 random bits: nobody guesses the name of somebody else's request.
fn random_id() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}
