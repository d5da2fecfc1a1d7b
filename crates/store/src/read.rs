//! Reading blocks.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_types::Cid;
use hpips_types::content::{IDENTITY, verify_block};

use crate::error::{IndexError, ReadError};
use crate::index::{Durable, Place};
use crate::layer::LayerFile;
use crate::pack::{open_record, record_bytes};
use crate::store::{Inner, Store};
use crate::tables::Kind;

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
            let attempt =
                file.and_then(|file| file.map_or(Ok(Attempt::Gone), |file| read(cid, &place, &*file)));
            match attempt {
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
    Missing,
}

/// Where a copy of a block lies.
#[derive(Debug)]
pub(crate) struct CopyAt {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
}

type PlaceFile = (Place, io::Result<Option<Arc<dyn LayerFile>>>);

impl Inner {
    /// The places of a block with their files open, so that nothing which is unlinked afterwards is missed.
    fn places(&self, cid: &Cid) -> Result<Vec<PlaceFile>, IndexError> {
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

    /// Reads every copy of a block and checks it against its CID; says of each whether it is sound.
    pub(crate) fn check_copies(&self, cid: &Cid) -> Result<Vec<(CopyAt, bool)>, IndexError> {
        let check = |(place, file): PlaceFile| {
            let block = match file {
                Ok(Some(file)) => read(cid, &place, &*file),
                Ok(None) => Ok(Attempt::Gone),
                Err(error) => Err(error),
            };
            let is_sound = match block {
                // What was read from elsewhere has been checked against the CID already.
                Ok(Attempt::Block(block)) => place.kind != Kind::Pack || verify_block(cid, &block).is_ok(),
                Ok(Attempt::Damaged | Attempt::Gone) | Err(_) => false,
            };
            let path = place.path.unwrap_or_else(|| self.pack_path(place.container));
            (CopyAt { path, offset: place.row.offset }, is_sound)
        };
        Ok(self.places(cid)?.into_iter().map(check).collect())
    }

    /// Reads a block without forgetting it when it is damaged.
    pub(crate) fn health(&self, cid: &Cid) -> Result<Health, IndexError> {
        if inline(cid).is_some() {
            return Ok(Health::Sound);
        }
        let copies = self.check_copies(cid)?;
        Ok(match copies.iter().any(|(_, is_sound)| *is_sound) {
            true => Health::Sound,
            false if copies.is_empty() => Health::Missing,
            false => Health::Damaged,
        })
    }

    /// Forgets a damaged record, so that the block counts as missing and can be stored again. If somebody else is
    /// writing, the next reader tries.
    fn forget_damaged(&self, cid: &Cid, place: &Place) {
        let Ok(_writer) = self.writer.try_lock() else { return };
        let found = [(place.container, *cid)];
        if let Err(error) = self.index.write(Durable::Now, |tx| tx.remove_records(&found)) {
            tracing::error!(%cid, %error, "cannot forget a damaged block");
        }
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
