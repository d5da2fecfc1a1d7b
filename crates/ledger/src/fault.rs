//! Faults: what missed windows cost, how a slot is lost, how damage is declared.

use hpips_proofs::Record;
use hpips_proofs::piece::billed_bytes;
use hpips_types::{AccountId, DealId, RecordIndex, SetId, SlotIndex, TokenAmount};

use crate::error::Failure;
use crate::event::{Event, FineReason, LossReason, PayReason};
use crate::exec::Exec;
use crate::money;
use crate::piece::bundle_set;
use crate::proposal::repair_price;
use crate::rows::{Deal, Slot, SlotState};
use crate::window::JUDGED_DAYS;

impl Exec<'_> {
    /// One day's price of a slot.
    fn day_price(&self, slot: &Slot) -> TokenAmount {
        money::price_ceil(slot.ask, billed_bytes(self.params(), slot.bytes), self.params().day_windows)
    }

    /// Judges a set whose window just closed by the windows it missed in a row.
    pub(crate) fn judge(&mut self, set: SetId) {
        let Some(row) = self.set_row(set) else { return };
        if row.missed_in_row == 0 {
            return;
        }
        if row.missed_in_row == self.params().fault_first_windows {
            for (deal, slot) in self.judged_slots(set) {
                self.fine(deal, slot, FineReason::MissedInRow(row.missed_in_row));
            }
        }
        self.judge_row(set, row.missed_in_row);
    }

    /// Takes the slots of a set that missed too many windows in a row.
    fn judge_row(&mut self, set: SetId, missed_in_row: u64) {
        if missed_in_row >= self.params().fault_second_windows {
            let slots = self.judged_slots(set);
            self.lose_slots(set, &slots, LossReason::MissedInRow(missed_in_row));
        }
    }

    /// The slots of a set whose pieces were in a window already.
    fn judged_slots(&self, set: SetId) -> Vec<(DealId, SlotIndex)> {
        let mut slots = self.slots_in(set);
        slots.retain(|(deal, index)| {
            self.deal_and_slot(*deal, *index).is_some_and(|(_, slot)| slot.since.is_some())
        });
        slots
    }

    /// Judges a set by the share it proved of the windows of the last fourteen days, at the end of a day.
    pub(crate) fn judge_days(&mut self, set: SetId) {
        let Some(row) = self.set_row(set) else { return };
        if row.days.len() < JUDGED_DAYS {
            return;
        }
        let proven: u64 = row.days.iter().map(|day| day.proven).sum();
        let due: u64 = row.days.iter().map(|day| day.due).sum();
        if proven * 5 < due * 4 {
            let slots = self.judged_slots(set);
            self.lose_slots(set, &slots, LossReason::MissedShare { proven, due });
        }
    }

    /// Moves a day's price, or half of it, from a slot's collateral into its escrow.
    fn fine(&mut self, deal: DealId, index: SlotIndex, reason: FineReason) {
        let Some((row, mut slot)) = self.deal_and_slot(deal, index) else { return };
        let Some(provider) = slot.state.provider().filter(|_| row.deleted.is_none()) else { return };
        let price = self.day_price(&slot);
        let amount = match reason {
            FineReason::MissedInRow(_) => price,
            FineReason::DeclaredLost => TokenAmount::new(price.get().div_ceil(2)),
        };
        let amount = amount.min(slot.collateral);
        if amount == TokenAmount::ZERO {
            return;
        }
        slot.collateral = money::sub(slot.collateral, amount);
        slot.escrow = money::add(slot.escrow, amount);
        self.put_slot(deal, index, &slot);
        self.unlock(&provider, amount);
        self.state.emit(Event::Fined { provider, deal, slot: index, amount, reason });
    }

    /// Ends a holder's tenure: it is paid for what it proved, its space is free again. The collateral is still
    /// in the slot, the piece still in its bundle.
    pub(crate) fn end_tenure(&mut self, deal: &Deal, slot: &mut Slot) {
        let (SlotState::Held { provider, .. } | SlotState::Entering { provider, .. }) = slot.state else {
            return;
        };
        let set = bundle_set(&provider);
        self.pay_tenure(deal, slot, set);
        self.release(&provider, slot.bytes);
    }

    /// Pays what a slot's present counting is owed and starts it anew.
    pub(crate) fn pay_tenure(&mut self, deal: &Deal, slot: &mut Slot, set: SetId) {
        let proven = self.set_row(set).map_or(0, |row| row.proven);
        let due = self.take_owed(deal, slot, proven);
        slot.windows_before += self.counted(deal, slot, proven);
        slot.since = None;
        slot.paid = TokenAmount::ZERO;
        self.book_revenue(set, due);
    }

    /// A set's provider loses slots.
    fn lose_slots(&mut self, set: SetId, slots: &[(DealId, SlotIndex)], reason: LossReason) {
        let place = |(deal, index): &(DealId, SlotIndex)| match self.deal_and_slot(*deal, *index)?.1.state {
            SlotState::Held { record, offset, .. } => Some((record, offset)),
            _ => None,
        };
        let places: Vec<(RecordIndex, u32)> = slots.iter().filter_map(place).collect();
        self.remove_pieces(&set.provider, &places);
        for (deal, index) in slots {
            self.lose_slot(*deal, *index, reason);
        }
    }

    /// A holder loses its slot, whose piece has left its bundle. What is left of its collateral pays the repair; if it declared the loss itself,
    /// what the repair does not need returns to it.
    fn lose_slot(&mut self, deal: DealId, index: SlotIndex, reason: LossReason) {
        let Some((mut row, mut slot)) = self.deal_and_slot(deal, index) else { return };
        let Some(provider) = slot.state.provider() else { return };
        if row.deleted.is_some() {
            // Nothing is owed for it and nothing is at stake any more.
            self.end_tenure(&row, &mut slot);
            slot.state = SlotState::Closed {};
            return self.put_slot(deal, index, &slot);
        }
        let was_held = matches!(slot.state, SlotState::Held { .. });
        if !was_held {
            return self.fail_repair(deal, index);
        }
        self.end_tenure(&row, &mut slot);
        let stake = core::mem::take(&mut slot.collateral);
        let needed = match reason {
            LossReason::DeclaredLost => {
                stake.min(repair_price(self.params(), row.ask_max, slot.bytes, row.k))
            }
            LossReason::MissedInRow(_) | LossReason::MissedShare { .. } | LossReason::LeftOut => stake,
        };
        slot.repair_pot = money::add(slot.repair_pot, needed);
        slot.state = SlotState::Lost {};
        self.put_slot(deal, index, &slot);
        self.unlock(&provider, stake);
        self.pay(&provider, money::sub(stake, needed), PayReason::Collateral { deal, slot: index });
        row.healthy -= 1;
        row.lost.push(index);
        self.put_deal(deal, &row);
        self.state.emit(Event::SlotLost { deal, slot: index, provider, reason });
        self.offer_if_due(deal);
    }

    /// `Operation::DeclareLost`.
    pub(crate) fn declare_lost(
        &mut self,
        from: &AccountId,
        number: u32,
        records: &[RecordIndex],
    ) -> Result<(), Failure> {
        let set = SetId { provider: *from, number };
        let row = self.set_row(set).ok_or(Failure::Unknown)?;
        if records.is_empty() || records.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Failure::Range);
        }
        let places = self.records_row(set).places;
        let mut sealed = 0;
        for record in records {
            let place = places.get(usize::from(record.get())).ok_or(Failure::Unknown)?;
            if place.record == Record::Empty && place.owners.is_empty() {
                return Err(Failure::Unknown);
            }
            let slots: Vec<_> = place.owners.iter().map(|owner| (owner.deal, owner.slot)).collect();
            for (deal, slot) in &slots {
                self.fine(*deal, *slot, FineReason::DeclaredLost);
            }
            self.lose_slots(set, &slots, LossReason::DeclaredLost);
            if matches!(place.record, Record::Sealed { .. }) {
                sealed += self.params().sector_bytes();
                let mut now = self.records_row(set);
                now.places[usize::from(record.get())] =
                    crate::rows::Place { is_dirty: true, ..Default::default() };
                self.put_records(set, &now);
            }
        }
        if sealed > 0 {
            let mut pledge = self.pledge_row(from).ok_or(Failure::NoPledge)?;
            pledge.sealed_bytes = pledge.sealed_bytes.saturating_sub(sealed);
            self.put_pledge(from, &pledge);
        }
        // The window that is open asks for what is lost: it asks nothing any more, and is not paid. It counts
        // as missed, or declaring a little every window would put off the loss of everything else.
        let mut row = self.set_row(set).unwrap_or(row);
        if let Some(window) = row.window.take_if(|window| !window.is_proven) {
            self.release_snapshot(set, &row, window.version);
            row.missed_in_row += 1;
            if let Some(today) = row.days.last_mut() {
                today.due += 1;
            }
        }
        self.clear_debt(set, &mut row);
        self.put_set(set, &row);
        self.state.emit(Event::DeclaredLost { set, records: records.to_vec() });
        self.judge_row(set, row.missed_in_row);
        Ok(())
    }
}
