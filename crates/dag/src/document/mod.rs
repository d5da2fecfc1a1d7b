//! Blocks as documents: the data model of IPLD behind raw, dag-pb, dag-cbor, dag-json, cbor and json.
//!
//! | codec | read | written |
//! |---|---|---|
//! | raw | bytes | bytes only |
//! | dag-pb | its logical form, `{"Data", "Links"}` | the same |
//! | dag-cbor | as go-ipld-prime reads it by default, see below | canonical |
//! | dag-json | any JSON with the reserved maps of the specification | canonical |
//! | cbor, json | the same notations without links | not written: their maps have an order that is not kept here |
//!
//! What is read of dag-cbor is more than the canonical form, because much of what was published is not canonical
//! and Kubo reads it: keys in any order, lengths and numbers longer than need be, floats of 16 and 32 bits, strings,
//! lists and maps of indefinite length, and `undefined` as null. Refused are tags but 42, keys that are no text or come
//! twice, text that is not UTF-8, NaN and the infinities (which the data model has not), and bytes after the document.
//!
//! Documents are hostile: nesting ends at [`DEPTH_MAX`], the number of values at [`VALUES_MAX`], and reading keeps its
//! own stack, so that no document exhausts the thread's.

mod build;
mod cbor;
mod cbor_write;
mod json;
mod json_write;
mod pb;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};
use ipld_core::ipld::Ipld;

use self::build::{Builder, Fault, Leaf, Sink};
use crate::codec::{DecodeError, Place, check_size};
use crate::pb::decode_pb;
use crate::walk::WalkError;

/// Multicodec `cbor`.
pub const CBOR: u64 = 0x51;
/// Multicodec `json`.
pub const JSON: u64 = 0x0200;

/// Lists and maps within each other, at most. Real documents stay below 100.
pub const DEPTH_MAX: usize = 1024;
/// Values of one document at most, about 100 bytes each: a block of 8 MiB can hold millions of zeros.
pub const VALUES_MAX: usize = 1 << 20;

/// Why a document cannot be written in a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A codec that is not written here.
    #[error("no encoder registered for multicodec code {code} ({code:#x})")]
    UnsupportedCodec {
        /// Its multicodec number.
        code: u64,
    },
    /// Raw blocks are bytes.
    #[error("only bytes can be written as raw")]
    NotBytes,
    /// dag-pb has one form only.
    #[error("not the form of dag-pb: {0}")]
    NotPb(&'static str),
    /// dag-pb has no field of this name.
    #[error("not the form of dag-pb: field {0:?}")]
    PbField(Box<str>),
    /// Integers end at 64 bits.
    #[error("an integer of more than 64 bits")]
    Integer,
    /// NaN or infinite.
    #[error("a number that is none")]
    Float,
    /// A map that would be read back as a link or as bytes, or not at all.
    #[error("a map with the key \"/\" that dag-json reserves for links and bytes")]
    Reserved,
    /// Nested deeper than is read back.
    #[error("the document is nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// Reads a block of a codec.
///
/// # Errors
/// [`DecodeError`] by variant.
pub fn decode(codec: u64, block: &Bytes) -> Result<Ipld, DecodeError> {
    check_size(block)?;
    match codec {
        RAW => Ok(Ipld::Bytes(block.to_vec())),
        DAG_PB => Ok(pb::read(decode_pb(block)?)),
        DAG_CBOR => cbor(block, "dag-cbor", true),
        CBOR => cbor(block, "cbor", false),
        DAG_JSON => json(block, "dag-json", true),
        JSON => json(block, "json", false),
        code => Err(DecodeError::UnsupportedCodec { code }),
    }
}

/// Writes a document, canonically.
///
/// # Errors
/// [`EncodeError`] by variant.
pub fn encode(codec: u64, document: &Ipld) -> Result<Vec<u8>, EncodeError> {
    match codec {
        RAW => match document {
            Ipld::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(EncodeError::NotBytes),
        },
        DAG_PB => pb::write(document),
        DAG_CBOR => cbor_write::write(document),
        DAG_JSON => json_write::write(document),
        code => Err(EncodeError::UnsupportedCodec { code }),
    }
}

/// What one segment of a path leads to within a document: the value of a key, or the item at an index.
pub fn step<'a>(document: &'a Ipld, segment: &str) -> Option<&'a Ipld> {
    match document {
        Ipld::Map(map) => map.get(segment),
        Ipld::List(list) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    }
}

/// Where a path into a document leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// To a link.
    Link {
        /// What is linked.
        cid: Cid,
        /// Segments used so far.
        used: usize,
    },
    /// To a value of the document itself.
    Value(Ipld),
}

/// Follows segments into a block up to its first link.
///
/// # Errors
/// [`WalkError::Decode`]; [`WalkError::NotFound`] with the segment that leads nowhere.
pub fn follow(cid: &Cid, block: &Bytes, segments: &[String]) -> Result<Followed, WalkError> {
    let document = decode(cid.codec(), block)
        .map_err(|source| WalkError::Decode { cid: *cid, source: Box::new(source) })?;
    let mut value = &document;
    for (segment, used) in segments.iter().zip(1..) {
        value = step(value, segment)
            .ok_or_else(|| WalkError::NotFound { cid: *cid, name: segment.as_str().into() })?;
        if let Ipld::Link(cid) = value {
            return Ok(Followed::Link { cid: *cid, used });
        }
    }
    // The whole document is the usual case, and needs no copy.
    let value = if segments.is_empty() { None } else { Some(value.clone()) };
    Ok(Followed::Value(value.unwrap_or(document)))
}

/// The links of a dag-cbor block, in order; builds no values.
pub(crate) fn cbor_links(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    struct Links(Vec<Cid>);
    impl Sink for Links {
        fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), Fault> {
            if let Leaf::Link(cid) = leaf {
                self.0.push(cid);
            }
            Ok(())
        }
    }
    check_size(block)?;
    let mut links = Links(Vec::new());
    cbor::read(block, true, &mut links).map_err(|(fault, at)| fault.at("dag-cbor", Place::Byte(at)))?;
    Ok(links.0)
}

/// The links of a dag-json block, in the order of their keys.
pub(crate) fn json_links(block: &Bytes) -> Result<Vec<Cid>, DecodeError> {
    let mut links = Vec::new();
    let mut waiting = vec![decode(DAG_JSON, block)?];
    while let Some(value) = waiting.pop() {
        match value {
            Ipld::Link(cid) => links.push(cid),
            Ipld::List(values) => waiting.extend(values.into_iter().rev()),
            Ipld::Map(map) => waiting.extend(map.into_values().rev()),
            _ => {}
        }
    }
    Ok(links)
}

fn cbor(block: &[u8], codec: &'static str, has_links: bool) -> Result<Ipld, DecodeError> {
    let mut builder = Builder::new(false);
    match cbor::read(block, has_links, &mut builder) {
        Ok(()) => Ok(builder.finish()),
        Err((fault, at)) => Err(fault.at(codec, Place::Byte(at))),
    }
}

fn json(block: &[u8], codec: &'static str, has_links: bool) -> Result<Ipld, DecodeError> {
    let mut builder = Builder::new(has_links);
    match json::read(block, &mut builder) {
        Ok(()) => Ok(builder.finish()),
        Err((fault, at)) => Err(fault.at(codec, json::place(block, at))),
    }
}
