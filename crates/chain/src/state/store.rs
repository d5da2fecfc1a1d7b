//! Finalized state on disk: rows, tree, blocks and certificates in one redb file.
//!
//! A finalized block is one durable transaction, so the rows, the root and the head always belong together
//! and a restart continues from the head. Readers hold snapshots; a commit never disturbs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

use hpips_ledger::StateView;
use hpips_types::{ChainId, Height, Sha256Digest, ThresholdSignature, TxId, View, cbor};
use redb::{Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::tables::{BLOCKS, CERTIFICATES, META, NODES, SEEDS, STATE, TRANSACTIONS};
use super::tree::{self, Location, Node, NodeChanges, Nodes, StateProof};
use super::{AuthState, RowChanges};
use crate::finalized::TxRow;

/// Cache of the database, bytes. Raising it saves reads of cold rows.
const CACHE_BYTES: usize = 32 << 20;
/// Seeds kept, in views below the newest. Openings wait for theirs a few views; the rest is margin for
/// nodes that were off.
const SEED_VIEWS: u64 = 4_096;
/// Bytes of an encoded head at most.
const HEAD_BYTES_MAX: usize = 256;
/// Bytes of an encoded transaction row at most.
const TX_ROW_BYTES_MAX: usize = 256;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the chain's database failed")]
    Database(#[source] Box<redb::Error>),
    /// The file belongs to another chain.
    #[error("the database holds chain {found}, not {expected}")]
    OtherChain {
        /// The chain in the file.
        found: ChainId,
        /// The chain asked for.
        expected: ChainId,
    },
    /// A row that this program wrote cannot be read back.
    #[error("the database is damaged: {0}")]
    Damaged(&'static str),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// What the finalized state is the state of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) height: Height,
    pub(crate) view: View,
    pub(crate) digest: Sha256Digest,
    pub(crate) state_root: Sha256Digest,
}

/// Everything one finalized block writes.
pub(crate) struct Commit<'a> {
    pub(crate) head: Head,
    pub(crate) rows: &'a RowChanges,
    pub(crate) nodes: &'a NodeChanges,
    pub(crate) block: &'a [u8],
    pub(crate) certificate: Option<&'a [u8]>,
    pub(crate) seeds: &'a [(View, ThresholdSignature)],
    pub(crate) transactions: &'a [(TxId, Vec<u8>)],
}

/// A finalized block as stored.
pub(crate) struct StoredBlock {
    pub(crate) block: Vec<u8>,
    /// Its own certificate; a block finalized through a descendant has none.
    pub(crate) certificate: Option<Vec<u8>>,
}

/// The database. One writer, any number of snapshots.
pub(crate) struct StateStore {
    database: Database,
    newest: RwLock<Snapshot>,
}

impl StateStore {
    /// Opens or creates the database; a new one gets the genesis rows.
    pub(crate) fn open(
        path: &Path,
        chain: ChainId,
        genesis: &RowChanges,
        genesis_head: impl FnOnce(Sha256Digest) -> Head,
    ) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
        match Self::chain_of(&database)? {
            None => Self::create(&database, chain, genesis, genesis_head)?,
            Some(found) if found == chain => {}
            Some(found) => return Err(StoreError::OtherChain { found, expected: chain }),
        }
        let newest = RwLock::new(Snapshot::take(&database)?);
        Ok(Self { database, newest })
    }

    /// The chain a database belongs to; `None` for a new one.
    fn chain_of(database: &Database) -> Result<Option<ChainId>, StoreError> {
        let meta = match database.begin_read()?.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let row = meta.get("chain")?.ok_or(StoreError::Damaged("no chain id"))?;
        ChainId::from_slice(row.value()).map(Some).ok_or(StoreError::Damaged("chain id"))
    }

    fn create(
        database: &Database,
        chain: ChainId,
        genesis: &RowChanges,
        genesis_head: impl FnOnce(Sha256Digest) -> Head,
    ) -> Result<(), StoreError> {
        struct Empty;
        impl Nodes for Empty {
            fn node(&self, _: &Location) -> Option<Node> {
                None
            }
        }
        let (root, nodes) =
            tree::update(&Empty, genesis.iter().map(|(key, value)| (&key[..], value.as_deref())));
        let mut write = database.begin_write()?;
        write.set_quick_repair(true);
        write.open_table(META)?.insert("chain", &chain.as_bytes()[..])?;
        write.open_table(META)?.insert("genesis-root", &root.as_bytes()[..])?;
        write.open_table(BLOCKS)?;
        write.open_table(CERTIFICATES)?;
        write.open_table(SEEDS)?;
        write.open_table(TRANSACTIONS)?;
        put_state(&write, &genesis_head(root), genesis, &nodes)?;
        write.commit()?;
        Ok(())
    }

    /// The finalized state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.newest.read().expect("no panic while the lock is held").clone()
    }

    /// Applies a finalized block. Durable when it returns.
    ///
    /// # Panics
    /// When the block is not the one after the head.
    pub(crate) fn commit(&self, commit: &Commit<'_>) -> Result<Snapshot, StoreError> {
        let head = self.snapshot().head();
        assert_eq!(commit.head.height, head.height.next(), "finalized blocks are applied in order");
        let mut write = self.database.begin_write()?;
        write.set_quick_repair(true);
        let height = commit.head.height.get();
        put_state(&write, &commit.head, commit.rows, commit.nodes)?;
        write.open_table(BLOCKS)?.insert(height, commit.block)?;
        if let Some(certificate) = commit.certificate {
            write.open_table(CERTIFICATES)?.insert(height, certificate)?;
        }
        {
            let mut transactions = write.open_table(TRANSACTIONS)?;
            for (id, row) in commit.transactions {
                transactions.insert(&id.as_bytes()[..], &row[..])?;
            }
            let mut seeds = write.open_table(SEEDS)?;
            for (view, signature) in commit.seeds {
                seeds.insert(view.get(), &signature.as_bytes()[..])?;
            }
            let oldest = commit.head.view.get().saturating_sub(SEED_VIEWS);
            seeds.retain_in(..oldest, |_, _| false)?;
        }
        write.commit()?;
        let snapshot = Snapshot::take(&self.database)?;
        *self.newest.write().expect("no panic while the lock is held") = snapshot.clone();
        Ok(snapshot)
    }

    /// A finalized block and its own certificate, as stored.
    pub(crate) fn block(&self, height: Height) -> Result<Option<StoredBlock>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(block) = read.open_table(BLOCKS)?.get(height.get())?.map(|row| row.value().to_vec()) else {
            return Ok(None);
        };
        let certificate = read.open_table(CERTIFICATES)?.get(height.get())?.map(|row| row.value().to_vec());
        Ok(Some(StoredBlock { block, certificate }))
    }

    /// How a transaction of a finalized block ended.
    pub(crate) fn transaction(&self, id: &TxId) -> Result<Option<TxRow>, StoreError> {
        let read = self.database.begin_read()?;
        let Some(row) = read.open_table(TRANSACTIONS)?.get(&id.as_bytes()[..])? else { return Ok(None) };
        let row = cbor::decode(row.value(), TX_ROW_BYTES_MAX);
        row.map(Some).map_err(|_| StoreError::Damaged("transaction row"))
    }

    /// Root over the genesis rows.
    pub(crate) fn genesis_root(&self) -> Result<Sha256Digest, StoreError> {
        let read = self.database.begin_read()?;
        let row = read.open_table(META)?.get("genesis-root")?;
        row.and_then(|row| Sha256Digest::from_slice(row.value())).ok_or(StoreError::Damaged("genesis root"))
    }

    /// All seeds kept.
    pub(crate) fn seeds(&self) -> Result<Vec<(View, ThresholdSignature)>, StoreError> {
        let read = self.database.begin_read()?;
        let mut seeds = Vec::new();
        for row in read.open_table(SEEDS)?.iter()? {
            let (view, signature) = row?;
            let signature =
                ThresholdSignature::from_slice(signature.value()).ok_or(StoreError::Damaged("seed"))?;
            seeds.push((View::new(view.value()), signature));
        }
        Ok(seeds)
    }
}

