//! The mutable files: one tree of directories whose root the store keeps, changed as Kubo's `files` commands do.
//!
//! A change stores the new blocks, then sets the root: a process that dies in between loses the change and nothing
//! else. Changes take turns. Everything here blocks.
//!
//! The CID of a directory depends on its entries alone, as with Kubo, also where it grows into a HAMT or shrinks out of one.
//! Of a HAMT only the shards on the way to the entry are read and made. A file that
//! is written to is built again from its old bytes and the new ones: its CID depends on its bytes alone. Kubo cuts
//! anew wherever its write buffer of 2 MiB was flushed, so that its CIDs of longer files differ from run to run; those
//! of shorter files that are written at once are the same here.

mod edit;
mod error;
mod path;
mod view;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hpips_dag::{Block, DirectoryBuilder, Profile};
use hpips_store::{Hold, Store};
use hpips_types::Cid;

use crate::blocks::BlockGetter;

pub use error::FilesError;
pub use view::{FilesEntry, FilesStat, FilesType};
pub use write::{GAP_BYTES_MAX, WriteOptions};

/// The mutable files of one store.
pub struct Files {
    store: Store,
    blocks: Arc<dyn BlockGetter>,
    profile: Profile,
    /// Held while the root is read, changed and set.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Whether missing directories on the way are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// Made.
    Make,
    /// An error.
    Require,
}

/// What happens to a file that stands where another is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and it is an error.
    Keep,
    /// The other takes its place in the same change. Directories are never replaced.
    Replace,
}

impl Files {
    /// The files whose root `store` keeps, with content from `blocks`.
    ///
    /// `profile` decides the CIDs of what is made anew; Kubo's are those of [`Profile::unixfs_v0_2015`]. A directory
    /// that changes keeps its CID version and hash function. There must be one `Files` a store, or several that came
    /// from one by [`Files::reading`].
    pub fn new(store: Store, blocks: Arc<dyn BlockGetter>, profile: Profile) -> Self {
        Self { store, blocks, profile, turn: Arc::default() }
    }

    /// The same files with content from elsewhere; changes through both take turns.
    #[must_use]
    pub fn reading(&self, blocks: Arc<dyn BlockGetter>) -> Self {
        Self { store: self.store.clone(), blocks, profile: self.profile, turn: Arc::clone(&self.turn) }
    }

    /// Root of all files; that of an empty directory, stored now, before the first change.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn root(&self) -> Result<Cid, FilesError> {
        if let Some(root) = self.store.files_root() {
            return Ok(root);
        }
        let mut blocks = Vec::new();
        let root = DirectoryBuilder::new(self.profile).finish(&mut blocks)?;
        self.store.put_built(blocks)?;
        Ok(root.cid)
    }

    /// One change at a time. A holder that panicked left the old root, which is whole.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree a change starts from, and a lease for it and for the blocks of the change.
    fn begin(&self) -> Result<(Cid, Hold), FilesError> {
        let hold = self.store.hold()?;
        let root = self.root()?;
        hold.keep(&root);
        Ok((root, hold))
    }

    fn put(&self, blocks: Vec<Block>) -> Result<(), FilesError> {
        Ok(self.store.put_built(blocks)?)
    }
}
