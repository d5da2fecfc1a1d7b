//! Sealed sectors: pre-commitment and activation.

use hpips_proofs::{Record, batch_root};
use hpips_types::{AccountId, SetId};

use crate::calendar::OPENING_WINDOWS;
use crate::claim;
use crate::error::Failure;
use crate::event::Event;
use crate::exec::Exec;
use crate::operation::{PreCommit, SECTORS_MAX};
use crate::piece::BUNDLE_PARTS;
use crate::rows::{BatchRow, Due, Place, SetRow};
use crate::tables;

/// Sets of one provider at most: 2 PiB on the main network.
const SETS_MAX: u32 = 1_024;

/// The offset of a set's openings: drawn from its name, so that openings spread evenly.
fn offset(set: SetId, window_blocks: u64, step: u64) -> u64 {
    let parts: [&[u8]; 2] = [set.provider.as_bytes(), &set.number.to_le_bytes()];
    hpips_crypto::draw::Draw::new("hpips/ledger/offset/v1", &parts).below(window_blocks / step) * step
}

impl Exec<'_> {
    /// Places of a set that sealed sectors may take: set 0 keeps a part for bundles.
    fn sealed_places(&self, set: SetId) -> u64 {
        let records = self.params().set_records();
        if set.number == 0 { records - records / BUNDLE_PARTS } else { records }
    }

    fn sealed_count(&self, set: SetId) -> u64 {
        let places = self.records_row(set).places;
        let count = places.iter().filter(|place| matches!(place.record, Record::Sealed { .. })).count();
        u64::try_from(count).expect("at most 4,096")
    }

    /// `Operation::PreCommit`.
    pub(crate) fn pre_commit(&mut self, from: &AccountId, announced: &PreCommit) -> Result<(), Failure> {
        let mut pledge = self.pledge_row(from).filter(|row| !row.is_leaving).ok_or(Failure::NoPledge)?;
        let set = SetId { provider: *from, number: announced.set };
        let count = announced.sectors.len();
        if count == 0 || count > SECTORS_MAX || set.number > pledge.sets || set.number >= SETS_MAX {
            return Err(Failure::Range);
        }
        let wanted = u64::try_from(count).expect("at most 64");
        if self.sealed_count(set) + wanted > self.sealed_places(set) {
            return Err(Failure::Full);
        }
        for sector in &announced.sectors {
            if sector.number < pledge.next_sector {
                return Err(Failure::SectorNumber);
            }
            pledge.next_sector = sector.number.checked_add(1).ok_or(Failure::Range)?;
        }
        let sealed = claim::sectors(&self.state, from, announced)?;
        let root = batch_root(&self.shape, &sealed).map_err(|_| Failure::Range)?;
        let batch = pledge.next_batch;
        pledge.next_batch += 1;
        if set.number == pledge.sets {
            pledge.sets += 1;
            let offset = offset(set, self.params().window_blocks, self.params().offset_blocks);
            let row = SetRow { offset, ..SetRow::default() };
            self.put_set(set, &row);
        }
        self.put_pledge(from, &pledge);
        let seed = self.opening_from(self.height.plus(self.params().activation_seed_blocks));
        let deadline = seed.plus(OPENING_WINDOWS / 2 * self.params().window_blocks);
        let records = sealed.iter().map(|sector| sector.record(&self.shape)).collect();
        let row = BatchRow { set, payee: pledge.terms.payee, root, records, seed, deadline };
        self.state.put(tables::batch(from, batch), &row);
        self.schedule(deadline.next(), Due::Batch { provider: *from, batch });
        let sectors = u16::try_from(count).expect("at most 64");
        self.state.emit(Event::PreCommitted { set, batch, sectors, seed });
        Ok(())
    }

    /// `Operation::Activate`; `is_true`: whether all its proofs are.
    pub(crate) fn activate(&mut self, from: &AccountId, batch: u64, is_true: bool) -> Result<(), Failure> {
        let key = tables::batch(from, batch);
        let row: BatchRow = self.state.read(&key).ok_or(Failure::Unknown)?;
        if !is_true {
            return Err(Failure::Proof);
        }
        let mut pledge = self.pledge_row(from).filter(|row| !row.is_leaving).ok_or(Failure::NoPledge)?;
        let count = u64::try_from(row.records.len()).expect("at most 64");
        if self.sealed_count(row.set) + count > self.sealed_places(row.set) {
            return Err(Failure::Full);
        }
        let mut set = self.records_row(row.set);
        let mut at = 0;
        for record in row.records {
            while set.places.get(at).is_some_and(|place| !is_free(place)) {
                at += 1;
            }
            if set.places.len() == at {
                set.places.push(Place::default());
            }
            if at >= usize::try_from(self.shape.records()).expect("at most 4,096") {
                return Err(Failure::Full);
            }
            set.places[at] = Place { record, is_dirty: true, ..Place::default() };
        }
        self.put_records(row.set, &set);
        let bytes = count * self.params().sector_bytes();
        if pledge.sealed_bytes == 0 {
            self.list_provider(from);
        }
        pledge.sealed_bytes += bytes;
        self.put_pledge(from, &pledge);
        self.state.delete(key);
        self.state.emit(Event::Activated { set: row.set, batch, bytes });
        Ok(())
    }

    /// A batch that was not proven in time is forgotten; its sector numbers stay used.
    pub(crate) fn expire_batch(&mut self, provider: &AccountId, batch: u64) {
        self.state.delete(tables::batch(provider, batch));
    }
}

fn is_free(place: &Place) -> bool {
    place.record == Record::Empty && place.owners.is_empty()
}
