//! What heights bring: beacons, openings, deadlines, the close of a day.
//!
//! Nothing here walks over all providers: sets stand in a ring by the offset of their openings, deadlines in a
//! row of their height.

use hpips_types::{DayIndex, Height, NetworkParams, SetId, View};

use crate::body::Beacon;
use crate::error::Invalid;
use crate::event::{Event, ProposalEnd};
use crate::exec::Exec;
use crate::rows::{CarriedBeacon, Due, LeaderTurns, Opening, Waiting};
use crate::tables;

/// Openings are remembered for so many windows: how old a ticket may be when its sector is pre-committed, and
/// longer than any batch or rebuilt piece waits for its proofs.
pub(crate) const OPENING_WINDOWS: u64 = 32;

/// What one beacon draws at most: each draw looks at every provider.
pub(crate) const WAITING_MAX: usize = 64;
/// Openings ahead that a draw may wait for.
const OPENINGS_AHEAD: u64 = 64;
/// What one height does at most of what falls due; the rest is done at the next. Deals can be made to end
/// together, and each ends with all its slots.
const DUES_MAX: usize = 256;

/// The height at which a day closes: one window after its last windows opened, when all of them are settled.
pub(crate) fn day_closes(params: &NetworkParams, day: DayIndex) -> Height {
    Height::new((day.get() + 1) * params.day_windows * params.window_blocks + params.window_blocks)
}

/// The day that is booked to at a height: the first that has not closed. Windows of day `d` close between the
/// closing of day `d - 1` and that of `d`, so each lands in its own day.
pub(crate) fn booking_day(params: &NetworkParams, height: Height) -> DayIndex {
    let since = height.get().saturating_sub(params.window_blocks);
    DayIndex::new(since / (params.window_blocks * params.day_windows))
}

/// Whether a window whose beacon was carried so late asks nothing of anyone.
pub(crate) fn is_void(params: &NetworkParams, opened: Height, beacon: &CarriedBeacon) -> bool {
    beacon.carried.get() > opened.get() + params.window_blocks / 2
}

