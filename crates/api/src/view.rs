//! What the endpoints say: the values that people and programs see.

use std::path::PathBuf;

use hpips_ledger::Event;
use hpips_types::{DealId, Height, NetworkParams, TokenAmount, View};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
pub use crate::profile::ProfileRequest;

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its version.
    pub version: String,
    /// System and processor it was built for.
    pub system: String,
}

impl Default for Version {
    fn default() -> Self {
        let system = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        Self { version: env!("CARGO_PKG_VERSION").into(), system }
    }
}

/// The node's names and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// libp2p name.
    pub peer_id: String,
    /// Account, as an `hp1` address.
    pub account: String,
    /// Multiaddresses it listens on, each ending in `/p2p/...`.
    pub addresses: Vec<String>,
}

/// One finalized block and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its height.
    pub height: Height,
    /// The view it was proposed in.
    pub view: View,
    /// Its proposer's account.
    pub proposer: String,
    /// SHA-256 of the block.
    pub digest: String,
    /// From its proposal, as seen by this node, to its finality, milliseconds; `None` where this node
    /// only followed.
    pub finality_ms: Option<u64>,
    /// What it did, in order.
    pub events: Vec<Event>,
}

/// A page of the block feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPage {
    /// Blocks in order of height, the first above what was asked for that is still remembered.
    pub blocks: Vec<BlockView>,
    /// The newest height this node knows final.
    pub height: Height,
}

/// Nothing to say beyond "done".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Peers to stay connected with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Multiaddresses, each ending in `/p2p/...`.
    pub addresses: Vec<String>,
}

/// A node at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Peers with an open connection.
    pub peers: usize,
    /// Resident memory of the process, bytes; `None` where the system does not say.
    pub memory_bytes: Option<u64>,
    /// Blocks in the local store.
    pub blocks: u64,
    /// The network, in nodes that joined one.
    pub network: Option<NetworkStatus>,
}

/// The network's part of [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Its name.
    pub name: String,
    /// The newest block this node knows final.
    pub height: Height,
    /// Since that block arrived, milliseconds; `None` before the first.
    pub block_age_ms: Option<u64>,
    /// This node's account.
    pub account: AccountInfo,
    /// What it pledged, if anything.
    pub pledge: Option<PledgeInfo>,
    /// Objects it pays for.
    pub stored: usize,
}

/// The chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    /// Digest of genesis, hexadecimal.
    pub id: String,
    /// Its parameters.
    pub params: NetworkParams,
    /// The genesis committee's accounts.
    pub committee: Vec<String>,
    /// Whether this node votes.
    pub is_validator: bool,
    /// Newest finalized height.
    pub height: Height,
    /// Blocks finalized since the node started.
    pub blocks: u64,
    /// Views without a block since the node started.
    pub nullified: u64,
    /// Median time from a proposal's first sight to its state on disk, milliseconds.
    pub finality_p50_ms: Option<u64>,
}

/// All coins there are, added up row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The state that was added up.
    pub height: Height,
    /// Accounts, funds, escrows, collateral and pools.
    pub coins: TokenAmount,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// Its address.
    pub address: String,
    /// Free coins, nano.
    pub balance: TokenAmount,
    /// Coins locked as collateral of slots and proposals, nano.
    pub locked: TokenAmount,
    /// Fees still owed, taken from the first reward, nano.
    pub owed: TokenAmount,
    /// The next transaction's nonce.
    pub nonce: u64,
}

/// A pledge: what stands on chain, and what this node's provider is doing where it is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PledgeInfo {
    /// Sealed and proven bytes.
    pub sealed_bytes: u64,
    /// Bytes open for deals as offered.
    pub open_bytes: u64,
    /// Billed bytes of slots held or reserved.
    pub used_bytes: u64,
    /// What it asks, nano per GiB and 720 windows.
    pub ask: TokenAmount,
    /// Windows of all its sets that were proven, of those the chain still counts.
    pub windows_proven: u64,
    /// Windows that were due.
    pub windows_due: u64,
    /// Windows missed in a row, the worst of its sets.
    pub missed_in_row: u64,
    /// What the provider on this node is doing; `None` for others' pledges.
    pub work: Option<ProviderWork>,
}

/// What a provider is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderWork {
    /// Sectors complete on disk.
    pub sectors: u64,
    /// Nodes sealed, and to seal, of the sectors at work.
    pub sealing: (u64, u64),
    /// Sectors there are to be; zero before the first pledge since the start.
    pub sectors_wanted: u64,
    /// Milliseconds that sealing the rest takes at the pace since the start; `None` when nothing is left or known.
    pub sealing_left_ms: Option<u64>,
    /// Pieces complete on disk.
    pub pieces: u64,
    /// The proof that is computed, then those that wait, the next one first.
    pub proving: Vec<Proving>,
    /// Window proofs made since the start.
    pub proofs: u64,
    /// What the last proof took, milliseconds.
    pub proof_ms: Option<u64>,
    /// What went wrong last.
    pub trouble: Option<String>,
}

/// A proof in the making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proving {
    /// The circuit: `window` or `activation`.
    pub circuit: String,
    /// How far it is.
    pub state: ProvingState,
}

/// How far a proof is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvingState {
    /// It waits for its turn.
    Waiting,
    /// Keys are read, or made where a test network has none.
    Loading,
    /// It is computed.
    Computing,
    /// It is verified before it is sent.
    Checking,
}

