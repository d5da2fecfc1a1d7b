//! A path below a root to the CID it names.

use bytes::Bytes;
use cid::Cid;

use crate::directory::DirectoryNode;
use crate::hamt::{name_hash, position};
use crate::walk::{Step, Walk, WalkError};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The root of what stands there.
    pub cid: Cid,
    /// The last segment; `None` for the root itself.
    pub name: Option<String>,
}

/// Follows names through directories, basic and HAMT, reading only the blocks on the way. Yields one
/// [`Resolved`]. Symlinks on the way are not followed: they are [`WalkError::NotADirectory`].
#[derive(Debug)]
pub struct Resolver {
    cid: Cid,
    /// Root of the directory that is being searched; differs from `cid` inside a HAMT.
    directory: Cid,
    segments: std::vec::IntoIter<String>,
    /// The name that is looked for in `directory`.
    name: Option<String>,
    /// The name that led to `directory`.
    last: Option<String>,
    /// Shards passed in `directory`.
    level: u32,
    is_done: bool,
}

impl Resolver {
    /// A resolver of `root/segments...`; [`crate::split_path`] makes segments of a path.
    pub fn new(root: Cid, segments: Vec<String>) -> Self {
        let mut segments = segments.into_iter();
        let name = segments.next();
        Self { cid: root, directory: root, segments, name, last: None, level: 0, is_done: false }
    }

    fn enter(&mut self, cid: Cid) {
        self.cid = cid;
        self.directory = cid;
        self.level = 0;
        self.last = core::mem::replace(&mut self.name, self.segments.next());
    }
}

impl Walk for Resolver {
    type Item = Resolved;

    fn step(&mut self) -> Result<Step<Resolved>, WalkError> {
        if self.is_done {
            return Ok(Step::Done);
        }
        if self.name.is_some() {
            return Ok(Step::Need(self.cid));
        }
        self.is_done = true;
        Ok(Step::Item(Resolved { cid: self.cid, name: self.last.take() }))
    }

    fn feed(&mut self, block: Bytes) -> Result<(), WalkError> {
        let name = self.name.as_deref().filter(|_| !self.is_done).ok_or(WalkError::NotAsked)?;
        let not_found = WalkError::NotFound { cid: self.directory, name: name.into() };
        match DirectoryNode::decode(&self.cid, &block)? {
            DirectoryNode::Basic(links) => {
                let link = links.into_iter().find(|link| link.name == name).ok_or(not_found)?;
                self.enter(link.cid);
            }
            DirectoryNode::Shard(shape, links) => {
                let at = position(name_hash(name), self.level, shape.width);
                let at = at.ok_or(WalkError::TooLarge { cid: self.cid })?;
                let child = links.into_iter().find_map(|link| match shape.split(&link.name)? {
                    (found, "") if found == at => Some((link.cid, false)),
                    (found, rest) if found == at && rest == name => Some((link.cid, true)),
                    _ => None,
                });
                match child.ok_or(not_found)? {
                    (cid, true) => self.enter(cid),
                    (shard, false) => {
                        self.cid = shard;
                        self.level += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn upcoming(&self, _count: usize) -> Vec<Cid> {
        Vec::new()
    }
}
