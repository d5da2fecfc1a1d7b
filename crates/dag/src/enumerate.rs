//! All blocks of a DAG, each once, depth first.

use std::collections::HashSet;

use bytes::Bytes;
use cid::Cid;

use crate::codec::{DecodeError, children, is_leaf_codec};

/// Why an enumeration ends early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnumerateError {
    /// A block cannot be decoded.
    #[error("cannot decode {cid}")]
    Decode {
        /// The block.
        cid: Cid,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// More blocks than the caller allows.
    #[error("more than {max} blocks")]
    TooMany {
        /// Blocks allowed.
        max: usize,
    },
}

/// Enumerates the blocks reachable from roots in depth-first order, parents first, children in the order of
/// their links, each CID once.
///
/// Without I/O: [`DepthFirst::next_cid`] names the next block, [`DepthFirst::feed`] takes it if it can have
/// links ([`is_leaf_codec`] tells); a block that is not fed is treated as one without links. About 200 bytes
/// are kept a block.
///
/// ```
/// # use hpips_dag::{DepthFirst, FileBuilder, Profile, is_leaf_codec};
/// # let mut blocks = Vec::new();
/// # let mut file = FileBuilder::new(Profile::unixfs_v0_2015());
/// # file.push(&vec![0; 600_000], &mut blocks);
/// # let root = file.finish(&mut blocks).cid;
/// # let get = |cid: &_| blocks.iter().find(|block| block.cid == *cid).unwrap().bytes.clone();
/// let mut walk = DepthFirst::new(root, 1_000);
/// let mut order = Vec::new();
/// while let Some(cid) = walk.next_cid() {
///     if !is_leaf_codec(&cid) {
///         walk.feed(&cid, &get(&cid))?;
///     }
///     order.push(cid);
/// }
/// assert_eq!(order.len(), 3); // the two full chunks are equal
/// # Ok::<(), hpips_dag::EnumerateError>(())
/// ```
#[derive(Debug)]
pub struct DepthFirst {
    /// Blocks to visit, the next one last.
    stack: Vec<Cid>,
    seen: HashSet<Cid>,
    blocks_max: usize,
}

impl DepthFirst {
    /// Starts at a root; gives up beyond `blocks_max` blocks seen or waiting.
    pub fn new(root: Cid, blocks_max: usize) -> Self {
        Self { stack: vec![root], seen: HashSet::new(), blocks_max }
    }

    /// Goes on with another root; blocks seen before are not repeated. That is how the blocks of one object
    /// minus those of another are found: enumerate the other first.
    pub fn push_root(&mut self, root: Cid) {
        self.stack.push(root);
    }

    /// The next block, or `None` when all were named.
    pub fn next_cid(&mut self) -> Option<Cid> {
        loop {
            let cid = self.stack.pop()?;
            if self.seen.insert(cid) {
                return Some(cid);
            }
        }
    }

    /// Takes the block that was just named, checked against its CID.
    ///
    /// # Errors
    /// [`EnumerateError::Decode`], and [`EnumerateError::TooMany`] when the limit is passed.
    pub fn feed(&mut self, cid: &Cid, block: &Bytes) -> Result<(), EnumerateError> {
        let links = children(cid, block).map_err(|source| EnumerateError::Decode { cid: *cid, source })?;
        self.stack.extend(links.into_iter().rev().filter(|link| !self.seen.contains(link)));
        if self.stack.len() + self.seen.len() > self.blocks_max {
            return Err(EnumerateError::TooMany { max: self.blocks_max });
        }
        Ok(())
    }

    /// CIDs that are likely next, in order: hints for fetching ahead. Leaves that need not be fed are among them.
    pub fn upcoming(&self, count: usize) -> Vec<Cid> {
        self.stack.iter().rev().filter(|cid| !self.seen.contains(*cid)).take(count).copied().collect()
    }

    /// Everything named so far.
    pub fn into_seen(self) -> HashSet<Cid> {
        self.seen
    }

    /// Enumerates everything at once with blocks from `get`, which is asked only for blocks that can have links.
    ///
    /// # Errors
    /// What `get` and decoding fail with.
    pub fn run<E>(
        mut self,
        mut get: impl FnMut(&Cid) -> Result<Bytes, E>,
        mut visit: impl FnMut(&Cid) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<EnumerateError>,
    {
        while let Some(cid) = self.next_cid() {
            if !is_leaf_codec(&cid) {
                self.feed(&cid, &get(&cid)?)?;
            }
            visit(&cid)?;
        }
        Ok(())
    }
}
