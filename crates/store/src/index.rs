//! The index: a redb database, and the only place that opens its transactions.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hpips_types::Cid;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, WriteTransaction,
};

use crate::error::{IndexError, OpenError};
use crate::layer::{Layer, LayerFile};
use crate::pack::{Found, record_bytes};
use crate::tables::{
    BLOCKS, FILE_ROWS, FILES, Kind, META, META_BLOCKS, META_EPOCH, PACK_OPEN, PACKS, PIECE_KEYS, Row,
    USER_FILES, row_key, rows_of, split_key,
};

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

/// The row of a block that is preferred, with its container; packs come first.
fn first_row(
    blocks: &impl ReadableTable<&'static [u8], &'static [u8]>,
    hash: &[u8],
) -> Result<Option<(Kind, u64, Row)>, IndexError> {
    let (from, to) = rows_of(hash);
    let Some(first) = blocks.range(&*from..&*to)?.next().transpose()? else { return Ok(None) };
    let (key, value) = first;
    let row = split_key(key.value()).zip(Row::decode(value.value()));
    Ok(row.map(|((_, kind, container), row)| (kind, container, row)))
}

/// Records with their multihashes in the order of the tree, where neighbours meet the same pages. Equal ones stay in the
/// order they came in: the last one, which counts, is met last.
fn in_order(records: &[Found]) -> Vec<(Vec<u8>, &Found)> {
    let mut rows: Vec<_> = records.iter().map(|found| (found.cid.hash().to_bytes(), found)).collect();
    rows.sort_by(|(one, _), (two, _)| one.cmp(two));
    rows
}

/// What one step of a sweep removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Rows removed.
    pub(crate) rows: u64,
    /// Bytes of their records, by pack.
    pub(crate) freed: HashMap<u64, u64>,
    /// Blocks of which no row is left.
    pub(crate) gone: Vec<Cid>,
    /// Where the next step begins; `None` when this was the last.
    pub(crate) last: Option<Vec<u8>>,
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
    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let ((hash, kind, container), row) = split_key(key).zip(Row::decode(value))?;
        Some(Self { cid: row.cid(hash)?, kind, container, row })
    }
}

/// A write transaction; dropped without a commit it never happened.
pub(crate) struct Tx(pub(crate) WriteTransaction);

impl Tx {
    pub(crate) fn set_number(&self, name: &str, number: u64) -> Result<(), IndexError> {
        self.0.open_table(META)?.insert(name, number)?;
        Ok(())
    }

    /// Returns a number and leaves the next one.
    pub(crate) fn take_number(&self, name: &str) -> Result<u64, IndexError> {
        let mut meta = self.0.open_table(META)?;
        let number = meta.get(name)?.map_or(0, |number| number.value());
        meta.insert(name, number + 1)?;
        Ok(number)
    }

    fn add_blocks(&self, added: u64, removed: u64) -> Result<(), IndexError> {
        let mut meta = self.0.open_table(META)?;
        let blocks = meta.get(META_BLOCKS)?.map_or(0, |number| number.value());
        meta.insert(META_BLOCKS, (blocks + added).saturating_sub(removed))?;
        drop(meta);
        if removed > 0 { self.begin_epoch() } else { Ok(()) }
    }

    /// Says that blocks are gone that were here. Time makes the number a new one even if this is forgotten in a crash.
    fn begin_epoch(&self) -> Result<(), IndexError> {
        let mut meta = self.0.open_table(META)?;
        let last = meta.get(META_EPOCH)?.map_or(0, |number| number.value());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        meta.insert(META_EPOCH, u64::try_from(now).unwrap_or(0).max(last.saturating_add(1)))?;
        Ok(())
    }

    /// Adds rows of one container.
    pub(crate) fn add_rows(
        &self,
        kind: Kind,
        container: u64,
        rows: &[(Vec<u8>, Row)],
    ) -> Result<(), IndexError> {
        let mut blocks = self.0.open_table(BLOCKS)?;
        let mut added = 0;
        for (hash, row) in rows {
            let (from, to) = rows_of(hash);
            if blocks.range(&*from..&*to)?.next().is_none() {
                added += 1;
            }
            blocks.insert(&*row_key(hash, kind, container), &row.encode()[..])?;
        }
        drop(blocks);
        self.add_blocks(added, 0)
    }

