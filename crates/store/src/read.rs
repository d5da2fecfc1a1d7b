//! Reading blocks.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_types::Cid;
use hpips_types::content::{IDENTITY, verify_block};

use crate::error::{IndexError, ReadError};
use crate::index::{Durable, Place};
use crate::layer::LayerFile;
use crate::pack::{open_record, record_bytes};
use crate::store::{Inner, IsCached, Store};
use crate::tables::Kind;
use crate::verify::Fault;
use crate::write::FREEING_RESERVE_BYTES;

/// Damaged records that wait to be forgotten; what is beyond that is found by later reads.
const ROTTEN_MAX: usize = 1024;

/// What reading one place gave.
enum Attempt {
    Block(Bytes),
    /// The bytes there are not the block's.
    Damaged,
    /// The file is gone.
    Gone,
}

/// Identity CIDs carry their block.
pub(crate) fn inline(cid: &Cid) -> Option<Bytes> {
    (cid.hash().code() == IDENTITY).then(|| Bytes::copy_from_slice(cid.hash().digest()))
}

impl Store {
    /// Whether a block is here.
    ///
    /// # Errors
    /// When the index fails.
    pub fn has(&self, cid: &Cid) -> Result<bool, IndexError> {
        Ok(self.size(cid)?.is_some())
    }

    /// Length of a block in bytes, or `None` when it is not here.
    ///
    /// # Errors
    /// When the index fails.
    pub fn size(&self, cid: &Cid) -> Result<Option<u32>, IndexError> {
        if let Some(block) = inline(cid) {
            return Ok(u32::try_from(block.len()).ok());
        }
        Ok(self.inner.index.lookup(cid)?.first().map(|place| place.row.bytes))
    }

    /// A block, or `None` when it is not here.
    ///
    /// What lies in packs is checked by its CRC, what lies in piece and user files by its CID; a copy that was
    /// changed there is passed over.
    ///
    /// # Errors
    /// [`ReadError`] by variant, when no sound copy is left.
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, ReadError> {
        self.read_any(cid, |place| self.inner.forget_damaged(cid, place))
    }

    /// As [`Store::get`], and a damaged copy stays known: for those who look at the whole store.
    pub(crate) fn peek(&self, cid: &Cid) -> Result<Option<Bytes>, ReadError> {
        self.read_any(cid, |_| {})
    }

