//! Pins and the root of the files: what collection must leave alone.

use std::sync::{MutexGuard, PoisonError};

use hpips_types::Cid;

use crate::error::WriteError;
use crate::journal::{Change, Journal, NAME_BYTES_MAX};
use crate::lease::Root;
use crate::store::Store;
use crate::write::RESERVE_BYTES;

/// How far a pin reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// The block alone.
    Direct,
    /// Everything reachable from it.
    Recursive,
}

/// A pinned root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The root.
    pub cid: Cid,
    /// How far it reaches.
    pub kind: PinKind,
    /// A name for people; may be empty.
    pub name: String,
}

/// What becomes of the pin that [`Store::update_pin`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldPin {
    /// It stays beside the new one.
    Keep,
    /// It goes.
    Remove,
}

impl Store {
    /// Pins a root, or changes its pin. Whether its blocks are here is not asked.
    ///
    /// # Errors
    /// [`WriteError::NameTooLong`] over 255 bytes of name; failures of the disk.
    pub fn pin(&self, cid: &Cid, kind: PinKind, name: &str) -> Result<(), WriteError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(WriteError::NameTooLong { got: name.len(), max: NAME_BYTES_MAX });
        }
        self.change(|_| Some(vec![Change::Pin(Pin { cid: *cid, kind, name: name.to_owned() })])).map(drop)
    }

    /// Removes a pin; returns whether there was one.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn unpin(&self, cid: &Cid) -> Result<bool, WriteError> {
        self.change(|journal| journal.get(cid).map(|_| vec![Change::Unpin(*cid)]))
    }

    /// Moves a pin, with its kind and name, to another root; with [`OldPin::Keep`] the old root stays pinned as
    /// well. Returns whether `old` was pinned. A crash leaves the old pin, both, or the new one.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn update_pin(&self, old: &Cid, new: &Cid, keep: OldPin) -> Result<bool, WriteError> {
        self.change(|journal| {
            let mut changes = vec![Change::Pin(Pin { cid: *new, ..journal.get(old)? })];
            if keep == OldPin::Remove && old != new {
                changes.push(Change::Unpin(*old));
            }
            Some(changes)
        })
    }

    /// The pin of a root.
    pub fn pin_of(&self, cid: &Cid) -> Option<Pin> {
        self.journal().get(cid)
    }

    /// All pins, ordered by CID.
    pub fn pins(&self) -> Vec<Pin> {
        self.journal().list()
    }

    /// Root of the files that `files` commands work on; `None` until the first one is set.
    pub fn files_root(&self) -> Option<Cid> {
        self.journal().files_root()
    }

    /// Makes this the root of the files: everything reachable from it is kept as if it were pinned. Durable when it
    /// returns; costs one small append and sync.
    ///
    /// # Errors
    /// Failures of the disk.
    pub fn set_files_root(&self, root: &Cid) -> Result<(), WriteError> {
        self.change(|_| Some(vec![Change::FilesRoot(*root)])).map(drop)
    }

    /// Changes the journal by what `decide` answers; returns whether there was something to change.
    fn change(&self, decide: impl FnOnce(&Journal) -> Option<Vec<Change>>) -> Result<bool, WriteError> {
        // A collection either sees the journal with the root in it or is told of the root.
        let mut leases = self.leases();
        let mut journal = self.journal();
        // What a pin promises to keep may not be there any more when the store is opened again.
        if journal.is_poisoned() || self.inner.index.has_failed() {
            return Err(WriteError::Poisoned);
        }
        let Some(changes) = decide(&journal) else { return Ok(false) };
        if changes.iter().any(|change| !matches!(change, Change::Unpin(_))) {
            // Taking pins away has to go on: it is how room is made.
            self.inner.check_free(0, RESERVE_BYTES)?;
        }
        for change in &changes {
            match change {
                Change::Pin(pin) => leases.root_was_set(Root::of(pin)),
                Change::FilesRoot(cid) => leases.root_was_set(Root::Files(*cid)),
                Change::Unpin(_) => {}
            }
        }
        let failed = |source| WriteError::Io { path: self.inner.dir.join("pins"), source };
        let roots: Vec<Cid> = changes.iter().filter_map(pinned).collect();
        journal.apply(changes).map_err(failed)?;
        drop((journal, leases));
        if let Some(observer) = self.inner.on_pin.get() {
            roots.into_iter().for_each(observer);
        }
        Ok(true)
    }

    /// Calls `observer` with every root that is pinned from now on, after the pin is durable, on the thread that pinned
    /// it. Only the first observer of a store is kept.
    pub fn on_pin(&self, observer: impl Fn(Cid) + Send + Sync + 'static) {
        let _ = self.inner.on_pin.set(Box::new(observer));
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        // Nothing between journal and memory can panic.
        self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pinned(change: &Change) -> Option<Cid> {
    match change {
        Change::Pin(pin) => Some(pin.cid),
        Change::Unpin(_) | Change::FilesRoot(_) => None,
    }
}
