//! Storing blocks: records are appended and made durable, then the index learns of them.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use hpips_dag::Block;
use hpips_types::Cid;
use hpips_types::content::verify_block;
use rayon::prelude::*;

use crate::error::WriteError;
use crate::index::{Durable, Known};
use crate::pack::{self, Found, HEADER_BYTES};
use crate::read::inline;
use crate::store::{Active, BLOCK_BYTES_MAX, Inner, Store, Writer};
use crate::tables::{META_NEXT_PACK, PACK_FULL};

/// Bytes gathered before they are handed to the file.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Blocks that are checked on one core before another is asked to help.
const VERIFY_BLOCKS_MIN: usize = 4;
/// Bytes of waiting batches that are stored in one go.
const GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that stay free on the disk: the index grows with every batch, and a database that meets a full disk has to be
/// opened again, for reading as well.
pub(crate) const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// As [`RESERVE_BYTES`], for what makes room: it has to go on when nothing can be stored any more, and rewrites a few
/// pages of the index at a time.
pub(crate) const FREEING_RESERVE_BYTES: u64 = 8 * 1024 * 1024;

impl Store {
    /// Stores blocks from outside, each checked against its CID; durable when it returns. Blocks that are here already
    /// cost only the check.
    ///
    /// # Errors
    /// [`WriteError::Block`] and [`WriteError::TooLarge`] before anything is stored; failures of disk and
    /// index, after which none of the blocks counts as stored.
    pub fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), WriteError> {
        blocks
            .par_iter()
            .with_min_len(VERIFY_BLOCKS_MIN)
            .try_for_each(|(cid, block)| verify_block(cid, block))?;
        self.put_checked(blocks)
    }

    /// Stores blocks whose CIDs this process has just computed, without computing them again; durable when it
    /// returns. Threads that call this at once share one sync.
    ///
    /// # Errors
    /// As [`Store::put`], but for the check.
    pub fn put_built(&self, blocks: impl IntoIterator<Item = Block>) -> Result<(), WriteError> {
        self.put_checked(blocks.into_iter().map(|block| (block.cid, block.bytes)).collect())
    }

    fn put_checked(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), WriteError> {
        if let Some((cid, block)) = blocks.iter().find(|(_, block)| block.len() > BLOCK_BYTES_MAX) {
            return Err(WriteError::TooLarge { cid: *cid, got: block.len(), max: BLOCK_BYTES_MAX });
        }
        let own = Arc::new(Ticket { blocks, is_done: AtomicBool::new(false) });
        self.inner.queue().push_back(Arc::clone(&own));
        let writer = self.inner.writer();
        if own.is_done.load(Ordering::Acquire) {
            return Ok(());
        }
        // Whoever has the turn stores what waits along with its own.
        let group = self.inner.take_group(&own);
        let mut writer = writer?;
        let stored = match self.write_group(&mut writer, &group) {
            Ok(()) => {
                group.iter().for_each(|ticket| ticket.is_done.store(true, Ordering::Release));
                group
            }
            Err(_) if group.len() > 1 && !writer.is_poisoned => {
                self.inner.give_back(&own, group);
                self.write_group(&mut writer, std::slice::from_ref(&own))?;
                vec![own]
            }
            Err(error) => {
                self.inner.give_back(&own, group);
                return Err(error);
            }
        };
        drop(writer);
        if let Some(observer) = self.inner.on_put.get() {
            observer(&mut stored.iter().flat_map(|ticket| &ticket.blocks).map(|(cid, _)| cid));
        }
        Ok(())
    }

    /// Calls `observer` with the blocks of every batch from now on, once they are durable, on the thread that stored
    /// them: it must not wait. Only the first observer of a store is kept.
    pub fn on_put(&self, observer: impl Fn(&mut dyn Iterator<Item = &Cid>) + Send + Sync + 'static) {
        let _ = self.inner.on_put.set(Box::new(observer));
    }

    fn write_group(&self, writer: &mut Writer, group: &[Arc<Ticket>]) -> Result<(), WriteError> {
        let blocks = || group.iter().flat_map(|ticket| &ticket.blocks);
        // Or a block whose only copy is known to be damaged would count as stored.
        self.inner.forget_rotten();
        if self.inner.index.has_failed() {
            return Err(WriteError::Poisoned);
        }
        let known = self.inner.index.known(blocks().map(|(cid, _)| cid))?;
        let mut batch = HashSet::new();
        let mut incoming = Vec::new();
        let mut more = 0;
        let mut leases = self.leases();
        for ((cid, block), known) in blocks().zip(known) {
            if inline(cid).is_some() {
                continue;
            }
            if known == Known::Packed {
                if !leases.is_empty() {
                    leases.hit(cid);
                }
            } else if batch.insert(*cid.hash()) {
                more += pack::record_bytes(cid, block_bytes(block));
                incoming.push(Incoming { cid: *cid, block: block.clone(), is_new: known == Known::Nowhere });
            }
        }
        drop(leases);
        if incoming.is_empty() {
            return Ok(());
        }
        self.inner.check_room(writer, more)?;
        self.inner.append(writer, &incoming, None)
    }
}

