//! The data model behind the codecs: dag-pb, dag-cbor, dag-json and raw, from one to another.

use std::collections::BTreeMap;

use bytes::Bytes;
use cid::Cid;
use cid::multibase::Base;
use hpips_dag::{PbNode, decode_pb};
pub(crate) use hpips_types::content::DAG_JSON;
use hpips_types::content::{DAG_CBOR, DAG_PB, LIBP2P_KEY, RAW};
use ipld_core::ipld::Ipld;
use serde_json::{Map, Number, Value};

use super::error::RpcError;

/// Multicodec `cbor`.
const CBOR: u64 = 0x51;
/// Multicodec `json`.
const JSON: u64 = 0x0200;
/// Nesting of a document, at most.
const DEPTH_MAX: usize = 128;
/// Largest document, bytes.
const DOCUMENT_BYTES_MAX: usize = hpips_store::BLOCK_BYTES_MAX;

/// Codecs that have a name here, and their numbers.
pub(crate) const CODECS: &[(&str, u64)] = &[
    ("cbor", CBOR),
    ("raw", RAW),
    ("dag-pb", DAG_PB),
    ("dag-cbor", DAG_CBOR),
    ("libp2p-key", LIBP2P_KEY),
    ("git-raw", 0x78),
    ("dag-jose", 0x85),
    ("dag-json", DAG_JSON),
    ("json", JSON),
];

/// The number of a codec.
pub(crate) fn codec_of(name: &str) -> Result<u64, RpcError> {
    let known = CODECS.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    known.ok_or_else(|| RpcError::new(format!("unknown codec {name:?}")))
}

/// Reads a block of a codec.
pub(crate) fn decode(codec: u64, block: &Bytes) -> Result<Ipld, RpcError> {
    if block.len() > DOCUMENT_BYTES_MAX {
        return Err(RpcError::new(format!(
            "a document of {} bytes, {DOCUMENT_BYTES_MAX} are read",
            block.len()
        )));
    }
    match codec {
        RAW => Ok(Ipld::Bytes(block.to_vec())),
        DAG_PB => Ok(of_pb(decode_pb(block)?)),
        DAG_CBOR | CBOR => serde_ipld_dagcbor::from_slice(block)
            .map_err(|error| RpcError::new(format!("malformed dag-cbor: {error}"))),
        DAG_JSON => of_json(serde_json::from_slice(block)?, DEPTH_MAX),
        JSON => of_plain_json(serde_json::from_slice(block)?, DEPTH_MAX),
        code => Err(RpcError::new(format!("no decoder registered for multicodec code {code} ({code:#x})"))),
    }
}

/// Writes a document canonically.
pub(crate) fn encode(codec: u64, document: &Ipld) -> Result<Vec<u8>, RpcError> {
    match codec {
        RAW => match document {
            Ipld::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(RpcError::new("only bytes can be written as raw")),
        },
        DAG_PB => to_pb(document),
        DAG_CBOR => serde_ipld_dagcbor::to_vec(document)
            .map_err(|error| RpcError::new(format!("cannot write dag-cbor: {error}"))),
        DAG_JSON => Ok(serde_json::to_vec(&to_json(document)?)?),
        code => Err(RpcError::new(format!("no encoder registered for multicodec code {code} ({code:#x})"))),
    }
}

/// What one segment of a path leads to.
pub(crate) fn step<'a>(document: &'a Ipld, segment: &str) -> Option<&'a Ipld> {
    match document {
        Ipld::Map(map) => map.get(segment),
        Ipld::List(list) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    }
}

/// dag-pb in the data model (<https://ipld.io/specs/codecs/dag-pb/spec/>, logical format).
fn of_pb(node: PbNode) -> Ipld {
    let link = |link: hpips_dag::PbLink| {
        Ipld::Map(BTreeMap::from([
            ("Hash".to_owned(), Ipld::Link(link.cid)),
            ("Name".to_owned(), Ipld::String(link.name)),
            ("Tsize".to_owned(), Ipld::Integer(link.tsize.into())),
        ]))
    };
    let mut map =
        BTreeMap::from([("Links".to_owned(), Ipld::List(node.links.into_iter().map(link).collect()))]);
    if let Some(data) = node.data {
        map.insert("Data".to_owned(), Ipld::Bytes(data.to_vec()));
    }
    Ipld::Map(map)
}

