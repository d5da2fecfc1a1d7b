//! How a stored object is, as the chain says; and its end.

use hpips_chain::WalletError;
use hpips_ledger::rows::{Deal, Slot, SlotState};
use hpips_ledger::{Operation, StateView, price_floor, query};
use hpips_placement::repair_threshold;
use hpips_proofs::billed_bytes;
use hpips_types::{AccountId, ByteCount, Cid, Code, DealId, Height, SetId, SlotIndex, TokenAmount};

use crate::client::Client;
use crate::stage::own_deals;

/// How a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotHealth {
    /// Held and proven.
    Healthy,
    /// Lost; waits to be offered.
    Lost,
    /// Being rebuilt.
    Repairing,
    /// Given up, or the deal ended.
    Closed,
}

/// One slot of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// Which.
    pub slot: SlotIndex,
    /// How it is.
    pub health: SlotHealth,
    /// Who holds or rebuilds it.
    pub provider: Option<AccountId>,
    /// Windows proven for the client.
    pub windows_proven: u64,
    /// Paid to the present holder and its predecessors at the present ask.
    pub spent: TokenAmount,
    /// In escrow still.
    pub escrow: TokenAmount,
}

/// One deal of an object. An object of several extents has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// The deal.
    pub deal: DealId,
    /// Who pays.
    pub client: AccountId,
    /// Its manifest.
    pub manifest: Cid,
    /// Bytes of its blocks.
    pub content_bytes: ByteCount,
    /// Any `k` of `n` restore it.
    pub code: Code,
    /// Slots with a proven holder.
    pub healthy: u16,
    /// Healthy slots at which lost ones are offered.
    pub repair_threshold: u16,
    /// Every slot, in order.
    pub slots: Vec<SlotStatus>,
    /// Windows proven, over all slots.
    pub windows_proven: u64,
    /// Windows it is paid for at most, a slot.
    pub term_windows: u64,
    /// Owed to holders by now, whether settled or not.
    pub spent: TokenAmount,
    /// What of the escrow is not owed yet; what is not proven by the end comes back.
    pub left: TokenAmount,
    /// When it became active.
    pub started: Height,
    /// When it ends.
    pub ends: Height,
    /// Whether it has ended; its pieces may be deleted.
    pub is_ended: bool,
}

/// Why deals did not end.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// None of this account.
    #[error("no deal of this account stores {0}")]
    NoDeal(Cid),
    /// The transaction did not get through.
    #[error("the transaction did not get through")]
    Wallet(#[from] WalletError),
}

impl Client {
    /// The deals that store a root, whoever pays them; empty where there is none.
    pub fn status(&self, root: &Cid) -> Vec<ObjectStatus> {
        let view = self.parts.chain.state();
        let deals = query::deals_of_root(&view, root).into_iter();
        deals.filter_map(|id| Some(status_of(&view, id, &query::deal(&view, id)?))).collect()
    }

    /// All live deals of the account, one status each.
    pub fn own(&self) -> Vec<(Cid, ObjectStatus)> {
        let view = self.parts.chain.state();
        let ids = query::proposals_of(&view, &self.account()).into_iter();
        ids.filter_map(|id| {
            let id = DealId::new(id.get());
            let deal = query::deal(&view, id)?;
            Some((deal.root, status_of(&view, id, &deal)))
        })
        .collect()
    }

    /// Ends the account's deals of a root; what is not used comes back. Copies others made cannot be recalled.
    /// The local pin stays. Returns the deals.
    ///
    /// # Errors
    /// [`EndError`] by variant.
    pub async fn end(&self, root: &Cid) -> Result<Vec<DealId>, EndError> {
        let deals = own_deals(&self.parts.chain.state(), &self.account(), root);
        if deals.is_empty() {
            return Err(EndError::NoDeal(*root));
        }
        let ids: Vec<DealId> = deals.into_iter().map(|(id, _)| id).collect();
        for some in ids.chunks(hpips_ledger::OPERATIONS_MAX) {
            let operations = some.iter().map(|deal| Operation::EndDeal { deal: *deal }).collect();
            self.execute(operations).await?;
        }
        Ok(ids)
    }
}

fn status_of(view: &dyn StateView, id: DealId, deal: &Deal) -> ObjectStatus {
    let code = Code::new(deal.k, deal.n).expect("the ledger takes no other deals");
    let slots: Vec<SlotStatus> = (0..=u16::MAX)
        .zip(query::slots(view, id))
        .map(|(index, slot)| slot_status(view, deal, SlotIndex::new(index), &slot))
        .collect();
    ObjectStatus {
        deal: id,
        client: deal.client,
        manifest: deal.manifest,
        content_bytes: ByteCount::new(deal.content_bytes),
        code,
        healthy: deal.healthy,
        repair_threshold: repair_threshold(code),
        windows_proven: slots.iter().map(|slot| slot.windows_proven).sum(),
        term_windows: deal.term_windows,
        spent: slots.iter().map(|slot| slot.spent).sum(),
        left: slots.iter().map(|slot| slot.escrow).sum(),
        started: deal.started,
        ends: deal.ends,
        is_ended: deal.deleted.is_some(),
        slots,
    }
}

/// The ledger settles a slot once a day; what is owed since is counted here by its own rule.
fn slot_status(view: &dyn StateView, deal: &Deal, index: SlotIndex, slot: &Slot) -> SlotStatus {
    let (health, provider) = match slot.state {
        SlotState::Held { provider, .. } => (SlotHealth::Healthy, Some(provider)),
        SlotState::Offered { provider, .. } | SlotState::Entering { provider, .. } => {
            (SlotHealth::Repairing, Some(provider))
        }
        SlotState::Lost {} => (SlotHealth::Lost, None),
        SlotState::Closed {} => (SlotHealth::Closed, None),
    };
    let set = provider.and_then(|provider| query::set(view, SetId { provider, number: 0 }));
    let counted = match (slot.since, set) {
        (Some(since), Some(set)) => set.proven.saturating_sub(since),
        _ => 0,
    };
    let counted = counted.min(deal.term_windows.saturating_sub(slot.windows_before));
    let billed = billed_bytes(&query::params(view), slot.bytes);
    let owed = price_floor(slot.ask, billed, counted).max(slot.paid);
    let unsettled = owed.saturating_sub(slot.paid).min(slot.escrow);
    let before = price_floor(slot.ask, billed, slot.windows_before);
    SlotStatus {
        slot: index,
        health,
        provider,
        windows_proven: slot.windows_before + counted,
        spent: owed.checked_add(before).unwrap_or(owed),
        escrow: slot.escrow.saturating_sub(unsettled),
    }
}
