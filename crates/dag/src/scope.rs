//! The blocks that a CAR is asked to hold (<https://specs.ipfs.tech/http-gateways/trustless-gateway/>).

use core::ops::Range;
use std::collections::HashSet;

use bytes::Bytes;
use cid::Cid;
use hpips_types::content::IDENTITY;

use crate::block::Block;
use crate::codec::{DecodeError, children};
use crate::directory::DirectoryReader;
use crate::inspect::{Kind, inspect};
use crate::reader::FileReader;
use crate::walk::{Step, Walk, WalkError};

/// How much of what stands at the end of a path is meant: `dag-scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its root block.
    Block,
    /// A file, or a directory without what its entries name; of anything else the root block.
    Entity,
    /// Everything below it.
    All,
}

/// A range of a file, both ends included: `entity-bytes`. Negative numbers count from the file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityBytes {
    from: i64,
    /// `None` for the end of the file.
    to: Option<i64>,
}

impl EntityBytes {
    /// Reads `FROM:TO`, where `TO` may be `*`. `None` for anything else, and for a range that ends before it begins.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(':')?;
        let from = from.parse().ok()?;
        let to = if to == "*" { None } else { Some(to.parse().ok()?) };
        // Only where both count from the same end is it known before the file is.
        let is_backwards = to.is_some_and(|to: i64| (from < 0) == (to < 0) && to < from);
        (!is_backwards).then_some(Self { from, to })
    }

    /// The bytes of a file of this length; empty when the range lies outside.
    pub fn within(self, bytes: u64) -> Range<u64> {
        let at = |offset: i64| match u64::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => bytes.saturating_sub(offset.unsigned_abs()),
        };
        let end = match self.to {
            // So far before the end that nothing is left.
            Some(to) if to < 0 && to.unsigned_abs() > bytes => 0,
            Some(to) => at(to).saturating_add(1).min(bytes),
            None => bytes,
        };
        at(self.from)..end
    }
}

/// Yields the blocks of a scope, depth first and parents first, children in the order of their links.
///
/// Each CID comes once unless [`ScopeWalk::with_duplicates`] was asked for; blocks whose CID carries them (identity) are
/// read and not yielded. About 100 bytes are kept a block where none is repeated.
///
/// ```
/// # use hpips_dag::{FileBuilder, Profile, Walk};
/// use hpips_dag::scope::{Scope, ScopeWalk};
/// # let mut blocks = Vec::new();
/// # let mut file = FileBuilder::new(Profile::unixfs_v0_2015());
/// # file.push(&vec![0; 600_000], &mut blocks);
/// # let root = file.finish(&mut blocks).cid;
/// # let get = |cid: &cid::Cid| blocks.iter().find(|block| block.cid == *cid).map(|b| b.bytes.clone()).ok_or("missing");
/// let whole = ScopeWalk::new(Some(root), Scope::All, 1_000);
/// assert_eq!(whole.drive(get).count(), 3); // the two full chunks are equal
/// let repeated = ScopeWalk::new(Some(root), Scope::All, 1_000).with_duplicates();
/// assert_eq!(repeated.drive(get).count(), 4);
/// ```
#[derive(Debug)]
pub struct ScopeWalk {
    scope: Scope,
    range: Option<EntityBytes>,
    /// Blocks on the path, yielded first.
    path: std::vec::IntoIter<Cid>,
    at: At,
    /// Blocks yielded, when none is to be repeated.
    seen: Option<HashSet<Cid>>,
    blocks_max: usize,
    skips_unknown: bool,
    wanted: Option<Wanted>,
    ready: Option<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    cid: Cid,
    is_on_path: bool,
}

/// Where the walk stands.
#[derive(Debug)]
enum At {
    Root(Cid),
    File(FileReader),
    Directory(DirectoryReader),
    /// Links to follow, the next one last.
    All(Vec<Cid>),
    Done,
}

impl ScopeWalk {
    /// A walk from a root, or over nothing but the path to where one would be. Gives up beyond `blocks_max` blocks seen
    /// or waiting.
    pub fn new(root: Option<Cid>, scope: Scope, blocks_max: usize) -> Self {
        Self {
            scope,
            range: None,
            path: Vec::new().into_iter(),
            at: root.map_or(At::Done, At::Root),
            seen: Some(HashSet::new()),
            blocks_max,
            skips_unknown: false,
            wanted: None,
            ready: None,
        }
    }

    /// Yields these blocks first: those that lead to the root, or show that it is not there.
    pub fn with_path(self, path: Vec<Cid>) -> Self {
        Self { path: path.into_iter(), ..self }
    }

    /// Only the blocks that a range of a file needs; heard for [`Scope::Entity`] alone.
    pub fn with_range(self, range: Option<EntityBytes>) -> Self {
        Self { range, ..self }
    }

    /// Yields a block as often as it is linked.
    pub fn with_duplicates(self) -> Self {
        Self { seen: None, ..self }
    }

    /// Takes blocks of codecs that are not read here for blocks without links, instead of failing.
    pub fn past_unknown_codecs(self) -> Self {
        Self { skips_unknown: true, ..self }
    }

