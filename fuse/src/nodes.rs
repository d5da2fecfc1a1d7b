//! Inode numbers for CIDs, kept while the kernel remembers them.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cid::Cid;
use hpips_dag::{Entry, NodeInfo};

/// The mount's own folder.
pub(crate) const ROOT: u64 = 1;
/// `/ipfs`.
pub(crate) const IPFS: u64 = 2;

/// What stands behind a CID; equal content is one inode wherever it appears.
pub(crate) struct Node {
    pub(crate) cid: Cid,
    /// The CID right below `/ipfs` through which it was first found.
    pub(crate) root: Cid,
    pub(crate) info: NodeInfo,
    /// A directory's entries, once it was listed.
    pub(crate) entries: OnceLock<Arc<Vec<Entry>>>,
    /// End of the last read, to notice reading in order.
    pub(crate) read_to: AtomicU64,
    /// How far blocks were asked for ahead.
    pub(crate) ahead_to: AtomicU64,
}

/// All inodes the kernel knows.
#[derive(Default)]
pub(crate) struct Nodes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    numbers: HashMap<Cid, u64>,
    rows: HashMap<u64, Row>,
}

struct Row {
    node: Arc<Node>,
    lookups: u64,
}

impl Nodes {
    /// The node of a number.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Node>> {
        self.lock().rows.get(&number).map(|row| Arc::clone(&row.node))
    }

    /// The number and node of a CID that is known already, counted as one lookup more.
    pub(crate) fn look_up(&self, cid: &Cid) -> Option<(u64, Arc<Node>)> {
        let mut table = self.lock();
        let number = *table.numbers.get(cid)?;
        let row = table.rows.get_mut(&number)?;
        row.lookups += 1;
        Some((number, Arc::clone(&row.node)))
    }

    /// Adds a node, or counts one lookup more when another thread was first.
    pub(crate) fn insert(&self, root: Cid, cid: Cid, info: NodeInfo) -> (u64, Arc<Node>) {
        if let Some(known) = self.look_up(&cid) {
            return known;
        }
        let node = Arc::new(Node {
            cid,
            root,
            info,
            entries: OnceLock::new(),
            read_to: AtomicU64::new(0),
            ahead_to: AtomicU64::new(0),
        });
        let mut table = self.lock();
        table.last = table.last.max(IPFS) + 1;
        let number = table.last;
        // Two threads may both get here; the later number wins the CID, both stay valid until forgotten.
        table.numbers.insert(cid, number);
        table.rows.insert(number, Row { node: Arc::clone(&node), lookups: 1 });
        (number, node)
    }

    /// The kernel forgets `count` lookups of a number.
    pub(crate) fn forget(&self, number: u64, count: u64) {
        let mut table = self.lock();
        let Some(row) = table.rows.get_mut(&number) else { return };
        row.lookups = row.lookups.saturating_sub(count);
        if row.lookups == 0
            && let Some(row) = table.rows.remove(&number)
            && table.numbers.get(&row.node.cid) == Some(&number)
        {
            table.numbers.remove(&row.node.cid);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
