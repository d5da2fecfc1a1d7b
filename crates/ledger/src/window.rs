//! Windows: opening, commitment, proof, close, debt.

use hpips_proofs::{Record, RecordLayout};
use hpips_types::{Height, SetId, WindowIndex};

use crate::body::{Commitment, WindowProof};
use crate::calendar;
use crate::claim;
use crate::error::LaneFault;
use crate::event::Event;
use crate::exec::Exec;
use crate::money::Wide;
use crate::rows::{Constants, DayCount, Debt, OpenWindow, SetRow, Snapshot};
use crate::state::{StateView, read};
use crate::tables;

/// Days that the share of proven windows is judged over.
pub(crate) const JUDGED_DAYS: usize = 14;

/// Whether a commitment may stand in a block at a height; its signature is not looked at.
pub(crate) fn check_commitment(
    view: &dyn StateView,
    constants: &Constants,
    height: Height,
    item: &Commitment,
) -> Result<(), LaneFault> {
    if item.chain != constants.chain {
        return Err(LaneFault::Chain);
    }
    let window = current(view, constants, height, item.set, item.window)?;
    let beacon = claim::beacon(view, window.opened).ok_or(LaneFault::Beacon)?;
    if height > beacon.carried.plus(constants.params.commit_blocks) {
        return Err(LaneFault::Late);
    }
    if window.commitment.is_some() { Err(LaneFault::Done) } else { Ok(()) }
}

/// Whether a proof may stand in a block at a height; the proof itself is not looked at.
pub(crate) fn check_proof(
    view: &dyn StateView,
    constants: &Constants,
    height: Height,
    item: &WindowProof,
) -> Result<(), LaneFault> {
    if item.late.is_some() {
        let debt = read::<SetRow>(view, &tables::set(item.set)).and_then(|row| row.debt);
        return if debt.is_some_and(|debt| debt.window == item.window) {
            Ok(())
        } else {
            Err(LaneFault::Window)
        };
    }
    let window = current(view, constants, height, item.set, item.window)?;
    match window.commitment {
        Some((_, at)) if at < height => {}
        _ => return Err(LaneFault::Uncommitted),
    }
    if window.is_proven { Err(LaneFault::Done) } else { Ok(()) }
}

fn current(
    view: &dyn StateView,
    constants: &Constants,
    height: Height,
    set: SetId,
    window: WindowIndex,
) -> Result<OpenWindow, LaneFault> {
    let row: SetRow = read(view, &tables::set(set)).ok_or(LaneFault::Window)?;
    row.window
        .filter(|open| open.window == window && height < open.opened.plus(constants.params.window_blocks))
        .ok_or(LaneFault::Window)
}

