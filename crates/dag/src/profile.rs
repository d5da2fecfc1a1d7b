//! Everything that decides a CID, under one name (IPIP-499).

/// How the size of a directory is estimated before it is split into a HAMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// Sum of the lengths of names and CIDs.
    Links,
    /// Length of the serialized block.
    Block,
}

/// The choices that decide the CID of given content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether nodes and leaves are CIDv0; raw leaves are CIDv1 in any case.
    pub(crate) cid_v0: bool,
    /// Whether leaves are raw blocks rather than dag-pb nodes.
    pub(crate) raw_leaves: bool,
    /// Bytes in a chunk.
    pub(crate) chunk_bytes: usize,
    /// Links of a file node at most.
    pub(crate) links_max: usize,
    /// How a directory's size is estimated.
    pub(crate) estimate: Estimate,
}

/// Estimated bytes above which a directory becomes a HAMT (`Import.UnixFSHAMTDirectorySizeThreshold`).
pub(crate) const HAMT_OVER_BYTES: usize = 256 * 1024;

impl Profile {
    /// `unixfs-v1-2025`, the default: CIDv1, raw leaves, 1 MiB chunks, 1024 links.
    pub const fn unixfs_v1_2025() -> Self {
        Self {
            cid_v0: false,
            raw_leaves: true,
            chunk_bytes: 1024 * 1024,
            links_max: 1024,
            estimate: Estimate::Block,
        }
    }

    /// `unixfs-v0-2015`, what plain `ipfs add` did for a decade: CIDv0, dag-pb leaves, 256 KiB, 174 links.
    pub const fn unixfs_v0_2015() -> Self {
        Self {
            cid_v0: true,
            raw_leaves: false,
            chunk_bytes: 256 * 1024,
            links_max: 174,
            estimate: Estimate::Links,
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

    /// Bytes in a chunk: what a reader may hand to [`crate::FileBuilder::push`] at once, times a few, to
    /// have several hashed at the same time.
    pub const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::unixfs_v1_2025()
    }
}
