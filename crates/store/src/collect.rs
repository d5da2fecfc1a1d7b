//! Making room: deleting blocks, collecting what nothing pins, giving packs back to the file system.

use std::collections::HashSet;
use std::sync::PoisonError;

use hpips_dag::{DepthFirst, is_leaf_codec};
use hpips_types::Cid;

use crate::error::{ReadError, WriteError};
use crate::index::Durable;
use crate::pack::{self, HEADER_BYTES};
use crate::pins::PinKind;
use crate::store::{Inner, Store, Writer};
use crate::tables::{Kind, PACK_DEAD};

/// Rows that are looked at in one step of a sweep.
const SWEEP_BATCH: usize = 8 * 1024;
/// Bytes that are moved in one batch when a pack is emptied.
const MOVE_BYTES: u64 = 16 * 1024 * 1024;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Blocks removed.
    pub blocks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Pack files given back.
    pub packs: u64,
}

/// While this lives, nothing is collected: for those who store blocks first and pin them at the end.
#[derive(Debug)]
pub struct Hold {
    store: Store,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut writer = self.store.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.holds -= 1;
    }
}

impl Store {
    /// Keeps every block, stored or found here, from being collected until the hold is dropped. Waits for a collection
    /// that is under way.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`].
    pub fn hold(&self) -> Result<Hold, WriteError> {
        self.inner.writer()?.holds += 1;
        Ok(Hold { store: self.clone() })
    }

    /// Removes a block from the packs, pinned or not; copies in piece and user files stay. Returns whether it was there.
    /// The space comes back with the next collection.
    ///
    /// # Errors
    /// When the index fails.
    pub fn delete(&self, cid: &Cid) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        let places = self.inner.index.lookup(cid)?;
        let packs: Vec<_> = places.iter().filter(|place| place.kind == Kind::Pack).collect();
        let found: Vec<_> = packs
            .iter()
            .map(|place| (place.container, place.row.cid(&cid.hash().to_bytes()).unwrap_or(*cid)))
            .collect();
        self.inner.index.write(Durable::Now, |tx| tx.remove_records(&found))?;
        writer.lag_bytes = 0;
        Ok(!found.is_empty())
    }

    /// Removes every block from the packs that is reachable from no pin, neither from the root of the files nor from one of `roots`, and gives packs
    /// back that are empty or more than half so. Writers wait meanwhile; readers do not.
    ///
    /// # Errors
    /// [`WriteError::Held`] while somebody has a [`Hold`]; [`WriteError::Read`] when a block that may link to
    /// others cannot be read, so that nothing is removed by mistake; failures of disk and index.
    pub fn collect(&self, roots: &[Cid]) -> Result<CollectReport, WriteError> {
        let mut writer = self.inner.writer()?;
        if writer.holds > 0 {
            return Err(WriteError::Held { holds: writer.holds });
        }
        let live = self.mark(roots)?;
        self.sweep(&mut writer, |cid| live.contains(&cid.hash().to_bytes()))
    }

    /// As [`Store::collect`], for callers who know themselves what is alive. Pins are not asked.
    ///
    /// # Errors
    /// [`WriteError::Held`]; failures of disk and index.
    pub fn retain(&self, is_live: impl Fn(&Cid) -> bool) -> Result<CollectReport, WriteError> {
        let mut writer = self.inner.writer()?;
        if writer.holds > 0 {
            return Err(WriteError::Held { holds: writer.holds });
        }
        self.sweep(&mut writer, is_live)
    }

    /// Multihashes of everything alive. Missing blocks keep nothing alive, and damaged ones stop the collection.
    fn mark(&self, roots: &[Cid]) -> Result<HashSet<Vec<u8>>, ReadError> {
        let mut live = HashSet::new();
        let mut roots = roots.to_vec();
        roots.extend(self.files_root());
        for pin in self.pins() {
            match pin.kind {
                PinKind::Direct => drop(live.insert(pin.cid.hash().to_bytes())),
                PinKind::Recursive => roots.push(pin.cid),
            }
        }
        let Some(first) = roots.pop() else { return Ok(live) };
        let mut walk = DepthFirst::new(first, usize::MAX);
        roots.into_iter().for_each(|root| walk.push_root(root));
        while let Some(cid) = walk.next_cid() {
            live.insert(cid.hash().to_bytes());
            if is_leaf_codec(&cid) {
                continue;
            }
            if let Some(block) = self.get(&cid)?
                && let Err(error) = walk.feed(&cid, &block)
            {
                tracing::warn!(%cid, %error, "a pinned block has no links that can be followed");
            }
        }
        Ok(live)
    }

    fn sweep(
        &self,
        writer: &mut Writer,
        is_live: impl Fn(&Cid) -> bool,
    ) -> Result<CollectReport, WriteError> {
        let mut report = CollectReport::default();
        let index = &self.inner.index;
        let mut last: Option<Vec<u8>> = None;
        loop {
            let rows = index.page(last.as_deref(), SWEEP_BATCH)?;
            let Some(end) = rows.last() else { break };
            last = Some(end.key.clone());
            let dead = rows.iter().filter(|row| row.kind == Kind::Pack && !is_live(&row.cid));
            let dead: Vec<_> = dead.map(|row| (row.container, row.cid)).collect();
            if !dead.is_empty() {
                report.bytes += index.write(Durable::Later, |tx| tx.remove_records(&dead))?;
                report.blocks += u64::try_from(dead.len()).expect("64 bits");
            }
        }
        index.write(Durable::Now, |_| Ok(()))?;
        writer.lag_bytes = 0;
        // Chosen before anything moves: the active pack fills meanwhile and may be closed.
        let active = writer.active.as_ref().map(|active| active.pack);
        let mut sparse = index.packs()?;
        sparse.retain(|(pack, state)| Some(*pack) != active && state.live_bytes * 2 <= state.end);
        for (pack, state) in sparse {
            if state.live_bytes > 0 {
                self.inner.empty_pack(writer, pack)?;
            }
            self.inner.unlink_pack(pack)?;
            report.packs += 1;
        }
        Ok(report)
    }
}