impl Exec<'_> {
    pub(crate) fn commit_window(&mut self, item: &Commitment) -> Result<(), LaneFault> {
        check_commitment(&self.state, &self.constants, self.height, item)?;
        let mut row = self.set_row(item.set).ok_or(LaneFault::Window)?;
        let window = row.window.as_mut().ok_or(LaneFault::Window)?;
        window.commitment = Some((item.leaf_commitment, self.height));
        self.put_set(item.set, &row);
        self.state.emit(Event::Committed { set: item.set, window: item.window });
        Ok(())
    }

    pub(crate) fn prove_window(&mut self, item: &WindowProof) -> Result<(), LaneFault> {
        check_proof(&self.state, &self.constants, self.height, item)?;
        let mut row = self.set_row(item.set).ok_or(LaneFault::Window)?;
        if item.late.is_some() {
            self.clear_debt(item.set, &mut row);
        } else {
            row.window.as_mut().ok_or(LaneFault::Window)?.is_proven = true;
        }
        self.put_set(item.set, &row);
        self.state.emit(Event::Proven { set: item.set, window: item.window, late: item.late.is_some() });
        Ok(())
    }

    /// The debt is answered: what was proven meanwhile counts. The missed window stays unpaid.
    pub(crate) fn clear_debt(&mut self, set: SetId, row: &mut SetRow) {
        let Some(debt) = row.debt.take() else { return };
        self.release_snapshot(set, row, debt.version);
        row.proven += core::mem::take(&mut row.pending);
        let units = core::mem::take(&mut row.pending_units).0;
        self.add_units(row, units);
    }

    /// Forgets a snapshot that nothing refers to any more.
    pub(crate) fn release_snapshot(&mut self, set: SetId, row: &SetRow, version: u64) {
        let is_used = version == row.version
            || row.window.is_some_and(|window| window.version == version)
            || row.debt.as_ref().is_some_and(|debt| debt.version == version)
            || row.entering.contains(&version);
        if !is_used {
            self.state.delete(tables::snapshot(set, version));
        }
    }

    /// A set's opening: the old window closes, the new one opens on the records as they are now.
    pub(crate) fn turn_window(&mut self, set: SetId) {
        let Some(mut row) = self.set_row(set) else { return };
        let offset = row.offset;
        let Some(next) = self.params().window_at(self.height, offset) else { return };
        if let Some(open) = row.window.take() {
            self.close_window(set, &mut row, &open);
            self.release_snapshot(set, &row, open.version);
            self.put_set(set, &row);
            self.judge(set);
        }
        if next.get().is_multiple_of(self.params().day_windows) {
            self.settle_set(set, row.proven);
            self.judge_days(set);
        }
        // The rules above may have taken records out of the set.
        row = self.set_row(set).expect("sets do not vanish");
        self.pay_contribution(set, &mut row);
        self.put_set(set, &row);
        self.start_counting(set);
        self.refresh_snapshot(set);
        self.open_window(set, next);
    }

    fn close_window(&mut self, set: SetId, row: &mut SetRow, open: &OpenWindow) {
        let beacon = claim::beacon(&self.state, open.opened);
        let day_windows = self.params().day_windows;
        if row.days.is_empty() || open.window.get().is_multiple_of(day_windows) {
            row.days.push(DayCount::default());
            let surplus = row.days.len().saturating_sub(JUDGED_DAYS);
            row.days.drain(..surplus);
        }
        let today = row.days.last_mut().expect("pushed above");
        if open.is_proven {
            today.proven += 1;
            today.due += 1;
            row.missed_in_row = 0;
            let sealed = self.snapshot(set, open.version).sealed_bytes;
            if row.debt.is_some() {
                row.pending += 1;
                row.pending_units = Wide(row.pending_units.0 + u128::from(sealed));
            } else {
                row.proven += 1;
                self.add_units(row, u128::from(sealed));
            }
        } else if let Some(beacon) =
            beacon.filter(|beacon| !calendar::is_void(self.params(), open.opened, beacon))
        {
            today.due += 1;
            row.missed_in_row += 1;
            if row.debt.is_none() {
                let OpenWindow { window, opened, version, .. } = *open;
                row.debt = Some(Debt { window, opened, version, beacon: beacon.signature });
            }
            self.state.emit(Event::Missed { set, window: open.window, in_row: row.missed_in_row });
        } else {
            self.state.emit(Event::Voided { set, window: open.window });
        }
    }

    fn snapshot(&self, set: SetId, version: u64) -> Snapshot {
        self.state.read(&tables::snapshot(set, version)).expect("a window's snapshot stays while it is open")
    }

    /// Windows that open from now on count for the slots whose pieces they contain.
    fn start_counting(&mut self, set: SetId) {
        let Some(mut row) = self.set_row(set).filter(|row| row.has_new_pieces) else { return };
        row.has_new_pieces = false;
        self.put_set(set, &row);
        for (deal, index) in self.slots_in(set) {
            let Some((deal_row, mut slot)) = self.deal_and_slot(deal, index) else { continue };
            let is_held = matches!(slot.state, crate::rows::SlotState::Held { .. });
            if slot.since.is_none() && is_held && deal_row.deleted.is_none() {
                slot.since = Some(row.proven + row.pending);
                self.put_slot(deal, index, &slot);
            }
        }
    }

    /// Freezes records that changed as a new version.
    pub(crate) fn refresh_snapshot(&mut self, set: SetId) {
        let Some(mut row) = self.set_row(set) else { return };
        if !row.is_dirty {
            return;
        }
        let mut records = self.records_row(set);
        for (index, place) in (0..=u16::MAX).zip(&mut records.places) {
            if !core::mem::take(&mut place.is_dirty) {
                continue;
            }
            if !matches!(place.record, Record::Sealed { .. }) {
                let is_empty = place.bundle.pieces().is_empty();
                place.record = if is_empty { Record::Empty } else { place.bundle.record() };
            }
            let index = hpips_types::RecordIndex::new(index);
            records.tree.put(&self.shape, index, &place.record).expect("places are within the set");
        }
        while records
            .places
            .last()
            .is_some_and(|place| place.record == Record::Empty && place.owners.is_empty())
        {
            records.places.pop();
        }
        let mut sealed_bytes = 0;
        let mut layouts = Vec::new();
        for place in &records.places {
            layouts.push(match place.record {
                Record::Empty => RecordLayout::Empty,
                Record::Sealed { .. } => {
                    sealed_bytes += self.shape.sector_bytes();
                    RecordLayout::Sealed
                }
                Record::Bundle { .. } => place.bundle.layout(),
            });
        }
        let snapshot = Snapshot {
            root: records.tree.root(),
            records: records.places.iter().map(|place| place.record).collect(),
            layouts,
            sealed_bytes,
        };
        self.state.put(tables::records(set), &records);
        let old = row.version;
        row.version += 1;
        self.release_snapshot(set, &row, old);
        row.is_dirty = false;
        self.state.put(tables::snapshot(set, row.version), &snapshot);
        self.put_set(set, &row);
    }

    fn open_window(&mut self, set: SetId, window: WindowIndex) {
        let Some(mut row) = self.set_row(set) else { return };
        let Some(snapshot) = self.state.read::<Snapshot>(&tables::snapshot(set, row.version)) else { return };
        let has_bytes = |layout: &RecordLayout| match layout {
            RecordLayout::Empty => false,
            RecordLayout::Sealed => true,
            RecordLayout::Bundle(extents) => extents.iter().any(|extent| extent.bytes > 0),
        };
        if !snapshot.layouts.iter().any(has_bytes) {
            return;
        }
        row.window = Some(OpenWindow {
            window,
            opened: self.height,
            version: row.version,
            commitment: None,
            is_proven: false,
        });
        self.put_set(set, &row);
        self.state.emit(Event::WindowOpened { set, window });
    }
}
