//! The handle, and what all its operations share.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use hpips_types::Cid;

use crate::config::Config;
use crate::error::{IndexError, OpenError, WriteError};
use crate::index::{Durable, Index, Place};
use crate::journal::Journal;
use crate::layer::{Disk, Layer, LayerFile};
use crate::lease::Leases;
use crate::lock::Lock;
use crate::open;
use crate::pack;
use crate::tables::{Kind, META_BLOCKS};
use crate::write::Ticket;

/// Largest block that is kept, bytes. Peers send at most 2 MiB; local tools may have made larger ones.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A handle to an open store; clones share it. The store closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// See [`Store::on_put`].
pub(crate) type PutObserver = Box<dyn Fn(&mut dyn Iterator<Item = &Cid>) + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) index: Index,
    pub(crate) files: Mutex<OpenFiles>,
    /// Shared while a reader goes from a row to an open file; exclusive while a file is unlinked, after the
    /// commit that forgot it. So no reader finds a row and then no file.
    pub(crate) gate: RwLock<()>,
    pub(crate) writer: Mutex<Writer>,
    /// Batches that wait for the writer's turn.
    pub(crate) queue: Mutex<VecDeque<Arc<Ticket>>>,
    /// Pack, offset and block of records that were found damaged while somebody wrote.
    pub(crate) rotten: Mutex<Vec<(u64, u64, Cid)>>,
    /// Held by the one collection that runs.
    pub(crate) collecting: Mutex<()>,
    pub(crate) leases: Mutex<Leases>,
    pub(crate) journal: Mutex<Journal>,
    /// Told of every root that is pinned.
    pub(crate) on_pin: OnceLock<Box<dyn Fn(Cid) + Send + Sync>>,
    /// Told of every block that is stored.
    pub(crate) on_put: OnceLock<PutObserver>,
    /// Last, so that the lock is released after everything is closed.
    pub(crate) _lock: Option<Lock>,
}

/// What only the thread that writes touches.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The pack that is appended to.
    pub(crate) active: Option<Active>,
    pub(crate) next_pack: u64,
    /// Bytes in packs that the index knows but would forget in a power cut.
    pub(crate) lag_bytes: u64,
    /// Blocks in them.
    pub(crate) lag_blocks: usize,
    /// The state on disk is unknown.
    pub(crate) is_poisoned: bool,
    /// Bytes of all packs.
    pub(crate) used_bytes: u64,
}

impl Writer {
    /// The index is as durable as the packs.
    pub(crate) fn committed(&mut self) {
        self.lag_bytes = 0;
        self.lag_blocks = 0;
    }
}

/// The pack that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) pack: u64,
    pub(crate) file: Arc<dyn LayerFile>,
    pub(crate) end: u64,
    /// Footer entries so far, when the pack was begun by this process; otherwise a scan finds them.
    pub(crate) entries: Option<Vec<u8>>,
}

/// Whether a file was open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsCached(pub(crate) bool);

/// Open pack, piece and user files, the least recently used closed first.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    files: HashMap<(u8, u64), (Arc<dyn LayerFile>, u64)>,
    clock: u64,
}

fn slot(kind: Kind, container: u64) -> (u8, u64) {
    // Numbers of piece and user files come from one sequence.
    (u8::from(kind != Kind::Pack), container)
}

impl OpenFiles {
    fn get(&mut self, kind: Kind, container: u64) -> Option<Arc<dyn LayerFile>> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(&slot(kind, container))?;
        *used = self.clock;
        Some(Arc::clone(file))
    }

    fn put(&mut self, kind: Kind, container: u64, file: &Arc<dyn LayerFile>, max: usize) {
        if self.files.len() >= max.max(1) {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(slot, _)| *slot);
            if let Some(oldest) = oldest {
                self.files.remove(&oldest);
            }
        }
        self.files.insert(slot(kind, container), (Arc::clone(file), self.clock));
    }

    pub(crate) fn forget(&mut self, kind: Kind, container: u64) {
        self.files.remove(&slot(kind, container));
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.dir.display())
    }
}

/// Whether the system lets nobody, or not this user, write there.
fn is_forbidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem)
}

