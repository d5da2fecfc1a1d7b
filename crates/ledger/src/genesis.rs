//! Genesis: the first state of a chain, and what names the chain.

use std::collections::BTreeMap;

use hpips_proofs::Shape;
use hpips_proofs::shape::ShapeError;
use hpips_types::content::sha256;
use hpips_types::{AccountId, ChainId, GroupKey, Height, NetworkParams, ProposalId, TokenAmount, View, cbor};
use serde::{Deserialize, Serialize};

use crate::money::Wide;
use crate::rows::{Account, Constants, Fund, Head};
use crate::state::{Key, Value};
use crate::tables;

/// Version of [`Genesis`].
pub const GENESIS_VERSION: u8 = 1;
/// Bytes of an encoded genesis at most.
pub const GENESIS_BYTES_MAX: usize = 1 << 20;

/// Everything two nodes must agree on before the first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// [`GENESIS_VERSION`].
    pub version: u8,
    /// Parameters.
    pub params: NetworkParams,
    /// The committee's key.
    pub group_key: GroupKey,
    /// The first committee, ascending.
    pub validators: Vec<AccountId>,
    /// Accounts that get coins of the operations fund; on test networks only.
    pub accounts: Vec<Grant>,
    /// Any text: makes two networks with equal parameters two chains.
    pub salt: String,
}

/// Coins for an account at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who; a faucet is an account like any other.
    pub account: AccountId,
    /// How much.
    pub amount: TokenAmount,
}

/// Why a genesis gives no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Made by other rules.
    #[error("genesis version {0} is not known here")]
    Version(u8),
    /// Parameters contradict one another.
    #[error("parameter {0} is out of its range")]
    Params(&'static str),
    /// No circuit has such sizes.
    #[error("parameters give no circuit")]
    Shape(#[source] ShapeError),
    /// Validators are missing, doubled or not ascending.
    #[error("validators are missing, doubled or not ascending")]
    Validators,
    /// Only test networks hand out coins.
    #[error("only networks named test-... hand out coins at genesis")]
    Grants,
    /// The operations fund has less, or an account stands twice.
    #[error("grants exceed the operations fund or name an account twice")]
    GrantsTooLarge,
}

impl Genesis {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// What names the chain: the digest of the canonical bytes.
    pub fn chain_id(&self) -> ChainId {
        ChainId::new(sha256(&self.encode()).to_bytes())
    }

    /// Coins of a fund after the grants.
    pub fn fund(&self, fund: Fund) -> TokenAmount {
        let share = TokenAmount::new(TokenAmount::SUPPLY.get() / 100 * fund.percent());
        if fund == Fund::Operations { share.saturating_sub(self.granted()) } else { share }
    }

    fn granted(&self) -> TokenAmount {
        self.accounts.iter().fold(TokenAmount::ZERO, |sum, grant| {
            sum.checked_add(grant.amount).unwrap_or(TokenAmount::new(u64::MAX))
        })
    }

    /// Checks what parameters and lists must be for a chain to run.
    ///
    /// # Errors
    /// [`GenesisError`] by variant.
    pub fn check(&self) -> Result<(), GenesisError> {
        let params = &self.params;
        if self.version != GENESIS_VERSION {
            return Err(GenesisError::Version(self.version));
        }
        for (name, holds) in [
            ("window_blocks", params.window_blocks > 0),
            (
                "offset_blocks",
                params.offset_blocks > 0 && params.window_blocks.is_multiple_of(params.offset_blocks.max(1)),
            ),
            ("lag_views", params.lag_views > 0),
            ("commit_blocks", params.commit_blocks > 0 && params.commit_blocks < params.window_blocks),
            ("day_windows", params.day_windows > 0),
            ("fault_first_windows", params.fault_first_windows > 0),
            ("fault_second_windows", params.fault_second_windows >= params.fault_first_windows),
            ("open_per_sealed", params.open_per_sealed > 0),
            ("activate_blocks", params.activate_blocks > 0),
            ("reward_full_bytes", params.reward_full_bytes > 0),
            ("reward_divisor", params.reward_divisor > 0),
            ("base_fee_min", params.base_fee_min > TokenAmount::ZERO),
            ("block_ms", params.block_ms > 0),
        ] {
            if !holds {
                return Err(GenesisError::Params(name));
            }
        }
        Shape::of(params).map_err(GenesisError::Shape)?;
        if self.validators.is_empty() || self.validators.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(GenesisError::Validators);
        }
        if !self.accounts.is_empty() && !params.is_test() {
            return Err(GenesisError::Grants);
        }
        let mut named: Vec<AccountId> = self.accounts.iter().map(|grant| grant.account).collect();
        named.sort_unstable();
        let operations = TokenAmount::SUPPLY.get() / 100 * Fund::Operations.percent();
        if named.windows(2).any(|pair| pair[0] == pair[1]) || self.granted().get() > operations {
            return Err(GenesisError::GrantsTooLarge);
        }
        Ok(())
    }

    /// The rows of the first state, height 0.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn state(&self) -> Result<BTreeMap<Key, Value>, GenesisError> {
        self.check()?;
        let mut rows = BTreeMap::new();
        for fund in Fund::ALL {
            rows.insert(tables::fund(fund.number()), cbor::encode(&self.fund(fund)));
        }
        for grant in &self.accounts {
            let account = Account { balance: grant.amount, ..Account::default() };
            rows.insert(tables::account(&grant.account), cbor::encode(&account));
        }
        let head = Head {
            height: Height::ZERO,
            view: View::ZERO,
            base_fee: self.params.base_fee_min,
            circulating: self.granted(),
            holder_rate: Wide(0),
            holder_rest: Wide(0),
            holder_pool: TokenAmount::ZERO,
            holder_carried: TokenAmount::ZERO,
            next_proposal: ProposalId::new(1),
        };
        rows.insert(tables::head(), cbor::encode(&head));
        let constants = Constants { chain: self.chain_id(), params: self.params.clone() };
        rows.insert(tables::constants(), cbor::encode(&constants));
        Ok(rows)
    }
}
