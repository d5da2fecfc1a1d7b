//! Accounts, funds, and the coin holders' share: a reward-per-unit accumulator, O(1) an account.

use hpips_types::{AccountId, TokenAmount};

use crate::error::Failure;
use crate::event::{Event, PayReason};
use crate::exec::Exec;
use crate::money::{self, SCALE_BITS, Wide, mul_div, mul_scaled};
use crate::rows::{Account, Fund, Head};
use crate::state::{StateView, read};
use crate::tables;

/// Below so many circulating nano the coin holders' tenth is carried: a rate over almost nobody would give
/// the first accounts everything.
pub(crate) const CIRCULATING_MIN: TokenAmount = TokenAmount::from_coins(1_000);

/// An account with the share of the holders' reward it has not drawn yet, and that share.
pub(crate) fn with_share(mut account: Account, head: &Head) -> (Account, TokenAmount) {
    let steps = head.holder_rate.0 - account.checkpoint.0;
    let (mut whole, mut part) = mul_scaled(u128::from(account.balance.get()), steps);
    part += u128::from(account.fraction);
    whole += part >> SCALE_BITS;
    part &= (1 << SCALE_BITS) - 1;
    let share = money::nano(whole);
    account.balance = money::add(account.balance, share);
    account.fraction = u64::try_from(part).expect("below 2^48");
    account.checkpoint = head.holder_rate;
    (account, share)
}

/// An account of a state whose head is given; one that was never used has nothing and no part in earlier
/// rewards.
pub(crate) fn account_of(view: &dyn StateView, head: &Head, id: &AccountId) -> Account {
    read(view, &tables::account(id)).unwrap_or(Account { checkpoint: head.holder_rate, ..Account::default() })
}