/// Says of a refusal what to do about it.
fn forbidden(error: OpenError) -> OpenError {
    match error {
        OpenError::Io { path, source } if is_forbidden(&source) => OpenError::Forbidden { path, source },
        other => other,
    }
}

impl Store {
    /// Opens the store in a folder, making both where there is none, and repairs what a crash left.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, [`OpenError::Forbidden`] where this user may not write,
    /// [`OpenError::Version`] for an unknown format, [`OpenError::Pins`] when pins are lost, and failures of disk and
    /// index.
    pub fn open(dir: impl AsRef<Path>, config: Config) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        Self::open_on(Arc::new(Disk), dir, config, || {
            Disk.create_dir(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
            Lock::take(dir).map(Some)
        })
    }

    /// Opens the store on a layer after `lock` has made sure that nobody else has it.
    pub(crate) fn open_on(
        layer: Arc<dyn Layer>,
        dir: &Path,
        config: Config,
        lock: impl FnOnce() -> Result<Option<Lock>, OpenError>,
    ) -> Result<Self, OpenError> {
        let opened = lock().and_then(|lock| open::open(layer, dir, config, lock));
        Ok(Self { inner: Arc::new(opened.map_err(forbidden)?) })
    }

    /// Folder of the store.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Number of different blocks, wherever they lie.
    ///
    /// # Errors
    /// When the index fails.
    pub fn block_count(&self) -> Result<u64, IndexError> {
        self.inner.index.number(META_BLOCKS)
    }

    /// Bytes of all packs, live or not.
    ///
    /// # Errors
    /// When the index fails.
    pub fn pack_bytes(&self) -> Result<u64, IndexError> {
        Ok(self.inner.index.packs()?.iter().map(|(_, pack)| pack.end).sum())
    }

    /// Calls `visit` with every block once, its CID as it came and its length.
    ///
    /// Blocks that come or go meanwhile may or may not be visited.
    ///
    /// # Errors
    /// When the index fails; and what `visit` answers, to stop early.
    pub fn for_each_block<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(&Cid, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last: Option<Cid> = None;
        self.inner.index.scan(|row| {
            let is_next = last.is_none_or(|last| last.hash() != row.cid.hash());
            last = Some(row.cid);
            if is_next { visit(&row.cid, row.row.bytes) } else { Ok(()) }
        })
    }

    /// Makes everything that the index knows durable in the index itself, so that the next open has nothing to scan.
    ///
    /// # Errors
    /// When the index fails.
    pub fn flush(&self) -> Result<(), WriteError> {
        let mut writer = self.inner.writer()?;
        self.inner.index.write(Durable::Now, |_| Ok(()))?;
        writer.committed();
        Ok(())
    }
}

impl Inner {
    /// The single writer's turn.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>, WriteError> {
        let writer = self.writer.lock().map_err(|_| WriteError::Poisoned)?;
        let is_poisoned = writer.is_poisoned || self.index.has_failed();
        if is_poisoned { Err(WriteError::Poisoned) } else { Ok(writer) }
    }

    pub(crate) fn packs_dir(&self) -> PathBuf {
        self.dir.join("packs")
    }

    pub(crate) fn pack_path(&self, pack: u64) -> PathBuf {
        self.packs_dir().join(pack::file_name(pack))
    }

    pub(crate) fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        // A cache: whatever is in it can be used.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of a place; `None` when it is gone.
    pub(crate) fn file_of(&self, place: &Place) -> io::Result<Option<(Arc<dyn LayerFile>, IsCached)>> {
        let mut files = self.open_files();
        if let Some(file) = files.get(place.kind, place.container) {
            return Ok(Some((file, IsCached(true))));
        }
        let opened = match &place.path {
            Some(path) => self.layer.open_read(path)?,
            None => self.layer.open_read(&self.pack_path(place.container))?,
        };
        if let Some(file) = &opened {
            files.put(place.kind, place.container, file, self.config.open_files_max);
        }
        Ok(opened.map(|file| (file, IsCached(false))))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Ok(writer) = self.writer.get_mut() else { return };
        if writer.is_poisoned || writer.lag_bytes == 0 {
            return;
        }
        if let Err(error) = self.index.write(Durable::Now, |_| Ok(())) {
            tracing::warn!(%error, "index not durable on close; the next open scans the packs");
        }
    }
}