impl Inner {
    /// Moves what is alive in a pack to the active one.
    fn empty_pack(&self, writer: &mut Writer, pack: u64) -> Result<(), WriteError> {
        let path = self.pack_path(pack);
        let failed = |source| WriteError::Io { path: path.clone(), source };
        let file = self.layer.open_read(&path).map_err(failed)?;
        let file = file.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let mut records = Vec::new();
        pack::scan::<std::io::Error>(&*file, HEADER_BYTES, |found| {
            records.push(found);
            Ok(())
        })
        .map_err(failed)?;
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        for record in records {
            let places = self.index.lookup(&record.cid)?;
            let is_here = |place: &&crate::index::Place| {
                place.kind == Kind::Pack && place.container == pack && place.row.offset == record.offset
            };
            if places.iter().find(is_here).is_none() {
                continue;
            }
            let total = pack::record_bytes(&record.cid, record.bytes);
            let mut bytes = vec![0; usize::try_from(total).expect("blocks are bounded")];
            file.read_exact_at(&mut bytes, record.offset).map_err(failed)?;
            let range = pack::open_record(&bytes, &record.cid);
            let range = range.ok_or(WriteError::Read(ReadError::Damaged { cid: record.cid }))?;
            batch.push((record.cid, bytes::Bytes::from(bytes).slice(range)));
            batch_bytes += total;
            if batch_bytes >= MOVE_BYTES {
                self.append(writer, &batch, Some(pack))?;
                batch.clear();
                batch_bytes = 0;
            }
        }
        self.append(writer, &batch, Some(pack))
    }

    /// Gives a pack back: first the index forgets it, then the file goes, so that a crash leaves no row without
    /// a file.
    fn unlink_pack(&self, pack: u64) -> Result<(), WriteError> {
        let path = self.pack_path(pack);
        self.index.write(Durable::Now, |tx| tx.set_pack(pack, 0, PACK_DEAD))?;
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).forget(Kind::Pack, pack);
        // Before the number is forgotten the name has to be gone for good, or a crash would bring the pack back.
        let removed = self.layer.remove(&path).and_then(|()| self.layer.sync_dir(&self.packs_dir()));
        removed.map_err(|source| WriteError::Io { path: path.clone(), source })?;
        self.index.write(Durable::Later, |tx| tx.remove_pack(pack))?;
        Ok(())
    }
}
