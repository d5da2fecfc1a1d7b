//! The store with and without faults.

mod behaviour;
mod collect;
mod crash;
mod format;
mod kill;
mod repair;
mod room;
mod rot;
mod speed;

use bytes::Bytes;
use hpips_types::Cid;
use hpips_types::content::{DAG_CBOR, RAW, cid_v1};

use crate::config::Config;

/// Small packs and caches, so that a few blocks reach every corner.
pub(crate) fn small() -> Config {
    Config {
        cache_bytes: 1 << 20,
        pack_bytes: 2_000,
        index_lag_bytes: 1_500,
        open_files_max: 2,
        ..Config::default()
    }
}

/// A raw block whose content follows from its number.
pub(crate) fn block(number: u64, bytes: usize) -> (Cid, Bytes) {
    let content: Vec<u8> = number.to_le_bytes().iter().copied().cycle().take(bytes.max(8)).collect();
    (cid_v1(RAW, &content), content.into())
}

/// A block that links to others.
pub(crate) fn parent(children: &[Cid]) -> (Cid, Bytes) {
    let content = hpips_types::cbor::encode(&children);
    (cid_v1(DAG_CBOR, &content), content.into())
}
