//! Identifiers of accounts, chains, deals and proving sets.

use core::fmt;
use core::str::FromStr;

use crate::macros::{byte_string, integer};

byte_string! {
    /// An ed25519 public key. One key is a node's account, its libp2p identity and its validator key.
    AccountId(32)
}
byte_string! {
    /// The digest of the genesis block: names a chain and is part of everything signed for it.
    ChainId(32)
}
byte_string! {
    /// SHA-256 over a signed transaction's dag-cbor.
    TxId(32)
}
integer! {
    /// A deal, numbered by the ledger in order of proposal.
    DealId(u64)
}
integer! {
    /// A proposal; an activated proposal's deal has the same number.
    ProposalId(u64)
}

/// A proving set: up to 4,096 records of one provider that are proven together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SetId {
    /// Who proves.
    pub provider: AccountId,
    /// Which of the provider's sets, from 0.
    pub number: u32,
}

/// Human-readable part of an account's address.
const ADDRESS_PREFIX: bech32::Hrp = bech32::Hrp::parse_unchecked("hp");

impl fmt::Display for AccountId {
    /// Bech32m with prefix `hp` (BIP-350).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<bech32::Bech32m, _>(f, ADDRESS_PREFIX, self.as_bytes())
            .map_err(|_| fmt::Error)
    }
}

/// Why a text is not an account's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Wrong prefix, characters or checksum.
    #[error("not an hp1 address: prefix, characters or checksum are wrong")]
    Malformed,
    /// Right form, wrong number of bytes.
    #[error("not an hp1 address: {0} bytes instead of 32")]
    Length(usize),
}

impl FromStr for AccountId {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text)
            .map_err(|_| AddressError::Malformed)?;
        if checked.hrp() != ADDRESS_PREFIX {
            return Err(AddressError::Malformed);
        }
        let bytes: Vec<u8> = checked.byte_iter().collect();
        Self::from_slice(&bytes).ok_or(AddressError::Length(bytes.len()))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_and_refuse_typos() {
        let id = AccountId::new([7; 32]);
        let text = id.to_string();
        assert!(text.starts_with("hp1"), "{text}");
        assert_eq!(text.parse(), Ok(id));
        let wrong = text.replace('p', "q");
        assert_eq!(wrong.parse::<AccountId>(), Err(AddressError::Malformed));
        assert_eq!("".parse::<AccountId>(), Err(AddressError::Malformed));
    }
}
