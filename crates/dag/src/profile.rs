//! Everything that decides a CID, under one name (IPIP-499).

use hpips_types::content::{HashError, SHA2_256, is_known_hash};

use crate::chunk::Chunking;

/// How the size of a directory is estimated before it is split into a HAMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Estimate {
    /// Sum of the lengths of names and CIDs.
    Links,
    /// Length of the serialized block.
    Block,
    /// Not at all: only the number of links splits a directory.
    Disabled,
}

/// How the leaves of a file are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// All leaves equally deep.
    Balanced,
    /// Leaves first, then subtrees of growing depth: good for reading from the start.
    Trickle,
}

/// The choices that decide the CID of given content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Whether nodes and leaves are CIDv0; raw leaves are CIDv1 in any case.
    pub(crate) cid_v0: bool,
    /// Whether leaves are raw blocks rather than dag-pb nodes.
    pub(crate) raw_leaves: bool,
    /// Multihash code of the hash function.
    pub(crate) hash: u64,
    /// How files are cut.
    pub(crate) chunking: Chunking,
    /// How leaves are joined.
    pub(crate) layout: Layout,
    /// Links of a file node at most.
    pub(crate) links_max: usize,
    /// Links of a directory in one block at most; 0 for any number.
    pub(crate) directory_links_max: usize,
    /// How a directory's size is estimated.
    pub(crate) estimate: Estimate,
    /// Estimated bytes above which a directory becomes a HAMT.
    pub(crate) hamt_over_bytes: usize,
    /// Children of a HAMT shard at most.
    pub(crate) hamt_fanout: usize,
    /// Blocks of at most so many bytes become identity CIDs that carry them; 0 for none.
    pub(crate) inline_bytes_max: usize,
}

/// Bytes above which a directory becomes a HAMT (`Import.UnixFSHAMTDirectorySizeThreshold`).
const HAMT_OVER_BYTES: usize = 256 * 1024;
/// Children of a HAMT shard.
const HAMT_FANOUT: usize = 256;
/// Bytes an identity CID carries at most: the CIDs of this program hold digests of 64 bytes. Kubo inlines 32 unless told
/// otherwise and accepts 128.
pub const INLINE_BYTES_MAX: usize = 64;
/// Links of one node at most: with CIDs of 36 bytes a node of so many stays below 2 MiB.
pub const LINKS_MAX: usize = 32_768;

/// A choice that gives no valid block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A hash function this program does not compute.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Not between 2 and [`LINKS_MAX`].
    #[error("a node has 2 to {LINKS_MAX} links, not {0}")]
    Links(usize),
    /// Not a power of two from 8 to 1024.
    #[error("the fanout of a HAMT is a power of two from 8 to 1024, not {0}")]
    Fanout(usize),
    /// More than an identity CID may carry.
    #[error("at most {INLINE_BYTES_MAX} bytes can be inlined, not {0}")]
    Inline(usize),
}

impl Profile {
    /// `unixfs-v1-2025`, the default: CIDv1, raw leaves, 1 MiB chunks, 1024 links.
    pub const fn unixfs_v1_2025() -> Self {
        Self {
            cid_v0: false,
            raw_leaves: true,
            hash: SHA2_256,
            chunking: Chunking::Size(1024 * 1024),
            layout: Layout::Balanced,
            links_max: 1024,
            directory_links_max: 0,
            estimate: Estimate::Block,
            hamt_over_bytes: HAMT_OVER_BYTES,
            hamt_fanout: HAMT_FANOUT,
            inline_bytes_max: 0,
        }
    }

    /// `unixfs-v0-2015`, what plain `ipfs add` did for a decade: CIDv0, dag-pb leaves, 256 KiB, 174 links.
    pub const fn unixfs_v0_2015() -> Self {
        Self {
            cid_v0: true,
            raw_leaves: false,
            chunking: Chunking::Size(256 * 1024),
            links_max: 174,
            estimate: Estimate::Links,
            ..Self::unixfs_v1_2025()
        }
    }

    /// What `ipfs add --cid-version=1` gives without a profile: CIDv1 and raw leaves, the rest as in 2015.
    pub const fn cid_version_1() -> Self {
        Self { cid_v0: false, raw_leaves: true, ..Self::unixfs_v0_2015() }
    }