impl Exec<'_> {
    /// Remembers the view of an opening height, forgets old ones.
    pub(crate) fn open_height(&mut self, view: View) {
        let (height, step) = (self.height.get(), self.params().offset_blocks);
        if !height.is_multiple_of(step) {
            return;
        }
        let key = tables::opening(self.height);
        let mut opening: Opening = self.state.read(&key).unwrap_or_default();
        opening.view = Some(view);
        self.state.put(key, &opening);
        let Some(old) = height.checked_sub(OPENING_WINDOWS * self.params().window_blocks + step) else {
            return;
        };
        let key = tables::opening(Height::new(old / step * step));
        let Some(opening) = self.state.read::<Opening>(&key) else { return };
        self.state.delete(key);
        if opening.beacon.is_none() {
            for waiting in opening.waiting {
                match waiting {
                    Waiting::Proposal(id) => self.drop_proposal(id, ProposalEnd::NoBeacon),
                    Waiting::Repair(deal) => self.offer_again(deal),
                }
            }
        }
    }

    /// Takes a beacon and draws what waited for it.
    pub(crate) fn set_beacon(&mut self, beacon: &Beacon) -> Result<(), Invalid> {
        let key = tables::opening(beacon.opening);
        let unwanted = Invalid::Beacon(beacon.opening);
        let Some(mut opening) = self.state.read::<Opening>(&key) else { return Err(unwanted) };
        let due = opening.view.and_then(|view| view.get().checked_add(self.params().lag_views));
        if opening.beacon.is_some() || due != Some(beacon.view.get()) {
            return Err(unwanted);
        }
        opening.beacon = Some(CarriedBeacon { signature: beacon.signature, carried: self.height });
        let waiting = core::mem::take(&mut opening.waiting);
        self.state.put(key, &opening);
        self.state.emit(Event::BeaconSet { opening: beacon.opening });
        let seed = hpips_proofs::Beacon::from_signature(beacon.signature.as_bytes());
        for waiting in waiting {
            match waiting {
                Waiting::Proposal(id) => self.draw_holders(id, &seed),
                Waiting::Repair(deal) => self.draw_rebuilders(deal, &seed),
            }
        }
        Ok(())
    }

    /// Puts something to be drawn by the first beacon that nobody can know yet and that has not its share of
    /// draws already; `None` where so many wait that the sender should try again later.
    pub(crate) fn wait_for_beacon(&mut self, waiting: Waiting) -> Option<Height> {
        let (first, step) = (self.opening_from(self.height), self.params().offset_blocks);
        for ahead in 0..OPENINGS_AHEAD {
            let height = first.plus(ahead * step);
            let key = tables::opening(height);
            let mut opening: Opening = self.state.read(&key).unwrap_or_default();
            if opening.waiting.len() < WAITING_MAX {
                opening.waiting.push(waiting);
                self.state.put(key, &opening);
                return Some(height);
            }
        }
        None
    }

    /// Has something done at a height to come.
    pub(crate) fn schedule(&mut self, height: Height, due: Due) {
        let key = tables::calendar(height);
        let mut dues: Vec<Due> = self.state.read(&key).unwrap_or_default();
        dues.push(due);
        self.state.put(key, &dues);
    }

    /// Puts a new set into the ring.
    pub(crate) fn enter_ring(&mut self, set: SetId, offset: u64) {
        let key = tables::ring(offset);
        let mut sets: Vec<SetId> = self.state.read(&key).unwrap_or_default();
        sets.push(set);
        self.state.put(key, &sets);
    }

    /// Everything that this height brings by itself.
    pub(crate) fn run_calendar(&mut self) {
        let day = booking_day(self.params(), self.height);
        if let Some(closing) = day.get().checked_sub(1).map(DayIndex::new)
            && day_closes(self.params(), closing) == self.height
        {
            self.close_day(closing);
        }
        let key = tables::calendar(self.height);
        if let Some(mut dues) = self.state.read::<Vec<Due>>(&key) {
            self.state.delete(key);
            let mut later = dues.split_off(dues.len().min(DUES_MAX));
            if !later.is_empty() {
                let next = tables::calendar(self.height.next());
                later.extend(self.state.read::<Vec<Due>>(&next).unwrap_or_default());
                self.state.put(next, &later);
            }
            for due in dues {
                self.meet(due);
            }
        }
        let offset = self.height.get() % self.params().window_blocks;
        if offset.is_multiple_of(self.params().offset_blocks) {
            let sets: Vec<SetId> = self.state.read(&tables::ring(offset)).unwrap_or_default();
            for set in sets {
                self.turn_window(set);
            }
        }
    }

    fn meet(&mut self, due: Due) {
        match due {
            Due::Proposal(id) => self.expire_proposal(id),
            Due::Batch { provider, batch } => self.expire_batch(&provider, batch),
            Due::Repair { deal, slot } => self.expire_repair(deal, slot),
            Due::Offer(deal) => self.offer_again(deal),
            Due::DealEnd(deal) => self.expire_deal(deal),
            Due::DealDelete(deal) => self.delete_deal(deal),
        }
    }

    /// Counts the proposer's turn.
    pub(crate) fn count_turn(&mut self) {
        let (day, leader) = (booking_day(self.params(), self.height), self.proposer);
        let mut row = self.day(day);
        match row.turns.binary_search_by_key(&leader, |turns| turns.leader) {
            Ok(at) => row.turns[at].turns += 1,
            Err(at) => row.turns.insert(at, LeaderTurns { leader, turns: 1 }),
        }
        self.put_day(day, &row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_booked_to_its_own_day() {
        for params in [NetworkParams::dev(), NetworkParams::demo(), NetworkParams::testnet()] {
            let (window, days) = (params.window_blocks, params.day_windows);
            for offset in [0, params.offset_blocks, window - params.offset_blocks] {
                for index in 0..3 * days {
                    let closes = Height::new((index + 1) * window + offset);
                    assert_eq!(
                        booking_day(&params, closes).get(),
                        index / days,
                        "window {index}, offset {offset}"
                    );
                }
            }
            for day in 0..3 {
                let closes = day_closes(&params, DayIndex::new(day));
                assert_eq!(booking_day(&params, closes).get(), day + 1);
                assert_eq!(booking_day(&params, Height::new(closes.get() - 1)).get(), day);
            }
        }
    }
}