fn put_state(
    write: &redb::WriteTransaction,
    head: &Head,
    rows: &RowChanges,
    nodes: &NodeChanges,
) -> Result<(), StoreError> {
    let mut state = write.open_table(STATE)?;
    for (key, value) in rows {
        match value {
            Some(value) => drop(state.insert(&key[..], &value[..])?),
            None => drop(state.remove(&key[..])?),
        }
    }
    let mut table = write.open_table(NODES)?;
    for (location, node) in nodes {
        let key = location.to_bytes();
        match node {
            Some(node) => drop(table.insert(&key[..], &node.to_bytes()[..])?),
            None => drop(table.remove(&key[..])?),
        }
    }
    write.open_table(META)?.insert("head", &cbor::encode(head)[..])?;
    Ok(())
}

/// The finalized state at one height: rows and tree that belong together, whatever is committed later.
/// Cloning is cheap. Holding one keeps its pages on disk from being reused.
#[derive(Clone)]
pub struct Snapshot(Arc<SnapshotInner>);

struct SnapshotInner {
    head: Head,
    state: ReadOnlyTable<&'static [u8], &'static [u8]>,
    nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Snapshot {
    fn take(database: &Database) -> Result<Self, StoreError> {
        let read = database.begin_read()?;
        let head =
            read.open_table(META)?.get("head")?.ok_or(StoreError::Damaged("no head")).and_then(|row| {
                cbor::decode(row.value(), HEAD_BYTES_MAX).map_err(|_| StoreError::Damaged("head"))
            })?;
        let (state, nodes) = (read.open_table(STATE)?, read.open_table(NODES)?);
        Ok(Self(Arc::new(SnapshotInner { head, state, nodes })))
    }

    pub(crate) fn head(&self) -> Head {
        self.0.head
    }

    /// Height of the last block in this state.
    pub fn height(&self) -> Height {
        self.0.head.height
    }

    /// View in which that block was proposed.
    pub fn view(&self) -> View {
        self.0.head.view
    }

    /// Digest of that block.
    pub fn digest(&self) -> Sha256Digest {
        self.0.head.digest
    }

    /// Root over all rows, which the block commits to.
    pub fn state_root(&self) -> Sha256Digest {
        self.0.head.state_root
    }

    /// Every row, for whoever adds them up. Holds the whole state in memory.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn rows(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        let mut rows = BTreeMap::new();
        for row in self.0.state.iter()? {
            let (key, value) = row?;
            rows.insert(key.value().to_vec(), value.value().to_vec());
        }
        Ok(rows)
    }
}