/// A batch that waits for the writer's turn.
#[derive(Debug)]
pub(crate) struct Ticket {
    blocks: Vec<(Cid, Bytes)>,
    /// Somebody else has stored it.
    is_done: AtomicBool,
}

impl Ticket {
    fn bytes(&self) -> usize {
        self.blocks.iter().map(|(_, block)| block.len()).sum()
    }
}

/// A block that no pack holds, or that moves here from another one.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) cid: Cid,
    pub(crate) block: Bytes,
    /// Whether it is nowhere else either.
    pub(crate) is_new: bool,
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Ticket>>> {
        // Pushing and taking cannot stop half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a ticket and others off the queue, as many as make a reasonable batch.
    fn take_group(&self, own: &Arc<Ticket>) -> Vec<Arc<Ticket>> {
        let mut queue = self.queue();
        queue.retain(|ticket| !Arc::ptr_eq(ticket, own));
        let mut bytes = own.bytes();
        let mut group = vec![Arc::clone(own)];
        while bytes < GROUP_BYTES
            && let Some(ticket) = queue.pop_front()
        {
            bytes += ticket.bytes();
            group.push(ticket);
        }
        group
    }

    /// Puts tickets back whose threads have to try themselves.
    fn give_back(&self, own: &Arc<Ticket>, group: Vec<Arc<Ticket>>) {
        self.queue().extend(group.into_iter().filter(|ticket| !Arc::ptr_eq(ticket, own)));
    }

    /// Refuses what does not fit before any of it is written.
    fn check_room(&self, writer: &Writer, more: u64) -> Result<(), WriteError> {
        let (used, max) = (writer.used_bytes, self.config.bytes_max);
        if used.saturating_add(more) > max {
            return Err(WriteError::Full { used, more, max });
        }
        self.check_free(more, RESERVE_BYTES)
    }

    /// Refuses what the disk has no room for, before any of it is written; `reserve` is what the index may need.
    pub(crate) fn check_free(&self, more: u64, reserve: u64) -> Result<(), WriteError> {
        let path = || self.dir.clone();
        let free =
            self.layer.free_bytes(&self.dir).map_err(|source| WriteError::Io { path: path(), source })?;
        let needed = more.saturating_add(reserve);
        if free < needed {
            return Err(WriteError::NoSpace { path: path(), free, more: needed });
        }
        Ok(())
    }

    /// Appends blocks that no pack holds, or that move here from the pack `from`.
    pub(crate) fn append(
        &self,
        writer: &mut Writer,
        mut blocks: &[Incoming],
        from: Option<u64>,
    ) -> Result<(), WriteError> {
        while !blocks.is_empty() {
            if writer.active.as_ref().is_some_and(|active| active.end >= self.config.pack_bytes) {
                self.close_pack(writer)?;
            }
            let mut end = writer.active.as_ref().map_or(HEADER_BYTES, |active| active.end);
            let fits = blocks.iter().take_while(|incoming| {
                let has_room = end < self.config.pack_bytes;
                end += pack::record_bytes(&incoming.cid, block_bytes(&incoming.block));
                has_room
            });
            let (now, later) = blocks.split_at(fits.count());
            self.append_to_pack(writer, now, from)?;
            blocks = later;
        }
        Ok(())
    }

    fn append_to_pack(
        &self,
        writer: &mut Writer,
        blocks: &[Incoming],
        from: Option<u64>,
    ) -> Result<(), WriteError> {
        let mut active = match writer.active.take() {
            Some(active) => active,
            None => self.begin_pack(writer)?,
        };
        let path = self.pack_path(active.pack);
        let failed = |source| WriteError::Io { path: path.clone(), source };
        let (start, entries) = (active.end, active.entries.as_ref().map(Vec::len));
        let records = match write_records(&mut active, blocks) {
            Ok(records) => records,
            Err(error) => {
                // Nothing of the batch is known to the index: cutting it off undoes it.
                writer.is_poisoned = cut(&active, start).is_err();
                active.end = start;
                if let (Some(entries), Some(len)) = (&mut active.entries, entries) {
                    entries.truncate(len);
                }
                writer.active = Some(active);
                return Err(failed(error));
            }
        };
        if let Err(error) = active.file.sync() {
            // What was acknowledged before was synced before. Of this batch nobody knows what is on disk, and the index
            // knows nothing: it is cut off, and no more is appended to this pack.
            writer.is_poisoned = cut(&active, start).is_err();
            return Err(failed(error));
        }
        let lag_bytes = writer.lag_bytes + (active.end - start);
        // What moves is found at its old place as well.
        let lag_blocks = writer.lag_blocks + if from.is_none() { records.len() } else { 0 };
        let is_due = lag_bytes >= self.config.index_lag_bytes || lag_blocks >= self.config.index_lag_blocks;
        let durable = if is_due { Durable::Now } else { Durable::Later };
        let added = blocks.iter().filter(|incoming| incoming.is_new).count();
        let added = u64::try_from(added).expect("64 bits");
        let committed =
            self.index.write(durable, |tx| tx.append_records(active.pack, &records, active.end, added, from));
        if let Err(error) = committed {
            writer.is_poisoned = true;
            return Err(error.into());
        }
        writer.used_bytes += active.end - start;
        (writer.lag_bytes, writer.lag_blocks) = (lag_bytes, lag_blocks);
        if durable == Durable::Now {
            writer.committed();
        }
        writer.active = Some(active);
        Ok(())
    }

    fn begin_pack(&self, writer: &mut Writer) -> Result<Active, WriteError> {
        let pack = writer.next_pack;
        let path = self.pack_path(pack);
        let failed = |source| WriteError::Io { path: path.clone(), source };
        let file = self.layer.create(&path).map_err(failed)?;
        // The number is spent even if what follows fails: no pack ever changes its meaning.
        writer.next_pack += 1;
        file.write_all_at(&pack::header(pack), 0).map_err(failed)?;
        self.layer.sync_dir(&self.packs_dir()).map_err(failed)?;
        self.index.write(Durable::Later, |tx| tx.set_number(META_NEXT_PACK, pack + 1))?;
        writer.used_bytes += HEADER_BYTES;
        Ok(Active { pack, file, end: HEADER_BYTES, entries: Some(Vec::new()) })
    }

    /// Ends the active pack with its footer.
    pub(crate) fn close_pack(&self, writer: &mut Writer) -> Result<(), WriteError> {
        let Some(active) = &mut writer.active else { return Ok(()) };
        let path = self.pack_path(active.pack);
        let failed = |source| WriteError::Io { path: path.clone(), source };
        let entries = match active.entries.take() {
            Some(entries) => entries,
            None => self.footer_entries(active).map_err(failed)?,
        };
        let footer = pack::footer(&entries, active.end);
        active.entries = Some(entries);
        if let Err(error) = active.file.write_all_at(&footer, active.end) {
            writer.is_poisoned = cut(active, active.end).is_err();
            return Err(failed(error));
        }
        if let Err(error) = active.file.sync() {
            // The records were synced before; the pack stays without a footer.
            writer.is_poisoned = cut(active, active.end).is_err();
            writer.active = None;
            return Err(failed(error));
        }
        let (pack, end) = (active.pack, active.end + footer_bytes(&footer));
        writer.active = None;
        writer.used_bytes += footer_bytes(&footer);
        if let Err(error) = self.index.write(Durable::Later, |tx| tx.set_pack(pack, end, PACK_FULL)) {
            writer.is_poisoned = true;
            return Err(error.into());
        }
        Ok(())
    }

    fn footer_entries(&self, active: &Active) -> io::Result<Vec<u8>> {
        let mut entries = Vec::new();
        pack::scan::<io::Error>(&*active.file, HEADER_BYTES, |found| {
            pack::put_footer_entry(&found.cid, found.bytes, &mut entries);
            Ok(())
        })?;
        Ok(entries)
    }
}

