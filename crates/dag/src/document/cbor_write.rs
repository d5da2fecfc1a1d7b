//! dag-cbor written, canonically.

use ipld_core::ipld::Ipld;

use super::{DEPTH_MAX, EncodeError};
use crate::wire::count;

pub(super) fn write(document: &Ipld) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(document, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn put(value: &Ipld, depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let deeper = || depth.checked_sub(1).ok_or(EncodeError::TooDeep);
    match value {
        Ipld::Null => out.push(0xf6),
        Ipld::Bool(value) => out.push(0xf4 | u8::from(*value)),
        Ipld::Integer(value) => {
            let (major, argument) = if *value < 0 { (1, -1 - *value) } else { (0, *value) };
            head(major, u64::try_from(argument).map_err(|_| EncodeError::Integer)?, out);
        }
        Ipld::Float(value) if value.is_finite() => {
            out.push(0xfb);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Ipld::Float(_) => return Err(EncodeError::Float),
        Ipld::String(text) => string(3, text.as_bytes(), out),
        Ipld::Bytes(bytes) => string(2, bytes, out),
        Ipld::Link(cid) => {
            out.extend_from_slice(&[0xd8, 42]);
            let cid = cid.to_bytes();
            head(2, count(cid.len() + 1), out);
            // The identity multibase.
            out.push(0);
            out.extend_from_slice(&cid);
        }
        Ipld::List(values) => {
            let depth = deeper()?;
            head(4, count(values.len()), out);
            values.iter().try_for_each(|value| put(value, depth, out))?;
        }
        Ipld::Map(map) => {
            let depth = deeper()?;
            head(5, count(map.len()), out);
            let mut entries: Vec<_> = map.iter().collect();
            // Short keys first (RFC 7049, section 3.9).
            entries.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            for (key, value) in entries {
                string(3, key.as_bytes(), out);
                put(value, depth, out)?;
            }
        }
    }
    Ok(())
}

fn string(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(major, count(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Major type and argument, in as few bytes as they fit.
fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    let (info, skipped) = match argument {
        0..=23 => return out.push(major << 5 | bytes[7]),
        24..=0xff => (24, 7),
        0x100..=0xffff => (25, 6),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 0),
    };
    out.push(major << 5 | info);
    out.extend_from_slice(&bytes[skipped..]);
}
