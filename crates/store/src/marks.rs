//! Sets of blocks for tens of millions, and the walk that fills them.

use std::collections::HashSet;

use hpips_dag::{DecodeError, children, is_leaf_codec};
use hpips_types::Cid;
use hpips_types::content::{IDENTITY, LIBP2P_KEY, sha256};

use crate::error::ReadError;
use crate::store::Store;

/// Parts of a set: each grows by itself, so that growing never copies more than one part.
const SHARDS: usize = 256;
/// Digests from this length on cannot be made to share their first 16 bytes.
const STRONG_BYTES: usize = 20;

/// A set of blocks by the first 16 bytes of their digests: finding two blocks that share them is as hard as breaking
/// half a SHA-256, 2^64 steps. A link to no block can name any digest; so this only says what to keep, never what was
/// looked at. 20 to 38 bytes a block: at most 380 MB for ten million.
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
    /// Adds a block; returns whether it was new.
    pub(crate) fn insert(&mut self, cid: &Cid) -> bool {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, HashSet::new);
        }
        let fingerprint = fingerprint(cid);
        self.shards[shard_of(fingerprint)].insert(fingerprint)
    }

    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        let fingerprint = fingerprint(cid);
        self.shards.get(shard_of(fingerprint)).is_some_and(|shard| shard.contains(&fingerprint))
    }
}

/// A set of nodes by the SHA-256 of their whole CIDs: nobody can make a link that is taken for another one, neither by a
/// foreign hash function nor by a foreign codec. 37 to 74 bytes a node: at most 74 MB for a million. Only nodes with
/// links are in it, one in some hundred of the blocks of files.
#[derive(Debug, Default)]
struct Nodes(HashSet<[u8; 32]>);

fn node_of(cid: &Cid) -> [u8; 32] {
    *sha256(&cid.to_bytes()).as_bytes()
}

/// What a walk found where a link points.
#[derive(Debug)]
pub(crate) enum Found {
    /// A block without links; whether it is here was not asked.
    Leaf,
    /// A block that was read, and its links are followed.
    Inner,
    /// Not here.
    Missing,
    /// Here and not readable.
    Failed(ReadError),
    /// Read, and its links cannot be told.
    Undecoded(DecodeError),
}

/// A walk over everything reachable from roots; the nodes that may have links are read once each. It changes nothing:
/// a damaged block is not forgotten, or the next walk would take it for one that never came.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    stack: Vec<Cid>,
    /// Nodes that were read. One that could not be read is not among them: it may come, or be asked for again.
    walked: Nodes,
    /// Of earlier roots, see [`Reach::settle`].
    settled: Nodes,
}

impl Reach {
    pub(crate) fn push(&mut self, root: Cid) {
        self.stack.push(root);
    }

    /// After a root: what is below it is not visited again for others, or it is, because it was not as it should be.
    pub(crate) fn settle(&mut self, is_whole: bool) {
        let walked = std::mem::take(&mut self.walked);
        if is_whole {
            self.settled.0.extend(walked.0);
        }
    }

    /// Visits what is reachable from the roots that were pushed and not reached before. Leaves come as often as they
    /// are linked.
    pub(crate) fn run<E>(
        &mut self,
        store: &Store,
        mut visit: impl FnMut(&Cid, Found) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = Nodes::default();
        while let Some(cid) = self.stack.pop() {
            // A key is no block, and has no links to follow.
            if is_leaf_codec(&cid) || cid.codec() == LIBP2P_KEY {
                visit(&cid, Found::Leaf)?;
                continue;
            }
            let node = node_of(&cid);
            if [&self.settled, &self.walked, &failed].iter().any(|nodes| nodes.0.contains(&node)) {
                continue;
            }
            let found = match store.peek(&cid) {
                Ok(Some(block)) => match children(&cid, &block) {
                    Ok(links) => {
                        self.walked.0.insert(node);
                        self.stack.extend(links.into_iter().rev());
                        visit(&cid, Found::Inner)?;
                        continue;
                    }
                    Err(error) => Found::Undecoded(error),
                },
                Ok(None) => Found::Missing,
                Err(error) => Found::Failed(error),
            };
            failed.0.insert(node);
            visit(&cid, found)?;
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