/// What to pledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PledgeRequest {
    /// Bytes to seal.
    pub sealed_bytes: u64,
    /// Bytes open for deals.
    pub open_bytes: u64,
    /// What to ask, nano per GiB and 720 windows; the configuration's where absent.
    pub ask: Option<TokenAmount>,
    /// Coins that may be locked as collateral; all there are where absent.
    pub collateral_max: Option<TokenAmount>,
}

/// Coins to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// Address of who gets them.
    pub to: String,
    /// How many nano.
    pub amount: TokenAmount,
    /// A name under which this is sent once, however often it is asked for while the node runs.
    #[serde(default)]
    pub once: Option<String>,
}

/// A transaction that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// The block.
    pub height: Height,
}

/// A deal and its slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealInfo {
    /// Its number.
    pub deal: DealId,
    /// Root of the object.
    pub root: String,
    /// Who pays.
    pub client: String,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Slots of which any so many restore.
    pub k: u16,
    /// Slots.
    pub n: u16,
    /// Slots with a proven holder.
    pub healthy: u16,
    /// Windows it is paid for at most.
    pub term_windows: u64,
    /// When it ends.
    pub ends: Height,
    /// What is left of the client's money in it, nano.
    pub escrow: TokenAmount,
    /// Its slots in order.
    pub slots: Vec<SlotInfo>,
}

/// A slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// Bytes of its piece.
    pub bytes: u64,
    /// What it is in: `held`, `lost`, `offered`, `entering` or `closed`.
    pub state: String,
    /// The account that holds it or is to rebuild it.
    pub provider: Option<String>,
}

/// What to add to the local store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// Absolute path of a file or folder that the node can read.
    pub path: PathBuf,
    /// What decides the CIDs.
    #[serde(default)]
    pub profile: ProfileRequest,
    /// Whether names that begin with a dot are taken along.
    #[serde(default)]
    pub hidden: bool,
    /// Whether leaves stay in the files they come from.
    #[serde(default)]
    pub nocopy: bool,
    /// Whether files that have not changed since they were added last are read as well.
    #[serde(default)]
    pub rehash: bool,
}

/// What was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddAnswer {
    /// The CID of all.
    pub root: String,
    /// Files and symlinks.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// One line each, entries before their folder.
    pub added: Vec<AddedView>,
}

/// What is said while something is added, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddLine {
    /// So many bytes were read so far.
    Bytes(u64),
    /// Something was added; it is durable when all is done.
    Added(AddedView),
    /// All was added: nothing follows.
    Done,
    /// Not all was added: nothing follows.
    Failed(ApiError),
}

/// One thing that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedView {
    /// Its CID.
    pub cid: String,
    /// Its name, from the name of what was added down.
    pub name: String,
    /// Bytes of a file; 0 otherwise.
    pub bytes: u64,
    /// Bytes of its DAG, what Kubo calls its size.
    pub dag_bytes: u64,
}

/// What storing would cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// Root of an object in the local store.
    pub root: String,
    /// For how long; the network's least term where absent.
    #[serde(default)]
    pub windows: Option<u64>,
}

/// A quote: binding as a ceiling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuoteAnswer {
    /// Slots.
    pub slots: u16,
    /// Of which any so many restore.
    pub needed: u16,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Bytes stored in all slots, manifest included.
    pub stored_bytes: u64,
    /// Their proportion.
    pub expansion: f64,
    /// For so many windows.
    pub windows: u64,
    /// What is taken at most, nano; what is not proven comes back.
    pub price_max: TokenAmount,
    /// Fees of the transactions, nano.
    pub fees: TokenAmount,
    /// What the account has, nano.
    pub balance: TokenAmount,
    /// Modelled durability in a year, whole nines.
    pub nines: u8,
    /// Operators that stay free for repair.
    pub spare_operators: u64,
}

/// What to store on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRequest {
    /// Root of an object in the local store.
    pub root: String,
    /// For how long; the network's least term where absent.
    #[serde(default)]
    pub windows: Option<u64>,
    /// Refused when more would be taken, nano.
    pub price_max: TokenAmount,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAnswer {
    /// Its deals, one an extent.
    pub deals: Vec<DealId>,
    /// Slots with a holder whose commitment holder and client computed alike.
    pub held: usize,
    /// Slots in all.
    pub slots: usize,
    /// When the first of the deals ends.
    pub ends: Height,
}

/// What to fetch to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// A CID or a path below one.
    pub path: String,
    /// Absolute path of the copy; must not exist.
    pub target: PathBuf,
    /// Whether nobody else is asked for what is not here.
    #[serde(default)]
    pub offline: bool,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetAnswer {
    /// Files and symlinks.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of blocks that came from other peers.
    pub fetched_bytes: u64,
    /// Bytes of blocks computed from parity because no holder of them answered.
    pub rebuilt_bytes: u64,
    /// From the request to the last byte on disk.
    pub milliseconds: u64,
}

/// What is said while something is fetched to disk, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GetLine {
    /// How far it is.
    Progress(GetProgress),
    /// All is there: nothing follows.
    Done(GetAnswer),
    /// It was not to be had: nothing follows, and nothing was written.
    Failed(ApiError),
}

/// How far fetching is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetProgress {
    /// Bytes of files that were written.
    pub bytes: u64,
    /// Bytes in all as the root says, 0 before it is here.
    pub all: u64,
    /// Bytes of blocks that came from other peers.
    pub fetched_bytes: u64,
    /// Holders of the object that answer now; 0 where it is not stored on the network.
    pub holders: u64,
}

/// A DAG's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootRequest {
    /// Its CID.
    pub root: String,
}

/// What was removed from the local store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Blocks.
    pub blocks: u64,
}

/// Where to mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// Absolute path of an empty folder.
    pub path: PathBuf,
}