    /// Removes rows by their keys, and returns those that were there.
    pub(crate) fn remove_rows(&self, keys: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Row>, IndexError> {
        let mut blocks = self.0.open_table(BLOCKS)?;
        let mut gone = 0;
        let mut removed = Vec::new();
        for key in keys {
            let Some(row) = blocks.remove(&*key)?.and_then(|value| Row::decode(value.value())) else {
                continue;
            };
            removed.push(row);
            let Some((hash, ..)) = split_key(&key) else { continue };
            let (from, to) = rows_of(hash);
            if blocks.range(&*from..&*to)?.next().is_none() {
                gone += 1;
            }
        }
        drop(blocks);
        self.add_blocks(0, gone)?;
        Ok(removed)
    }

    /// Adds records of a pack, but for blocks that a newer pack has already, and notes how far it is covered. A block that
    /// was stored twice was found damaged in between, or was moved: the later record counts, unless it is not sound.
    pub(crate) fn add_records(
        &self,
        pack: u64,
        records: &[Found],
        end: u64,
        state: u8,
        is_sound: impl Fn(&Found) -> bool,
    ) -> Result<(), IndexError> {
        let mut blocks = self.0.open_table(BLOCKS)?;
        let (mut live, mut added) = (0u64, 0);
        let mut freed: HashMap<u64, u64> = HashMap::new();
        for (hash, record) in in_order(records) {
            match first_row(&blocks, &hash)? {
                Some((Kind::Pack, other, row)) => {
                    if (other, row.offset) >= (pack, record.offset) || !is_sound(record) {
                        continue;
                    }
                    blocks.remove(&*row_key(&hash, Kind::Pack, other))?;
                    let bytes = record_bytes(&row.cid(&hash).unwrap_or(record.cid), row.bytes);
                    match live.checked_sub(bytes).filter(|_| other == pack) {
                        Some(left) => live = left,
                        None => *freed.entry(other).or_insert(0) += bytes,
                    }
                }
                Some(_) => {}
                None => added += 1,
            }
            let row = Row::new(&record.cid, record.offset, record.bytes);
            blocks.insert(&*row_key(&hash, Kind::Pack, pack), &row.encode()[..])?;
            live += record_bytes(&record.cid, record.bytes);
        }
        drop(blocks);
        self.add_blocks(added, 0)?;
        self.free(&freed)?;
        self.cover(pack, end, state, live)
    }

    /// Adds records of blocks that no pack has, `added` of which nobody has; or, when they come `from` another pack,
    /// replaces their rows there.
    pub(crate) fn append_records(
        &self,
        pack: u64,
        records: &[Found],
        end: u64,
        added: u64,
        from: Option<u64>,
    ) -> Result<(), IndexError> {
        let mut blocks = self.0.open_table(BLOCKS)?;
        let mut live = 0;
        for (hash, found) in in_order(records) {
            if let Some(from) = from {
                blocks.remove(&*row_key(&hash, Kind::Pack, from))?;
            }
            let row = Row::new(&found.cid, found.offset, found.bytes);
            blocks.insert(&*row_key(&hash, Kind::Pack, pack), &row.encode()[..])?;
            live += record_bytes(&found.cid, found.bytes);
        }
        drop(blocks);
        self.add_blocks(added, 0)?;
        if let Some(from) = from {
            self.free(&HashMap::from([(from, live)]))?;
        }
        self.cover(pack, end, PACK_OPEN, live)
    }

    fn cover(&self, pack: u64, end: u64, state: u8, live: u64) -> Result<(), IndexError> {
        let mut packs = self.0.open_table(PACKS)?;
        let before = packs.get(pack)?.map_or(0, |value| value.value().2);
        packs.insert(pack, (end, state, before + live))?;
        Ok(())
    }

    /// So many bytes of packs are no longer alive.
    fn free(&self, freed: &HashMap<u64, u64>) -> Result<(), IndexError> {
        let mut packs = self.0.open_table(PACKS)?;
        for (pack, freed) in freed {
            let found = packs.get(pack)?.map(|value| value.value());
            if let Some((end, state, live)) = found {
                packs.insert(pack, (end, state, live.saturating_sub(*freed)))?;
            }
        }
        Ok(())
    }

    /// Removes rows of packs that still point to these offsets, and returns how many.
    pub(crate) fn remove_records(&self, records: &[(u64, u64, Cid)]) -> Result<usize, IndexError> {
        let mut freed = HashMap::new();
        let mut count = 0;
        for (pack, offset, cid) in records {
            let hash = cid.hash().to_bytes();
            let Some(row) = self.remove_at(&hash, Kind::Pack, *pack, *offset)? else { continue };
            // The block may have been asked for under another CID than it was stored under.
            let stored = row.cid(&hash).unwrap_or(*cid);
            *freed.entry(*pack).or_insert(0) += record_bytes(&stored, row.bytes);
            count += 1;
        }
        self.free(&freed)?;
        Ok(count)
    }

    /// Removes the row of a piece or a user's file if it still points to this offset; returns whether it did.
    pub(crate) fn remove_lent(
        &self,
        cid: &Cid,
        kind: Kind,
        container: u64,
        offset: u64,
    ) -> Result<bool, IndexError> {
        let hash = cid.hash().to_bytes();
        if self.remove_at(&hash, kind, container, offset)?.is_none() {
            return Ok(false);
        }
        if kind == Kind::UserFile {
            self.forget_lent(&[(container, hash)])?;
        } else {
            // A piece is its deal's, with or without blocks.
            self.0.open_table(FILE_ROWS)?.remove((container, &*hash))?;
        }
        Ok(true)
    }

    fn remove_at(
        &self,
        hash: &[u8],
        kind: Kind,
        container: u64,
        offset: u64,
    ) -> Result<Option<Row>, IndexError> {
        let key = row_key(hash, kind, container);
        let row = self.0.open_table(BLOCKS)?.get(&*key)?.and_then(|value| Row::decode(value.value()));
        if row.is_none_or(|row| row.offset != offset) {
            return Ok(None);
        }
        self.remove_rows(core::iter::once(key))?;
        Ok(row)
    }

    /// Looks at `count` rows after a key, and those that belong to the last of these blocks, and removes those of packs and
    /// users' files that are not kept.
    pub(crate) fn sweep(
        &self,
        after: Option<&[u8]>,
        count: usize,
        is_kept: impl Fn(&PageRow) -> bool,
    ) -> Result<Swept, IndexError> {
        let mut swept = Swept::default();
        let mut lent: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut blocks = self.0.open_table(BLOCKS)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(item) = blocks.range::<&[u8]>((from, Bound::Unbounded))?.nth(count) {
            swept.last = split_key(item?.0.value()).map(|(hash, ..)| rows_of(hash).1);
        }
        // The rows of a block stand together: the block is gone when all of them went.
        let mut block: Option<(Cid, bool)> = None;
        let to = swept.last.as_deref().map_or(Bound::Unbounded, Bound::Included);
        blocks.retain_in::<&[u8], _>((from, to), |key, value| {
            let Some(row) = PageRow::decode(key, value) else { return true };
            let kept = is_kept(&row);
            match &mut block {
                Some((cid, is_gone)) if cid.hash() == row.cid.hash() => *is_gone &= !kept,
                _ => {
                    swept.gone.extend(block.filter(|(_, is_gone)| *is_gone).map(|(cid, _)| cid));
                    block = Some((row.cid, !kept));
                }
            }
            if !kept {
                swept.rows += 1;
                match row.kind {
                    Kind::Pack => {
                        let bytes = record_bytes(&row.cid, row.row.bytes);
                        *swept.freed.entry(row.container).or_insert(0) += bytes;
                    }
                    Kind::Piece | Kind::UserFile => lent.push((row.container, row.cid.hash().to_bytes())),
                }
            }
            kept
        })?;
        drop(blocks);
        swept.gone.extend(block.filter(|(_, is_gone)| *is_gone).map(|(cid, _)| cid));
        self.add_blocks(0, u64::try_from(swept.gone.len()).expect("64 bits"))?;
        self.free(&swept.freed)?;
        self.forget_lent(&lent)?;
        Ok(swept)
    }

    /// Forgets that users' files hold these blocks, and files that hold none any more.
    fn forget_lent(&self, lent: &[(u64, Vec<u8>)]) -> Result<(), IndexError> {
        let mut file_rows = self.0.open_table(FILE_ROWS)?;
        for (container, hash) in lent {
            file_rows.remove((*container, &**hash))?;
            let mut left = file_rows.range((*container, &[][..])..(*container + 1, &[][..]))?;
            if left.next().is_none()
                && let Some(path) = self.0.open_table(FILES)?.remove(*container)?
            {
                self.0.open_table(USER_FILES)?.remove(path.value())?;
            }
        }
        Ok(())
    }

    /// Notes a pack's end and state; returns the end it had.
    pub(crate) fn set_pack(&self, pack: u64, end: u64, state: u8) -> Result<u64, IndexError> {
        let mut packs = self.0.open_table(PACKS)?;
        let (before, live) = packs.get(pack)?.map_or((0, 0), |value| (value.value().0, value.value().2));
        packs.insert(pack, (end, state, live))?;
        Ok(before)
    }

    pub(crate) fn remove_pack(&self, pack: u64) -> Result<(), IndexError> {
        self.0.open_table(PACKS)?.remove(pack)?;
        Ok(())
    }

    /// Registers a file and the blocks in it.
    pub(crate) fn add_file(
        &self,
        kind: Kind,
        container: u64,
        path: &Path,
        rows: &[(Vec<u8>, Row)],
    ) -> Result<(), IndexError> {
        self.0.open_table(FILES)?.insert(container, path.as_os_str().as_bytes())?;
        let mut file_rows = self.0.open_table(FILE_ROWS)?;
        for (hash, _) in rows {
            file_rows.insert((container, &**hash), ())?;
        }
        drop(file_rows);
        self.add_rows(kind, container, rows)
    }

    /// Forgets a file and the blocks in it.
    pub(crate) fn remove_file(&self, kind: Kind, container: u64) -> Result<(), IndexError> {
        self.0.open_table(FILES)?.remove(container)?;
        let mut file_rows = self.0.open_table(FILE_ROWS)?;
        let mut keys = Vec::new();
        for item in file_rows.extract_from_if((container, &[][..])..(container + 1, &[][..]), |_, ()| true)? {
            keys.push(row_key(item?.0.value().1, kind, container));
        }
        drop(file_rows);
        self.remove_rows(keys.into_iter())?;
        Ok(())
    }
}
