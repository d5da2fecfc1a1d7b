//! Canonical dag-cbor: one value, one byte string.
//!
//! Everything that is hashed, signed or agreed on is encoded here. A decoder accepts only what the encoder
//! would have written (sorted keys, shortest integers, definite lengths), so two byte strings never mean
//! the same value. Source: the DAG-CBOR specification of IPLD.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not the canonical encoding of a value.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Longer than the caller accepts.
    #[error("{got} bytes are more than the {max} accepted here")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// Not dag-cbor of this type.
    #[error("malformed dag-cbor")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A correct value in another than the canonical form.
    #[error("not the canonical dag-cbor form")]
    NotCanonical,
}

/// Encodes a value.
///
/// # Panics
/// When the value cannot be dag-cbor at all (a map with keys other than strings, a NaN): types that are
/// encoded here have neither.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("types of this workspace are representable in dag-cbor")
}

/// Decodes a value from at most `bytes_max` bytes and refuses every non-canonical form.
///
/// # Errors
/// [`CborError`] by variant; nothing is allocated for a length that the input does not have.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, CborError> {
    if bytes.len() > bytes_max {
        return Err(CborError::TooLong { got: bytes.len(), max: bytes_max });
    }
    let value: T =
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| CborError::Malformed(Box::new(error)))?;
    if encode(&value) == bytes { Ok(value) } else { Err(CborError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_the_canonical_form_is_accepted() {
        let value: BTreeMap<String, u64> = [("b".into(), 1), ("aa".into(), 2)].into();
        let bytes = encode(&value);
        assert_eq!(bytes, [0xa2, 0x61, b'b', 1, 0x62, b'a', b'a', 2]);
        assert_eq!(decode::<BTreeMap<String, u64>>(&bytes, 100).unwrap(), value);
        let long_integer = [0xa1, 0x61, b'b', 0x18, 1];
        let unsorted = [0xa2, 0x62, b'a', b'a', 2, 0x61, b'b', 1];
        for bad in [&long_integer[..], &unsorted[..]] {
            assert!(decode::<BTreeMap<String, u64>>(bad, 100).is_err(), "{bad:?}");
        }
        assert!(matches!(decode::<u64>(&[1], 0), Err(CborError::TooLong { got: 1, max: 0 })));
    }

    #[test]
    fn a_struct_is_a_map_with_sorted_keys() {
        #[derive(serde::Serialize)]
        struct Pair {
            long: u8,
            b: u8,
        }
        assert_eq!(encode(&Pair { long: 1, b: 2 }), [0xa2, 0x61, b'b', 2, 0x64, b'l', b'o', b'n', b'g', 1]);
    }
}
