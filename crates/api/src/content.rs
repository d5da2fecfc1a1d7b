//! Reading content by path, the same for a local repo and for a node's endpoints.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use hpips_client::{BlockGetter, GetBlockError, export::walk};
use hpips_dag::{DirectoryReader, DriveError, FileReader, Kind, NameError, Resolver, inspect, split_path};
use serde::{Deserialize, Serialize};

/// `CID`, `CID/a/b` or `/ipfs/CID/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath {
    /// Where it starts.
    pub root: Cid,
    /// Names below it.
    pub segments: Vec<String>,
}

/// Why a text is no path of content.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a CID.
    #[error("{text:?} is no CID")]
    Cid {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        #[source]
        source: cid::Error,
    },
    /// A name that no directory contains.
    #[error("not a path below a CID")]
    Name(#[from] NameError),
}

impl FromStr for ContentPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let path = text.strip_prefix("/ipfs/").unwrap_or(text);
        let (root, rest) = path.split_once('/').unwrap_or((path, ""));
        let root = root.parse().map_err(|source| PathError::Cid { text: root.to_owned(), source })?;
        Ok(Self { root, segments: split_path(rest)? })
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl ContentPath {
    /// The name a copy of it gets: its last segment, or the CID.
    pub fn name(&self) -> String {
        self.segments.last().cloned().unwrap_or_else(|| self.root.to_string())
    }
}

/// What stands in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its entries, in its order; of a file that was listed its parts are not shown, so none.
    pub entries: Vec<ListedEntry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEntry {
    /// Its CID.
    pub cid: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file; 0 for everything else.
    pub bytes: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// No UnixFS.
    Other,
}

/// Why content was not read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A block is missing, or the DAG is not what was asked for.
    #[error(transparent)]
    Drive(#[from] DriveError<GetBlockError>),
    /// The reader's end went away.
    #[error("cannot write")]
    Sink(#[source] std::io::Error),
}

impl ContentError {
    /// Whether something is simply not there.
    pub fn is_not_found(&self) -> bool {
        let absent = |error: &GetBlockError| {
            matches!(error, GetBlockError::NotFound { .. } | GetBlockError::TooFewSlots { .. })
        };
        matches!(self, Self::Drive(DriveError::Get(_, error)) if absent(error))
    }

    /// Whether the question itself was wrong: a name that is not there, a file listed as a directory.
    pub fn is_wrong_path(&self) -> bool {
        matches!(self, Self::Drive(DriveError::Walk(_)))
    }
}

/// The CID a path leads to.
///
/// # Errors
/// [`ContentError::Drive`].
pub fn resolve(path: &ContentPath, blocks: &dyn BlockGetter) -> Result<Cid, ContentError> {
    let mut found = path.root;
    walk::<_, ContentError>(Resolver::new(path.root, path.segments.clone()), blocks, |resolved| {
        found = resolved.cid;
        Ok(())
    })?;
    Ok(found)
}

/// Lists a directory.
///
/// # Errors
/// [`ContentError::Drive`].
pub fn list(path: &ContentPath, blocks: &dyn BlockGetter) -> Result<Listing, ContentError> {
    let cid = resolve(path, blocks)?;
    let mut entries = Vec::new();
    if kind_of(&cid, blocks)?.0 != EntryKind::Directory {
        return Ok(Listing { entries });
    }
    walk::<_, ContentError>(DirectoryReader::new(cid), blocks, |entry| {
        let (kind, bytes) = kind_of(&entry.cid, blocks)?;
        entries.push(ListedEntry { cid: entry.cid.to_string(), name: entry.name, kind, bytes });
        Ok(())
    })?;
    Ok(Listing { entries })
}

fn kind_of(cid: &Cid, blocks: &dyn BlockGetter) -> Result<(EntryKind, u64), ContentError> {
    let block = blocks.get(cid).map_err(|error| DriveError::Get(*cid, error))?;
    let Ok(info) = inspect(cid, &block) else { return Ok((EntryKind::Other, 0)) };
    let kind = match info.kind {
        Kind::File => EntryKind::File,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Other => EntryKind::Other,
    };
    Ok((kind, info.file_bytes))
}

/// Hands out a file's bytes in order.
///
/// # Errors
/// [`ContentError`] by variant.
pub fn cat(
    path: &ContentPath,
    blocks: &dyn BlockGetter,
    sink: &mut dyn FnMut(bytes::Bytes) -> std::io::Result<()>,
) -> Result<(), ContentError> {
    let cid = resolve(path, blocks)?;
    walk::<_, ContentError>(FileReader::new(cid, ..), blocks, |part| sink(part).map_err(ContentError::Sink))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_parse_and_print() {
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        for (text, expected) in [
            (cid.to_owned(), Some(cid.to_owned())),
            (format!("/ipfs/{cid}/a//b"), Some(format!("{cid}/a/b"))),
            (format!("{cid}/../x"), None),
            ("readme".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(text.parse::<ContentPath>().ok().map(|path| path.to_string()), expected, "{text}");
        }
    }
}
