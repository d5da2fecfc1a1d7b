//! Reading manifests and index nodes that come from outside.
//!
//! Blocks are checked against their CIDs where they enter; here their content is checked, so that what
//! computes with it afterwards needs no more doubt: counts agree with the code, lengths are what they must
//! be, and everything is bounded. Layout: docs/formats/erasure.md.

use hpips_types::cbor::{self, CborError};
use hpips_types::content::{BLOCK_BYTES_MAX, RAW, SHA2_256};
use hpips_types::manifest::{IndexNode, MANIFEST_VERSION, Stripe};
use hpips_types::{Code, Manifest};

use crate::PIECE_BYTES_MAX;
use crate::plan::{coded_bytes, shard_bytes};

/// Longest root block of a manifest, bytes. It is one block to IPFS peers; several hundred extents fit.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Longest index node, bytes.
pub const INDEX_NODE_BYTES_MAX: usize = 1 << 20;
/// Longest data shard, bytes: four of the largest blocks, above what any plan makes.
const SHARD_BYTES_MAX: u64 = 4 * BLOCK_BYTES_MAX as u64;

/// Why bytes are not a manifest or an index node.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too long, or not canonical dag-cbor of this shape.
    #[error("not a manifest's block")]
    Encoding(#[source] CborError),
    /// Written by another version.
    #[error("manifest version {0} is not supported: this program reads version {MANIFEST_VERSION}")]
    Version(u8),
    /// Not a usable `k` of `n`.
    #[error("{k} of {n} is no code")]
    Code {
        /// Data shards.
        k: u16,
        /// All shards.
        n: u16,
    },
    /// An extent without pieces for all slots, with a piece that is too long, without index, or a manifest
    /// without extents.
    #[error("extent {0} is incomplete or too large")]
    Extent(usize),
    /// A stripe that breaks a rule.
    #[error("stripe {stripe} of the block is malformed")]
    Stripe {
        /// Its place among the stripes of this block.
        stripe: usize,
        /// The rule.
        #[source]
        source: StripeError,
    },
}

/// Which rule a stripe breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// No data shards, or more than `k`.
    #[error("{0} data shards")]
    DataCount(usize),
    /// Not `n - k` parity shards.
    #[error("{0} parity shards")]
    ParityCount(usize),
    /// Parity that is not a raw block named by SHA-256.
    #[error("parity shard {0} is not named as a raw block with sha2-256")]
    ParityName(usize),
    /// A data shard without blocks, or longer than any plan makes.
    #[error("data shard {0} is empty or too long")]
    Shard(usize),
    /// Not the longest data shard rounded up to 64 bytes.
    #[error("coding length {0} does not follow from the data shards")]
    CodedBytes(u32),
}

/// Reads the root block of a manifest.
///
/// # Errors
/// [`ReadError`] by variant.
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, ReadError> {
    let manifest: Manifest = cbor::decode(bytes, MANIFEST_BYTES_MAX).map_err(ReadError::Encoding)?;
    if manifest.version != MANIFEST_VERSION {
        return Err(ReadError::Version(manifest.version));
    }
    let code = manifest.code().ok_or(ReadError::Code { k: manifest.k, n: manifest.n })?;
    if manifest.extents.is_empty() {
        return Err(ReadError::Extent(0));
    }
    for (at, extent) in manifest.extents.iter().enumerate() {
        let nodes: usize = extent.index_stripes.iter().flat_map(|stripe| &stripe.data).map(Vec::len).sum();
        let is_complete = extent.piece_bytes.len() == usize::from(code.n())
            && extent.piece_bytes.iter().all(|bytes| *bytes <= PIECE_BYTES_MAX)
            && extent.content_stripes > 0
            && !extent.index.is_empty()
            && nodes == extent.index.len();
        if !is_complete {
            return Err(ReadError::Extent(at));
        }
        check_stripes(code, &extent.index_stripes)?;
    }
    Ok(manifest)
}

/// Reads an index node.
///
/// # Errors
/// [`ReadError`] by variant.
pub fn read_index(bytes: &[u8], code: Code) -> Result<IndexNode, ReadError> {
    let node: IndexNode = cbor::decode(bytes, INDEX_NODE_BYTES_MAX).map_err(ReadError::Encoding)?;
    check_stripes(code, &node.stripes)?;
    Ok(node)
}

fn check_stripes(code: Code, stripes: &[Stripe]) -> Result<(), ReadError> {
    for (at, stripe) in stripes.iter().enumerate() {
        check_stripe(code, stripe).map_err(|source| ReadError::Stripe { stripe: at, source })?;
    }
    Ok(())
}

fn check_stripe(code: Code, stripe: &Stripe) -> Result<(), StripeError> {
    if stripe.data.is_empty() || stripe.data.len() > usize::from(code.k()) {
        return Err(StripeError::DataCount(stripe.data.len()));
    }
    if stripe.parity.len() != usize::from(code.parity()) {
        return Err(StripeError::ParityCount(stripe.parity.len()));
    }
    let is_raw = |cid: &cid::Cid| {
        cid.codec() == RAW && cid.hash().code() == SHA2_256 && cid.version() == cid::Version::V1
    };
    if let Some(at) = stripe.parity.iter().position(|cid| !is_raw(cid)) {
        return Err(StripeError::ParityName(at));
    }
    let mut longest = 0;
    for (at, shard) in stripe.data.iter().enumerate() {
        let bytes = shard_bytes(shard);
        if shard.is_empty() || bytes > SHARD_BYTES_MAX {
            return Err(StripeError::Shard(at));
        }
        longest = longest.max(bytes);
    }
    if stripe.coded_bytes == coded_bytes(longest) {
        Ok(())
    } else {
        Err(StripeError::CodedBytes(stripe.coded_bytes))
    }
}

#[cfg(test)]
mod tests;
