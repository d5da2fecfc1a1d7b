//! Making room: deleting blocks, and collecting what nothing pins, while others read and write.
//!
//! A collection marks what is reachable, then goes over the index in steps. Between two steps writers have their turn;
//! what they store or find carries a lease ([`crate::lease`]), and roots that they set are marked before the next step.

use std::sync::PoisonError;

use hpips_types::Cid;

use crate::error::{MarkError, NeededBy, ReadError, WriteError};
use crate::index::{Durable, PageRow};
use crate::lease::Root;
use crate::marks::{Found, Marks, Reach};
use crate::store::Store;
use crate::tables::Kind;
use crate::transaction::Swept;
use crate::write::FREEING_RESERVE_BYTES;

/// Rows that are looked at in one step of a sweep: some 20 ms for which writers wait.
const SWEEP_BATCH: usize = 16 * 1024;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Copies of blocks removed, from packs and from the rows of users' files.
    pub blocks: u64,
    /// Bytes of their records; copies in users' files count nothing.
    pub bytes: u64,
    /// Pack files given back.
    pub packs: u64,
}

/// Ends what a collection began, however it ends.
struct Running<'a>(&'a Store);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.leases().end_collection();
    }
}

/// What is alive.
#[derive(Debug, Default)]
pub(crate) struct Live {
    marks: Marks,
    reach: Reach,
}

impl Live {
    pub(crate) fn is_marked(&self, cid: &Cid) -> bool {
        self.marks.contains(cid)
    }

    /// Marks what is reachable from roots. A node that a pin needs and that cannot be read or understood stops the
    /// collection: what is below it would be removed, although it is all that is left of the pin. What the root of the
    /// files or a lease reaches may be missing, as links to what was never fetched are allowed there.
    pub(crate) fn mark(&mut self, store: &Store, roots: Vec<Root>) -> Result<(), WriteError> {
        for root in roots {
            let (needed_by, may_miss) = match root {
                Root::Direct(cid) => {
                    self.marks.insert(&cid);
                    continue;
                }
                Root::Pin(cid) => (NeededBy::Pin(cid), false),
                Root::Given(cid) => (NeededBy::Caller(cid), false),
                Root::Files(cid) => (NeededBy::Files(cid), true),
                Root::Held(cid) => (NeededBy::Lease(cid), true),
            };
            let (NeededBy::Pin(cid) | NeededBy::Caller(cid) | NeededBy::Files(cid) | NeededBy::Lease(cid)) =
                needed_by;
            self.reach.push(cid);
            let marks = &mut self.marks;
            self.reach.run(store, |cid, found| {
                marks.insert(cid);
                let source = match found {
                    Found::Leaf | Found::Inner => return Ok(()),
                    Found::Missing if may_miss => return Ok(()),
                    Found::Missing => MarkError::Missing,
                    Found::Failed(ReadError::Index(error)) => return Err(error.into()),
                    Found::Failed(ReadError::Damaged { .. }) => MarkError::Damaged,
                    Found::Failed(ReadError::Io { source, .. }) => MarkError::Io(source),
                    Found::Undecoded(error) => MarkError::Decode(error),
                };
                Err(WriteError::Unmarked { cid: *cid, needed_by, source })
            })?;
        }
        Ok(())
    }
}

impl Store {
    /// Removes a block from the packs, pinned or not; copies in piece and user files stay. Returns whether it was there.
    /// The space comes back with the next collection.
    ///
    /// # Errors
    /// When the index fails.
    pub fn delete(&self, cid: &Cid) -> Result<bool, WriteError> {
        let mut writer = self.inner.writer()?;
        self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
        let places = self.inner.index.lookup(cid)?;
        let packs = places.iter().filter(|place| place.kind == Kind::Pack);
        let found: Vec<_> = packs.map(|place| (place.container, place.row.offset, *cid)).collect();
        let removed = self.inner.index.write(Durable::Now, |tx| tx.remove_records(&found))?;
        writer.committed();
        Ok(removed > 0)
    }

