//! dag-json written, canonically: no white space, keys in the order of their bytes.

use std::collections::BTreeMap;

use cid::multibase::Base;
use ipld_core::ipld::Ipld;

use super::build::{Reserved, reserved};
use super::{DEPTH_MAX, EncodeError};

pub(super) fn write(document: &Ipld) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(document, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn put(value: &Ipld, depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Ipld::Null => out.extend_from_slice(b"null"),
        Ipld::Bool(true) => out.extend_from_slice(b"true"),
        Ipld::Bool(false) => out.extend_from_slice(b"false"),
        Ipld::Integer(value) => {
            if *value < -(1 << 64) || *value > i128::from(u64::MAX) {
                return Err(EncodeError::Integer);
            }
            out.extend_from_slice(value.to_string().as_bytes());
        }
        Ipld::Float(value) if value.is_finite() => scalar(value, out),
        Ipld::Float(_) => return Err(EncodeError::Float),
        Ipld::String(text) => scalar(text, out),
        Ipld::Bytes(bytes) => {
            out.extend_from_slice(b"{\"/\":{\"bytes\":\"");
            out.extend_from_slice(Base::Base64.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}}");
        }
        Ipld::Link(cid) => {
            out.extend_from_slice(b"{\"/\":\"");
            out.extend_from_slice(cid.to_string().as_bytes());
            out.extend_from_slice(b"\"}");
        }
        Ipld::List(values) => {
            let depth = depth.checked_sub(1).ok_or(EncodeError::TooDeep)?;
            out.push(b'[');
            for (value, at) in values.iter().zip(0..) {
                if at > 0 {
                    out.push(b',');
                }
                put(value, depth, out)?;
            }
            out.push(b']');
        }
        Ipld::Map(map) => put_map(map, depth.checked_sub(1).ok_or(EncodeError::TooDeep)?, out)?,
    }
    Ok(())
}

fn put_map(map: &BTreeMap<String, Ipld>, depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if reserved(map) != Reserved::Not {
        return Err(EncodeError::Reserved);
    }
    out.push(b'{');
    for ((key, value), at) in map.iter().zip(0..) {
        if at > 0 {
            out.push(b',');
        }
        scalar(key, out);
        out.push(b':');
        put(value, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn scalar(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text and finite numbers are JSON, and memory takes them");
}
