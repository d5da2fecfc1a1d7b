//! Fixed-size digests, field elements and signatures as bytes.
//!
//! The arithmetic behind them lives in `crypto`; here they are only names for byte strings.

use crate::macros::byte_string;

byte_string! {
    /// A SHA-256 digest: chain blocks, transactions, multihashes.
    Sha256Digest(32)
}
byte_string! {
    /// A BLAKE3 hash: pieces in transfer, key files.
    Blake3Hash(32)
}
byte_string! {
    /// An element of the scalar field of BLS12-381, canonical little-endian.
    ///
    /// The bytes may come from outside: whoever computes with them checks that they are below the modulus.
    FieldBytes(32)
}
byte_string! {
    /// A threshold signature of a view (BLS12-381 G1, compressed): what beacons are made of.
    ThresholdSignature(48)
}
byte_string! {
    /// The key of a chain's committee (BLS12-381 G2, compressed); it stays the same for ever.
    GroupKey(96)
}
byte_string! {
    /// An ed25519 signature.
    SignatureBytes(64)
}

impl core::fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl core::fmt::Display for Blake3Hash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}
