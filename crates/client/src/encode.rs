//! Blocks into piece files: one pass over the content, one stripe in memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use hpips_dag::Block;
use hpips_erasure::{BuildError, Plan};
use hpips_net::bulk::{Outboard, OutboardError};
use hpips_proofs::CommP;
use hpips_proofs::Element;
use hpips_store::{PinKind, ReadError, Store, WriteError};
use hpips_types::{Cid, ExtentIndex};

use crate::outgoing::{Encoded, Outgoing, PieceMark};
use crate::progress::{Reporter, Stage};

/// Memory of each piece's writer, bytes: at 51 slots 13 MiB.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why an object could not be encoded. Nothing was sent or spent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A block or file.
    #[error("cannot encode the object")]
    Build(#[source] Box<BuildError<PartError>>),
    /// The disk.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Hashing a piece.
    #[error("cannot hash a piece")]
    Outboard(#[from] OutboardError),
    /// Manifest and index could not be stored.
    #[error("cannot store the manifest")]
    Store(#[from] WriteError),
    /// The task was stopped.
    #[error("encoding was stopped")]
    Stopped,
}

impl From<BuildError<PartError>> for EncodeError {
    fn from(error: BuildError<PartError>) -> Self {
        Self::Build(Box::new(error))
    }
}

/// Why a part of a piece could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The block is gone since the plan was made.
    #[error("block {0} is not in the local store any more")]
    Gone(Cid),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A piece file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes the pieces of a plan beside its check-point, manifest and index nodes into the store. Everything is
/// on disk when it returns. Blocks.
pub(crate) fn encode(
    plan: &Plan,
    store: &Store,
    outgoing: &Outgoing,
    report: &Reporter,
) -> Result<Encoded, EncodeError> {
    let total = plan.content_bytes();
    let mut done = 0u64;
    let mut writers = Writers { outgoing, extent: None, files: Vec::new() };
    let built = hpips_erasure::build(
        plan,
        &mut |cid| {
            let block = store.get(cid)?.ok_or(PartError::Gone(*cid))?;
            done += block.len() as u64;
            report.at(Stage::Encoding, done.min(total), total);
            Ok(block)
        },
        &mut |part| {
            writers.turn_to(part.extent, usize::from(plan.code().n()))?;
            writers.write(usize::from(part.slot.get()), part.bytes, part.padding)
        },
    )?;
    writers.finish().map_err(BuildError::Write)?;
    let mut pieces = Vec::new();
    for (extent, planned) in plan.extents().iter().enumerate() {
        let mut marks = Vec::new();
        for (slot, bytes) in planned.piece_bytes().iter().enumerate() {
            let path = outgoing.piece(extent, slot);
            if *bytes == 0 {
                File::create(&path).map_err(|source| EncodeError::Io { path: path.clone(), source })?;
            }
            let spec = Outboard::of_file(&path)?.spec();
            assert_eq!(spec.bytes, *bytes, "a piece is as long as planned");
            marks.push(PieceMark { bytes: *bytes, blake3: spec.hash, comm_p: None });
        }
        pieces.push(marks);
    }
    keep_index(store, &built)?;
    Ok(Encoded { manifest: built.cid, pieces })
}

/// Stores manifest and index nodes, pinned one by one: they lead to parity, which is not here.
fn keep_index(store: &Store, built: &hpips_erasure::Built) -> Result<(), WriteError> {
    let _hold = store.hold()?;
    let nodes = built.index.iter().map(|(cid, bytes)| Block { cid: *cid, bytes: bytes.clone() });
    let root = Block { cid: built.cid, bytes: built.bytes.clone() };
    store.put_built(nodes.chain([root]))?;
    let all = built.index.iter().map(|(cid, _)| *cid).chain([built.cid]);
    for cid in all {
        store.pin(&cid, PinKind::Direct, "manifest")?;
    }
    Ok(())
}

/// The open piece files of one extent.
struct Writers<'a> {
    outgoing: &'a Outgoing,
    extent: Option<ExtentIndex>,
    files: Vec<(PathBuf, BufWriter<File>)>,
}

impl Writers<'_> {
    fn turn_to(&mut self, extent: ExtentIndex, slots: usize) -> Result<(), PartError> {
        if self.extent == Some(extent) {
            return Ok(());
        }
        self.finish()?;
        self.extent = Some(extent);
        let at = usize::try_from(extent.get()).expect("an index in memory");
        for slot in 0..slots {
            let path = self.outgoing.piece(at, slot);
            let file =
                File::create(&path).map_err(|source| PartError::Write { path: path.clone(), source })?;
            self.files.push((path, BufWriter::with_capacity(BUFFER_BYTES, file)));
        }
        Ok(())
    }

    fn write(&mut self, slot: usize, bytes: &[u8], padding: usize) -> Result<(), PartError> {
        let (path, file) = &mut self.files[slot];
        let written = file.write_all(bytes).and_then(|()| file.write_all(&[0; 32][..padding]));
        written.map_err(|source| PartError::Write { path: path.clone(), source })
    }

    fn finish(&mut self) -> Result<(), PartError> {
        for (path, file) in self.files.drain(..) {
            let synced =
                file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
            synced.map_err(|source| PartError::Write { path, source })?;
        }
        Ok(())
    }
}

/// The commitment of a piece file. Blocks; uses the threads of rayon's pool.
pub(crate) fn commit(path: &std::path::Path) -> Result<Element, EncodeError> {
    use std::io::Read;
    let fail = |source| EncodeError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = CommP::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(fail)?;
        if count == 0 {
            return Ok(hasher.finish().comm_p());
        }
        hasher.push(&buffer[..count]).map_err(|error| fail(io::Error::other(error)))?;
    }
}
