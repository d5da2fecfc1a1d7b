//! What all codecs share: errors, and the links of a block.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_CBOR, DAG_PB, RAW};

use crate::cbor;
use crate::pb::decode_pb;

/// Largest block that is decoded, bytes. What peers send is limited to 2 MiB; local tools wrote larger
/// directories in the past, so reading allows more than writing.
pub(crate) const DECODE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a block cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The block ends inside a field.
    #[error("block ends early")]
    Truncated,
    /// Not what the codec allows.
    #[error("malformed block: {0}")]
    Malformed(&'static str),
    /// Larger than is decoded here.
    #[error("block of {got} bytes, {max} are accepted")]
    TooLarge {
        /// Bytes of the block.
        got: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// A codec that this program does not read.
    #[error("codec {code:#x} is not supported: use raw, dag-pb or dag-cbor")]
    UnsupportedCodec {
        /// Its multicodec number.
        code: u64,
    },
}

/// Whether blocks of this codec never have links, so that they need not be fetched to be traversed.
pub fn is_leaf_codec(cid: &Cid) -> bool {
    cid.codec() == RAW
}

/// The links of a block, in order, repeated where the block repeats them.
///
/// # Errors
/// [`DecodeError`] by variant.
pub fn children(cid: &Cid, block: &Bytes) -> Result<Vec<Cid>, DecodeError> {
    match cid.codec() {
        RAW => Ok(Vec::new()),
        DAG_PB => Ok(decode_pb(block)?.links.into_iter().map(|link| link.cid).collect()),
        DAG_CBOR => cbor::links(block),
        code => Err(DecodeError::UnsupportedCodec { code }),
    }
}

/// Refuses blocks that are too large to decode.
pub(crate) fn check_size(block: &[u8]) -> Result<(), DecodeError> {
    if block.len() > DECODE_BYTES_MAX {
        return Err(DecodeError::TooLarge { got: block.len(), max: DECODE_BYTES_MAX });
    }
    Ok(())
}

/// Reads a CID that fills all of `bytes`.
pub(crate) fn exact_cid(bytes: &[u8]) -> Result<Cid, DecodeError> {
    let mut rest = bytes;
    match Cid::read_bytes(&mut rest) {
        Ok(cid) if rest.is_empty() => Ok(cid),
        Ok(_) => Err(DecodeError::Malformed("bytes after a CID")),
        Err(_) => Err(DecodeError::Malformed("not a CID")),
    }
}
