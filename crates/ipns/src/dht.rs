//! Records as a DHT and other routers of values know them: by a key of bytes.

use crate::moment::Moment;
use crate::name::{NAMESPACE, Name};
use crate::record::Record;

/// The key of a name's record: `/ipns/` and the name's multihash.
pub fn dht_key(name: &Name) -> Vec<u8> {
    [NAMESPACE.as_bytes(), &name.to_bytes()].concat()
}

/// The name whose records stand under a key; `None` for keys of anything else.
pub fn name_of_dht_key(key: &[u8]) -> Option<Name> {
    Name::from_bytes(key.strip_prefix(NAMESPACE.as_bytes())?).ok()
}

/// Whether a value may stand under a key: it is a record of that name, signed by it, and has not ended.
pub fn validate_dht(key: &[u8], value: &[u8], now: Moment) -> bool {
    let Some(name) = name_of_dht_key(key) else { return false };
    Record::decode(value).is_ok_and(|record| record.verify(&name, now).is_ok())
}

/// Whether `new` shall take the place of `old` under a key; both were validated. What is no record loses.
pub fn better_dht(key: &[u8], old: &[u8], new: &[u8]) -> bool {
    if name_of_dht_key(key).is_none() {
        return false;
    }
    match (Record::decode(old), Record::decode(new)) {
        (Ok(old), Ok(new)) => new.is_newer_than(&old),
        (Err(_), Ok(_)) => true,
        (_, Err(_)) => false,
    }
}