    fn read_any(&self, cid: &Cid, damaged: impl Fn(&Place)) -> Result<Option<Bytes>, ReadError> {
        if let Some(block) = inline(cid) {
            return Ok(Some(block));
        }
        let mut failure = None;
        for (place, file) in self.inner.places(cid)? {
            match self.inner.read_place(cid, &place, file) {
                Ok(Attempt::Block(block)) => return Ok(Some(block)),
                Ok(Attempt::Damaged) if place.kind == Kind::Pack => {
                    tracing::error!(%cid, pack = place.container, offset = place.row.offset, "block is damaged");
                    damaged(&place);
                    failure = Some(ReadError::Damaged { cid: *cid });
                }
                Ok(Attempt::Damaged | Attempt::Gone) => {
                    tracing::warn!(%cid, path = ?place.path, "a file no longer holds its block");
                }
                Err(source) => failure = Some(ReadError::Io { cid: *cid, source }),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

fn read(cid: &Cid, place: &Place, file: &dyn LayerFile) -> io::Result<Attempt> {
    let stored = place.row.cid(&cid.hash().to_bytes()).unwrap_or(*cid);
    let total = match place.kind {
        Kind::Pack => record_bytes(&stored, place.row.bytes),
        Kind::Piece | Kind::UserFile => u64::from(place.row.bytes),
    };
    let total = usize::try_from(total).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let bytes = match file.read_vec_at(total, place.row.offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Attempt::Damaged),
        result => result?,
    };
    Ok(match place.kind {
        Kind::Pack => match open_record(&bytes, &stored) {
            Some(range) => Attempt::Block(Bytes::from(bytes).slice(range)),
            None => Attempt::Damaged,
        },
        Kind::Piece | Kind::UserFile => match verify_block(cid, &bytes) {
            Ok(()) => Attempt::Block(bytes.into()),
            Err(_) => Attempt::Damaged,
        },
    })
}

/// What reading a block came to.
#[derive(Debug)]
pub(crate) enum Health {
    Sound,
    /// There are copies and none is sound.
    Damaged,
    /// No sound copy is known, and one could not be read.
    Unreadable,
    Missing,
}

/// A copy of a block, and what is the matter with it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) place: Place,
    pub(crate) path: PathBuf,
    pub(crate) fault: Option<Fault>,
}

/// The file of a place as it was opened, and whether that was before this read.
type Opened = io::Result<Option<(Arc<dyn LayerFile>, IsCached)>>;

impl Inner {
    /// The places of a block with their files open, so that nothing which is unlinked afterwards is missed.
    fn places(&self, cid: &Cid) -> Result<Vec<(Place, Opened)>, IndexError> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let places = self.index.lookup(cid)?;
        Ok(places
            .into_iter()
            .map(|place| {
                let file = self.file_of(&place);
                (place, file)
            })
            .collect())
    }

    fn read_place(&self, cid: &Cid, place: &Place, file: Opened) -> io::Result<Attempt> {
        let Some((file, is_cached)) = file? else { return Ok(Attempt::Gone) };
        let found = read(cid, place, &*file);
        if place.kind == Kind::Pack || is_cached == IsCached(false) || matches!(found, Ok(Attempt::Block(_)))
        {
            return found;
        }
        // Files that others own may have been replaced under their names since they were opened.
        self.open_files().forget(place.kind, place.container);
        match self.file_of(place)? {
            Some((file, _)) => read(cid, place, &*file),
            None => Ok(Attempt::Gone),
        }
    }

    /// Reads every copy of a block and checks it against its CID; says of each what is the matter with it.
    pub(crate) fn check_copies(&self, cid: &Cid) -> Result<Vec<Checked>, IndexError> {
        let check = |(place, file): (Place, Opened)| {
            let fault = match self.read_place(cid, &place, file) {
                // What was read from elsewhere has been checked against the CID already.
                Ok(Attempt::Block(block))
                    if place.kind == Kind::Pack && verify_block(cid, &block).is_err() =>
                {
                    Some(Fault::Mismatch)
                }
                Ok(Attempt::Block(_)) => None,
                Ok(Attempt::Damaged) => Some(Fault::Mismatch),
                Ok(Attempt::Gone) => Some(Fault::NoFile),
                Err(error) => Some(Fault::Io { kind: error.kind(), message: error.to_string() }),
            };
            let path = place.path.clone().unwrap_or_else(|| self.pack_path(place.container));
            Checked { place, path, fault }
        };
        Ok(self.places(cid)?.into_iter().map(check).collect())
    }

    /// Reads a block without forgetting it when it is damaged.
    pub(crate) fn health(&self, cid: &Cid) -> Result<Health, IndexError> {
        if inline(cid).is_some() {
            return Ok(Health::Sound);
        }
        let copies = self.check_copies(cid)?;
        let is_unreadable = |copy: &Checked| matches!(copy.fault, Some(Fault::Io { .. }));
        Ok(match copies.iter().any(|copy| copy.fault.is_none()) {
            true => Health::Sound,
            false if copies.is_empty() => Health::Missing,
            false if copies.iter().any(is_unreadable) => Health::Unreadable,
            false => Health::Damaged,
        })
    }

    /// Forgets a damaged record, so that the block counts as missing and can be stored again. If somebody else is
    /// writing, the next batch begins with it.
    fn forget_damaged(&self, cid: &Cid, place: &Place) {
        let record = (place.container, place.row.offset, *cid);
        match self.writer.try_lock() {
            Ok(writer) if !writer.is_poisoned => self.forget(&[record]),
            _ => {
                let mut rotten = self.rotten();
                if rotten.len() < ROTTEN_MAX {
                    rotten.push(record);
                }
            }
        }
    }

    /// Forgets what readers found damaged while somebody wrote. To be called in the writer's turn.
    pub(crate) fn forget_rotten(&self) {
        let rotten = std::mem::take(&mut *self.rotten());
        if !rotten.is_empty() {
            self.forget(&rotten);
        }
    }

    fn forget(&self, records: &[(u64, u64, Cid)]) {
        let done = self
            .check_free(0, FREEING_RESERVE_BYTES)
            .and_then(|()| Ok(self.index.write(Durable::Now, |tx| tx.remove_records(records))?));
        if let Err(error) = done {
            tracing::error!(%error, "cannot forget damaged blocks");
        }
    }

    fn rotten(&self) -> MutexGuard<'_, Vec<(u64, u64, Cid)>> {
        // Pushing and taking cannot stop half-way.
        self.rotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockSource for Store {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Store::size(self, cid).map_err(|error| SourceError::Read { cid: *cid, source: Box::new(error) })
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        Store::get(self, cid).map_err(|error| match error {
            ReadError::Damaged { cid } => SourceError::Damaged { cid },
            error => SourceError::Read { cid: *cid, source: Box::new(error) },
        })
    }
}
