//! Conservation: coins are neither made nor lost.

use hpips_types::{TokenAmount, cbor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::rows::{Account, Day, Head, ProposalRow, Slot};
use crate::state::{Changes, Key, StateView, Value};
use crate::tables;

/// The coins in one row.
///
/// # Panics
/// When the row is not what the ledger wrote.
fn coins(key: &[u8], value: &[u8]) -> u128 {
    fn row<T: Serialize + DeserializeOwned>(value: &[u8]) -> T {
        cbor::decode(value, usize::MAX).expect("state rows are written by the ledger")
    }
    let sum = |amounts: &[TokenAmount]| amounts.iter().map(|amount| u128::from(amount.get())).sum();
    if key.starts_with(tables::ACCOUNT) {
        sum(&[row::<Account>(value).balance])
    } else if key.starts_with(tables::FUND) {
        sum(&[row::<TokenAmount>(value)])
    } else if key.starts_with(tables::SLOT) {
        let slot: Slot = row(value);
        sum(&[slot.escrow, slot.collateral, slot.repair_pot])
    } else if key.starts_with(tables::PROPOSAL) {
        let proposal: ProposalRow = row(value);
        let holders = proposal.draw.into_iter().flat_map(|draw| draw.holders);
        u128::from(proposal.deposit.get())
            + holders.map(|holder| u128::from(holder.collateral.get())).sum::<u128>()
    } else if key.starts_with(tables::DAY) {
        let day: Day = row(value);
        sum(&[day.coin_holders, day.reward_left])
    } else if key == tables::HEAD {
        sum(&[row::<Head>(value).holder_pool])
    } else {
        0
    }
}

/// All coins in a whole state, in nano; always the supply.
pub fn total<'a>(rows: impl IntoIterator<Item = (&'a Key, &'a Value)>) -> u128 {
    rows.into_iter().map(|(key, value)| coins(key, value)).sum()
}

/// Asserts that changed rows hold as many coins as before. With genesis holding the supply, so does every
/// state.
///
/// # Panics
/// When they do not: a rule is wrong, and going on would make the error final.
pub(crate) fn assert_conserved(view: &dyn StateView, changes: &Changes) {
    let (mut before, mut after) = (0u128, 0u128);
    for (key, value) in changes {
        before += view.get(key).map_or(0, |value| coins(key, &value));
        after += value.as_ref().map_or(0, |value| coins(key, value));
    }
    assert_eq!(before, after, "a block made or lost coins");
}
