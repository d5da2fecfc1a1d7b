//! Sets of blocks for tens of millions, and the walk that fills them.

use std::collections::HashSet;

use hpips_dag::{children, is_leaf_codec};
use hpips_types::Cid;
use hpips_types::content::{IDENTITY, sha256};

use crate::error::ReadError;
use crate::store::Store;

/// Parts of a set: each grows by itself, so that growing never copies more than one part.
const SHARDS: usize = 256;
/// Digests from this length on cannot be made to share their first 16 bytes.
const STRONG_BYTES: usize = 20;

/// A set of blocks by the first 16 bytes of their digests: finding two blocks that share them is as hard as breaking
/// half a SHA-256, 2^64 steps. 20 to 38 bytes a block: at most 380 MB for ten million.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    shards: Vec<HashSet<u128>>,
}

fn fingerprint(cid: &Cid) -> u128 {
    let digest = cid.hash().digest();
    let is_strong = cid.hash().code() != IDENTITY && digest.len() >= STRONG_BYTES;
    match digest.first_chunk::<16>() {
        Some(first) if is_strong => u128::from_le_bytes(*first),
        _ => {
            let whole = sha256(&cid.hash().to_bytes());
            let first = whole.as_ref().first_chunk::<16>().expect("32 bytes");
            u128::from_le_bytes(*first)
        }
    }
}

fn shard_of(fingerprint: u128) -> usize {
    usize::from(fingerprint.to_be_bytes()[0])
}

impl Marks {
    fn insert_fingerprint(&mut self, fingerprint: u128) -> bool {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashSet::new);
        }
        self.shards[shard_of(fingerprint)].insert(fingerprint)
    }

    /// Adds a block; returns whether it was new.
    pub(crate) fn insert(&mut self, cid: &Cid) -> bool {
        self.insert_fingerprint(fingerprint(cid))
    }

    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        self.contains_fingerprint(fingerprint(cid))
    }

    fn contains_fingerprint(&self, fingerprint: u128) -> bool {
        self.shards.get(shard_of(fingerprint)).is_some_and(|shard| shard.contains(&fingerprint))
    }
}

/// What a walk found where a link points.
#[derive(Debug)]
pub(crate) enum Found {
    /// A block without links; whether it is here was not asked.
    Leaf,
    /// A block that was read, and its links followed if its codec has any that are known.
    Inner,
    /// Not here.
    Missing,
    /// Here and not readable.
    Failed(ReadError),
}

/// A walk over everything reachable from roots; the nodes that may have links are read once each.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    stack: Vec<Cid>,
    /// By codec as well: the same bytes may be a leaf under one CID and have links under another.
    walked: Marks,
    /// Of earlier roots, see [`Reach::settle`].
    settled: Marks,
}

impl Reach {
    pub(crate) fn push(&mut self, root: Cid) {
        self.stack.push(root);
    }

    /// After a root: what is below it is not visited again for others, or it is, because it was not as it should be.
    pub(crate) fn settle(&mut self, is_whole: bool) {
        let walked = std::mem::take(&mut self.walked);
        if is_whole {
            for node in walked.shards.into_iter().flatten() {
                self.settled.insert_fingerprint(node);
            }
        }
    }

    /// Visits what is reachable from the roots that were pushed and not reached before. Leaves come as often as they
    /// are linked.
    pub(crate) fn run<E>(
        &mut self,
        store: &Store,
        mut visit: impl FnMut(&Cid, Found) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(cid) = self.stack.pop() {
            if is_leaf_codec(&cid) {
                visit(&cid, Found::Leaf)?;
                continue;
            }
            let node = fingerprint(&cid).wrapping_add(u128::from(cid.codec()));
            if self.settled.contains_fingerprint(node) || !self.walked.insert_fingerprint(node) {
                continue;
            }
            let block = match store.get(&cid) {
                Ok(Some(block)) => block,
                Ok(None) => {
                    visit(&cid, Found::Missing)?;
                    continue;
                }
                Err(error) => {
                    visit(&cid, Found::Failed(error))?;
                    continue;
                }
            };
            match children(&cid, &block) {
                Ok(links) => self.stack.extend(links.into_iter().rev()),
                Err(error) => tracing::debug!(%cid, %error, "a block has no links that can be followed"),
            }
            visit(&cid, Found::Inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cid::multihash::Multihash;
    use hpips_types::content::{DAG_PB, RAW, cid_v1};

    use super::*;

    #[test]
    fn blocks_are_told_apart_whatever_their_hash() {
        let mut marks = Marks::default();
        let inline = |text: &[u8]| Cid::new_v1(RAW, Multihash::wrap(IDENTITY, text).unwrap());
        let cids = [
            cid_v1(RAW, b"one"),
            cid_v1(RAW, b"two"),
            inline(b"a beginning of sixteen bytes and more"),
            inline(b"a beginning of sixteen bytes and less"),
            inline(b""),
        ];
        for cid in &cids {
            assert!(!marks.contains(cid));
            assert!(marks.insert(cid));
            assert!(!marks.insert(cid) && marks.contains(cid));
        }
        assert!(marks.contains(&cid_v1(DAG_PB, b"one")), "a block is marked under every CID of its hash");
    }
}
