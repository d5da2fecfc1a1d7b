//! What a block did, for nodes, wallets and `earnings --why`.

use hpips_types::{
    AccountId, DayIndex, DealId, Height, ProposalId, RecordIndex, SetId, SlotIndex, TokenAmount, TxId,
    WindowIndex,
};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Something that happened, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A transaction was executed.
    Executed {
        /// Which.
        id: TxId,
        /// Who sent it.
        from: AccountId,
        /// What it paid, tip included.
        fee: TokenAmount,
        /// The operation that failed, from 0, and why; then nothing but the fee happened.
        failure: Option<(u8, Failure)>,
    },
    /// An opening has its beacon.
    BeaconSet {
        /// The opening.
        opening: Height,
    },
    /// Coins moved.
    Transferred {
        /// From.
        from: AccountId,
        /// To.
        to: AccountId,
        /// Amount.
        amount: TokenAmount,
    },
    /// An offer was made or changed.
    Pledged {
        /// Whose.
        provider: AccountId,
    },
    /// An offer was taken back.
    Unpledged {
        /// Whose.
        provider: AccountId,
    },
    /// Sealed sectors were announced.
    PreCommitted {
        /// Whose set.
        set: SetId,
        /// The batch.
        batch: u64,
        /// Sectors in it.
        sectors: u16,
        /// The opening whose beacon challenges them.
        seed: Height,
    },
    /// A batch was proven.
    Activated {
        /// Whose set.
        set: SetId,
        /// The batch.
        batch: u64,
        /// Sealed bytes added.
        bytes: u64,
    },
    /// A set's window opened.
    WindowOpened {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
    },
    /// A window's leaves were committed to.
    Committed {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
    },
    /// A window was proven.
    Proven {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
        /// Whether it was a missed one that the set owed.
        late: bool,
    },
    /// A window closed without proof: unpaid, and the set stays unpaid until it is answered.
    Missed {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
        /// Missed in a row now.
        in_row: u64,
    },
    /// A window closed whose beacon came too late or never: nobody's fault, unpaid.
    Voided {
        /// The set.
        set: SetId,
        /// The window.
        window: WindowIndex,
    },
    /// Records were declared lost.
    DeclaredLost {
        /// The set.
        set: SetId,
        /// Which.
        records: Vec<RecordIndex>,
    },
    /// Collateral was taken.
    Fined {
        /// From whom.
        provider: AccountId,
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// How much; it is in the slot's escrow now.
        amount: TokenAmount,
        /// Why.
        reason: FineReason,
    },
    /// A holder lost its slot.
    SlotLost {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Who held it.
        provider: AccountId,
        /// Why.
        reason: LossReason,
    },
    /// A lost slot was offered to a provider.
    RepairOffered {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// To whom.
        provider: AccountId,
        /// Last height for the entry proof.
        deadline: Height,
        /// What the entry proof earns.
        pay: TokenAmount,
    },
    /// A rebuilt piece lies in its new holder's bundle and is challenged next.
    RepairClaimed {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Who rebuilt it.
        provider: AccountId,
    },
    /// Nobody rebuilt a slot in time.
    RepairFailed {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Failures so far.
        failures: u8,
    },
    /// A slot has a proven holder again.
    SlotRepaired {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Who rebuilt it.
        provider: AccountId,
        /// What it got.
        pay: TokenAmount,
    },
    /// A slot was given up; its money went back to the client.
    SlotClosed {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// What the client got.
        refund: TokenAmount,
    },
    /// Storage is asked for.
    Proposed {
        /// The proposal.
        proposal: ProposalId,
        /// Who asks.
        client: AccountId,
    },
    /// Holders were drawn, in slot order.
    Drawn {
        /// The proposal.
        proposal: ProposalId,
        /// The holders.
        holders: Vec<AccountId>,
        /// Last height that accepts the activation.
        deadline: Height,
    },
    /// A holder was replaced.
    Replaced {
        /// The proposal.
        proposal: ProposalId,
        /// The slot.
        slot: SlotIndex,
        /// The new holder.
        holder: AccountId,
    },
    /// A proposal ended without a deal.
    ProposalEnded {
        /// The proposal.
        proposal: ProposalId,
        /// Why.
        reason: ProposalEnd,
    },
    /// A deal is active.
    DealActive {
        /// The deal.
        deal: DealId,
        /// Who pays.
        client: AccountId,
        /// When it ends.
        ends: Height,
    },
    /// A deal was prolonged.
    Renewed {
        /// The deal.
        deal: DealId,
        /// When it ends now.
        ends: Height,
        /// What was put into escrow.
        paid: TokenAmount,
    },
    /// A deal ended; its pieces may be deleted after the grace.
    DealEnded {
        /// The deal.
        deal: DealId,
        /// What the client got back.
        refund: TokenAmount,
        /// When the pieces leave the bundles.
        deleted: Height,
    },
    /// Coins were earned.
    Paid {
        /// By whom.
        account: AccountId,
        /// How much.
        amount: TokenAmount,
        /// For what.
        reason: PayReason,
    },
    /// A day closed.
    Settled {
        /// Which.
        day: DayIndex,
        /// What clients paid for proven windows.
        revenue: TokenAmount,
        /// Nine tenths of it: paid to contributors.
        contributors: TokenAmount,
        /// One tenth, rounded down: to coin holders.
        coin_holders: TokenAmount,
        /// Contribution reward of the day, leaders' part included.
        reward: TokenAmount,
    },
}

/// Why coins were paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayReason {
    /// Windows of slots proven for clients, after the coin holders' tenth.
    Storage {
        /// The set that proved.
        set: SetId,
        /// The day they are booked to.
        day: DayIndex,
    },
    /// The contribution reward of sealed bytes.
    Contribution {
        /// The set that proved.
        set: SetId,
        /// The day.
        day: DayIndex,
    },
    /// Leader turns of a day.
    Leader {
        /// The day.
        day: DayIndex,
    },
    /// A rebuilt slot.
    Repair {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
    },
    /// Collateral that returned.
    Collateral {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
    },
}

/// Why collateral was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FineReason {
    /// As many windows in a row were missed as cost one day's price (F1).
    MissedInRow(u64),
    /// The holder declared the record lost: half a day's price.
    DeclaredLost,
}

/// Why a slot was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossReason {
    /// As many windows in a row were missed as lose the slot (F2).
    MissedInRow(u64),
    /// Less than 80 % of the windows of 14 days were proven.
    MissedShare {
        /// Windows proven.
        proven: u64,
        /// Windows due.
        due: u64,
    },
    /// The holder declared the record lost.
    DeclaredLost,
    /// Its client activated the deal without it.
    LeftOut,
}

/// Why a proposal came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposalEnd {
    /// The price ceiling admits less than two thirds of the free capacity; the deposit returned.
    CeilingTooLow,
    /// Fewer providers with free capacity than slots; the deposit returned.
    TooFewProviders,
    /// Not activated in time; the deposit went to the community fund.
    Expired,
    /// Its beacon never came; the deposit returned.
    NoBeacon,
}
