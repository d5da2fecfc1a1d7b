//! Links of a dag-cbor block, without building its values.

use cid::Cid;

use crate::codec::{DecodeError, check_size, exact_cid};

/// Deepest nesting that is followed. Real data stays below 100; a larger bound costs nothing because the
/// stack is a vector of counters.
const DEPTH_MAX: usize = 1024;

/// Tag of a CID (IPLD dag-cbor: 42).
const TAG_CID: u64 = 42;

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type, additional information and argument of the next item.
    fn head(&mut self) -> Result<(u8, u8, u64), DecodeError> {
        let first = self.take(1)?[0];
        let info = first & 0x1f;
        let argument_bytes = match info {
            0..=23 => return Ok((first >> 5, info, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(DecodeError::Malformed("indefinite length in dag-cbor")),
        };
        let argument = self.take(argument_bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok((first >> 5, info, argument))
    }
}

/// The CIDs of a dag-cbor block, in order of appearance.
///
/// # Errors
/// [`DecodeError`] when the bytes are not one dag-cbor item.
pub(crate) fn links(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    check_size(block)?;
    let mut input = Input { rest: block };
    let mut found = Vec::new();
    // Items still to come in each open array or map, outermost first.
    let mut open: Vec<u64> = vec![1];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let (major, info, argument) = input.head()?;
        let items = match major {
            0 | 1 => 0,
            2 | 3 => {
                let len = usize::try_from(argument).map_err(|_| DecodeError::Truncated)?;
                let bytes = input.take(len)?;
                if major == 3 && core::str::from_utf8(bytes).is_err() {
                    return Err(DecodeError::Malformed("text of dag-cbor is not UTF-8"));
                }
                0
            }
            4 => argument,
            5 => argument.checked_mul(2).ok_or(DecodeError::Truncated)?,
            6 if argument == TAG_CID => {
                found.push(link(&mut input)?);
                0
            }
            6 => return Err(DecodeError::Malformed("dag-cbor knows no tag but 42")),
            // Simple values: false, true, null; floats, of which dag-cbor has only those of 64 bits.
            _ if matches!(info, 20..=22 | 27) => 0,
            _ => return Err(DecodeError::Malformed("simple value outside dag-cbor")),
        };
        if items > 0 {
            // Every item takes a byte at least, so a count beyond the input is a lie.
            if usize::try_from(items).map_or(true, |items| items > input.rest.len()) {
                return Err(DecodeError::Truncated);
            }
            if open.len() == DEPTH_MAX {
                return Err(DecodeError::Malformed("dag-cbor nested too deep"));
            }
            open.push(items);
        }
    }
    if input.rest.is_empty() {
        Ok(found)
    } else {
        Err(DecodeError::Malformed("bytes after the dag-cbor item"))
    }
}

/// The CID after tag 42: a byte string that starts with the identity multibase byte.
fn link(input: &mut Input<'_>) -> Result<Cid, DecodeError> {
    let (major, _, argument) = input.head()?;
    let len = usize::try_from(argument).map_err(|_| DecodeError::Truncated)?;
    if major != 2 || len == 0 {
        return Err(DecodeError::Malformed("tag 42 without a CID"));
    }
    match input.take(len)?.split_first() {
        Some((0, cid)) => exact_cid(cid),
        _ => Err(DecodeError::Malformed("tag 42 without a CID")),
    }
}

#[cfg(test)]
mod tests {
    use hpips_types::cbor::encode;
    use hpips_types::content::{DAG_CBOR, RAW, cid_v1};
    use hpips_types::manifest::{BlockEntry, IndexNode, Stripe};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_of_an_index_node_are_found_in_order() {
        let cids: Vec<Cid> = (0u8..4).map(|byte| cid_v1(RAW, &[byte])).collect();
        let node = IndexNode {
            stripes: vec![Stripe {
                coded_bytes: 64,
                data: vec![
                    vec![BlockEntry { cid: cids[0], bytes: 1 }],
                    vec![BlockEntry { cid: cids[1], bytes: 1 }],
                ],
                parity: vec![cids[2], cids[3]],
            }],
        };
        let block = encode(&node);
        let mut found = links(&block).unwrap();
        found.sort();
        let mut wanted = cids.clone();
        wanted.sort();
        assert_eq!(found, wanted);
        let block = encode(&cids);
        assert_eq!(links(&block).unwrap(), cids);
        assert_eq!(crate::children(&cid_v1(DAG_CBOR, &block), &block.into()).unwrap(), cids);
    }

    #[test]
    fn lies_about_lengths_and_depth_are_refused() {
        for bad in [
            &[][..],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9f, 0xff],
            &[0xd8, 0x2a, 0x40],
            &[0xd8, 0x2a, 0x41, 0],
            &[0xc1, 0x00],
            &[0x00, 0x00],
            &[0xf7],
        ] {
            assert!(links(bad).is_err(), "{bad:?}");
        }
        assert!(links(&vec![0x81; 2000]).is_err());
        assert!(links(&vec![0x81; 1 << 20]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = links(&bytes);
        }
    }
}
