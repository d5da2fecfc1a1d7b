//! Field elements as they stand in state, transactions and statements.

use core::fmt;

use hpips_crypto::Fr;
use hpips_crypto::field;
use hpips_types::FieldBytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An element of the scalar field of BLS12-381 that is known to be canonical.
///
/// Encoded as its 32 little-endian bytes. Decoding refuses bytes at or above the modulus, so whoever holds
/// an `Element` may compute with it: commitments that come from outside are checked where they are decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Element(Fr);

impl Element {
    /// The zero element: the commitment of an empty place.
    pub const ZERO: Self = Self(<Fr as ark_ff::AdditiveGroup>::ZERO);

    /// Reads canonical bytes; `None` at or above the modulus.
    pub fn from_bytes(bytes: &FieldBytes) -> Option<Self> {
        field::from_bytes(bytes).map(Self)
    }

    /// The canonical little-endian bytes.
    pub fn to_bytes(self) -> FieldBytes {
        field::to_bytes(&self.0)
    }

    /// The number to compute with.
    pub const fn fr(self) -> Fr {
        self.0
    }
}

impl From<Fr> for Element {
    fn from(value: Fr) -> Self {
        Self(value)
    }
}

impl From<Element> for Fr {
    fn from(value: Element) -> Self {
        value.0
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Element({:?})", self.to_bytes())
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = FieldBytes::deserialize(deserializer)?;
        Self::from_bytes(&bytes).ok_or_else(|| serde::de::Error::custom("not below the field's modulus"))
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::cbor;

    use super::*;

    #[test]
    fn only_canonical_bytes_are_elements() {
        let seven = Element::from(Fr::from(7u64));
        let bytes = cbor::encode(&seven);
        assert_eq!(bytes[..3], [0x58, 32, 7]);
        assert_eq!(cbor::decode::<Element>(&bytes, 64).unwrap(), seven);
        assert!(cbor::decode::<Element>(&cbor::encode(&FieldBytes::new([0xff; 32])), 64).is_err());
        assert_eq!(Element::ZERO.to_bytes(), FieldBytes::new([0; 32]));
    }
}
