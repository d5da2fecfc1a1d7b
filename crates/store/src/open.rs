//! Opening: version, index, and what a crash left in the packs.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::config::Config;
use crate::error::{IndexError, OpenError};
use crate::index::{Durable, Index, PackState};
use crate::journal::Journal;
use crate::layer::Layer;
use crate::lease::Leases;
use crate::lock::Lock;
use crate::pack::{self, Found, HEADER_BYTES, Next, Search, Tail};
use crate::store::{Active, Inner, OpenFiles, Writer};
use crate::tables::{Kind, META_NEXT_PACK, PACK_DEAD, PACK_FULL, PACK_OPEN, row_key};
use crate::transaction::Tx;
use crate::version;

/// Records that are put into the index in one transaction while packs are scanned: the more, the more of them meet the
/// same pages. 35 MB.
const SCAN_BATCH: usize = 256 * 1024;

pub(crate) fn open(
    layer: Arc<dyn Layer>,
    dir: &Path,
    config: Config,
    lock: Option<Lock>,
) -> Result<Inner, OpenError> {
    let packs_dir = dir.join("packs");
    let io = |source| OpenError::Io { path: dir.to_owned(), source };
    version::check(&*layer, dir)?;
    layer.create_dir(&packs_dir).map_err(io)?;
    layer.sync_dir(dir).map_err(io)?;
    let journal = Journal::open(&layer, dir)?;
    let index = Index::open(&*layer, dir, config.cache_bytes)?;
    let writer = Recovery {
        layer: &*layer,
        packs_dir: &packs_dir,
        config: &config,
        index: &index,
        lag: Cell::new((0, 0)),
    }
    .run()?;
    Ok(Inner {
        layer,
        dir: dir.to_owned(),
        config,
        index,
        files: Mutex::new(OpenFiles::default()),
        gate: RwLock::new(()),
        writer: Mutex::new(writer),
        queue: Mutex::new(VecDeque::new()),
        rotten: Mutex::new(Vec::new()),
        collecting: Mutex::new(()),
        leases: Mutex::new(Leases::default()),
        journal: Mutex::new(journal),
        on_pin: OnceLock::new(),
        on_put: OnceLock::new(),
        _lock: lock,
    })
}

/// Failures inside a scan.
enum ScanError {
    Io(io::Error),
    Index(IndexError),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<IndexError> for ScanError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

struct Recovery<'a> {
    layer: &'a dyn Layer,
    packs_dir: &'a Path,
    config: &'a Config,
    index: &'a Index,
    /// Bytes and blocks that the index learned and would forget in a power cut.
    lag: Cell<(u64, usize)>,
}