/// Cuts a pack for good: what stood behind would come back with a crash.
fn cut(active: &Active, end: u64) -> io::Result<()> {
    active.file.set_len(end)?;
    active.file.sync()
}

fn footer_bytes(footer: &[u8]) -> u64 {
    u64::try_from(footer.len()).expect("64 bits")
}

fn block_bytes(block: &Bytes) -> u32 {
    u32::try_from(block.len()).expect("blocks are bounded before")
}

/// Writes records at the end of the pack and moves the end; the caller makes them durable.
fn write_records(active: &mut Active, blocks: &[Incoming]) -> io::Result<Vec<Found>> {
    let mut records = Vec::with_capacity(blocks.len());
    let record = |incoming: &Incoming| pack::record_bytes(&incoming.cid, block_bytes(&incoming.block));
    let total = blocks.iter().map(record).fold(0, u64::saturating_add);
    // Room once, not by doubling: copies and fresh pages were 3 % of adding small files.
    let mut buffer = Vec::with_capacity(usize::try_from(total).unwrap_or(usize::MAX).min(2 * BUFFER_BYTES));
    let mut written = active.end;
    for Incoming { cid, block, .. } in blocks {
        let bytes = block_bytes(block);
        records.push(Found { cid: *cid, offset: active.end, bytes });
        pack::put_record(cid, block, &mut buffer);
        if let Some(entries) = &mut active.entries {
            pack::put_footer_entry(cid, bytes, entries);
        }
        active.end += pack::record_bytes(cid, bytes);
        if buffer.len() >= BUFFER_BYTES {
            active.file.write_all_at(&buffer, written)?;
            written = active.end;
            buffer.clear();
        }
    }
    active.file.write_all_at(&buffer, written)?;
    Ok(records)
}
