//! Giving packs back to the file system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use bytes::Bytes;
use hpips_types::Cid;

use crate::error::{IndexError, WriteError};
use crate::index::Durable;
use crate::pack::{self, HEADER_BYTES};
use crate::store::{Inner, Store};
use crate::tables::{Kind, PACK_DEAD};
use crate::write::Incoming;

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
            for (pack, rows) in inner.rows_of_packs(&waiting)? {
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

/// Where a record begins and its length, bytes.
type Spot = (u64, u64);

impl Inner {
    /// What is alive in some of these packs, at least one of them: as many as memory is meant for.
    fn rows_of_packs(&self, packs: &BTreeSet<u64>) -> Result<BTreeMap<u64, Vec<Spot>>, WriteError> {
        let mut rows: BTreeMap<u64, Vec<Spot>> = packs.iter().map(|pack| (*pack, Vec::new())).collect();
        let mut count = 0;
        self.index.scan(|row| {
            let spots = if row.kind == Kind::Pack { rows.get_mut(&row.container) } else { None };
            let Some(spots) = spots else { return Ok(()) };
            spots.push((row.row.offset, pack::record_bytes(&row.cid, row.row.bytes)));
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

    /// Moves what is alive in a pack to the active one; returns whether nothing was left behind. A record that is damaged or
    /// cannot be read stays where it is, so that it is still known which block it was.
    fn empty_pack(&self, pack: u64, mut spots: Vec<Spot>) -> Result<bool, WriteError> {
        if spots.is_empty() {
            return Ok(true);
        }
        let file = match self.layer.open_read(&self.pack_path(pack)) {
            Ok(Some(file)) => file,
            other => {
                tracing::error!(pack, error = ?other.err(), "a pack cannot be opened: it stays as it is");
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
            let end = now.last().map_or(start, |(offset, bytes)| offset + bytes);
            let bytes = match file.read_vec_at(pack::index_of(end - start), start) {
                Ok(bytes) => Bytes::from(bytes),
                Err(error) => {
                    tracing::error!(pack, start, end, %error, "a part of a pack cannot be read: the pack stays");
                    is_empty = false;
                    continue;
                }
            };
            // Each record keeps the whole window in memory.
            batch_bytes += end - start;
            for (offset, len) in now {
                let from = pack::index_of(offset - start);
                let record = bytes.slice(from..from + pack::index_of(*len));
                let Some((cid, range)) = pack::parse_record(&record) else {
                    tracing::error!(
                        pack,
                        offset,
                        "a block is damaged: its pack stays, verify names the block"
                    );
                    is_empty = false;
                    continue;
                };
                batch.push((*offset, cid, record.slice(range)));
            }
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
    fn move_records(&self, pack: u64, mut records: Vec<(u64, Cid, Bytes)>) -> Result<(), WriteError> {
        let mut writer = self.writer()?;
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

/// How many of these records to read at once, and where that begins.
fn window(spots: &[Spot]) -> Option<(u64, usize)> {
    let (start, first) = *spots.first()?;
    let mut end = start + first;
    let fits = spots.iter().take_while(|(offset, bytes)| {
        let is_near = *offset <= end + GAP_BYTES && offset + bytes - start <= WINDOW_BYTES.max(first);
        end = offset + bytes;
        is_near
    });
    Some((start, fits.count()))
}
