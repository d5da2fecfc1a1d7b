//! dag-pb in the data model (<https://ipld.io/specs/codecs/dag-pb/spec/>, logical format).

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::EncodeError;
use crate::pb::{PbLink, PbNode, encode_pb};

pub(super) fn read(node: PbNode) -> Ipld {
    let link = |link: PbLink| {
        Ipld::Map(BTreeMap::from([
            ("Hash".to_owned(), Ipld::Link(link.cid)),
            ("Name".to_owned(), Ipld::String(link.name)),
            ("Tsize".to_owned(), Ipld::Integer(link.tsize.into())),
        ]))
    };
    let links = Ipld::List(node.links.into_iter().map(link).collect());
    let mut map = BTreeMap::from([("Links".to_owned(), links)]);
    if let Some(data) = node.data {
        map.insert("Data".to_owned(), Ipld::Bytes(data.to_vec()));
    }
    Ipld::Map(map)
}

pub(super) fn write(document: &Ipld) -> Result<Vec<u8>, EncodeError> {
    let wrong = EncodeError::NotPb;
    let Ipld::Map(map) = document else { return Err(wrong("no map")) };
    fields(map, &["Links", "Data"])?;
    let data = match map.get("Data") {
        None => None,
        Some(Ipld::Bytes(data)) => Some(data.as_slice()),
        Some(_) => return Err(wrong("Data is no bytes")),
    };
    let Some(Ipld::List(list)) = map.get("Links") else { return Err(wrong("no list of Links")) };
    let mut links = Vec::new();
    for link in list {
        let Ipld::Map(link) = link else { return Err(wrong("a link that is no map")) };
        fields(link, &["Hash", "Name", "Tsize"])?;
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
    links.sort_by_key(|(name, ..)| name.as_bytes());
    let mut block = encode_pb(links, data.unwrap_or_default());
    if data.is_none() {
        // The data field is always written last: an absent one is cut off.
        block.truncate(block.len() - 2);
    }
    Ok(block)
}

fn fields(map: &BTreeMap<String, Ipld>, known: &[&str]) -> Result<(), EncodeError> {
    let unknown = map.keys().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| Err(EncodeError::PbField(name.as_str().into())))
}
