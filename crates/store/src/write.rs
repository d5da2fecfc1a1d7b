//! Storing blocks: records are appended and made durable, then the index learns of them.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use hpips_dag::Block;
use hpips_types::Cid;
use hpips_types::content::verify_block;

use crate::error::WriteError;
use crate::index::Durable;
use crate::pack::{self, Found, HEADER_BYTES};
use crate::read::inline;
use crate::store::{Active, BLOCK_BYTES_MAX, Inner, Store, Writer};
use crate::tables::{META_NEXT_PACK, PACK_FULL, PACK_OPEN};

/// Bytes gathered before they are handed to the file.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

impl Store {
    /// Stores blocks from outside, each checked against its CID; durable when it returns. Blocks that are here already
    /// cost only the check.
    ///
    /// # Errors
    /// [`WriteError::Block`] and [`WriteError::TooLarge`] before anything is stored; failures of disk and
    /// index, after which none of the blocks counts as stored.
    pub fn put(&self, blocks: Vec<(Cid, Bytes)>) -> Result<(), WriteError> {
        for (cid, block) in &blocks {
            verify_block(cid, block)?;
        }
        self.put_checked(blocks)
    }

    /// Stores blocks whose CIDs this process has just computed, without computing them again; durable when it
    /// returns.
    ///
    /// # Errors
    /// As [`Store::put`], but for the check.
    pub fn put_built(&self, blocks: impl IntoIterator<Item = Block>) -> Result<(), WriteError> {
        self.put_checked(blocks.into_iter().map(|block| (block.cid, block.bytes)).collect())
    }

    fn put_checked(&self, mut blocks: Vec<(Cid, Bytes)>) -> Result<(), WriteError> {
        if let Some((cid, block)) = blocks.iter().find(|(_, block)| block.len() > BLOCK_BYTES_MAX) {
            return Err(WriteError::TooLarge { cid: *cid, got: block.len(), max: BLOCK_BYTES_MAX });
        }
        let mut writer = self.inner.writer()?;
        let mut packed = self.inner.index.packed(blocks.iter().map(|(cid, _)| cid))?.into_iter();
        let mut batch = HashSet::new();
        blocks.retain(|(cid, _)| {
            let is_packed = packed.next().expect("one answer a block");
            !is_packed && inline(cid).is_none() && batch.insert(*cid.hash())
        });
        self.inner.append(&mut writer, &blocks, None)
    }
}

impl Inner {
    /// Appends blocks that no pack holds, or that move here from the pack `from`.
    pub(crate) fn append(
        &self,
        writer: &mut Writer,
        mut blocks: &[(Cid, Bytes)],
        from: Option<u64>,
    ) -> Result<(), WriteError> {
        while !blocks.is_empty() {
            if writer.active.as_ref().is_some_and(|active| active.end >= self.config.pack_bytes) {
                self.close_pack(writer)?;
            }
            let mut end = writer.active.as_ref().map_or(HEADER_BYTES, |active| active.end);
            let fits = blocks.iter().take_while(|(cid, block)| {
                let has_room = end < self.config.pack_bytes;
                end += pack::record_bytes(cid, block_bytes(block));
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
        blocks: &[(Cid, Bytes)],
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
                writer.is_poisoned = active.file.set_len(start).is_err();
                active.end = start;
                if let (Some(entries), Some(len)) = (&mut active.entries, entries) {
                    entries.truncate(len);
                }
                writer.active = Some(active);
                return Err(failed(error));
            }
        };
        // After a failed sync nobody knows what is on disk.
        if let Err(error) = active.file.sync() {
            writer.is_poisoned = true;
            return Err(failed(error));
        }
        let lag_bytes = writer.lag_bytes + (active.end - start);
        let durable = if lag_bytes >= self.config.index_lag_bytes { Durable::Now } else { Durable::Later };
        let committed = self.index.write(durable, |tx| {
            if let Some(from) = from {
                let moved: Vec<_> = records.iter().map(|record| (from, record.cid)).collect();
                tx.remove_records(&moved)?;
            }
            tx.add_records(active.pack, &records, active.end, PACK_OPEN)
        });
        if let Err(error) = committed {
            writer.is_poisoned = true;
            return Err(error.into());
        }
        writer.lag_bytes = if durable == Durable::Now { 0 } else { lag_bytes };
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
            writer.is_poisoned = active.file.set_len(active.end).is_err();
            return Err(failed(error));
        }
        if let Err(error) = active.file.sync() {
            writer.is_poisoned = true;
            return Err(failed(error));
        }
        let (pack, end) = (active.pack, active.end + footer_bytes(&footer));
        writer.active = None;
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

fn footer_bytes(footer: &[u8]) -> u64 {
    u64::try_from(footer.len()).expect("64 bits")
}

fn block_bytes(block: &Bytes) -> u32 {
    u32::try_from(block.len()).expect("blocks are bounded before")
}

/// Writes records at the end of the pack and moves the end; the caller makes them durable.
fn write_records(active: &mut Active, blocks: &[(Cid, Bytes)]) -> io::Result<Vec<Found>> {
    let mut records = Vec::with_capacity(blocks.len());
    let mut buffer = Vec::new();
    let mut written = active.end;
    for (cid, block) in blocks {
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
