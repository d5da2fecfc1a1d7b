//! Proofs as bytes, and the trait through which the ledger has them checked.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::statement::Statement;

/// A compressed Groth16 proof over BLS12-381: A and C in G1, B in G2. Not verified, not even on the curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofBytes([u8; Self::LEN]);

impl ProofBytes {
    /// Length in bytes.
    pub const LEN: usize = 192;

    /// Wraps bytes.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Reads exactly [`Self::LEN`] bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl core::fmt::Debug for ProofBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ProofBytes({:02x?}..)", &self.0[..8])
    }
}

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::Bytes::new(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::<{ Self::LEN }>::deserialize(deserializer)
            .map(|bytes| Self(bytes.into_array()))
    }
}

/// Checks proofs against statements. Implemented in `circuits`, joined in `node`; the ledger sees proofs only
/// through it.
///
/// Callers may rely on: the answer depends on statement and proof alone, never on the other items of the
/// call; malformed bytes, points off the curve and impossible statements are `false`, never a panic.
pub trait ProofVerifier: Send + Sync {
    /// Verifies many proofs together; one verdict each, in order.
    fn verify(&self, items: &[(Statement, ProofBytes)]) -> Vec<bool>;
}
