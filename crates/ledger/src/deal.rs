//! Deals: activation by receipts, renewal, end, deletion.

use hpips_proofs::piece::billed_bytes;
use hpips_types::{AccountId, DealId, ProposalId, SlotIndex, TokenAmount};

use crate::error::Failure;
use crate::event::{Event, LossReason, PayReason};
use crate::exec::Exec;
use crate::money;
use crate::operation::ActivateDeal;
use crate::piece::bundle_set;
use crate::proposal::{TERM_WINDOWS_MAX, repair_price};
use crate::rows::{Deal, DrawRow, Due, ProposalRow, Slot, SlotState};
use crate::tables;

impl Exec<'_> {
    /// `Operation::ActivateDeal`; `is_true`: whether all receipts are signed by their providers.
    pub(crate) fn activate_deal(
        &mut self,
        from: &AccountId,
        activation: &ActivateDeal,
        is_true: bool,
    ) -> Result<(), Failure> {
        let proposal = self.proposal_row(activation.proposal).ok_or(Failure::Unknown)?;
        if proposal.client != *from {
            return Err(Failure::NotYours);
        }
        let draw = proposal.draw.clone().ok_or(Failure::Early)?;
        if self.height > draw.deadline {
            return Err(Failure::Late);
        }
        self.check_receipts(activation, &proposal, &draw, is_true)?;
        let (id, terms) = (DealId::new(activation.proposal.get()), &proposal.terms);
        let slots = self.first_slots(activation, &proposal, &draw);
        let needed = slots.iter().try_fold(TokenAmount::ZERO, |sum, slot| {
            sum.checked_add(slot.escrow)?.checked_add(slot.repair_pot)
        });
        let needed = needed.ok_or(Failure::Balance)?;
        self.debit(from, needed.saturating_sub(proposal.deposit))?;
        self.credit(from, proposal.deposit.saturating_sub(needed));
        self.state.delete(tables::proposal(activation.proposal));

        let mut deal = Deal {
            client: *from,
            root: terms.root,
            extent: terms.extent,
            manifest: activation.manifest,
            content_bytes: terms.content_bytes,
            k: terms.k,
            n: terms.n,
            ask_max: terms.ask_max,
            term_windows: terms.term_windows,
            started: self.height,
            ends: self.height.plus((terms.term_windows + 1) * self.params().window_blocks),
            healthy: 0,
            lost: Vec::new(),
            is_offering: false,
            held: Vec::new(),
            deleted: None,
        };
        let mut left_out = Vec::new();
        for (index, (mut slot, holder)) in
            (0..=u16::MAX).map(SlotIndex::new).zip(slots.into_iter().zip(&draw.holders))
        {
            if matches!(slot.state, SlotState::Held { .. }) {
                let (record, offset) =
                    self.enter_piece(&holder.provider, slot.bytes, slot.comm_p, (id, index))?;
                slot.state = SlotState::Held { provider: holder.provider, record, offset };
                deal.healthy += 1;
                deal.held.push(holder.provider);
            } else {
                self.release_holder(holder, slot.bytes);
                deal.lost.push(index);
                left_out.push((index, holder.provider));
            }
            self.put_slot(id, index, &slot);
        }
        self.put_deal(id, &deal);
        self.list_root(&deal, id);
        self.schedule(deal.ends, Due::DealEnd(id));
        self.state.emit(Event::DealActive { deal: id, client: *from, ends: deal.ends });
        for (slot, provider) in left_out {
            self.state.emit(Event::SlotLost { deal: id, slot, provider, reason: LossReason::LeftOut });
        }
        self.offer_if_due(id);
        Ok(())
    }

    fn check_receipts(
        &self,
        activation: &ActivateDeal,
        proposal: &ProposalRow,
        draw: &DrawRow,
        is_true: bool,
    ) -> Result<(), Failure> {
        let terms = &proposal.terms;
        let n = usize::from(terms.n);
        let mut seen = vec![false; n];
        let slots = activation.receipts.iter().map(|signed| signed.receipt.slot);
        for slot in slots.chain(activation.left_out.iter().map(|left| left.slot)) {
            let seen = seen.get_mut(usize::from(slot.get())).ok_or(Failure::Range)?;
            if core::mem::replace(seen, true) {
                return Err(Failure::Range);
            }
        }
        let is_sorted = activation.receipts.is_sorted_by_key(|signed| signed.receipt.slot)
            && activation.left_out.is_sorted_by_key(|left| left.slot);
        if !is_sorted || seen.contains(&false) {
            return Err(Failure::Range);
        }
        let missing = activation.left_out.len() + usize::from(draw.skipped);
        if missing > n.div_ceil(4) || activation.receipts.len() < usize::from(terms.k) {
            return Err(Failure::LeftOut);
        }
        let is_meant = activation.receipts.iter().all(|signed| {
            let receipt = &signed.receipt;
            let index = usize::from(receipt.slot.get());
            receipt.chain == self.constants.chain
                && receipt.proposal == activation.proposal
                && receipt.provider == draw.holders[index].provider
                && receipt.bytes == terms.piece_bytes[index]
        });
        if is_true && is_meant { Ok(()) } else { Err(Failure::Signature) }
    }

    /// The slots of a deal as it starts; places are given afterwards.
    fn first_slots(&self, activation: &ActivateDeal, proposal: &ProposalRow, draw: &DrawRow) -> Vec<Slot> {
        let terms = &proposal.terms;
        let params = self.params();
        let price = |ask, bytes| money::price_ceil(ask, billed_bytes(params, bytes), terms.term_windows);
        let mut slots: Vec<(SlotIndex, Slot)> = Vec::new();
        for signed in &activation.receipts {
            let receipt = &signed.receipt;
            let holder = &draw.holders[usize::from(receipt.slot.get())];
            let state = SlotState::Held { provider: holder.provider, record: Default::default(), offset: 0 };
            slots.push((
                receipt.slot,
                Slot {
                    bytes: receipt.bytes,
                    comm_p: receipt.comm_p,
                    blake3: receipt.blake3,
                    state,
                    escrow: price(holder.ask, receipt.bytes),
                    collateral: holder.collateral,
                    repair_pot: TokenAmount::ZERO,
                    ask: holder.ask,
                    windows_before: 0,
                    since: None,
                    paid: TokenAmount::ZERO,
                    failures: 0,
                },
            ));
        }
        for left in &activation.left_out {
            let bytes = terms.piece_bytes[usize::from(left.slot.get())];
            slots.push((
                left.slot,
                Slot {
                    bytes,
                    comm_p: left.comm_p,
                    blake3: left.blake3,
                    state: SlotState::Lost {},
                    escrow: price(terms.ask_max, bytes),
                    collateral: TokenAmount::ZERO,
                    repair_pot: repair_price(params, terms.ask_max, bytes, terms.k),
                    ask: terms.ask_max,
                    windows_before: 0,
                    since: None,
                    paid: TokenAmount::ZERO,
                    failures: 0,
                },
            ));
        }
        slots.sort_by_key(|(index, _)| *index);
        slots.into_iter().map(|(_, slot)| slot).collect()
    }

    fn list_root(&mut self, deal: &Deal, id: DealId) {
        let key = tables::root(&deal.root);
        let mut listed: Vec<DealId> = self.state.read(&key).unwrap_or_default();
        listed.push(id);
        self.state.put(key, &listed);
    }

    fn unlist_root(&mut self, deal: &Deal, id: DealId) {
        let key = tables::root(&deal.root);
        let mut listed: Vec<DealId> = self.state.read(&key).unwrap_or_default();
        listed.retain(|other| *other != id);
        if listed.is_empty() { self.state.delete(key) } else { self.state.put(key, &listed) }
    }

    fn slot_indices(deal: &Deal) -> impl Iterator<Item = SlotIndex> + use<> {
        (0..deal.n).map(SlotIndex::new)
    }

    /// `Operation::Renew`.
    pub(crate) fn renew(
        &mut self,
        from: &AccountId,
        id: DealId,
        windows: u64,
        price_max: TokenAmount,
    ) -> Result<(), Failure> {
        let mut deal: Deal = self.state.read(&tables::deal(id)).ok_or(Failure::Unknown)?;
        if deal.deleted.is_some() {
            return Err(Failure::Late);
        }
        let term_windows = deal.term_windows.checked_add(windows).ok_or(Failure::Range)?;
        if windows == 0 || term_windows > TERM_WINDOWS_MAX {
            return Err(Failure::Range);
        }
        let mut paid = TokenAmount::ZERO;
        for index in Self::slot_indices(&deal) {
            let Some((_, mut slot)) = self.deal_and_slot(id, index) else { continue };
            if matches!(slot.state, SlotState::Closed {}) {
                continue;
            }
            let needed = self.reprice(&deal, &mut slot, windows);
            paid = paid.checked_add(needed).ok_or(Failure::Balance)?;
            slot.escrow = slot.escrow.checked_add(needed).ok_or(Failure::Balance)?;
            self.put_slot(id, index, &slot);
        }
        if paid > price_max {
            return Err(Failure::Price);
        }
        self.debit(from, paid)?;
        deal.term_windows = term_windows;
        deal.ends = deal.ends.plus(windows * self.params().window_blocks);
        self.put_deal(id, &deal);
        self.schedule(deal.ends, Due::DealEnd(id));
        self.state.emit(Event::Renewed { deal: id, ends: deal.ends, paid });
        Ok(())
    }

    /// Moves a held slot to its holder's ask of today, if that is more, and says what `windows` more cost.
    fn reprice(&mut self, deal: &Deal, slot: &mut Slot, windows: u64) -> TokenAmount {
        let billed = billed_bytes(self.params(), slot.bytes);
        if let SlotState::Held { provider, .. } = slot.state
            && let Some(pledge) = self.pledge_row(&provider)
            && let Some(set) = self.set_row(bundle_set(&provider))
            && set.debt.is_none()
            && slot.since.is_some()
            && pledge.terms.ask > slot.ask
        {
            self.pay_tenure(deal, slot, bundle_set(&provider));
            slot.since = Some(set.proven);
            slot.ask = pledge.terms.ask;
        }
        let counted = self.slot_counted(deal, slot);
        let left = deal.term_windows.saturating_sub(slot.windows_before + counted) + windows;
        let owed_later = money::price_ceil(slot.ask, billed, counted + left).saturating_sub(slot.paid);
        owed_later.saturating_sub(slot.escrow)
    }

    fn slot_counted(&self, deal: &Deal, slot: &Slot) -> u64 {
        let proven = slot
            .state
            .provider()
            .and_then(|provider| self.set_row(bundle_set(&provider)))
            .map_or(0, |set| set.proven);
        self.counted(deal, slot, proven)
    }

    /// `Operation::EndDeal`.
    pub(crate) fn end_deal(&mut self, from: &AccountId, id: DealId) -> Result<(), Failure> {
        let deal: Deal = self.state.read(&tables::deal(id)).ok_or(Failure::Unknown)?;
        if deal.client != *from {
            return Err(Failure::NotYours);
        }
        if deal.deleted.is_some() {
            return Err(Failure::Late);
        }
        let least = self.params().term_windows_min * self.params().window_blocks;
        if self.height < deal.started.plus(least) {
            return Err(Failure::Early);
        }
        self.finish_deal(id, deal);
        Ok(())
    }

    /// A term is over, unless it was renewed meanwhile.
    pub(crate) fn expire_deal(&mut self, id: DealId) {
        let Some(deal) = self.state.read::<Deal>(&tables::deal(id)) else { return };
        if deal.deleted.is_none() && deal.ends <= self.height {
            self.finish_deal(id, deal);
        }
    }

    /// Pays what is owed, returns collateral and escrow. Pieces stay in their bundles for the grace, unpaid.
    fn finish_deal(&mut self, id: DealId, deal: Deal) {
        let mut refund = TokenAmount::ZERO;
        for index in Self::slot_indices(&deal) {
            let Some((_, mut slot)) = self.deal_and_slot(id, index) else { continue };
            if let SlotState::Held { provider, .. } = slot.state {
                self.pay_tenure(&deal, &mut slot, bundle_set(&provider));
                let stake = core::mem::take(&mut slot.collateral);
                self.unlock(&provider, stake);
                self.pay(&provider, stake, PayReason::Collateral { deal: id, slot: index });
            } else if let Some(dropped) = self.drop_rebuilder(id, index) {
                slot = dropped;
            }
            refund = money::add(refund, self.empty_slot(&mut slot));
            if !matches!(slot.state, SlotState::Held { .. }) {
                slot.state = SlotState::Closed {};
            }
            self.put_slot(id, index, &slot);
        }
        // Rebuilders that were dropped were written into the deal.
        let mut deal = self.state.read::<Deal>(&tables::deal(id)).unwrap_or(deal);
        let deleted = self.height.plus(self.params().grace_windows * self.params().window_blocks + 1);
        deal.deleted = Some(deleted);
        deal.ends = self.height;
        deal.lost.clear();
        self.put_deal(id, &deal);
        self.credit(&deal.client, refund);
        self.schedule(deleted, Due::DealDelete(id));
        self.state.emit(Event::DealEnded { deal: id, refund, deleted });
    }

    /// The grace is over: pieces leave the bundles, the deal is forgotten.
    pub(crate) fn delete_deal(&mut self, id: DealId) {
        let Some(deal) = self.state.read::<Deal>(&tables::deal(id)) else { return };
        for index in Self::slot_indices(&deal) {
            let Some((_, slot)) = self.deal_and_slot(id, index) else { continue };
            if let SlotState::Held { provider, record, offset } = slot.state {
                self.remove_pieces(&provider, &[(record, offset)]);
                self.release(&provider, slot.bytes);
            }
            self.state.delete(tables::slot(id, index));
        }
        self.state.delete(tables::deal(id));
        self.unlist_root(&deal, id);
        self.unlist(&deal.client, ProposalId::new(id.get()));
    }
}
