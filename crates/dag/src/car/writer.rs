//! CARv1 written.

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::DAG_CBOR;
use ipld_core::ipld::Ipld;

use crate::document::encode;
use crate::wire::{count, put_varint};

/// The header of a CAR with these roots.
pub fn header(roots: &[Cid]) -> Bytes {
    let roots = Ipld::List(roots.iter().copied().map(Ipld::Link).collect());
    let map = Ipld::Map([("roots".to_owned(), roots), ("version".to_owned(), Ipld::Integer(1))].into());
    let map = encode(DAG_CBOR, &map).expect("links and a small number are dag-cbor");
    let mut out = Vec::with_capacity(map.len() + 2);
    put_varint(count(map.len()), &mut out);
    out.extend_from_slice(&map);
    out.into()
}

/// What stands before a block of this length.
pub fn section_head(cid: &Cid, block_bytes: usize) -> Bytes {
    let cid = cid.to_bytes();
    let mut out = Vec::with_capacity(cid.len() + 4);
    put_varint(count(cid.len() + block_bytes), &mut out);
    out.extend_from_slice(&cid);
    out.into()
}

/// A block as it stands in a CAR; copies it, where [`section_head`] followed by the block does not.
pub fn section(cid: &Cid, block: &Bytes) -> Bytes {
    let head = section_head(cid, block.len());
    let mut out = Vec::with_capacity(head.len() + block.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(block);
    out.into()
}
