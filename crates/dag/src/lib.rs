//! Files, directories and documents as DAGs of blocks, bit-identical to Kubo, and back.
//!
//! This room turns bytes into UnixFS blocks ([`FileBuilder`], [`DirectoryBuilder`], [`symlink`]) under a
//! named [`Profile`], and reads such DAGs with walkers that never do I/O: a [`Walk`] says which CID it
//! needs, is fed the block and yields items. It refuses to know where blocks come from, files on disk,
//! networks and clocks. Blocks that are fed must have been checked against their CID by whoever fetched
//! them; everything inside them is treated as hostile: depth, links and sizes are bounded, and no input
//! makes a decoder panic.
//!
//! | to do | use |
//! |---|---|
//! | import a file or a stream | [`FileBuilder::push`], [`FileBuilder::finish`] |
//! | import a directory | build its children first, then [`DirectoryBuilder::add`], [`DirectoryBuilder::finish`] |
//! | read a file or a range of it | [`FileReader`] |
//! | list a directory | [`DirectoryReader`] |
//! | resolve `root/a/b` | [`Resolver`] |
//! | extract a whole tree | [`Tree`] |
//! | all blocks of a DAG, each once, depth first | [`DepthFirst`] |
//! | what a block is | [`inspect`] |
//! | links of a block of any supported codec | [`children`] |
//! | read and write documents: dag-cbor, dag-json, dag-pb | [`document::decode`], [`document::encode`] |
//! | resolve a path through directories and documents | [`PathResolver`] |
//! | the blocks of a CAR by its scope | [`scope::ScopeWalk`] |
//! | read and write CARs | [`car::Decoder`], [`car::header`], [`car::section`] |
//!
//! With blocks at hand (a local store, a map) [`Walk::drive`] makes a plain iterator of any walker:
//!
//! ```
//! use std::collections::HashMap;
//! use hpips_dag::{FileBuilder, FileReader, Profile, Walk};
//!
//! let mut blocks = Vec::new();
//! let mut file = FileBuilder::new(Profile::unixfs_v1_2025());
//! file.push(b"hello world", &mut blocks);
//! let node = file.finish(&mut blocks);
//! assert_eq!(node.cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
//!
//! let store: HashMap<_, _> = blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
//! let get = |cid: &_| store.get(cid).cloned().ok_or("missing");
//! let bytes: Vec<u8> = FileReader::new(node.cid, 6..).drive(get).flat_map(|part| part.unwrap()).collect();
//! assert_eq!(bytes, b"world");
//! ```

#![forbid(unsafe_code)]

mod block;
pub mod car;
mod chunk;
mod codec;
mod directory;
pub mod document;
mod edit;
mod enumerate;
mod file;
mod hamt;
mod inspect;
mod layout;
mod name;
mod path;
mod pb;
mod profile;
mod reader;
mod resolve;
pub mod scope;
mod tree;
mod unixfs;
mod walk;
mod wire;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use block::{Block, Node};
pub use chunk::{CHUNK_BYTES_MAX, Chunking, ChunkingError, Cutter};
pub use codec::{DecodeError, Place, children, is_leaf_codec};
pub use directory::{DirectoryBuilder, DirectoryError, DirectoryReader, Entry};
pub use edit::{EditError, edit_directory, with_metadata};
pub use enumerate::{DepthFirst, EnumerateError};
pub use file::{FileBuilder, leaf, single_leaf, symlink, symlink_with};
pub use inspect::{Kind, NodeInfo, inspect};
pub use layout::LayoutBuilder;
pub use name::{NameError, safe_name, split_path};
pub use path::{PathEnd, PathResolver, PathRules};
pub use pb::{PbLink, PbNode, decode_pb, encode_pb};
pub use profile::{Estimate, INLINE_BYTES_MAX, LINKS_MAX, Layout, Profile, ProfileError};
pub use reader::FileReader;
pub use resolve::{Resolved, Resolver};
pub use tree::{Event, Tree};
pub use unixfs::{DataType, Metadata, Mtime, UnixFs};
pub use walk::{Drive, DriveError, Step, Walk, WalkError};
