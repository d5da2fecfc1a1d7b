//! Giving packs back to the file system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use bytes::Bytes;
use hpips_types::Cid;

use crate::error::{IndexError, WriteError};
use crate::index::Durable;
use crate::layer::LayerFile;
use crate::pack::{self, HEADER_BYTES};
use crate::store::{Inner, Store};
use crate::tables::{Kind, PACK_DEAD};
use crate::write::{FREEING_RESERVE_BYTES, Incoming};

/// Bytes that are moved in one batch: one sync and one turn of the writer.
const MOVE_BYTES: u64 = 32 * 1024 * 1024;
/// Rows of packs to empty that are kept in memory at once: 64 MB.
const ROWS_MAX: usize = 4 * 1024 * 1024;
/// Bytes that are read at once from a pack.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// Dead bytes that are read along rather than stepped over.
const GAP_BYTES: u64 = 64 * 1024;

impl Store {
    /// Empties packs that are at most half alive and unlinks them; returns how many. Writers have their turn between
    /// two batches.
    pub(crate) fn compact(&self) -> Result<u64, WriteError> {
        let inner = &self.inner;
        // Chosen before anything moves: the active pack fills meanwhile and may be closed.
        let mut writer = inner.writer()?;
        let mut sparse = inner.index.packs()?;
        sparse.retain(|(_, state)| state.end > HEADER_BYTES && state.live_bytes * 2 <= state.end);
        // In a small store most of what can be freed is in the pack that is appended to: another one is begun.
        if let Some(active) = &writer.active
            && sparse.iter().any(|(pack, _)| *pack == active.pack)
        {
            writer.active = None;
        }
        drop(writer);
        let mut count = 0;
        // Also those that should have nothing alive: rows tell for certain, counters do not.
        let mut waiting: BTreeSet<u64> = sparse.into_iter().map(|(pack, _)| pack).collect();
        while !waiting.is_empty() {
            let mut rows: Vec<_> = inner.rows_of_packs(&waiting)?.into_iter().collect();
            // What can go at once goes first: moving needs room.
            rows.sort_by_key(|(_, spots)| !spots.is_empty());
            for (pack, rows) in rows {
                waiting.remove(&pack);
                if inner.empty_pack(pack, rows)? {
                    inner.unlink_pack(pack)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }
}

/// A record that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    offset: u64,
    bytes: u32,
    /// CRC32C of the multihash: tells whether the record there is the row's.
    hash_crc: u32,
}

impl Spot {
    fn end(self) -> u64 {
        self.offset + u64::from(self.bytes)
    }
}

fn hash_crc(cid: &Cid) -> u32 {
    crc32c::crc32c(&cid.hash().to_bytes())
}

/// A record to move: where it is, and what is in it.
type Moving = (u64, Cid, Bytes);

impl Inner {
    /// What is alive in some of these packs, at least one of them: as many as memory is meant for.
    fn rows_of_packs(&self, packs: &BTreeSet<u64>) -> Result<BTreeMap<u64, Vec<Spot>>, WriteError> {
        let mut rows: BTreeMap<u64, Vec<Spot>> = packs.iter().map(|pack| (*pack, Vec::new())).collect();
        let mut count = 0;
        self.index.scan(|row| {
            let spots = if row.kind == Kind::Pack { rows.get_mut(&row.container) } else { None };
            let Some(spots) = spots else { return Ok(()) };
            let bytes = u32::try_from(pack::record_bytes(&row.cid, row.row.bytes)).unwrap_or(u32::MAX);
            spots.push(Spot { offset: row.row.offset, bytes, hash_crc: hash_crc(&row.cid) });
            count += 1;
            if count > ROWS_MAX
                && rows.len() > 1
                && let Some((_, dropped)) = rows.pop_last()
            {
                count -= dropped.len();
            }
            Ok::<_, IndexError>(())
        })?;
        Ok(rows)
    }

    /// Moves what is alive in a pack to the active one; returns whether nothing was left behind. A damaged record
    /// stays where it is, so that it is still known which block it was, and so does one that cannot be read.
    fn empty_pack(&self, pack: u64, mut spots: Vec<Spot>) -> Result<bool, WriteError> {
        if spots.is_empty() {
            return Ok(true);
        }
        let path = self.pack_path(pack);
        let file = match self.layer.open_read(&path) {
            Ok(Some(file)) => file,
            Ok(None) => {
                tracing::error!(pack, "the file of a pack is gone");
                return Ok(false);
            }
            Err(error) => {
                tracing::error!(pack, %error, "cannot open a pack: it stays");
                return Ok(false);
            }
        };
        spots.sort_unstable();
        let mut is_empty = true;
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        let mut rest = &spots[..];
        while let Some((start, len)) = window(rest) {
            let (now, later) = rest.split_at(len);
            rest = later;
            let (records, window_bytes) = read_window(pack, &*file, start, now);
            is_empty &= records.len() == now.len();
            batch.extend(records);
            // Records share the memory of what was read around them.
            batch_bytes += window_bytes;
            if batch_bytes >= MOVE_BYTES {
                self.move_records(pack, std::mem::take(&mut batch))?;
                batch_bytes = 0;
            }
        }
        self.move_records(pack, batch)?;
        Ok(is_empty)
    }

    /// Appends records to the active pack and has the index point there, but for those that are gone since they were
    /// listed.
    fn move_records(&self, pack: u64, mut records: Vec<Moving>) -> Result<(), WriteError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        let bytes = records.iter().map(|(_, _, block)| u64::try_from(block.len()).expect("64 bits")).sum();
        self.check_free(bytes, FREEING_RESERVE_BYTES)?;
        let places = records.iter().map(|(offset, cid, _)| (cid, *offset));
        let mut is_there = self.index.are_at(pack, places)?.into_iter();
        records.retain(|_| is_there.next().expect("one answer a record"));
        let moved = records.into_iter().map(|(_, cid, block)| Incoming { cid, block, is_new: false });
        self.append(&mut writer, &moved.collect::<Vec<_>>(), Some(pack))
    }

    /// Gives a pack back: first the index forgets it, then the file goes, so that a crash leaves no row without
    /// a file.
    fn unlink_pack(&self, pack: u64) -> Result<(), WriteError> {
        let path = self.pack_path(pack);
        let mut writer = self.writer()?;
        self.check_free(0, FREEING_RESERVE_BYTES)?;
        let end = self.index.write(Durable::Now, |tx| tx.set_pack(pack, 0, PACK_DEAD))?;
        writer.committed();
        writer.used_bytes = writer.used_bytes.saturating_sub(end);
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).forget(Kind::Pack, pack);
        // Before the number is forgotten the name has to be gone for good, or a crash would bring the pack back.
        let removed = self.layer.remove(&path).and_then(|()| self.layer.sync_dir(&self.packs_dir()));
        removed.map_err(|source| WriteError::Io { path: path.clone(), source })?;
        self.index.write(Durable::Later, |tx| tx.remove_pack(pack))?;
        Ok(())
    }
}

