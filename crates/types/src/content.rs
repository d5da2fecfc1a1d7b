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
}

/// Checks bytes against the CID that names them. Every block from outside goes through this.
///
/// # Errors
/// [`BlockError::Mismatch`] when the hash differs, [`BlockError::UnsupportedHash`] for an unknown function.
pub fn verify_block(cid: &Cid, bytes: &[u8]) -> Result<(), BlockError> {
    let digest = cid.hash().digest();
    let equal = match cid.hash().code() {
        SHA2_256 => digest == sha256(bytes).as_bytes(),
        IDENTITY => digest == bytes,
        BLAKE3 => digest == blake3::hash(bytes).as_bytes(),
        code => return Err(BlockError::UnsupportedHash { cid: *cid, code }),
    };
    if equal { Ok(()) } else { Err(BlockError::Mismatch { cid: *cid }) }
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
