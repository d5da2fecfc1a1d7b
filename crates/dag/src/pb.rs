//! dag-pb: links and data (<https://ipld.io/specs/codecs/dag-pb/spec/>).

use bytes::Bytes;
use cid::Cid;

use crate::codec::{DecodeError, check_size, exact_cid};
use crate::wire::{Fields, Value, bytes_field_len, count, put_bytes, put_number, varint_len};

/// A named link to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PbLink {
    /// The child.
    pub cid: Cid,
    /// Its name; empty in files.
    pub name: String,
    /// Bytes of the child's DAG as its author claims.
    pub tsize: u64,
}

/// A decoded dag-pb node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PbNode {
    /// Links in the order written.
    pub links: Vec<PbLink>,
    /// The data field.
    pub data: Option<Bytes>,
}

/// Bytes of one link's message, without its field header.
fn link_len(cid_bytes: usize, name_bytes: usize, tsize: u64) -> usize {
    bytes_field_len(cid_bytes) + bytes_field_len(name_bytes) + 1 + varint_len(tsize)
}

/// Bytes that one link adds to a node.
pub(crate) fn link_field_len(cid: &Cid, name: &str, tsize: u64) -> usize {
    bytes_field_len(link_len(cid.encoded_len(), name.len(), tsize))
}

/// Encodes a node: links first, then data, as every implementation writes it.
pub fn encode_pb<'a>(links: impl IntoIterator<Item = (&'a str, &'a Cid, u64)>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 16);
    for (name, cid, tsize) in links {
        let cid = cid.to_bytes();
        out.push(0x12);
        crate::wire::put_varint(count(link_len(cid.len(), name.len(), tsize)), &mut out);
        put_bytes(1, &cid, &mut out);
        // The name is written even when it is empty.
        put_bytes(2, name.as_bytes(), &mut out);
        put_number(3, tsize, &mut out);
    }
    put_bytes(1, data, &mut out);
    out
}

/// Decodes a node.
///
/// Names must be UTF-8; data before links, as very old nodes have it, is accepted.
///
/// # Errors
/// [`DecodeError`] by variant. Allocates no more than a small multiple of the input.
pub fn decode_pb(block: &Bytes) -> Result<PbNode, DecodeError> {
    check_size(block)?;
    let mut node = PbNode::default();
    let mut fields = Fields::new(block);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(at, bytes)) if node.data.is_none() => {
                node.data = Some(block.slice(at..at + bytes.len()));
            }
            (1, Value::Bytes(..)) => return Err(DecodeError::Malformed("two data fields in dag-pb")),
            (2, Value::Bytes(_, bytes)) => node.links.push(decode_link(bytes)?),
            _ => return Err(DecodeError::Malformed("unknown field in dag-pb")),
        }
    }
    Ok(node)
}

fn decode_link(bytes: &[u8]) -> Result<PbLink, DecodeError> {
    let (mut cid, mut name, mut tsize) = (None, None, None);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(_, bytes)) if cid.is_none() => cid = Some(exact_cid(bytes)?),
            (2, Value::Bytes(_, bytes)) if name.is_none() => {
                let text = core::str::from_utf8(bytes)
                    .map_err(|_| DecodeError::Malformed("name of a dag-pb link is not UTF-8"))?;
                name = Some(text.to_owned());
            }
            (3, Value::Number(value)) if tsize.is_none() => tsize = Some(value),
            _ => return Err(DecodeError::Malformed("unknown or repeated field in a dag-pb link")),
        }
    }
    let cid = cid.ok_or(DecodeError::Malformed("dag-pb link without a CID"))?;
    Ok(PbLink { cid, name: name.unwrap_or_default(), tsize: tsize.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use hpips_types::content::{DAG_PB, RAW, cid_v0, cid_v1};
    use proptest::prelude::*;

    use super::*;

    fn any_link() -> impl Strategy<Value = PbLink> {
        (any::<[u8; 8]>(), 0..3, "[a-z\u{e4}]{0,20}", any::<u64>()).prop_map(
            |(seed, version, name, tsize)| {
                let cid = match version {
                    0 => cid_v0(&seed),
                    1 => cid_v1(DAG_PB, &seed),
                    _ => cid_v1(RAW, &seed),
                };
                PbLink { cid, name, tsize }
            },
        )
    }

    proptest! {
        #[test]
        fn nodes_round_trip_and_their_length_is_known(
            links in prop::collection::vec(any_link(), 0..20),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let block = encode_pb(links.iter().map(|link| (link.name.as_str(), &link.cid, link.tsize)), &data);
            let links_len: usize = links.iter().map(|link| link_field_len(&link.cid, &link.name, link.tsize)).sum();
            prop_assert_eq!(block.len(), links_len + bytes_field_len(data.len()));
            let node = decode_pb(&block.into()).unwrap();
            prop_assert_eq!(node, PbNode { links, data: Some(data.into()) });
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_pb(&bytes.into());
        }

        #[test]
        fn damaged_nodes_never_panic(
            links in prop::collection::vec(any_link(), 1..6),
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut block = encode_pb(links.iter().map(|link| (link.name.as_str(), &link.cid, link.tsize)), b"data");
            let at = at.index(block.len());
            block[at] = to;
            let _ = decode_pb(&block.clone().into());
            block.truncate(cut.index(block.len()));
            let _ = decode_pb(&block.into());
        }
    }
}
