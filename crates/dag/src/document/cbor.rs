//! dag-cbor read, value by value (RFC 8949, <https://ipld.io/specs/codecs/dag-cbor/spec/>).

use std::borrow::Cow;

use crate::codec::exact_cid;

use super::build::{Fault, Leaf, Sink};

/// Tag of a CID.
const TAG_CID: u64 = 42;
/// The byte that ends what has no length.
const BREAK: u8 = 0xff;

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// How an item begins.
struct Head {
    major: u8,
    info: u8,
    /// `None` for an indefinite length.
    argument: Option<u64>,
}

impl<'a> Input<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::Truncated)?;
        let end = self.at.checked_add(len).ok_or(Fault::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn take_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&BREAK);
        self.at += usize::from(is_break);
        is_break
    }

    fn head(&mut self) -> Result<Head, Fault> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let argument_bytes = match info {
            0..=23 => return Ok(Head { major, info, argument: Some(u64::from(info)) }),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Ok(Head { major, info, argument: None }),
            _ => return Err(Fault::Malformed("a length that CBOR does not have")),
        };
        let argument = self.take(argument_bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok(Head { major, info, argument: Some(argument) })
    }

    /// The bytes of a string whose head was read, in one part or in several.
    fn string(&mut self, head: &Head) -> Result<Cow<'a, [u8]>, Fault> {
        if let Some(len) = head.argument {
            return self.take(len).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        while !self.take_break() {
            let part = self.head()?;
            match part.argument {
                Some(len) if part.major == head.major => whole.extend_from_slice(self.take(len)?),
                _ => return Err(Fault::Malformed("a part of a string that is none")),
            }
        }
        Ok(Cow::Owned(whole))
    }

    fn text(&mut self, head: &Head) -> Result<Cow<'a, str>, Fault> {
        let wrong = Fault::Malformed("text that is not UTF-8");
        Ok(match self.string(head)? {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| wrong)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| wrong)?),
        })
    }

    /// The CID after its tag: a byte string that starts with the identity multibase byte.
    fn link(&mut self) -> Result<Leaf<'a>, Fault> {
        let wrong = Fault::Malformed("tag 42 without a CID");
        let head = self.head()?;
        if head.major != BYTES {
            return Err(wrong);
        }
        match self.string(&head)?.split_first() {
            Some((0, cid)) => exact_cid(cid).map(Leaf::Link).map_err(|_| wrong),
            _ => Err(wrong),
        }
    }
}

/// A list or map that is being read.
struct Frame {
    /// Items to come, keys counted; `None` until a break.
    left: Option<u64>,
    is_map: bool,
    /// Whether the next item of a map is a key.
    is_key_due: bool,
}

/// Reads one document and tells `sink` of it; an error comes with the byte at which it was noticed.
pub(super) fn read(block: &[u8], has_links: bool, sink: &mut impl Sink) -> Result<(), (Fault, usize)> {
    let mut input = Input { bytes: block, at: 0 };
    let result = read_all(&mut input, has_links, sink);
    result.map_err(|fault| (fault, input.at))
}

fn read_all(input: &mut Input<'_>, has_links: bool, sink: &mut impl Sink) -> Result<(), Fault> {
    // Outermost first.
    let mut open: Vec<Frame> = Vec::new();
    loop {
        let mut is_key = false;
        if let Some(frame) = open.last_mut() {
            let is_over = match frame.left {
                Some(left) => left == 0,
                None => (!frame.is_map || frame.is_key_due) && input.take_break(),
            };
            if is_over {
                open.pop();
                sink.close()?;
                if open.is_empty() {
                    break;
                }
                continue;
            }
            frame.left = frame.left.map(|left| left - 1);
            is_key = frame.is_map && frame.is_key_due;
            frame.is_key_due = !is_key;
        }
        let head = input.head()?;
        if is_key {
            if head.major != TEXT {
                return Err(Fault::Malformed("a key that is no text"));
            }
            let key = input.text(&head)?;
            sink.key(key)?;
            continue;
        }
        if matches!(head.major, LIST | MAP) {
            let is_map = head.major == MAP;
            open.push(frame(input, &head, is_map)?);
            sink.open(is_map, open.len())?;
            continue;
        }
        sink.leaf(leaf(input, &head, has_links)?)?;
        if open.is_empty() {
            break;
        }
    }
    if input.left() == 0 { Ok(()) } else { Err(Fault::Malformed("bytes after the document")) }
}

fn frame(input: &Input<'_>, head: &Head, is_map: bool) -> Result<Frame, Fault> {
    let items = if is_map { 2 } else { 1 };
    let left = head.argument.map(|count| count.checked_mul(items).ok_or(Fault::Truncated)).transpose()?;
    // Every item takes a byte at least, so a count beyond the input is a lie.
    if left.is_some_and(|left| usize::try_from(left).map_or(true, |left| left > input.left())) {
        return Err(Fault::Truncated);
    }
    Ok(Frame { left, is_map, is_key_due: is_map })
}

fn leaf<'a>(input: &mut Input<'a>, head: &Head, has_links: bool) -> Result<Leaf<'a>, Fault> {
    match (head.major, head.argument) {
        (0, Some(value)) => Ok(Leaf::Integer(value.into())),
        (1, Some(value)) => Ok(Leaf::Integer(-1 - i128::from(value))),
        (BYTES, _) => input.string(head).map(Leaf::Bytes),
        (TEXT, _) => input.text(head).map(Leaf::Text),
        (6, Some(TAG_CID)) if has_links => input.link(),
        (6, _) if has_links => Err(Fault::Malformed("a tag but 42")),
        (6, _) => Err(Fault::Malformed("a tag, which only dag-cbor has")),
        (7, Some(value)) => simple(head.info, value),
        _ => Err(Fault::Malformed("a break where a value is due")),
    }
}

fn simple(info: u8, bits: u64) -> Result<Leaf<'static>, Fault> {
    let float = match (info, u32::try_from(bits)) {
        (20, _) => return Ok(Leaf::Bool(false)),
        (21, _) => return Ok(Leaf::Bool(true)),
        (22 | 23, _) => return Ok(Leaf::Null),
        (25, Ok(bits)) => half(bits),
        (26, Ok(bits)) => f32::from_bits(bits).into(),
        (27, _) => f64::from_bits(bits),
        _ => return Err(Fault::Malformed("a simple value that the data model does not have")),
    };
    if float.is_finite() { Ok(Leaf::Float(float)) } else { Err(Fault::Malformed("a number that is none")) }
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u32) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => fraction * f64::powi(2.0, -24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (fraction + 1024.0) * f64::powi(2.0, i32::try_from(exponent).unwrap_or(0) - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use cid::Cid;
    use hpips_types::cbor::encode;
    use hpips_types::content::{DAG_CBOR, RAW, cid_v1};
    use hpips_types::manifest::{BlockEntry, IndexNode, Stripe};
    use proptest::prelude::*;

    use crate::document::cbor_links as links;

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
            &[0x9f],
            &[0xbf, 0x61, b'a', 0xff],
            &[0x81, 0xff],
            &[0xff],
            &[0xd8, 0x2a, 0x40],
            &[0xd8, 0x2a, 0x41, 0],
            &[0xc1, 0x00],
            &[0x00, 0x00],
            &[0xf8, 0x20],
            &[0x1f],
            &[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
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
