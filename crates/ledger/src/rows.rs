//! State rows: what the ledger remembers. Each is one canonical dag-cbor map.
//!
//! Rows that hold money say so; the sum over all of them is the supply, at every height.

use hpips_proofs::bundle::Bundle;
use hpips_proofs::{Element, Record, RecordLayout, SetTree};
use hpips_types::{
    AccountId, Blake3Hash, ChainId, Cid, DayIndex, DealId, ExtentIndex, Height, NetworkParams, ProposalId,
    RecordIndex, SetId, SlotIndex, ThresholdSignature, TokenAmount, View, WindowIndex,
};
use serde::{Deserialize, Serialize};

use crate::money::Wide;
use crate::operation::{Pledge, Propose};

/// Chain id and parameters, as fixed by genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constants {
    /// Digest of genesis.
    pub chain: ChainId,
    /// Parameters.
    pub params: NetworkParams,
}

/// What every block changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Height of the last block.
    pub height: Height,
    /// Its view.
    pub view: View,
    /// Nano a byte of transaction that the next block asks.
    pub base_fee: TokenAmount,
    /// Coins in accounts; what sits in funds, escrow and collateral does not circulate.
    pub circulating: TokenAmount,
    /// Coin holders' reward per nano held, since genesis, times `2^48`.
    pub holder_rate: Wide,
    /// What the last distribution could not express in the rate, times `2^48`.
    pub holder_rest: Wide,
    /// Money: coin holders' reward that is distributed and not yet drawn, or carried.
    pub holder_pool: TokenAmount,
    /// Money carried, part of `holder_pool`, that waits for enough circulating coins.
    pub holder_carried: TokenAmount,
    /// Number of the next proposal.
    pub next_proposal: ProposalId,
}

/// An account. Money: `balance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Coins, without what its share of the coin holders' tenth has added since `checkpoint`; see
    /// [`crate::query::account`] for the sum.
    pub balance: TokenAmount,
    /// Transactions made.
    pub nonce: u64,
    /// Fees of first operations still owed, taken from the first reward.
    pub owed: TokenAmount,
    /// The holders' rate up to which `balance` has its share.
    pub checkpoint: Wide,
    /// The part of a nano that the share did not fill, times `2^48`.
    pub fraction: u64,
}

/// The funds of genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fund {
    /// Investment, 15 %.
    Investment,
    /// Founders, 10 %.
    Founders,
    /// Operations, 15 %.
    Operations,
    /// Community rewards, 10 %.
    Rewards,
    /// The community fund, 50 %. It has no key: fees and lost deposits go in, the daily reward goes out.
    Community,
}

impl Fund {
    /// All, in order.
    pub const ALL: [Self; 5] =
        [Self::Investment, Self::Founders, Self::Operations, Self::Rewards, Self::Community];

    /// Share of the supply at genesis, percent.
    pub const fn percent(self) -> u64 {
        match self {
            Self::Investment | Self::Operations => 15,
            Self::Founders | Self::Rewards => 10,
            Self::Community => 50,
        }
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Investment => 0,
            Self::Founders => 1,
            Self::Operations => 2,
            Self::Rewards => 3,
            Self::Community => 4,
        }
    }
}

/// An opening height: the view it had, and its beacon once that is on chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// View of the block at this height; `None` before the chain has reached it.
    pub view: Option<View>,
    /// The beacon, and the height of the block that carried it.
    pub beacon: Option<CarriedBeacon>,
    /// What the beacon draws.
    pub waiting: Vec<Waiting>,
}

/// A beacon on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedBeacon {
    /// The threshold signature.
    pub signature: ThresholdSignature,
    /// Height of the block that carried it: commitments count from here.
    pub carried: Height,
}

/// What waits for a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// A proposal wants holders.
    Proposal(ProposalId),
    /// A deal's lost slots are to be offered.
    Repair(DealId),
}

/// What falls due at a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// A proposal's time to activate is over.
    Proposal(ProposalId),
    /// A batch's time to be proven is over.
    Batch {
        /// Whose.
        provider: AccountId,
        /// Which.
        batch: u64,
    },
    /// A rebuilder's time is over.
    Repair {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
    },
    /// Lost slots that found nobody are offered again.
    Offer(DealId),
    /// A deal's term is over.
    DealEnd(DealId),
    /// An ended deal's grace is over.
    DealDelete(DealId),
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PledgeRow {
    /// The offer.
    pub terms: Pledge,
    /// Sealed bytes active.
    pub sealed_bytes: u64,
    /// Billed bytes of slots held or reserved.
    pub used_bytes: u64,
    /// Slots held or reserved.
    pub slots: u32,
    /// Collateral locked in slots and proposals, of those that still are.
    pub locked: TokenAmount,
    /// Sets there are.
    pub sets: u32,
    /// Number of the next batch.
    pub next_batch: u64,
    /// Least number of the next sector.
    pub next_sector: u64,
    /// No draws before this height.
    pub closed_until: Height,
    /// Taken back.
    pub is_leaving: bool,
}

