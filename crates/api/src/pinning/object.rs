//! What goes over the wire: the pin a client wants, and how it stands.

use std::collections::BTreeMap;

use hpips_types::Cid;
use serde::{Deserialize, Deserializer, Serialize};

use super::failure::Failure;

/// Bytes in a pin's name at most: what the store keeps.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Pairs of metadata at most (the specification's limit).
pub(super) const META_MAX: usize = 1000;
/// Origins that are kept (the specification's limit). Nodes with many interfaces send more.
const ORIGINS_MAX: usize = 20;
/// Bytes of an origin at most. Addresses with certificates have a few hundred.
const ORIGIN_BYTES_MAX: usize = 1024;

/// A pin as a client wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The root, as the client wrote it.
    pub(crate) cid: String,
    /// A name for people.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Who is said to have the content.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) origins: Vec<String>,
    /// What else the client wants to be remembered.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) meta: BTreeMap<String, String>,
}

/// Some clients write `null` for what they leave out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

impl Pin {
    /// Reads a pin from a request's body, within its bounds.
    ///
    /// # Errors
    /// A [`Failure`] that says what is wrong.
    pub(crate) fn parse(body: &[u8]) -> Result<(Self, Cid), Failure> {
        let wrong = |text: String| Failure::bad_request(text);
        let mut pin: Self =
            serde_json::from_slice(body).map_err(|error| wrong(format!("not a pin object: {error}")))?;
        let root = parse_cid(&pin.cid)?;
        if pin.name.len() > NAME_BYTES_MAX {
            return Err(wrong(format!("a name has at most {NAME_BYTES_MAX} bytes")));
        }
        if pin.meta.len() > META_MAX {
            return Err(wrong(format!("at most {META_MAX} pairs of metadata")));
        }
        // Hints: those beyond the limit are not worth a refusal.
        pin.origins.truncate(ORIGINS_MAX);
        for origin in &pin.origins {
            if !origin.starts_with('/') || origin.len() > ORIGIN_BYTES_MAX {
                return Err(wrong("an origin is no multiaddress".into()));
            }
        }
        Ok((pin, root))
    }
}

/// A CID that a client names.
pub(super) fn parse_cid(text: &str) -> Result<Cid, Failure> {
    let wrong = |why: String| Failure::bad_request(format!("{text:?} is no CID: {why}"));
    // The parser takes paths and URLs, too, and passes over what stands before the CID.
    if text.contains('/') {
        return Err(wrong("it is a path".into()));
    }
    text.parse().map_err(|error: cid::Error| wrong(error.to_string()))
}

/// Where a request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It waits for its turn, or to be tried again.
    Queued,
    /// It is being fetched.
    Pinning,
    /// It is pinned.
    Pinned,
    /// It was given up.
    Failed,
}

impl Status {
    /// All of them, with the words of the specification.
    pub(crate) const ALL: [(Self, &str); 4] = [
        (Self::Queued, "queued"),
        (Self::Pinning, "pinning"),
        (Self::Pinned, "pinned"),
        (Self::Failed, "failed"),
    ];
}

/// A request and how it stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PinStatus {
    /// Its name.
    pub(crate) requestid: String,
    /// Where it is on its way.
    pub(crate) status: Status,
    /// When it came, RFC 3339.
    pub(crate) created: String,
    /// What was asked for.
    pub(crate) pin: Pin,
    /// Addresses of this node.
    pub(crate) delegates: Vec<String>,
    /// More for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) info: BTreeMap<&'static str, String>,
}

/// A page of requests.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PinResults {
    /// How many match, on all pages.
    pub(crate) count: usize,
    /// This page.
    pub(crate) results: Vec<PinStatus>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    #[test]
    fn pins_within_their_bounds() {
        let parse = |text: String| Pin::parse(text.as_bytes());
        let (pin, root) = parse(format!(
            r#"{{"cid":"{CID}","name":"n","origins":["/ip4/1.2.3.4/tcp/1"],"meta":{{"a":"b"}},"more":1}}"#
        ))
        .unwrap();
        assert_eq!((pin.name.as_str(), pin.meta["a"].as_str(), root.to_string().as_str()), ("n", "b", CID));
        let bare = parse(format!(r#"{{"cid":"{CID}","name":null,"origins":null,"meta":null}}"#)).unwrap().0;
        assert_eq!(serde_json::to_string(&bare).unwrap(), format!(r#"{{"cid":"{CID}"}}"#));
        let many = vec![r#""/ip4/1.2.3.4/tcp/1""#; 30].join(",");
        let many = parse(format!(r#"{{"cid":"{CID}","origins":[{many}]}}"#)).unwrap().0;
        assert_eq!(many.origins.len(), ORIGINS_MAX);
        let pairs = |count: usize| {
            let pairs: Vec<_> = (0..count).map(|index| format!(r#""{index}":"x""#)).collect();
            format!(r#"{{"cid":"{CID}","meta":{{{}}}}}"#, pairs.join(","))
        };
        assert!(parse(pairs(META_MAX)).is_ok());
        for wrong in [
            String::new(),
            "[]".into(),
            "{}".into(),
            r#"{"cid":"x"}"#.into(),
            r#"{"cid":1}"#.into(),
            format!(r#"{{"cid":"/ipfs/{CID}"}}"#),
            format!(r#"{{"cid":"{CID}","name":"{}"}}"#, "n".repeat(256)),
            format!(r#"{{"cid":"{CID}","meta":{{"a":1}}}}"#),
            format!(r#"{{"cid":"{CID}","origins":["1.2.3.4"]}}"#),
            pairs(META_MAX + 1),
        ] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