fn to_pb(document: &Ipld) -> Result<Vec<u8>, RpcError> {
    let wrong = |what: &str| RpcError::new(format!("not the form of dag-pb: {what}"));
    let Ipld::Map(map) = document else { return Err(wrong("no map")) };
    if let Some(name) = map.keys().find(|name| !["Links", "Data"].contains(&name.as_str())) {
        return Err(wrong(&format!("field {name:?}")));
    }
    let data = match map.get("Data") {
        None => None,
        Some(Ipld::Bytes(data)) => Some(data.as_slice()),
        Some(_) => return Err(wrong("Data is no bytes")),
    };
    let Some(Ipld::List(list)) = map.get("Links") else { return Err(wrong("no list of Links")) };
    let mut links = Vec::new();
    for link in list {
        let Ipld::Map(link) = link else { return Err(wrong("a link that is no map")) };
        let Some(Ipld::Link(cid)) = link.get("Hash") else { return Err(wrong("a link without Hash")) };
        let name = match link.get("Name") {
            None => "",
            Some(Ipld::String(name)) => name.as_str(),
            Some(_) => return Err(wrong("Name is no text")),
        };
        let tsize = match link.get("Tsize") {
            None => 0,
            Some(Ipld::Integer(tsize)) => u64::try_from(*tsize).map_err(|_| wrong("Tsize out of range"))?,
            Some(_) => return Err(wrong("Tsize is no number")),
        };
        links.push((name, cid, tsize));
    }
    // Sorted by name, equal ones as they came (dag-pb, canonical form).
    links.sort_by(|left, right| left.0.as_bytes().cmp(right.0.as_bytes()));
    let mut block = hpips_dag::encode_pb(links, data.unwrap_or_default());
    if data.is_none() {
        // The data field is always written last: an absent one is cut off.
        block.truncate(block.len() - 2);
    }
    Ok(block)
}

