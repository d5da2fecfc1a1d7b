//! Content identifiers: the codecs in use and how a CID is made from bytes.

use cid::Cid;
use multihash::Multihash;
use sha2::{Digest, Sha256};

use crate::hash::Sha256Digest;

/// Multicodec `raw`.
pub const RAW: u64 = 0x55;
/// Multicodec `dag-pb`.
pub const DAG_PB: u64 = 0x70;
/// Multicodec `dag-cbor`.
pub const DAG_CBOR: u64 = 0x71;
/// Multihash code `identity`.
pub const IDENTITY: u64 = 0x00;
/// Multihash code `sha2-256`.
pub const SHA2_256: u64 = 0x12;
/// Multihash code `blake3`.
pub const BLAKE3: u64 = 0x1e;
/// Multicodec `dag-json`.
pub const DAG_JSON: u64 = 0x0129;
/// Multicodec `libp2p-key`.
pub const LIBP2P_KEY: u64 = 0x72;

/// Largest block that is taken from or sent to a peer, bytes (bitswap's limit).
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::new(Sha256::digest(bytes).into())
}

/// The CIDv1 with SHA-256 of a block.
pub fn cid_v1(codec: u64, block: &[u8]) -> Cid {
    cid_v1_of_digest(codec, sha256(block))
}

/// The CIDv1 that names a block by its SHA-256 digest.
pub fn cid_v1_of_digest(codec: u64, digest: Sha256Digest) -> Cid {
    Cid::new_v1(codec, multihash_of(digest))
}

/// The CIDv0 (dag-pb, SHA-256) of a block.
pub fn cid_v0(block: &[u8]) -> Cid {
    Cid::new_v0(multihash_of(sha256(block))).expect("sha2-256 with 32 bytes is what CIDv0 wants")
}

fn multihash_of(digest: Sha256Digest) -> Multihash<64> {
    Multihash::wrap(SHA2_256, digest.as_bytes()).expect("32 bytes fit into 64")
}

/// A hash function that is not computed here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "hash function {code:#x} is not supported: use sha2-256, blake3 or another that hpips cid hashes lists"
)]
pub struct HashError {
    /// Its multihash code.
    pub code: u64,
}

/// The hash functions of CIDs that are computed here: multihash code and name.
pub const HASHES: &[(u64, &str)] = &[
    (IDENTITY, "identity"),
    (SHA2_256, "sha2-256"),
    (0x13, "sha2-512"),
    (0x14, "sha3-512"),
    (0x15, "sha3-384"),
    (0x16, "sha3-256"),
    (0x17, "sha3-224"),
    (0x1b, "keccak-256"),
    (0x1d, "keccak-512"),
    (BLAKE3, "blake3"),
    (0x56, "dbl-sha2-256"),
    (0xb220, "blake2b-256"),
    (0xb240, "blake2b-512"),
    (0xb260, "blake2s-256"),
];

/// Checks that a hash function is computed here.
///
/// # Errors
/// [`HashError`] names its code.
pub fn is_known_hash(code: u64) -> Result<(), HashError> {
    if HASHES.iter().any(|(known, _)| *known == code) { Ok(()) } else { Err(HashError { code }) }
}

/// The digest of bytes under a multihash code; for `identity` the bytes themselves.
fn digest(code: u64, bytes: &[u8]) -> Option<Vec<u8>> {
    use sha3::{Keccak256, Keccak512, Sha3_224, Sha3_256, Sha3_384, Sha3_512};
    Some(match code {
        IDENTITY => bytes.to_vec(),
        SHA2_256 => sha256(bytes).as_bytes().to_vec(),
        0x13 => sha2::Sha512::digest(bytes).to_vec(),
        0x14 => Sha3_512::digest(bytes).to_vec(),
        0x15 => Sha3_384::digest(bytes).to_vec(),
        0x16 => Sha3_256::digest(bytes).to_vec(),
        0x17 => Sha3_224::digest(bytes).to_vec(),
        0x1b => Keccak256::digest(bytes).to_vec(),
        0x1d => Keccak512::digest(bytes).to_vec(),
        BLAKE3 => blake3::hash(bytes).as_bytes().to_vec(),
        0x56 => sha256(sha256(bytes).as_bytes()).as_bytes().to_vec(),
        0xb220 => blake2b_simd::Params::new().hash_length(32).hash(bytes).as_bytes().to_vec(),
        0xb240 => blake2b_simd::blake2b(bytes).as_bytes().to_vec(),
        0xb260 => blake2s_simd::blake2s(bytes).as_bytes().to_vec(),
        _ => return None,
    })
}

/// The CIDv1 of a block under any hash function of [`HASHES`].
///
/// # Errors
/// [`HashError`] for another function, and for an identity of more than 64 bytes, which a CID here cannot carry.
pub fn cid_v1_with(codec: u64, hash: u64, block: &[u8]) -> Result<Cid, HashError> {
    let digest = digest(hash, block).ok_or(HashError { code: hash })?;
    let multihash = Multihash::wrap(hash, &digest).map_err(|_| HashError { code: hash })?;
    Ok(Cid::new_v1(codec, multihash))
}

/// Why a block does not belong to its CID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The hash of the bytes is another.
    #[error("block does not match its CID {cid}")]
    Mismatch {
        /// The CID asked for.
        cid: Cid,
    },
    /// A hash function this program does not compute.
    #[error("hash function {code:#x} of {cid} is not supported: use sha2-256 or blake3")]
    UnsupportedHash {
        /// The CID asked for.
        cid: Cid,
        /// Its multihash code.
        code: u64,
    },
    /// So short a digest proves nothing.
    #[error("the digest of {cid} has {bytes} bytes, at least {DIGEST_BYTES_MIN} are needed")]
    ShortDigest {
        /// The CID asked for.
        cid: Cid,
        /// Bytes of its digest.
        bytes: usize,
    },
}

/// Shortest digest that names a block (boxo `DefaultMinDigestSize`).
pub const DIGEST_BYTES_MIN: usize = 20;

/// Checks bytes against the CID that names them. Every block from outside goes through this.
///
/// # Errors
/// [`BlockError`] by variant.
pub fn verify_block(cid: &Cid, bytes: &[u8]) -> Result<(), BlockError> {
    let code = cid.hash().code();
    let wanted = cid.hash().digest();
    if code == IDENTITY {
        return if wanted == bytes { Ok(()) } else { Err(BlockError::Mismatch { cid: *cid }) };
    }
    let got = digest(code, bytes).ok_or(BlockError::UnsupportedHash { cid: *cid, code })?;
    // A digest may be cut short, though not so far that another block could be found for it.
    if wanted.len() < DIGEST_BYTES_MIN {
        return Err(BlockError::ShortDigest { cid: *cid, bytes: wanted.len() });
    }
    if got.starts_with(wanted) { Ok(()) } else { Err(BlockError::Mismatch { cid: *cid }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_byte_is_refused() {
        let block = b"hello world".to_vec();
        let cid = cid_v1(RAW, &block);
        assert_eq!(cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        assert_eq!(verify_block(&cid, &block), Ok(()));
        let mut bad = block.clone();
        bad[3] ^= 1;
        assert_eq!(verify_block(&cid, &bad), Err(BlockError::Mismatch { cid }));
    }
}