/// Reads one row.
///
/// # Panics
/// When the disk cannot be read: no answer would be true.
impl StateView for Snapshot {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let row = self.0.state.get(key).expect("the chain's database is readable");
        row.map(|row| row.value().to_vec())
    }
}

impl Nodes for Snapshot {
    fn node(&self, location: &Location) -> Option<Node> {
        let row = self.0.nodes.get(&location.to_bytes()[..]).expect("the chain's database is readable")?;
        Some(Node::from_bytes(row.value()).expect("the chain's database holds what was written"))
    }
}

impl AuthState for Snapshot {
    fn root(&self) -> Sha256Digest {
        self.state_root()
    }

    fn prove(&self, key: &[u8]) -> StateProof {
        tree::prove(self, key)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Snapshot").field(&self.0.head).finish()
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::Height;

    use super::super::{Layer, Layers};
    use super::*;

    fn rows(rows: &[(&str, Option<&str>)]) -> RowChanges {
        rows.iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.map(|v| v.as_bytes().to_vec())))
            .collect()
    }

    fn open(path: &Path, chain: u8) -> Result<StateStore, StoreError> {
        let genesis = rows(&[("a", Some("1")), ("b", Some("2"))]);
        StateStore::open(path, ChainId::new([chain; 32]), &genesis, |state_root| Head {
            height: Height::ZERO,
            view: View::ZERO,
            digest: Sha256Digest::new([0; 32]),
            state_root,
        })
    }

    fn finalize(store: &StateStore, layers: &Layers, layer: &Layer, digest: Sha256Digest) -> Snapshot {
        let changes = layer.changes().unwrap();
        let head = Head {
            height: layer.height,
            view: View::new(layer.height.get()),
            digest,
            state_root: layer.state_root,
        };
        let id = TxId::new([7; 32]);
        let row = TxRow { height: layer.height, failure: None };
        let snapshot = store
            .commit(&Commit {
                head,
                rows: &changes.rows,
                nodes: &changes.nodes,
                block: b"block",
                certificate: Some(b"certificate"),
                seeds: &[(head.view, ThresholdSignature::new([1; 48]))],
                transactions: &[(id, cbor::encode(&row))],
            })
            .unwrap();
        layers.finalize(snapshot.clone());
        snapshot
    }

    #[test]
    fn layers_read_the_same_before_and_after_their_parents_are_final() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = open(&path, 1).unwrap();
        let genesis_root = store.snapshot().state_root();
        assert_eq!(store.genesis_root().unwrap(), genesis_root);
        let layers = Layers::new(store.snapshot());
        let old = store.snapshot();
        let digest = |number: u8| Sha256Digest::new([number; 32]);
        let base = layers.get(&digest(0)).unwrap();
        let first = Layer::over(&base, rows(&[("a", Some("x")), ("c", Some("3"))]), Vec::new());
        layers.insert(digest(1), Arc::clone(&first));
        let rival = Layer::over(&base, rows(&[("a", None)]), Vec::new());
        layers.insert(digest(9), Arc::clone(&rival));
        let second = Layer::over(&first, rows(&[("b", None), ("c", Some("4"))]), Vec::new());
        layers.insert(digest(2), Arc::clone(&second));
        let read = |view: &dyn StateView| {
            ["a", "b", "c"].map(|key| view.get(key.as_bytes()).map(|v| String::from_utf8(v).unwrap()))
        };
        let expected = [Some("x".to_owned()), None, Some("4".to_owned())];
        assert_eq!(read(&*second), expected);

        let snapshot = finalize(&store, &layers, &first, digest(1));
        assert_eq!(snapshot.state_root(), first.state_root);
        assert!(first.changes().is_none() && layers.get(&digest(9)).is_none());
        assert_eq!(read(&*second), expected);
        assert_eq!(read(&old), [Some("1".to_owned()), Some("2".to_owned()), None]);
        let third =
            Layer::over(&second, rows(&[("a", Some("1")), ("b", Some("2")), ("c", None)]), Vec::new());
        assert_eq!(third.state_root, genesis_root, "the root depends on the rows only");
        let snapshot = finalize(&store, &layers, &second, digest(2));
        assert_eq!(read(&snapshot), expected);
        snapshot.prove(b"a").verify(second.state_root, b"a", Some(b"x")).unwrap();
        snapshot.prove(b"b").verify(second.state_root, b"b", None).unwrap();

        drop((snapshot, old, layers, base, first, second, third, rival, store));
        let store = open(&path, 1).unwrap();
        assert_eq!(read(&store.snapshot()), expected);
        assert_eq!((store.snapshot().height(), store.seeds().unwrap().len()), (Height::new(2), 2));
        assert_eq!(store.transaction(&TxId::new([7; 32])).unwrap().unwrap().height, Height::new(2));
        assert_eq!(store.transaction(&TxId::new([8; 32])).unwrap(), None);
        assert_eq!(store.block(Height::new(1)).unwrap().unwrap().block, b"block");
        assert!(store.block(Height::new(3)).unwrap().is_none());
        drop(store);
        assert!(matches!(open(&path, 2), Err(StoreError::OtherChain { .. })));
    }
}
