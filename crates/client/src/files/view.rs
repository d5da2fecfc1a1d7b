//! Looking at the mutable files.

use std::io;
use std::ops::Bound;

use bytes::Bytes;
use hpips_dag::{Kind, Mtime, NodeInfo, WalkError, decode_pb, inspect};
use hpips_types::Cid;
use hpips_types::content::DAG_PB;

use super::path::{segments, shown};
use super::{Files, FilesError};
use crate::read::{self, ReadError};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesType {
    /// A file, or anything else that is no directory.
    File,
    /// A directory.
    Directory,
}

/// What `files stat` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesStat {
    /// The root of what stands there.
    pub hash: Cid,
    /// Bytes of a file; 0 for directories.
    pub size: u64,
    /// Bytes of all blocks below, counted once a link, as the root claims.
    pub cumulative_size: u64,
    /// Links of the root block.
    pub blocks: usize,
    /// File or directory.
    pub kind: FilesType,
    /// Permission bits, where kept.
    pub mode: Option<u32>,
    /// Modification time, where kept.
    pub mtime: Option<Mtime>,
}

/// A line of `files ls -l`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesEntry {
    /// Name in the directory.
    pub name: String,
    /// File or directory.
    pub kind: FilesType,
    /// Bytes of a file; 0 for directories.
    pub size: u64,
    /// Root of the entry.
    pub hash: Cid,
}

impl Files {
    /// The root of what stands at a path: also what `files flush` prints, since every change is flushed.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn flush(&self, path: &str) -> Result<Cid, FilesError> {
        self.find(&self.root()?, &segments(path)?)
    }

    /// Describes what stands at a path.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn stat(&self, path: &str) -> Result<FilesStat, FilesError> {
        self.describe(self.flush(path)?, path)
    }

    /// Describes the root of anything; `path` is what it is called in errors.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn describe(&self, hash: Cid, path: &str) -> Result<FilesStat, FilesError> {
        let (block, info) = self.look(&hash, path)?;
        let (blocks, cumulative_size) = shape(&hash, &block, path)?;
        Ok(FilesStat {
            hash,
            size: info.file_bytes,
            cumulative_size,
            blocks,
            kind: kind(&info),
            mode: info.mode,
            mtime: info.mtime,
        })
    }

    /// The entries of a directory by name; a file lists itself. Reads the root block of every entry.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn ls(&self, path: &str) -> Result<Vec<FilesEntry>, FilesError> {
        let steps = segments(path)?;
        let hash = self.find(&self.root()?, &steps)?;
        let (_, info) = self.look(&hash, path)?;
        if info.kind != Kind::Directory {
            let name = steps.last().cloned().unwrap_or_default();
            return Ok(vec![FilesEntry { name, kind: FilesType::File, size: info.file_bytes, hash }]);
        }
        let mut entries = Vec::new();
        for entry in read::list(self.blocks.as_ref(), hash)? {
            let (_, info) = self.look(&entry.cid, path)?;
            let (kind, size) = (kind(&info), info.file_bytes);
            entries.push(FilesEntry { name: entry.name, kind, size, hash: entry.cid });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Bytes of a file from `offset`, at most `count` of them, part by part.
    ///
    /// # Errors
    /// [`FilesError`] by variant.
    pub fn read(
        &self,
        path: &str,
        offset: u64,
        count: Option<u64>,
        sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> Result<(), FilesError> {
        let file = self.flush(path)?;
        let (_, info) = self.look(&file, path)?;
        if info.kind != Kind::File {
            return Err(FilesError::NotAFile { path: path.to_owned() });
        }
        let end = count.and_then(|count| offset.checked_add(count)).map_or(Bound::Unbounded, Bound::Excluded);
        let start = offset.min(info.file_bytes);
        if count == Some(0) || start == info.file_bytes {
            return Ok(());
        }
        Ok(read::read(self.blocks.as_ref(), file, (Bound::Included(start), end), sink)?)
    }

    /// Follows segments below a root.
    pub(super) fn find(&self, root: &Cid, steps: &[String]) -> Result<Cid, FilesError> {
        match read::resolve(self.blocks.as_ref(), *root, steps.to_vec()) {
            Ok(found) => Ok(found.cid),
            Err(ReadError::Walk(WalkError::NotFound { .. })) => {
                Err(FilesError::NotFound { path: shown(steps) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A root block and what it says.
    pub(super) fn look(&self, cid: &Cid, path: &str) -> Result<(Bytes, NodeInfo), FilesError> {
        let block = self.blocks.get(cid)?;
        let info =
            inspect(cid, &block).map_err(|source| FilesError::Decode { path: path.to_owned(), source })?;
        Ok((block, info))
    }
}

pub(super) fn kind(info: &NodeInfo) -> FilesType {
    match info.kind {
        Kind::Directory => FilesType::Directory,
        _ => FilesType::File,
    }
}

/// Links of a root block, and bytes of everything it reaches as it claims.
pub(super) fn shape(cid: &Cid, block: &Bytes, path: &str) -> Result<(usize, u64), FilesError> {
    let own = block.len() as u64;
    if cid.codec() != DAG_PB {
        return Ok((0, own));
    }
    let node = decode_pb(block).map_err(|source| FilesError::Decode { path: path.to_owned(), source })?;
    let below = node.links.iter().fold(own, |sum, link| sum.saturating_add(link.tsize));
    Ok((node.links.len(), below))
}