impl Recovery<'_> {
    fn run(&self) -> Result<Writer, OpenError> {
        let io = |source| OpenError::Io { path: self.packs_dir.to_owned(), source };
        let mut known: BTreeMap<u64, PackState> = self.index.packs()?.into_iter().collect();
        let mut on_disk = Vec::new();
        for name in self.layer.list(self.packs_dir).map_err(io)? {
            on_disk.extend(pack::number_of(&name));
        }
        on_disk.sort_unstable();
        let mut active = None;
        for pack in &on_disk {
            let state = known.remove(pack);
            let path = self.packs_dir.join(pack::file_name(*pack));
            active = match self.recover_pack(*pack, state) {
                // Only the last one: leases tell new rows by packs of higher numbers.
                Ok(open) => open,
                Err(ScanError::Io(source)) => return Err(OpenError::Io { path, source }),
                Err(ScanError::Index(error)) => return Err(error.into()),
            };
        }
        for (pack, state) in known {
            if state.state != PACK_DEAD && state.live_bytes > 0 {
                tracing::error!(
                    pack,
                    bytes = state.live_bytes,
                    "a pack file is missing: its blocks are lost"
                );
            }
            self.forget_pack(pack)?;
        }
        let known_next = self.index.number(META_NEXT_PACK)?;
        let next_pack = on_disk.last().map_or(0, |pack| pack + 1).max(known_next);
        if next_pack != known_next {
            self.change(|tx| tx.set_number(META_NEXT_PACK, next_pack))?;
        }
        // What was found again is not made durable here: the next batches do that along with theirs.
        let (lag_bytes, lag_blocks) = self.lag.get();
        let used_bytes = self.index.packs()?.iter().map(|(_, pack)| pack.end).sum();
        Ok(Writer { active, next_pack, lag_bytes, lag_blocks, is_poisoned: false, used_bytes })
    }

    /// Brings the index up to date with a pack; returns it when more can be appended.
    fn recover_pack(&self, pack: u64, known: Option<PackState>) -> Result<Option<Active>, ScanError> {
        let path = self.packs_dir.join(pack::file_name(pack));
        match known {
            Some(PackState { state: PACK_FULL, .. }) => return Ok(None),
            Some(PackState { state: PACK_DEAD, .. }) => {
                self.layer.remove(&path)?;
                self.layer.sync_dir(self.packs_dir)?;
                self.change(|tx| tx.remove_pack(pack))?;
                return Ok(None);
            }
            _ => {}
        }
        let Some(file) = self.layer.open(&path)? else { return Ok(None) };
        let len = file.len()?;
        let has_header = pack::has_header(&*file, pack)?;
        if !has_header {
            // Nothing in it was ever acknowledged, or its beginning rotted.
            let has_records = known.is_some_and(|state| state.live_bytes > 0)
                || len > HEADER_BYTES
                    && !matches!(Search::new(&*file, len).next(HEADER_BYTES)?, Next::Nothing);
            if !has_records {
                if len <= HEADER_BYTES {
                    self.layer.remove(&path)?;
                } else {
                    tracing::warn!(pack, "a pack file without a sound header is set aside");
                    self.layer.rename(&path, &path.with_extension("broken"))?;
                }
                self.forget_pack(pack)?;
                return Ok(None);
            }
            tracing::error!(pack, "the header of a pack is damaged: what it holds is read, nothing is added");
        }
        let from = known.map_or(HEADER_BYTES, |state| state.end);
        if len < from {
            tracing::error!(pack, expected = from, got = len, "a pack file is shorter than it was");
            self.change(|tx| tx.set_pack(pack, from, PACK_FULL))?;
            return Ok(None);
        }
        if known.is_none()
            && let Some(found) = pack::read_index(&*file)?
        {
            let is_sound = |found: &Found| pack::is_sound(&*file, found).unwrap_or(false);
            for found in found.chunks(SCAN_BATCH) {
                let end = found.last().map_or(HEADER_BYTES, |found| found.offset);
                self.add(pack, found, end, PACK_OPEN, is_sound)?;
            }
            self.add(pack, &[], len, PACK_FULL, is_sound)?;
            return Ok(None);
        }
        let mut batch = Vec::new();
        let scanned = pack::scan::<ScanError>(&*file, from, |found| {
            batch.push(found);
            if batch.len() == SCAN_BATCH {
                let end = found.offset + pack::record_bytes(&found.cid, found.bytes);
                // A scan visits sound records only.
                self.add(pack, &batch, end, PACK_OPEN, |_| true)?;
                batch.clear();
            }
            Ok(())
        })?;
        let is_closed = scanned.tail != Tail::Torn || scanned.has_gap || !has_header;
        let state = if is_closed { PACK_FULL } else { PACK_OPEN };
        if scanned.has_gap {
            tracing::error!(pack, "a pack is damaged between its blocks: what is sound is kept");
        }
        let mut end = scanned.end;
        if scanned.tail == Tail::Unknown {
            tracing::error!(
                pack,
                from = end,
                "a pack is damaged and was not searched to its end: it stays as it is"
            );
            end = len;
        } else if end < len {
            tracing::warn!(pack, bytes = len - end, "cut a torn end off a pack");
            file.set_len(end)?;
        }
        // What was found may have reached the file without reaching the disk.
        file.sync()?;
        if !batch.is_empty() || known.is_none_or(|known| (known.end, known.state) != (end, state)) {
            self.add(pack, &batch, end, state, |_| true)?;
        }
        if is_closed || end >= self.config.pack_bytes {
            return Ok(None);
        }
        let entries = (end == HEADER_BYTES).then(Vec::new);
        Ok(Some(Active { pack, file, end, entries }))
    }

    fn change<R>(&self, change: impl FnOnce(&Tx) -> Result<R, IndexError>) -> Result<R, IndexError> {
        let (bytes, blocks) = self.lag.get();
        self.lag.set((bytes.max(1), blocks));
        self.index.write(Durable::Later, change)
    }

    fn add(
        &self,
        pack: u64,
        found: &[Found],
        end: u64,
        state: u8,
        is_sound: impl Fn(&Found) -> bool,
    ) -> Result<(), IndexError> {
        let (bytes, blocks) = self.lag.get();
        let found_bytes: u64 = found.iter().map(|found| pack::record_bytes(&found.cid, found.bytes)).sum();
        self.lag.set((bytes + found_bytes, blocks + found.len()));
        self.change(|tx| tx.add_records(pack, found, end, state, is_sound))
    }

    /// Removes a pack and all rows that point into it.
    fn forget_pack(&self, pack: u64) -> Result<(), IndexError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (rows, last) = self.index.page(after.as_deref(), SCAN_BATCH)?;
            let ours = rows.iter().filter(|row| row.kind == Kind::Pack && row.container == pack);
            let ours: Vec<_> =
                ours.map(|row| row_key(&row.cid.hash().to_bytes(), Kind::Pack, pack)).collect();
            if !ours.is_empty() {
                self.change(|tx| tx.remove_rows(ours.into_iter()).map(drop))?;
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.change(|tx| tx.remove_pack(pack))
    }
}