impl Exec<'_> {
    /// The account, with its share drawn.
    pub(crate) fn account(&mut self, id: &AccountId) -> Account {
        let (account, share) = with_share(account_of(&self.state, &self.head, id), &self.head);
        if share == TokenAmount::ZERO {
            return account;
        }
        self.head.holder_pool = money::sub(self.head.holder_pool, share);
        self.head.circulating = money::add(self.head.circulating, share);
        self.state.put(tables::account(id), &account);
        account
    }

    pub(crate) fn put_account(&mut self, id: &AccountId, account: &Account) {
        self.state.put(tables::account(id), account);
    }

    /// Adds coins that were taken from elsewhere.
    pub(crate) fn credit(&mut self, id: &AccountId, amount: TokenAmount) {
        if amount == TokenAmount::ZERO {
            return;
        }
        let mut account = self.account(id);
        account.balance = money::add(account.balance, amount);
        self.head.circulating = money::add(self.head.circulating, amount);
        self.put_account(id, &account);
    }

    /// Takes coins that go elsewhere.
    ///
    /// # Errors
    /// [`Failure::Balance`] when there are fewer.
    pub(crate) fn debit(&mut self, id: &AccountId, amount: TokenAmount) -> Result<(), Failure> {
        let mut account = self.account(id);
        account.balance = account.balance.checked_sub(amount).ok_or(Failure::Balance)?;
        self.head.circulating = money::sub(self.head.circulating, amount);
        self.put_account(id, &account);
        Ok(())
    }

    /// Pays an earning: fees that the account still owes are taken out first.
    pub(crate) fn pay(&mut self, id: &AccountId, amount: TokenAmount, reason: PayReason) {
        if amount == TokenAmount::ZERO {
            return;
        }
        self.credit(id, amount);
        let mut account = self.account(id);
        let due = account.owed.min(amount);
        if due > TokenAmount::ZERO {
            account.owed = money::sub(account.owed, due);
            account.balance = money::sub(account.balance, due);
            self.head.circulating = money::sub(self.head.circulating, due);
            self.put_account(id, &account);
            self.fund_credit(Fund::Community, due);
        }
        self.state.emit(Event::Paid { account: *id, amount, reason });
    }

    pub(crate) fn fund(&self, fund: Fund) -> TokenAmount {
        self.state.read(&tables::fund(fund.number())).unwrap_or_default()
    }

    pub(crate) fn fund_credit(&mut self, fund: Fund, amount: TokenAmount) {
        let balance = money::add(self.fund(fund), amount);
        self.state.put(tables::fund(fund.number()), &balance);
    }

    /// Takes from the community fund; only the daily reward does.
    pub(crate) fn fund_debit(&mut self, fund: Fund, amount: TokenAmount) {
        let balance = money::sub(self.fund(fund), amount);
        self.state.put(tables::fund(fund.number()), &balance);
    }

    /// `Operation::Transfer`.
    pub(crate) fn transfer(
        &mut self,
        from: &AccountId,
        to: &AccountId,
        amount: TokenAmount,
    ) -> Result<(), Failure> {
        if amount == TokenAmount::ZERO {
            return Err(Failure::Range);
        }
        self.debit(from, amount)?;
        self.credit(to, amount);
        self.state.emit(Event::Transferred { from: *from, to: *to, amount });
        Ok(())
    }

    /// Spreads coins over all circulating ones. They are in `holder_pool` from here on, drawn or not.
    pub(crate) fn distribute(&mut self, amount: TokenAmount) {
        let head = &mut self.head;
        head.holder_pool = money::add(head.holder_pool, amount);
        let waiting = money::add(head.holder_carried, amount);
        if head.circulating < CIRCULATING_MIN {
            head.holder_carried = waiting;
            return;
        }
        head.holder_carried = TokenAmount::ZERO;
        let circulating = u128::from(head.circulating.get());
        let scaled = (u128::from(waiting.get()) << SCALE_BITS) + head.holder_rest.0;
        let (step, rest) = mul_div(scaled, 1, circulating);
        head.holder_rate = Wide(head.holder_rate.0 + step);
        head.holder_rest = Wide(rest);
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::{GroupKey, Height, NetworkParams, View};

    use super::*;
    use crate::body::BlockContext;
    use crate::genesis::{GENESIS_VERSION, Genesis, Grant};

    #[test]
    fn what_few_coins_cannot_carry_waits_for_more() {
        let id = AccountId::new([1; 32]);
        let genesis = Genesis {
            version: GENESIS_VERSION,
            params: NetworkParams::dev(),
            group_key: GroupKey::new([0; 96]),
            validators: vec![id],
            accounts: vec![Grant { account: id, amount: TokenAmount::from_coins(999) }],
            salt: String::new(),
        };
        let state = genesis.state().unwrap();
        let ctx = BlockContext { height: Height::new(1), view: View::new(1), proposer: id };
        let mut exec = Exec::new(&state, &ctx);
        exec.distribute(TokenAmount::new(700));
        exec.distribute(TokenAmount::new(300));
        assert_eq!((exec.head.holder_rate, exec.head.holder_carried.get()), (Wide(0), 1_000));
        // The thousandth coin: all that was carried is spread, over all of them.
        exec.credit(&id, TokenAmount::from_coins(1));
        exec.distribute(TokenAmount::new(1_000_000));
        let circulating = 1_000u128 * 1_000_000_000;
        let scaled = 1_001_000u128 << SCALE_BITS;
        assert_eq!(exec.head.holder_rate, Wide(scaled / circulating));
        assert_eq!(exec.head.holder_rest, Wide(scaled % circulating));
        assert_eq!((exec.head.holder_carried.get(), exec.head.holder_pool.get()), (0, 1_001_000));
        assert_eq!(
            exec.account(&id).balance.get(),
            1_000_000_000_000 + 1_000_999,
            "less than a nano is kept"
        );
        assert_eq!(exec.head.holder_pool.get(), 1);
        // The next distribution has the rest in it: after it nothing is missing.
        exec.distribute(TokenAmount::ZERO);
        assert!(exec.head.holder_rest.0 < circulating);
    }
}
