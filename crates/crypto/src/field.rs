//! Elements of the scalar field of BLS12-381 and their bytes.

use ark_ff::{BigInt, BigInteger, PrimeField};
use hpips_types::FieldBytes;

use crate::Fr;
use crate::draw::Draw;

/// Bytes of data in one element: the most that always stay below the modulus.
pub const ELEMENT_DATA_BYTES: usize = 31;

/// Canonical little-endian bytes.
pub fn to_bytes(element: &Fr) -> FieldBytes {
    FieldBytes::new(integer_bytes(&element.into_bigint()))
}

/// The element with these bytes; `None` at the modulus and above, so that an element has one encoding only.
pub fn from_bytes(bytes: &FieldBytes) -> Option<Fr> {
    Fr::from_bigint(integer(bytes.as_bytes()))
}

/// The integer of 32 little-endian bytes.
pub(crate) fn integer(bytes: &[u8; FieldBytes::LEN]) -> BigInt<4> {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
    }
    BigInt::new(limbs)
}

/// The 32 little-endian bytes of an integer.
pub(crate) fn integer_bytes(integer: &BigInt<4>) -> [u8; FieldBytes::LEN] {
    let mut bytes = [0u8; FieldBytes::LEN];
    for (chunk, limb) in bytes.chunks_exact_mut(8).zip(integer.0) {
        chunk.copy_from_slice(&limb.to_le_bytes());
    }
    bytes
}

/// A uniform element from byte strings: 64 bytes of BLAKE3 output reduced, which is within 2^-257 of uniform.
///
/// `domain` separates uses and is frozen once used; the parts are length-prefixed, so that no two lists of
/// parts collide.
pub fn from_hash(domain: &'static str, parts: &[&[u8]]) -> Fr {
    let mut wide = [0u8; 64];
    Draw::new(domain, parts).fill(&mut wide);
    Fr::from_le_bytes_mod_order(&wide)
}

/// The element of at most 31 bytes, little-endian, zero-extended.
///
/// # Panics
/// On more than 31 bytes.
pub fn element(data: &[u8]) -> Fr {
    assert!(data.len() <= ELEMENT_DATA_BYTES, "an element carries at most 31 bytes");
    let mut bytes = [0u8; 32];
    bytes[..data.len()].copy_from_slice(data);
    from_bytes(&FieldBytes::new(bytes)).expect("31 bytes are below the modulus")
}

/// Data as elements of 31 bytes, little-endian, the last one zero-extended.
pub fn pack31(data: &[u8]) -> impl ExactSizeIterator<Item = Fr> + '_ {
    data.chunks(ELEMENT_DATA_BYTES).map(element)
}

/// The 31 data bytes of an element, or `None` when it carries more.
pub fn unpack31(element: &Fr) -> Option<[u8; ELEMENT_DATA_BYTES]> {
    let bytes = to_bytes(element).to_bytes();
    if bytes[ELEMENT_DATA_BYTES] != 0 {
        return None;
    }
    bytes[..ELEMENT_DATA_BYTES].try_into().ok()
}

/// The lowest `count` bits of an element, lowest first.
///
/// # Panics
/// Above 255 bits.
pub fn low_bits(element: &Fr, count: usize) -> Vec<bool> {
    assert!(count <= 255, "an element has 255 bits");
    let mut bits = element.into_bigint().to_bits_le();
    bits.truncate(count);
    bits
}

#[cfg(test)]
mod tests {
    use ark_ff::{AdditiveGroup, Field};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_bytes_are_elements() {
        let modulus: [u8; 32] = Fr::MODULUS.to_bytes_le().try_into().unwrap();
        assert_eq!(from_bytes(&FieldBytes::new(modulus)), None);
        assert_eq!(from_bytes(&FieldBytes::new([0xff; 32])), None);
        let mut below = modulus;
        below[0] -= 1;
        assert_eq!(from_bytes(&FieldBytes::new(below)), Some(-Fr::ONE));
        assert_eq!(from_bytes(&FieldBytes::new([0; 32])), Some(Fr::ZERO));
    }

    #[test]
    fn hashes_to_the_field_are_frozen() {
        let element = from_hash("hpips/test/field/v1", &[b"a", b"bc"]);
        assert_eq!(
            hex::encode(to_bytes(&element).as_bytes()),
            "8b24753f37871a060fb336278372bb5f227895e66dcb6ef3f750af3213e22a46"
        );
        assert_ne!(element, from_hash("hpips/test/field/v1", &[b"ab", b"c"]));
    }

    proptest! {
        #[test]
        fn packing_round_trips(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let elements: Vec<Fr> = pack31(&data).collect();
            prop_assert_eq!(elements.len(), data.len().div_ceil(31));
            let mut back: Vec<u8> = elements.iter().flat_map(|e| unpack31(e).unwrap()).collect();
            prop_assert!(back[data.len()..].iter().all(|b| *b == 0));
            back.truncate(data.len());
            prop_assert_eq!(back, data);
        }

        #[test]
        fn bytes_round_trip(wide in any::<[u8; 32]>()) {
            let element = Fr::from_le_bytes_mod_order(&wide);
            prop_assert_eq!(from_bytes(&to_bytes(&element)), Some(element));
        }
    }
}
