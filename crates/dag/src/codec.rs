//! What all codecs share: errors, and the links of a block.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};

use crate::document::{self, CBOR, JSON};
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
    #[error(
        "no decoder registered for multicodec code {code} ({code:#x}): use raw, dag-pb, dag-cbor or dag-json"
    )]
    UnsupportedCodec {
        /// Its multicodec number.
        code: u64,
    },
    /// A document that is not what its codec allows.
    #[error("malformed {codec}: {what} at {place}")]
    Document {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        what: &'static str,
        /// Where it was noticed.
        place: Place,
    },
    /// A document of more levels than are read.
    #[error("the document is nested more than {max} deep")]
    TooDeep {
        /// Levels that are read.
        max: usize,
    },
    /// A document of more values than are read.
    #[error("the document has more than {max} values")]
    TooManyValues {
        /// Values that are read.
        max: usize,
    },
}

/// A place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes before it.
    Byte(usize),
    /// Line and column, counted from 1.
    Line(usize, usize),
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::Line(line, column) => write!(f, "line {line} column {column}"),
        }
    }
}

/// Whether blocks of this codec never have links, so that they need not be fetched to be traversed.
pub fn is_leaf_codec(cid: &Cid) -> bool {
    matches!(cid.codec(), RAW | CBOR | JSON)
}

/// The links of a block, in order (dag-json: in the order of keys), repeated where the block repeats them.
///
/// # Errors
/// [`DecodeError`] by variant.
pub fn children(cid: &Cid, block: &Bytes) -> Result<Vec<Cid>, DecodeError> {
    match cid.codec() {
        RAW | CBOR | JSON => Ok(Vec::new()),
        DAG_PB => Ok(decode_pb(block)?.links.into_iter().map(|link| link.cid).collect()),
        DAG_CBOR => document::cbor_links(block),
        DAG_JSON => document::json_links(block),
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
