//! Names of codecs, and links in answers.

use cid::Cid;
use hpips_dag::document::{CBOR, JSON};
use hpips_types::content::{DAG_CBOR, DAG_JSON, DAG_PB, LIBP2P_KEY, RAW};

use super::error::RpcError;

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
