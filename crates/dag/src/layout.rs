//! Leaves joined to a tree, balanced or trickle, in bounded memory.

use bytes::Bytes;

use crate::block::{Block, Node};
use crate::file::{pb_block, single_leaf};
use crate::pb::encode_pb;
use crate::profile::{Layout, Profile};
use crate::unixfs::{DataType, Metadata, UnixFs};
use crate::wire::count;

/// Subtrees of a depth before the next depth begins (boxo `depthRepeat`).
const TRICKLE_REPEAT: u32 = 4;

/// Joins leaves in the order of the file. Blocks come out as soon as they are complete, children before parents;
/// at most `links_max` links a level are kept.
///
/// With [`crate::Cutter`] and [`crate::leaf`] it is what [`crate::FileBuilder`] is made of: cutting and joining are
/// cheap and in order, making leaves is dear and may run anywhere.
#[derive(Debug)]
pub struct LayoutBuilder {
    profile: Profile,
    metadata: Metadata,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// Links that have no parent yet, leaves first; every list is shorter than `links_max`.
    Balanced(Vec<Vec<Node>>),
    /// Open nodes, the root first.
    Trickle(Vec<Open>),
}

/// A trickle node that still takes links.
#[derive(Debug)]
struct Open {
    links: Vec<Node>,
    leaves: usize,
    /// Subtrees are shallower than this; none for the root.
    depth_max: Option<u32>,
    /// Depth of the subtree that comes next, and how many of it there are.
    depth: u32,
    repeat: u32,
}

impl Open {
    fn new(depth_max: Option<u32>) -> Self {
        Self { links: Vec::new(), leaves: 0, depth_max, depth: 1, repeat: 0 }
    }

    fn attach(&mut self, node: Node) {
        self.links.push(node);
        self.repeat += 1;
        if self.repeat == TRICKLE_REPEAT {
            self.repeat = 0;
            self.depth += 1;
        }
    }
}

impl LayoutBuilder {
    /// Starts an empty file.
    pub fn new(profile: Profile) -> Self {
        let shape = match profile.layout {
            Layout::Balanced => Shape::Balanced(Vec::new()),
            Layout::Trickle => Shape::Trickle(vec![Open::new(None)]),
        };
        Self { profile, metadata: Metadata::default(), shape }
    }

    /// The same with mode and modification time, written into the root. A root that is a raw leaf cannot carry
    /// them: use wrapped leaves, as Kubo does.
    #[must_use]
    pub fn with(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Adds the next leaf, whose block the caller keeps.
    pub fn add_leaf(&mut self, leaf: Node, out: &mut Vec<Block>) {
        let profile = self.profile;
        match &mut self.shape {
            Shape::Balanced(levels) => add(&profile, levels, 0, leaf, out),
            Shape::Trickle(open) => loop {
                let last = open.len() - 1;
                let top = &mut open[last];
                if top.leaves < profile.links_max {
                    top.leaves += 1;
                    top.links.push(leaf);
                    return;
                }
                if top.depth_max.is_none_or(|max| top.depth < max) {
                    let depth = top.depth;
                    open.push(Open::new(Some(depth)));
                } else {
                    close(&profile, open, out);
                }
            },
        }
    }

    /// Ends the file and returns its root. A file without leaves is empty.
    pub fn finish(self, out: &mut Vec<Block>) -> Node {
        let Self { profile, metadata, shape } = self;
        match shape {
            Shape::Balanced(levels) if levels.is_empty() => {
                let (block, node) = single_leaf(&profile, Bytes::new(), metadata);
                out.push(block);
                node
            }
            Shape::Balanced(levels) => finish_balanced(&profile, levels, metadata, out),
            Shape::Trickle(mut open) => {
                while open.len() > 1 {
                    close(&profile, &mut open, out);
                }
                join(&profile, &open[0].links, metadata, out)
            }
        }
    }

    /// Whether no leaf was added.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.shape {
            Shape::Balanced(levels) => levels.is_empty(),
            Shape::Trickle(open) => open.len() == 1 && open[0].links.is_empty(),
        }
    }
}

/// Every leaf of a balanced tree is equally deep: what is left on a level is wrapped, even a single link, as long as
/// something stands on a higher level.
fn finish_balanced(
    profile: &Profile,
    mut levels: Vec<Vec<Node>>,
    metadata: Metadata,
    out: &mut Vec<Block>,
) -> Node {
    let mut level = 0;
    loop {
        let links = core::mem::take(&mut levels[level]);
        let is_top = level + 1 == levels.len();
        match links.as_slice() {
            [root] if is_top => return *root,
            [] => {}
            links => {
                // What joins the top level is the root.
                let metadata = if is_top { metadata } else { Metadata::default() };
                let parent = join(profile, links, metadata, out);
                add(profile, &mut levels, level + 1, parent, out);
            }
        }
        level += 1;
    }
}

fn close(profile: &Profile, open: &mut Vec<Open>, out: &mut Vec<Block>) {
    let done = open.pop().expect("the root is closed last, by the caller");
    let node = join(profile, &done.links, Metadata::default(), out);
    open.last_mut().expect("only nodes below the root are closed").attach(node);
}

fn add(profile: &Profile, levels: &mut Vec<Vec<Node>>, level: usize, node: Node, out: &mut Vec<Block>) {
    if level == levels.len() {
        levels.push(Vec::new());
    }
    // A full level gets its parent when one more comes, not before: the last parent may be the root, which
    // alone carries metadata.
    if levels[level].len() == profile.links_max {
        let links = core::mem::take(&mut levels[level]);
        let parent = join(profile, &links, Metadata::default(), out);
        add(profile, levels, level + 1, parent, out);
    }
    levels[level].push(node);
}

fn join(profile: &Profile, links: &[Node], metadata: Metadata, out: &mut Vec<Block>) -> Node {
    let file_bytes = links.iter().map(|link| link.file_bytes).sum();
    let data = UnixFs {
        file_bytes: Some(file_bytes),
        block_sizes: links.iter().map(|link| link.file_bytes).collect(),
        ..UnixFs::new(DataType::File)
    }
    .with(metadata);
    let bytes = encode_pb(links.iter().map(|link| ("", &link.cid, link.tsize)), &data.encode());
    let below: u64 = links.iter().map(|link| link.tsize).sum();
    let block = pb_block(profile, bytes);
    let node = Node { cid: block.cid, tsize: count(block.bytes.len()) + below, file_bytes };
    out.push(block);
    node
}