    /// Goes on without the block that the last step asked for, and without what is below it.
    pub fn skip(&mut self) {
        let is_needed = self.wanted.take().is_some_and(|wanted| !wanted.is_on_path);
        if is_needed && !matches!(self.at, At::All(_)) {
            self.at = At::Done;
        }
    }

    fn is_seen(&self, cid: &Cid) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(cid))
    }

    fn want(&mut self, cid: Cid, is_on_path: bool) {
        self.wanted = Some(Wanted { cid, is_on_path });
    }

    /// Chooses what the root block asks to be read.
    fn enter(&mut self, root: Cid, block: &Bytes) -> Result<(), WalkError> {
        self.at = At::Done;
        match self.scope {
            Scope::Block => {}
            Scope::All => {
                self.at = At::All(Vec::new());
                self.expand(root, block)?;
            }
            // What is no UnixFS is one block; so is what cannot be read.
            Scope::Entity => match inspect(&root, block) {
                Ok(info) if info.kind == Kind::File => {
                    let range = self.range.map_or(0..u64::MAX, |range| range.within(info.file_bytes));
                    if !range.is_empty() {
                        self.at = At::File(started(FileReader::new(root, range), block)?);
                    }
                }
                Ok(info) if info.kind == Kind::Directory => {
                    self.at = At::Directory(started(DirectoryReader::new(root), block)?);
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn expand(&mut self, cid: Cid, block: &Bytes) -> Result<(), WalkError> {
        let links = match children(&cid, block) {
            Ok(links) => links,
            Err(DecodeError::UnsupportedCodec { .. }) if self.skips_unknown => return Ok(()),
            Err(source) => return Err(WalkError::Decode { cid, source: Box::new(source) }),
        };
        let At::All(waiting) = &mut self.at else { return Ok(()) };
        let seen = self.seen.as_ref();
        waiting.extend(links.into_iter().rev().filter(|link| !seen.is_some_and(|seen| seen.contains(link))));
        if waiting.len() + seen.map_or(0, HashSet::len) > self.blocks_max {
            return Err(WalkError::TooLarge { cid });
        }
        Ok(())
    }
}

/// A walk that has its root.
fn started<W: Walk>(mut walk: W, root: &Bytes) -> Result<W, WalkError> {
    if let Step::Need(_) = walk.step()? {
        walk.feed(root.clone())?;
    }
    Ok(walk)
}

impl Walk for ScopeWalk {
    type Item = Block;

    fn step(&mut self) -> Result<Step<Block>, WalkError> {
        loop {
            if let Some(block) = self.ready.take() {
                return Ok(Step::Item(block));
            }
            if let Some(Wanted { cid, .. }) = self.wanted {
                if cid.hash().code() != IDENTITY {
                    return Ok(Step::Need(cid));
                }
                self.feed(Bytes::copy_from_slice(cid.hash().digest()))?;
                continue;
            }
            if let Some(cid) = self.path.next() {
                if !self.is_seen(&cid) {
                    self.want(cid, true);
                }
                continue;
            }
            let next = match &mut self.at {
                At::Root(cid) => Some(*cid),
                At::File(walk) => next_needed(walk)?,
                At::Directory(walk) => next_needed(walk)?,
                At::All(waiting) => {
                    let seen = self.seen.as_ref();
                    std::iter::from_fn(|| waiting.pop())
                        .find(|cid| !seen.is_some_and(|seen| seen.contains(cid)))
                }
                At::Done => None,
            };
            match next {
                Some(cid) => self.want(cid, false),
                None => return Ok(Step::Done),
            }
        }
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        let Wanted { cid, is_on_path } = self.wanted.take().ok_or(WalkError::NotAsked)?;
        let is_due = match &mut self.seen {
            _ if cid.hash().code() == IDENTITY => false,
            Some(seen) => seen.insert(cid),
            None => true,
        };
        if self.seen.as_ref().is_some_and(|seen| seen.len() > self.blocks_max) {
            return Err(WalkError::TooLarge { cid });
        }
        if is_due {
            self.ready = Some(Block { cid, bytes: block.clone() });
        }
        if is_on_path {
            return Ok(());
        }
        match &mut self.at {
            At::Root(root) => {
                let root = *root;
                self.enter(root, &block)
            }
            At::File(walk) => walk.feed(block),
            At::Directory(walk) => walk.feed(block),
            At::All(_) => self.expand(cid, &block),
            At::Done => Ok(()),
        }
    }

    fn upcoming(&self, count: usize) -> Vec<Cid> {
        match &self.at {
            At::Root(_) | At::Done => self.path.as_slice().iter().take(count).copied().collect(),
            At::File(walk) => walk.upcoming(count),
            At::Directory(walk) => walk.upcoming(count),
            At::All(waiting) => {
                waiting.iter().rev().filter(|cid| !self.is_seen(cid)).take(count).copied().collect()
            }
        }
    }
}

/// The next block of a walk, past what it yields.
fn next_needed<W: Walk>(walk: &mut W) -> Result<Option<Cid>, WalkError> {
    loop {
        match walk.step()? {
            Step::Item(_) => {}
            Step::Need(cid) => return Ok(Some(cid)),
            Step::Done => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
