//! Names of state rows. Every prefix carries a version; numbers are big-endian so that rows sort by them.

use hpips_types::{AccountId, Cid, DayIndex, DealId, Height, ProposalId, SetId, SlotIndex};

use crate::state::Key;

pub(crate) const ACCOUNT: &[u8] = b"account-1/";
pub(crate) const FUND: &[u8] = b"fund-1/";
pub(crate) const DAY: &[u8] = b"day-1/";
pub(crate) const PROPOSAL: &[u8] = b"proposal-1/";
pub(crate) const SLOT: &[u8] = b"slot-1/";
pub(crate) const HEAD: &[u8] = b"head-1";

fn row(prefix: &[u8], parts: &[&[u8]]) -> Key {
    let mut key = prefix.to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

fn set_row(prefix: &[u8], set: SetId, rest: &[u8]) -> Key {
    row(prefix, &[set.provider.as_bytes(), &set.number.to_be_bytes(), rest])
}

/// The one row that every block changes: height, view, base fee, accumulator.
pub(crate) fn head() -> Key {
    HEAD.to_vec()
}

/// Chain id and parameters; never changes.
pub(crate) fn constants() -> Key {
    b"constants-1".to_vec()
}

pub(crate) fn account(id: &AccountId) -> Key {
    row(ACCOUNT, &[id.as_bytes()])
}

pub(crate) fn fund(number: u8) -> Key {
    row(FUND, &[&[number]])
}

pub(crate) fn opening(height: Height) -> Key {
    row(b"opening-1/", &[&height.get().to_be_bytes()])
}

/// What falls due at a height.
pub(crate) fn calendar(height: Height) -> Key {
    row(b"calendar-1/", &[&height.get().to_be_bytes()])
}

/// The sets whose windows open at an offset.
pub(crate) fn ring(offset: u64) -> Key {
    row(b"ring-1/", &[&offset.to_be_bytes()])
}

pub(crate) fn pledge(provider: &AccountId) -> Key {
    row(b"pledge-1/", &[provider.as_bytes()])
}

/// All accounts that proved sealed space and did not take their pledge back, ascending.
pub(crate) fn providers() -> Key {
    b"providers-1".to_vec()
}

pub(crate) fn batch(provider: &AccountId, batch: u64) -> Key {
    row(b"batch-1/", &[provider.as_bytes(), &batch.to_be_bytes()])
}

pub(crate) fn set(set: SetId) -> Key {
    set_row(b"set-1/", set, &[])
}

pub(crate) fn records(set: SetId) -> Key {
    set_row(b"records-1/", set, &[])
}

pub(crate) fn snapshot(set: SetId, version: u64) -> Key {
    set_row(b"snapshot-1/", set, &version.to_be_bytes())
}

pub(crate) fn proposal(id: ProposalId) -> Key {
    row(PROPOSAL, &[&id.get().to_be_bytes()])
}

pub(crate) fn deal(id: DealId) -> Key {
    row(b"deal-1/", &[&id.get().to_be_bytes()])
}

pub(crate) fn slot(deal: DealId, slot: SlotIndex) -> Key {
    row(SLOT, &[&deal.get().to_be_bytes(), &slot.get().to_be_bytes()])
}

/// The live deals of a root.
pub(crate) fn root(root: &Cid) -> Key {
    row(b"root-1/", &[&root.to_bytes()])
}

/// The proposals and live deals of a client.
pub(crate) fn client(id: &AccountId) -> Key {
    row(b"client-1/", &[id.as_bytes()])
}

/// Slots that are offered to a provider, or that it is entering.
pub(crate) fn offers(provider: &AccountId) -> Key {
    row(b"offers-1/", &[provider.as_bytes()])
}

pub(crate) fn day(day: DayIndex) -> Key {
    row(DAY, &[&day.get().to_be_bytes()])
}