/// A pre-committed batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// The set it enters.
    pub set: SetId,
    /// The payee when it was announced.
    pub payee: AccountId,
    /// Root over its sectors.
    pub root: Element,
    /// The records its sectors become, in order.
    pub records: Vec<Record>,
    /// The opening whose beacon challenges it.
    pub seed: Height,
    /// Last height that accepts the proofs.
    pub deadline: Height,
}

/// A proving set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRow {
    /// Its windows open at heights that are this modulo the window.
    pub offset: u64,
    /// Number of the newest snapshot.
    pub version: u64,
    /// Whether records changed since.
    pub is_dirty: bool,
    /// Whether pieces wait for the next opening to be counted from it.
    pub has_new_pieces: bool,
    /// Snapshots that entry proofs of rebuilt pieces are made over, one entry a piece.
    pub entering: Vec<u64>,
    /// The window that is open.
    pub window: Option<OpenWindow>,
    /// The oldest missed window, while it is unanswered.
    pub debt: Option<Debt>,
    /// Windows missed in a row.
    pub missed_in_row: u64,
    /// Windows proven and paid for, or to be paid at the day's end.
    pub proven: u64,
    /// Windows proven while in debt; they count once it is answered.
    pub pending: u64,
    /// Sealed bytes times pending windows.
    pub pending_units: Wide,
    /// Sealed bytes times windows, by day not yet paid, oldest first.
    pub units: Vec<DayUnits>,
    /// Windows proven and due by day, of the last 14 days, oldest first.
    pub days: Vec<DayCount>,
}

/// Sealed bytes times windows of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUnits {
    /// The day.
    pub day: DayIndex,
    /// The units.
    pub units: Wide,
}

/// Windows of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// Proven.
    pub proven: u64,
    /// Due.
    pub due: u64,
}

/// A window that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// Which.
    pub window: WindowIndex,
    /// When it opened: the height of its beacon.
    pub opened: Height,
    /// The snapshot it proves.
    pub version: u64,
    /// The commitment to its leaves, and the height of the block that took it.
    pub commitment: Option<(Element, Height)>,
    /// Whether it is proven.
    pub is_proven: bool,
}

/// A missed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// Which.
    pub window: WindowIndex,
    /// When it opened.
    pub opened: Height,
    /// The snapshot it should have proven.
    pub version: u64,
    /// Its beacon.
    pub beacon: ThresholdSignature,
}

/// The records of a set as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsRow {
    /// The tree over them.
    pub tree: SetTree,
    /// By index; trailing empty places are left out.
    pub places: Vec<Place>,
}

/// One place of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The record, as the tree has it.
    pub record: Record,
    /// Of a bundle its pieces; the record follows at the next opening.
    pub bundle: Bundle,
    /// Whose pieces they are, in the same order.
    pub owners: Vec<PieceOwner>,
    /// Whether the record has to follow `bundle`.
    pub is_dirty: bool,
}

/// Whose piece lies in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceOwner {
    /// Its first leaf.
    pub offset: u32,
    /// The deal.
    pub deal: DealId,
    /// The slot.
    pub slot: SlotIndex,
}

/// A set as it was when a window opened: what that window proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Root over the records.
    pub root: Element,
    /// The records.
    pub records: Vec<Record>,
    /// Where they have bytes.
    pub layouts: Vec<RecordLayout>,
    /// Bytes of the sealed ones.
    pub sealed_bytes: u64,
}

/// A proposal. Money: `deposit`, and the collateral of drawn holders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalRow {
    /// Who asks.
    pub client: AccountId,
    /// For what.
    pub terms: Propose,
    /// One day's price at the ceiling.
    pub deposit: TokenAmount,
    /// The opening whose beacon draws.
    pub opening: Height,
    /// The draw, once done.
    pub draw: Option<DrawRow>,
}

/// A draw's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRow {
    /// Holders by slot.
    pub holders: Vec<Holder>,
    /// Who comes next, in drawn order.
    pub spares: Vec<AccountId>,
    /// Last height that accepts the activation.
    pub deadline: Height,
    /// Holders replaced without their signature.
    pub skipped: u16,
}

/// A drawn holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub provider: AccountId,
    /// At what ask.
    pub ask: TokenAmount,
    /// Money: what is locked of its coins.
    pub collateral: TokenAmount,
}

