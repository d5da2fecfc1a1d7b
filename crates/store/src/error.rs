//! What can go wrong, by family of operations.

use std::io;
use std::path::PathBuf;

use hpips_dag::DecodeError;
use hpips_types::Cid;
use hpips_types::content::BlockError;

/// The index's database failed.
#[derive(Debug, thiserror::Error)]
#[error("index of the store failed")]
pub struct IndexError(#[source] pub(crate) Box<redb::Error>);

macro_rules! from_redb {
    ($($error:ident)*) => {
        $(impl From<redb::$error> for IndexError {
            fn from(error: redb::$error) -> Self {
                Self(Box::new(error.into()))
            }
        })*
    };
}

from_redb! { DatabaseError TransactionError TableError StorageError CommitError SetDurabilityError }

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns it.
    #[error("the store at {} is in use by process {holder}", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
        /// Who has it; `?` when it did not say.
        holder: String,
    },
    /// The folder or something in it may not be read and written by this user, or lies on a read-only disk.
    #[error(
        "{} must be readable and writable for hpips: change its owner or mode, or choose another repo with --repo-dir",
        path.display()
    )]
    Forbidden {
        /// What was to be opened or made.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its version file is none of ours.
    #[error("{} is no store of this program: its version file says {found:?}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What its version file says.
        found: String,
    },
    /// Written by a newer version of this program. Nothing was changed.
    #[error(
        "the store at {} has format {found}, this program knows up to {known}: use a newer hpips; nothing was changed",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// Written by an older version of this program. Nothing was changed.
    #[error(
        "the store at {} has format {found}, this program writes {known}: run `hpips repo migrate`; nothing was changed",
        path.display()
    )]
    Older {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// What is written here.
        known: u32,
    },
    /// The journal of pins is damaged in the middle. Nothing was changed: to go on without the pins that cannot be
    /// read, the next collection would take what they keep.
    #[error(
        "the journal of pins {} is damaged at byte {at}, and what follows is sound: {} has a copy, {} the {entries} \
         entries that can still be read; put your own backup or that file in its place, pin again what is missing, \
         and only then collect",
        path.display(), broken.display(), salvaged.display()
    )]
    Pins {
        /// The journal.
        path: PathBuf,
        /// Where the damage begins.
        at: u64,
        /// Copy of it as it was found.
        broken: PathBuf,
        /// A sound journal of what could be read.
        salvaged: PathBuf,
        /// Pins in that, and the root of the files.
        entries: usize,
    },
    /// A file of the store failed.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why something was not written. Nothing of it counts as stored; part of it may be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A block is not what its CID says. Nothing was stored.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A block is larger than is kept. Nothing was stored.
    #[error("block {cid} has {got} bytes, {max} are accepted")]
    TooLarge {
        /// The block.
        cid: Cid,
        /// Its bytes.
        got: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// A name longer than is kept.
    #[error("name of {got} bytes, {max} are accepted")]
    NameTooLong {
        /// Its bytes.
        got: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// A file of the store failed.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// An earlier write failed in a way that leaves the state on disk unknown: open the store again, which
    /// recovers it. Reads go on, unless it was the index that failed: it answers nobody any more then.
    #[error("an earlier write failed: open the store again")]
    Poisoned,
    /// The packs would become longer than they may. Nothing was stored.
    #[error(
        "the store has {used} of {max} bytes and {more} more do not fit: free some with `repo gc`, or raise the limit"
    )]
    Full {
        /// Bytes of all packs.
        used: u64,
        /// Bytes that were to be added.
        more: u64,
        /// Bytes they may have.
        max: u64,
    },
    /// The disk has no room. Nothing was stored; reading goes on, and so does writing once there is room.
    #[error("the disk of {} has {free} bytes left and {more} are needed: nothing was stored, make room and try again", path.display())]
    NoSpace {
        /// The store.
        path: PathBuf,
        /// Bytes left.
        free: u64,
        /// Bytes needed, with what the index may grow by.
        more: u64,
    },
    /// A block that is needed to tell what is alive cannot be read or understood: what is below it would be removed.
    /// Nothing more is removed.
    #[error("the collection stopped, because it cannot tell what is below block {cid}, which {needed_by}")]
    Unmarked {
        /// The block.
        cid: Cid,
        /// What needs it.
        needed_by: NeededBy,
        /// What is the matter with it.
        #[source]
        source: MarkError,
    },
}

/// What reaches a block, and what to do when that block is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeededBy {
    /// A recursive pin.
    #[error(
        "the pin {0} needs: fetch it again with `hpips pin add {0}`, or give the pin up with `hpips pin rm {0}`"
    )]
    Pin(Cid),
    /// The root of the files.
    #[error(
        "the files need (root {0}): fetch it again with `hpips block get`, or remove what holds it with `hpips files rm`"
    )]
    Files(Cid),
    /// An operation under way.
    #[error("an operation under way on {0} needs: try again when it has ended")]
    Lease(Cid),
    /// A root that the caller named.
    #[error("the given root {0} needs")]
    Caller(Cid),
}

/// Why a collection cannot go below a block.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// It is not here.
    #[error("it is missing")]
    Missing,
    /// The bytes on disk are not the block's.
    #[error("it is damaged on disk")]
    Damaged,
    /// Its file failed.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// Its links cannot be told.
    #[error("its links cannot be read")]
    Decode(#[source] DecodeError),
}

/// Why a block that should be here cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes on disk are not the block's any more. The block is forgotten, so that it can be fetched again.
    #[error("block {cid} is damaged on disk")]
    Damaged {
        /// The block.
        cid: Cid,
    },
    /// Its file failed.
    #[error("cannot read block {cid}")]
    Io {
        /// The block.
        cid: Cid,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}
