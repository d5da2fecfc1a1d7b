//! The tables of the chain's database, one place. Names carry the version of their format.

use redb::TableDefinition;

/// `chain`, `genesis-root` and `head`: what the other tables belong to.
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta-1");
/// The ledger's rows as of the head.
pub(crate) const STATE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("state-1");
/// Nodes of the tree over those rows, by location.
pub(crate) const NODES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("nodes-1");
/// Finalized blocks by height, canonical dag-cbor.
pub(crate) const BLOCKS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("blocks-1");
/// Finalization certificates by height. A block finalized through a descendant has none of its own.
pub(crate) const CERTIFICATES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("certificates-1");
/// Threshold signatures by view: the beacons that may still be asked for.
pub(crate) const SEEDS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("seeds-1");
/// How a transaction ended, by its id: a `TxRow`.
pub(crate) const TRANSACTIONS: TableDefinition<'static, &[u8], &[u8]> =
    TableDefinition::new("transactions-1");