/// A deal. Its money stands in its slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Who pays.
    pub client: AccountId,
    /// Root of the object's DAG.
    pub root: Cid,
    /// Which extent.
    pub extent: ExtentIndex,
    /// Root of the manifest.
    pub manifest: Cid,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Data shards of a stripe.
    pub k: u16,
    /// Slots.
    pub n: u16,
    /// Highest ask of any holder.
    pub ask_max: TokenAmount,
    /// Windows a slot is paid for at most.
    pub term_windows: u64,
    /// When it became active.
    pub started: Height,
    /// When it ends.
    pub ends: Height,
    /// Slots with a proven holder.
    pub healthy: u16,
    /// Lost slots that wait to be offered.
    pub lost: Vec<SlotIndex>,
    /// Whether an offer waits for its beacon.
    pub is_offering: bool,
    /// Everyone who held, or failed to rebuild, a slot.
    pub held: Vec<AccountId>,
    /// Ended: pieces may go at this height.
    pub deleted: Option<Height>,
}

/// A slot of a deal. Money: `escrow`, `collateral` and `repair_pot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Bytes of its piece.
    pub bytes: u64,
    /// Commitment of its piece; a rebuilt one must have the same.
    pub comm_p: Element,
    /// Hash of its piece in transfer.
    pub blake3: Blake3Hash,
    /// Who holds it.
    pub state: SlotState,
    /// The client's money for it.
    pub escrow: TokenAmount,
    /// The holder's stake.
    pub collateral: TokenAmount,
    /// Of a slot that was lost: what earlier holders forfeited, for its repair.
    pub repair_pot: TokenAmount,
    /// Nano per GiB and 720 windows of the present holder.
    pub ask: TokenAmount,
    /// Windows paid for under earlier holders or asks.
    pub windows_before: u64,
    /// The set's proven windows at which counting began; `None` before it did.
    pub since: Option<u64>,
    /// Owed since counting began, and already paid.
    pub paid: TokenAmount,
    /// Rebuilds that failed.
    pub failures: u8,
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotState {
    /// A provider, in its set 0.
    Held {
        /// Who.
        provider: AccountId,
        /// The bundle.
        record: RecordIndex,
        /// First leaf.
        offset: u32,
    },
    /// Nobody; waits to be offered.
    Lost {},
    /// Offered to a provider that is to rebuild it.
    Offered {
        /// Who.
        provider: AccountId,
        /// Last height for the entry proof.
        deadline: Height,
        /// What that proof earns.
        pay: TokenAmount,
    },
    /// Rebuilt, in the provider's bundle, not yet proven.
    Entering {
        /// Who.
        provider: AccountId,
        /// The bundle.
        record: RecordIndex,
        /// First leaf.
        offset: u32,
        /// The snapshot of the set that its entry is proven over.
        version: u64,
        /// The opening whose beacon challenges its entry.
        opening: Height,
        /// Last height for the entry proof.
        deadline: Height,
        /// What that proof earns.
        pay: TokenAmount,
    },
    /// Given up, or the deal ended.
    Closed {},
}

impl SlotState {
    /// The provider that holds, or is to rebuild, the slot.
    pub fn provider(&self) -> Option<AccountId> {
        match *self {
            Self::Held { provider, .. }
            | Self::Offered { provider, .. }
            | Self::Entering { provider, .. } => Some(provider),
            Self::Lost {} | Self::Closed {} => None,
        }
    }
}

/// A settlement day. Money: `coin_holders` and `reward_left`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// What clients paid for proven windows.
    pub revenue: TokenAmount,
    /// Paid to contributors out of it.
    pub contributors: TokenAmount,
    /// The coin holders' tenth until the day closes; afterwards it is in [`Head::holder_pool`] and this is zero.
    pub coin_holders: TokenAmount,
    /// Sealed bytes times windows proven.
    pub units: Wide,
    /// Leader turns.
    pub turns: Vec<LeaderTurns>,
    /// Set when the day closed.
    pub reward: Option<DayReward>,
    /// Of the reward, not yet paid out; what is left a day later returns to the community fund.
    pub reward_left: TokenAmount,
}

/// Turns of one leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderTurns {
    /// Who.
    pub leader: AccountId,
    /// Blocks proposed.
    pub turns: u64,
}

/// A closed day's contribution reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayReward {
    /// All of it.
    pub total: TokenAmount,
    /// Nano a sealed byte and window, times `2^48`.
    pub rate: Wide,
    /// The coin holders' tenth of the revenue, for the record.
    pub coin_holders: TokenAmount,
}
