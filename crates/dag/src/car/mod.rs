//! CAR: blocks one after the other (<https://ipld.io/specs/transport/car/>). Version 1 is written; versions 1 and 2 are
//! read.
//!
//! ```text
//! CARv1:  varint(len) header   { varint(len) CID block }*
//! CARv2:  pragma(11)  characteristics(16) offset(8) size(8) index(8)  padding  CARv1 of `size` bytes at `offset`  index
//! ```
//!
//! [`Decoder`] is given bytes as they come and keeps none; nothing is allocated for a length that is only claimed.
//! Blocks are not checked against their CIDs: whoever stores them does.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use hpips_dag::car::{self, Decoder, Item};
//! use hpips_types::content::{RAW, cid_v1};
//!
//! let block = Bytes::from_static(b"hello");
//! let cid = cid_v1(RAW, &block);
//! let file = [car::header(&[cid]), car::section(&cid, &block)].concat();
//!
//! let (mut decoder, mut input, mut items) = (Decoder::new(), BytesMut::new(), Vec::new());
//! for piece in file.chunks(7) {
//!     input.extend_from_slice(piece);
//!     while let Some(item) = decoder.feed(&mut input)? {
//!         items.push(item);
//!     }
//! }
//! decoder.finish(&input)?;
//! assert_eq!(items, [Item::Header { roots: vec![cid] }, Item::Block { cid, bytes: block }]);
//! # Ok::<(), hpips_dag::car::CarError>(())
//! ```

mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{CarError, Decoder, HEADER_BYTES_MAX, Item, SECTION_BYTES_MAX};
pub use writer::{header, section, section_head};
