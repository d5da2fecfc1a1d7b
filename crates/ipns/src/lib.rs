//! Names that point at content and can be moved: IPNS, without I/O.
//!
//! A [`Name`] is the hash of a public key, or the key itself where it is short. Whoever holds the secret key signs a
//! [`Record`] that says where the name points, until when, and the how-manieth such record it is. Anybody can check a
//! record against its name; of two records that check, [`Record::is_newer_than`] decides.
//!
//! This room refuses to know where records are kept or asked for, and has no clock: the time comes as a [`Moment`].
//! A record that is decoded here has the size and form of one, nothing more: [`Record::verify`] before its value is
//! used. Source: <https://specs.ipfs.tech/ipns/ipns-record/>.
//!
//! ```
//! use hpips_ipns::{Content, Moment, Name, Record};
//! let seed = [7; 32];
//! let (now, later) = (Moment::from_unix_seconds(1_000), Moment::from_unix_seconds(2_000));
//! let value = "/ipfs/bafkqaddwgevxmmraojswg33smq".to_owned();
//! let content = Content { value, validity: later, sequence: 0, ttl_nanoseconds: 300_000_000_000 };
//! let record = Record::create(&seed, &content, hpips_ipns::Form::V1AndV2).unwrap();
//! let name = Name::of_seed(&seed);
//! assert_eq!(Record::decode(record.bytes()).unwrap().verify(&name, now).unwrap().value, content.value);
//! assert!(record.verify(&name, later).is_err(), "it has ended");
//! assert!(hpips_ipns::validate_dht(&hpips_ipns::dht_key(&name), record.bytes(), now));
//! ```

#![forbid(unsafe_code)]

mod dht;
mod moment;
mod name;
mod proto;
mod record;

#[cfg(test)]
mod tests;

pub use dht::{better_dht, dht_key, name_of_dht_key, validate_dht};
pub use moment::Moment;
pub use name::{KeyError, Name, NameError};
pub use record::{Content, CreateError, Form, RECORD_BYTES_MAX, Record, RecordError};
