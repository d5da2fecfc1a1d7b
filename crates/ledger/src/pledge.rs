//! Pledges: offering space and taking the offer back.

use hpips_proofs::Record;
use hpips_types::{AccountId, Height, SetId, TokenAmount};

use crate::error::Failure;
use crate::event::Event;
use crate::exec::Exec;
use crate::operation::{ADDRESSES_MAX, NAME_BYTES_MAX, Pledge};
use crate::rows::PledgeRow;
use crate::tables;

impl Exec<'_> {
    /// `Operation::Pledge`.
    pub(crate) fn pledge(&mut self, from: &AccountId, terms: &Pledge) -> Result<(), Failure> {
        let fits = terms.ask > TokenAmount::ZERO
            && terms.addresses.len() <= ADDRESSES_MAX
            && terms.addresses.iter().chain([&terms.operator]).all(|text| text.len() <= NAME_BYTES_MAX);
        if !fits {
            return Err(Failure::Range);
        }
        let old = self.pledge_row(from);
        let row = match old {
            Some(old) => PledgeRow { terms: terms.clone(), is_leaving: false, ..old },
            None => PledgeRow {
                terms: terms.clone(),
                sealed_bytes: 0,
                used_bytes: 0,
                slots: 0,
                locked: TokenAmount::ZERO,
                sets: 0,
                next_batch: 0,
                next_sector: 0,
                closed_until: Height::ZERO,
                is_leaving: false,
            },
        };
        self.put_pledge(from, &row);
        self.state.emit(Event::Pledged { provider: *from });
        Ok(())
    }

    /// Makes a provider one that draws look at: once it has proven sealed space. A pledge alone costs nothing
    /// and holds nothing, so a list of pledges could be made as long as one likes.
    pub(crate) fn list_provider(&mut self, provider: &AccountId) {
        let mut listed: Vec<AccountId> = self.state.read(&tables::providers()).unwrap_or_default();
        if let Err(at) = listed.binary_search(provider) {
            listed.insert(at, *provider);
            self.state.put(tables::providers(), &listed);
        }
    }

    /// `Operation::Unpledge`.
    pub(crate) fn unpledge(&mut self, from: &AccountId) -> Result<(), Failure> {
        let mut row = self.pledge_row(from).filter(|row| !row.is_leaving).ok_or(Failure::NoPledge)?;
        let mut listed: Vec<AccountId> = self.state.read(&tables::providers()).unwrap_or_default();
        listed.retain(|other| other != from);
        self.state.put(tables::providers(), &listed);
        row.is_leaving = true;
        row.sealed_bytes = 0;
        self.put_pledge(from, &row);
        for number in 0..row.sets {
            let set = SetId { provider: *from, number };
            let mut records = self.records_row(set);
            let mut has_sealed = false;
            for place in &mut records.places {
                if matches!(place.record, Record::Sealed { .. }) {
                    place.record = Record::Empty;
                    place.is_dirty = true;
                    has_sealed = true;
                }
            }
            if has_sealed {
                self.put_records(set, &records);
            }
        }
        self.state.emit(Event::Unpledged { provider: *from });
        Ok(())
    }
}
