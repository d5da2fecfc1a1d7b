//! Pieces in the bundles of set 0: where they go, how they leave, which slots a set carries.

use hpips_proofs::piece::{PIECE_BYTES_MAX, billed_bytes};
use hpips_proofs::{Element, Record, SetTree};
use hpips_types::{AccountId, DealId, RecordIndex, SetId, SlotIndex};

use crate::error::Failure;
use crate::exec::Exec;
use crate::rows::{PieceOwner, Place, PledgeRow, RecordsRow, SetRow};
use crate::tables;

/// Of set 0 a part of the places stays free for bundles: one in so many.
pub(crate) const BUNDLE_PARTS: u64 = 4;

/// Bytes that the bundles of one provider hold at most.
pub(crate) fn bundle_bytes_max(set_records: u64) -> u64 {
    (set_records / BUNDLE_PARTS).max(1).saturating_mul(PIECE_BYTES_MAX)
}

/// The set that holds a provider's bundles.
pub(crate) fn bundle_set(provider: &AccountId) -> SetId {
    SetId { provider: *provider, number: 0 }
}

impl Exec<'_> {
    pub(crate) fn set_row(&self, set: SetId) -> Option<SetRow> {
        self.state.read(&tables::set(set))
    }

    pub(crate) fn put_set(&mut self, set: SetId, row: &SetRow) {
        self.state.put(tables::set(set), row);
    }

    pub(crate) fn records_row(&self, set: SetId) -> RecordsRow {
        self.state
            .read(&tables::records(set))
            .unwrap_or_else(|| RecordsRow { tree: SetTree::new(&self.shape), places: Vec::new() })
    }

    /// Writes records that changed; the set's next opening sees them.
    pub(crate) fn put_records(&mut self, set: SetId, row: &RecordsRow) {
        self.state.put(tables::records(set), row);
        if let Some(mut set_row) = self.set_row(set)
            && !set_row.is_dirty
        {
            set_row.is_dirty = true;
            self.put_set(set, &set_row);
            if set_row.version == 0 {
                // Its first records: from here on its windows open. A set that was only announced has none.
                self.enter_ring(set, set_row.offset);
            }
        }
    }

    pub(crate) fn pledge_row(&self, provider: &AccountId) -> Option<PledgeRow> {
        self.state.read(&tables::pledge(provider))
    }

    pub(crate) fn put_pledge(&mut self, provider: &AccountId, row: &PledgeRow) {
        self.state.put(tables::pledge(provider), row);
    }

    /// The slots whose pieces lie in a set, in order of record and offset.
    pub(crate) fn slots_in(&self, set: SetId) -> Vec<(DealId, SlotIndex)> {
        if set.number != 0 {
            return Vec::new();
        }
        let places = self.records_row(set).places;
        places.iter().flat_map(|place| &place.owners).map(|owner| (owner.deal, owner.slot)).collect()
    }

    /// Puts a piece at the lowest free place of the provider's bundles, opening another bundle when all are
    /// full.
    ///
    /// # Errors
    /// [`Failure::Full`] when set 0 has no place left, [`Failure::Unknown`] without a set 0.
    pub(crate) fn enter_piece(
        &mut self,
        provider: &AccountId,
        bytes: u64,
        comm_p: Element,
        owner: (DealId, SlotIndex),
    ) -> Result<(RecordIndex, u32), Failure> {
        let set = bundle_set(provider);
        self.set_row(set).ok_or(Failure::Unknown)?;
        let mut row = self.records_row(set);
        let records = self.shape.records();
        for index in 0..=u16::MAX {
            if u32::from(index) >= records {
                break;
            }
            let at = usize::from(index);
            if row.places.len() == at {
                row.places.push(Place::default());
            }
            let place = &mut row.places[at];
            if matches!(place.record, Record::Sealed { .. }) {
                continue;
            }
            let Ok(offset) = place.bundle.add(bytes, comm_p) else { continue };
            let position = place.owners.partition_point(|other| other.offset < offset);
            place.owners.insert(position, PieceOwner { offset, deal: owner.0, slot: owner.1 });
            place.is_dirty = true;
            self.put_records(set, &row);
            let mut set_row = self.set_row(set).ok_or(Failure::Unknown)?;
            set_row.has_new_pieces = true;
            self.put_set(set, &set_row);
            return Ok((RecordIndex::new(index), offset));
        }
        Err(Failure::Full)
    }

    /// Takes pieces out of their bundles; the next opening no longer challenges them. One call for many: the
    /// row is as long as the provider has pieces.
    pub(crate) fn remove_pieces(&mut self, provider: &AccountId, pieces: &[(RecordIndex, u32)]) {
        if pieces.is_empty() {
            return;
        }
        let set = bundle_set(provider);
        let mut row = self.records_row(set);
        for (record, offset) in pieces {
            let place = &mut row.places[usize::from(record.get())];
            place.bundle.remove(*offset).expect("a slot's place holds its piece");
            place.owners.retain(|owner| owner.offset != *offset);
            place.is_dirty = true;
        }
        self.put_records(set, &row);
    }

    /// Counts capacity that a slot takes.
    pub(crate) fn reserve(&mut self, provider: &AccountId, bytes: u64) {
        let billed = billed_bytes(self.params(), bytes);
        let mut pledge = self.pledge_row(provider).expect("only providers hold slots");
        pledge.used_bytes += billed;
        pledge.slots += 1;
        self.put_pledge(provider, &pledge);
    }

    /// Gives capacity back.
    pub(crate) fn release(&mut self, provider: &AccountId, bytes: u64) {
        let billed = billed_bytes(self.params(), bytes);
        let mut pledge = self.pledge_row(provider).expect("only providers hold slots");
        pledge.used_bytes -= billed;
        pledge.slots -= 1;
        self.put_pledge(provider, &pledge);
    }
}
