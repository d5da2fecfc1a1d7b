//! Fees: a base fee a byte that follows demand, tips, and the newcomers' lane.

use hpips_types::{NetworkParams, TokenAmount};

use crate::account::with_share;
use crate::body::BODY_BYTES_MAX;
use crate::error::Refused;
use crate::exec::Exec;
use crate::money;
use crate::operation::Operation;
use crate::rows::{Account, Fund, Head};
use crate::transaction::{EXPIRY_BLOCKS_MAX, Transaction};

/// Bytes of transactions in a block at most: a quarter stays for commitments and proofs.
pub(crate) const TRANSACTION_BYTES_MAX: usize = BODY_BYTES_MAX / 4 * 3;
/// The base fee rises above and falls below so many bytes a block.
pub(crate) const TRANSACTION_BYTES_TARGET: u64 = TRANSACTION_BYTES_MAX as u64 / 2;
/// Bytes of a block that newcomers' transactions may take without paying at once.
pub(crate) const OWED_BYTES_MAX: usize = 32 * 1024;
/// What one newcomer may owe: a bound on how many free bytes a made-up account gets.
pub(crate) const OWED_MAX: TokenAmount = TokenAmount::new(1_000_000);

/// The base fee after a block with so many bytes of transactions. Moves by at most an eighth, by at least one
/// nano above the target, and never below the network's least.
pub(crate) fn next_base_fee(params: &NetworkParams, base_fee: TokenAmount, bytes: u64) -> TokenAmount {
    let fee = base_fee.get();
    let target = TRANSACTION_BYTES_TARGET;
    let moved = |distance: u64| {
        let step = u128::from(fee) * u128::from(distance.min(target)) / u128::from(target) / 8;
        u64::try_from(step).expect("an eighth of 64 bits")
    };
    let next = if bytes > target {
        fee.saturating_add(moved(bytes - target).max(1))
    } else {
        fee - moved(target - bytes)
    };
    TokenAmount::new(next).clamp(params.base_fee_min, TokenAmount::SUPPLY)
}

/// The fee of so many bytes at a base fee, saturating at the supply.
pub fn base_fee_of(base_fee: TokenAmount, bytes: usize) -> TokenAmount {
    let bytes = u64::try_from(bytes).expect("a length in memory fits 64 bits");
    TokenAmount::new(base_fee.get().saturating_mul(bytes)).min(TokenAmount::SUPPLY)
}

/// How a transaction pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payment {
    /// Out of the balance: base fee, tip.
    Now { base: TokenAmount, tip: TokenAmount },
    /// Out of the first reward; no tip.
    Owed { base: TokenAmount },
}

impl Payment {
    pub(crate) fn total(self) -> TokenAmount {
        match self {
            Self::Now { base, tip } => money::add(base, tip),
            Self::Owed { base } => base,
        }
    }
}

/// Whether a newcomer without coins may send it: it pledges and seals, and does nothing else.
fn is_first_step(transaction: &Transaction) -> bool {
    transaction
        .ops
        .iter()
        .all(|op| matches!(op, Operation::Pledge(_) | Operation::PreCommit(_) | Operation::Activate { .. }))
}

/// Checks that a transaction of `bytes` may stand in a block at `height` of a state, and says how it pays.
/// `expected` is the sender's next nonce there.
pub(crate) fn admit(
    head: &Head,
    account: &Account,
    transaction: &Transaction,
    bytes: usize,
    height: hpips_types::Height,
) -> Result<Payment, Refused> {
    let Transaction { expires, from, .. } = *transaction;
    if expires < height || expires.get() > height.get().saturating_add(EXPIRY_BLOCKS_MAX) {
        return Err(Refused::Expired { expires, height });
    }
    if transaction.nonce != account.nonce {
        return Err(Refused::Nonce { got: transaction.nonce, expected: account.nonce });
    }
    let (account, _) = with_share(*account, head);
    let base = base_fee_of(head.base_fee, bytes);
    let fee = base.checked_add(transaction.tip).unwrap_or(TokenAmount::SUPPLY);
    if fee > transaction.max_fee {
        return Err(Refused::FeeTooLow { fee, max_fee: transaction.max_fee });
    }
    if fee <= account.balance {
        return Ok(Payment::Now { base, tip: transaction.tip });
    }
    if !is_first_step(transaction) || transaction.tip > TokenAmount::ZERO {
        return Err(Refused::Balance { account: from, balance: account.balance, fee });
    }
    if account.owed.checked_add(base).is_none_or(|owed| owed > OWED_MAX) {
        return Err(Refused::OwedTooMuch(from));
    }
    Ok(Payment::Owed { base })
}

impl Exec<'_> {
    /// Takes the fee of an admitted transaction and counts it.
    pub(crate) fn take_fee(&mut self, transaction: &Transaction, payment: Payment) {
        let from = transaction.from;
        let mut account = self.account(&from);
        account.nonce += 1;
        match payment {
            Payment::Now { base, tip } => {
                self.put_account(&from, &account);
                self.debit(&from, money::add(base, tip)).expect("an admitted transaction can pay");
                self.fund_credit(Fund::Community, base);
                let proposer = self.proposer;
                self.credit(&proposer, tip);
            }
            Payment::Owed { base } => {
                account.owed = money::add(account.owed, base);
                self.put_account(&from, &account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_fee_follows_demand_by_an_eighth_at_most() {
        let params = NetworkParams::dev();
        let full = TRANSACTION_BYTES_TARGET * 2;
        for (fee, bytes, expected) in [
            (1, 0, 1),
            (1, full, 2),
            (1, TRANSACTION_BYTES_TARGET, 1),
            (800, full, 900),
            (800, 0, 700),
            (800, TRANSACTION_BYTES_TARGET, 800),
            (800, TRANSACTION_BYTES_TARGET + 1, 801),
            (TokenAmount::SUPPLY.get(), full, TokenAmount::SUPPLY.get()),
        ] {
            assert_eq!(
                next_base_fee(&params, TokenAmount::new(fee), bytes).get(),
                expected,
                "{fee} at {bytes}"
            );
        }
    }
}
