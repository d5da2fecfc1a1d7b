//! Ed25519 signatures with a domain in every message.
//!
//! What is signed is [`PREFIX`] and the SHA-256 of the domain's length, the domain and the message. One key is
//! a node's account, its libp2p identity and its validator key, so a signature must never be valid for
//! another use: the prefix keeps these apart from handshakes of libp2p and of the consensus engine, the
//! domain keeps our own uses apart from one another.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hpips_types::{AccountId, SignatureBytes};
use sha2::{Digest, Sha256};

/// Starts every signed byte string. Frozen.
pub const PREFIX: &[u8; 18] = b"hpips/signature/v1";

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The account's bytes are no usable public key.
    #[error("not a usable ed25519 public key")]
    Key,
    /// Not this account's signature of this message in this domain.
    #[error("signature does not verify")]
    Invalid,
}

/// An account's secret key. Erased when dropped; it cannot be printed.
#[allow(missing_debug_implementations, reason = "secrets are never printed")]
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
}

impl SecretKey {
    /// The key of a 32-byte seed, which must come from a source of secure randomness. The caller erases its
    /// own copy.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// The account this key signs for.
    pub fn account(&self) -> AccountId {
        AccountId::new(self.key.verifying_key().to_bytes())
    }

    /// Signs a message in a domain (`hpips/<room>/<use>/v1`).
    pub fn sign(&self, domain: &'static str, message: &[u8]) -> SignatureBytes {
        SignatureBytes::new(self.key.sign(&signed_bytes(domain, message)).to_bytes())
    }
}

/// Checks a signature, strictly: keys and commitments of small order and non-canonical signatures are refused,
/// so that nobody but the key's owner can turn one valid signature into another.
///
/// # Errors
/// [`SignatureError`] by variant.
pub fn verify(
    domain: &'static str,
    account: &AccountId,
    message: &[u8],
    signature: &SignatureBytes,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(account.as_bytes()).map_err(|_| SignatureError::Key)?;
    let signature = Signature::from_bytes(signature.as_bytes());
    key.verify_strict(&signed_bytes(domain, message), &signature).map_err(|_| SignatureError::Invalid)
}

fn signed_bytes(domain: &str, message: &[u8]) -> [u8; 50] {
    let length = u64::try_from(domain.len()).expect("a length in memory fits 64 bits");
    let digest = Sha256::new()
        .chain_update(length.to_le_bytes())
        .chain_update(domain)
        .chain_update(message)
        .finalize();
    let mut bytes = [0u8; 50];
    bytes[..18].copy_from_slice(PREFIX);
    bytes[18..].copy_from_slice(&digest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "hpips/test/sign/v1";

    #[test]
    fn signatures_hold_for_their_key_domain_and_message_only() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signature = key.sign(DOMAIN, b"message");
        assert_eq!(verify(DOMAIN, &key.account(), b"message", &signature), Ok(()));
        let other = SecretKey::from_seed(&[8; 32]).account();
        for (domain, account, message) in [
            (DOMAIN, key.account(), &b"massage"[..]),
            (DOMAIN, other, b"message"),
            ("hpips/test/other/v1", key.account(), b"message"),
            ("hpips/test/sign/v1m", key.account(), b"essage"),
        ] {
            assert_eq!(verify(domain, &account, message, &signature), Err(SignatureError::Invalid));
        }
        for byte in 0..64 {
            let mut bytes = signature.to_bytes();
            bytes[byte] ^= 1;
            assert!(
                verify(DOMAIN, &key.account(), b"message", &SignatureBytes::new(bytes)).is_err(),
                "{byte}"
            );
        }
    }

    #[test]
    fn keys_of_small_order_sign_nothing() {
        // The neutral point: a signature of zeros would verify for every message without the strict check.
        let mut neutral = [0u8; 32];
        neutral[0] = 1;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        assert_eq!(
            verify(DOMAIN, &AccountId::new(neutral), b"message", &SignatureBytes::new(signature)),
            Err(SignatureError::Invalid)
        );
        let not_a_point = AccountId::new([0x02; 32]);
        assert_eq!(
            verify(DOMAIN, &not_a_point, b"", &SignatureBytes::new(signature)),
            Err(SignatureError::Key)
        );
    }

    #[test]
    fn signatures_are_frozen() {
        let key = SecretKey::from_seed(&[7; 32]);
        assert_eq!(
            hex::encode(key.account().as_bytes()),
            "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        );
        assert_eq!(
            hex::encode(&key.sign(DOMAIN, b"message").as_bytes()[..]),
            "099e79c5bb29168157179a56d1b55702c0c51d0919ef3cd2b99569cfd51484ade24b029468ab8b36d2984f5c586706e72fe03c00b1670bf84fe841c4080fbe0e"
        );
    }
}
