//! Changes of the index: one transaction each, which happens as a whole or not at all.

use std::collections::HashMap;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hpips_types::Cid;
use redb::{ReadableTable, WriteTransaction};

use crate::error::IndexError;
use crate::index::PageRow;
use crate::pack::{Found, record_bytes};
use crate::tables::{
    BLOCKS, FILE_ROWS, FILES, Kind, META, META_BLOCKS, META_EPOCH, PACK_OPEN, PACKS, Row, USER_FILES,
    row_key, rows_of, split_key,
};

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
    pub(crate) fn begin_epoch(&self) -> Result<(), IndexError> {
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
