//! What readers of documents have in common: what they tell, and the document that is built of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cid::Cid;
use cid::multibase::Base;
use ipld_core::ipld::Ipld;

use super::{DEPTH_MAX, VALUES_MAX};
use crate::codec::{DecodeError, Place};

/// Why reading ends, without the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(&'static str),
    Truncated,
    TooDeep,
    TooMany,
}

impl Fault {
    pub(super) fn at(self, codec: &'static str, place: Place) -> DecodeError {
        match self {
            Self::Malformed(what) => DecodeError::Document { codec, what, place },
            Self::Truncated => DecodeError::Document { codec, what: "it ends early", place },
            Self::TooDeep => DecodeError::TooDeep { max: DEPTH_MAX },
            Self::TooMany => DecodeError::TooManyValues { max: VALUES_MAX },
        }
    }
}

/// A value without others in it.
#[derive(Clone, Debug)]
pub(super) enum Leaf<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Link(Cid),
}

/// Takes what a reader finds, in order.
pub(super) trait Sink {
    /// A map or a list, so many of them deep.
    fn open(&mut self, is_map: bool, depth: usize) -> Result<(), Fault> {
        match is_map {
            _ if depth > DEPTH_MAX => Err(Fault::TooDeep),
            true => self.open_map(),
            false => self.open_list(),
        }
    }
    fn open_list(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn open_map(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    /// A key; its value comes next.
    fn key(&mut self, _key: Cow<'_, str>) -> Result<(), Fault> {
        Ok(())
    }
    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), Fault>;
    /// The end of the list or map that was opened last.
    fn close(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

#[derive(Debug)]
enum Open {
    List(Vec<Ipld>),
    /// With the key whose value comes next.
    Map(BTreeMap<String, Ipld>, String),
}

/// Builds a document.
#[derive(Debug)]
pub(super) struct Builder {
    open: Vec<Open>,
    done: Option<Ipld>,
    values: usize,
    /// Whether maps with the key `/` are links and bytes.
    has_reserved: bool,
}

impl Builder {
    pub(super) fn new(has_reserved: bool) -> Self {
        Self { open: Vec::new(), done: None, values: 0, has_reserved }
    }

    /// The document; a reader that succeeded has told of exactly one.
    pub(super) fn finish(self) -> Ipld {
        self.done.unwrap_or(Ipld::Null)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.values += 1;
        if self.values > VALUES_MAX { Err(Fault::TooMany) } else { Ok(()) }
    }

    fn put(&mut self, value: Ipld) {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some(Open::List(list)) => list.push(value),
            Some(Open::Map(map, key)) => {
                map.insert(std::mem::take(key), value);
            }
        }
    }
}

impl Sink for Builder {
    fn open_list(&mut self) -> Result<(), Fault> {
        self.open.push(Open::List(Vec::new()));
        self.count()
    }

    fn open_map(&mut self) -> Result<(), Fault> {
        self.open.push(Open::Map(BTreeMap::new(), String::new()));
        self.count()
    }

    fn key(&mut self, key: Cow<'_, str>) -> Result<(), Fault> {
        if let Some(Open::Map(map, waiting)) = self.open.last_mut() {
            if map.contains_key(&*key) {
                return Err(Fault::Malformed("a map has a key twice"));
            }
            *waiting = key.into_owned();
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: Leaf<'_>) -> Result<(), Fault> {
        self.count()?;
        self.put(match leaf {
            Leaf::Null => Ipld::Null,
            Leaf::Bool(value) => Ipld::Bool(value),
            Leaf::Integer(value) => Ipld::Integer(value),
            Leaf::Float(value) => Ipld::Float(value),
            Leaf::Text(value) => Ipld::String(value.into_owned()),
            Leaf::Bytes(value) => Ipld::Bytes(value.into_owned()),
            Leaf::Link(cid) => Ipld::Link(cid),
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let value = match self.open.pop() {
            Some(Open::List(list)) => Ipld::List(list),
            Some(Open::Map(map, _)) if self.has_reserved => reserved_value(map)?,
            Some(Open::Map(map, _)) => Ipld::Map(map),
            None => return Ok(()),
        };
        self.put(value);
        Ok(())
    }
}

/// What dag-json's reserved namespace says of a map (<https://ipld.io/specs/codecs/dag-json/spec/>). Keys count in their
/// canonical order, so that whatever is read can be written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved<'a> {
    /// A map like any other.
    Not,
    /// `{"/": text}`.
    Link(&'a str),
    /// `{"/": {"bytes": text}}`.
    Bytes(&'a str),
    /// One of both with more keys.
    Wrong,
}

pub(super) fn reserved(map: &BTreeMap<String, Ipld>) -> Reserved<'_> {
    match map.first_key_value() {
        Some((key, Ipld::String(text))) if key == "/" => {
            if map.len() == 1 {
                Reserved::Link(text)
            } else {
                Reserved::Wrong
            }
        }
        Some((key, Ipld::Map(inner))) if key == "/" => match inner.first_key_value() {
            Some((key, Ipld::String(text))) if key == "bytes" => {
                if map.len() + inner.len() == 2 {
                    Reserved::Bytes(text)
                } else {
                    Reserved::Wrong
                }
            }
            _ => Reserved::Not,
        },
        _ => Reserved::Not,
    }
}

fn reserved_value(map: BTreeMap<String, Ipld>) -> Result<Ipld, Fault> {
    let wrong = Fault::Malformed("\"/\" is neither a link nor bytes");
    match reserved(&map) {
        Reserved::Not => Ok(Ipld::Map(map)),
        Reserved::Link(text) => text.parse().map(Ipld::Link).map_err(|_| wrong),
        // Go reads padded base64 too.
        Reserved::Bytes(text) => {
            Base::Base64.decode(text.trim_end_matches('=')).map(Ipld::Bytes).map_err(|_| wrong)
        }
        Reserved::Wrong => Err(wrong),
    }
}
