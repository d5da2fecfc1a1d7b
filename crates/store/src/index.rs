//! The index: a redb database, and the only place that opens its transactions.

use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hpips_types::Cid;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError,
};

use crate::error::{IndexError, OpenError};
use crate::layer::{Layer, LayerFile};
use crate::tables::{
    BLOCKS, FILE_ROWS, FILES, Kind, META, PACKS, PIECE_KEYS, Row, USER_FILES, row_key, rows_of, split_key,
};
use crate::transaction::Tx;

/// Where a block can be read.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) container: u64,
    pub(crate) row: Row,
    /// Path of the container, for pieces and user files.
    pub(crate) path: Option<PathBuf>,
}

/// State of a pack: how far the index covers it, what it is, bytes of records that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackState {
    pub(crate) end: u64,
    pub(crate) state: u8,
    pub(crate) live_bytes: u64,
}

/// When a transaction survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// When it returns.
    Now,
    /// With the next one that is durable now. Only for what a scan of the packs finds again.
    Later,
}

/// The index of a store.
#[derive(Debug)]
pub(crate) struct Index {
    db: Database,
    /// A transaction failed, and may be on the disk all the same: what is read here says nothing about what the next
    /// opening finds.
    has_failed: AtomicBool,
}

/// redb's view of a file of ours.
#[derive(Debug)]
struct Backend(Arc<dyn LayerFile>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Whether a database cannot be used because its content is broken, not because the disk failed.
fn is_broken(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

impl Index {
    /// Opens the index, or makes an empty one where there is none or a broken one, which is set aside: the packs
    /// then fill it again.
    pub(crate) fn open(layer: &dyn Layer, dir: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let path = dir.join("index.redb");
        let io = |source| OpenError::Io { path: path.clone(), source };
        let build = |file| Builder::new().set_cache_size(cache_bytes).create_with_backend(Backend(file));
        let db = match layer.open(&path).map_err(io)?.map(build) {
            Some(Ok(db)) => Some(db),
            Some(Err(error)) if is_broken(&error) => {
                tracing::warn!(%error, "index is broken: set aside, rebuilding it from the packs");
                layer.rename(&path, &dir.join("index.redb.broken")).map_err(io)?;
                None
            }
            Some(Err(error)) => return Err(IndexError::from(error).into()),
            None => None,
        };
        let db = match db {
            Some(db) => db,
            None => {
                let db = build(layer.create(&path).map_err(io)?).map_err(IndexError::from)?;
                layer.sync_dir(dir).map_err(io)?;
                db
            }
        };
        let index = Self { db, has_failed: AtomicBool::new(false) };
        // Readers expect every table to be there; the last one made tells.
        let is_new = index.db.begin_read().map_err(IndexError::from)?.open_table(META).is_err();
        if !is_new {
            return Ok(index);
        }
        index.write(Durable::Now, |tx| {
            tx.0.open_table(BLOCKS)?;
            tx.0.open_table(PACKS)?;
            tx.0.open_table(PIECE_KEYS)?;
            tx.0.open_table(USER_FILES)?;
            tx.0.open_table(FILES)?;
            tx.0.open_table(FILE_ROWS)?;
            tx.begin_epoch()
        })?;
        Ok(index)
    }

    /// All places of a block, the preferred one first.
    pub(crate) fn lookup(&self, cid: &Cid) -> Result<Vec<Place>, IndexError> {
        let tx = self.db.begin_read()?;
        let blocks = tx.open_table(BLOCKS)?;
        let (from, to) = rows_of(&cid.hash().to_bytes());
        let mut places = Vec::new();
        for item in blocks.range(&*from..&*to)? {
            let (key, value) = item?;
            let Some(((_, kind, container), row)) = split_key(key.value()).zip(Row::decode(value.value()))
            else {
                continue;
            };
            let path = match kind {
                Kind::Pack => None,
                Kind::Piece | Kind::UserFile => {
                    let Some(path) = tx.open_table(FILES)?.get(container)? else { continue };
                    Some(PathBuf::from(OsStr::from_bytes(path.value())))
                }
            };
            places.push(Place { kind, container, row, path });
        }
        Ok(places)
    }

    /// Where each of these blocks is known to be.
    pub(crate) fn known<'a>(&self, cids: impl Iterator<Item = &'a Cid>) -> Result<Vec<Known>, IndexError> {
        let tx = self.db.begin_read()?;
        let blocks = tx.open_table(BLOCKS)?;
        cids.map(|cid| known_in(&blocks, &cid.hash().to_bytes())).collect()
    }

    /// For each block whether its row of this pack points to this offset.
    pub(crate) fn are_at<'a>(
        &self,
        pack: u64,
        places: impl Iterator<Item = (&'a Cid, u64)>,
    ) -> Result<Vec<bool>, IndexError> {
        let tx = self.db.begin_read()?;
        let blocks = tx.open_table(BLOCKS)?;
        let is_at = |(cid, offset): (&Cid, u64)| {
            let row = blocks.get(&*row_key(&cid.hash().to_bytes(), Kind::Pack, pack))?;
            let row = row.and_then(|value| Row::decode(value.value()));
            Ok(row.is_some_and(|row| row.offset == offset))
        };
        places.map(is_at).collect()
    }

    /// At most `count` rows after a key, and the key of the last one; `None` starts at the first, and says at the end
    /// that there are no more.
    pub(crate) fn page(
        &self,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<(Vec<PageRow>, Option<Vec<u8>>), IndexError> {
        let tx = self.db.begin_read()?;
        let blocks = tx.open_table(BLOCKS)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        let mut last = None;
        for item in blocks.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
            let (key, value) = item?;
            rows.extend(PageRow::decode(key.value(), value.value()));
            last = Some(key);
        }
        Ok((rows, last.map(|key| key.value().to_vec())))
    }

    /// Calls `visit` with every row, in the order of their multihashes. Rows that come or go meanwhile may or may not be
    /// visited.
    pub(crate) fn scan<E: From<IndexError>>(
        &self,
        mut visit: impl FnMut(&PageRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (rows, last) = self.page(after.as_deref(), PAGE_ROWS)?;
            rows.iter().try_for_each(&mut visit)?;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// The path of each container.
    pub(crate) fn paths(
        &self,
        containers: impl Iterator<Item = u64>,
    ) -> Result<Vec<Option<PathBuf>>, IndexError> {
        let tx = self.db.begin_read()?;
        let files = tx.open_table(FILES)?;
        let path = |container| {
            let path = files.get(container)?;
            Ok(path.map(|path| PathBuf::from(OsStr::from_bytes(path.value()))))
        };
        containers.map(path).collect()
    }

    /// All packs.
    pub(crate) fn packs(&self) -> Result<Vec<(u64, PackState)>, IndexError> {
        let tx = self.db.begin_read()?;
        let packs = tx.open_table(PACKS)?;
        let packs = packs.iter()?.map(|item| {
            let (pack, value) = item?;
            let (end, state, live_bytes) = value.value();
            Ok((pack.value(), PackState { end, state, live_bytes }))
        });
        packs.collect()
    }

    /// Deal and slot of all pieces.
    pub(crate) fn piece_keys(&self) -> Result<Vec<(u64, u16)>, IndexError> {
        let tx = self.db.begin_read()?;
        let keys = tx.open_table(PIECE_KEYS)?;
        keys.iter()?.map(|item| Ok(item?.0.value())).collect()
    }

    /// A number of the table of numbers; 0 when it was never set.
    pub(crate) fn number(&self, name: &str) -> Result<u64, IndexError> {
        let tx = self.db.begin_read()?;
        let number = tx.open_table(META)?.get(name)?;
        Ok(number.map_or(0, |number| number.value()))
    }

    /// Whether a transaction failed: no promise may be made on what this index says.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Runs one write transaction: all of it happens or nothing. When it fails, nobody knows which.
    pub(crate) fn write<R>(
        &self,
        durable: Durable,
        change: impl FnOnce(&Tx) -> Result<R, IndexError>,
    ) -> Result<R, IndexError> {
        let done = self.try_write(durable, change);
        if done.is_err() {
            self.has_failed.store(true, Ordering::Release);
        }
        done
    }

    fn try_write<R>(
        &self,
        durable: Durable,
        change: impl FnOnce(&Tx) -> Result<R, IndexError>,
    ) -> Result<R, IndexError> {
        let mut tx = self.db.begin_write()?;
        match durable {
            Durable::Now => tx.set_quick_repair(true),
            Durable::Later => tx.set_durability(Durability::None)?,
        }
        let tx = Tx(tx);
        let result = change(&tx)?;
        tx.0.commit()?;
        Ok(result)
    }
}

/// Rows that are read in one transaction: longer ones keep pages from being used again.
const PAGE_ROWS: usize = 16 * 1024;

/// Where a block is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nowhere.
    Nowhere,
    /// In pieces or users' files only: they go without asking.
    Lent,
    /// In a pack.
    Packed,
}

fn known_in(
    blocks: &impl ReadableTable<&'static [u8], &'static [u8]>,
    hash: &[u8],
) -> Result<Known, IndexError> {
    let (from, to) = rows_of(hash);
    // Packs come first among a block's rows.
    let first = blocks.range(&*from..&*to)?.next().transpose()?;
    Ok(match first.as_ref().map(|(key, _)| split_key(key.value())) {
        None => Known::Nowhere,
        Some(Some((_, Kind::Pack, _))) => Known::Packed,
        Some(_) => Known::Lent,
    })
}

/// A row with its block's name.
#[derive(Clone, Debug)]
pub(crate) struct PageRow {
    pub(crate) cid: Cid,
    pub(crate) kind: Kind,
    pub(crate) container: u64,
    pub(crate) row: Row,
}

impl PageRow {
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let ((hash, kind, container), row) = split_key(key).zip(Row::decode(value))?;
        Some(Self { cid: row.cid(hash)?, kind, container, row })
    }
}
