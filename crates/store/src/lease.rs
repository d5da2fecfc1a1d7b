//! Leases: what operations under way have stored or found, so that collection leaves it alone.
//!
//! New blocks are known by where they lie: whatever was appended after a lease began belongs to it. Only blocks that
//! were here already have to be remembered one by one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use hpips_types::Cid;

use crate::error::{IndexError, WriteError};
use crate::index::Index;
use crate::marks::Marks;
use crate::pack::HEADER_BYTES;
use crate::pins::{Pin, PinKind};
use crate::store::{Store, Writer};
use crate::tables::{Kind, META_NEXT_FILE};

/// Where the next rows will point: everything from here on is newer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pack: u64,
    offset: u64,
    file: u64,
}

impl Position {
    /// To be asked during the writer's turn.
    fn now(writer: &Writer, index: &Index) -> Result<Self, IndexError> {
        let (pack, offset) = match &writer.active {
            Some(active) => (active.pack, active.end),
            None => (writer.next_pack, HEADER_BYTES),
        };
        Ok(Self { pack, offset, file: index.number(META_NEXT_FILE)? })
    }

    /// Whether a row was there before.
    pub(crate) fn predates(&self, kind: Kind, container: u64, offset: u64) -> bool {
        match kind {
            Kind::Pack => (container, offset) < (self.pack, self.offset),
            Kind::Piece | Kind::UserFile => container < self.file,
        }
    }
}

/// What a collection starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// Pinned with all that is below.
    Pin(Cid),
    /// Pinned alone.
    Direct(Cid),
    /// Of the files; parts of them may never have been fetched.
    Files(Cid),
    /// Of a lease: part of it may be about to come.
    Held(Cid),
    /// Named by the caller of the collection.
    Given(Cid),
}

impl Root {
    pub(crate) fn of(pin: &Pin) -> Self {
        match pin.kind {
            PinKind::Direct => Self::Direct(pin.cid),
            PinKind::Recursive => Self::Pin(pin.cid),
        }
    }
}

/// One operation under way.
#[derive(Debug)]
struct Lease {
    from: Position,
    roots: Vec<Cid>,
}

/// All leases; a collection under way has one as well.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    next: u64,
    leases: BTreeMap<u64, Lease>,
    /// Blocks that were stored again, under the number of the newest lease at that time.
    hits: VecDeque<(u64, Marks)>,
    /// While a collection is under way: roots that were set since it began and are not marked yet.
    late_roots: Option<Vec<Root>>,
}

impl Leases {
    /// Whether blocks that are stored again have to be told.
    pub(crate) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// A block was stored that is here already.
    pub(crate) fn hit(&mut self, cid: &Cid) {
        let Some((newest, _)) = self.leases.last_key_value() else { return };
        if self.hits.back().is_none_or(|(number, _)| number != newest) {
            self.hits.push_back((*newest, Marks::default()));
        }
        if let Some((_, marks)) = self.hits.back_mut() {
            marks.insert(cid);
        }
    }

    /// Whether a row is leased by somebody.
    pub(crate) fn covers(&self, cid: &Cid, kind: Kind, container: u64, offset: u64) -> bool {
        self.leases.values().any(|lease| !lease.from.predates(kind, container, offset))
            || self.hits.iter().any(|(_, marks)| marks.contains(cid))
    }

    /// A root that is kept from now on.
    pub(crate) fn root_was_set(&mut self, root: Root) {
        if let Some(late) = &mut self.late_roots {
            late.push(root);
        }
    }

    /// Roots that were set since this was called last; `None` when there are none.
    pub(crate) fn take_late_roots(&mut self) -> Option<Vec<Root>> {
        self.late_roots.as_mut().filter(|late| !late.is_empty()).map(std::mem::take)
    }

    /// From here on roots that are set are gathered; returns those of all leases.
    pub(crate) fn begin_collection(&mut self) -> Vec<Root> {
        self.late_roots = Some(Vec::new());
        self.leases.values().flat_map(|lease| lease.roots.iter().copied().map(Root::Held)).collect()
    }

    pub(crate) fn end_collection(&mut self) {
        self.late_roots = None;
    }

    fn begin(&mut self, from: Position) -> u64 {
        let number = self.next;
        self.next += 1;
        self.leases.insert(number, Lease { from, roots: Vec::new() });
        number
    }

    fn end(&mut self, number: u64) {
        self.leases.remove(&number);
        // What was stored again before the oldest lease began is nobody's.
        let oldest = self.leases.first_key_value().map_or(self.next, |(oldest, _)| *oldest);
        while self.hits.front().is_some_and(|(number, _)| *number < oldest) {
            self.hits.pop_front();
        }
    }
}

/// A lease: while it lives, no block is collected that was stored since it began, whether it was new or here already, nor
/// one that is reachable from a root given to [`Hold::keep`]. For those who store blocks first and pin them at
/// the end.
///
/// Costs nothing for new blocks and about 30 bytes for each that is stored again.
#[derive(Debug)]
pub struct Hold {
    store: Store,
    number: u64,
}

impl Hold {
    /// Keeps everything reachable from a root that was not stored under this lease: a tree that is about to be pinned or
    /// linked. Blocks found here afterwards stay until the lease ends.
    pub fn keep(&self, root: &Cid) {
        let mut leases = self.store.leases();
        leases.root_was_set(Root::Held(*root));
        if let Some(lease) = leases.leases.get_mut(&self.number) {
            lease.roots.push(*root);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.leases().end(self.number);
    }
}

impl Store {
    /// Begins a lease. Waits for a batch that is being written, never for a whole collection.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`], and when the index fails.
    pub fn hold(&self) -> Result<Hold, WriteError> {
        let writer = self.inner.writer()?;
        let from = Position::now(&writer, &self.inner.index)?;
        let number = self.leases().begin(from);
        Ok(Hold { store: self.clone(), number })
    }

    /// Taken after the writer's turn and before the journal, where more than one is needed.
    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        // No change to them is made in more than one step that could panic.
        self.inner.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