    /// The profile of this name, if there is one.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "unixfs-v1-2025" => Some(Self::unixfs_v1_2025()),
            "unixfs-v0-2015" => Some(Self::unixfs_v0_2015()),
            _ => None,
        }
    }

    /// The same with this version of CID; version 0 has SHA-256 only, so another hash function makes it 1.
    #[must_use]
    pub const fn with_cid_version(self, is_v0: bool) -> Self {
        Self { cid_v0: is_v0 && self.hash == SHA2_256, ..self }
    }

    /// The same with raw leaves (`--raw-leaves`).
    #[must_use]
    pub const fn with_raw_leaves(self) -> Self {
        Self { raw_leaves: true, ..self }
    }

    /// The same with dag-pb leaves (`--raw-leaves=false`).
    #[must_use]
    pub const fn with_wrapped_leaves(self) -> Self {
        Self { raw_leaves: false, ..self }
    }

    /// The same, cut in another way (`--chunker`).
    #[must_use]
    pub const fn with_chunking(self, chunking: Chunking) -> Self {
        Self { chunking, ..self }
    }

    /// The same in another layout (`--trickle`).
    #[must_use]
    pub const fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same with another hash function (`--hash`), by multihash code. Anything but SHA-256 makes CIDs version 1.
    ///
    /// # Errors
    /// [`ProfileError::Hash`] for a function that is not computed here.
    pub fn with_hash(self, code: u64) -> Result<Self, ProfileError> {
        is_known_hash(code)?;
        Ok(Self { hash: code, cid_v0: self.cid_v0 && code == SHA2_256, ..self })
    }

    /// The same with so many links in a file node (`--max-file-links`).
    ///
    /// # Errors
    /// [`ProfileError::Links`].
    pub fn with_file_links(self, links_max: usize) -> Result<Self, ProfileError> {
        if !(2..=LINKS_MAX).contains(&links_max) {
            return Err(ProfileError::Links(links_max));
        }
        Ok(Self { links_max, ..self })
    }

    /// The same with so many links in a directory before it becomes a HAMT (`--max-directory-links`); 0 for any.
    #[must_use]
    pub const fn with_directory_links(self, directory_links_max: usize) -> Self {
        Self { directory_links_max, ..self }
    }

    /// The same with so many children in a HAMT shard (`--max-hamt-fanout`).
    ///
    /// # Errors
    /// [`ProfileError::Fanout`].
    pub fn with_hamt_fanout(self, hamt_fanout: usize) -> Result<Self, ProfileError> {
        if !hamt_fanout.is_power_of_two() || !(8..=1024).contains(&hamt_fanout) {
            return Err(ProfileError::Fanout(hamt_fanout));
        }
        Ok(Self { hamt_fanout, ..self })
    }

    /// The same with another rule for when a directory becomes a HAMT.
    #[must_use]
    pub const fn with_hamt_rule(self, estimate: Estimate, hamt_over_bytes: usize) -> Self {
        Self { estimate, hamt_over_bytes, ..self }
    }

    /// The same with blocks of at most so many bytes inside their CIDs (`--inline --inline-limit`); 0 for none.
    ///
    /// # Errors
    /// [`ProfileError::Inline`].
    pub fn with_inline(self, inline_bytes_max: usize) -> Result<Self, ProfileError> {
        if inline_bytes_max > INLINE_BYTES_MAX {
            return Err(ProfileError::Inline(inline_bytes_max));
        }
        Ok(Self { inline_bytes_max, ..self })
    }

    /// How files are cut.
    pub const fn chunking(&self) -> Chunking {
        self.chunking
    }

    /// Bytes in the largest chunk: what a reader may hand to [`crate::FileBuilder::push`] at once, times a few,
    /// to have several hashed at the same time.
    pub const fn chunk_bytes(&self) -> usize {
        self.chunking.bytes_max()
    }

    /// Whether leaves are raw blocks.
    pub const fn has_raw_leaves(&self) -> bool {
        self.raw_leaves
    }

    /// Whether nodes have CIDs of version 0.
    pub const fn is_cid_v0(&self) -> bool {
        self.cid_v0
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::unixfs_v1_2025()
    }
}