/// Reads the records of a window, and says how much memory they keep; what is damaged or cannot be read is left out.
fn read_window(pack: u64, file: &dyn LayerFile, start: u64, spots: &[Spot]) -> (Vec<Moving>, u64) {
    let end = spots.last().map_or(start, |spot| spot.end());
    let window = file.read_vec_at(pack::index_of(end - start), start).map(Bytes::from);
    let mut memory = if window.is_ok() { end - start } else { 0 };
    let mut records = Vec::with_capacity(spots.len());
    for spot in spots {
        let record = match &window {
            Ok(window) => {
                let from = pack::index_of(spot.offset - start);
                Ok(window.slice(from..from + pack::index_of(spot.bytes.into())))
            }
            // One spot of the disk hides a window, but not the records beside it.
            Err(_) => file.read_vec_at(pack::index_of(spot.bytes.into()), spot.offset).map(Bytes::from),
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(pack, offset = spot.offset, %error, "a block cannot be read: its pack stays");
                continue;
            }
        };
        match pack::parse_record(&record) {
            Some((cid, range)) if hash_crc(&cid) == spot.hash_crc => {
                memory += if window.is_ok() { 0 } else { u64::from(spot.bytes) };
                records.push((spot.offset, cid, record.slice(range)));
            }
            _ => {
                let offset = spot.offset;
                tracing::error!(pack, offset, "a block is damaged: its pack stays, verify names the block");
            }
        }
    }
    (records, memory)
}

/// How many of these records to read at once, and where that begins.
fn window(spots: &[Spot]) -> Option<(u64, usize)> {
    let first = *spots.first()?;
    let (start, mut end) = (first.offset, first.end());
    let fits = spots.iter().take_while(|spot| {
        let bytes_max = WINDOW_BYTES.max(first.bytes.into());
        let is_near = spot.offset <= end + GAP_BYTES && spot.end() - start <= bytes_max;
        end = spot.end();
        is_near
    });
    Some((start, fits.count()))
}
