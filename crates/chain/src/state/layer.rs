//! Unfinalized blocks as layers over the finalized state.
//!
//! A layer holds what one block changes. Its parent is the layer of the parent block, down to a snapshot.
//! When a block is finalized its layer becomes the snapshot, so chains of layers stay as short as the
//! unfinalized part of the chain and a reader in the middle of one sees the same rows before and after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use hpips_ledger::{Event, StateView};
use hpips_types::{Height, Sha256Digest};

use super::store::Snapshot;
use super::tree::{Location, Node, NodeChanges, Nodes};
use super::{RowChanges, tree};

/// Layers kept at most; beyond, the newest is not remembered and is executed again when needed. Far more than
/// views in flight.
const LAYERS_MAX: usize = 256;

/// The state after one block.
pub(crate) struct Layer {
    pub(crate) height: Height,
    pub(crate) state_root: Sha256Digest,
    source: RwLock<Source>,
}

enum Source {
    Finalized(Snapshot),
    Changed { parent: Arc<Layer>, changes: Arc<Changes> },
}

/// What one block changes, and what it did.
pub(crate) struct Changes {
    pub(crate) rows: RowChanges,
    pub(crate) nodes: NodeChanges,
    pub(crate) events: Vec<Event>,
}

impl Layer {
    pub(crate) fn finalized(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            height: snapshot.height(),
            state_root: snapshot.state_root(),
            source: RwLock::new(Source::Finalized(snapshot)),
        })
    }

    /// The layer that these row changes make over a parent.
    pub(crate) fn over(parent: &Arc<Self>, rows: RowChanges, events: Vec<Event>) -> Arc<Self> {
        let (state_root, nodes) =
            tree::update(&**parent, rows.iter().map(|(key, value)| (&key[..], value.as_deref())));
        let changes = Arc::new(Changes { rows, nodes, events });
        Arc::new(Self {
            height: parent.height.next(),
            state_root,
            source: RwLock::new(Source::Changed { parent: Arc::clone(parent), changes }),
        })
    }

    /// What the block of this layer changed; `None` once it is finalized.
    pub(crate) fn changes(&self) -> Option<Arc<Changes>> {
        match &*self.source.read().expect("no panic while the lock is held") {
            Source::Finalized(_) => None,
            Source::Changed { changes, .. } => Some(Arc::clone(changes)),
        }
    }

    fn finalize(&self, snapshot: Snapshot) {
        *self.source.write().expect("no panic while the lock is held") = Source::Finalized(snapshot);
    }

    /// Looks in this layer, then below.
    fn find<T>(
        &self,
        in_changes: impl Fn(&Changes) -> Option<Option<T>>,
        in_snapshot: impl Fn(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        let mut next: Option<Arc<Self>> = None;
        loop {
            let layer = next.as_deref().unwrap_or(self);
            let parent = match &*layer.source.read().expect("no panic while the lock is held") {
                Source::Finalized(snapshot) => return in_snapshot(snapshot),
                Source::Changed { parent, changes } => match in_changes(changes) {
                    Some(found) => return found,
                    None => Arc::clone(parent),
                },
            };
            next = Some(parent);
        }
    }
}

impl StateView for Layer {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(|changes| changes.rows.get(key).cloned(), |snapshot| snapshot.get(key))
    }
}

impl Nodes for Layer {
    fn node(&self, location: &Location) -> Option<Node> {
        self.find(|changes| changes.nodes.get(location).copied(), |snapshot| snapshot.node(location))
    }
}

/// Layers by digest of their block, over the newest finalized one.
pub(crate) struct Layers(Mutex<Known>);

struct Known {
    layers: HashMap<Sha256Digest, Arc<Layer>>,
}

impl Layers {
    pub(crate) fn new(finalized: Snapshot) -> Self {
        let layers = HashMap::from([(finalized.digest(), Layer::finalized(finalized))]);
        Self(Mutex::new(Known { layers }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no panic while the lock is held")
    }

    pub(crate) fn get(&self, digest: &Sha256Digest) -> Option<Arc<Layer>> {
        self.lock().layers.get(digest).cloned()
    }

    pub(crate) fn insert(&self, digest: Sha256Digest, layer: Arc<Layer>) {
        let mut known = self.lock();
        if known.layers.len() < LAYERS_MAX {
            known.layers.entry(digest).or_insert(layer);
        }
    }

    /// A block became final with this snapshot: layers that are not above it are forgotten.
    pub(crate) fn finalize(&self, snapshot: Snapshot) {
        let mut known = self.lock();
        let (height, digest) = (snapshot.height(), snapshot.digest());
        let layer = known.layers.remove(&digest).unwrap_or_else(|| Layer::finalized(snapshot.clone()));
        layer.finalize(snapshot);
        known.layers.retain(|_, other| other.height > height);
        known.layers.insert(digest, layer);
    }
}