    /// As [`Store::collect_with`], without asking which blocks went.
    ///
    /// # Errors
    /// As there.
    pub fn collect(&self, roots: &[Cid]) -> Result<CollectReport, WriteError> {
        self.collect_with(roots, |_| {})
    }

    /// Removes every block that is reachable neither from a pin, nor from the root of the files, nor from one of
    /// `roots`, and that no lease ([`Store::hold`]) covers; then gives packs back that are empty or more than half
    /// so. `removed` is told each block that is gone for good, as it goes. Copies in piece files stay: they live by
    /// deal. One collection runs at a time, a second one waits for it.
    ///
    /// Others read and write meanwhile. What is stored, and what becomes a root, while this runs is kept. A block that
    /// was stored earlier without a lease and is pinned only now is kept if its pin comes before it is swept.
    ///
    /// Memory: about 30 bytes a block that is alive.
    ///
    /// # Errors
    /// [`WriteError::Unmarked`] when a block that may link to others is missing, damaged or not understood, so that
    /// nothing is removed by mistake; failures of disk and index. What was told as removed before is removed.
    pub fn collect_with(
        &self,
        roots: &[Cid],
        removed: impl FnMut(&Cid),
    ) -> Result<CollectReport, WriteError> {
        let _turn = self.inner.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever is stored from here on is newer than the mark.
        let _lease = self.hold()?;
        let mut all = self.leases().begin_collection();
        let _running = Running(self);
        let mut live = Live::default();
        all.extend(roots.iter().copied().map(Root::Given));
        all.extend(self.files_root().map(Root::Files));
        all.extend(self.pins().iter().map(Root::of));
        live.mark(self, all)?;
        self.sweep(&mut live, |live, row| live.is_marked(&row.cid), removed)
    }

    /// As [`Store::collect`], for callers who know themselves what is alive. Pins are not asked.
    ///
    /// # Errors
    /// Failures of disk and index.
    pub fn retain(&self, is_live: impl Fn(&Cid) -> bool) -> Result<CollectReport, WriteError> {
        let _turn = self.inner.collecting.lock().unwrap_or_else(PoisonError::into_inner);
        let _lease = self.hold()?;
        self.sweep(&mut Live::default(), |_, row| is_live(&row.cid), |_| {})
    }

    fn sweep(
        &self,
        live: &mut Live,
        is_live: impl Fn(&Live, &PageRow) -> bool,
        mut removed: impl FnMut(&Cid),
    ) -> Result<CollectReport, WriteError> {
        let mut report = CollectReport::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let swept = self.sweep_step(live, &is_live, after.as_deref())?;
            report.blocks += swept.rows;
            report.bytes += swept.freed.values().sum::<u64>();
            swept.gone.iter().for_each(&mut removed);
            match swept.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        report.packs = self.compact()?;
        self.flush()?;
        Ok(report)
    }

    /// One step, after the roots that were set since the last one are marked.
    fn sweep_step(
        &self,
        live: &mut Live,
        is_live: &impl Fn(&Live, &PageRow) -> bool,
        after: Option<&[u8]>,
    ) -> Result<Swept, WriteError> {
        loop {
            let writer = self.inner.writer()?;
            self.inner.check_free(0, FREEING_RESERVE_BYTES)?;
            let mut leases = self.leases();
            if let Some(late) = leases.take_late_roots() {
                drop((leases, writer));
                live.mark(self, late)?;
                continue;
            }
            let is_kept = |row: &PageRow| {
                row.kind == Kind::Piece
                    || is_live(live, row)
                    || leases.covers(&row.cid, row.kind, row.container, row.row.offset)
            };
            let swept = self.inner.index.write(Durable::Later, |tx| tx.sweep(after, SWEEP_BATCH, is_kept))?;
            return Ok(swept);
        }
    }
}
