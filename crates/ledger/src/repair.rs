//! Repair: lost slots are offered, rebuilt, proven and paid, or closed.

use hpips_proofs::Beacon;
use hpips_types::{AccountId, DealId, ProposalId, SetId, SlotIndex, TokenAmount};

use crate::error::Failure;
use crate::event::{Event, PayReason};
use crate::exec::Exec;
use crate::money::{self, ASK_BYTES, ASK_WINDOWS, mul_div};
use crate::piece::bundle_set;
use crate::proposal::{Offer, SlotTerms, collateral_of, draw_from, offer_of, repair_price};
use crate::rows::{Deal, Due, SetRow, Slot, SlotState, Waiting};
use crate::tables;

/// After so many failures a slot closes.
const FAILURES_MAX: u8 = 3;

/// Healthy slots at which lost ones are offered.
fn threshold(deal: &Deal) -> u16 {
    (deal.n - 1).min(deal.k + (deal.n - deal.k).div_ceil(2))
}

impl Exec<'_> {
    fn deal_row(&self, id: DealId) -> Option<Deal> {
        self.state.read(&tables::deal(id))
    }

    /// Has the next beacon draw rebuilders once few enough slots are healthy.
    pub(crate) fn offer_if_due(&mut self, id: DealId) {
        let Some(mut deal) = self.deal_row(id) else { return };
        let is_due = !deal.lost.is_empty() && deal.healthy <= threshold(&deal);
        if deal.deleted.is_some() || deal.is_offering || !is_due {
            return;
        }
        if self.wait_for_beacon(Waiting::Repair(id)).is_none() {
            let again = self.height.plus(self.day_blocks());
            return self.schedule(again, Due::Offer(id));
        }
        deal.is_offering = true;
        self.put_deal(id, &deal);
    }

    /// Slots that found nobody, or whose beacon never came, are offered again.
    pub(crate) fn offer_again(&mut self, id: DealId) {
        if let Some(mut deal) = self.deal_row(id) {
            deal.is_offering = false;
            self.put_deal(id, &deal);
            self.offer_if_due(id);
        }
    }

    /// The beacon is there: offer every lost slot to one who never held the object.
    pub(crate) fn draw_rebuilders(&mut self, id: DealId, seed: &Beacon) {
        let Some(mut deal) = self.deal_row(id) else { return };
        deal.is_offering = false;
        let mut lost = core::mem::take(&mut deal.lost);
        lost.sort_unstable();
        self.put_deal(id, &deal);
        if deal.deleted.is_some() {
            return;
        }
        let slots: Vec<(SlotIndex, Slot)> =
            lost.into_iter().filter_map(|index| Some((index, self.deal_and_slot(id, index)?.1))).collect();
        let bytes = slots.iter().map(|(_, slot)| slot.bytes).max().unwrap_or(0);
        let offers = self.rebuilders(&deal, bytes);
        let count = u16::try_from(slots.len()).expect("a deal has at most 51 slots");
        let drawn = draw_from(self.params(), seed, ProposalId::new(id.get()), &offers, count);
        let mut drawn = drawn.into_iter();
        let mut is_short = false;
        for (index, mut slot) in slots {
            let Some(provider) = drawn.next() else {
                is_short = true;
                self.count_failure(id, index, &mut slot);
                continue;
            };
            let own = offers.iter().find(|offer| offer.provider == provider).map(|offer| offer.ask);
            slot.ask = self.affordable(&deal, &slot, own.unwrap_or(deal.ask_max));
            let pay = repair_price(self.params(), deal.ask_max, slot.bytes, deal.k).min(slot.repair_pot);
            let deadline = self.height.plus(self.params().activate_blocks);
            slot.state = SlotState::Offered { provider, deadline, pay };
            self.put_slot(id, index, &slot);
            self.reserve(&provider, slot.bytes);
            self.list_offer(&provider, id, index);
            self.schedule(deadline.next(), Due::Repair { deal: id, slot: index });
            self.state.emit(Event::RepairOffered { deal: id, slot: index, provider, deadline, pay });
        }
        if is_short {
            let again = self.height.plus(self.day_blocks());
            self.schedule(again, Due::Offer(id));
        }
    }

    /// Providers with room and coins that never held the object, nor share an operator with one that did.
    fn rebuilders(&self, deal: &Deal, bytes: u64) -> Vec<Offer> {
        let terms = SlotTerms { bytes, ask_max: deal.ask_max, k: deal.k };
        let operators: Vec<String> = deal
            .held
            .iter()
            .filter(|_| self.params().distinct_operators)
            .filter_map(|held| self.pledge_row(held).map(|pledge| pledge.terms.operator))
            .collect();
        let providers: Vec<AccountId> = self.state.read(&tables::providers()).unwrap_or_default();
        providers
            .iter()
            .filter(|provider| !deal.held.contains(provider))
            .filter_map(|provider| offer_of(&self.state, self.params(), &self.head, provider, &terms))
            .filter(|offer| offer.ask <= deal.ask_max && !operators.contains(&offer.operator))
            .collect()
    }

    /// The ask that a slot's escrow can pay to the term's end, at most the provider's own.
    fn affordable(&self, deal: &Deal, slot: &Slot, own: TokenAmount) -> TokenAmount {
        let windows = deal.term_windows.saturating_sub(slot.windows_before);
        let billed = hpips_proofs::piece::billed_bytes(self.params(), slot.bytes);
        let bytes_windows = u128::from(billed) * u128::from(windows);
        if bytes_windows == 0 {
            return own;
        }
        let unit = u128::from(ASK_BYTES) * u128::from(ASK_WINDOWS);
        let (most, _) = mul_div(u128::from(slot.escrow.get()), unit, bytes_windows);
        u64::try_from(most).map_or(own, |most| own.min(TokenAmount::new(most)))
    }

    fn list_offer(&mut self, provider: &AccountId, deal: DealId, slot: SlotIndex) {
        let key = tables::offers(provider);
        let mut listed: Vec<(DealId, SlotIndex)> = self.state.read(&key).unwrap_or_default();
        listed.push((deal, slot));
        self.state.put(key, &listed);
    }

    fn unlist_offer(&mut self, provider: &AccountId, deal: DealId, slot: SlotIndex) {
        let key = tables::offers(provider);
        let mut listed: Vec<(DealId, SlotIndex)> = self.state.read(&key).unwrap_or_default();
        listed.retain(|other| *other != (deal, slot));
        if listed.is_empty() { self.state.delete(key) } else { self.state.put(key, &listed) }
    }

    /// `Operation::ClaimRepair`.
    pub(crate) fn claim_repair(
        &mut self,
        from: &AccountId,
        id: DealId,
        index: SlotIndex,
    ) -> Result<(), Failure> {
        let (deal, mut slot) = self.deal_and_slot(id, index).ok_or(Failure::Unknown)?;
        let SlotState::Offered { provider, deadline, pay } = slot.state else { return Err(Failure::State) };
        if provider != *from {
            return Err(Failure::NotYours);
        }
        if deal.deleted.is_some() || self.height > deadline {
            return Err(Failure::Late);
        }
        let stake = collateral_of(self.params(), slot.ask, deal.ask_max, slot.bytes, deal.k);
        self.lock(from, stake)?;
        slot.collateral = stake;
        let (record, offset) = self.enter_piece(from, slot.bytes, slot.comm_p, (id, index))?;
        // The entry does not wait for the set's next window: the set is frozen as it is now, and the first
        // beacon that nobody can know yet challenges the piece.
        let set = bundle_set(from);
        self.refresh_snapshot(set);
        let mut row = self.set_row(set).ok_or(Failure::Unknown)?;
        let (version, opening) = (row.version, self.opening_from(self.height));
        row.entering.push(version);
        self.put_set(set, &row);
        slot.state = SlotState::Entering { provider, record, offset, version, opening, deadline, pay };
        self.put_slot(id, index, &slot);
        self.state.emit(Event::RepairClaimed { deal: id, slot: index, provider });
        if slot.bytes == 0 {
            // No byte can be challenged: an empty piece is held by whoever says so.
            self.finish_repair(id, index)?;
        }
        Ok(())
    }

    /// `Operation::ProveEntry`; `is_true`: whether its proof is.
    pub(crate) fn prove_entry(
        &mut self,
        from: &AccountId,
        id: DealId,
        index: SlotIndex,
        is_true: bool,
    ) -> Result<(), Failure> {
        let (_, slot) = self.deal_and_slot(id, index).ok_or(Failure::Unknown)?;
        let SlotState::Entering { provider, deadline, .. } = slot.state else { return Err(Failure::State) };
        if provider != *from {
            return Err(Failure::NotYours);
        }
        if self.height > deadline {
            return Err(Failure::Late);
        }
        if !is_true {
            return Err(Failure::Proof);
        }
        self.finish_repair(id, index)
    }

    fn finish_repair(&mut self, id: DealId, index: SlotIndex) -> Result<(), Failure> {
        let (mut deal, mut slot) = self.deal_and_slot(id, index).ok_or(Failure::Unknown)?;
        let SlotState::Entering { provider, record, offset, version, pay, .. } = slot.state else {
            return Err(Failure::State);
        };
        let set = bundle_set(&provider);
        let mut row = self.leave_entry(set, version).ok_or(Failure::Unknown)?;
        slot.state = SlotState::Held { provider, record, offset };
        // An open window that contains the piece counts when it closes, otherwise the next one does.
        if row.window.is_some_and(|window| window.version >= version) {
            slot.since = Some(row.proven + row.pending);
        } else {
            row.has_new_pieces = true;
            self.put_set(set, &row);
        }
        let rest = money::sub(core::mem::take(&mut slot.repair_pot), pay);
        slot.escrow = money::add(slot.escrow, rest);
        self.put_slot(id, index, &slot);
        deal.healthy += 1;
        deal.held.push(provider);
        self.put_deal(id, &deal);
        self.unlist_offer(&provider, id, index);
        let payee = self.payee(&provider);
        self.pay(&payee, pay, PayReason::Repair { deal: id, slot: index });
        self.state.emit(Event::SlotRepaired { deal: id, slot: index, provider, pay });
        Ok(())
    }

    /// A piece is no longer entering: its snapshot may go.
    fn leave_entry(&mut self, set: SetId, version: u64) -> Option<SetRow> {
        let mut row = self.set_row(set)?;
        let at = row.entering.iter().position(|entry| *entry == version)?;
        row.entering.remove(at);
        self.release_snapshot(set, &row, version);
        self.put_set(set, &row);
        Some(row)
    }

    /// A rebuilder's time is over.
    pub(crate) fn expire_repair(&mut self, id: DealId, index: SlotIndex) {
        let Some((_, slot)) = self.deal_and_slot(id, index) else { return };
        let (SlotState::Offered { deadline, .. } | SlotState::Entering { deadline, .. }) = slot.state else {
            return;
        };
        if deadline < self.height {
            self.fail_repair(id, index);
        }
    }

    /// The rebuilder did not deliver: it gets its stake back, is not asked again, the slot is offered to others.
    pub(crate) fn fail_repair(&mut self, id: DealId, index: SlotIndex) {
        let Some(mut slot) = self.drop_rebuilder(id, index) else { return };
        self.count_failure(id, index, &mut slot);
        self.offer_if_due(id);
    }

    /// Takes a slot from its rebuilder. The slot's row is the caller's to write.
    pub(crate) fn drop_rebuilder(&mut self, id: DealId, index: SlotIndex) -> Option<Slot> {
        let (mut deal, mut slot) = self.deal_and_slot(id, index)?;
        let provider = match slot.state {
            SlotState::Offered { provider, .. } => {
                self.release(&provider, slot.bytes);
                provider
            }
            SlotState::Entering { provider, record, offset, version, .. } => {
                self.end_tenure(&deal, &mut slot);
                self.remove_pieces(&provider, &[(record, offset)]);
                self.leave_entry(bundle_set(&provider), version);
                let stake = core::mem::take(&mut slot.collateral);
                self.put_slot(id, index, &slot);
                self.unlock(&provider, stake);
                self.pay(&provider, stake, PayReason::Collateral { deal: id, slot: index });
                provider
            }
            SlotState::Held { .. } | SlotState::Lost {} | SlotState::Closed {} => return None,
        };
        slot.state = SlotState::Lost {};
        deal.held.push(provider);
        self.put_deal(id, &deal);
        self.unlist_offer(&provider, id, index);
        Some(slot)
    }

    /// Counts a failure of a slot that nobody holds; the last one closes it.
    fn count_failure(&mut self, id: DealId, index: SlotIndex, slot: &mut Slot) {
        let Some(mut deal) = self.deal_row(id) else { return };
        slot.failures += 1;
        self.state.emit(Event::RepairFailed { deal: id, slot: index, failures: slot.failures });
        if slot.failures < FAILURES_MAX {
            slot.state = SlotState::Lost {};
            deal.lost.push(index);
            self.put_deal(id, &deal);
            self.put_slot(id, index, slot);
            return;
        }
        let refund = self.empty_slot(slot);
        slot.state = SlotState::Closed {};
        self.put_slot(id, index, slot);
        self.credit(&deal.client, refund);
        self.state.emit(Event::SlotClosed { deal: id, slot: index, refund });
    }

    /// The client's money in a slot that nobody holds.
    pub(crate) fn empty_slot(&self, slot: &mut Slot) -> TokenAmount {
        money::add(core::mem::take(&mut slot.escrow), core::mem::take(&mut slot.repair_pot))
    }
}
