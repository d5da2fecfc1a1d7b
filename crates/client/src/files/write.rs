//! Writing into files.

use std::io::{self, Read};

use bytes::Bytes;
use hpips_dag::{Block, FileBuilder, Kind, Layout, Metadata, Node, Profile};
use hpips_types::Cid;
use hpips_types::content::RAW;

use super::edit::Change;
use super::path::segments;
use super::{Files, FilesError, Parents};
use crate::read;

/// Zeros that are filled in between a file's end and the offset of a write, at most: each has to be hashed.
pub const GAP_BYTES_MAX: u64 = 1 << 30;
/// Bytes read from the input at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// How `files write` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether a file that is not there is made.
    pub create: bool,
    /// Whether what was in the file is dropped first.
    pub truncate: bool,
    /// Where writing starts, in bytes; a gap behind the old end is filled with zeros.
    pub offset: u64,
    /// Bytes of the input taken at most; all for `None`.
    pub count: Option<u64>,
    /// Whether missing directories are made.
    pub parents: Parents,
    /// Raw leaves or wrapped ones; `None` for raw ones where `cid_v0` or `hash` ask for CIDv1, else what the
    /// profile says.
    pub raw_leaves: Option<bool>,
    /// CID version 0 or not; `None` for what the profile says.
    pub cid_v0: Option<bool>,
    /// Multihash code; `None` for what the profile says.
    pub hash: Option<u64>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            create: false,
            truncate: false,
            offset: 0,
            count: None,
            parents: Parents::Require,
            raw_leaves: None,
            cid_v0: None,
            hash: None,
        }
    }
}

impl WriteOptions {
    /// Kubo joins what `files write` wrote as trickle trees.
    fn profile(&self, base: Profile) -> Result<Profile, FilesError> {
        let mut profile = base.with_layout(Layout::Trickle);
        if let Some(is_v0) = self.cid_v0 {
            profile = profile.with_cid_version(is_v0);
        }
        if let Some(hash) = self.hash {
            profile = profile.with_hash(hash)?;
        }
        // A file that is asked to be CIDv1, or is by its hash function, gets raw leaves unless told otherwise.
        let is_v1 = !profile.is_cid_v0() && (self.cid_v0.is_some() || self.hash.is_some());
        Ok(match self.raw_leaves {
            Some(false) => profile.with_wrapped_leaves(),
            None if !is_v1 => profile,
            _ => profile.with_raw_leaves(),
        })
    }
}

impl Files {
    /// Writes `input` into a file. Memory stays bounded, whatever its length. Other changes wait for its end only where the
    /// file's old content is part of the new one.
    ///
    /// # Errors
    /// [`FilesError`] by variant; the file is then as before.
    pub fn write(&self, path: &str, options: &WriteOptions, input: &mut dyn Read) -> Result<Cid, FilesError> {
        let steps = segments(path)?;
        let turn = self.turn();
        let (mut root, hold) = self.begin()?;
        let old = match self.find(&root, &steps) {
            Ok(cid) => Some(cid),
            Err(FilesError::NotFound { .. }) if options.create => None,
            Err(error) => return Err(error),
        };
        let (mut old_bytes, mut metadata) = (0, Metadata::default());
        if let Some(cid) = &old {
            let (_, info) = self.look(cid, path)?;
            if info.kind != Kind::File {
                return Err(FilesError::NotAFile { path: path.to_owned() });
            }
            metadata = Metadata { mode: info.mode, mtime: info.mtime };
            old_bytes = if options.truncate { 0 } else { info.file_bytes };
        }
        let gap = options.offset.saturating_sub(old_bytes);
        if gap > GAP_BYTES_MAX {
            return Err(FilesError::Gap { bytes: gap, max: GAP_BYTES_MAX });
        }
        let needs_old = old_bytes > 0 || gap > 0;
        let mut turn = needs_old.then_some(turn);
        let mut draft = Draft::new(self, options.profile(self.profile)?, metadata);
        let kept = old_bytes.min(options.offset);
        if let Some(old) = old.filter(|_| kept > 0) {
            draft.copy(old, 0..kept)?;
        }
        draft.pour(&mut io::repeat(0).take(gap))?;
        let written = draft.pour(&mut input.take(options.count.unwrap_or(u64::MAX)))?;
        let end = options.offset.saturating_add(written);
        if let Some(old) = old.filter(|_| end < old_bytes) {
            draft.copy(old, end..old_bytes)?;
        }
        let node = draft.finish()?;
        if turn.is_none() {
            turn = Some(self.turn());
            root = self.root()?;
            hold.keep(&root);
            match self.find(&root, &steps) {
                Ok(cid) if self.look(&cid, path)?.1.kind != Kind::File => {
                    return Err(FilesError::NotAFile { path: path.to_owned() });
                }
                Err(FilesError::NotFound { .. }) if options.create => {}
                found => drop(found?),
            }
        }
        let _turn = turn;
        self.apply(&root, &steps, Change::Set(node), options.parents)?;
        Ok(node.cid)
    }
}

/// A file that is being built, its blocks stored as they come.
struct Draft<'a> {
    files: &'a Files,
    builder: FileBuilder,
    out: Vec<Block>,
    /// The first leaf when it is raw: alone it is the file.
    first: Option<Node>,
    is_started: bool,
}

impl<'a> Draft<'a> {
    fn new(files: &'a Files, profile: Profile, metadata: Metadata) -> Self {
        let builder = FileBuilder::new(profile).with(metadata);
        Self { files, builder, out: Vec::new(), first: None, is_started: false }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), FilesError> {
        self.builder.push(piece, &mut self.out);
        self.store()
    }

    fn store(&mut self) -> Result<(), FilesError> {
        if let Some(block) = self.out.first().filter(|_| !self.is_started) {
            self.is_started = true;
            let bytes = block.bytes.len() as u64;
            let is_raw = block.cid.codec() == RAW;
            self.first = is_raw.then_some(Node { cid: block.cid, tsize: bytes, file_bytes: bytes });
        }
        if self.out.is_empty() { Ok(()) } else { self.files.put(std::mem::take(&mut self.out)) }
    }

    fn copy(&mut self, file: Cid, range: std::ops::Range<u64>) -> Result<(), FilesError> {
        let files = self.files;
        let mut failed = None;
        let mut sink = |part: Bytes| {
            self.push(&part).map_err(|error| {
                failed = Some(error);
                io::Error::other("stopped")
            })
        };
        let read = read::read(files.blocks.as_ref(), file, range, &mut sink);
        match failed {
            Some(error) => Err(error),
            None => Ok(read?),
        }
    }

    fn pour(&mut self, input: &mut dyn Read) -> Result<u64, FilesError> {
        let mut total = 0;
        let mut piece = Vec::new();
        loop {
            piece.clear();
            let bytes = input.take(PIECE_BYTES).read_to_end(&mut piece).map_err(FilesError::Input)?;
            if bytes == 0 {
                return Ok(total);
            }
            total += bytes as u64;
            self.push(&piece)?;
        }
    }

    fn finish(self) -> Result<Node, FilesError> {
        let Self { files, builder, mut out, first, is_started } = self;
        let root = builder.finish(&mut out);
        // The last leaf may be the first.
        let mut rest = Self { files, builder: FileBuilder::new(files.profile), out, first, is_started };
        rest.store()?;
        Ok(rest.first.filter(|first| first.file_bytes == root.file_bytes).unwrap_or(root))
    }
}
