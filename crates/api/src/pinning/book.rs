//! All requests, and which pins of the store they answer for.
//!
//! Requests may share a root, and a person may have pinned it by hand. A pin that requests made goes with the last of them; one
//! that was there before stays.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hpips_client::blocks::Left;
use hpips_store::{PinKind, Store, WriteError};
use hpips_types::Cid;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::object::{Pin, Status};
use super::record::{Folder, Record, Stage};

/// The last millisecond that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// Why a change was not made, or not wholly.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// The folder of requests.
    #[error("cannot write the pin requests")]
    Folder(#[from] io::Error),
    /// The pins.
    #[error(transparent)]
    Store(#[from] WriteError),
}

/// A request that is being fetched.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Tells the thread that nobody wants it any more.
    pub(super) left: Left,
    /// Tells the task.
    pub(super) gone: Notify,
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Work {
    pub(super) fn note(&self, blocks: u64, bytes: u64) {
        self.blocks.store(blocks, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn cancel(&self) {
        self.left.set();
        self.gone.notify_one();
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) root: Cid,
    /// Attempts that found nothing, since the node started.
    pub(super) tries: u32,
    /// When it is its turn, at the earliest.
    pub(super) not_before: Instant,
    /// Why the last attempt ended.
    pub(super) trouble: Option<String>,
    pub(super) work: Option<Arc<Work>>,
}

impl Entry {
    fn new(record: Record, root: Cid) -> Self {
        Self { record, root, tries: 0, not_before: Instant::now(), trouble: None, work: None }
    }

    /// Whether it waits for a turn.
    pub(super) fn is_waiting(&self) -> bool {
        self.record.stage == Stage::Waiting && self.work.is_none()
    }

    /// Where it is on its way, and more for people.
    pub(super) fn standing(&self, store: &Store) -> (Status, Option<String>) {
        match &self.record.stage {
            Stage::Pinned if store.pin_of(&self.root).is_some_and(|pin| pin.kind == PinKind::Recursive) => {
                (Status::Pinned, None)
            }
            Stage::Pinned => (Status::Failed, Some("its pin was removed on the node".into())),
            Stage::Failed(reason) => (Status::Failed, Some(reason.clone())),
            Stage::Waiting => match (&self.work, &self.trouble) {
                (Some(work), _) => {
                    let (blocks, bytes) =
                        (work.blocks.load(Ordering::Relaxed), work.bytes.load(Ordering::Relaxed));
                    (Status::Pinning, Some(format!("{blocks} blocks so far, {bytes} bytes read")))
                }
                (None, Some(trouble)) => {
                    let seconds = self.not_before.saturating_duration_since(Instant::now()).as_secs();
                    let tries = self.tries;
                    let text = format!("attempt {tries} ended: {trouble}; tried again in {seconds} s");
                    (Status::Queued, Some(text))
                }
                (None, None) => (Status::Queued, None),
            },
        }
    }
}

/// All requests, by the time they came.
#[derive(Debug)]
pub(super) struct Book {
    folder: Folder,
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<String, u64>,
    bytes: usize,
    newest_ms: u64,
    /// Nothing is begun any more.
    pub(super) is_stopping: bool,
}

impl Book {
    /// The requests of a folder.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let (folder, records) = Folder::open(path)?;
        let mut book = Self {
            folder,
            entries: BTreeMap::new(),
            by_id: HashMap::new(),
            bytes: 0,
            newest_ms: 0,
            is_stopping: false,
        };
        for record in records {
            match record.pin.cid.parse() {
                Ok(root) if record.created_ms < LAST_MS && !book.entries.contains_key(&record.created_ms) => {
                    book.insert(Entry::new(record, root));
                }
                _ => tracing::warn!(id = record.id, "a pin request is damaged"),
            }
        }
        Ok(book)
    }

    fn insert(&mut self, entry: Entry) {
        let created = entry.record.created_ms;
        self.newest_ms = self.newest_ms.max(created);
        self.bytes += entry.record.bytes();
        self.by_id.insert(entry.record.id.clone(), created);
        self.entries.insert(created, entry);
    }

    fn forget(&mut self, created: u64) {
        if let Some(entry) = self.entries.remove(&created) {
            self.by_id.remove(&entry.record.id);
            self.bytes = self.bytes.saturating_sub(entry.record.bytes());
            if let Some(work) = entry.work {
                work.cancel();
            }
        }
    }

    /// How many there are, and about the bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// All of them, the oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn entry(&self, created: u64) -> Option<&Entry> {
        self.entries.get(&created)
    }

    pub(super) fn entry_mut(&mut self, created: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&created)
    }

    /// The request of a name, by the time it came.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// Remembers a new request that came now; returns its time, which no other has. With `replaced`, it takes that one's
    /// place and its pins.
    ///
    /// # Errors
    /// [`BookError::Folder`].
    pub(super) fn add(
        &mut self,
        id: String,
        now_ms: u64,
        pin: Pin,
        root: Cid,
        replaced: Option<u64>,
    ) -> Result<u64, BookError> {
        let created = now_ms.max(self.newest_ms + 1);
        let mut record = Record::new(id, created, pin);
        let old = replaced.and_then(|old| self.entries.get(&old));
        if let Some(old) = old {
            let mut releases = old.record.releases();
            if old.record.owns && !releases.contains(&old.root) {
                releases.push(old.root);
            }
            record.set_releases(&releases);
        }
        self.folder.write(&record)?;
        if let Some(old) = old {
            let (id, old) = (old.record.id.clone(), old.record.created_ms);
            // Between the two files a crash leaves both requests, and the pins belong to both.
            self.folder.remove(&id)?;
            self.forget(old);
        }
        self.insert(Entry::new(record, root));
        Ok(created)
    }

    /// Forgets a request, ends its work, and removes the pins that no other request answers for.
    ///
    /// # Errors
    /// [`BookError`]; then the request is still there.
    pub(super) fn remove(&mut self, store: &Store, created: u64) -> Result<(), BookError> {
        let Some(entry) = self.entries.get(&created) else { return Ok(()) };
        let id = entry.record.id.clone();
        let mut roots = entry.record.releases();
        if entry.record.owns {
            roots.push(entry.root);
        }
        for root in roots {
            self.let_go(store, &root, created)?;
        }
        self.folder.remove(&id)?;
        self.forget(created);
        Ok(())
    }

    /// Makes the pin of a request whose blocks are all here; the caller holds the store.
    ///
    /// # Errors
    /// [`BookError`]; then it is not done, or not wholly.
    pub(super) fn pin(&mut self, store: &Store, created: u64) -> Result<(), BookError> {
        let Some(entry) = self.entries.get(&created) else { return Ok(()) };
        let (root, releases) = (entry.root, entry.record.releases());
        let is_pinned = store.pin_of(&root).is_some_and(|pin| pin.kind == PinKind::Recursive);
        let is_ours = entry.record.owns
            || !is_pinned
            || releases.contains(&root)
            || self.others(&root, created).next().is_some();
        if is_ours {
            // First the word that the pin is ours: a pin that a crash leaves without it would never go away.
            if !self.entry(created).is_some_and(|entry| entry.record.owns) {
                self.change(created, |record| record.owns = true)?;
            }
            let name = self.entry(created).map(|entry| entry.record.pin.name.clone()).unwrap_or_default();
            store.pin(&root, PinKind::Recursive, &name)?;
        }
        for old in releases.into_iter().filter(|old| *old != root) {
            self.let_go(store, &old, created)?;
        }
        self.change(created, |record| {
            record.set_releases(&[]);
            record.stage = Stage::Pinned;
        })
    }

    /// Changes what is remembered of a request.
    ///
    /// # Errors
    /// [`BookError::Folder`]; in memory it is changed then, too.
    pub(super) fn change(&mut self, created: u64, change: impl FnOnce(&mut Record)) -> Result<(), BookError> {
        let Some(entry) = self.entries.get_mut(&created) else { return Ok(()) };
        change(&mut entry.record);
        Ok(self.folder.write(&entry.record)?)
    }

    /// Other requests that answer for the pin of a root.
    fn others<'a>(&'a self, root: &'a Cid, created: u64) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| {
            let record = &entry.record;
            record.created_ms != created
                && ((record.owns && entry.root == *root) || record.releases().contains(root))
        })
    }

    /// Removes the pin of a root, or leaves it to another request that answers for it, under that one's name.
    fn let_go(&self, store: &Store, root: &Cid, created: u64) -> Result<(), BookError> {
        let mut others = self.others(root, created).peekable();
        if others.peek().is_none() {
            store.unpin(root)?;
            return Ok(());
        }
        let owner = others.find(|entry| entry.root == *root && entry.record.owns);
        let pin = store.pin_of(root);
        if let (Some(owner), Some(pin)) = (owner, pin)
            && owner.record.pin.name != pin.name
        {
            store.pin(root, pin.kind, &owner.record.pin.name)?;
        }
        Ok(())
    }
}