/// dag-json read (<https://ipld.io/specs/codecs/dag-json/spec/>).
fn of_json(value: Value, depth: usize) -> Result<Ipld, RpcError> {
    let depth = depth.checked_sub(1).ok_or_else(|| RpcError::new("the document is nested too deeply"))?;
    Ok(match value {
        Value::Object(mut map) if map.len() == 1 && map.contains_key("/") => {
            let wrong = || RpcError::new("malformed dag-json: \"/\" is neither a link nor bytes");
            match map.remove("/").unwrap_or_default() {
                Value::String(text) => Ipld::Link(text.parse().map_err(|_| wrong())?),
                Value::Object(inner) if inner.len() == 1 => {
                    let text = inner.get("bytes").and_then(Value::as_str).ok_or_else(wrong)?;
                    Ipld::Bytes(Base::Base64.decode(text.trim_end_matches('=')).map_err(|_| wrong())?)
                }
                _ => return Err(wrong()),
            }
        }
        Value::Array(values) => {
            Ipld::List(values.into_iter().map(|value| of_json(value, depth)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Ipld::Map(
            map.into_iter()
                .map(|(name, value)| Ok((name, of_json(value, depth)?)))
                .collect::<Result<_, RpcError>>()?,
        ),
        scalar => scalar_of_json(scalar)?,
    })
}

fn of_plain_json(value: Value, depth: usize) -> Result<Ipld, RpcError> {
    let depth = depth.checked_sub(1).ok_or_else(|| RpcError::new("the document is nested too deeply"))?;
    Ok(match value {
        Value::Array(values) => {
            Ipld::List(values.into_iter().map(|value| of_plain_json(value, depth)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Ipld::Map(
            map.into_iter()
                .map(|(name, value)| Ok((name, of_plain_json(value, depth)?)))
                .collect::<Result<_, RpcError>>()?,
        ),
        scalar => scalar_of_json(scalar)?,
    })
}

fn scalar_of_json(value: Value) -> Result<Ipld, RpcError> {
    Ok(match value {
        Value::Bool(value) => Ipld::Bool(value),
        Value::String(value) => Ipld::String(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Ipld::Integer(value.into()),
            (None, Some(value), _) => Ipld::Integer(value.into()),
            (None, None, Some(value)) => Ipld::Float(value),
            _ => return Err(RpcError::new("a number that is none")),
        },
        _ => Ipld::Null,
    })
}

/// dag-json written; maps in the order of their names' bytes.
fn to_json(document: &Ipld) -> Result<Value, RpcError> {
    Ok(match document {
        Ipld::Null => Value::Null,
        Ipld::Bool(value) => Value::Bool(*value),
        Ipld::Integer(value) => {
            let number =
                i64::try_from(*value).map(Number::from).or_else(|_| u64::try_from(*value).map(Number::from));
            Value::Number(number.map_err(|_| RpcError::new("an integer of more than 64 bits"))?)
        }
        Ipld::Float(value) => {
            Value::Number(Number::from_f64(*value).ok_or_else(|| RpcError::new("a number that is none"))?)
        }
        Ipld::String(value) => Value::String(value.clone()),
        Ipld::Bytes(bytes) => slash(Value::Object(Map::from_iter([(
            "bytes".to_owned(),
            Value::String(Base::Base64.encode(bytes)),
        )]))),
        Ipld::Link(cid) => slash(Value::String(cid.to_string())),
        Ipld::List(values) => Value::Array(values.iter().map(to_json).collect::<Result<_, _>>()?),
        Ipld::Map(map) => Value::Object(
            map.iter()
                .map(|(name, value)| Ok((name.clone(), to_json(value)?)))
                .collect::<Result<_, RpcError>>()?,
        ),
    })
}

fn slash(value: Value) -> Value {
    Value::Object(Map::from_iter([("/".to_owned(), value)]))
}

/// A link in Kubo's answers.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct LinkView {
    #[serde(rename = "/")]
    cid: String,
}

impl LinkView {
    pub(crate) fn new(cid: &Cid) -> Self {
        Self { cid: cid.to_string() }
    }

    pub(crate) fn text(cid: String) -> Self {
        Self { cid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_go_from_codec_to_codec() {
        let text = r#"{"a":[1,-2,1.5,null,true],"b":{"/":{"bytes":"aGVsbG8"}},"c":{"/":"QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco"}}"#;
        let document = decode(DAG_JSON, &Bytes::from(text)).unwrap();
        assert_eq!(encode(DAG_JSON, &document).unwrap(), text.as_bytes());
        let cbor = encode(DAG_CBOR, &document).unwrap();
        assert_eq!(decode(DAG_CBOR, &cbor.into()).unwrap(), document);
        assert_eq!(step(&document, "b"), Some(&Ipld::Bytes(b"hello".to_vec())));
        assert_eq!(step(step(&document, "a").unwrap(), "1"), Some(&Ipld::Integer(-2)));
        assert_eq!(step(&document, "nothing"), None);
    }

    #[test]
    fn dag_pb_with_and_without_data() {
        for text in [r#"{"Data":{"/":{"bytes":"CAE"}},"Links":[]}"#, r#"{"Links":[]}"#] {
            let document = decode(DAG_JSON, &Bytes::from(text)).unwrap();
            let block = encode(DAG_PB, &document).unwrap();
            assert_eq!(decode(DAG_PB, &block.into()).unwrap(), document);
        }
        for bad in [r#"{"Links":{}}"#, r#"{"Data":1,"Links":[]}"#, r#"{"Links":[],"More":1}"#, "[]"] {
            assert!(encode(DAG_PB, &decode(DAG_JSON, &Bytes::from(bad)).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(decode(DAG_JSON, &Bytes::from(deep)).is_err());
        for bad in [r#"{"/":1}"#, r#"{"/":"bogus"}"#, r#"{"/":{"bytes":"!"}}"#, "{", ""] {
            assert!(decode(DAG_JSON, &Bytes::from(bad)).is_err(), "{bad}");
        }
    }
}
