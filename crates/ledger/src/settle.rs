//! Payment: what slots are owed, a day's books, the contribution reward.

use hpips_proofs::piece::billed_bytes;
use hpips_types::{AccountId, DayIndex, DealId, SetId, SlotIndex, TokenAmount};

use crate::calendar;
use crate::event::{Event, PayReason};
use crate::exec::Exec;
use crate::money::{self, SCALE_BITS, Wide, mul_div, mul_scaled};
use crate::rows::{Day, DayReward, DayUnits, Deal, Fund, PledgeRow, SetRow, Slot};
use crate::tables;

/// One part in so many of the daily reward goes to the leaders of its blocks.
const LEADER_PARTS: u64 = 100;
/// One part in so many of the revenue goes to coin holders.
const HOLDER_PARTS: u64 = 10;

impl Exec<'_> {
    pub(crate) fn day(&self, day: DayIndex) -> Day {
        self.state.read(&tables::day(day)).unwrap_or_default()
    }

    pub(crate) fn put_day(&mut self, day: DayIndex, row: &Day) {
        self.state.put(tables::day(day), row);
    }

    /// The day that is booked to now.
    pub(crate) fn booking_day(&self) -> DayIndex {
        calendar::booking_day(self.params(), self.height)
    }

    /// Takes what a slot's holder is owed by now out of the escrow. The caller books it.
    pub(crate) fn take_owed(&self, deal: &Deal, slot: &mut Slot, proven: u64) -> TokenAmount {
        let Some(since) = slot.since else { return TokenAmount::ZERO };
        let left = deal.term_windows.saturating_sub(slot.windows_before);
        let windows = proven.saturating_sub(since).min(left);
        let owed = money::price_floor(slot.ask, billed_bytes(self.params(), slot.bytes), windows);
        let due = owed.saturating_sub(slot.paid).min(slot.escrow);
        slot.paid = money::add(slot.paid, due);
        slot.escrow = money::sub(slot.escrow, due);
        due
    }

    /// Windows of a slot's present counting, as far as its term goes.
    pub(crate) fn counted(&self, deal: &Deal, slot: &Slot, proven: u64) -> u64 {
        let left = deal.term_windows.saturating_sub(slot.windows_before);
        slot.since.map_or(0, |since| proven.saturating_sub(since).min(left))
    }

    /// Books revenue that left an escrow: a tenth to the coin holders, by the day's sum so that the day is
    /// exact to the nano, the rest to the contributor's payee at once.
    pub(crate) fn book_revenue(&mut self, set: SetId, amount: TokenAmount) {
        if amount == TokenAmount::ZERO {
            return;
        }
        let day = self.booking_day();
        let mut row = self.day(day);
        let tenth = |revenue: TokenAmount| revenue.get() / HOLDER_PARTS;
        let before = tenth(row.revenue);
        row.revenue = money::add(row.revenue, amount);
        let to_holders = TokenAmount::new(tenth(row.revenue) - before);
        let to_contributor = money::sub(amount, to_holders);
        row.coin_holders = money::add(row.coin_holders, to_holders);
        row.contributors = money::add(row.contributors, to_contributor);
        self.put_day(day, &row);
        let payee = self.payee(&set.provider);
        self.pay(&payee, to_contributor, PayReason::Storage { set, day });
    }

    /// Who is paid for a provider's work.
    pub(crate) fn payee(&self, provider: &AccountId) -> AccountId {
        self.state.read::<PledgeRow>(&tables::pledge(provider)).map_or(*provider, |pledge| pledge.terms.payee)
    }

    /// Pays all slots of a set for the windows proven so far; called when its last window of a day closed.
    pub(crate) fn settle_set(&mut self, set: SetId, proven: u64) {
        let mut revenue = TokenAmount::ZERO;
        for (deal, index) in self.slots_in(set) {
            let Some((row, mut slot)) = self.deal_and_slot(deal, index) else { continue };
            let due = self.take_owed(&row, &mut slot, proven);
            if due > TokenAmount::ZERO {
                self.put_slot(deal, index, &slot);
                revenue = money::add(revenue, due);
            }
        }
        self.book_revenue(set, revenue);
    }

    pub(crate) fn deal_and_slot(&self, deal: DealId, slot: SlotIndex) -> Option<(Deal, Slot)> {
        Some((self.state.read(&tables::deal(deal))?, self.state.read(&tables::slot(deal, slot))?))
    }

    pub(crate) fn put_slot(&mut self, deal: DealId, index: SlotIndex, slot: &Slot) {
        self.state.put(tables::slot(deal, index), slot);
    }

    pub(crate) fn put_deal(&mut self, id: DealId, deal: &Deal) {
        self.state.put(tables::deal(id), deal);
    }

    /// Counts sealed bytes times windows for the contribution reward of the day that is booked to now.
    pub(crate) fn add_units(&mut self, row: &mut SetRow, units: u128) {
        if units == 0 {
            return;
        }
        let day = self.booking_day();
        match row.units.last_mut() {
            Some(last) if last.day == day => last.units.0 += units,
            _ => row.units.push(DayUnits { day, units: Wide(units) }),
        }
        let mut books = self.day(day);
        books.units.0 += units;
        self.put_day(day, &books);
    }

    /// Pays a set its part of the rewards of closed days.
    pub(crate) fn pay_contribution(&mut self, set: SetId, row: &mut SetRow) {
        let open = self.booking_day();
        let (closed, waiting): (Vec<DayUnits>, Vec<DayUnits>) =
            row.units.drain(..).partition(|units| units.day < open);
        row.units = waiting;
        for DayUnits { day, units } in closed {
            let mut books = self.day(day);
            let Some(reward) = books.reward else { continue };
            let amount = money::nano(mul_scaled(units.0, reward.rate.0).0).min(books.reward_left);
            books.reward_left = money::sub(books.reward_left, amount);
            self.put_day(day, &books);
            let payee = self.payee(&set.provider);
            self.pay(&payee, amount, PayReason::Contribution { set, day });
        }
    }

    /// Closes a day: the coin holders' tenth is spread, the contribution reward is fixed, the rest of the day
    /// before goes back to the community fund.
    pub(crate) fn close_day(&mut self, day: DayIndex) {
        if let Some(before) = day.get().checked_sub(1).map(DayIndex::new) {
            let mut row = self.day(before);
            if row.reward_left > TokenAmount::ZERO {
                self.fund_credit(Fund::Community, row.reward_left);
                row.reward_left = TokenAmount::ZERO;
                self.put_day(before, &row);
            }
        }
        let mut row = self.day(day);
        let coin_holders = core::mem::take(&mut row.coin_holders);
        self.distribute(coin_holders);

        // fund / divisor * min(1, sealed / B*), sealed being the mean over the day's windows.
        let fund = self.fund(Fund::Community).get() / self.params().reward_divisor;
        let full = u128::from(self.params().reward_full_bytes) * u128::from(self.params().day_windows);
        let (total, _) = mul_div(u128::from(fund), row.units.0.min(full), full);
        let total = money::nano(total);
        self.fund_debit(Fund::Community, total);
        let leaders = TokenAmount::new(total.get() / LEADER_PARTS);
        let sealed = money::sub(total, leaders);
        let rate = match row.units.0 {
            0 => 0,
            units => mul_div(u128::from(sealed.get()), 1 << SCALE_BITS, units).0,
        };
        row.reward = Some(DayReward { total, rate: Wide(rate), coin_holders });
        row.reward_left = total;
        let turns: u64 = row.turns.iter().map(|turns| turns.turns).sum();
        let mut payments = Vec::new();
        for leader in &row.turns {
            let share = hpips_types::amount::mul_div_floor(leaders.get(), leader.turns, turns);
            row.reward_left = money::sub(row.reward_left, TokenAmount::new(share));
            payments.push((leader.leader, TokenAmount::new(share)));
        }
        self.put_day(day, &row);
        for (leader, share) in payments {
            self.pay(&leader, share, PayReason::Leader { day });
        }
        let Day { revenue, contributors, .. } = row;
        self.state.emit(Event::Settled { day, revenue, contributors, coin_holders, reward: total });
    }
}
